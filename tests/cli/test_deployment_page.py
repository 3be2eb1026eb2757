"""docs/deployment.md and the Containerfile name only what exists."""

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

from typer.main import get_command

from horizoncast.cli import app
from horizoncast.service.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")


def calls() -> list[list[str]]:
    """Every call of the program on the page, without what follows a comment or a second command."""
    lines = [
        line
        for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]
    lines += re.findall(r"`(horizoncast [^`]+)`", PAGE)
    found = []
    for line in lines:
        for part in re.split(r"&&", line.split("#")[0]):
            words = shlex.split(part)
            if words[:1] == ["horizoncast"]:
                found.append(words[1:])
    return found


def command_of(words: list[str]) -> tuple[Any, list[str]]:
    here: Any = get_command(app)
    rest = list(words)
    while hasattr(here, "commands"):
        assert rest, words
        assert rest[0] in here.commands, f"no such command: {' '.join(words)}"
        here = here.commands[rest.pop(0)]
    return here, rest


def test_every_command_and_option_on_the_page_exists() -> None:
    found = calls()
    assert len(found) > 25
    for words in found:
        command, rest = command_of(words)
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known, words


def test_members_come_before_services_where_both_are_named() -> None:
    named = [words[2:4] for words in calls() if words[:1] == ["rollout"] and len(words) > 3]
    assert named
    assert [pair for pair in named if pair != ["MEMBER", "SERVICE"]] == []


def test_every_setting_on_the_page_exists(tmp_path: Path) -> None:
    table = load_settings("forecaster_7d", root=tmp_path, environ={}).table()
    named = re.findall(r"`((?:run|cadence|tick|data|inputs)\.[a-z_]+)`", PAGE)
    assert len(named) > 5
    assert [key for key in named if key.split(".")[1] not in table[key.split(".")[0]]] == []


def test_every_exit_code_on_the_page_is_in_the_table() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "cli.md").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"exit code (\d+)", PAGE)) <= documented


CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")


def instructions() -> list[tuple[str, str]]:
    """Instructions of the Containerfile, continued lines joined."""
    joined = re.sub(r"\\\n", " ", CONTAINERFILE)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(kind, " ".join(rest.split())) for kind, _, rest in (line.partition(" ") for line in lines)]


def copied() -> list[str]:
    """Paths that come from the checkout."""
    copies = [rest.split() for kind, rest in instructions() if kind == "COPY" and "--from" not in rest]
    return [source for *sources, _ in copies for source in sources]


def test_the_containerfile_copies_what_the_ignore_file_lets_in() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied()) == allowed
    assert "**/.env" in (ROOT / ".dockerignore").read_text()


def test_every_path_that_the_containerfile_copies_exists_and_is_tracked() -> None:
    listed = subprocess.run(
        ["git", "ls-files", *copied()], cwd=ROOT, capture_output=True, text=True, check=False
    )
    for path in copied():
        assert (ROOT / path).exists(), path
        if listed.returncode == 0:  # not in an unpacked release
            assert any(name == path or name.startswith(f"{path}/") for name in listed.stdout.splitlines())


def test_what_the_build_needs_is_copied_before_it() -> None:
    """The package's own metadata names files; pip reads them in the build stage."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    build = next(
        i for i, (kind, rest) in enumerate(instructions()) if kind == "RUN" and "pip install" in rest
    )
    before = [rest.split() for kind, rest in instructions()[:build] if kind == "COPY"]
    there = {word for words in before for word in words[:-1]}
    assert {project["project"]["readme"], "pyproject.toml", "requirements.txt", "src"} <= there
    assert "-c requirements.txt ." in instructions()[build][1]


def test_stages_paths_and_commands_of_the_image_fit_together() -> None:
    found = instructions()
    stages = {rest.split(" AS ")[1] for kind, rest in found if kind == "FROM" and " AS " in rest}
    taken = [rest.split()[0].removeprefix("--from=") for kind, rest in found if "--from=" in rest]
    assert set(taken) == stages == {"build"}
    bases = {rest.split(" AS ")[0] for kind, rest in found if kind == "FROM"}
    assert len(bases) == 1  # an environment moves only between the same interpreters
    assert re.search(r"python:3\.1\d", bases.pop())
    values = dict(found)
    entry = json.loads(values["ENTRYPOINT"])
    assert entry[0] in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    health = json.loads(values["HEALTHCHECK"].split("CMD ")[1])
    for words in (json.loads(values["CMD"]), health[1:]):
        command_of(words)
    assert health[0] == entry[0]
    assert "/opt/horizoncast/bin" in values["ENV"]
    assert values["USER"] in next(rest for kind, rest in found if "useradd" in rest)
    assert values["WORKDIR"] == values["VOLUME"]
    homes = {
        rest.split()[-1].rpartition("/")[0] for kind, rest in found if kind == "COPY" and "/share/" in rest
    }
    assert [f"{home}/. {values['VOLUME']}" in PAGE for home in homes] == [True]  # what the page copies out
