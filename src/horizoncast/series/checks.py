"""What a series must be, checked where it is made and again when it is unpickled."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from horizoncast.calendar import CalendarKind
from horizoncast.errors import DataError
from horizoncast.scale import Scale

if TYPE_CHECKING:
    from horizoncast.series.core import Series


def check_series(series: Series) -> None:
    """Refuse a series that cannot be forecast from.

    Raises
    ------
    DataError
        With the first thing that is wrong.
    """
    for text in (series.name, series.unit):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError("a name or unit is no valid text", value=ascii(text)) from error
    count = len(series.values)
    if count < 2:
        raise DataError(f"{series.name}: a series needs at least two sessions", value=count)
    if series.values.ndim != 1 or len(series.dates) != count or len(series.observed_mask) != count:
        raise DataError(f"{series.name}: dates, values and observed must have one length")
    if np.isnat(series.dates).any() or (np.diff(series.dates) <= np.timedelta64(0, "s")).any():
        raise DataError(f"{series.name}: dates must increase strictly")
    _check_sessions(series)
    if series.dating_offset < 0:
        raise DataError(f"{series.name}: dating_offset must not be negative", value=series.dating_offset)
    if any(p < 2 for p in series.periods) or list(series.periods) != sorted(set(series.periods)):
        raise DataError(f"{series.name}: periods must increase from 2", value=series.periods)
    _check_values(series)
    _check_covariates(series)
    _check_related(series)


def _check_related(series: Series) -> None:
    names = [series.name, *(other.name for other in series.related)]
    if len(set(names)) < len(names):
        raise DataError(f"{series.name}: names of related series repeat", value=names)
    own = [(c.name, c.known_future) for c in series.covariates]
    for other in series.related:
        if other.related:
            raise DataError(f"{series.name}: a related series has related ones itself", value=other.name)
        if other.calendar.kind is not series.calendar.kind:
            raise DataError(
                f"{series.name}: related {other.name} has another calendar",
                value=other.calendar.kind,
                allowed=series.calendar.kind,
            )
        if [(c.name, c.known_future) for c in other.covariates] != own:
            raise DataError(
                f"{series.name}: related {other.name} has other covariates",
                value=", ".join(c.name for c in other.covariates) or "none",
                allowed=", ".join(name for name, _ in own) or "none",
            )


def _check_sessions(series: Series) -> None:
    """One row per session, dated as the calendar dates: anything else is never found again by date."""
    calendar = series.calendar
    day = series.dates.astype("datetime64[D]")
    if calendar.kind is not CalendarKind.INTRADAY and (day != series.dates).any():
        raise DataError(
            f"{series.name}: a {calendar.kind} series has dates without a time of day",
            value=series.dates[np.argmax(day != series.dates)],
        )
    if calendar.kind is CalendarKind.BUSINESS and not np.is_busday(day).all():
        raise DataError(
            f"{series.name}: a weekend is no session of a business calendar",
            value=day[np.argmin(np.is_busday(day))],
            action='drop the row, or use kind = "daily"',
        )
    twice = np.diff(series.ordinals) <= 0
    if twice.any():
        raise DataError(
            f"{series.name}: two rows in one session of the {calendar.kind} calendar",
            value=calendar.text(series.dates[1:][np.argmax(twice)]),
            action="join the rows of a session first",
        )


def _check_values(series: Series) -> None:
    if not np.isfinite(series.values).all():
        raise DataError(f"{series.name}: the target must be finite", action="fill or drop missing rows first")
    if series.scale is Scale.LOG and (series.values <= 0).any():
        raise DataError(
            f"{series.name}: the log scale needs positive values",
            value=float(series.values.min()),
            action='set scale = "level"',
        )
    if series.nonnegative and (series.values < 0).any():
        raise DataError(f"{series.name}: declared non-negative", value=float(series.values.min()))


def _check_covariates(series: Series) -> None:
    names = [c.name for c in series.covariates]
    if len(set(names)) != len(names):
        raise DataError(f"{series.name}: covariate names repeat", value=names)
    for covariate in series.covariates:
        length = len(covariate.values)
        fits = length >= len(series.values) if covariate.known_future else length == len(series.values)
        if covariate.values.ndim != 1 or not fits:
            raise DataError(f"{series.name}: covariate {covariate.name} needs one value per session")
