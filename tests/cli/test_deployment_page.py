"""docs/deployment.md and the Containerfile name only what exists."""

import re
import shlex
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


def test_every_setting_on_the_page_exists(tmp_path: Path) -> None:
    table = load_settings("forecaster_7d", root=tmp_path, environ={}).table()
    named = re.findall(r"`((?:run|cadence|tick|data|inputs)\.[a-z_]+)`", PAGE)
    assert len(named) > 5
    assert [key for key in named if key.split(".")[1] not in table[key.split(".")[0]]] == []


def test_every_exit_code_on_the_page_is_in_the_table() -> None:
    documented = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "cli.md").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"exit code (\d+)", PAGE)) <= documented


def test_the_containerfile_copies_what_the_ignore_file_lets_in() -> None:
    text = (ROOT / "Containerfile").read_text()
    copied = {
        word
        for line in text.splitlines()
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert "**/.env" in (ROOT / ".dockerignore").read_text()
