"""metrics.jsonl: one log for all services, one JSON object per line.

A batch is appended in one write under a lock and synced; what a crash cut off stays one torn line,
which readers skip and report. Writing a run again is harmless: of equal records (see
`schema.identity_of`) a reader keeps the last.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from horizoncast.errors import StoreError
from horizoncast.store.log_records import LogRecord
from horizoncast.store.plain import json_line, parse_json
from horizoncast.store.schema import RecordKind, identity_of, validate

LOCK_TIMEOUT_S = 30.0
_RETRY_S = 0.02


@dataclass(frozen=True, kw_only=True)
class BadLine:
    """A line that could not be used: its number (from 1), and why."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class LogContents:
    """What a log holds.

    Parameters
    ----------
    records
        Valid records in the order written, each once.
    problems
        Lines that were skipped.
    """

    records: tuple[LogRecord, ...]
    problems: tuple[BadLine, ...]

    def of_kind(self, kind: RecordKind) -> tuple[LogRecord, ...]:
        """Records of one kind."""
        return tuple(record for record in self.records if record["kind"] == kind)

    @property
    def incomplete_runs(self) -> tuple[str, ...]:
        """Runs whose last record, the run record, is missing: append them again."""
        complete = {record["run_id"] for record in self.of_kind(RecordKind.RUN)}
        own = (r for r in self.records if r["kind"] != RecordKind.OUTCOME)  # told long after their run
        seen = dict.fromkeys(str(r["run_id"]) for r in own if r["run_id"] is not None)
        return tuple(run for run in seen if run not in complete)


class MetricsLog:
    """The log at one path.

    Parameters
    ----------
    path
        The file; made on the first append.
    timeout_s
        How long to wait for another writer.
    """

    def __init__(self, path: Path, *, timeout_s: float = LOCK_TIMEOUT_S) -> None:
        self.path = path
        self.timeout_s = timeout_s

    def append(self, records: Sequence[Mapping[str, object]]) -> None:
        """Append records in one write, all of them or none.

        Raises
        ------
        StoreError
            When a record breaks the schema (nothing is written then), the disk is full, or another
            writer holds the log for too long.
        """
        for record in records:
            validate(record)
        data = "".join(json_line(record) + "\n" for record in records).encode("ascii")
        if not data:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._opened() as handle:
                _append_whole(handle, data)
        except OSError as error:
            raise StoreError(
                f"cannot append to {self.path}",
                value=error.strerror or str(error),
                action="check space and permissions; the records can be written again",
            ) from error

    def read(self) -> LogContents:
        """Every valid record; torn, corrupt and foreign lines are skipped and reported.

        Raises
        ------
        StoreError
            When the file is there and cannot be opened.
        """
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            data = b""
        except OSError as error:
            raise StoreError(f"cannot read {self.path}", value=error.strerror) from error
        return parse_log(data)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other writers out while the log is replaced."""
        with self._opened():
            yield

    @contextmanager
    def _opened(self) -> Iterator[int]:
        """The open and locked file; opened again when it was replaced while we waited for the lock."""
        while True:
            handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._lock(handle)
                if _is_at(handle, self.path):
                    yield handle
                    return
            finally:
                os.close(handle)  # gives the lock back

    def _lock(self, handle: int) -> None:
        deadline = time.monotonic() + self.timeout_s
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise StoreError(
                        f"{self.path} is locked by another writer",
                        allowed=f"{self.timeout_s:g} s of waiting",
                        action="look for a run that hangs",
                    ) from error
                time.sleep(_RETRY_S)
            else:
                return


def parse_log(data: bytes) -> LogContents:
    """Read a log's bytes, whatever they are."""
    kept: dict[tuple[object, ...], LogRecord] = {}
    problems = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            record = parse_json(line)
            validate(record)
            kept[identity_of(record)] = record
        except (ValueError, StoreError) as error:
            problems.append(BadLine(line=number, reason=str(error)))
    return LogContents(records=tuple(kept.values()), problems=tuple(problems))


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file still is the one under its name."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _append_whole(handle: int, data: bytes) -> None:
    """One write and a sync; a torn end is closed with a newline first, a failed write is undone."""
    size = os.fstat(handle).st_size
    torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
    batch = b"\n" + data if torn else data
    try:
        written = os.write(handle, batch)
        if written != len(batch):
            raise OSError(f"only {written} of {len(batch)} bytes could be written")
        os.fsync(handle)
    except OSError:
        os.ftruncate(handle, size)
        raise
