"""Publication under faults: whatever fails or is killed, the ledger holds and the next run completes.

Kills run in a process of their own, `kill_farm`, because a fork must not meet Arrow's threads.
"""

import errno
import io
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import OperationalError

from horizoncast.errors import StoreError
from horizoncast.service import notify
from horizoncast.store import results
from horizoncast.store.ledger.database import FILE
from horizoncast.store.ledger.invariants import check_invariants
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import import_runs, repair
from horizoncast.store.points import POINTS
from horizoncast.store.records import RunRecord
from kill_farm import run
from ledger_runs import LOG, a_record, commit

FARM = Path(__file__).parents[1] / "kill_farm.py"
REAL_DELIVER = notify.deliver


@pytest.fixture(autouse=True)
def real_notifier() -> Iterator[None]:
    """`kill_farm.run` replaces the network by a file; others get it back."""
    yield
    notify.deliver = REAL_DELIVER


def farm(folder: Path, mode: str, count: int = 0, seed: int = 1, timeout_s: float = 300) -> dict[str, int]:
    """How far runs came, by point."""
    path = os.pathsep.join([str(FARM.parent), *sys.path])
    done = subprocess.run(
        [sys.executable, str(FARM), str(folder), mode, str(count), str(seed)],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, int] = json.loads(done.stdout)["where"]
    return found


# kills


def test_a_kill_at_every_named_point(tmp_path: Path) -> None:
    assert farm(tmp_path, "points") == dict.fromkeys(POINTS, 1)


def test_sixty_kills_at_random_moments(tmp_path: Path) -> None:
    where = farm(tmp_path, "random", 60)
    assert sum(where.values()) == 60
    assert len(set(where) - {"done"}) >= 5, where


@pytest.mark.slow
def test_a_thousand_kills_at_random_moments(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = farm(tmp_path, "random", 1000, seed=2026, timeout_s=7200)
    with capsys.disabled():
        for point in (*POINTS, "done"):
            sys.stdout.write(f"\n{point:12} {where.get(point, 0):4}")
    assert sum(where.values()) == 1000
    assert sum(count for point, count in where.items() if point != "done") >= 300


# a full disk, a folder that cannot be written, two at once


def test_a_disk_that_fills_at_any_size(tmp_path: Path) -> None:
    where = farm(tmp_path, "limits", 12)
    assert where["refused"] >= 5 and sum(where.values()) == 12


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        folder.chmod(0o755)  # another user has to come through
    assert farm(tmp_path, "denied") == {"refused": 1}


def test_two_runs_of_one_as_of_at_once(tmp_path: Path) -> None:
    assert farm(tmp_path, "pairs", 5) == {"0 7": 5}


# the n-th operation fails


class Faults:
    """Counts writes, syncs, renames, new folders and SQL statements; the n-th one fails.

    Parameters
    ----------
    at
        Which one, from 1.
    lasting
        Whether all later ones fail, too.
    """

    def __init__(self, at: int, *, lasting: bool) -> None:
        self.at, self.lasting, self.count = at, lasting, 0
        self.failed: list[str] = []

    def step(self, kind: str) -> None:
        self.count += 1
        if self.count == self.at or (self.lasting and self.count > self.at):
            self.failed.append(kind)
            if kind == "statement":
                raise OperationalError("", {}, sqlite3.OperationalError("disk I/O error"))
            raise OSError(errno.ENOSPC, "No space left on device")

    def around(self, kind: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            self.step(kind)
            return real(*args, **kwargs)

        return call

    def open(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            handle = real(file, mode, *args, **kwargs)
            return Written(handle, self) if "x" in mode else handle

        return call


SYSTEM_CALLS = {"write": "write", "fsync": "sync", "replace": "rename", "mkdir": "folder"}


class Written:
    """A file whose writes count."""

    def __init__(self, handle: Any, faults: Faults) -> None:
        self._handle, self._faults = handle, faults

    def write(self, data: bytes) -> int:
        self._faults.step("write")
        return int(self._handle.write(data))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._handle, name)

    def __enter__(self) -> "Written":
        return self

    def __exit__(self, *what: object) -> None:
        self._handle.close()


@contextmanager
def faulty(monkeypatch: pytest.MonkeyPatch, faults: Faults) -> Iterator[None]:
    def statement(*_: object) -> None:
        faults.step("statement")

    event.listen(Engine, "before_cursor_execute", statement)
    event.listen(Engine, "commit", statement)
    try:
        with monkeypatch.context() as patch:
            for kind, name in (
                ("write", "write"),
                ("sync", "fsync"),
                ("rename", "replace"),
                ("folder", "mkdir"),
            ):
                patch.setattr(os, name, faults.around(kind, getattr(os, name)))
            patch.setattr(io, "open", faults.open(io.open))
            yield
    finally:
        event.remove(Engine, "before_cursor_execute", statement)
        event.remove(Engine, "commit", statement)


def published_under(root: Path, record: RunRecord) -> bool:
    """Whether a run says that it is published."""
    try:
        run(root, record)
    except StoreError:
        return False
    return True


def expected_whole(root: Path) -> None:
    assert check_invariants(Ledger.at(root), root, log=root / LOG) == ()


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
def test_the_nth_operation_fails_for_every_n(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    """Every write, sync, rename, new folder, statement and commit of a run on a folder with one run."""
    first, record, after = a_record(0), a_record(1), a_record(2)
    rendered = results.render(record)
    monkeypatch.setattr(results, "render", lambda _: rendered)
    seen: set[str] = set()
    refused = 0
    run(tmp_path / "first", first)
    for at in range(1, 1000):
        root = shutil.copytree(tmp_path / "first", tmp_path / f"{at}")
        faults = Faults(at, lasting=lasting)
        with faulty(monkeypatch, faults):
            done = published_under(root, record)
        if not faults.failed:
            break
        seen |= set(faults.failed[:1])
        refused += not done
        ledger = Ledger.at(root)
        known = {row.run_id for row in ledger.runs.all()}
        assert known == ({first.run_id, record.run_id} if done else {first.run_id}), (at, faults.failed)
        broken = [b for b in check_invariants(ledger, root) if not b.derived]
        assert [b for b in broken if b.invariant != 3] == [], (at, faults.failed)
        if not lasting:
            assert broken == [], (at, faults.failed)
        run(root, after)
        expected_whole(root)
        received = set((root / "received").read_text().split())
        assert received == known | {after.run_id}, (at, faults.failed)
    assert seen == {"write", "sync", "rename", "folder", "statement"}
    assert at > 60 and refused > 30
    assert done, "without a fault the run is published"


# what somebody damaged


@pytest.mark.parametrize("damage", [b"", b"{", b"\xff\xfe\x00", b'{"schema": 99}\n', b"null\n[]\n" * 50])
def test_a_corrupt_log_is_no_obstacle(tmp_path: Path, damage: bytes) -> None:
    run(tmp_path, a_record(0))
    (tmp_path / LOG).write_bytes(damage)
    run(tmp_path, a_record(1))
    ledger = Ledger.at(tmp_path)
    assert {b.invariant for b in check_invariants(ledger, tmp_path, log=tmp_path / LOG)} == {10}
    assert repair(ledger, root=tmp_path, log=tmp_path / LOG, whole=True).completed == (a_record(0).run_id,)
    expected_whole(tmp_path)


def test_a_log_that_is_gone_is_written_anew(tmp_path: Path) -> None:
    run(tmp_path, a_record(0))
    (tmp_path / LOG).unlink()
    run(tmp_path, a_record(1))
    expected_whole(tmp_path)


@pytest.mark.parametrize("damage", [None, b"", b"{", b'{"started": 3}'])
def test_a_corrupt_manifest_is_named_and_harms_no_other_run(tmp_path: Path, damage: bytes | None) -> None:
    done = commit(Ledger.at(tmp_path), tmp_path, a_record(0))
    manifest = done.folder / results.MANIFEST
    manifest.unlink() if damage is None else manifest.write_bytes(damage)
    run(tmp_path, a_record(1))
    found = check_invariants(Ledger.at(tmp_path), tmp_path, log=tmp_path / LOG)
    assert [(b.invariant, a_record(0).run_id in b.text) for b in found] == [(2, True)]


def test_a_changed_number_is_found_in_file_and_ledger(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    done = commit(ledger, tmp_path, a_record(0))
    data = (done.folder / "forecast.csv").read_bytes()
    (done.folder / "forecast.csv").write_bytes(data.replace(b"1", b"2", 1))
    assert [b.invariant for b in check_invariants(ledger, tmp_path)] == [2]
    (done.folder / "forecast.csv").write_bytes(data)
    with sqlite3.connect(tmp_path / FILE) as db:
        (blob,) = db.execute(
            "SELECT quantiles FROM forecasts WHERE subject = 'ensemble' AND step = 3"
        ).fetchone()
        changed = blob[:-1] + bytes([blob[-1] ^ 1])
        db.execute("UPDATE forecasts SET quantiles = ? WHERE subject = 'ensemble' AND step = 3", (changed,))
    assert [b.invariant for b in check_invariants(ledger, tmp_path)] == [6]


@pytest.mark.parametrize(
    ("statement", "invariant"),
    [
        ("DELETE FROM forecasts WHERE subject = 'random_walk' AND step = 7", 5),
        ("DELETE FROM forecasts WHERE subject = 'ensemble'", 5),
        ("UPDATE forecasts SET quantiles = x'00'", 5),
        ("UPDATE forecasts SET date = '2000-01-01' WHERE step = 2", 5),
        ("UPDATE members SET failure_code = NULL WHERE member = 'var'", 5),
        ("UPDATE runs SET revision = 3", 4),
        ("UPDATE runs SET manifest_sha256 = 'x'", 2),
        ("DELETE FROM runs", 3),
        ("UPDATE members SET run_id = 'nobody'", 1),
        ("INSERT INTO outbox VALUES (9, 'k', '', NULL, 'mail', '{}', 'sent', 1, '', NULL, NULL)", 8),
        ("DELETE FROM schema_version WHERE version > 1", 1),
    ],
)
def test_every_broken_invariant_is_found(tmp_path: Path, statement: str, invariant: int) -> None:
    ledger = Ledger.at(tmp_path)
    commit(ledger, tmp_path, a_record(0))
    assert check_invariants(ledger, tmp_path) == ()
    with sqlite3.connect(tmp_path / FILE) as db:
        db.execute(statement)
        if statement.startswith("DELETE FROM runs"):
            db.execute("DELETE FROM forecasts")
            db.execute("DELETE FROM members")
            db.execute("DELETE FROM events")
            db.execute("DELETE FROM documents")
    db.close()
    assert invariant in {b.invariant for b in check_invariants(ledger, tmp_path)}


def test_a_damaged_database_is_restored_without_losing_a_run(tmp_path: Path) -> None:
    """The database goes back to a copy of yesterday: today's runs come back from their folders."""
    run(tmp_path, a_record(0))
    copy = (tmp_path / FILE).read_bytes()
    run(tmp_path, a_record(1))
    (tmp_path / FILE).write_bytes(b"damaged" * 1000)
    with pytest.raises(StoreError, match="not a database"):
        run(tmp_path, a_record(2))
    (tmp_path / FILE).write_bytes(copy)
    run(tmp_path, a_record(3))
    expected_whole(tmp_path)
    known = {row.run_id: row.imported for row in Ledger.at(tmp_path).runs.all()}
    assert known == {a_record(0).run_id: False, a_record(1).run_id: True, a_record(3).run_id: False}


def test_folders_of_before_the_ledger_stay_and_are_imported(tmp_path: Path) -> None:
    from dataclasses import replace
    from datetime import UTC, datetime

    from horizoncast.report.record import run_record
    from small_runs import small_result

    old = run_record(small_result(), started=datetime(2024, 1, 1, tzinfo=UTC))
    folder = results.write_run(tmp_path, old)
    run(tmp_path, a_record(0))
    assert folder.is_dir()
    ledger = Ledger.at(tmp_path)
    assert old.run_id not in {row.run_id for row in ledger.runs.all()}
    assert repair(ledger, root=tmp_path, log=tmp_path / LOG).unknown == (old.run_id,)
    broken = results.write_run(tmp_path, replace(old, run_id="broken"))
    (broken / "forecast.csv").unlink()
    done = import_runs(ledger, root=tmp_path, log=tmp_path / LOG)
    assert done.adopted == (old.run_id,) and "broken" in done.problems[0]
    row = ledger.runs.get(old.run_id)
    assert row is not None and (row.imported, row.revision) == (True, 2)
    expected_whole(tmp_path)
    assert import_runs(ledger, root=tmp_path, log=tmp_path / LOG).adopted == ()
