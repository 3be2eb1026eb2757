"""docs/cli.md: every command, option and exit code."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from horizoncast import errors
from horizoncast.cli import app

DOC = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(group: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        here = f"{path} {name}".strip()
        if hasattr(command, "commands"):
            yield from commands(command, here)
        else:
            yield here, command


def sections() -> dict[str, str]:
    parts = re.split(r"^## `horizoncast ([a-z -]+?)(?: \[?[A-Z]+\]?)*`$", DOC, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_command_has_a_section_and_every_section_a_command() -> None:
    assert sorted(sections()) == sorted(name for name, _ in commands(get_command(app)))


def test_every_option_stands_in_its_commands_section() -> None:
    missing = [
        f"{name} {option}"
        for name, command in commands(get_command(app))
        for parameter in command.params
        for option in parameter.opts
        if option.startswith("--") and option != "--help" and f"`{option}" not in sections()[name]
    ]
    assert missing == []


def test_no_option_is_documented_that_does_not_exist() -> None:
    for name, command in commands(get_command(app)):
        known = {option for parameter in command.params for option in parameter.opts}
        named = set(re.findall(r"`(--[a-z-]+)", sections()[name]))
        assert named <= known, name


def test_every_option_has_a_help_text() -> None:
    bare = [
        f"{name} {p.name}"
        for name, command in commands(get_command(app))
        for p in command.params
        if not p.help
    ]
    assert [b for b in bare if not b.endswith("help")] == []


def test_exit_codes_are_those_of_the_errors() -> None:
    table = DOC.split("## Exit codes")[1].split("##")[0]
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", table, flags=re.MULTILINE)}
    used = {
        kind.exit_code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.HorizoncastError)
    }
    assert documented == used | {0, 130}
