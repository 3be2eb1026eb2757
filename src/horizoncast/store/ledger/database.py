"""Connections of the ledger: what SQLite and PostgreSQL need to keep a promise.

SQLite runs with a rollback journal and ``synchronous=FULL``: a commit that was answered survives a
power cut, and the file is one file, which backups and network shares handle better than a write-ahead
log beside it. Writers queue at ``BEGIN IMMEDIATE`` (SQLite) or at a table lock (PostgreSQL), so that
what a transaction read stays true until it commits.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from horizoncast.errors import ConfigError, StoreError

FILE = "ledger.sqlite"
"""Name of the embedded ledger in the folder of results."""

DRIVERS = {"sqlite": "sqlite+pysqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}


class Database:
    """One ledger's database; connections are opened when asked for and closed after.

    Parameters
    ----------
    url
        ``sqlite:///file`` or ``postgresql://user:password@host/name``.
    timeout_s
        How long a writer waits for another one.

    Raises
    ------
    ConfigError
        When the URL names another kind of database, or its driver is not installed.
    """

    def __init__(self, url: str, *, timeout_s: float = 30.0) -> None:
        self.timeout_s = timeout_s
        try:
            parsed = make_url(url)
        except ArgumentError as error:
            raise _wrong_url("not a URL") from error
        kind = parsed.get_backend_name()
        if kind not in DRIVERS:
            raise _wrong_url(kind)
        self.sqlite = kind == "sqlite"
        self.file = Path(parsed.database) if self.sqlite and parsed.database else None
        if self.sqlite and self.file is None:
            raise _wrong_url("sqlite without a file")
        arguments = {"timeout": timeout_s} if self.sqlite else {"connect_timeout": int(max(timeout_s, 1))}
        try:
            self.engine: Engine = create_engine(
                parsed.set(drivername=DRIVERS[kind]), poolclass=NullPool, connect_args=arguments
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                "the driver of this ledger is not installed",
                value=error.name,
                action="install horizoncast[postgres]",
            ) from error
        self.name = self.engine.url.render_as_string(hide_password=True)
        if self.sqlite:
            event.listen(self.engine, "connect", self._prepare_sqlite)
            event.listen(self.engine, "begin", _begin_sqlite)

    def prepare(self) -> None:
        """Make the folder of an embedded ledger."""
        if self.file is not None:
            with self._told("make"):
                self.file.parent.mkdir(parents=True, exist_ok=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A consistent view.

        Raises
        ------
        StoreError
            When the database cannot be reached or read.
        """
        with self._told("read"), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: all of it is committed at the end of the block, or nothing.

        Raises
        ------
        StoreError
            When it could not be committed.
        """
        with self._told("write"):
            options = {"horizoncast_writes": True}
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                if not self.sqlite:
                    connection.execute(text(f"SET LOCAL lock_timeout = {int(self.timeout_s * 1000)}"))
                    connection.execute(text("SET LOCAL synchronous_commit = on"))
                    connection.execute(text("SELECT pg_advisory_xact_lock(7163001)"))
                yield connection

    def _prepare_sqlite(self, raw: Any, _: object) -> None:
        raw.isolation_level = None  # transactions begin where `_begin_sqlite` says, DDL included
        cursor = raw.cursor()
        cursor.execute("PRAGMA foreign_keys = ON")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.execute(f"PRAGMA busy_timeout = {int(self.timeout_s * 1000)}")
        cursor.close()

    @contextmanager
    def _told(self, verb: str) -> Iterator[None]:
        """Errors of the database as ours: without statements, parameters or passwords."""
        try:
            yield
        except SQLAlchemyError as error:
            cause = getattr(error, "orig", None)
            reason = str(cause or error).splitlines()[0] if str(cause or error) else type(error).__name__
            raise StoreError(
                f"cannot {verb} the ledger {self.name}",
                value=reason,
                action="check space, permissions and that it is reachable: horizoncast doctor",
            ) from (None if cause is None else cause)
        except OSError as error:
            raise StoreError(f"cannot {verb} the ledger {self.name}", value=error.strerror) from error


def sqlite_url(root: Path) -> str:
    """URL of the embedded ledger of a folder of results."""
    return f"sqlite:///{root.resolve() / FILE}"


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("horizoncast_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _wrong_url(what: str) -> ConfigError:
    return ConfigError(
        "the ledger's URL cannot be used",
        value=what,
        allowed="sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME",
    )
