"""What is published, read without SQLAlchemy: a tick with nothing due stays cheap.

Importing SQLAlchemy takes 0.16 s of processor time and 26 MB; the embedded ledger answers this one
question through the standard library. A ledger on PostgreSQL is asked by `RunBook.heads`.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

from horizoncast.errors import StoreError

_QUERY = """SELECT service, series, as_of, MAX(revision), MAX(started), MAX(committed)
FROM runs GROUP BY service, series, as_of"""


@dataclass(frozen=True, kw_only=True)
class Published:
    """One published as-of: revisions so far, and the newest start and commit (UTC text)."""

    service: str
    series: str
    as_of: str
    revision: int
    started: str
    committed: str


def published(file: Path, *, timeout_s: float = 30.0) -> tuple[Published, ...]:
    """Every published (service, series, as-of) of an embedded ledger; empty when there is no file.

    Raises
    ------
    StoreError
        When the file cannot be read.
    """
    if not file.exists():
        return ()
    try:
        # Not opened read-only: a journal that a kill left behind is rolled back by the next reader.
        connection = sqlite3.connect(file, timeout=timeout_s)
        try:
            known = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'runs'").fetchone()
            rows = connection.execute(_QUERY).fetchall() if known else []
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot read the ledger {file}", value=error, action="horizoncast doctor"
        ) from error
    names = ("service", "series", "as_of", "revision", "started", "committed")
    return tuple(Published(**dict(zip(names, row, strict=True))) for row in rows)
