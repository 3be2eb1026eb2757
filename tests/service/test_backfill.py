"""Past moments, in order, through the ledger."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from due_services import light, write_services
from horizoncast.cli import app
from horizoncast.errors import StoreError
from horizoncast.policy.schedule import Publication
from horizoncast.service.backfill import backfill, unserved, whole_days
from horizoncast.service.due import session_counter, target_of
from horizoncast.service.tick import LOCK
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.locks import alone

FIRST, LAST = datetime(2025, 10, 1, tzinfo=UTC), datetime(2025, 10, 31, tzinfo=UTC)
FRIDAYS = ["2025-10-02", "2025-10-09", "2025-10-16", "2025-10-23", "2025-10-30"]


def test_every_moment_without_a_forecast_as_of_its_own_session(tmp_path: Path) -> None:
    (settings,) = light(write_services(tmp_path))
    runs = unserved(settings, *whole_days(settings, FIRST, LAST))
    assert [run.as_of for run in runs] == FRIDAYS


def test_bounds_are_whole_days_on_the_services_clock(tmp_path: Path) -> None:
    (settings,) = light(write_services(tmp_path))
    day = datetime(2025, 10, 3, tzinfo=UTC)  # a Friday
    assert [run.as_of for run in unserved(settings, *whole_days(settings, day, day))] == FRIDAYS[:1]


@pytest.mark.parametrize("later", [datetime(2025, 11, 8, tzinfo=UTC), datetime(2026, 6, 30, tzinfo=UTC)])
def test_a_forecast_of_later_serves_no_moment_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: datetime
) -> None:
    (settings,) = light(write_services(tmp_path))
    session = session_counter(settings, target_of(settings))(later)
    made = Publication(session=session, committed=later)
    monkeypatch.setattr("horizoncast.service.backfill.publications", lambda *_: [made])
    runs = unserved(settings, *whole_days(settings, FIRST, LAST))
    assert [run.as_of for run in runs] == FRIDAYS


def test_one_child_after_the_other_and_a_failure_does_not_stop_the_rest(tmp_path: Path) -> None:
    (settings,) = light(write_services(tmp_path))
    runs = unserved(settings, *whole_days(settings, FIRST, LAST))
    started: list[str] = []

    def start(arguments: object, limit_s: float) -> int:
        started.append(arguments[arguments.index("--as-of") + 1])  # type: ignore[index,attr-defined]
        return 3 if len(started) == 2 else 0

    ran = backfill(runs, start=start)
    assert started == FRIDAYS
    assert [one.exit_code for one in ran] == [0, 3, 0, 0, 0]


def test_never_beside_a_tick(tmp_path: Path) -> None:
    (settings,) = light(write_services(tmp_path))
    runs = unserved(settings, *whole_days(settings, FIRST, LAST))
    with alone(settings.output_folder / LOCK), pytest.raises(StoreError, match="tick"):
        backfill(runs, start=lambda arguments, limit: 0)
    assert backfill([]) == []


def test_a_dry_run_says_what_a_real_one_does_and_a_second_one_finds_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_services(tmp_path)
    monkeypatch.chdir(tmp_path)
    span = ["backfill", "one", "--from", "2025-10-03", "--to", "2025-10-10"]
    dry = CliRunner().invoke(app, [*span, "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert "as of 2025-10-02" in dry.output
    assert dry.output.rstrip().endswith("2 would run")
    assert not (tmp_path / "runs").exists()
    # the children's own output goes to file descriptors that the runner does not have
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "horizoncast.cli", *span, "--json"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = Ledger.at(tmp_path / "runs").runs.all()
    assert [row.as_of for row in rows] == ["2025-10-02", "2025-10-09"]
    assert CliRunner().invoke(app, [*span, "--dry-run"]).output == "0 would run\n"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--from", "soon"], "--from"),
        (["--from", "2025-10-10", "--to", "2025-10-01"], "after --to"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], word: str
) -> None:
    write_services(tmp_path)
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, ["backfill", "one", *arguments])
    assert word in str(result.exception)
