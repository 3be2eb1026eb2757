"""Messages about runs: committed with them, sent after, tried again by the next run.

A message arrives at least once: a process killed between sending and noting it sends it again. A
notifier that fails never fails a run; its reason stands in the outbox and in the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from horizoncast.data.secrets import Secrets
from horizoncast.ensemble.gate import Status
from horizoncast.errors import HorizoncastError, StoreError
from horizoncast.service.channels import PING, DeliveryError, channels_of, deliver, ping
from horizoncast.service.ledgers import secrets_of
from horizoncast.service.settings import KeepingSettings
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.outbox import ATTEMPTS
from horizoncast.store.ledger.rows import Message, OutboxRow
from horizoncast.store.locks import alone
from horizoncast.store.plain import date_text, time_text
from horizoncast.store.points import reach
from horizoncast.store.records import RunRecord

LOCK = ".outbox.lock"
PING_S = 3600.0
"""A ping older than this is not sent: it would tell the health check of a run long past."""


@dataclass(frozen=True, kw_only=True)
class Delivered:
    """What became of the messages that were due.

    Parameters
    ----------
    sent
        How many arrived.
    problems
        Why others did not, without secrets; they are tried again later.
    """

    sent: int = 0
    problems: tuple[str, ...] = ()


def run_messages(settings: KeepingSettings, record: RunRecord) -> tuple[Message, ...]:
    """What is told of a published run, by channel."""
    notify = settings.notify
    worth = notify.when == "always" or record.status != Status.PUBLISHED
    channels = [c for c in channels_of(notify) if c == PING or worth]
    subject = (
        f"horizoncast: {record.service} {record.forecast.series} "
        f"as of {date_text(record.as_of)}: {record.status}"
    )
    body = {"subject": subject, "text": _body(record)}
    return tuple(
        Message(
            key=f"run/{record.run_id}/{channel}",
            channel=channel,
            payload={"suffix": "0"} if channel == PING else body,
        )
        for channel in channels
    )


def failure_messages(
    settings: KeepingSettings, series: str, started: datetime, error: HorizoncastError
) -> tuple[Message, ...]:
    """What is told of a run that failed."""
    body = {
        "subject": f"horizoncast: {settings.service} {series}: {type(error).__name__}",
        "text": f"{settings.service}: no forecast of {series}.\n\n{error}\n\nexit code {error.exit_code}\n",
    }
    return tuple(
        Message(
            key=f"failure/{settings.service}/{series}/{time_text(started)}/{channel}",
            channel=channel,
            payload={"suffix": str(error.exit_code)} if channel == PING else body,
        )
        for channel in channels_of(settings.notify)
    )


def ping_start(settings: KeepingSettings, environ: Mapping[str, str] | None = None) -> tuple[str, ...]:
    """Tell the health check that a run begins; returns why not."""
    if not settings.notify.ping:
        return ()
    try:
        ping(settings.notify, secrets_of(settings, environ), "start")
    except HorizoncastError as error:
        return (str(error),)
    return ()


def send_due(
    ledger: Ledger,
    settings: KeepingSettings,
    *,
    environ: Mapping[str, str] | None = None,
    now: datetime | None = None,
) -> Delivered:
    """Send what is due, unless another process is at it; raises nothing that a notifier did."""
    moment = now or datetime.now(tz=UTC)
    secrets = secrets_of(settings, environ)
    sent, problems = 0, []
    try:
        with alone(settings.output_folder / LOCK) as mine:
            for row in ledger.outbox.due(moment) if mine else ():
                problem = _send(ledger, row, settings, secrets, moment)
                sent += problem is None
                problems += [] if problem is None else [problem]
    except StoreError as error:
        problems.append(str(error))
    return Delivered(sent=sent, problems=tuple(problems))


def send_directly(
    messages: tuple[Message, ...], settings: KeepingSettings, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Send messages that no ledger could take; returns why some did not arrive."""
    secrets, problems = secrets_of(settings, environ), []
    for message in messages:
        try:
            deliver(message.channel, message.payload, settings.notify, secrets)
        except DeliveryError as error:
            problems.append(str(error))
    return tuple(problems)


def _send(
    ledger: Ledger, row: OutboxRow, settings: KeepingSettings, secrets: Secrets, now: datetime
) -> str | None:
    """Send one message and note what became of it; returns why it did not arrive."""
    if row.channel == PING and now - datetime.fromisoformat(row.at) > timedelta(seconds=PING_S):
        ledger.outbox.mark_failed(_last_try(row), "too late to be of use", now)
        return None
    try:
        reach("sending")
        deliver(row.channel, row.payload, settings.notify, secrets)
    except DeliveryError as error:
        ledger.outbox.mark_failed(row, str(error), now)
        return str(error)
    reach("sent")
    ledger.outbox.mark_sent(row.id, now)
    return None


def _last_try(row: OutboxRow) -> OutboxRow:
    from dataclasses import replace

    return replace(row, attempts=ATTEMPTS - 1)


def _body(record: RunRecord) -> str:
    """A run in a few lines."""
    forecast, last = record.forecast, record.forecast.steps - 1
    end = date_text(forecast.dates[last])
    lines = [
        f"{forecast.series} [{forecast.unit}], {forecast.steps} sessions to {end}",
        f"point forecast {forecast.point[last]:.6g}",
    ]
    for percent, low, high in ((80, 0.1, 0.9), (95, 0.025, 0.975)):
        if low in forecast.levels and high in forecast.levels:
            ends = forecast.quantile(low)[last], forecast.quantile(high)[last]
            lines.append(f"{percent} % prediction interval {ends[0]:.6g} to {ends[1]:.6g}")
    weights = ", ".join(f"{m.name} {100 * m.weight:.0f} %" for m in record.members if m.weight > 0)
    lines += [f"weights: {weights}", f"status: {record.status}", *record.reasons, f"run {record.run_id}"]
    return "\n".join(lines) + "\n"
