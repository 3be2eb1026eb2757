"""Facts for a review from the ledger: plain SQL, so that an embedded ledger is read without SQLAlchemy.

Importing SQLAlchemy takes longer than reading a year; `sqlite_query` asks the standard library instead.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.errors import StoreError
from horizoncast.horizon import Horizon
from horizoncast.store.fact_documents import document_of, hybrid_fact
from horizoncast.store.facts import (
    OPEN,
    DecisionFact,
    EventFact,
    Facts,
    MemberFact,
    OutcomeFact,
    PointFact,
    RunDocument,
    RunFact,
    Span,
    heads,
)

Row = tuple[Any, ...]
Query = Callable[[str, Mapping[str, object]], Iterable[Row]]
"""Rows of a statement with named parameters (``:since``)."""

_SPAN = """substr(r.as_of, 1, 10) >= :since AND substr(r.as_of, 1, 10) <= :until
AND (CAST(:service AS TEXT) IS NULL OR r.service = :service)
AND (CAST(:series AS TEXT) IS NULL OR r.series = :series)"""


_HELD = {None: None, 0: False, 1: True}


def _of_span(statement: str) -> str:
    """The statement on the runs ``r`` of a span."""
    return statement.replace("OF SPAN", _SPAN)


_NEWEST = """SELECT MAX(as_of) FROM runs AS r WHERE (CAST(:service AS TEXT) IS NULL OR r.service = :service)
AND (CAST(:series AS TEXT) IS NULL OR r.series = :series)"""
_RUNS = _of_span("""SELECT run_id, service, series, started, as_of, cutoff, horizon, unit, scale, status,
reasons, flags, decision, levels, origin FROM runs AS r WHERE OF SPAN
ORDER BY service, series, as_of, started""")
_MEMBERS = _of_span("""SELECT m.run_id, m.member, m.state, m.weight, m.would_be_weight, m.slope, m.windows,
m.flags, m.failure_code, m.failure_reason, m.wall_s, m.cpu_s, m.peak_mb FROM members AS m
JOIN runs AS r ON r.run_id = m.run_id WHERE OF SPAN ORDER BY m.run_id, m.member""")
_FORECASTS = _of_span("""SELECT f.run_id, f.step, f.date, f.quantiles FROM forecasts AS f
JOIN runs AS r ON r.run_id = f.run_id WHERE f.subject = 'ensemble' AND OF SPAN ORDER BY f.run_id, f.step""")
_OUTCOMES = _of_span("""SELECT s.run_id, s.subject, s.step, s.session, s.live, s.actual, s.error, s.wql,
s.pit, s.covered_80, s.covered_95 FROM scores AS s JOIN runs AS r ON r.run_id = s.run_id
WHERE OF SPAN ORDER BY s.revision""")
_EVENTS = """SELECT at, run_id, service, series, code, message, severity FROM events
WHERE at >= :since AND (CAST(:service AS TEXT) IS NULL OR service IS NULL OR service = :service)
ORDER BY at, id"""
_DOCUMENT = "SELECT document FROM documents WHERE run_id = :run_id"
_DECISIONS = "SELECT service, series, member, after, who, at, reason FROM transitions ORDER BY id"


def ledger_facts(query: Query, span: Span) -> Facts:
    """Everything a ledger holds of a span.

    Parameters
    ----------
    query
        `sqlite_query`, or a connection of SQLAlchemy.

    Raises
    ------
    StoreError
        When the ledger cannot be read.
    """
    names = ("since", "until", "service", "series")
    last = span.until or OPEN
    if span.until is None:
        ((newest,),) = query(_NEWEST, {"service": span.service, "series": span.series})
        span = span.ending(newest or "")
    wanted = {name: getattr(span, name) for name in names}
    rows = list(query(_RUNS, wanted))
    runs = tuple(_run(row) for row in rows)
    levels = {row[0]: tuple(json.loads(row[13])) for row in rows}
    points, dates = _forecasts(query(_FORECASTS, wanted), runs, levels)
    outcomes, unplaced = _outcomes(query(_OUTCOMES, wanted), dates, last)
    members: dict[str, list[MemberFact]] = {}
    for row in query(_MEMBERS, wanted):
        members.setdefault(row[0], []).append(_member(row))
    newest = [run.run_id for run in heads(runs).values()]
    old = f"{unplaced} scores were written by an older program; the next run completes them"
    return Facts(
        runs=runs,
        members={run_id: tuple(found) for run_id, found in members.items()},
        points=points,
        outcomes=outcomes,
        events=tuple(_event(row) for row in query(_EVENTS, wanted)),
        documents={run_id: _document(query, run_id) for run_id in newest},
        decisions=_decisions(query),
        problems=(old,) if unplaced else (),
    )


def is_current(file: Path) -> bool:
    """Whether an embedded ledger has the tables that facts are read from; a newer program makes them.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    with sqlite_query(file) as query:
        found = query("SELECT 1 FROM pragma_table_info('runs') WHERE name = 'origin'", {})
        return bool(list(found))


@contextmanager
def sqlite_query(file: Path, *, timeout_s: float = 30.0) -> Iterator[Query]:
    """One consistent view of an embedded ledger.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    try:
        # Not opened read-only: a journal that a kill left behind is rolled back by the next reader.
        connection = sqlite3.connect(file, timeout=timeout_s, isolation_level=None)
        try:
            connection.execute("BEGIN")
            yield connection.execute
        finally:
            connection.close()
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot read the ledger {file}", value=error, action="horizoncast doctor"
        ) from error


def _run(row: Row) -> RunFact:
    decision = json.loads(row[12])
    return RunFact(
        run_id=row[0],
        service=row[1],
        series=row[2],
        started=row[3],
        as_of=row[4],
        cutoff=row[5],
        horizon=row[6],
        unit=row[7],
        scale=row[8],
        status=row[9],
        reasons=tuple(json.loads(row[10])),
        flags=tuple(json.loads(row[11])),
        best_naive=decision["best_naive"],
        kappa=decision["kappa"],
        width=decision["width"],
        adaptive=decision.get("adaptive", 1.0),
        windows=decision["windows"],
        n_eff=decision["n_eff"],
        hindsight=row[14] != "live",
        hybrid=hybrid_fact(decision.get("hybrid")),
    )


def _member(row: Row) -> MemberFact:
    return MemberFact(
        run_id=row[0],
        member=row[1],
        state=row[2],
        weight=row[3],
        would_be_weight=row[4],
        slope=row[5],
        windows=row[6],
        flags=tuple(json.loads(row[7])),
        failure_code=row[8],
        failure_reason=row[9],
        wall_s=row[10],
        cpu_s=row[11],
        peak_mb=row[12],
    )


def _forecasts(
    rows: Iterable[Row], runs: tuple[RunFact, ...], levels: Mapping[str, tuple[float, ...]]
) -> tuple[dict[str, tuple[PointFact, ...]], dict[tuple[str, int], str]]:
    """Points of the lead grid by run, and the date of every lead."""
    grid = {run.run_id: set(Horizon(steps=run.horizon).lead_grid) for run in runs}
    points: dict[str, list[PointFact]] = {}
    dates: dict[tuple[str, int], str] = {}
    for run_id, step, date, blob in rows:
        dates[run_id, step] = date
        if step in grid[run_id]:
            values = np.frombuffer(blob, dtype="<f8").tolist()
            at = dict(zip(levels[run_id], values, strict=True))
            ends = (at.get(level) for level in (0.1, 0.9, 0.025, 0.975))
            points.setdefault(run_id, []).append(PointFact(step, date, at[0.5], *ends))
    return {run_id: tuple(found) for run_id, found in points.items()}, dates


def _outcomes(
    rows: Iterable[Row], dates: Mapping[tuple[str, int], str], until: str
) -> tuple[tuple[OutcomeFact, ...], int]:
    """The newest revision of every outcome up to a date, and how many have no session yet."""
    found: dict[tuple[str, str, int], OutcomeFact] = {}
    unplaced = 0
    for run_id, subject, step, session, live, actual, error, loss, pit, low, high in rows:
        date = dates[run_id, step]
        if session is None:
            unplaced += 1
        elif date[:10] <= until:
            found[run_id, subject, step] = OutcomeFact(
                run_id,
                subject,
                step,
                date,
                session,
                live == 1,
                actual,
                error,
                loss,
                pit,
                _HELD[low],
                _HELD[high],
            )
    return tuple(found.values()), unplaced


def _event(row: Row) -> EventFact:
    at, run_id, service, series, code, message, severity = row
    return EventFact(
        at=at,
        run_id=run_id or "",
        service=service or "",
        series=series or "",
        code=code,
        message=message,
        severity=severity,
    )


def _document(query: Query, run_id: str) -> RunDocument:
    rows = list(query(_DOCUMENT, {"run_id": run_id}))
    return document_of(json.loads(rows[0][0])) if rows else RunDocument()


def _decisions(query: Query) -> tuple[DecisionFact, ...]:
    names = ("service", "series", "member", "after", "who", "at", "reason")
    rows = [DecisionFact(**dict(zip(names, row, strict=True))) for row in query(_DECISIONS, {})]
    return tuple({(row.service, row.series, row.member): row for row in rows}.values())
