"""What the store remembers of earlier pulls: parts read in full, files read, validators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from horizoncast.data.feeds import Delivery
from horizoncast.data.vintages import VintageStore


@dataclass(frozen=True, kw_only=True)
class SourceState:
    """Of one source.

    Parameters
    ----------
    covered
        When each part (a year, or ``all``) was last read in full.
    files
        (name, SHA-256) of the files of a drop folder that were read.
    validators
        ETag and Last-Modified by URL, for conditional requests.
    """

    covered: dict[str, np.datetime64] = field(default_factory=dict)
    files: frozenset[tuple[str, str]] = frozenset()
    validators: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


def read_state(store: VintageStore, key: str) -> SourceState:
    """What is remembered of a source."""
    with store.reading() as db:
        covered = db.execute("SELECT part, at FROM covered WHERE key = ?", (key,)).fetchall()
        files = db.execute("SELECT name, digest FROM file WHERE key = ?", (key,)).fetchall()
        known = db.execute("SELECT url, etag, modified FROM validator WHERE key = ?", (key,)).fetchall()
    return SourceState(
        covered={part: np.datetime64(at, "s") for part, at in covered},
        files=frozenset((name, digest) for name, digest in files),
        validators={url: (etag, modified) for url, etag, modified in known},
    )


def write_delivery(store: VintageStore, key: str, pull: int, delivery: Delivery) -> None:
    """Remember that a delivery was stored; inside the transaction that stores it."""
    with store.reading() as db:
        if delivery.part is not None:
            db.execute(
                "INSERT OR REPLACE INTO covered SELECT ?, ?, known_at FROM pull WHERE id = ?",
                (key, delivery.part, pull),
            )
        if delivery.file is not None:
            db.execute("INSERT OR IGNORE INTO file VALUES (?, ?, ?, ?)", (key, *delivery.file, pull))
        answer = delivery.answer
        if answer is not None and answer.status == 200 and {"etag", "last-modified"} & answer.headers.keys():
            marks = (answer.headers.get("etag"), answer.headers.get("last-modified"))
            db.execute("INSERT OR REPLACE INTO validator VALUES (?, ?, ?, ?)", (key, delivery.url, *marks))


def write_attempts(store: VintageStore, pull: int, attempts: Sequence[tuple[object, ...]]) -> None:
    """Write down how asking went: (key, outcome, new, late, revised, unchanged, reason) per source."""
    with store.writing() as db:
        db.executemany(
            "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [(pull, *attempt) for attempt in attempts]
        )
