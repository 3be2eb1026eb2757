"""The outbox: messages are committed with what they tell, and sent only after."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, insert, select, update

from horizoncast.store.ledger.codec import from_row, to_row
from horizoncast.store.ledger.database import Database
from horizoncast.store.ledger.rows import Delivery, Message, OutboxRow
from horizoncast.store.ledger.schema import OUTBOX
from horizoncast.store.plain import time_text

ATTEMPTS = 12
"""A message is given up after this many; with the waits between them that is about three days."""

FIRST_WAIT_S = 60.0
LONGEST_WAIT_S = 6 * 3600.0


class OutboxBook:
    """Messages of one ledger."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, messages: Sequence[Message], *, run_id: str | None = None) -> int:
        """Take messages outside a run's own commit; returns how many were new."""
        with self._database.writing() as connection:
            return add(connection, messages, run_id=run_id, at=_text(datetime.now(tz=UTC)))

    def due(self, now: datetime, *, limit: int = 50) -> tuple[OutboxRow, ...]:
        """Messages to be sent now, oldest first."""
        query = select(OUTBOX).where(OUTBOX.c.state == Delivery.PENDING.value, OUTBOX.c.due <= _text(now))
        return self._read(query.order_by(OUTBOX.c.id).limit(limit))

    def all(self) -> tuple[OutboxRow, ...]:
        """Every message, oldest first."""
        return self._read(select(OUTBOX).order_by(OUTBOX.c.id))

    def mark_sent(self, number: int, now: datetime) -> None:
        """It arrived."""
        values = {"state": Delivery.SENT.value, "sent": _text(now), "problem": None}
        with self._database.writing() as connection:
            change = update(OUTBOX).where(OUTBOX.c.id == number)
            connection.execute(change.values(values | {"attempts": OUTBOX.c.attempts + 1}))

    def mark_failed(self, row: OutboxRow, problem: str, now: datetime) -> Delivery:
        """It did not: try again later, twice as long each time, and give up in the end."""
        attempts = row.attempts + 1
        state = Delivery.GIVEN_UP if attempts >= ATTEMPTS else Delivery.PENDING
        wait = min(FIRST_WAIT_S * 2.0**row.attempts, LONGEST_WAIT_S)
        values = {
            "state": state.value,
            "attempts": attempts,
            "due": _text(now + timedelta(seconds=wait)),
            "problem": problem,
        }
        with self._database.writing() as connection:
            connection.execute(update(OUTBOX).where(OUTBOX.c.id == row.id).values(values))
        return state

    def _read(self, query: object) -> tuple[OutboxRow, ...]:
        with self._database.reading() as connection:
            rows = connection.execute(query).mappings()  # type: ignore[call-overload]
            return tuple(_record(from_row(OutboxRow, row)) for row in rows)


def add(connection: Connection, messages: Sequence[Message], *, run_id: str | None, at: str) -> int:
    """Take messages within a transaction; a key that is known already is left as it is."""
    added = 0
    for message in messages:
        if connection.execute(select(OUTBOX.c.id).where(OUTBOX.c.key == message.key)).first():
            continue
        first = {"at": at, "run_id": run_id, "state": Delivery.PENDING.value, "attempts": 0, "due": at}
        connection.execute(insert(OUTBOX), to_row(message) | first)
        added += 1
    return added


def _record(row: OutboxRow) -> OutboxRow:
    from dataclasses import replace

    return replace(row, state=Delivery(row.state))


def _text(moment: datetime) -> str:
    return time_text(moment)
