"""Copies of a ledger: for backups, and as it stood when a past run looked at it."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Select, Table, insert, select

from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.schema import EVENTS, METADATA, OUTBOX, RUNS, SCORES, TRANSITIONS, VERSIONS

_BATCH = 2000
_MOMENT = {RUNS: "committed", SCORES: "scored", TRANSITIONS: "at", EVENTS: "at", OUTBOX: "at"}


def copy_ledger(source: Ledger, file: Path, *, before: str | None = None) -> Ledger:
    """Copy every row into a new SQLite file, from one consistent view.

    Parameters
    ----------
    file
        Must not exist.
    before
        Leave out what was committed or recorded at or after this moment (UTC text).

    Raises
    ------
    StoreError
        When the source cannot be read or the file not be written.
    """
    copy = Ledger(f"sqlite:///{file}")
    with source.database.reading() as old, copy.database.writing() as new:
        new.execute(VERSIONS.delete())
        for table in METADATA.sorted_tables:
            result = old.execute(_rows(table, before)).mappings()
            while batch := result.fetchmany(_BATCH):
                new.execute(insert(table), [dict(row) for row in batch])
    return copy


def _rows(table: Table, before: str | None) -> Select[tuple[object, ...]]:
    query = select(table)
    if before is None:
        return query
    if table in _MOMENT:
        query = query.where(table.c[_MOMENT[table]] < before)
    if "run_id" in table.c and table is not RUNS:
        kept = select(RUNS.c.run_id).where(RUNS.c.committed < before)
        query = query.where(table.c.run_id.is_(None) | table.c.run_id.in_(kept))
    return query
