"""`data check --report` and `data override` as typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from horizoncast.cli import main
from small_target import write_target

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line beside a target, through the outermost handler."""
    monkeypatch.chdir(tmp_path)
    write_target(tmp_path)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return int(ended.value.code or 0), captured.out, captured.err

    return call


BY = ("--why", "typo", "--by", "ana")


def test_override_list_revert(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("data", "override", "toy.toml", "--date", "2023-05-05", "--value", "17.5", *BY)
    assert code == 0
    assert "recorded: override 1 of target, 2023-05-05" in out
    assert (tmp_path / "store" / "toy.overrides.jsonl").is_file()
    assert "override 1 of target" in run("data", "check", "toy.toml")[1]
    code, out, _ = run("data", "override", "toy.toml", "--revert", "1", *BY)
    assert (code, "reverted: override 1" in out) == (0, True)
    assert "override 1" not in run("data", "check", "toy.toml")[1]
    code, out, _ = run("data", "override", "toy.toml", "--list", "--json")
    (one,) = json.loads(out)
    assert (one["value"], one["by"], one["reverted_by"]) == (17.5, "ana", "ana")
    assert "reverted by ana" in run("data", "override", "toy.toml", "--list")[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say one thing"),
        (("--list", "--revert", "1"), "say one thing"),
        (("--date", "2023-05-05", *BY), "--value or --drop"),
        (("--date", "2023-05-05", "--drop", "--value", "1", *BY), "--value or --drop"),
        (("--date", "2023-05-05", "--drop"), "--why is empty"),
        (("--date", "2023-05-06", "--drop", *BY), "no such observation"),
        (("--date", "2023-05-05", "--drop", "--column", "targit", *BY), "did you mean target"),
        (("--date", "05/05/2023", "--drop", *BY), "--date cannot be read"),
        (("--revert", "7", *BY), "unknown override"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    run: Run, arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    code, out, err = run("data", "override", "toy.toml", *arguments)
    assert (code, out) == (2, "")
    assert said in err
    log = tmp_path / "store" / "toy.overrides.jsonl"
    assert not log.exists() or log.read_bytes() == b""


def test_a_suggested_command_works_as_printed(run: Run, tmp_path: Path) -> None:
    data = tmp_path / "toy.csv"
    lines = data.read_text().splitlines()
    day, value = lines[-2].split(",")
    lines[-2] = f"{day},{100 * float(value):.6f}"
    data.write_text("\n".join(lines) + "\n")
    code, out, _ = run("data", "check", "toy.toml", "--store", "elsewhere")
    assert code == 3
    (line,) = [text for text in out.splitlines() if "horizoncast data override" in text]
    import shlex

    words = shlex.split(line.partition(": ")[2])
    assert run(*words[1:])[0] == 0
    code, out, _ = run("data", "check", "toy.toml", "--store", "elsewhere")
    assert (code, "fit to be forecast" in out) == (0, True)
    assert run("data", "check", "toy.toml")[0] == 3, "another store has no such correction"


def test_report_on_the_terminal_and_as_a_page(run: Run, tmp_path: Path) -> None:
    for arguments in (("--report",), ("--report", "--as-of", "2023-06-30")):
        code, out, _ = run("data", "check", "toy.toml", *arguments)
        assert code == 0
        assert "coverage" in out and "2023" in out
    code, out, _ = run("data", "check", "--report", "page.html", "toy.toml")
    assert (code, out.strip()) == (0, "report: page.html")
    assert (tmp_path / "page.html").read_text().startswith("<!doctype html>")
