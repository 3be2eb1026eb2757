"""The ledger of one folder of results."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import delete, func, select, text

from horizoncast.store.ledger.database import Database, sqlite_url
from horizoncast.store.ledger.live import EventBook, RolloutBook, ScoreBook
from horizoncast.store.ledger.migrations import migrate, version_of
from horizoncast.store.ledger.outbox import OutboxBook
from horizoncast.store.ledger.rows import Delivery
from horizoncast.store.ledger.runs import RunBook
from horizoncast.store.ledger.schema import EVENTS, OUTBOX, RUNS, SNAPSHOTS, VERSIONS


class Ledger:
    """Runs, scores, decisions, events and messages; made and migrated when it is opened.

    Parameters
    ----------
    url
        ``sqlite:///FILE`` or ``postgresql://USER:PASSWORD@HOST/NAME``.
    timeout_s
        How long a writer waits for another one.

    Raises
    ------
    ConfigError
        When the URL cannot be used.
    StoreError
        When the database cannot be reached or written, is damaged, or is newer than this program.

    Attributes
    ----------
    runs, scores, rollout, events, outbox
        See `RunBook`, `ScoreBook`, `RolloutBook`, `EventBook`, `OutboxBook`.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.database = Database(url, timeout_s=timeout_s)
        migrate(self.database)
        self.runs = RunBook(self.database)
        self.scores = ScoreBook(self.database)
        self.rollout = RolloutBook(self.database)
        self.events = EventBook(self.database)
        self.outbox = OutboxBook(self.database)

    @classmethod
    def at(cls, root: Path, url: str = "", *, timeout_s: float = 30.0) -> Ledger:
        """The ledger of a folder of results: the URL's, else the SQLite file in the folder."""
        return cls(url or sqlite_url(root), timeout_s=timeout_s)

    @property
    def name(self) -> str:
        """Its URL without a password."""
        return self.database.name

    def version(self) -> int:
        """Version of its schema."""
        with self.database.reading() as connection:
            return version_of(connection)

    def created(self) -> str:
        """Moment it was made: run folders started before may have no row yet (`ledger import`)."""
        with self.database.reading() as connection:
            return str(connection.execute(select(func.min(VERSIONS.c.at))).scalar_one())

    def damage(self) -> tuple[str, ...]:
        """What the database itself finds wrong: pages, indices, references; empty on PostgreSQL.

        Raises
        ------
        StoreError
            When it cannot be read at all.
        """
        if not self.database.sqlite:
            return ()
        with self.database.reading() as connection:
            pages = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check"))]
            loose = [
                f"{row[0]} row {row[1]} refers to no {row[2]}"
                for row in connection.execute(text("PRAGMA foreign_key_check"))
            ]
        return (*(page for page in pages if page != "ok"), *loose)

    def prune(self, before: str) -> int:
        """Forget runs with an as-of before a date whose folder is gone; the newest ones stay.

        Their members, forecasts, scores, events and messages go with them, events and sent messages
        of that age too; rollout decisions stay. Returns the number of runs.
        """
        heads = {(run.service, run.series, run.as_of) for run in self.runs.heads()}
        old = [
            run.run_id
            for run in self.runs.all()
            if run.as_of < before and run.pruned and (run.service, run.series, run.as_of) not in heads
        ]
        with self.database.writing() as connection:
            for run_id in old:
                connection.execute(delete(RUNS).where(RUNS.c.run_id == run_id))
            connection.execute(delete(EVENTS).where(EVENTS.c.at < before))
            done = OUTBOX.c.state != Delivery.PENDING.value
            connection.execute(delete(OUTBOX).where(OUTBOX.c.at < before, done))
            kept = select(RUNS.c.snapshot)
            connection.execute(delete(SNAPSHOTS).where(SNAPSHOTS.c.digest.not_in(kept)))
        return len(old)
