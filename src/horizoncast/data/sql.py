"""Read rows from a database by SQLAlchemy 2: SQLite and PostgreSQL.

The connection is read-only, the statement has a time-out, and no message holds the password.
SQLAlchemy is imported on use.

Letters in shapes: n rows.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from horizoncast.calendar import Dates
from horizoncast.data.cells import parse_dates, parse_numbers
from horizoncast.data.feed import hidden
from horizoncast.data.secrets import HIDDEN, Secrets
from horizoncast.data.sources import Rows
from horizoncast.data.target import Source, SourceType
from horizoncast.errors import ConfigError, NotInstalledError, SourceError, close_match
from horizoncast.series import Floats

if TYPE_CHECKING:
    import sqlite3

    from sqlalchemy import URL, Engine, TextClause

MAX_ROWS = 2_000_000
"""More rows than this are a query that forgot its WHERE."""

_TABLE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)?")
_ONE_SECRET = re.compile(r"\{secret:\w+\}")
_PASSWORD = re.compile(r"://[^/@:\s]*:(?!\{secret:)[^@/\s]+@")
_LONG_AGO = np.datetime64("1900-01-01", "s")
_SQLITE_STEPS = 10_000  # instructions of SQLite's machine between two looks at the clock


def fetch_sql(
    source: Source,
    columns: Sequence[str],
    *,
    since: np.datetime64 | None,
    utc: bool,
    timeout_s: float,
    secrets: Secrets,
) -> Rows:
    """Read the date column and the named columns by a query.

    Parameters
    ----------
    source
        Its feed's `url` is a SQLAlchemy URL that may hold ``{secret:NAME}``; its `query` is a SELECT,
        or the name of a table. A query may use ``:since``.
    columns
        Columns of the answer.
    since
        First date wanted; None wants all. Without ``:since`` in the query everything is read.
    utc
        Whether stamps with a time zone become UTC or keep their own clock.
    timeout_s
        Seconds to connect, and seconds for the statement.
    secrets
        What fills the URL.

    Raises
    ------
    ConfigError
        When the URL or the query cannot be used.
    NotInstalledError
        When the driver is not installed.
    SourceError
        When the database does not answer, or with what cannot be read.
    """
    from sqlalchemy import exc

    url = _url_of(source, secrets)
    statement, parameters = _statement(source, columns, since, sqlite=url.get_backend_name() == "sqlite")
    engine = _engine(url, timeout_s)
    try:
        with engine.connect() as connection, connection.begin():
            answer = connection.execute(statement, parameters)
            names, records = list(answer.keys()), [tuple(row) for row in answer.fetchmany(MAX_ROWS + 1)]
    except exc.SQLAlchemyError as error:
        raise _failed(source, error, timeout_s, lambda text: _clean(text, url, secrets)) from None
    finally:
        engine.dispose()
    if len(records) > MAX_ROWS:
        raise SourceError(f"{source.place}: more than {MAX_ROWS} rows", action="add a WHERE to the query")
    return _rows(source, names, records, tuple(dict.fromkeys(columns)), utc=utc)


def local_database(source: Source) -> bool:
    """Whether a source is a SQLite file, which needs no network.

    >>> from horizoncast.data.feed import Feed
    >>> feed = Feed(url="sqlite:///prices.db", query="prices")
    >>> local_database(Source(type=SourceType.SQL, value_column="close", feed=feed))
    True
    """
    return source.type is SourceType.SQL and source.feed is not None and source.feed.url.startswith("sqlite")


def _url_of(source: Source, secrets: Secrets) -> URL:
    from sqlalchemy import exc, make_url

    template = "" if source.feed is None else source.feed.url
    if not template or source.feed is None or not source.feed.query:
        raise ConfigError(
            "an sql source needs a url and a query",
            value=hidden(template) or None,
            action='set url = "postgresql://reader:{secret:DB_PASSWORD}@host/db" and query = "SELECT ..."',
        )
    if _PASSWORD.search(template):
        raise ConfigError(
            "[source] url carries a password",
            value=hidden(template),
            action="put it into the environment or the secrets directory, and {secret:NAME} in its place",
        )
    whole = _ONE_SECRET.fullmatch(template) is not None  # a whole URL is not quoted, a part of one is
    try:
        url = make_url(secrets.fill(template, quoted=not whole))
    except (exc.ArgumentError, ValueError):
        raise ConfigError("[source] url is no database URL", value=hidden(template)) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        return url
    if backend != "postgresql":
        raise ConfigError(
            "this database is not supported", value=backend, allowed="sqlite, postgresql", action="see docs"
        )
    return url.set(drivername="postgresql+psycopg")


def _engine(url: URL, timeout_s: float) -> Engine:
    """An engine whose connections can only read, and are closed after use."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    if url.get_backend_name() == "sqlite":
        return create_engine("sqlite://", poolclass=NullPool, creator=_sqlite_opener(url, timeout_s))
    options = (
        f"-c statement_timeout={int(1000 * timeout_s)} -c lock_timeout={int(1000 * timeout_s)} "
        "-c default_transaction_read_only=on -c timezone=UTC"
    )
    arguments = {"connect_timeout": max(int(timeout_s), 2), "options": options}
    try:
        engine = create_engine(url, poolclass=NullPool, connect_args=arguments, hide_parameters=True)
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            "the driver of PostgreSQL is not installed",
            value=error.name,
            action='pip install "horizoncast[postgres]"',
        ) from error
    return engine.execution_options(postgresql_readonly=True)


def _sqlite_opener(url: URL, timeout_s: float) -> Callable[[], sqlite3.Connection]:
    """Open a file for reading only; a statement past its time is interrupted."""
    import sqlite3
    from pathlib import Path
    from urllib.parse import quote

    path = Path(url.database or "").expanduser().absolute()
    if not path.is_file():
        raise SourceError("the database file does not exist", value=path, action="correct url in [source]")

    def connect() -> sqlite3.Connection:
        where = f"file:{quote(str(path))}?mode=ro"
        connection = sqlite3.connect(where, uri=True, timeout=timeout_s, check_same_thread=False)
        deadline = time.monotonic() + timeout_s
        connection.set_progress_handler(lambda: int(time.monotonic() > deadline), _SQLITE_STEPS)
        connection.execute("PRAGMA query_only=ON")
        return connection

    return connect


def _statement(
    source: Source, columns: Sequence[str], since: np.datetime64 | None, *, sqlite: bool
) -> tuple[TextClause, dict[str, object]]:
    """The query, or one for a table, and its parameters."""
    from sqlalchemy import text

    assert source.feed is not None
    # SQLAlchemy does not see a parameter before a cast; the escaped one it does.
    query = source.feed.query.strip().rstrip(";").replace(":since::", r":since\:\:")
    parameters: dict[str, object] = {}
    if _TABLE.fullmatch(query):
        query, parameters = _of_table(source, columns, query)
    elif source.filter:
        raise ConfigError(
            "[source] filter is for a table", action="write it into the query, as in WHERE series = 'x'"
        )
    if not re.match(r"(?i)(select|with)\b", query):
        raise ConfigError("[source] query is no SELECT", value=query[:60], allowed="SELECT, WITH, or a table")
    statement = text(query)
    unknown = sorted(set(statement.compile().params) - {"since", *parameters})
    if unknown:
        raise ConfigError("[source] query has an unknown parameter", value=unknown, allowed=":since")
    if "since" in statement.compile().params:
        stamp = (_LONG_AGO if since is None else since).astype("datetime64[s]")
        parameters["since"] = _iso(stamp) if sqlite else stamp.astype(datetime.datetime)
    return statement, parameters


def _iso(stamp: np.datetime64) -> str:
    """SQLite compares dates as texts; midnight is written as the day alone."""
    return str(stamp).replace("T", " ").removesuffix(" 00:00:00")


def _of_table(source: Source, columns: Sequence[str], table: str) -> tuple[str, dict[str, object]]:
    """SELECT the needed columns of a table, filtered as declared."""
    wanted = dict.fromkeys([source.date_column, *columns])
    query = f"SELECT {', '.join(map(_quoted, wanted))} FROM {'.'.join(map(_quoted, table.split('.')))}"  # noqa: S608  (identifiers are quoted)
    parameters: dict[str, object] = {f"f{i}": value for i, (_, value) in enumerate(source.filter)}
    if source.filter:
        parts = [f"CAST({_quoted(column)} AS VARCHAR) = :f{i}" for i, (column, _) in enumerate(source.filter)]
        query += f" WHERE {' AND '.join(parts)}"
    return query, parameters


def _quoted(name: str) -> str:
    """A name as SQL quotes it; a colon is escaped, or it would begin a parameter."""
    return '"' + name.replace('"', '""').replace(":", r"\:") + '"'


def _clean(text: str, url: URL, secrets: Secrets) -> str:
    """A message without secrets, on one line."""
    text = secrets.redact(text)
    if url.password:
        text = text.replace(str(url.password), HIDDEN)
    return " ".join(text.split())


def _failed(source: Source, error: Exception, timeout_s: float, clean: Callable[[str], str]) -> SourceError:
    reason = clean(str(getattr(error, "orig", None) or error))
    if "statement timeout" in reason or reason == "interrupted":
        return SourceError(
            f"{source.place}: the query took longer than {timeout_s:g} s",
            action="give it an index, a WHERE with :since, or a longer time-out",
        )
    return SourceError(f"{source.place}: the database refused", value=reason, action="correct url or query")


def _rows(
    source: Source, names: list[str], records: list[tuple[Any, ...]], wanted: tuple[str, ...], *, utc: bool
) -> Rows:
    at = [_place_of(name, names, source) for name in (source.date_column, *wanted)]
    lines = np.arange(1, len(records) + 1, dtype=np.int64)
    values = [_numbers([row[c] for row in records], wanted[i], source) for i, c in enumerate(at[1:])]
    return Rows(
        place=source.place,
        lines=lines,
        dates=_dates([row[at[0]] for row in records], source, utc=utc),
        names=wanted,
        values=np.column_stack(values) if values else np.empty((len(records), 0)),
    )


def _place_of(name: str, names: list[str], source: Source) -> int:
    if names.count(name) == 1:
        return names.index(name)
    what = "twice" if name in names else "not"
    raise SourceError(
        f"{source.place}: the column is {what} in the answer",
        value=repr(name),
        allowed=", ".join(names),
        action=close_match(name, names),
    )


def _dates(cells: list[Any], source: Source, *, utc: bool) -> Dates:
    """Dates, stamps or texts, shape (n,)."""
    texts = [_date_text(cell) for cell in cells]
    lines = np.arange(1, len(cells) + 1, dtype=np.int64)
    if any(not text for text in texts):
        row = next(i for i, text in enumerate(texts) if not text) + 1
        raise SourceError(f"{source.place}, row {row}: the date is missing", action="leave such rows out")
    native = bool(cells) and isinstance(cells[0], datetime.date)
    date_format = None if native else source.date_format
    return parse_dates(texts, lines, place=source.place, date_format=date_format, utc=utc)


def _date_text(cell: Any) -> str:
    if cell is None:
        return ""
    return str(cell.isoformat() if isinstance(cell, datetime.date) else cell).strip()


def _numbers(cells: list[Any], column: str, source: Source) -> Floats:
    """Numbers, or texts with the declared marks, shape (n,); NULL is NaN."""
    if all(cell is None or isinstance(cell, int | float | Decimal) for cell in cells):
        return np.array([np.nan if cell is None else float(cell) for cell in cells], dtype=np.float64)
    lines = np.arange(1, len(cells) + 1, dtype=np.int64)
    return parse_numbers(
        ["" if cell is None else str(cell).strip() for cell in cells],
        lines,
        place=source.place,
        column=column,
        decimal=source.decimal,
        thousands=source.thousands,
    )
