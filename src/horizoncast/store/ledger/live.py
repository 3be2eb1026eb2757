"""What comes after publication: scores of matured forecasts, rollout decisions, events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, FromClause, Row, Subquery, and_, func, insert, select

from horizoncast.store.ledger.codec import from_row, to_row, unpack
from horizoncast.store.ledger.database import Database
from horizoncast.store.ledger.rows import Floats, LedgerEvent, ScoreRow, Transition
from horizoncast.store.ledger.schema import EVENTS, FORECASTS, RUNS, SCORES, TRANSITIONS
from horizoncast.store.plain import parse_json


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenLead:
    """A published (run, subject, step) whose date has come and that has no score yet.

    Parameters
    ----------
    as_of, cutoff
        Of its run.
    levels, quantiles
        Q levels, and (Q,) values in the unit.
    revision
        Of the score it gets: 0 for the first one, else the next.
    """

    run_id: str
    as_of: str
    cutoff: str
    subject: str
    step: int
    date: str
    levels: tuple[float, ...]
    quantiles: Floats
    revision: int = 0


class ScoreBook:
    """Scores of published forecasts, in the unit; never deleted, only revised."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_leads(self, service: str, series: str, *, until: str) -> tuple[OpenLead, ...]:
        """Leads dated up to `until` that have no score, by run and step."""
        query = (
            select(FORECASTS, RUNS.c.as_of, RUNS.c.cutoff, RUNS.c.levels)
            .join(RUNS, RUNS.c.run_id == FORECASTS.c.run_id)
            .outerjoin(SCORES, _same(SCORES, FORECASTS))
            .where(RUNS.c.service == service, RUNS.c.series == series)
            .where(FORECASTS.c.date <= until, SCORES.c.run_id.is_(None))
            .order_by(RUNS.c.as_of, RUNS.c.revision, FORECASTS.c.subject, FORECASTS.c.step)
        )
        with self._database.reading() as connection:
            return tuple(_lead(row, 0) for row in connection.execute(query))

    def actuals(self, service: str, series: str) -> tuple[tuple[str, float], ...]:
        """Dates and the values they were scored against last, oldest first, each pair once."""
        newest = _newest()
        query = (
            select(FORECASTS.c.date, SCORES.c.actual)
            .join(SCORES, _same(SCORES, FORECASTS))
            .join(newest, and_(_same(SCORES, newest), SCORES.c.revision == newest.c["last"]))
            .join(RUNS, RUNS.c.run_id == SCORES.c.run_id)
            .where(RUNS.c.service == service, RUNS.c.series == series)
            .distinct()
            .order_by(FORECASTS.c.date)
        )
        with self._database.reading() as connection:
            return tuple((row.date, float(row.actual)) for row in connection.execute(query))

    def leads_on(self, service: str, series: str, date: str) -> tuple[OpenLead, ...]:
        """Leads of one date that have a score, ready to be scored again."""
        newest = _newest()
        query = (
            select(FORECASTS, RUNS.c.as_of, RUNS.c.cutoff, RUNS.c.levels, newest.c["last"])
            .join(RUNS, RUNS.c.run_id == FORECASTS.c.run_id)
            .join(newest, _same(newest, FORECASTS))
            .where(RUNS.c.service == service, RUNS.c.series == series, FORECASTS.c.date == date)
            .order_by(RUNS.c.as_of, RUNS.c.revision, FORECASTS.c.subject)
        )
        with self._database.reading() as connection:
            return tuple(_lead(row, row[-1] + 1) for row in connection.execute(query))

    def add(self, rows: Sequence[ScoreRow]) -> None:
        """Record scores in one transaction; a revised actual comes as the next `revision`.

        Raises
        ------
        StoreError
            When a row is there already, or scores a forecast that was never published.
        """
        if rows:
            with self._database.writing() as connection:
                connection.execute(insert(SCORES), [to_row(row) for row in rows])

    def all(
        self, service: str, series: str, *, since: str = "", subject: str | None = None
    ) -> tuple[ScoreRow, ...]:
        """Scores of runs with as-of `since` or later, the highest revision of each, by run and step."""
        newest = _newest()
        key = and_(_same(SCORES, newest), SCORES.c.revision == newest.c["last"])
        query = (
            select(SCORES)
            .join(newest, key)
            .join(RUNS, RUNS.c.run_id == SCORES.c.run_id)
            .where(RUNS.c.service == service, RUNS.c.series == series, RUNS.c.as_of >= since)
            .order_by(RUNS.c.as_of, RUNS.c.revision, SCORES.c.subject, SCORES.c.step)
        )
        query = query if subject is None else query.where(SCORES.c.subject == subject)
        with self._database.reading() as connection:
            return tuple(from_row(ScoreRow, row) for row in connection.execute(query).mappings())


def _newest() -> Subquery:
    """The highest revision of every score."""
    columns = (SCORES.c.run_id, SCORES.c.subject, SCORES.c.step)
    return select(*columns, func.max(SCORES.c.revision).label("last")).group_by(*columns).subquery()


def _same(one: FromClause, other: FromClause) -> ColumnElement[bool]:
    """Whether rows of two tables speak of the same (run, subject, step)."""
    return and_(*(one.c[name] == other.c[name] for name in ("run_id", "subject", "step")))


def _lead(row: Row[Any], revision: int) -> OpenLead:
    levels = tuple(parse_json(row.levels))
    return OpenLead(
        run_id=row.run_id,
        as_of=row.as_of,
        cutoff=row.cutoff,
        subject=row.subject,
        step=row.step,
        date=row.date,
        levels=levels,
        quantiles=unpack([bytes(row.quantiles)], len(levels))[0],
        revision=revision,
    )


class RolloutBook:
    """Rollout decisions: appended, never changed."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, transition: Transition) -> None:
        """Record a decision."""
        with self._database.writing() as connection:
            connection.execute(insert(TRANSITIONS), to_row(transition))

    def all(
        self, *, service: str | None = None, series: str | None = None, member: str | None = None
    ) -> tuple[Transition, ...]:
        """Decisions, oldest first."""
        query = select(TRANSITIONS).order_by(TRANSITIONS.c.id)
        columns = (TRANSITIONS.c.service, TRANSITIONS.c.series, TRANSITIONS.c.member)
        for column, value in zip(columns, (service, series, member), strict=True):
            query = query if value is None else query.where(column == value)
        with self._database.reading() as connection:
            return tuple(from_row(Transition, row) for row in connection.execute(query).mappings())

    def states(self, service: str, series: str) -> dict[str, str]:
        """State of every member that a decision was made about."""
        return {row.member: row.after for row in self.all(service=service, series=series)}


class EventBook:
    """Events of the service, those of runs among them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, *events: LedgerEvent) -> None:
        """Record events in one transaction."""
        if events:
            with self._database.writing() as connection:
                connection.execute(insert(EVENTS), [to_row(event) for event in events])

    def all(
        self, *, since: str = "", service: str | None = None, code: str | None = None
    ) -> tuple[LedgerEvent, ...]:
        """Events from a moment on, oldest first."""
        query = select(EVENTS).where(EVENTS.c.at >= since).order_by(EVENTS.c.at, EVENTS.c.id)
        query = query if service is None else query.where(EVENTS.c.service == service)
        query = query if code is None else query.where(EVENTS.c.code == code)
        with self._database.reading() as connection:
            return tuple(from_row(LedgerEvent, row) for row in connection.execute(query).mappings())
