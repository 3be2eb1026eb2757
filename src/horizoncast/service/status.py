"""How each service stands, by what is on record: fresh, degraded, blocked, missed or unknown.

Judged by as-of dates against the cadence, never by the time of a file, and green only where a forecast
that is due is on record: silence is "unknown", and a failed run is a failed run however recently it beat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from horizoncast.errors import HorizoncastError, PublicationError, RunEndedError
from horizoncast.policy.schedule import Slot, dues_around, served, slots_of
from horizoncast.service.due import as_of_text, ledger_file, publications, session_counter, target_of
from horizoncast.service.light import LightSettings
from horizoncast.store.ledger.peek import FailedRun, Head, Published, failures, heads

if TYPE_CHECKING:
    from horizoncast.data.target import Target

_REACH = timedelta(days=100)
"""How far back moments are looked at: beyond two of a cadence of first weekdays."""

_REFUSED = ("PublicationError", "CheckError", "SourceError", "DataError", "MissingCovariateError")
"""Errors by which a run refuses to publish, as opposed to breaking."""


class Health(StrEnum):
    """How a service stands."""

    FRESH = "fresh"
    DEGRADED = "degraded"
    BLOCKED = "blocked"
    MISSED = "missed"
    UNKNOWN = "unknown"

    @property
    def exit_code(self) -> int:
        """0 where a forecast that is due is there, else that of the error it stands for."""
        if self in (Health.FRESH, Health.DEGRADED):
            return 0
        return PublicationError.exit_code if self is Health.BLOCKED else RunEndedError.exit_code


@dataclass(frozen=True, kw_only=True)
class ServiceStatus:
    """One service.

    Parameters
    ----------
    service, series
        Its name and its target's; the target is empty where it could not be read.
    health
        How it stands.
    as_of, committed
        Of the newest forecast on record; empty without one.
    expected, due
        As-of that the last due moment asks for, and that moment on the service's clock.
    reason
        Why it is not plainly fresh.
    """

    service: str
    series: str
    health: Health
    as_of: str = ""
    committed: str = ""
    expected: str = ""
    due: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class OnRecord:
    """What to judge by instead of the ledgers, as `horizoncast.store.ledger.peek` reads it."""

    published: Sequence[Published]
    heads: Sequence[Head]
    failures: Sequence[FailedRun]


def statuses(
    services: Sequence[LightSettings], now: datetime | None = None, *, record: OnRecord | None = None
) -> list[ServiceStatus]:
    """Look at every service; one that cannot be read is unknown and leaves the others alone.

    Parameters
    ----------
    now
        Moment to judge at; the clock's by default.
    record
        Judge by this; by each service's ledger by default.
    """
    moment = datetime.now(tz=UTC) if now is None else now
    return [_status(settings, moment, record) for settings in services]


def worst(found: Sequence[ServiceStatus]) -> Health:
    """The worst of them; unknown where there is none."""
    order = list(Health)
    return max((s.health for s in found), key=order.index, default=Health.UNKNOWN)


def _status(settings: LightSettings, now: datetime, record: OnRecord | None) -> ServiceStatus:
    name = settings.service
    try:
        target = target_of(settings)
        slots = _slots(settings, target, now)
        if not slots:
            reason = "no due moment has come yet"
            return ServiceStatus(service=name, series=target.name, health=Health.UNKNOWN, reason=reason)
        rows = None if record is None else record.published
        done = served(slots, publications(settings, target, rows), now)
        head, failed = _on_record(settings, target.name, slots[-1], record)
    except HorizoncastError as error:
        return ServiceStatus(service=name, series="", health=Health.UNKNOWN, reason=str(error))
    slot, waiting = _judged(slots, done, now, settings)
    health, reason = _health(target, slot, slot in done, head, failed)
    return ServiceStatus(
        service=name,
        series=target.name,
        health=health,
        as_of=head.as_of if head else "",
        committed=head.committed if head else "",
        expected=as_of_text(target, slot),
        due=f"{slot.due.local:%a %Y-%m-%d %H:%M}",
        reason="; ".join(text for text in (reason, _hindsight(head), waiting) if text),
    )


def _slots(settings: LightSettings, target: Target, now: datetime) -> list[Slot]:
    dues = [due for due in dues_around(settings.cadence, now - _REACH, now) if due.moment <= now]
    return slots_of(dues, session_counter(settings, target))


def _judged(
    slots: Sequence[Slot], done: set[Slot], now: datetime, settings: LightSettings
) -> tuple[Slot, str]:
    """The moment to judge by: the last one, or the one before it while the last is only just due."""
    last = slots[-1]
    grace = timedelta(minutes=settings.cadence.grace_minutes)
    if last not in done and now - last.first.moment < grace and len(slots) > 1:
        return slots[-2], f"due since {last.first.local:%H:%M}, within its grace"
    return last, ""


def _health(
    target: Target, slot: Slot, is_served: bool, head: Head | None, failed: FailedRun | None
) -> tuple[Health, str]:
    if head is None:
        if failed is None:
            return Health.UNKNOWN, "nothing is on record: neither a forecast nor a failure"
        return _failed(failed)
    if not is_served:
        return _failed(failed) if failed else (Health.MISSED, "the last due moment has no forecast")
    from horizoncast.calendar import as_stamp

    session = int(target.calendar.ordinal(as_stamp(head.as_of))[0])
    if session < slot.session:
        return Health.DEGRADED, "; ".join(("made from older data than was due", *head.reasons))
    if head.status == "published":
        return Health.FRESH, ""
    return (Health.BLOCKED if head.status == "blocked" else Health.DEGRADED), "; ".join(head.reasons)


def _hindsight(head: Head | None) -> str:
    return "made up for later, by a backfill" if head is not None and head.origin == "backfill" else ""


def _failed(failed: FailedRun) -> tuple[Health, str]:
    health = Health.BLOCKED if failed.code in _REFUSED else Health.MISSED
    return health, f"{failed.code} at {failed.at[:16]}: {failed.message}"


def _on_record(
    settings: LightSettings, series: str, slot: Slot, record: OnRecord | None
) -> tuple[Head | None, FailedRun | None]:
    """The newest run, and the newest error since the last due moment came."""
    since = slot.first.moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    if record is None:
        runs, errors = _read(settings, since)
    else:
        runs, errors = record.heads, [failure for failure in record.failures if failure.at >= since]
    head = next((h for h in runs if (h.service, h.series) == (settings.service, series)), None)
    own = [f for f in errors if f.service == settings.service and f.series in (series, "")]
    return head, own[-1] if own else None


def _read(settings: LightSettings, since: str) -> tuple[Sequence[Head], Sequence[FailedRun]]:
    if not settings.ledger_url:
        file = ledger_file(settings)
        return heads(file), failures(file, since)
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.settings import load_keeping

    keeping = load_keeping(settings.service, settings.places, overrides=settings.overrides)
    ledger = open_ledger(keeping)
    runs = [
        Head(
            service=run.service,
            series=run.series,
            as_of=run.as_of,
            status=run.status,
            reasons=run.reasons,
            committed=run.committed,
            origin=run.origin.value,
        )
        for run in ledger.runs.heads()
    ]
    errors = [
        FailedRun(
            at=event.at,
            service=event.service or "",
            series=event.series or "",
            code=event.code,
            message=event.message,
        )
        for event in ledger.events.all(since=since, service=settings.service)
        if event.severity == "error"
    ]
    return runs, errors
