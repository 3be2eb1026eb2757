"""Publications that are killed: a process that forks one child per attempt, and looks after each one.

Run as ``python kill_farm.py FOLDER MODE COUNT SEED``; prints one JSON object. It is a process of its own
because a fork must not meet Arrow's threads: here only children use Arrow. Modes: ``points`` stops a run
at each named point, ``random`` at COUNT random moments between staging and outbox, ``limits`` makes files
fail at COUNT sizes (a full disk), ``denied`` runs as another user on a folder it cannot write, ``pairs``
runs two at once.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import resource
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from horizoncast.errors import AlreadyPublishedError, StoreError
from horizoncast.service import notify
from horizoncast.service.channels import DeliveryError
from horizoncast.service.settings import KeepingSettings, load_settings
from horizoncast.store import points
from horizoncast.store.ledger.invariants import check_invariants
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import commit_run, repair
from horizoncast.store.ledger.rows import Message
from horizoncast.store.points import POINTS
from horizoncast.store.records import RunRecord
from ledger_runs import LOG, a_record

WARM = ("pandas", "pyarrow.parquet", "sqlalchemy.dialects.sqlite.pysqlite", "dotenv", "zoneinfo")
"""What children would each import otherwise."""

PER_ROOT = 50
"""Kills in a row on one folder of results: checking all of its runs after each kill costs more and more."""


LEDGER = "KILL_FARM_LEDGER"
"""Variable with the URL of the ledger, for one folder of results; the embedded one without it."""


def ledger_of(root: Path) -> Ledger:
    return Ledger.at(root, os.environ.get(LEDGER, ""))


def settings_of(root: Path) -> KeepingSettings:
    overrides = {"run.output": str(root), "notify.webhooks": '["json://receiver"]'}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


def receive(root: Path) -> None:
    """Replace the network by a file: one line per message that arrives."""

    def deliver(channel: str, payload: Any, *_: object) -> None:
        handle = os.open(root / "received", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, f"{payload['run']}\n".encode())
        except OSError as error:
            raise DeliveryError("not received") from error
        finally:
            os.close(handle)

    notify.deliver = deliver


def run(root: Path, record: RunRecord, *, reprocess: bool = True) -> None:
    """What a run does from its first look at the folder to its last message."""
    receive(root)
    ledger = ledger_of(root)
    repair(ledger, root=root, log=root / LOG)
    payload = {"run": record.run_id}
    message = Message(key=record.run_id, channel="webhook/0", payload=payload)
    commit_run(
        ledger,
        record,
        root=root,
        log=root / LOG,
        extras={"chart.png": b"x" * 20_000},
        messages=(message,),
        reprocess=reprocess,
    )
    notify.send_due(ledger, settings_of(root), now=record.started)


def forked(body: Callable[[], object]) -> int:
    """Run a body in a child; its exit code is 0, or 1 with the traceback on stderr."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            body()
            code = 0
        except BaseException:  # noqa: BLE001  (told by the exit code)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    return child


def waited(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def verify(root: Path, acknowledged: list[str], absent: str | None, after: RunRecord, *, deep: bool) -> None:
    """The ledger holds, nothing acknowledged is lost, the next run completes and mends what is derived."""
    ledger = ledger_of(root)
    broken = [b for b in check_invariants(ledger, root, deep=deep) if b.invariant != 3 and not b.derived]
    assert broken == [], broken  # a folder without a row is what the next run withdraws
    known = {row.run_id for row in ledger.runs.all()}
    assert set(acknowledged) <= known, set(acknowledged) - known
    assert absent not in known, absent
    run(root, after)
    broken = list(check_invariants(ledger, root, log=root / LOG, deep=deep))
    assert broken == [], broken
    known = {row.run_id for row in ledger.runs.all()}
    assert after.run_id in known and set(acknowledged) <= known
    received = set((root / "received").read_text().split())
    assert received == known, received ^ known  # at least once, and of no run that does not exist
    assert [row.key for row in ledger.outbox.all() if row.sent is None] == []
    left = [path for path in (root / ".staging").glob("*") if not path.name.startswith("withdrawn-")]
    assert left == [], left


def attempt(root: Path, record: RunRecord, stop: str | float) -> str:
    """Start a run, kill it at a point or after some seconds, and say how far it came."""
    reader, writer = os.pipe()

    def body() -> None:
        def tell(point: str) -> None:
            os.write(writer, bytes([POINTS.index(point)]))
            if point == stop:
                os.kill(os.getpid(), signal.SIGKILL)

        points.listener = tell
        run(root, record)

    child = forked(body)
    os.close(writer)
    seen = os.read(reader, 1)  # it has come to the first point
    if isinstance(stop, float):
        time.sleep(stop)
        os.kill(child, signal.SIGKILL)
    code = waited(child)
    while chunk := os.read(reader, 100):
        seen += chunk
    os.close(reader)
    last = POINTS[seen[-1]]
    if code == 0:
        return "done"
    assert code == -signal.SIGKILL, code
    return last


def kills(folder: Path, stops: list[str | float]) -> Counter[str]:
    """Kill one run per stop; after each one everything must hold and the next run complete."""
    where: Counter[str] = Counter()
    acknowledged: list[str] = []
    for number, stop in enumerate(stops):
        root = folder / f"{number // PER_ROOT}"
        if number % PER_ROOT == 0:
            acknowledged = []
        record, after = a_record(2 * number), a_record(2 * number + 1)
        last = attempt(root, record, stop)
        where[last] += 1
        exists = last == "done" or POINTS.index(last) >= POINTS.index("committed")
        absent = last != "done" and POINTS.index(last) < POINTS.index("committing")
        if exists:
            acknowledged.append(record.run_id)
        unknown = record.run_id if absent else None
        deep = number % 10 == 0 or number == len(stops) - 1
        check = forked(lambda: verify(root, acknowledged, unknown, after, deep=deep))  # noqa: B023
        if waited(check) != 0:
            raise SystemExit(f"after kill {number} at {last} ({stop})")
        acknowledged.append(after.run_id)
        (folder / "where.json").write_text(json.dumps(where))  # how far a long one is
    return where


def duration(folder: Path) -> float:
    """Seconds from the first point to the end of a run, the shorter of two."""
    found = []
    for hour in range(2):
        reader, writer = os.pipe()

        def body() -> None:
            points.listener = lambda point: os.write(writer, b"x")  # noqa: B023
            run(folder / "timing", a_record(hour))  # noqa: B023

        child = forked(body)
        os.close(writer)
        os.read(reader, 1)
        began = time.monotonic()
        assert waited(child) == 0
        os.close(reader)
        found.append(time.monotonic() - began)
    return min(found)


def limits(folder: Path, count: int) -> Counter[str]:
    """Files that cannot grow beyond a size: whatever does not fit fails, the next run has room again."""
    where: Counter[str] = Counter()
    for number in range(count):
        root = folder / f"full{number}"
        first, record, after = a_record(0), a_record(1), a_record(2)
        assert waited(forked(lambda: run(root, first))) == 0  # noqa: B023
        largest = 1000 + 4096 * number

        def body() -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, resource.RLIM_INFINITY))  # noqa: B023
            try:
                run(root, record)  # noqa: B023
            except StoreError:
                os._exit(7)

        code = waited(forked(body))
        assert code in (0, 7), code
        where["done" if code == 0 else "refused"] += 1
        exists, absent = ([record.run_id], None) if code == 0 else ([], record.run_id)
        known = [first.run_id, *exists]
        assert waited(forked(lambda: verify(root, known, absent, after, deep=True))) == 0  # noqa: B023
    return where


def denied(folder: Path) -> Counter[str]:
    """A folder that cannot be written: the run says so and changes nothing."""
    root = folder / "denied"
    first, record, after = a_record(0), a_record(1), a_record(2)
    assert waited(forked(lambda: run(root, first))) == 0
    for path in [root, *root.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)

    def body() -> None:
        if os.geteuid() == 0:
            os.setegid(65534)
            os.seteuid(65534)
        try:
            run(root, record)
        except StoreError:
            os._exit(7)

    code = waited(forked(body))
    for path in [root, *root.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    assert waited(forked(lambda: verify(root, [first.run_id], record.run_id, after, deep=True))) == 0
    return Counter({"refused" if code == 7 else str(code): 1})


def pairs(folder: Path, count: int) -> Counter[str]:
    """Two runs of one as-of at once: one is published, the other told so."""
    where: Counter[str] = Counter()
    for number in range(count):
        root = folder / f"pair{number}"
        records = a_record(0), a_record(1)

        def body(record: RunRecord) -> None:
            try:
                run(root, record, reprocess=False)  # noqa: B023
            except AlreadyPublishedError:
                os._exit(7)

        children = [forked(lambda r=record: body(r)) for record in records]  # type: ignore[misc]
        codes = [waited(child) for child in children]
        where[" ".join(map(str, sorted(codes)))] += 1
        (winner,) = [record.run_id for record, code in zip(records, codes, strict=True) if code == 0]
        check = forked(lambda: verify(root, [winner], None, a_record(2), deep=True))  # noqa: B023
        assert waited(check) == 0
    return where


def main(folder: Path, mode: str, count: int, seed: int) -> None:
    a_record()  # makes the result that all of them publish
    for name in WARM:
        importlib.import_module(name)
    names = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").iterdir()}
    assert {n for n in names if not n.startswith("python")} <= {"jemalloc_bg_thd"}, (
        names
    )  # Arrow's allocator knows of forks, its pools do not
    started = time.monotonic()
    if mode == "random":
        # a little beyond the end, so that the last moments are as likely as the first
        span, chance = 1.1 * duration(folder), random.Random(seed)
        where = kills(folder, [chance.uniform(0.0, span) for _ in range(count)])
    else:
        where = {
            "points": lambda: kills(folder, list(POINTS)),
            "limits": lambda: limits(folder, count),
            "denied": lambda: denied(folder),
            "pairs": lambda: pairs(folder, count),
        }[mode]()
    sys.stdout.write(json.dumps({"where": where, "seconds": time.monotonic() - started}) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
