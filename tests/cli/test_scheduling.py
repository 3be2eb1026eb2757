"""`tick`, `schedule` and `run --once` on the command line."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from due_services import write_data, write_services
from horizoncast.cli import app
from horizoncast.errors import UnknownNameError
from horizoncast.store.ledger.ledger import Ledger

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_services(tmp_path, days=WEEK)
    write_data(tmp_path, str(np.busday_offset(np.datetime64("today") - 1, 0, roll="backward")))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.stdout


def test_a_dry_tick_says_what_is_due_and_leaves_nothing(root: Path) -> None:
    assert "one: due since" in call("tick", "--dry-run")
    plain = json.loads(call("tick", "--dry-run", "--json"))
    assert [row["service"] for row in plain["due"]] == ["one"]
    assert plain["ran"] == []
    assert not (root / "runs").exists()


def test_nothing_due_names_the_next_moment(root: Path) -> None:
    assert call("tick", "--set", "cadence.late_hours=0.0001").startswith("nothing due; next: one, ")


def test_preview_prints_dates_and_warnings(root: Path) -> None:
    text = call("schedule", "preview", "one", "--from", "2026-01-01", "--days", "365")
    assert text.startswith("one: 365 moments in 365 days, America/Santiago")
    assert "Fri 2026-01-02 07:00  10:00 UTC  data up to 2026-01-01" in text
    assert "warning: the clock changes before 2026-04-05" in text
    (plain,) = json.loads(call("schedule", "preview", "--days", "3", "--from", "2026-01-01", "--json"))
    assert [m["local"][:16] for m in plain["moments"]] == [
        "2026-01-01T07:00",
        "2026-01-02T07:00",
        "2026-01-03T07:00",
    ]


def test_export_prints_or_writes(root: Path) -> None:
    assert "tick --quiet --root" in call("schedule", "export", "cron")
    assert "OnCalendar=*-*-* *:0/5:00" in call("schedule", "export", "systemd", "--every", "5")
    call("schedule", "export", "systemd", "--out", str(root / "units"))
    assert {p.name for p in (root / "units").iterdir()} == {
        "horizoncast-tick.service",
        "horizoncast-tick.timer",
    }
    result = CliRunner().invoke(app, ["schedule", "export", "crn"])
    assert isinstance(result.exception, UnknownNameError)


def test_a_run_asked_for_once_leaves_a_published_as_of_alone(root: Path) -> None:
    sets = ["--set", "run.isolated=false", "--quiet"]
    call("run", "one", "--once", *sets)
    result = CliRunner().invoke(app, ["run", "one", "--once", *sets])
    assert result.exit_code == 0
    assert "nothing was done" in result.output
    plain = json.loads(call("run", "one", "--once", "--json", *sets))
    assert plain["published"] is False
    assert [row.revision for row in Ledger.at(root / "runs").runs.all()] == [1]
    call("run", "one", *sets)
    assert [row.revision for row in Ledger.at(root / "runs").runs.all()] == [1, 2]
