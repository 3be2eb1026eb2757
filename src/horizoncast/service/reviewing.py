"""When the weekly review is sent, and sending it: once a week, by the outbox, whatever the trigger does.

The half that a tick needs on every beat is the first one; it reads settings and the clock.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from horizoncast.policy.retry import may_try
from horizoncast.service.attempts import Memory
from horizoncast.service.light import LightSettings

if TYPE_CHECKING:
    from horizoncast.report.review.model import Review
    from horizoncast.service.notify import Delivered
    from horizoncast.service.settings import KeepingSettings
    from horizoncast.store.ledger.ledger import Ledger
    from horizoncast.store.plain import Json

NAME = "@review"
"""Stands for a service in the memory of ticks; no service can be called so."""

REVIEW_S = 600.0
"""Seconds after which a review that hangs is ended."""

_WEEK = timedelta(days=7)


def review_due(services: Sequence[LightSettings], memory: Memory, now: datetime) -> datetime | None:
    """The moment of this week's review, while it is not sent and may be tried; None otherwise.

    The first service's settings count: all services share one review. Whoever switches it on gets one
    at once, for the moment that passed last.
    """
    settings = services[0]
    if settings.review is None or not settings.notifies:
        return None
    passed = [due.moment for due in settings.review.between(now - _WEEK, now + timedelta(seconds=1))]
    passed = [moment for moment in passed if moment <= now]
    if not passed or passed[-1] == memory.told.get(NAME):
        return None
    due = passed[-1]
    return due if may_try(memory.attempt(NAME, due), due, now, settings.limits) else None


def review_arguments(passed: Sequence[str]) -> list[str]:
    """Arguments of the command that makes and sends it."""
    return ["review", "--send", "--quiet", *passed]


def send_review(
    ledger: Ledger,
    settings: KeepingSettings,
    review: Review,
    *,
    place: Path,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> tuple[int, Delivered]:
    """Queue the review for every channel that is not told of this week yet, and send what is due.

    Parameters
    ----------
    place
        Where its page lies.
    now
        What the week is told by; messages are sent by the clock.

    Returns
    -------
    tuple
        How many messages are new, and what became of all that were due. None is new when the week's
        review was queued before, or nobody is told of anything.
    """
    import base64

    from horizoncast.report.pages.mail import review_mail
    from horizoncast.service.channels import PING, channels_of
    from horizoncast.service.notify import send_due
    from horizoncast.store.ledger.rows import Message

    moment = now or datetime.now(tz=UTC)
    mail = review_mail(review, settings.review.language, link=settings.review.link, place=str(place))
    payload: dict[str, Json] = {
        "subject": mail.subject,
        "text": mail.text,
        "html": mail.html,
        "images": {name: base64.b64encode(data).decode() for name, data in mail.images.items()},
    }
    messages = tuple(
        Message(key=f"review/{week_of(settings, moment)}/{channel}", channel=channel, payload=payload)
        for channel in channels_of(settings.notify)
        if channel != PING
    )
    new = ledger.outbox.add(messages)
    return new, send_due(ledger, settings, environ=environ)


def week_of(settings: KeepingSettings, now: datetime) -> str:
    """The week that a review sent now counts for, as in ``2026-W47``: that of the last moment it was due.

    So a tick that comes a little late, or just after midnight, counts for the week it was due in. Where
    no weekday is set it is the week on the clock.
    """
    from zoneinfo import ZoneInfo

    cadence = settings.review.as_cadence()
    local = now.astimezone(ZoneInfo(settings.review.timezone))
    if cadence is not None:
        dues = [due for due in cadence.between(now - _WEEK, now + timedelta(seconds=1)) if due.moment <= now]
        local = dues[-1].local if dues else local
    year, week, _ = local.isocalendar()
    return f"{year}-W{week:02d}"
