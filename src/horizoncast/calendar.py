"""Calendars: the sessions of a series, their real dates and their absolute index.

Dates are ``datetime64[s]`` without a time zone: trading days and demand days are labels, and
intraday series are in UTC. pandas is not imported here, because `tick` must stay small.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError

Dates = npt.NDArray[np.datetime64]
Ints = npt.NDArray[np.int64]

_EPOCH_DAY = np.datetime64("1970-01-05", "D")  # a Monday
_MINUTE = np.timedelta64(60, "s")


class CalendarKind(StrEnum):
    """How the sessions of a series follow each other."""

    BUSINESS = "business"
    DAILY = "daily"
    INTRADAY = "intraday"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"


_PERIODS: dict[CalendarKind, tuple[int, ...]] = {
    CalendarKind.BUSINESS: (5,),
    CalendarKind.DAILY: (7,),
    CalendarKind.WEEKLY: (52,),
    CalendarKind.MONTHLY: (12,),
    CalendarKind.QUARTERLY: (4,),
}


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """The sessions of a series.

    Parameters
    ----------
    kind
        Business days, every day, every `minutes` minutes (UTC), weeks, months or quarters.
    country
        ISO code (``CL``) or market code (``ECB``, ``XNYS``) whose holidays are no sessions;
        business days only. None means that every weekday is a session.
    minutes
        Length of an intraday session in minutes; it must divide a day.
    closed, opened
        Days that the country's list lacks, or has in excess.
    """

    kind: CalendarKind
    country: str | None = None
    minutes: int = 60
    closed: tuple[str, ...] = field(default=())
    opened: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        exceptions = self.closed + self.opened
        if self.kind is not CalendarKind.BUSINESS and (self.country is not None or exceptions):
            raise ConfigError(
                "only a business calendar has holidays",
                value=self.country or exceptions,
                action="drop the country and the closed and opened days",
            )
        for text in exceptions:
            _exception(text)  # a bad date fails here, not at the first forecast
        if self.minutes < 1 or 1440 % self.minutes:
            raise ConfigError(
                "an intraday session must divide a day", value=self.minutes, allowed="divisors of 1440"
            )
        if self.country is not None:
            _holidays(self.country, 2000)  # an unknown code fails here, not at the first forecast

    @property
    def periods(self) -> tuple[int, ...]:
        """Usual season lengths in sessions, shortest first."""
        if self.kind is CalendarKind.INTRADAY:
            day = 1440 // self.minutes
            return tuple(p for p in (day, 7 * day) if p > 1)
        return _PERIODS[self.kind]

    @property
    def date_unit(self) -> str:
        """Numpy unit that prints a session's date without noise: ``D`` or ``m``."""
        return "m" if self.kind is CalendarKind.INTRADAY else "D"

    def text(self, date: np.datetime64) -> str:
        """A session's date as ISO text.

        >>> Calendar(kind=CalendarKind.DAILY).text(np.datetime64("2024-02-29T00:00:00"))
        '2024-02-29'
        """
        return str(np.datetime_as_string(as_stamp(date), unit=self.date_unit))  # type: ignore[call-overload]

    def ordinal(self, dates: Dates | np.datetime64) -> Ints:
        """Absolute session index, the same whatever the start of the series.

        Business days count weekdays, holidays included, so that a late change in a list of
        holidays never moves a re-fit point; the index then has holes, and stays increasing.
        """
        stamp = np.atleast_1d(np.asarray(dates, dtype="datetime64[s]"))
        day = stamp.astype("datetime64[D]")
        match self.kind:
            case CalendarKind.BUSINESS:
                return np.asarray(np.busday_count(_EPOCH_DAY, day), dtype=np.int64)
            case CalendarKind.DAILY:
                return (day - _EPOCH_DAY).astype(np.int64)
            case CalendarKind.INTRADAY:
                since = (stamp - _EPOCH_DAY.astype("datetime64[s]")) // _MINUTE
                return np.asarray(since // self.minutes, dtype=np.int64)
            case CalendarKind.WEEKLY:
                return (day - _EPOCH_DAY).astype(np.int64) // 7
            case CalendarKind.MONTHLY:
                return day.astype("datetime64[M]").astype(np.int64)
            case CalendarKind.QUARTERLY:
                return np.asarray(day.astype("datetime64[M]").astype(np.int64) // 3)

    def future(self, after: np.datetime64, steps: int, *, month_day: int | None = None) -> Dates:
        """Dates of the `steps` sessions that follow `after`, shape (H,).

        Weeks keep the weekday of `after`, months and quarters its day of the month (the last day
        stays the last day).

        Parameters
        ----------
        month_day
            Day of the month, 1 to 31, that months and quarters keep instead, in short months their
            last day: 28 February alone does not say whether the series runs on the 28th.
        """
        stamp = as_stamp(after)
        day = stamp.astype("datetime64[D]")
        ahead = np.arange(1, steps + 1)
        match self.kind:
            case CalendarKind.BUSINESS:
                last = day + np.timedelta64(2 * steps + 30, "D")
                off = self._closed_days(day, last)
                start = np.busday_offset(day, 0, roll="backward", holidays=off)
                return np.asarray(np.busday_offset(start, ahead, holidays=off), dtype="datetime64[s]")
            case CalendarKind.DAILY:
                return np.asarray(day + ahead.astype("timedelta64[D]"), dtype="datetime64[s]")
            case CalendarKind.INTRADAY:
                return np.asarray(stamp + ahead * self.minutes * _MINUTE)
            case CalendarKind.WEEKLY:
                return np.asarray(day + (7 * ahead).astype("timedelta64[D]"), dtype="datetime64[s]")
            case CalendarKind.MONTHLY:
                return _add_months(day, ahead, month_day)
            case CalendarKind.QUARTERLY:
                return _add_months(day, 3 * ahead, month_day)

    def sessions(self, first: np.datetime64, last: np.datetime64) -> Dates:
        """All sessions from `first` to `last`, both included, on the phase of `first`, shape (n,)."""
        begin, end = as_stamp(first), as_stamp(last)
        if end < begin:
            return np.empty(0, dtype="datetime64[s]")
        if self.kind is CalendarKind.BUSINESS:
            day0, day1 = begin.astype("datetime64[D]"), end.astype("datetime64[D]")
            days = np.arange(day0, day1 + np.timedelta64(1, "D"))
            keep = np.is_busday(days, holidays=self._closed_days(day0, day1))
            return np.asarray(days[keep], dtype="datetime64[s]")
        count = int(self.ordinal(end)[0] - self.ordinal(begin)[0]) + 1
        dates = np.concatenate([np.array([begin]), self.future(begin, count)])
        return dates[dates <= end]

    def _closed_days(self, first: np.datetime64, last: np.datetime64) -> Dates:
        """Holidays between two days, own exceptions applied."""
        days: set[np.datetime64] = {_exception(text) for text in self.closed}
        if self.country is not None:
            for year in range(_year(first), _year(last) + 1):
                days.update(_holidays(self.country, year))
        days -= {_exception(text) for text in self.opened}
        return np.array(sorted(days), dtype="datetime64[D]")


def as_stamp(date: object) -> np.datetime64:
    """Any date numpy understands, as ``datetime64[s]``.

    >>> as_stamp("2024-06-28")
    np.datetime64('2024-06-28T00:00:00')
    """
    return np.datetime64(date, "s")  # type: ignore[call-overload,no-any-return]


def _year(day: np.datetime64) -> int:
    return int(day.astype("datetime64[Y]").astype(np.int64)) + 1970


def month_day_of(dates: Dates) -> int:
    """Day of the month that monthly or quarterly dates keep: 31 when all of them end their month.

    >>> month_day_of(np.array(["2023-01-30", "2023-02-28"], dtype="datetime64[s]"))
    30
    """
    day = np.asarray(dates, dtype="datetime64[D]")
    month = day.astype("datetime64[M]")
    if ((day + np.timedelta64(1, "D")).astype("datetime64[M]") != month).all():
        return 31
    return int((day - month.astype("datetime64[D]")).astype(np.int64).max()) + 1


def _add_months(
    day: np.datetime64, months: Sequence[int] | npt.NDArray[Any], month_day: int | None = None
) -> Dates:
    """Shift a date by whole months, keeping the day of the month or the end of the month."""
    keep = month_day_of(np.array([day])) if month_day is None else month_day
    one_day, one_month = np.timedelta64(1, "D"), np.timedelta64(1, "M")
    start = day.astype("datetime64[M]") + np.asarray(months).astype("timedelta64[M]")
    last = (start + one_month).astype("datetime64[D]") - one_day
    shifted = np.minimum(start.astype("datetime64[D]") + np.timedelta64(keep - 1, "D"), last)
    return np.asarray(shifted, dtype="datetime64[s]")


def _exception(text: str) -> np.datetime64:
    """A closed or opened day."""
    try:
        return np.datetime64(date.fromisoformat(text), "D")
    except ValueError as error:
        raise ConfigError(
            "a closed or opened day cannot be read", value=repr(text), allowed="2024-12-31"
        ) from error


@lru_cache(maxsize=512)
def _holidays(code: str, year: int) -> frozenset[np.datetime64]:
    """Holidays of a country (two letters) or a financial market in one year."""
    import holidays

    try:
        if len(code) == 2:
            table = holidays.country_holidays(code, years=year)
        else:
            table = holidays.financial_holidays(code, years=year)
    except NotImplementedError as error:
        raise ConfigError(
            "no list of holidays for this country or market",
            value=code,
            allowed="an ISO code such as CL, or a market such as ECB or XNYS",
            action="leave the country out to make every weekday a session",
        ) from error
    return frozenset(np.datetime64(day, "D") for day in table)
