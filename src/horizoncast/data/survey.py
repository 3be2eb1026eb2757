"""Everything the data page shows about one target, as numbers and words.

Letters in shapes: T sessions.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data import checks
from horizoncast.data.checks import Column, day_text
from horizoncast.data.leadlag import Dating, LeadLag, lead_lag, trap_text
from horizoncast.data.load import check_target, load_series, make_reader, read_columns
from horizoncast.data.overrides import Override, OverrideLog, overrides_path
from horizoncast.data.plausible import robust_sigma
from horizoncast.data.reading import TARGET_KEY, covariate_key
from horizoncast.data.report import DataReport
from horizoncast.data.suggest import Suggestion, closed_rows, suggest_all
from horizoncast.data.target import Target
from horizoncast.data.vintage_records import Attempt
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.data.waiting import CovariateFreshness, judge_covariates
from horizoncast.errors import CheckError
from horizoncast.series import Series

SHOWN = 15
"""Rows of a list that a page shows; counts are of all."""

_YEARS_IN_A_ROW = 3


@dataclass(frozen=True, kw_only=True)
class Span:
    """Sessions of one year: with a value, and without."""

    year: int
    observed: int
    missing: int


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A run of `sessions` without a value between two observations."""

    after: np.datetime64
    before: np.datetime64
    sessions: int


@dataclass(frozen=True, kw_only=True)
class Outlier:
    """A change far beyond the usual: `z` robust sigmas of all changes."""

    date: np.datetime64
    before: float
    value: float
    z: float


@dataclass(frozen=True, kw_only=True)
class Change:
    """A value that a source revised: `share` of the first value, NaN at zero."""

    column: str
    date: np.datetime64
    before: float
    after: float
    share: float
    known_at: np.datetime64


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """Where rows and calendar disagree.

    Parameters
    ----------
    on_closed
        Weekdays that the calendar closes and that have a row; the newest.
    recurring
        ``MM-DD`` of expected sessions that lacked a row in three years or more: closed days that the
        calendar does not know.
    """

    on_closed: tuple[np.datetime64, ...]
    recurring: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Survey:
    """What there is to know about a target's data.

    Parameters
    ----------
    target, report
        As declared, and what its checks found.
    column
        The target's clean rows, corrections in place.
    series
        On its calendar; None while errors block it.
    years, gaps, outliers, mismatch
        See their classes; gaps and outliers are the largest.
    missing
        Sessions without a value, in all.
    covariates, leads
        Age of each covariate, and its correlations.
    revisions, revised, attempts
        Newest revisions, their number, and the newest answer of each source; of pulled targets.
    overrides, suggestions
        All corrections, and those the checks would make.
    """

    target: Target
    report: DataReport
    column: Column
    series: Series | None
    years: tuple[Span, ...]
    gaps: tuple[Gap, ...]
    missing: int
    outliers: tuple[Outlier, ...]
    mismatch: Mismatch
    covariates: tuple[CovariateFreshness, ...]
    leads: tuple[LeadLag, ...]
    revisions: tuple[Change, ...]
    revised: int
    attempts: tuple[Attempt, ...]
    overrides: tuple[Override, ...]
    suggestions: tuple[Suggestion, ...]

    @property
    def traps(self) -> tuple[LeadLag, ...]:
        """Covariates whose dates look like a trap."""
        return tuple(lead for lead in self.leads if lead.verdict is Dating.TRAP)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should look at first, besides the findings of the checks."""
        peaks = sorted({lead.peak or 0 for lead in self.traps})
        same = [[lead for lead in self.traps if lead.peak == peak] for peak in peaks]
        found = [trap_text(leads, self.target.dating_offset) for leads in same]
        found += [covariate.reason for covariate in self.covariates if covariate.reason]
        if self.mismatch.recurring:
            days = ", ".join(self.mismatch.recurring)
            found.append(f"no row on {days} year after year: add these days to closed in [calendar]")
        return tuple(found)


def survey(
    target: Target,
    *,
    as_of: np.datetime64 | None = None,
    now: np.datetime64 | None = None,
    store: Path | None = None,
    later_overrides: bool = False,
) -> Survey:
    """Look at everything; parameters as of `load_series`.

    Raises
    ------
    SourceError
        When a source cannot be read. What the checks find is shown, not raised.
    """
    report = check_target(target, as_of=as_of, now=now, store=store, later_overrides=later_overrides)
    columns = read_columns(target, make_reader(target, as_of, store, later_overrides=later_overrides), as_of)
    column, calendar = columns[TARGET_KEY], target.calendar
    series = None
    if not report.errors:
        series = _series(target, as_of, now, store, later_overrides=later_overrides)
    dated = _per_session(column, series)
    gaps = find_gaps(dated, calendar)
    revisions, attempts = _pulls(target, store)
    return Survey(
        target=target,
        report=report,
        column=column,
        series=series,
        years=count_years(dated, gaps, calendar),
        gaps=tuple(sorted(gaps, key=lambda g: -g.sessions)[:SHOWN]),
        missing=sum(g.sessions for g in gaps),
        outliers=find_outliers(column),
        mismatch=find_mismatch(column, gaps, calendar),
        covariates=() if series is None else judge_covariates(series),
        leads=() if series is None else lead_lag(series),
        revisions=tuple(revisions[:SHOWN]),
        revised=len(revisions),
        attempts=tuple(attempts),
        overrides=() if store is None else OverrideLog(overrides_path(store, target.name)).all(),
        suggestions=tuple(suggest_all(target, columns)),
    )


def _series(
    target: Target,
    as_of: np.datetime64 | None,
    now: np.datetime64 | None,
    store: Path | None,
    *,
    later_overrides: bool,
) -> Series | None:
    try:
        loaded = load_series(target, as_of=as_of, now=now, store=store, later_overrides=later_overrides)
    except CheckError:  # the source changed since its report a moment ago
        return None
    return loaded.series


def _per_session(column: Column, series: Series | None) -> Column:
    """One observed row per session: the series' own where rows were joined."""
    if series is None:
        return column
    seen = series.observed_mask
    return Column(
        place=column.place,
        name=column.name,
        lines=np.arange(int(seen.sum()), dtype=np.int64),
        dates=np.asarray(series.dates[seen]),
        values=np.asarray(series.values[seen]),
    )


def find_gaps(column: Column, calendar: Calendar) -> list[Gap]:
    """All runs of missing sessions, ascending."""
    if len(column) < 2:
        return []
    rows, lengths = checks.gap_lengths(column.dates, calendar)
    return [
        Gap(after=column.dates[row - 1], before=column.dates[row], sessions=int(length))
        for row, length in zip(rows, lengths, strict=True)
    ]


def count_years(column: Column, gaps: list[Gap], calendar: Calendar) -> tuple[Span, ...]:
    """Observed and missing sessions of each year, ascending; a gap counts in the years of its sessions."""
    observed = np.unique(_years(column.dates), return_counts=True)
    missing = [_years(_inside(gap, calendar)) for gap in gaps]
    absent = np.unique(np.concatenate([*missing, np.empty(0, dtype=np.int64)]), return_counts=True)
    counts = {int(y): [int(n), 0] for y, n in zip(*observed, strict=True)}
    for year, n in zip(*absent, strict=True):
        counts.setdefault(int(year), [0, 0])[1] = int(n)
    return tuple(Span(year=y, observed=n[0], missing=n[1]) for y, n in sorted(counts.items()))


def _years(dates: np.typing.NDArray[np.datetime64]) -> np.typing.NDArray[np.int64]:
    return dates.astype("datetime64[Y]").astype(np.int64) + 1970


def _inside(gap: Gap, calendar: Calendar) -> np.typing.NDArray[np.datetime64]:
    """The missing sessions of a gap; a mistyped year makes it long, and then its ends must do."""
    if gap.sessions > 100_000:
        return np.array([gap.after, gap.before])
    return calendar.future(gap.after, gap.sessions)


def find_outliers(column: Column) -> tuple[Outlier, ...]:
    """The largest changes by robust z, in logs where all values are positive; eight sigmas at least."""
    if len(column) < 12:
        return ()
    values = column.values
    z = np.log(values) if (values > 0).all() else values
    changes = np.diff(z)
    sigma = robust_sigma(changes)
    if sigma == 0:
        return ()
    scores = (changes - np.median(changes)) / sigma
    order = np.argsort(-np.abs(scores))[:SHOWN]
    return tuple(
        Outlier(
            date=column.dates[i + 1], before=float(values[i]), value=float(values[i + 1]), z=float(scores[i])
        )
        for i in order
        if abs(scores[i]) > 8
    )


def find_mismatch(column: Column, gaps: list[Gap], calendar: Calendar) -> Mismatch:
    """Rows on closed days, and days that lack a row year after year; business calendars only."""
    if calendar.kind is not CalendarKind.BUSINESS or len(column) < 2:
        return Mismatch(on_closed=(), recurring=())
    rows = np.flatnonzero(closed_rows(column, calendar))
    days = [day_text(day)[5:] for gap in gaps if gap.sessions <= 30 for day in _inside(gap, calendar)]
    names, counts = np.unique(np.array(days, dtype="U5"), return_counts=True)
    recurring = [str(name) for name, n in zip(names, counts, strict=True) if n >= _YEARS_IN_A_ROW]
    return Mismatch(on_closed=tuple(column.dates[rows[::-1][:SHOWN]]), recurring=tuple(recurring[:SHOWN]))


def _pulls(target: Target, folder: Path | None) -> tuple[list[Change], list[Attempt]]:
    """Revisions, newest first, and the newest attempt of each source."""
    if folder is None or not store_path(folder, target.name).is_file():
        return [], []
    keys = [(TARGET_KEY, target.source.column)]
    keys += [(TARGET_KEY if c.source is None else covariate_key(c.name), c.column) for c in target.covariates]
    found = []
    with VintageStore(store_path(folder, target.name)) as store:
        for key, column in keys:
            if column is not None:
                found += _changes(store, key, column)
        newest = {attempt.key: attempt for attempt in store.attempts()}
    return sorted(found, key=lambda c: c.known_at.astype(np.int64), reverse=True), list(newest.values())


def _changes(store: VintageStore, key: str, column: str) -> list[Change]:
    """Each revision with the value it replaced."""
    history = store.history(key, column)
    name = column if key == TARGET_KEY else key.partition(":")[2]
    return [
        Change(
            column=name,
            date=new.date,
            before=old.value,
            after=new.value,
            share=(new.value - old.value) / old.value if old.value else float("nan"),
            known_at=new.known_at,
        )
        for old, new in itertools.pairwise(history)
        if new.seq > 0
    ]
