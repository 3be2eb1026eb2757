"""Published forecasts against what happened: scored once, revised openly, fed back into the next run.

Letters in shapes: n leads, W cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Calendar, Dates, as_stamp
from horizoncast.engine import ForecastEngine, LiveHistory
from horizoncast.forecast import Flag, Forecast, ModelIdentity
from horizoncast.horizon import Horizon
from horizoncast.policy.sessions import session_end, stamp_of
from horizoncast.series import Scale, Series
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.live import OpenLead
from horizoncast.store.ledger.outcomes import OutcomeBook
from horizoncast.store.ledger.rows import ENSEMBLE, ForecastRows, MemberRow, RunRow, ScoreRow
from horizoncast.store.plain import date_text, time_text
from horizoncast.store.records import EventRecord, Origin
from horizoncast.validation.adaptive import MIN_MATURED, adaptive_factor, rate_for
from horizoncast.validation.calibration import standardised_misses
from horizoncast.validation.live import LeadScores, LiveTable, score_leads

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REVISED = "history_revised"
WITHDRAWN = "history_withdrawn"
_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class ScoringReport:
    """What a scoring did.

    Parameters
    ----------
    scored, revised
        Leads scored for the first time, and scored again because their actual has changed.
    events
        What a reader of the log should know of revised history.
    """

    scored: int
    revised: int
    events: tuple[EventRecord, ...] = ()


def score_live(ledger: Ledger, service: str, series: Series, *, now: datetime | None = None) -> ScoringReport:
    """Score every published lead whose date has an observed value, and those whose value has changed.

    A second call with the same data adds nothing. A changed value makes another revision of the score:
    both are kept. Values that have disappeared are told when they are others than were told last.

    Parameters
    ----------
    series
        The service's series as read now.
    now
        Moment that the scores are recorded under.
    """
    at = time_text(datetime.now(tz=UTC) if now is None else now)
    places = _places(ledger, service, series)
    book = OutcomeBook(database=ledger.database)
    for run_id in book.unplaced(service, series.name):  # scored by a program that did not record it
        book.place(run_id, session=places(run_id).session, first=places(run_id).first)
    leads = ledger.scores.open_leads(service, series.name, until=date_text(series.last))
    new = _scores(series, leads, at, places)
    changed, gone = _changes(series, ledger.scores.actuals(service, series.name))
    again = [
        row
        for date, _, _ in changed
        for row in _scores(series, ledger.scores.leads_on(service, series.name, date), at, places)
    ]
    ledger.scores.add([*new, *again])
    events = _events(changed, gone, len(again))
    told = [e.message for e in ledger.events.all(service=service, code=WITHDRAWN) if e.series == series.name]
    fresh = tuple(e for e in events if e.code != WITHDRAWN or told[-1:] != [e.message])
    return ScoringReport(scored=len(new), revised=len(again), events=fresh)


def live_tables(ledger: Ledger, service: str, series: str, calendar: Calendar) -> dict[str, LiveTable]:
    """Live scores per subject, each beside the naive of the same cutoff; empty without a live run.

    A lead is live when its run was committed before the lead's session ended: a forecast made in
    hindsight (a backfill, or reprocessed later) is no track record. Of several runs of one as-of the
    newest counts, lead by lead. Only runs of the newest run's horizon are compared.
    """
    runs = _live_runs(ledger, service, series, calendar)
    if not runs:
        return {}
    owners = _owners(runs)
    cutoffs = np.array([as_stamp(cutoff) for cutoff in owners], dtype="datetime64[s]")
    steps = runs[-1].run.horizon
    found = {(row.run_id, row.subject, row.step): row for row in ledger.scores.all(service, series)}
    subjects = sorted({subject for _, subject, _ in found}, key=lambda name: (name != ENSEMBLE, name))
    naives = {item.run.run_id: str(item.run.decision.get("best_naive", "")) for item in runs}
    scale = Scale.parse(runs[-1].run.scale)
    scored = [as_stamp(date) for date, _ in ledger.scores.actuals(service, series)]
    last = max([*scored[-1:], *(as_stamp(item.run.cutoff) for item in runs)])
    matured = np.array([calendar.future(cutoff, steps)[-1] <= last for cutoff in cutoffs])
    tables = {}
    for subject in subjects:
        mine = [
            [found.get((run_id, subject, h + 1)) for h, run_id in enumerate(row)] for row in owners.values()
        ]
        theirs = [
            [found.get((run_id, naives.get(run_id, ""), h + 1)) for h, run_id in enumerate(row)]
            for row in owners.values()
        ]
        tables[subject] = LiveTable(
            subject=subject,
            cutoffs=cutoffs,
            ordinals=calendar.ordinal(cutoffs),
            matured=matured,
            error=_cells(mine, "error"),
            scaled_error=_scaled_errors(mine, scale),
            loss=_cells(mine, "wql"),
            pit=_cells(mine, "pit"),
            covered_80=_cells(mine, "covered_80"),
            covered_95=_cells(mine, "covered_95"),
            naive_loss=_cells(theirs, "wql"),
            naive_scaled_error=_scaled_errors(theirs, scale),
        )
    return tables


def live_history(ledger: Ledger, engine: ForecastEngine, series: Series, horizon: str) -> LiveHistory:
    """What the ledger adds to a run: live rows at the cutoffs of its bank, and the adaptive width.

    Parameters
    ----------
    engine
        Gives the service, and the cutoffs of the bank.
    """
    service, span = engine.config.service, Horizon.parse(horizon)
    runs = [
        item
        for item in _live_runs(ledger, service, series.name, series.calendar)
        if item.first == 1 and item.run.horizon == span.steps and item.run.unit == series.unit
    ]
    wanted = {date_text(cutoff) for cutoff in engine.plan(series, span).cutoffs}
    rows: dict[str, tuple[Forecast, ...]] = {}
    for item in {item.run.cutoff: item for item in runs if item.run.cutoff in wanted}.values():
        for forecast in _forecasts(ledger, item.run):
            rows[forecast.member] = (*rows.get(forecast.member, ()), forecast)
    return LiveHistory(rows=rows, adaptive=_adaptive(ledger, series, [item.run for item in runs]))


@dataclass(frozen=True, kw_only=True)
class _LiveRun:
    """A run and the first of its steps that had not happened when it was committed (H + 1: none)."""

    run: RunRow
    first: int


def _live_runs(ledger: Ledger, service: str, series: str, calendar: Calendar) -> list[_LiveRun]:
    """Runs with a live lead, of the newest run's horizon, by as-of and revision."""
    runs = ledger.runs.all(service=service, series=series)
    horizon = runs[-1].horizon if runs else 0
    counted = [run for run in runs if run.horizon == horizon and run.origin is not Origin.BACKFILL]
    found = [_LiveRun(run=run, first=_first_live(run, calendar)) for run in counted]
    return [item for item in found if item.first <= horizon]


def _first_live(run: RunRow, calendar: Calendar) -> int:
    """First step whose session had not ended when the run was made."""
    made = stamp_of(datetime.fromisoformat(run.started if run.imported else run.committed))
    ends = (
        session_end(calendar, int(index))
        for index in calendar.ordinal(calendar.future(as_stamp(run.cutoff), run.horizon))
    )
    return next((h for h, end in enumerate(ends, start=1) if made <= end), run.horizon + 1)


def _owners(runs: Sequence[_LiveRun]) -> dict[str, list[str]]:
    """Run that counts at each step, per cutoff: the highest revision that was made in time."""
    owners: dict[str, list[str]] = {}
    for item in sorted(runs, key=lambda item: (item.run.cutoff, item.run.revision)):
        row = owners.setdefault(item.run.cutoff, [""] * item.run.horizon)
        row[item.first - 1 :] = [item.run.run_id] * (item.run.horizon - item.first + 1)
    return owners


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where a run stands: the session of its cutoff, and the first of its steps that is live."""

    session: int
    first: int


def _places(ledger: Ledger, service: str, series: Series) -> Callable[[str], _Place]:
    """Place of a run by its id; only those that are asked for are worked out."""
    runs = {run.run_id: run for run in ledger.runs.all(service=service, series=series.name)}

    @cache
    def place(run_id: str) -> _Place:
        run = runs[run_id]
        session = int(series.calendar.ordinal(as_stamp(run.cutoff))[0])
        return _Place(session=session, first=_first_live(run, series.calendar))

    return place


def _scores(
    series: Series, leads: Iterable[OpenLead], at: str, places: Callable[[str], _Place]
) -> list[ScoreRow]:
    """Scores of the leads whose date has an observed value."""
    out: list[ScoreRow] = []
    for levels, group in groupby(sorted(leads, key=lambda lead: lead.levels), key=lambda lead: lead.levels):
        own = list(group)
        dates = np.array([lead.date for lead in own], dtype="datetime64[s]")
        found = score_leads(series, dates, levels, np.array([lead.quantiles for lead in own]))
        known = np.flatnonzero(np.isfinite(found.actual))
        out += [_row(own[i], found, int(i), at, places(own[i].run_id)) for i in known]
    return out


def _row(lead: OpenLead, found: LeadScores, i: int, at: str, place: _Place) -> ScoreRow:
    return ScoreRow(
        run_id=lead.run_id,
        subject=lead.subject,
        step=lead.step,
        revision=lead.revision,
        scored=at,
        actual=float(found.actual[i]),
        error=float(found.error[i]),
        wql=float(found.loss[i]),
        pit=float(found.pit[i]),
        covered_80=_known(found.covered_80[i]),
        covered_95=_known(found.covered_95[i]),
        session=place.session,
        live=lead.step >= place.first,
    )


def _known(value: float) -> bool | None:
    return bool(value) if np.isfinite(value) else None


def _changes(
    series: Series, scored: Sequence[tuple[str, float]]
) -> tuple[list[tuple[str, float, float]], list[str]]:
    """Dates whose value is another one now, with both, and dates that have none any more."""
    first, last = date_text(series.dates[0]), date_text(series.last)
    scored = [(date, value) for date, value in scored if first <= date <= last]
    if not scored:
        return [], []
    dates = np.array([date for date, _ in scored], dtype="datetime64[s]")
    now = series.actuals(dates.min() - np.timedelta64(1, "s"), dates)
    changed: dict[str, tuple[str, float, float]] = {}
    gone: dict[str, None] = {}
    for (date, before), value in zip(scored, now, strict=True):
        if not np.isfinite(value):
            gone[date] = None
        elif value != before:
            changed[date] = (date, before, float(value))
    return list(changed.values()), list(gone)


def _events(
    changed: Sequence[tuple[str, float, float]], gone: Sequence[str], rescored: int
) -> tuple[EventRecord, ...]:
    events = []
    if changed:
        named = ", ".join(f"{date}: {before:g} became {after:g}" for date, before, after in changed[-_NAMED:])
        text = f"{len(changed)} values differ from those that forecasts were scored on ({named}); "
        text += f"{rescored} leads were scored again"
        events.append(EventRecord(code=REVISED, message=text, severity="warning"))
    if gone:
        text = f"{len(gone)} values that forecasts were scored on are gone ({', '.join(gone[-_NAMED:])})"
        events.append(EventRecord(code=WITHDRAWN, message=text, severity="warning"))
    return tuple(events)


def _cells(rows: Sequence[Sequence[ScoreRow | None]], name: str) -> Floats:
    """(W, H) one field of the scores, NaN where there is none."""
    nan = float("nan")
    values = [
        [nan if score is None or (v := getattr(score, name)) is None else float(v) for score in row]
        for row in rows
    ]
    return np.array(values, dtype=np.float64)


def _scaled_errors(rows: Sequence[Sequence[ScoreRow | None]], scale: Scale) -> Floats:
    """(W, H) point forecast minus actual in the scale."""
    actual, error = _cells(rows, "actual"), _cells(rows, "error")
    with np.errstate(invalid="ignore", divide="ignore"):
        out = scale.forward(actual + error) - scale.forward(actual)
    return np.where(np.isfinite(out), out, np.nan)


def _forecasts(ledger: Ledger, run: RunRow) -> list[Forecast]:
    """Live forecasts of a run's members."""
    made = {row.member: row for row in ledger.runs.members(run.run_id)}
    rows = ledger.runs.forecasts(run.run_id)
    return [_forecast(run, row, made[row.subject]) for row in rows if row.subject in made]


def _forecast(run: RunRow, rows: ForecastRows, member: MemberRow) -> Forecast:
    until = member.trained_until
    return Forecast(
        series=run.series,
        unit=run.unit,
        member=rows.subject,
        cutoff=as_stamp(run.cutoff),
        dates=_stamps(rows.dates),
        levels=run.levels,
        quantiles=rows.quantiles,
        identity=ModelIdentity(
            id=member.identity_id or "",
            revision=member.identity_revision or "",
            digest=member.identity_digest or "",
            trained_until=None if until is None else as_stamp(until),
        ),
        flags=tuple(Flag(flag) for flag in member.flags),
    )


def _adaptive(ledger: Ledger, series: Series, runs: Sequence[RunRow]) -> float:
    """The adaptive factor for the next forecast; 1 while fewer than a hundred cutoffs have matured."""
    latest = {run.cutoff: run for run in runs}
    ends = {c: series.calendar.future(as_stamp(c), run.horizon)[-1] for c, run in latest.items()}
    matured = [latest[cutoff] for cutoff in sorted(latest) if ends[cutoff] <= series.last]
    if len(matured) < MIN_MATURED:
        return 1.0
    misses = np.array([_misses(ledger, series, run) for run in matured])
    gaps = np.diff(series.calendar.ordinal(_stamps([run.cutoff for run in matured])))
    rate = rate_for(matured[-1].horizon, max(1, int(np.median(gaps))))
    return adaptive_factor(misses, rate=rate)


def _misses(ledger: Ledger, series: Series, run: RunRow) -> Floats:
    """(H,) misses of a run's ensemble in half-widths before its adaptive factor."""
    (rows,) = ledger.runs.forecasts(run.run_id, subject=ENSEMBLE)
    actual = series.actuals(as_stamp(run.cutoff), _stamps(rows.dates))
    used = run.decision.get("adaptive", 1.0)
    assert isinstance(used, int | float)
    z = standardised_misses(series.scale.forward(actual), series.scale.forward(rows.quantiles), run.levels)
    return np.asarray(z * float(used))


def _stamps(dates: Sequence[str]) -> Dates:
    return np.array(dates, dtype="datetime64[s]")
