"""The short way to `tick` is the usual one, only shorter."""

import sys
from pathlib import Path

import pytest
from typer.main import get_command

from horizoncast.cli import app, ticking
from horizoncast.cli.app import main
from horizoncast.cli.quick import FLAGS, VALUES, plain_tick

CALLS = [
    [],
    ["--quiet", "--root", "."],
    ["-q", "--json", "--now", "--set", "tick.run_minutes=5", "--set", "run.output=out"],
    ["--dry-run", "--root=.", "--env-file", "my.env", "--config=my.toml"],
]


def test_it_knows_the_options_that_typer_knows() -> None:
    command = get_command(app).commands["tick"]  # type: ignore[attr-defined]
    known = {option for parameter in command.params for option in parameter.opts} - {"--help"}
    assert known == {*FLAGS, *VALUES}


@pytest.mark.parametrize("arguments", CALLS)
def test_both_ways_arrive_at_the_same_call(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[object, ...]] = []

    def note(where: ticking.Where, **flags: bool) -> None:
        calls.append((where.sets, where.root, where.config, where.env_file, sorted(flags.items())))

    monkeypatch.setattr(ticking, "run_tick", note)
    main(["tick", *arguments])
    monkeypatch.setattr(sys.modules["horizoncast.cli.app"], "plain_tick", lambda given: None)
    with pytest.raises(SystemExit) as ended:
        main(["tick", *arguments])
    assert not ended.value.code
    assert calls[0] == calls[1]


@pytest.mark.parametrize(
    "arguments",
    [
        ["tick", "--help"],
        ["tick", "--root"],
        ["tick", "--quiet=yes"],
        ["tick", "more"],
        ["--debug", "tick"],
        [],
    ],
)
def test_what_is_not_plain_goes_the_usual_way(arguments: list[str]) -> None:
    assert plain_tick(arguments) is None


def test_exit_codes_are_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "services").mkdir()
    with pytest.raises(SystemExit) as ended:
        main(["tick", "--root", str(tmp_path)])
    assert ended.value.code == 2
    assert "services/NAME/service.toml" in capsys.readouterr().err
