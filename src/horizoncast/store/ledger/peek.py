"""What is published, read without SQLAlchemy: a tick with nothing due stays cheap.

Importing SQLAlchemy takes 0.16 s of processor time and 26 MB; the embedded ledger answers this one
question through the standard library. A ledger on PostgreSQL is asked by `RunBook.heads`.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from horizoncast.errors import StoreError

_QUERY = """SELECT service, series, as_of, MAX(revision), MAX(started),
COALESCE(MAX(CASE WHEN {origin} = 'live' THEN committed END), MAX(committed)), MAX({origin} = 'live')
FROM runs GROUP BY service, series, as_of"""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published as-of: revisions so far, newest start and commit (UTC text), and whether any was live.

    The commit is that of the newest live one where there is one: a revision made later changes no
    moment that was served.
    """

    service: str
    series: str
    as_of: str
    revision: int
    started: str
    committed: str
    live: bool = True


def published(file: Path, *, timeout_s: float = 30.0) -> tuple[Published, ...]:
    """Every published (service, series, as-of) of an embedded ledger; empty when there is no file.

    Raises
    ------
    StoreError
        When the file cannot be read.
    """
    rows = _rows(file, _QUERY.format(origin=_origin(file, timeout_s)), (), timeout_s)
    names = ("service", "series", "as_of", "revision", "started", "committed")
    return tuple(Published(**dict(zip(names, row[:-1], strict=True)), live=bool(row[-1])) for row in rows)


_HEADS = """SELECT service, series, as_of, status, reasons, committed, {origin} FROM runs AS r
WHERE NOT EXISTS (SELECT 1 FROM runs AS o WHERE o.service = r.service AND o.series = r.series
AND (o.as_of > r.as_of OR (o.as_of = r.as_of AND o.revision > r.revision)))"""
_HAS_ORIGIN = "SELECT 1 FROM pragma_table_info('runs') WHERE name = 'origin'"
"""A ledger of an older version has none until a run opens it."""
_FAILURES = """SELECT at, service, series, code, message FROM events
WHERE severity = 'error' AND at >= ? ORDER BY at, id"""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The newest run of a (service, series): newest as-of, highest revision."""

    service: str
    series: str
    as_of: str
    status: str
    reasons: tuple[str, ...]
    committed: str
    origin: str = "live"


@dataclass(frozen=True, kw_only=True)
class FailedRun:
    """An error on record, UTC text."""

    at: str
    service: str
    series: str
    code: str
    message: str


def heads(file: Path, *, timeout_s: float = 30.0) -> tuple[Head, ...]:
    """The newest run of every (service, series) of an embedded ledger; empty when there is no file.

    Raises
    ------
    StoreError
        When the file cannot be read.
    """
    found = _rows(file, _HEADS.format(origin=_origin(file, timeout_s)), (), timeout_s)
    return tuple(
        Head(
            service=row[0], series=row[1], as_of=row[2], status=row[3],
            reasons=tuple(json.loads(row[4])), committed=row[5], origin=row[6],
        )
        for row in found
    )  # fmt: skip


def _origin(file: Path, timeout_s: float) -> str:
    return "origin" if _rows(file, _HAS_ORIGIN, (), timeout_s) else "'live'"


def failures(file: Path, since: str, *, timeout_s: float = 30.0) -> tuple[FailedRun, ...]:
    """Errors on record from a moment on, oldest first.

    Raises
    ------
    StoreError
        When the file cannot be read.
    """
    names = ("at", "service", "series", "code", "message")
    found = _rows(file, _FAILURES, (since,), timeout_s)
    return tuple(FailedRun(**{k: v or "" for k, v in zip(names, row, strict=True)}) for row in found)


def waiting(file: Path, now: str, *, timeout_s: float = 30.0) -> bool:
    """Whether a message is to be sent by `now` (UTC text).

    Raises
    ------
    StoreError
        When the file cannot be read.
    """
    query = "SELECT 1 FROM outbox WHERE state = 'pending' AND due <= ? LIMIT 1"
    return bool(_rows(file, query, (now,), timeout_s))


def _rows(file: Path, query: str, values: tuple[str, ...], timeout_s: float) -> list[tuple[Any, ...]]:
    """Rows of a query; none when there is no file, or no ledger in it yet."""
    if not file.exists():
        return []
    try:
        # Not opened read-only: a journal that a kill left behind is rolled back by the next reader.
        connection = sqlite3.connect(file, timeout=timeout_s)
        try:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
            return connection.execute(query, values).fetchall() if known else []
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot read the ledger {file}", value=error, action="horizoncast doctor"
        ) from error
