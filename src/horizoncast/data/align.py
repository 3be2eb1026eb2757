"""Put rows on the calendar's sessions: aggregation, grid, gaps, covariates, scale and periods.

Pure functions of arrays. Except for the policy `interpolate`, none of them looks ahead: what stands
at a session depends on rows dated at or before it.

Letters in shapes: n rows of a source, T sessions of the target.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Calendar, CalendarKind, Dates
from horizoncast.data.target import Aggregate, Fill
from horizoncast.errors import DataError
from horizoncast.series import Bools, Floats, Scale, choose_scale

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Sessions:
    """Rows joined to sessions: dates (m,), values (m,), rows per session (m,), first row of each (m,)."""

    dates: Dates
    values: Floats
    counts: Ints
    first: Ints


def session_start(calendar: Calendar, dates: Dates) -> Dates:
    """First moment of the session each stamp falls in, shape (n,).

    >>> hourly = Calendar(kind=CalendarKind.INTRADAY, minutes=60)
    >>> str(session_start(hourly, np.array(["2024-01-01T10:30"], dtype="datetime64[s]"))[0])
    '2024-01-01T10:00:00'
    """
    day = dates.astype("datetime64[D]")
    match calendar.kind:
        case CalendarKind.INTRADAY:
            step = np.timedelta64(60 * calendar.minutes, "s")
            return np.asarray(dates - (dates - day.astype("datetime64[s]")) % step)
        case CalendarKind.WEEKLY:
            weekday = (day.astype(np.int64) + 3) % 7  # 1970-01-01 was a Thursday
            start = day - weekday.astype("timedelta64[D]")
        case CalendarKind.MONTHLY:
            start = day.astype("datetime64[M]")
        case CalendarKind.QUARTERLY:
            month = day.astype("datetime64[M]")
            start = month - (month.astype(np.int64) % 3).astype("timedelta64[M]")
        case _:
            start = day
    return np.asarray(start.astype("datetime64[s]"))


def aggregate_rows(calendar: Calendar, dates: Dates, values: Floats, how: Aggregate) -> Sessions:
    """Join the rows of each session; a session's label is its first moment.

    Parameters
    ----------
    dates, values
        (n,) ascending stamps and their finite values.
    how
        Mean, sum or last value.
    """
    labels = session_start(calendar, dates)
    starts, first, counts = np.unique(labels, return_index=True, return_counts=True)
    match how:
        case Aggregate.MEAN:
            joined = np.add.reduceat(values, first) / counts
        case Aggregate.SUM:
            joined = np.add.reduceat(values, first)
        case Aggregate.LAST:
            joined = values[first + counts - 1]
    return Sessions(
        dates=starts, values=np.asarray(joined), counts=counts.astype(np.int64), first=first.astype(np.int64)
    )


def complete_sessions(counts: Ints, how: Aggregate) -> Bools:
    """Which sessions hold enough rows, shape (m,).

    The first and the last session are dropped when they have fewer rows than is usual: they are cut
    by the ends of the file, and half an hour is no hour. A sum is wrong with any row missing.
    """
    sizes, times = np.unique(counts, return_counts=True)
    usual = sizes[times == times.max()].max()
    full = counts >= usual
    if how is not Aggregate.SUM:
        full[1:-1] = True
    return np.asarray(full)


def regular_grid(calendar: Calendar, dates: Dates) -> tuple[Dates, Ints]:
    """All sessions from the first row to the last, on the phase of the first row.

    Parameters
    ----------
    dates
        (n,) ascending, one row per session; weeks keep the weekday of the first, months its day.

    Returns
    -------
    grid, place
        (T,) sessions, and (n,) the place of each row in them.
    """
    ordinals = calendar.ordinal(dates)
    place = ordinals - ordinals[0]
    first = np.asarray(dates[:1], dtype="datetime64[s]")
    grid = np.concatenate([first, calendar.future(first[0], int(place[-1]))])
    return grid, place


def fill_gaps(values: Floats, policy: Fill, period: int | None) -> Floats:
    """Fill NaN, shape (T,) to (T,); the first value must be finite.

    Parameters
    ----------
    policy
        ``carry`` repeats the last value, ``seasonal`` the (filled) value one season earlier, where
        there is one; ``interpolate`` is linear and looks ahead to the end of the gap.
    period
        Season in sessions for ``seasonal``; None carries.

    Raises
    ------
    DataError
        For ``drop`` with anything missing: a regular grid cannot drop.
    """
    holes = np.flatnonzero(~np.isfinite(values))
    out = values.copy()
    if not len(holes):
        return out
    if policy is Fill.DROP:
        raise DataError("a regular grid cannot drop sessions", value=len(holes))
    if policy is Fill.INTERPOLATE:
        seen = np.flatnonzero(np.isfinite(values))
        out[holes] = np.interp(holes, seen, values[seen])
        return out
    back = period if policy is Fill.SEASONAL and period is not None else 1
    for i in holes:
        out[i] = out[i - back] if i >= back else out[i - 1]
    return out


def align_covariate(
    calendar: Calendar, sessions: Dates, dates: Dates, values: Floats, *, max_carry: int, exact: bool
) -> Floats:
    """Put a covariate on the target's sessions, shape (T,), NaN where it has no value.

    A session takes the value of its own date. A row dated between two sessions (a holiday of the
    target's country, another weekday of a weekly covariate) goes to the next session, when it is at
    most `max_carry` sessions of the calendar old. A value never goes to an earlier session.

    Parameters
    ----------
    sessions
        (T,) ascending.
    dates, values
        (n,) ascending rows of the covariate, finite.
    exact
        Take rows of the very date only (values known in advance, such as holidays).
    """
    out = np.full(len(sessions), np.nan)
    if not len(dates) or not len(sessions):
        return out
    at = np.searchsorted(dates, sessions, side="right") - 1
    row = np.maximum(at, 0)
    same = (at >= 0) & (dates[row] == sessions)
    usable = same
    if not exact and max_carry > 0:
        age = calendar.ordinal(sessions) - calendar.ordinal(dates[row])
        fresh = np.concatenate([[True], dates[row[1:]] > sessions[:-1]])
        usable = same | ((at >= 0) & fresh & (age <= max_carry))
    return np.where(usable, values[row], np.nan)


def future_tail(calendar: Calendar, last: np.datetime64, dates: Dates, values: Floats) -> Floats:
    """Values known in advance on the sessions after `last`, shape (F,).

    F ends with the last known value, and at 1000, the longest horizon.
    """
    ahead = dates > last
    if not ahead.any():
        return np.empty(0)
    steps = max(int(calendar.ordinal(dates[-1])[0] - calendar.ordinal(last)[0]), 1)
    sessions = calendar.future(last, min(steps, 1000))
    tail = align_covariate(calendar, sessions, dates, values, max_carry=0, exact=True)
    known = np.flatnonzero(np.isfinite(tail))
    return tail[: known[-1] + 1] if len(known) else np.empty(0)


def stable_scale(values: Floats) -> tuple[Scale, str]:
    """Log or level from early observations, so that a weekly run does not flip it.

    `choose_scale` reads the first 2^k observations, the largest power of two within the first half
    of the history, at most 1024: the answer is looked at again only when the history has doubled,
    and never after 2048 observations. A value at or below zero anywhere makes it level.

    Parameters
    ----------
    values
        (n,) observed values in the unit.
    """
    if (values <= 0).any():
        return Scale.LEVEL, "values at or below zero"
    half = max(len(values) // 2, 1)
    early = min(1 << (half.bit_length() - 1), 1024) if half >= 8 else len(values)
    scale, reason = choose_scale(values[:early])
    return scale, f"{reason}, in the first {early} observations"


def usable_periods(calendar: Calendar, sessions: int) -> tuple[int, ...]:
    """The calendar's seasons of which the history holds at least two.

    >>> usable_periods(Calendar(kind=CalendarKind.WEEKLY), 103)
    ()
    """
    return tuple(period for period in calendar.periods if 2 * period <= sessions)
