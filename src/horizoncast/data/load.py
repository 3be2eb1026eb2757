"""From a declared target to a checked `Series` and the report of what was found.

The calendar rule: on a business calendar the past sessions are the observed rows, and missing ones
are left out and counted; every other calendar has a regular grid, whose gaps are filled by the
declared policy and marked as not observed, so that they are never an actual.

Letters in shapes: T sessions of the target.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from horizoncast.calendar import CalendarKind
from horizoncast.data import align, checks, plausible
from horizoncast.data.build import build_series, digest_of, scale_of
from horizoncast.data.checks import Column, Finding, Severity
from horizoncast.data.reading import TARGET_KEY, Reader, covariate_key, moment_of
from horizoncast.data.report import DataReport
from horizoncast.data.sources import Rows
from horizoncast.data.target import Aggregate, CovariateSpec, Fill, Target
from horizoncast.errors import DataError
from horizoncast.series import Scale, Series


@dataclass(frozen=True, kw_only=True, eq=False)
class LoadedSeries:
    """A series fit to be forecast, and its report."""

    series: Series
    report: DataReport


def load_series(
    target: Target,
    *,
    as_of: np.datetime64 | None = None,
    now: np.datetime64 | None = None,
    store: Path | None = None,
    known_at: np.datetime64 | None = None,
    later_overrides: bool = False,
) -> LoadedSeries:
    """Read, check and align a target and its covariates.

    Parameters
    ----------
    target
        As declared.
    as_of
        Sessions dated later are hidden (a day means its first moment on an intraday calendar); the
        cutoff is the last observation at or before it.
    now
        The clock in UTC, for future dates and staleness; None reads the system's.
    store
        Folder of the local store of observations, which pulled sources are read from.
    known_at
        Moment in UTC: pulled values are those known then, before later revisions. None takes the end
        of the as-of day, and everything without an as-of date.
    later_overrides
        Whether corrections made after that moment are applied, too.

    Raises
    ------
    SourceError
        When a source cannot be read.
    CheckError
        When a finding blocks; all of them are listed.
    """
    reader = make_reader(target, as_of, store, known_at, later_overrides=later_overrides)
    report, series = _examine(target, as_of, now, reader)
    report.raise_if_blocking()
    assert series is not None
    alone = LoadedSeries(series=series, report=report)
    if not target.related:
        return alone
    moments = _Moments(as_of=as_of, now=now, known_at=known_at)
    return with_related(alone, _panel(target, moments, store, later_overrides))


@dataclass(frozen=True, kw_only=True)
class _Moments:
    """As what is read when; see `load_series`."""

    as_of: np.datetime64 | None
    now: np.datetime64 | None
    known_at: np.datetime64 | None


def _panel(
    target: Target, moments: _Moments, store: Path | None, later_overrides: bool
) -> list[Series | Finding]:
    """The series related to a target; why one is left out in its place: it is no reason to stop a run."""
    found: list[Series | Finding] = []
    for other in target.related:
        try:
            loaded = load_series(
                replace(other, max_staleness=None),
                as_of=moments.as_of,
                now=moments.now,
                store=store,
                known_at=moments.known_at,
                later_overrides=later_overrides,
            )
            found.append(loaded.series)
        except DataError as error:
            message = f"related series {other.name} is left out: {error}"
            found.append(Finding(code="related_left_out", severity=Severity.WARNING, message=message))
    return found


def with_related(loaded: LoadedSeries, others: Sequence[Series | Finding]) -> LoadedSeries:
    """The series with its panel; the digest covers it, and the report names what is left out."""
    series = replace(loaded.series, related=tuple(o for o in others if isinstance(o, Series)))
    report = replace(_with_findings(loaded.report, others), digest=digest_of(series))
    return LoadedSeries(series=series, report=report)


def _with_findings(report: DataReport, others: Sequence[Series | Finding]) -> DataReport:
    more = [other for other in others if isinstance(other, Finding)]
    return replace(report, findings=_ranked([*report.findings, *more]))


def check_target(
    target: Target,
    *,
    as_of: np.datetime64 | None = None,
    now: np.datetime64 | None = None,
    store: Path | None = None,
    known_at: np.datetime64 | None = None,
    later_overrides: bool = False,
) -> DataReport:
    """Return the report of `load_series` without raising for what it found."""
    reader = make_reader(target, as_of, store, known_at, later_overrides=later_overrides)
    report = _examine(target, as_of, now, reader)[0]
    moments = _Moments(as_of=as_of, now=now, known_at=known_at)
    return _with_findings(report, _panel(target, moments, store, later_overrides))


def make_reader(
    target: Target,
    as_of: np.datetime64 | None = None,
    store: Path | None = None,
    known_at: np.datetime64 | None = None,
    *,
    later_overrides: bool = False,
) -> Reader:
    """What reads the sources of a target as of a moment; see `load_series`."""
    moment = moment_of(target, as_of) if known_at is None else known_at
    return Reader(target=target, folder=store, known_at=moment, later_overrides=later_overrides)


def read_columns(target: Target, reader: Reader, as_of: np.datetime64 | None = None) -> dict[str, Column]:
    """Finite rows in order, one per date: ``target``, then each covariate by its name."""
    rows = _read_target(target, reader)
    raw = {TARGET_KEY: _visible(_column(rows, _target_column(target), target), target, as_of)}
    for spec in target.covariates:
        own = (
            rows if spec.source is None else reader.rows(covariate_key(spec.name), spec.source, [spec.column])
        )
        name = spec.column if spec.source is None else own.names[0]
        column = _column(own, name, target)
        raw[spec.name] = column if spec.known_future else _visible(column, target, as_of)
    joined = target.aggregate is not None
    return {k: _in_order(c.take(np.isfinite(c.values)), [], joined=joined)[0] for k, c in raw.items()}


def _examine(
    target: Target, as_of: np.datetime64 | None, now: np.datetime64 | None, reader: Reader
) -> tuple[DataReport, Series | None]:
    clock = np.datetime64("now", "s") if now is None else now.astype("datetime64[s]")
    rows = _read_target(target, reader)
    raw = _visible(_column(rows, _target_column(target), target), target, as_of)
    column, findings = _clean(raw, target, clock)
    report = DataReport(target=target.name, place=target.source.place, rows=len(raw))
    if len(column) < 2:
        findings += checks.check_history(column, max(target.checks.min_history, 2))
        found = _ranked(findings + reader.findings)
        return replace(report, findings=found, overrides=tuple(reader.overrides)), None
    column, more = _to_sessions(column, target)
    findings += more + _judge_target(column, target)
    until = clock if as_of is None else as_of.astype("datetime64[s]")
    stale = checks.staleness(column.dates[-1], target.calendar, until, clock=as_of is None)
    findings += checks.check_staleness(column, stale, target.max_staleness)
    covariates, more = _read_covariates(target, rows, column.dates[-1], reader)
    report = replace(
        report, findings=_ranked(findings + more + reader.findings), stale=stale, observed=len(column)
    )
    report = replace(report, first=column.dates[0], last=column.dates[-1], overrides=tuple(reader.overrides))
    if report.errors:
        return report, None
    series = build_series(target, column, covariates)
    return _completed(report, series), series


def _completed(report: DataReport, series: Series) -> DataReport:
    absent = 0
    if series.calendar.kind is CalendarKind.BUSINESS:
        absent = int(checks.gap_lengths(series.dates, series.calendar)[1].sum())
    return replace(
        report,
        filled=int((~series.observed_mask).sum()),
        absent=absent,
        first=series.dates[0],
        last=series.last,
        scale=series.scale,
        scale_reason=series.scale_reason,
        digest=digest_of(series),
    )


def _ranked(findings: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: f.severity is not Severity.ERROR))


def _target_column(target: Target) -> str:
    name = target.source.column
    assert name is not None
    return name


def _read_target(target: Target, reader: Reader) -> Rows:
    shared = [spec.column for spec in target.covariates if spec.source is None]
    return reader.rows(TARGET_KEY, target.source, [_target_column(target), *shared])


def _column(rows: Rows, name: str, target: Target) -> Column:
    """Take one column from the declared start; day calendars drop the time of day."""
    day = target.calendar.kind is not CalendarKind.INTRADAY and target.aggregate is None
    dates = rows.dates.astype("datetime64[D]").astype("datetime64[s]") if day else rows.dates
    column = Column(place=rows.place, name=name, lines=rows.lines, dates=dates, values=rows.column(name))
    return column if target.start is None else column.take(column.dates >= target.start)


def _visible(column: Column, target: Target, as_of: np.datetime64 | None) -> Column:
    """Rows of sessions that start at or before the as-of date; checks never see later ones."""
    if as_of is None:
        return column
    dates = column.dates
    label = dates if target.aggregate is None else align.session_start(target.calendar, dates)
    return column.take(label <= as_of.astype("datetime64[s]"))


def _clean(column: Column, target: Target, now: np.datetime64) -> tuple[Column, list[Finding]]:
    """Rows in order, with a finite value, one per date; and what was wrong with them."""
    findings = checks.check_finite(column)
    column = column.take(np.isfinite(column.values))
    findings += checks.check_future(column, target.calendar, now, target.dating_offset)
    return _in_order(column, findings, joined=target.aggregate is not None)


def _in_order(column: Column, findings: list[Finding], *, joined: bool) -> tuple[Column, list[Finding]]:
    swapped = checks.check_swapped_days(column)
    findings = findings + (swapped or checks.check_order(column))
    column = column.take(np.argsort(column.dates, kind="stable"))
    findings = findings + checks.check_duplicates(column, joined=joined)
    if not len(column) or joined:
        return column, findings
    keep = np.concatenate([[True], np.diff(column.dates) > np.timedelta64(0, "s")])
    return column.take(keep), findings


def _to_sessions(column: Column, target: Target) -> tuple[Column, list[Finding]]:
    """One row per session of the calendar, at its own date."""
    findings = checks.check_weekends(column, target.calendar)
    column = column.take(~checks.weekend_rows(column, target.calendar)[1])
    if target.aggregate is None:
        findings += checks.check_one_per_session(column, target.calendar)
        label = target.calendar.ordinal(column.dates)
        if target.calendar.kind is not CalendarKind.BUSINESS:
            column = column.take(np.concatenate([[True], np.diff(label) > 0]))
        return column, findings
    return _aggregated(column, target, target.aggregate), findings


def _aggregated(column: Column, target: Target, how: Aggregate) -> Column:
    joined = align.aggregate_rows(target.calendar, column.dates, column.values, how)
    whole = Column(
        place=column.place,
        name=column.name,
        lines=column.lines[joined.first],
        dates=joined.dates,
        values=joined.values,
    )
    return whole.take(align.complete_sessions(joined.counts, how))


def _judge_target(column: Column, target: Target) -> list[Finding]:
    limits = target.checks
    findings = checks.check_history(column, limits.min_history)
    if len(column) < 2:
        return findings
    findings += checks.check_calendar(column, target.calendar, limits)
    findings += checks.check_gaps(column, target.calendar, target.missing.max_gap)
    findings += _check_lookahead(column, target) + checks.check_positive(column, target.scale)
    findings += checks.check_negative(column, target.nonnegative)
    slips = plausible.check_unit_slip(column)
    findings += slips or plausible.check_jump(column, scale_of(target, column.values)[0], limits)
    return findings + plausible.check_stuck(column, limits.stuck)


def _check_lookahead(column: Column, target: Target) -> list[Finding]:
    missing = int(checks.gap_lengths(column.dates, target.calendar)[1].sum())
    if target.missing.policy is not Fill.INTERPOLATE or not missing:
        return []
    message = (
        f"{column.place}: {missing} sessions are interpolated from values after them, which a past "
        'cutoff inside such a gap could not know; prefer policy = "carry" or "seasonal"'
    )
    return [Finding(code="interpolated", severity=Severity.WARNING, message=message)]


def _read_covariates(
    target: Target, rows: Rows, last: np.datetime64, reader: Reader
) -> tuple[tuple[Column, ...], list[Finding]]:
    columns, findings = [], []
    for spec in target.covariates:
        own = rows
        if spec.source is not None:
            own = reader.rows(covariate_key(spec.name), spec.source, [spec.column])
        name = spec.column if spec.source is None else own.names[0]
        column, found = _judge_covariate(_column(own, name, target), spec, target, last)
        columns.append(column)
        findings += found
    return tuple(columns), findings


def _judge_covariate(
    column: Column, spec: CovariateSpec, target: Target, last: np.datetime64
) -> tuple[Column, list[Finding]]:
    """A covariate's clean column; rows after the target's last session stay only when known ahead."""
    if not spec.known_future:
        column = _visible(column, target, last)
    findings = checks.check_finite(column)
    joined = target.aggregate is not None
    column, findings = _in_order(column.take(np.isfinite(column.values)), findings, joined=joined)
    if not len(column):
        message = (
            f"{column.place}: covariate {spec.name} has no value up to {checks.day_text(last)}; remove it"
        )
        return column, [*findings, Finding(code="empty_covariate", severity=Severity.ERROR, message=message)]
    if target.aggregate is not None:
        how = Aggregate.LAST if target.aggregate is Aggregate.LAST else Aggregate.MEAN
        column = _aggregated(column, target, how)
    if not spec.known_future:
        findings += plausible.check_unit_slip(column)
        scale = Scale.LOG if (column.values > 0).all() else Scale.LEVEL
        findings += plausible.check_jump(column, scale, target.checks, blocks=False)
        findings += _late_covariate(column, spec, target, last)
    return column, findings


def _late_covariate(
    column: Column, spec: CovariateSpec, target: Target, last: np.datetime64
) -> list[Finding]:
    behind = checks.staleness(column.dates[-1], target.calendar, last, clock=False)
    if behind <= spec.max_carry:
        return []
    message = (
        f"{column.place}: covariate {spec.name} ends {behind} sessions before the target, more than "
        f"max_carry = {spec.max_carry}; members that need it will say so; update it"
    )
    return [Finding(code="late_covariate", severity=Severity.WARNING, message=message)]
