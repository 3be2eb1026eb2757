"""Scores as metrics.jsonl tells them: which session they belong to, whether they are live, what is untold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Select, and_, bindparam, case, select, update

from horizoncast.store.ledger.database import Database
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.schema import FORECASTS, RUNS, SCORES
from horizoncast.store.log_records import LogRecord, outcome_record
from horizoncast.store.metrics_log import MetricsLog

_BATCH = 5000


@dataclass(frozen=True, kw_only=True)
class OutcomeBook:
    """Scores of one ledger, beside what `ScoreBook` does with them.

    Parameters
    ----------
    database
        Of the ledger.
    """

    database: Database

    def unplaced(self, service: str, series: str) -> tuple[str, ...]:
        """Runs with scores that know neither their session nor whether they are live."""
        query = (
            select(SCORES.c.run_id)
            .join(RUNS, RUNS.c.run_id == SCORES.c.run_id)
            .where(RUNS.c.service == service, RUNS.c.series == series, SCORES.c.session.is_(None))
            .distinct()
        )
        with self.database.reading() as connection:
            return tuple(row.run_id for row in connection.execute(query))

    def place(self, run_id: str, *, session: int, first: int) -> None:
        """Fill in a run's scores: the session of its cutoff, and the first step that is live."""
        own = and_(SCORES.c.run_id == run_id, SCORES.c.session.is_(None))
        live = case((SCORES.c.step >= first, 1), else_=0)
        with self.database.writing() as connection:
            connection.execute(update(SCORES).where(own).values(session=session, live=live))

    def untold(self, most: int) -> list[LogRecord]:
        """Records that the log lacks, in the order they were scored."""
        with self.database.reading() as connection:
            return [outcome_record(dict(row)) for row in connection.execute(_untold(most)).mappings()]

    def mark_told(self, records: Sequence[LogRecord], at: str) -> None:
        """The log tells these now."""
        key = ("run_id", "subject", "step", "revision")
        own = and_(*(SCORES.c[name] == bindparam(f"own_{name}") for name in key))
        rows = [{f"own_{name}": record[name] for name in key} for record in records]
        with self.database.writing() as connection:
            connection.execute(update(SCORES).where(own).values(told=at), rows)

    def forget_told(self) -> None:
        """The log is gone: everything is to be told again."""
        with self.database.writing() as connection:
            connection.execute(update(SCORES).where(SCORES.c.told.is_not(None)).values(told=None))


def tell_outcomes(ledger: Ledger, log: Path, *, at: str) -> int:
    """Bring metrics.jsonl up to date with the ledger's scores; returns how many were told.

    A crash between the two leaves records that are appended again: of equal ones a reader keeps one.

    Parameters
    ----------
    at
        Moment of the telling, UTC text.

    Raises
    ------
    StoreError
        When the log or the ledger cannot be written; the next run tells the rest.
    """
    book = OutcomeBook(database=ledger.database)
    told = 0
    while records := book.untold(_BATCH):
        MetricsLog(log).append(records)
        book.mark_told(records, at)
        told += len(records)
    return told


def _untold(most: int) -> Select[tuple[object, ...]]:
    same = and_(*(FORECASTS.c[name] == SCORES.c[name] for name in ("run_id", "subject", "step")))
    columns = (RUNS.c.service, RUNS.c.series, RUNS.c.unit, FORECASTS.c.date)
    return (
        select(SCORES, *columns)
        .join(RUNS, RUNS.c.run_id == SCORES.c.run_id)
        .join(FORECASTS, same)
        .where(SCORES.c.told.is_(None), SCORES.c.session.is_not(None))
        .order_by(SCORES.c.scored, SCORES.c.run_id, SCORES.c.subject, SCORES.c.step, SCORES.c.revision)
        .limit(most)
    )
