"""What is due now: the moments of a cadence against what the ledger says is published.

Pure functions. Scheduling is by ledger: a trigger that fires late, twice or never changes nothing,
because a moment counts as served only once a forecast on its session is on record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from horizoncast.policy.cadence import Cadence, CatchUp, Due

_BEFORE = timedelta(days=45)
"""Longer than the longest gap between two moments of a cadence (first weekdays are 35 days apart)."""


@dataclass(frozen=True, kw_only=True)
class Publication:
    """One published forecast of a service and series.

    Parameters
    ----------
    session
        Absolute index of its as-of date.
    committed
        When it was published, UTC.
    live
        Whether it was made from all that was known then; one as of a past date was not.
    """

    session: int
    committed: datetime
    live: bool = True


@dataclass(frozen=True, kw_only=True)
class Slot:
    """Due moments that share the session a forecast made then is based on.

    A Tuesday after a holiday on Monday, or the second Friday of a monthly series, brings nothing new
    to forecast from: it belongs to the moment before, and offers it again should that one have failed.

    Parameters
    ----------
    first, due
        The first and the newest of these moments.
    session
        Absolute index of the last session known by then.
    """

    first: Due
    due: Due
    session: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to do for one service now.

    Parameters
    ----------
    run
        Moments to serve, oldest first.
    missed
        Moments that had no forecast and will not get one: too late, or overtaken by a newer one.
    """

    run: tuple[Slot, ...] = ()
    missed: tuple[Slot, ...] = ()


def slots_of(dues: Sequence[Due], session_at: Callable[[datetime], int]) -> list[Slot]:
    """Moments in order, those that bring no new session joined to the one before."""
    slots: list[Slot] = []
    for due in dues:
        session = session_at(due.moment)
        if slots and session <= slots[-1].session:
            slots[-1] = replace(slots[-1], due=due)
        else:
            slots.append(Slot(first=due, due=due, session=session))
    return slots


def dues_around(cadence: Cadence, first: datetime, last: datetime) -> list[Due]:
    """Moments in ``[first, last]`` and the one before them."""
    found = list(cadence.between(first - _BEFORE, last))
    older = [due for due in found if due.moment < first]
    return [*older[-1:], *(due for due in found if due.moment >= first)]


def any_moment(cadence: Cadence, now: datetime) -> bool:
    """Whether any moment is young enough to be served at all: the cheap question first."""
    late = now - timedelta(hours=cadence.late_hours)
    return next(cadence.between(late - timedelta(seconds=1), now), None) is not None


def served(slots: Sequence[Slot], publications: Sequence[Publication], now: datetime) -> set[Slot]:
    """Moments that have their forecast.

    A forecast on a session from a moment's own up to the next moment's serves it, whenever it was
    made; and one made before the next moment came serves it, too, if it stands on newer sessions yet
    (a moment caught up late). A live one serves the moment after which it was made, on whatever old
    input it stood: nothing newer was there. One as of a past date never does, so that a backfill, or
    an old moment caught up, stands for no newer moment; nor does one of after `now`.
    """
    done: set[Slot] = set()
    for publication in publications:
        own = next((slot for slot in reversed(slots) if slot.session <= publication.session), None)
        then = next((slot for slot in reversed(slots) if slot.first.moment <= publication.committed), None)
        made_then = publication.live and publication.committed <= now
        if then is not None and (made_then or then.session <= publication.session):
            done.add(then)
        if own is not None:
            done.add(own)
    return done


def plan_now(
    cadence: Cadence,
    now: datetime,
    session_at: Callable[[datetime], int],
    publications: Sequence[Publication],
    *,
    missed_since: datetime | None = None,
) -> Plan:
    """What is due and not yet published.

    Parameters
    ----------
    now
        The clock, with a time zone.
    session_at
        Absolute index of the last session known at a moment.
    publications
        What the ledger holds of the service and series.
    missed_since
        Moments after it that went without a forecast are named; None names none.
    """
    late = now - timedelta(hours=cadence.late_hours)
    first = late if missed_since is None else min(late, missed_since)
    slots = slots_of(dues_around(cadence, first, now), session_at)
    done = served(slots, publications, now)
    open_slots = [slot for slot in slots if slot not in done]
    run = _chosen(cadence, open_slots, slots, now, late)
    if missed_since is None:
        return Plan(run=tuple(run))
    given_up = [slot for slot in open_slots if slot not in run]
    return Plan(run=tuple(run), missed=tuple(s for s in given_up if s.due.moment > missed_since))


def _chosen(
    cadence: Cadence, open_slots: list[Slot], slots: list[Slot], now: datetime, late: datetime
) -> list[Slot]:
    """Open moments that the catch-up rule serves."""
    young = [slot for slot in open_slots if slot.due.moment >= late]
    if cadence.catch_up is CatchUp.ALL:
        return young
    newest = [slot for slot in young if slot is slots[-1]]
    if cadence.catch_up is CatchUp.NONE:
        grace = now - timedelta(minutes=cadence.grace_minutes)
        return [slot for slot in newest if slot.due.moment >= grace]
    return newest
