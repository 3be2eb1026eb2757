"""Publication and ticks with the ledger in PostgreSQL: statements that fail, backends that end, kills."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError

import kill_farm
from due_services import FRIDAY, light, write_services
from horizoncast.errors import StoreError
from horizoncast.service import notify
from horizoncast.service.attempts import Memory, write_memory
from horizoncast.service.due import publications, target_of
from horizoncast.service.status import Health, statuses
from horizoncast.service.tick import tick
from horizoncast.store.ledger.database import Database
from horizoncast.store.ledger.invariants import check_invariants
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Message, RunRow
from horizoncast.store.points import POINTS
from ledger_runs import LOG, a_record, an_entry
from postgres import new_database

FARM = Path(kill_farm.__file__)


@pytest.fixture
def url(postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database of the test's own, which runs of the farm publish to."""
    found, deliver = new_database(postgres), notify.deliver
    monkeypatch.setenv(kill_farm.LEDGER, found)
    yield found
    notify.deliver = deliver


class Fault:
    """The n-th statement or commit of this process fails.

    Parameters
    ----------
    at
        Which one, from 1.
    end
        URL: the server's backend is ended before it, as by a restart. Without one it is refused.
    """

    def __init__(self, at: int, end: str = "") -> None:
        self.at, self.count, self.done = at, 0, False
        self._end = Database(end).engine if end else None

    def step(self, connection: Connection) -> None:
        self.count += 1
        if self.count != self.at or self.done:
            return
        self.done = True
        if self._end is None:
            raise OperationalError("", {}, Exception("out of disk space"))
        raw = connection.connection.dbapi_connection
        assert raw is not None
        with self._end.connect() as other:
            other.execute(text(f"SELECT pg_terminate_backend({raw.info.backend_pid})"))


@contextmanager
def faulty(fault: Fault) -> Iterator[None]:
    def statement(connection: Connection, *_: object) -> None:
        if connection.engine is not fault._end:
            fault.step(connection)

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", statement)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", statement)


def test_the_nth_statement_fails_for_every_n(tmp_path: Path, url: str) -> None:
    """Refused, and by turns the backend ended; on one folder, where what was acknowledged stays."""
    published, refused = set(), 0
    kill_farm.run(tmp_path, a_record(0))
    published.add(a_record(0).run_id)
    for at in range(1, 200):
        record, fault = a_record(2 * at), Fault(at, url if at % 2 else "")
        try:
            with faulty(fault):
                kill_farm.run(tmp_path, record)
            published.add(record.run_id)
        except StoreError:
            refused += 1
        known = {row.run_id for row in Ledger(url).runs.all()}
        assert known == published, at
        if not fault.done:
            break
    after = a_record(999)
    kill_farm.run(tmp_path, after)
    assert check_invariants(Ledger(url), tmp_path, log=tmp_path / LOG) == ()
    assert set((tmp_path / "received").read_text().split()) == published | {after.run_id}
    assert at > 20 and refused > 10


def test_a_kill_at_every_named_point(tmp_path: Path, url: str) -> None:
    done = subprocess.run(
        [sys.executable, str(FARM), str(tmp_path), "points", "0", "1"],
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(FARM.parent), *sys.path])},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["where"] == dict.fromkeys(POINTS, 1)


# ticks


def services(folder: Path, url: str, monkeypatch: pytest.MonkeyPatch, more: str = "") -> Path:
    """Services whose ledger is in PostgreSQL, the password outside of the settings."""
    password = url.split("//tester:", 1)[1].split("@", 1)[0]
    hidden = url.replace(password, "{secret:PG_PASSWORD}")
    monkeypatch.setenv("PG_PASSWORD", kill_farm_password())
    return write_services(folder, more=f"[ledger]\nurl = '{hidden}'\n{more}")


def kill_farm_password() -> str:
    from postgres import PASSWORD

    return PASSWORD


def publish(ledger: Ledger, root: Path, as_of: str, committed: datetime) -> RunRow:
    """A run of service one as of a day; the commit is dated as the test's clock has it."""
    (root / "runs").mkdir(exist_ok=True)
    entry = an_entry(root / "runs", a_record(name="toy", service="one"))
    run = ledger.runs.commit(replace(entry, run=replace(entry.run, as_of=as_of)))
    with ledger.database.writing() as connection:
        stamp = committed.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        connection.execute(
            text("UPDATE runs SET committed = :at, started = :at WHERE run_id = :run"),
            {"at": stamp, "run": run.run_id},
        )
    return run


def test_what_is_published_is_read_by_url(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (settings,) = light(services(tmp_path, url, monkeypatch))
    assert publications(settings, target_of(settings)) == []
    publish(Ledger(url), tmp_path, "2026-01-08", FRIDAY)
    (found,) = publications(settings, target_of(settings))
    assert found.committed == FRIDAY
    assert not (tmp_path / "runs" / "ledger.sqlite").exists()


def test_a_tick_runs_what_is_due_and_leaves_what_is_published(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    def start(arguments: list[str], limit_s: float) -> int:
        started.append(arguments[0])
        publish(Ledger(url), tmp_path, "2026-01-08", FRIDAY)
        return 0

    found = light(services(tmp_path, url, monkeypatch))
    (status,) = statuses(found, FRIDAY)
    assert status.health is Health.UNKNOWN
    for hours in (0, 1, 2):
        moment = FRIDAY + timedelta(hours=hours)
        assert tick(found, now=lambda moment=moment: moment, start=start).exit_code == 0  # type: ignore[arg-type,misc]
    assert started == ["run"]
    (status,) = statuses(found, FRIDAY + timedelta(hours=3))
    assert (status.health, status.as_of) == (Health.FRESH, "2026-01-08")


def test_a_database_that_is_gone_stops_the_service_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = "postgresql://tester:x@127.0.0.1:9/none"
    found = light(services(tmp_path, gone, monkeypatch, "timeout_s = 1.0"))
    report = tick(found, now=lambda: FRIDAY, start=lambda arguments, limit_s: 0)
    assert report.exit_code == StoreError.exit_code
    assert "127.0.0.1" in str(report.looked[0].error)


def test_a_message_that_waits_in_the_database_is_sent_between_runs(
    tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = services(tmp_path, url, monkeypatch, "[notify]\nwebhooks = ['json://receiver']")
    found = light(folder)
    ledger, now = Ledger(url), FRIDAY - timedelta(days=2, hours=-6)
    write_memory(tmp_path / "runs", Memory().seen(now))
    publish(ledger, tmp_path, "2026-01-01", FRIDAY - timedelta(days=7))
    ledger.outbox.add([Message(key="k", channel="webhook/0", payload={"run": "r"})])
    with ledger.database.writing() as connection:
        connection.execute(text("UPDATE outbox SET due = '2026-01-01T00:00:00.000Z'"))
    kill_farm.receive(tmp_path)
    quiet = [replace(s, cadence=replace(s.cadence, late_hours=0.001)) for s in found]
    assert tick(quiet, now=lambda: now, start=lambda arguments, limit_s: 1).exit_code == 0
    assert (tmp_path / "received").read_text() == "r\n"
    assert [row.sent is not None for row in ledger.outbox.all()] == [True]
