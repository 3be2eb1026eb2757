"""What ticks remember: newest attempts, and since when missed moments are told.

Kept in ``.tick.json`` beside the results and derived: without it a run is tried again a little
sooner, and nothing else happens. What is published stands in the ledger alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from horizoncast.policy.retry import Attempt

FILE = ".tick.json"
_KEPT = timedelta(days=90)
_BEFORE = timedelta(seconds=1)


@dataclass(frozen=True, kw_only=True)
class Memory:
    """What ticks remember.

    Parameters
    ----------
    first, looked
        Moments from which on the missed ones are told, and of the last look; None before the first tick.
    told
        Newest missed moment that was told, by service.
    attempts
        Newest attempt by service and due moment, see `key_of`.
    """

    first: datetime | None = None
    looked: datetime | None = None
    told: Mapping[str, datetime] = field(default_factory=dict)
    attempts: Mapping[str, Attempt] = field(default_factory=dict)

    def told_since(self, service: str) -> datetime | None:
        """Missed moments after it are still to be told; None before the first tick."""
        return self.told.get(service, self.first)

    def attempt(self, service: str, due: datetime) -> Attempt | None:
        """The newest attempt at a due moment."""
        return self.attempts.get(key_of(service, due))

    def seen(self, now: datetime, due: Sequence[datetime] = ()) -> Memory:
        """The same after a look at the ledger that found `due`; attempts long past are forgotten.

        What was due before the very first tick is nobody's fault, unless that tick still serves it.
        """
        kept = {key: a for key, a in self.attempts.items() if a.due > now - _KEPT}
        first = min([now, *(moment - _BEFORE for moment in due)])
        return replace(self, first=self.first or first, looked=now, attempts=kept)

    def tried(self, service: str, attempt: Attempt) -> Memory:
        """The same with one more attempt."""
        return replace(self, attempts={**self.attempts, key_of(service, attempt.due): attempt})

    def telling(self, service: str, missed: datetime) -> Memory:
        """The same once a missed moment was told."""
        return replace(self, told={**self.told, service: missed})


def key_of(service: str, due: datetime) -> str:
    """Name of a service's due moment."""
    return f"{service}@{due.astimezone(UTC).isoformat()}"


def read_memory(folder: Path) -> Memory:
    """What the last tick left; nothing when there is no file or it cannot be read."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return Memory(
            first=_moment_or_none(values["first"]),
            looked=_moment_or_none(values["looked"]),
            told={name: _moment(text) for name, text in values["told"].items()},
            attempts={
                name: Attempt(due=_moment(row["due"]), at=_moment(row["at"]), exit_code=int(row["exit_code"]))
                for name, row in values["attempts"].items()
            },
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return Memory()


def write_memory(folder: Path, memory: Memory) -> None:
    """Keep it for the next tick.

    Raises
    ------
    StoreError
        When the folder cannot be written.
    """
    from horizoncast.store.atomic import write_atomic

    values = {
        "first": None if memory.first is None else memory.first.isoformat(),
        "looked": None if memory.looked is None else memory.looked.isoformat(),
        "told": {name: moment.isoformat() for name, moment in sorted(memory.told.items())},
        "attempts": {
            name: {"due": a.due.isoformat(), "at": a.at.isoformat(), "exit_code": a.exit_code}
            for name, a in sorted(memory.attempts.items())
        },
    }
    text = json.dumps(values, indent=1) + "\n"
    write_atomic(folder / FILE, lambda handle: handle.write(text.encode()))


def _moment_or_none(text: str | None) -> datetime | None:
    return None if text is None else _moment(text)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(text)
    return found
