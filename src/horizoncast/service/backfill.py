"""`backfill`: past due moments in order, through the same ledger as everything else."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from horizoncast.errors import StoreError
from horizoncast.policy.schedule import Plan, dues_around, served, slots_of
from horizoncast.service.children import Start, run_child
from horizoncast.service.due import DueRun, publications, runs_of, session_counter, target_of
from horizoncast.service.light import LightSettings
from horizoncast.service.tick import LOCK, Ran, Tell, run_arguments

_BEYOND = timedelta(days=45)
"""Longer than the longest gap between two moments of a cadence."""


def unserved(settings: LightSettings, first: datetime, last: datetime) -> tuple[DueRun, ...]:
    """Runs for the moments in ``[first, last]`` that have no forecast, oldest first.

    Raises
    ------
    StoreError
        When the ledger cannot be read.
    """
    target = target_of(settings)
    session_at = session_counter(settings, target)
    slots = slots_of(dues_around(settings.cadence, first, last), session_at)
    # Moments after the last one, too: a forecast of later must find its own and not serve the last here.
    beyond = slots_of(dues_around(settings.cadence, first, last + _BEYOND), session_at)
    done = {slot.session for slot in served(beyond, publications(settings, target), last + _BEYOND)}
    wanted = tuple(s for s in slots if s.due.moment >= first and s.session not in done)
    return runs_of(settings, target, Plan(run=wanted), all_past=True)


def backfill(
    runs: Sequence[DueRun],
    *,
    start: Start = run_child,
    tell: Tell = lambda line: None,
    passed: Sequence[str] = (),
) -> list[Ran]:
    """Make runs in order, one child at a time; one that fails leaves the next ones alone.

    Raises
    ------
    StoreError
        When a tick or another backfill is at work.
    """
    import time

    from horizoncast.store.locks import alone

    if not runs:
        return []
    with alone(runs[0].settings.output_folder / LOCK) as mine:
        if not mine:
            raise StoreError("a tick is at work", action="try again when it has ended")
        ran = []
        for run in runs:
            tell(f"{run.settings.service}: as of {run.as_of}, running")
            began = time.monotonic()
            code = start(run_arguments(run, passed), 60 * run.settings.limits.run_minutes)
            ran.append(Ran(run=run, exit_code=code, seconds=time.monotonic() - began))
        return ran


def whole_days(settings: LightSettings, first: datetime, last: datetime) -> tuple[datetime, datetime]:
    """From the first moment of one day to the last of another, on the service's wall clock."""
    zone = settings.cadence.zone
    begin = datetime(first.year, first.month, first.day, tzinfo=zone)
    end = datetime(last.year, last.month, last.day, tzinfo=zone) + timedelta(days=1)
    return begin, end - timedelta(seconds=1)
