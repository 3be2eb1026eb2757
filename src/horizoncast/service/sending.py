"""Messages that did not arrive: a tick tries again, so that nobody has to wait for the next run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from horizoncast.errors import HorizoncastError
from horizoncast.service.due import ledger_file
from horizoncast.service.light import LightSettings


def send_waiting(services: Sequence[LightSettings], now: datetime, tell: Callable[[str], None]) -> None:
    """Send what is due in each ledger; what goes wrong is told, and never stops a tick.

    The embedded ledger is asked through the standard library first: most ticks find nothing.
    """
    ledgers = {(s.output_folder, s.ledger_url): s for s in reversed(services) if s.notifies}
    for settings in ledgers.values():
        try:
            if _has_waiting(settings, now):
                _send(settings, now, tell)
        except HorizoncastError as error:
            tell(f"messages are waiting: {error}")


def _has_waiting(settings: LightSettings, now: datetime) -> bool:
    from horizoncast.store.ledger.peek import waiting

    if settings.ledger_url:
        return True  # a database is asked by `send_due` itself
    return waiting(ledger_file(settings), _text(now))


def _send(settings: LightSettings, now: datetime, tell: Callable[[str], None]) -> None:
    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.notify import send_due
    from horizoncast.service.settings import load_keeping

    keeping = load_keeping(settings.service, settings.places, overrides=settings.overrides)
    for problem in send_due(open_ledger(keeping), keeping, now=now).problems:
        tell(f"a message did not arrive: {problem}")


def _text(now: datetime) -> str:
    """The moment as the ledger writes moments (`horizoncast.store.plain.time_text`)."""
    return f"{now.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{now.microsecond // 1000:03d}Z"
