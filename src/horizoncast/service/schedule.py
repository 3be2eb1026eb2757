"""`schedule preview`: the real dates of a cadence, and what people get wrong about them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from horizoncast.calendar import CalendarKind
from horizoncast.data.target import Target
from horizoncast.policy.cadence import WEEKDAYS, Cadence, Due, Shift, Weeks, cron_or_days
from horizoncast.policy.sessions import session_end
from horizoncast.service.due import session_counter, target_of
from horizoncast.service.light import LightSettings

_BEFORE = timedelta(days=45)


@dataclass(frozen=True, kw_only=True)
class Moment:
    """One due moment of a service.

    Parameters
    ----------
    service, due
        Whose, and when.
    session
        Last day of the session that a forecast made then is based on, ISO text.
    note
        What is unusual about it; empty when nothing is.
    new
        Whether that session is newer than the one of the moment before: else nothing is run.
    """

    service: str
    due: Due
    session: str
    note: str
    new: bool


@dataclass(frozen=True, kw_only=True)
class Preview:
    """The moments of one service in a stretch of time, and warnings about its cadence."""

    service: str
    moments: tuple[Moment, ...]
    warnings: tuple[str, ...]


def preview(settings: LightSettings, first: datetime, days: int) -> Preview:
    """Lay out a service's moments.

    Parameters
    ----------
    first
        Beginning, with a time zone.
    days
        Length of the stretch.
    """
    target, last = target_of(settings), first + timedelta(days=days)
    at = session_counter(settings, target)
    older = list(settings.cadence.between(first - _BEFORE, first))
    before = at(older[-1].moment) if older else None
    moments = []
    for due in settings.cadence.between(first, last):
        session = at(due.moment)
        new = before is None or session > before
        moments.append(
            Moment(
                service=settings.service,
                due=due,
                session=str(session_end(target.calendar, session))[:10],
                note="; ".join(_notes(due, target, new=new)),
                new=new,
            )
        )
        before = session
    warnings = tuple(_warnings(settings.cadence, moments, first, days))
    return Preview(service=settings.service, moments=tuple(moments), warnings=warnings)


def _notes(due: Due, target: Target, *, new: bool) -> Iterator[str]:
    """What is unusual about one moment."""
    if due.shift is Shift.GAP:
        real = due.moment.astimezone(due.local.tzinfo)
        yield f"{due.local:%H:%M} does not exist on this day: {real:%H:%M}"
    elif due.shift is Shift.TWICE:
        yield f"{due.local:%H:%M} happens twice on this day: the first one"
    if _is_closed(target, due):
        yield "holiday of the series"
    if not new:
        yield "no new session: nothing is run unless the one before failed"


def _is_closed(target: Target, due: Due) -> bool:
    """Whether a weekday is a holiday of the series' calendar."""
    if target.calendar.kind is not CalendarKind.BUSINESS or due.local.weekday() >= WEEKDAYS.index("sat"):
        return False
    day = np.datetime64(due.local.date(), "s")
    return len(target.calendar.sessions(day, day)) == 0


def _warnings(cadence: Cadence, moments: Sequence[Moment], first: datetime, days: int) -> Iterator[str]:
    yield from _saving_warnings(cadence, moments)
    stale = [moment for moment in moments if not moment.new]
    if stale:
        yield (
            f"{len(stale)} of {len(moments)} moments bring no new session (holidays, or a series slower than "
            f"the cadence), the first on {stale[0].due.local:%Y-%m-%d}"
        )
    if cadence.weeks is Weeks.FIRST:
        fired = cron_or_days(cadence, first.astimezone(cadence.zone).date(), days)
        names = ",".join(str((WEEKDAYS.index(day) + 1) % 7) for day in cadence.days)
        yield (
            f"cron cannot say this: a line with days 1-7 and weekday {names} joins the two by or and would "
            f"fire on {fired} of these {days} days instead of {len(moments)}; export a line that calls tick"
        )


def _saving_warnings(cadence: Cadence, moments: Sequence[Moment]) -> Iterator[str]:
    """Clock changes: the offset moves, or the time itself is missing or doubled."""
    offsets = [moment.due.local.utcoffset() for moment in moments]
    for before, after, moment in zip(offsets, offsets[1:], moments[1:], strict=False):
        if before != after:
            yield (
                f"the clock changes before {moment.due.local:%Y-%m-%d}: {cadence.time} {cadence.timezone} is "
                f"{moment.due.moment.astimezone(UTC):%H:%M} UTC from then on"
            )
    odd = [moment for moment in moments if moment.due.shift is not Shift.NONE]
    if odd:
        yield (
            f"{cadence.time} is missing or doubled on {len(odd)} of these days; cron would skip or repeat "
            "the run, tick does neither"
        )
