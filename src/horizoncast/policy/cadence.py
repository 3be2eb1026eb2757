"""When a service is due: weekdays at a time of the wall clock, in a time zone.

A cadence is said in its own words and computed from dates. Cron cannot say "the first Tuesday":
its day of the month and its weekday are joined by *or*, so that ``0 7 1-7 * 2`` fires on 124 days
of a year (crontab(5)).
"""

from __future__ import annotations

import re
import zoneinfo
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from enum import StrEnum
from typing import TypeVar

from horizoncast.errors import ConfigError, close_match

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK = 7
_DAY = timedelta(days=1)

KindT = TypeVar("KindT", bound=StrEnum)


class Weeks(StrEnum):
    """Every week, or only the first such weekday of a month."""

    EVERY = "every"
    FIRST = "first"


class CatchUp(StrEnum):
    """What happens to moments that passed without a run.

    ``latest`` runs for the newest one only, ``all`` for each of them in order, ``none`` for the
    newest one and only shortly after it.
    """

    LATEST = "latest"
    ALL = "all"
    NONE = "none"


class Shift(StrEnum):
    """What daylight saving does to a time of the wall clock on one day."""

    NONE = ""
    GAP = "gap"
    TWICE = "twice"


@dataclass(frozen=True, kw_only=True)
class Due:
    """One moment at which a service is due.

    Parameters
    ----------
    moment
        The moment, UTC.
    local
        The same on the wall clock, as it was asked for.
    shift
        ``gap`` when that time does not exist on this day: the moment is the same time counted from
        the old offset, on the clock an hour later. ``twice`` when it exists twice: the first one.
    """

    moment: datetime
    local: datetime
    shift: Shift = Shift.NONE


@dataclass(frozen=True, kw_only=True)
class Cadence:
    """When a service is due, and what happens to moments that passed.

    Parameters
    ----------
    days, weeks
        Weekdays ``mon`` to ``sun``, in every week or only the first such weekday of a month.
    time, timezone
        Wall clock, ``HH:MM``, in a zone of the time zone database.
    catch_up
        See `CatchUp`.
    late_hours
        Hours after which a moment that had no run is let go.
    grace_minutes
        With ``catch_up = none``: minutes in which a moment may still be served.

    Raises
    ------
    ConfigError
        For a value that cannot mean anything.
    """

    days: tuple[str, ...] = ("fri",)
    weeks: Weeks = Weeks.EVERY
    time: str = "07:00"
    timezone: str = "America/Santiago"
    catch_up: CatchUp = CatchUp.LATEST
    late_hours: float = 72.0
    grace_minutes: float = 60.0

    def __post_init__(self) -> None:
        if not self.days or len(set(self.days)) < len(self.days) or not set(self.days) <= set(WEEKDAYS):
            raise ConfigError(
                "cadence.days: at least one weekday, none twice",
                value=list(self.days),
                allowed=", ".join(WEEKDAYS),
            )
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", self.time):
            raise ConfigError("cadence.time cannot be read", value=repr(self.time), allowed="00:00 to 23:59")
        zone_of(self.timezone)
        if not 0 < self.late_hours <= 24 * 60 or self.grace_minutes <= 0:
            raise ConfigError(
                "cadence: late_hours and grace_minutes must be positive, late_hours at most sixty days",
                value=(self.late_hours, self.grace_minutes),
            )

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Cadence:
        """Read a table of settings as layers hold it: numbers may be text.

        Raises
        ------
        ConfigError
            For an unknown key or a value that cannot be read.
        """
        for key in values:
            if key not in cls.__dataclass_fields__:
                near = close_match(key, cls.__dataclass_fields__)
                raise ConfigError("unknown setting in table cadence", value=key, action=near)
        default = cls()
        days = values.get("days", default.days)
        return cls(
            days=tuple(sorted((str(day) for day in _listed(days)), key=_weekday)),
            weeks=_choice(Weeks, "cadence.weeks", values.get("weeks", default.weeks)),
            time=str(values.get("time", default.time)),
            timezone=str(values.get("timezone", default.timezone)),
            catch_up=_choice(CatchUp, "cadence.catch_up", values.get("catch_up", default.catch_up)),
            late_hours=_number("cadence.late_hours", values.get("late_hours", default.late_hours)),
            grace_minutes=_number(
                "cadence.grace_minutes", values.get("grace_minutes", default.grace_minutes)
            ),
        )

    @property
    def zone(self) -> zoneinfo.ZoneInfo:
        """The time zone."""
        return zone_of(self.timezone)

    def is_due_on(self, day: date) -> bool:
        """Whether the service is due on a day of its time zone.

        >>> tuesday = Cadence(days=("tue",), weeks=Weeks.FIRST)
        >>> tuesday.is_due_on(date(2026, 9, 1)), tuesday.is_due_on(date(2026, 9, 8))
        (True, False)
        """
        wanted = WEEKDAYS[day.weekday()] in self.days
        return wanted and (self.weeks is Weeks.EVERY or day.day <= _WEEK)

    def due_on(self, day: date) -> Due:
        """The moment on one day; it exists on every day, whatever daylight saving does."""
        hour, minute = (int(part) for part in self.time.split(":"))
        local = datetime.combine(day, clock_time(hour, minute), tzinfo=self.zone)
        moment = local.astimezone(UTC)
        back = moment.astimezone(self.zone)
        if (back.hour, back.minute) != (hour, minute):
            shift = Shift.GAP
        elif local.utcoffset() != local.replace(fold=1).utcoffset():
            shift = Shift.TWICE
        else:
            shift = Shift.NONE
        return Due(moment=moment, local=local, shift=shift)

    def between(self, after: datetime, until: datetime) -> Iterator[Due]:
        """Moments with ``after < moment <= until``, in order; both bounds carry a time zone."""
        day, last = after.astimezone(self.zone).date() - _DAY, until.astimezone(self.zone).date() + _DAY
        while day <= last:
            if self.is_due_on(day):
                due = self.due_on(day)
                if after < due.moment <= until:
                    yield due
            day += _DAY


def cron_or_days(cadence: Cadence, first: date, days: int) -> int:
    """Days on which cron fires when a first-weekday cadence is written as one of its lines.

    Cron joins the day of the month and the weekday by *or* when neither is ``*``.

    >>> cron_or_days(Cadence(days=("tue",), weeks=Weeks.FIRST), date(2026, 1, 1), 365)
    124
    """
    ahead = (first + n * _DAY for n in range(days))
    return sum(day.day <= _WEEK or WEEKDAYS[day.weekday()] in cadence.days for day in ahead)


def zone_of(name: str) -> zoneinfo.ZoneInfo:
    """A zone of the time zone database.

    Raises
    ------
    ConfigError
        With the closest known name.
    """
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            "cadence.timezone is no name of the time zone database",
            value=repr(name),
            allowed="such as America/Santiago",
            action=close_match(name, zoneinfo.available_timezones()),
        ) from error


def _listed(days: object) -> tuple[object, ...]:
    if isinstance(days, list | tuple):
        return tuple(days)
    raise ConfigError("cadence.days is no list", value=repr(days), allowed='such as ["mon", "fri"]')


def _weekday(day: str) -> int:
    return WEEKDAYS.index(day) if day in WEEKDAYS else len(WEEKDAYS)


def _choice(kind: type[KindT], key: str, value: object) -> KindT:
    try:
        return kind(str(value))
    except ValueError as error:
        raise ConfigError(f"{key} cannot be read", value=repr(value), allowed=", ".join(kind)) from error


def _number(key: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise ConfigError(f"{key} is no number", value=repr(value)) from error
