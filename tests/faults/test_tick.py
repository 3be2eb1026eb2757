"""Ticks late, twice, at once, with the clock jumping and killed half way: every session is published once."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import psutil
import pytest

from due_services import FRIDAY, light, write_data, write_services
from horizoncast.errors import HorizoncastError, RunEndedError, StoreError
from horizoncast.service import tick as tick_module
from horizoncast.service.attempts import FILE, Memory, read_memory, write_memory
from horizoncast.service.children import TIMED_OUT
from horizoncast.service.due import LEDGER_FILE
from horizoncast.service.tick import LOCK, TickReport, tick
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Message
from horizoncast.store.locks import alone

WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HOUR = timedelta(hours=1)


class World:
    """A clock, data that arrive on time, and runs that publish what is there.

    Every weekday's value is there when the next day begins (UTC), or with `daily` every day's.
    """

    def __init__(self, folder: Path, now: datetime, *, daily: bool = False) -> None:
        self.folder, self.now, self.daily = folder, now, daily
        self.commands: list[tuple[str, ...]] = []
        self.published: list[tuple[str, str]] = []
        self.exit_code = 0
        (folder / "runs").mkdir(exist_ok=True)
        with self._ledger() as ledger:
            ledger.execute(
                "CREATE TABLE IF NOT EXISTS runs (service, series, as_of, revision, started, committed)"
            )

    def _ledger(self) -> sqlite3.Connection:
        return sqlite3.connect(self.folder / "runs" / LEDGER_FILE)

    def start(self, arguments: Sequence[str], limit_s: float) -> int:
        """What `horizoncast run --once` would leave in the ledger."""
        self.commands.append(tuple(arguments))
        if arguments[0] != "run" or self.exit_code:
            return self.exit_code
        assert "--once" in arguments
        service, as_of = arguments[1], self.newest_day()
        if "--as-of" in arguments:
            as_of = min(as_of, date.fromisoformat(arguments[arguments.index("--as-of") + 1]))
        if (service, str(as_of)) not in self.published:
            self.published.append((service, str(as_of)))
            moment = self.now.strftime("%Y-%m-%dT%H:%M:%S.000Z")
            with self._ledger() as ledger:
                ledger.execute(
                    "INSERT INTO runs VALUES (?, 'toy', ?, 1, ?, ?)", (service, str(as_of), moment, moment)
                )
        return 0

    def newest_day(self) -> date:
        """The last day whose value is there."""
        day = self.now.date() - timedelta(days=1)
        return day if self.daily else np.busday_offset(day, 0, roll="backward").astype(object)

    def tick(self, *services: str) -> TickReport:
        """One tick at the world's clock."""
        return tick(light(self.folder, *services), now=lambda: self.now, start=self.start)

    def ticks(self, until: datetime, step: timedelta) -> Iterator[TickReport]:
        """Ticks from now to a moment."""
        while self.now <= until:
            yield self.tick()
            self.now += step


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[HorizoncastError]:
    """What ticks leave in the log and tell people."""
    found: list[HorizoncastError] = []
    monkeypatch.setattr(tick_module, "record", lambda settings, series, at, error: found.append(error))
    return found


def test_what_is_due_is_run_once(tmp_path: Path, told: list[HorizoncastError]) -> None:
    world = World(write_services(tmp_path), FRIDAY)
    reports = list(world.ticks(FRIDAY + 24 * HOUR, HOUR / 4))
    assert world.published == [("one", "2026-01-08")]
    assert len(world.commands) == 1
    assert [r.exit_code for r in reports] == [0] * len(reports)
    assert told == []


def test_services_share_a_tick_and_a_broken_one_leaves_the_others_alone(tmp_path: Path) -> None:
    world = World(write_services(tmp_path, names=("bad", "good")), FRIDAY)
    file = tmp_path / "services" / "bad" / "service.toml"
    file.write_text(file.read_text().replace("toy.toml", "gone.toml"))
    report = world.tick()
    assert world.published == [("good", "2026-01-08")]
    assert report.exit_code == 2
    assert [one.error is None for one in report.looked] == [False, True]


def test_the_clock_jumps_forwards_and_back(tmp_path: Path, told: list[HorizoncastError]) -> None:
    """A year ahead and back again: nothing is published twice, and the next Friday is not lost."""
    world = World(write_services(tmp_path), FRIDAY)
    world.tick()
    world.newest_day = lambda: date(2026, 1, 8)  # type: ignore[method-assign]  # the data know no such jump
    world.now = FRIDAY + timedelta(days=364)
    world.tick()
    assert world.published == [("one", "2026-01-08")]
    del world.newest_day
    world.now = FRIDAY - timedelta(days=3)
    world.tick()
    assert world.published == [("one", "2026-01-08")]
    world.now = FRIDAY + timedelta(days=7)
    world.tick()
    assert world.published == [("one", "2026-01-08"), ("one", "2026-01-15")]


def test_hours_of_a_clock_that_runs_backwards(tmp_path: Path, told: list[HorizoncastError]) -> None:
    world = World(write_services(tmp_path, days=WEEK[:5]), FRIDAY + 72 * HOUR)
    for _ in range(24 * 6):
        world.tick()
        world.now -= HOUR
    assert len(set(world.published)) == len(world.published)


@pytest.mark.parametrize("wall", ["00:00", "07:00", "23:30"])
@pytest.mark.parametrize("change", ["2026-04-04", "2026-09-05"])
def test_regression_no_day_is_lost_or_doubled_when_santiago_changes_its_clock(
    tmp_path: Path, told: list[HorizoncastError], wall: str, change: str
) -> None:
    """Cron skips a midnight that does not exist and repeats a half past eleven that comes twice."""
    write_services(tmp_path, days=WEEK, more=f'time = "{wall}"')
    file = tmp_path / "toy.toml"
    file.write_text(file.read_text().replace('kind = "business"', 'kind = "daily"'))
    begin = datetime.fromisoformat(change).replace(tzinfo=UTC) - timedelta(days=3) + 12 * HOUR
    world = World(tmp_path, begin, daily=True)
    world.tick()  # what was due before the story begins
    before = len(world.published)
    world.now += HOUR
    list(world.ticks(begin + timedelta(days=5), HOUR / 2))
    days = [day for _, day in world.published[before:]]
    assert len(days) == 5
    assert days == [str(date.fromisoformat(days[0]) + timedelta(days=n)) for n in range(5)]
    assert told == []


def test_a_run_that_fails_is_tried_again_and_in_the_end_told_as_missed(
    tmp_path: Path, told: list[HorizoncastError]
) -> None:
    world = World(write_services(tmp_path, more="late_hours = 4.0"), FRIDAY)
    world.exit_code = 3
    reports = list(world.ticks(FRIDAY + 12 * HOUR, HOUR / 6))
    assert 6 <= len(world.commands) <= 7  # from eight to eleven, every half hour
    assert {r.exit_code for r in reports} == {0, 3}
    assert [type(error) for error in told] == [RunEndedError]
    assert "nothing was published for 2026-01-09 07:00" in str(told[0])


def test_a_run_that_is_ended_is_told_at_once(tmp_path: Path, told: list[HorizoncastError]) -> None:
    world = World(write_services(tmp_path), FRIDAY)
    for code, word in (
        (TIMED_OUT, "after 120 minutes"),
        (-9, "signal 9"),
        (1, "exit code 1"),
        (2, "exit code 2"),
    ):
        world.exit_code = code
        report = world.tick()
        assert report.exit_code == (2 if code == 2 else RunEndedError.exit_code)
        assert word in str(told[-1])
        world.now += HOUR
    world.exit_code = 0
    assert world.tick().exit_code == 0
    assert world.published == [("one", "2026-01-08")]


def test_catching_up_with_all_uses_the_date_of_each_moment(
    tmp_path: Path, told: list[HorizoncastError]
) -> None:
    more = 'catch_up = "all"\nlate_hours = 100.0'
    world = World(write_services(tmp_path, days=WEEK[:5], more=more), FRIDAY)
    world.tick()
    assert [day for _, day in world.published] == [
        "2026-01-02", "2026-01-05", "2026-01-06", "2026-01-07", "2026-01-08",
    ]  # fmt: skip
    assert ["--as-of" in command for command in world.commands] == [True, True, True, True, False]


def test_data_that_come_late_are_waited_for(tmp_path: Path, told: list[HorizoncastError]) -> None:
    world = World(write_services(tmp_path), FRIDAY)
    world.published.append(("one", "2026-01-07"))
    with world._ledger() as ledger:
        row = ("one", "toy", "2026-01-07", 1, "2026-01-08T15:00:00.000Z", "2026-01-08T15:00:00.000Z")
        ledger.execute("INSERT INTO runs VALUES (?, ?, ?, ?, ?, ?)", row)
    world.newest_day = lambda: date(2026, 1, 7)  # type: ignore[method-assign]
    list(world.ticks(FRIDAY + 2 * HOUR, HOUR / 4))
    del world.newest_day
    list(world.ticks(FRIDAY + 4 * HOUR, HOUR / 4))
    assert world.published[-1] == ("one", "2026-01-08")
    assert len(world.commands) < 7


@pytest.mark.parametrize("text", ["", "{}", "\x00\x01", '{"first": 1}'])
def test_without_its_memory_a_tick_publishes_the_same(
    tmp_path: Path, told: list[HorizoncastError], text: str
) -> None:
    world = World(write_services(tmp_path), FRIDAY)
    for _ in range(5):
        (tmp_path / "runs" / FILE).write_text(text)
        world.tick()
        world.now += HOUR
    assert world.published == [("one", "2026-01-08")]
    assert told == []


def test_a_tick_beside_another_one_does_nothing(tmp_path: Path) -> None:
    world = World(write_services(tmp_path), FRIDAY)
    with alone(tmp_path / "runs" / LOCK) as mine:
        assert mine
        report = world.tick()
    assert report.busy
    assert (world.commands, report.exit_code) == ([], 0)
    assert world.tick().ran[0].exit_code == 0


def test_a_ledger_that_cannot_be_read_stops_its_service_and_says_so(tmp_path: Path) -> None:
    world = World(write_services(tmp_path), FRIDAY)
    (tmp_path / "runs" / LEDGER_FILE).write_bytes(b"no database at all" * 100)
    report = world.tick()
    assert world.commands == []
    assert report.exit_code == StoreError.exit_code


def test_a_target_with_pulled_sources_is_pulled_once_for_all_services(tmp_path: Path) -> None:
    world = World(write_services(tmp_path, names=("one", "two")), FRIDAY)
    file = tmp_path / "toy.toml"
    source = file.read_text().replace(
        'type = "csv"\npath = "toy.csv"\nvalue_column = "value"', 'type = "fred_csv"\nseries = "DEXMXUS"'
    )
    file.write_text(source)
    world.tick()
    kinds = [command[:2] for command in world.commands]
    assert kinds == [("data", "pull"), ("run", "one"), ("run", "two")]


# real processes


def today_services(folder: Path, *, names: Sequence[str] = ("one",)) -> Path:
    """Services that are due now, whatever day it is."""
    yesterday = np.busday_offset(np.datetime64("today") - 1, 0, roll="backward")
    write_services(folder, names=names, days=WEEK)
    write_data(folder, str(yesterday))
    return folder


def spawn(folder: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "horizoncast.cli", "tick", "--quiet", *more],
        cwd=folder,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def rows(folder: Path) -> list[tuple[str, str, int]]:
    ledger = Ledger.at(folder / "runs")
    return [(row.service, row.as_of, row.revision) for row in ledger.runs.all()]


def family(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def test_two_ticks_at_once_publish_once(tmp_path: Path) -> None:
    today_services(tmp_path)
    both = [spawn(tmp_path), spawn(tmp_path)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert [revision for _, _, revision in rows(tmp_path)] == [1]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_leaves_no_orphan_and_the_next_tick_completes(
    tmp_path: Path, number: signal.Signals
) -> None:
    today_services(tmp_path)
    process = spawn(tmp_path)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(family(process.pid)) < 2:
        time.sleep(0.02)  # until the run has children of its own: the fork server and a member
    orphans = family(process.pid)
    assert len(orphans) >= 2
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (-9 if number == signal.SIGKILL else 143)
    _, alive = psutil.wait_procs(orphans, timeout=15)
    assert alive == []
    assert rows(tmp_path) == []
    again = spawn(tmp_path)
    said = again.communicate(timeout=120)[1]
    assert again.returncode == 0, said
    assert [revision for _, _, revision in rows(tmp_path)] == [1]
    assert read_memory(tmp_path / "runs").attempts
    assert spawn(tmp_path).wait(timeout=60) == 0
    assert len(rows(tmp_path)) == 1


def test_a_run_past_its_limit_is_ended_and_on_record(tmp_path: Path) -> None:
    today_services(tmp_path)
    process = spawn(tmp_path, "--set", "tick.run_minutes=0.01")
    said = process.communicate(timeout=60)[1]
    assert process.returncode == RunEndedError.exit_code, said
    events = Ledger.at(tmp_path / "runs").events.all()
    assert [event.code for event in events] == ["RunEndedError"]
    assert "was ended after 0.01 minutes" in events[0].message


def test_a_message_that_did_not_arrive_is_tried_again_between_runs(tmp_path: Path) -> None:
    """The notifier is down; ticks with nothing due keep trying, less and less often, and never fail."""
    more = "[notify]\nping = 'http://127.0.0.1:9/check'\ntimeout_s = 2.0"
    (settings,) = light(write_services(tmp_path, more=more))
    ledger = Ledger.at(tmp_path / "runs")
    ledger.outbox.add([Message(key="run/1/mail", channel="webhook", payload={"subject": "s", "text": "t"})])
    said: list[str] = []
    # hours after any moment of the cadence, which is 07:00 in Santiago
    now = (datetime.now(tz=UTC) + timedelta(days=1)).replace(hour=18)
    write_memory(tmp_path / "runs", Memory().seen(now))
    quiet = replace(settings, cadence=replace(settings.cadence, late_hours=0.0001))
    tries = []
    for seconds in (0, 5, 70, 75, 200):
        moment = now + timedelta(seconds=seconds)
        assert tick([quiet], now=lambda moment=moment: moment, tell=said.append).exit_code == 0
        tries.append(ledger.outbox.all()[0].attempts)
    assert tries == [1, 1, 2, 2, 3]
    assert len(said) == 3
