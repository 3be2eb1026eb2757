"""Status: green only where a due forecast is on record, by as-of date and never by file time."""

import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from due_services import FRIDAY, light, write_services
from horizoncast.errors import PublicationError, RunEndedError
from horizoncast.service.status import Health, ServiceStatus, statuses, worst
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import LedgerEvent
from horizoncast.store.plain import time_text
from horizoncast.store.results import write_run
from live_runs import record_at

THURSDAY = "2026-01-08"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_services(tmp_path / "root", names=("one",))


def publish(root: Path, as_of: str, *, status: str = "published", reasons: tuple[str, ...] = ()) -> None:
    """A run of service ``one`` on record."""
    runs = root / "runs"
    ledger = Ledger.at(runs)
    record = replace(record_at(381), run_id=f"run-{as_of}-{status}")
    entry = run_entry(record, write_run(runs, record), root=runs)
    run = replace(
        entry.run, service="one", series="toy", as_of=as_of, cutoff=as_of, status=status, reasons=reasons
    )
    ledger.runs.commit(replace(entry, run=run, members=(), forecasts=(), events=()), reprocess=True)


def fail(root: Path, at: datetime, code: str, message: str = "because") -> None:
    event = LedgerEvent(
        at=time_text(at), code=code, message=message, severity="error", service="one", series="toy"
    )
    Ledger.at(root / "runs").events.add(event)


def look(root: Path, now: datetime = FRIDAY) -> ServiceStatus:
    (found,) = statuses(light(root), now)
    return found


def test_the_forecast_that_is_due_makes_a_service_fresh(root: Path) -> None:
    publish(root, THURSDAY)
    found = look(root)
    assert (found.health, found.as_of, found.expected) == (Health.FRESH, THURSDAY, THURSDAY)
    assert found.due == "Fri 2026-01-09 07:00"
    assert found.reason == ""


def test_a_status_is_not_green_because_nothing_was_recorded(root: Path) -> None:
    """No ledger, an empty ledger, and other services' runs alike: unknown, with an exit code."""
    assert look(root).health is Health.UNKNOWN
    Ledger.at(root / "runs")
    assert look(root).health is Health.UNKNOWN
    assert "nothing is on record" in look(root).reason
    assert worst([look(root)]).exit_code != 0
    assert worst([]) is Health.UNKNOWN


def test_a_run_that_failed_does_not_beat(root: Path) -> None:
    """An earlier system's heartbeat beat at the end of every run, failed ones among them."""
    publish(root, "2026-01-01")
    assert look(root, FRIDAY - timedelta(days=7)).health is Health.FRESH
    fail(root, FRIDAY - timedelta(minutes=30), "RunEndedError", "the run was killed")
    found = look(root)
    assert found.health is Health.MISSED
    assert "killed" in found.reason
    assert found.health.exit_code == RunEndedError.exit_code


def test_a_run_that_was_refused_is_blocked(root: Path) -> None:
    publish(root, "2026-01-01")
    fail(root, FRIDAY - timedelta(minutes=30), "PublicationError", "the output gate blocked it")
    found = look(root)
    assert found.health is Health.BLOCKED
    assert "output gate" in found.reason
    assert found.health.exit_code == PublicationError.exit_code


def test_a_failure_before_the_due_moment_says_nothing_of_it(root: Path) -> None:
    publish(root, "2026-01-01")
    fail(root, FRIDAY - timedelta(days=3), "PublicationError")
    assert look(root).health is Health.MISSED


def test_a_first_run_that_failed_is_no_unknown(root: Path) -> None:
    fail(root, FRIDAY - timedelta(minutes=30), "CheckError", "a spike")
    assert look(root).health is Health.BLOCKED


def test_a_due_moment_without_a_forecast_is_missed(root: Path) -> None:
    publish(root, "2026-01-01")
    found = look(root)
    assert (found.health, found.as_of, found.expected) == (Health.MISSED, "2026-01-01", THURSDAY)


def test_file_times_do_not_matter(root: Path) -> None:
    """Touching what is there makes nothing fresh, and age makes nothing stale."""
    publish(root, "2026-01-01")
    for path in (root / "runs").rglob("*"):
        os.utime(path, (FRIDAY.timestamp(), FRIDAY.timestamp()))
    assert look(root).health is Health.MISSED
    publish(root, THURSDAY)
    for path in (root / "runs").rglob("*"):
        os.utime(path, (0, 0))
    assert look(root).health is Health.FRESH


def test_just_due_is_judged_by_the_moment_before(root: Path) -> None:
    publish(root, "2026-01-01")
    found = look(root, FRIDAY - timedelta(minutes=50))
    assert found.health is Health.FRESH
    assert found.reason == "due since 07:00, within its grace"
    assert look(root, FRIDAY + timedelta(minutes=1)).health is Health.MISSED


def test_a_degraded_run_says_why(root: Path) -> None:
    publish(root, THURSDAY, status="degraded", reasons=("var is on and gave no forecast",))
    found = look(root)
    assert (found.health, found.reason) == (Health.DEGRADED, "var is on and gave no forecast")
    assert found.health.exit_code == 0


def test_a_forecast_on_older_data_is_degraded_even_if_it_says_published(root: Path) -> None:
    publish(root, "2026-01-01")
    publish(root, "2026-01-06")
    committed = time_text(FRIDAY - timedelta(minutes=5))  # after the due moment, made from Tuesday's data
    with sqlite3.connect(root / "runs" / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE runs SET committed = ? WHERE as_of = '2026-01-06'", (committed,))
    found = look(root)
    assert found.health is Health.DEGRADED
    assert "older data" in found.reason


def test_a_backfill_after_the_due_moment_leaves_it_missed(root: Path) -> None:
    publish(root, "2026-01-01")
    publish(root, "2026-01-06")
    committed = time_text(FRIDAY - timedelta(minutes=5))
    with sqlite3.connect(root / "runs" / "ledger.sqlite") as ledger:
        ledger.execute("UPDATE runs SET committed = ?, origin = 'backfill'", (committed,))
    assert look(root).health is Health.MISSED


def test_the_newest_revision_counts(root: Path) -> None:
    publish(root, THURSDAY, status="degraded", reasons=("late",))
    publish(root, THURSDAY)
    assert look(root).health is Health.FRESH


def test_what_cannot_be_read_is_unknown_and_leaves_the_others_alone(tmp_path: Path) -> None:
    root = write_services(tmp_path / "root", names=("one", "two"))
    publish(root, THURSDAY)
    services = light(root)
    broken = replace(services[1], target_path=root / "gone.toml")
    found = statuses([services[0], broken], FRIDAY)
    assert [s.health for s in found] == [Health.FRESH, Health.UNKNOWN]
    assert "gone.toml" in found[1].reason
    (root / "runs" / "ledger.sqlite").write_bytes(b"not a database" * 100)
    assert {s.health for s in statuses(services, FRIDAY)} == {Health.UNKNOWN}


def test_a_ledger_by_url_is_asked_the_same(root: Path) -> None:
    publish(root, THURSDAY)
    url = f"sqlite:///{root / 'runs' / 'ledger.sqlite'}"
    services = [replace(s, ledger_url=url, overrides={"ledger.url": url}) for s in light(root)]
    (found,) = statuses(services, FRIDAY)
    assert found.health is Health.FRESH


def test_nothing_heavy_is_imported(root: Path) -> None:
    publish(root, THURSDAY)
    code = f"""
import sys
from pathlib import Path
from horizoncast.service.folders import find_places
from horizoncast.service.light import read_light
from horizoncast.service.status import statuses
places = find_places(Path({str(root)!r}))
print(statuses([read_light("one", places, environ={{}})])[0].as_of)
print(*sorted({{"pandas", "scipy", "sqlalchemy", "pydantic", "pyarrow", "arch"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == [THURSDAY]
