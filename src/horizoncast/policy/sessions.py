"""Which session a forecast made at a moment is based on, as an absolute session index.

The same counting as the judgement of a late input (`horizoncast.data.waiting`): a session whose end
has passed is expected to be there, the session of the moment itself is not.
"""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind, as_stamp

_EPOCH_DAY = np.datetime64("1970-01-05", "D")  # a Monday, as in `Calendar.ordinal`
_DAY = np.timedelta64(1, "D")
_SECOND = np.timedelta64(1, "s")
_LOOKBACK = np.timedelta64(30, "D")
"""Longer than any run of holidays."""


def stamp_of(moment: datetime) -> np.datetime64:
    """A moment with a time zone as ``datetime64[s]``, UTC."""
    return as_stamp(moment.astimezone(UTC).replace(tzinfo=None))


def expected_session(
    calendar: Calendar, moment: datetime, *, ready_s: float = 0.0, dating_offset: int = 0
) -> int:
    """Absolute index (`Calendar.ordinal`) of the last session that should be known at a moment.

    Parameters
    ----------
    ready_s
        Seconds from the end of a session until its value is usually there.
    dating_offset
        Sessions by which a value's date runs ahead of the moment it is known.
    """
    until = stamp_of(moment) - np.timedelta64(round(ready_s), "s")
    if calendar.kind is not CalendarKind.BUSINESS:
        return int(calendar.ordinal(until)[0]) - 1 + dating_offset
    last = calendar.sessions(until - _LOOKBACK, until - _DAY)[-1]
    if dating_offset:
        last = calendar.future(last, dating_offset)[-1]
    return int(calendar.ordinal(last)[0])


def session_end(calendar: Calendar, index: int) -> np.datetime64:
    """Last second of a session: a run as of it sees that session and none later.

    >>> str(session_end(Calendar(kind=CalendarKind.MONTHLY), 0))
    '1970-01-31T23:59:59'
    """
    after = index + 1
    match calendar.kind:
        case CalendarKind.BUSINESS:
            day = np.busday_offset(_EPOCH_DAY, index)
            return np.datetime64(as_stamp(day + _DAY) - _SECOND)
        case CalendarKind.DAILY:
            end = as_stamp(_EPOCH_DAY + after * _DAY)
        case CalendarKind.INTRADAY:
            end = as_stamp(_EPOCH_DAY) + after * calendar.minutes * np.timedelta64(60, "s")
        case CalendarKind.WEEKLY:
            end = as_stamp(_EPOCH_DAY + 7 * after * _DAY)
        case CalendarKind.MONTHLY:
            end = as_stamp(np.datetime64(after, "M"))
        case CalendarKind.QUARTERLY:
            end = as_stamp(np.datetime64(3 * after, "M"))
    return np.datetime64(end - _SECOND)
