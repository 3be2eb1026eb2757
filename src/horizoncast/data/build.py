"""From clean columns to a `Series`.

Letters in shapes: T sessions of the target.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from horizoncast.calendar import CalendarKind, Dates
from horizoncast.data import align
from horizoncast.data.checks import Column
from horizoncast.data.target import CovariateSpec, Fill, Target
from horizoncast.series import Covariate, Floats, Scale, Series


def scale_of(target: Target, values: Floats) -> tuple[Scale, str]:
    """Log or level, and why."""
    return align.stable_scale(values) if target.scale is None else (target.scale, "declared")


def build_series(target: Target, column: Column, covariates: Sequence[Column]) -> Series:
    """The target's clean column on its calendar, and a covariate per column."""
    dates, values = column.dates, column.values
    if target.calendar.kind is not CalendarKind.BUSINESS:
        dates, values = _on_grid(target, dates, values)
    observed = np.isfinite(values)
    periods = align.usable_periods(target.calendar, len(dates)) if target.periods is None else target.periods
    season = periods[0] if periods and target.missing.policy is Fill.SEASONAL else None
    scale, reason = scale_of(target, column.values)
    return Series(
        name=target.name,
        unit=target.unit,
        calendar=target.calendar,
        dates=dates,
        values=align.fill_gaps(values, target.missing.policy, season),
        observed=observed,
        scale=scale,
        scale_reason=reason,
        periods=periods,
        covariates=tuple(
            _covariate(spec, rows, target, dates)
            for spec, rows in zip(target.covariates, covariates, strict=True)
        ),
        dating_offset=target.dating_offset,
        nonnegative=target.nonnegative,
    )


def _on_grid(target: Target, dates: Dates, values: Floats) -> tuple[Dates, Floats]:
    grid, place = align.regular_grid(target.calendar, dates)
    out = np.full(len(grid), np.nan)
    out[place] = values
    return grid, out


def _covariate(spec: CovariateSpec, rows: Column, target: Target, sessions: Dates) -> Covariate:
    values = align.align_covariate(
        target.calendar,
        sessions,
        rows.dates,
        rows.values,
        max_carry=spec.max_carry,
        exact=spec.known_future,
    )
    if spec.known_future:
        last = sessions[-1]
        tail = align.future_tail(target.calendar, last, rows.dates, rows.values)
        values = np.concatenate([values, tail])
    return Covariate(
        name=spec.name,
        values=values,
        publication_lag=spec.publication_lag,
        max_carry=spec.max_carry,
        known_future=spec.known_future,
    )


def digest_of(series: Series) -> str:
    """SHA-256 of all numbers of a series: dates, target, observed mask, covariates by name."""
    state = hashlib.sha256(series.name.encode())
    for array in (series.dates.astype(np.int64), series.values, series.observed_mask):
        state.update(np.ascontiguousarray(array).tobytes())
    for covariate in series.covariates:
        state.update(covariate.name.encode())
        state.update(covariate.values.tobytes())
    for other in series.related:
        state.update(digest_of(other).encode())
    return state.hexdigest()
