"""What is due and unpublished: the cadence of each service against its ledger."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from horizoncast.errors import HorizoncastError
from horizoncast.policy.schedule import Plan, Publication, Slot, any_moment, plan_now
from horizoncast.service.attempts import Memory
from horizoncast.service.light import LightSettings

if TYPE_CHECKING:
    from horizoncast.data.target import Target
    from horizoncast.store.ledger.peek import Published

_LOOK_BACK = timedelta(days=14)
"""Moments missed longer ago are not told any more: the machine was off, and that is known."""
_TICK = timedelta(seconds=1)
"""A moment exactly as old as the limit is still served, and expires after that."""
LEDGER_FILE = "ledger.sqlite"
"""The embedded ledger, as `horizoncast.store.ledger.database` names it; its module is not light."""


@dataclass(frozen=True, kw_only=True)
class DueRun:
    """One run to make.

    Parameters
    ----------
    settings, series
        The service, and the name of its target.
    slot
        The due moment it serves.
    as_of
        Moment (ISO text) after which rows are hidden; None takes what is there, as a run at its own
        moment does.
    """

    settings: LightSettings
    series: str
    slot: Slot
    as_of: str | None


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One service looked at.

    Parameters
    ----------
    settings
        The service.
    runs
        What is due, oldest first.
    missed
        Moments that went without a forecast and will not get one.
    series
        Name of its target; empty where nothing could be due and the target was not read.
    pulls
        Whether the target has sources that are pulled.
    expired
        Whether a moment has become too late since the last look.
    error
        Why it could not be looked at.
    """

    settings: LightSettings
    runs: tuple[DueRun, ...] = ()
    missed: tuple[Slot, ...] = ()
    series: str = ""
    pulls: bool = False
    expired: bool = False
    error: HorizoncastError | None = None


def look(services: Sequence[LightSettings], now: datetime, memory: Memory) -> list[Looked]:
    """Look at every service; one that cannot be read leaves the others alone."""
    return [_look_at(settings, now, memory) for settings in services]


def _look_at(settings: LightSettings, now: datetime, memory: Memory) -> Looked:
    since = memory.told_since(settings.service)
    late = timedelta(hours=settings.cadence.late_hours)
    looked = memory.looked or now
    expired = looked < now and any(settings.cadence.between(looked - late - _TICK, now - late - _TICK))
    if not expired and not any_moment(settings.cadence, now):
        return Looked(settings=settings)
    try:
        target = target_of(settings)
        plan = plan_now(
            settings.cadence,
            now,
            session_counter(settings, target),
            publications(settings, target),
            missed_since=None if since is None else max(since, now - late - _LOOK_BACK),
        )
    except HorizoncastError as error:
        return Looked(settings=settings, error=error)
    sources = [target.source, *(c.source for c in target.covariates if c.source is not None)]
    return Looked(
        settings=settings,
        runs=runs_of(settings, target, plan),
        missed=plan.missed,
        series=target.name,
        pulls=any(source.pulled for source in sources),
        expired=expired,
    )


def runs_of(
    settings: LightSettings, target: Target, plan: Plan, *, all_past: bool = False
) -> tuple[DueRun, ...]:
    """Runs that serve a plan; the newest moment is served from what is there unless `all_past`."""
    found = []
    for place, slot in enumerate(plan.run, start=1):
        newest = place == len(plan.run) and not all_past
        as_of = None if newest else as_of_text(target, slot)
        found.append(DueRun(settings=settings, series=target.name, slot=slot, as_of=as_of))
    return tuple(found)


def as_of_text(target: Target, slot: Slot) -> str:
    """The date after which rows are hidden, so that a moment's own session is the last one seen."""
    from horizoncast.calendar import CalendarKind
    from horizoncast.policy.sessions import session_end

    end = str(session_end(target.calendar, slot.session))
    return end if target.calendar.kind is CalendarKind.INTRADAY else end[:10]


def target_of(settings: LightSettings) -> Target:
    """The target of a service; pandas is not imported for it."""
    from horizoncast.data.target_file import read_target

    return read_target(settings.target_path)


def session_counter(settings: LightSettings, target: Target) -> Callable[[datetime], int]:
    """The last session known at a moment, by its absolute index."""
    from horizoncast.policy.sessions import expected_session

    def at(moment: datetime) -> int:
        return expected_session(
            target.calendar, moment, ready_s=settings.ready_s, dating_offset=target.dating_offset
        )

    return at


def publications(
    settings: LightSettings, target: Target, rows: Sequence[Published] | None = None
) -> list[Publication]:
    """What the ledger holds of a service and its target.

    Parameters
    ----------
    rows
        What there is on record; the service's ledger is read by default.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    from horizoncast.calendar import as_stamp

    return [
        Publication(
            session=int(target.calendar.ordinal(as_stamp(row.as_of))[0]),
            committed=datetime.fromisoformat(row.committed),
            live=row.live,
        )
        for row in (_published(settings) if rows is None else rows)
        if row.service == settings.service and row.series == target.name
    ]


def _published(settings: LightSettings) -> Sequence[Published]:
    from horizoncast.store.ledger import peek

    if not settings.ledger_url:
        return peek.published(ledger_file(settings))
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.settings import load_keeping
    from horizoncast.store.records import Origin

    keeping = load_keeping(settings.service, settings.places, overrides=settings.overrides)
    rows = open_ledger(keeping).runs.all(service=settings.service)
    return [
        peek.Published(
            service=row.service,
            series=row.series,
            as_of=row.as_of,
            revision=row.revision,
            started=row.started,
            committed=row.committed,
            live=row.origin is Origin.LIVE,
        )
        for row in rows
    ]


def ledger_file(settings: LightSettings) -> Path:
    """The embedded ledger's file."""
    return settings.output_folder / LEDGER_FILE
