"""The local store of observations: every value with the moment it became known.

One SQLite file per target. A value is added and never changed: a revision is a further row with the
next number for the same date, so that the table answers what was known at any moment. All rows of one
source go in by one transaction (rollback journal, synchronous=FULL): a kill leaves all of them or
none. A file lock keeps two pulls of one target apart.

Letters in shapes: n rows, C columns.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np

from horizoncast.calendar import Dates, Ints
from horizoncast.data.sources import Rows
from horizoncast.data.vintage_records import Attempt, Recorded, Revision, Vintage
from horizoncast.data.vintage_schema import SCHEMA, VERSION
from horizoncast.errors import SourceError, StoreError
from horizoncast.series import Floats

_BETWEEN = """seq > 0 AND known_at <= ? AND EXISTS (SELECT 1 FROM vintage w WHERE w.series = vintage.series
    AND w.date = vintage.date AND w.seq > vintage.seq AND w.known_at <= ?)"""

BUSY_S = 30.0
_RETRY_S = 0.05


def store_path(folder: Path, target: str) -> Path:
    """The file of a target's store."""
    return folder / f"{target}.sqlite"


class VintageStore:
    """The store in one file; a context manager that closes it.

    Parameters
    ----------
    path
        The file.
    create
        Make the file when it is not there; reading never does.

    Raises
    ------
    StoreError
        When the file cannot be opened, is damaged or was made by a later release.
    """

    def __init__(self, path: Path, *, create: bool = False) -> None:
        self.path = path
        if not create and not path.is_file():
            raise SourceError(
                "nothing has been pulled for this target",
                value=path,
                action="run: horizoncast data pull TARGET",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        with _explained(path):
            self._db = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("PRAGMA foreign_keys=ON")
            self._prepare()

    def __enter__(self) -> VintageStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > VERSION:
            raise StoreError(
                "the store was made by a later release",
                value=f"{self.path}: version {version}",
                allowed=f"up to {VERSION}",
                action="install that release",
            )
        if version < VERSION:
            with self.writing():
                if self._db.execute("PRAGMA user_version").fetchone()[0] < VERSION:
                    for statement in SCHEMA:
                        self._db.execute(statement)
                    self._db.execute(f"PRAGMA user_version = {VERSION}")

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The database, with its errors in our words."""
        with _explained(self.path):
            yield self._db

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of the body, or nothing of it."""
        with _explained(self.path):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def locked(self, timeout_s: float = 0.0) -> Iterator[None]:
        """Keep other pulls of this target out; the lock goes with the process, however that ends.

        Raises
        ------
        StoreError
            When another pull holds it for longer than `timeout_s`.
        """
        handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            _wait_for_lock(handle, self.path, timeout_s)
            yield
        finally:
            os.close(handle)

    def begin_pull(self, now: np.datetime64) -> tuple[int, np.datetime64]:
        """Number of a new pull and the moment its values become known.

        The moment never runs backward, whatever the clock does: a later pull knows more.
        """
        with self.writing() as db:
            last = db.execute("SELECT max(known_at) FROM pull").fetchone()[0]
            known_at = max(_seconds(now), last or 0)
            number = db.execute("INSERT INTO pull(known_at) VALUES (?)", (known_at,)).lastrowid
        assert number is not None
        return number, _stamp(known_at)

    def record(self, pull: int, key: str, rows: Rows) -> Recorded:
        """Add what is new in the rows of one source; call it inside `writing`.

        Parameters
        ----------
        pull
            From `begin_pull`.
        key
            The source: ``target`` or ``covariate:NAME``.
        rows
            n rows and C columns; NaN is no value. What the rows lack stays as it is.
        """
        known_at = self._db.execute("SELECT known_at FROM pull WHERE id = ?", (pull,)).fetchone()[0]
        done = Recorded()
        for name in rows.names:
            offered, conflicts = _distinct(rows.dates, rows.column(name))
            done += Recorded(conflicts=conflicts)
            if offered:
                series = self._series(key, name)
                done += self._record_column(series, name, offered, (pull, known_at))
        return done

    def _record_column(
        self, series: int, column: str, offered: dict[int, float], moment: tuple[int, int]
    ) -> Recorded:
        pull, known_at = moment
        known = self._current(series, min(offered), max(offered))
        newest = self._newest(series, known_at, before=pull)
        fresh = [(date, value) for date, value in offered.items() if date not in known]
        changed = [(d, v) for d, v in offered.items() if d in known and known[d][0] != v]
        self._db.executemany(
            "INSERT INTO vintage(series, date, seq, value, known_at, pull) VALUES (?, ?, ?, ?, ?, ?)",
            [(series, d, 0, v, known_at, pull) for d, v in fresh]
            + [(series, d, known[d][1] + 1, v, known_at, pull) for d, v in changed],
        )
        late = sum(newest is not None and date <= newest for date, _ in fresh)
        revised = tuple(
            Revision(column=column, date=_stamp(d), before=known[d][0], after=v) for d, v in sorted(changed)
        )
        return Recorded(
            new=len(fresh) - late,
            late=late,
            unchanged=len(offered) - len(fresh) - len(changed),
            revised=revised,
        )

    def _series(self, key: str, column: str) -> int:
        found = self._find(key, column)
        if found is not None:
            return found
        made = self._db.execute("INSERT INTO series(key, name) VALUES (?, ?)", (key, column)).lastrowid
        assert made is not None
        return made

    def _find(self, key: str, column: str) -> int | None:
        row = self._db.execute("SELECT id FROM series WHERE key = ? AND name = ?", (key, column)).fetchone()
        return None if row is None else int(row[0])

    def _current(self, series: int, first: int, last: int) -> dict[int, tuple[float, int]]:
        """Newest value and number per date, of the dates in a span."""
        rows = self._db.execute(
            "SELECT date, value, max(seq) FROM vintage WHERE series = ? AND date BETWEEN ? AND ? "
            "GROUP BY date",
            (series, first, last),
        )
        return {date: (value, seq) for date, value, seq in rows}

    def _newest(self, series: int, now: int, *, before: int | None = None) -> int | None:
        """Newest known date that has come, of pulls before `before`.

        Dates ahead are left out: a mistyped year must not hide what is missing.
        """
        query = """SELECT date FROM vintage WHERE series = ?1 AND date <= ?2 AND (?3 IS NULL OR pull < ?3)
            ORDER BY date DESC LIMIT 1"""
        found = self._db.execute(query, (series, now, before)).fetchone()
        return None if found is None else int(found[0])

    def newest(self, key: str, columns: Sequence[str], now: np.datetime64) -> np.datetime64 | None:
        """The date up to which all columns of a source are known; None when one has nothing."""
        dates = []
        with _explained(self.path):
            for column in columns:
                series = self._find(key, column)
                date = None if series is None else self._newest(series, _seconds(now))
                if date is None:
                    return None
                dates.append(date)
        return _stamp(min(dates))

    def first_known(self, key: str) -> np.datetime64 | None:
        """Moment of the first pull that brought values of a source."""
        query = """SELECT min(v.known_at) FROM vintage v JOIN series s ON s.id = v.series WHERE s.key = ?"""
        with _explained(self.path):
            row = self._db.execute(query, (key,)).fetchone()
        return None if row[0] is None else _stamp(row[0])

    def as_of(self, key: str, columns: Sequence[str], moment: np.datetime64 | None, place: str) -> Rows:
        """Values of a source as they were known at a moment, ascending by date.

        Nothing was recorded before the first pull. For an earlier moment the values of the first
        pull stand in, and `first_known` tells that they do.

        Parameters
        ----------
        key, columns
            Source and its C columns.
        moment
            UTC; None takes all that is known.
        place
            The source, as messages name it.

        Raises
        ------
        SourceError
            When a column was never pulled.
        """
        first = self.first_known(key)
        if moment is not None and first is not None:
            moment = max(moment, first)
        with _explained(self.path):
            parts = [self._values(key, column, moment, place) for column in columns]
        dates = np.unique(np.concatenate([part[0] for part in parts]))
        values = np.full((len(dates), len(parts)), np.nan)
        for c, (known, column_values) in enumerate(parts):
            values[np.searchsorted(dates, known), c] = column_values
        return Rows(
            place=place,
            lines=np.arange(1, len(dates) + 1, dtype=np.int64),
            dates=dates.astype("datetime64[s]"),
            names=tuple(columns),
            values=values,
        )

    def _values(self, key: str, column: str, moment: np.datetime64 | None, place: str) -> tuple[Ints, Floats]:
        series = self._find(key, column)
        if series is None:
            raise SourceError(
                f"{place}: nothing has been pulled for this column",
                value=column,
                action="run: horizoncast data pull TARGET",
            )
        until = np.iinfo(np.int64).max if moment is None else _seconds(moment)
        query = (
            "SELECT date, value, max(seq) FROM vintage WHERE series = ? AND known_at <= ? "
            "GROUP BY date ORDER BY date"
        )
        found = self._db.execute(query, (series, int(until))).fetchall()
        dates = np.array([row[0] for row in found], dtype=np.int64)
        return dates, np.array([row[1] for row in found], dtype=np.float64)

    def history(self, key: str, column: str) -> list[Vintage]:
        """Every value of a column there ever was, by date, then in the order it became known."""
        query = """SELECT v.date, v.value, v.known_at, v.seq, v.pull FROM vintage v
            JOIN series s ON s.id = v.series WHERE s.key = ? AND s.name = ? ORDER BY v.date, v.seq"""
        with _explained(self.path):
            found = self._db.execute(query, (key, column)).fetchall()
        return [
            Vintage(date=_stamp(d), value=value, known_at=_stamp(known), seq=seq, pull=pull)
            for d, value, known, seq, pull in found
        ]

    def revisions(self, key: str, column: str) -> list[Vintage]:
        """The values that replaced an earlier one."""
        return [vintage for vintage in self.history(key, column) if vintage.seq > 0]

    def between(self, before: np.datetime64) -> int:
        """Values known at `before` that lie between the first and the then last one of their date."""
        with _explained(self.path):
            query = f"SELECT count(*) FROM vintage WHERE {_BETWEEN}"  # noqa: S608  (a constant)
            return int(self._db.execute(query, (_seconds(before), _seconds(before))).fetchone()[0])

    def compact(self, before: np.datetime64) -> int:
        """Drop those values; what was known at `before` and later stays exactly as it is."""
        with self.writing() as db:
            query = f"DELETE FROM vintage WHERE {_BETWEEN}"  # noqa: S608  (a constant)
            return db.execute(query, (_seconds(before), _seconds(before))).rowcount

    def attempts(self, key: str | None = None) -> list[Attempt]:
        """How asking went, oldest first; of one source or of all."""
        query = """SELECT a.pull, a.key, p.known_at, a.outcome, a.new, a.late, a.revised, a.unchanged,
            a.reason FROM attempt a JOIN pull p ON p.id = a.pull
            WHERE ?1 IS NULL OR a.key = ?1 ORDER BY a.rowid"""
        with _explained(self.path):
            found = self._db.execute(query, (key,)).fetchall()
        return [
            Attempt(
                pull=row[0],
                key=row[1],
                at=_stamp(row[2]),
                outcome=row[3],
                new=row[4],
                late=row[5],
                revised=row[6],
                unchanged=row[7],
                reason=row[8],
            )
            for row in found
        ]


def _distinct(dates: Dates, values: Floats) -> tuple[dict[int, float], tuple[np.datetime64, ...]]:
    """Finite values by date in seconds; dates with two different values are left out and named."""
    seconds = dates.astype("datetime64[s]").astype(np.int64)
    finite = np.isfinite(values)
    offered: dict[int, float] = {}
    conflicts: set[int] = set()
    for date, value in zip(seconds[finite].tolist(), values[finite].tolist(), strict=True):
        if offered.setdefault(date, value) != value:
            conflicts.add(date)
    for date in conflicts:
        del offered[date]
    return offered, tuple(_stamp(date) for date in sorted(conflicts))


def _wait_for_lock(handle: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= deadline:
                raise StoreError(
                    "another pull of this target is running",
                    value=path,
                    action="wait for it, or look for one that hangs",
                ) from error
            time.sleep(_RETRY_S)
        else:
            return


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors in our words."""
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(
            "the store of observations cannot be used",
            value=f"{path}: {error}",
            action="check space and permissions; a damaged file: restore a copy, or re-read the raw payloads",
        ) from error


def _seconds(moment: np.datetime64) -> int:
    return int(moment.astype("datetime64[s]").astype(np.int64))


def _stamp(seconds: int) -> np.datetime64:
    return np.datetime64(int(seconds), "s")
