"""Where a run's raw rows come from: files straight, pulled sources from the store as of a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from horizoncast.calendar import CalendarKind
from horizoncast.data.checks import Finding, Severity
from horizoncast.data.overrides import (
    Override,
    OverrideLog,
    apply_overrides,
    columns_of,
    overrides_path,
)
from horizoncast.data.sources import Rows, read_rows
from horizoncast.data.target import Source, Target
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.errors import SourceError

TARGET_KEY = "target"
"""Key of the target's own source in the store."""


_LOCAL_S = 60.0
"""Time-out of a query to a local file, seconds."""


def covariate_key(name: str) -> str:
    """Key of a covariate's own source in the store."""
    return f"covariate:{name}"


def moment_of(target: Target, as_of: np.datetime64 | None) -> np.datetime64 | None:
    """The moment that an as-of date stands for: the end of that day, in UTC.

    An intraday as-of is a moment itself.
    """
    if as_of is None:
        return None
    stamp = as_of.astype("datetime64[s]")
    if target.calendar.kind is CalendarKind.INTRADAY:
        return np.datetime64(stamp)
    end = stamp.astype("datetime64[D]") + np.timedelta64(1, "D")
    return np.datetime64(end.astype("datetime64[s]") - np.timedelta64(1, "s"))


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads the rows of one target's sources.

    Parameters
    ----------
    target
        As declared.
    folder
        Folder of the stores; None when there is none, and then only local sources can be read.
    known_at
        Pulled sources are read as they were known then; None takes all that is known.
    later_overrides
        Whether corrections made after `known_at` are applied, too.
    findings, overrides
        What reading has to say, and the corrections it applied; `rows` adds to both.
    """

    target: Target
    folder: Path | None = None
    known_at: np.datetime64 | None = None
    later_overrides: bool = False
    findings: list[Finding] = field(default_factory=list)
    overrides: list[Override] = field(default_factory=list)

    def rows(self, key: str, source: Source, columns: Sequence[str]) -> Rows:
        """Rows of one source, with the corrections that hold.

        Raises
        ------
        SourceError
            When the source cannot be read, or was never pulled.
        """
        return self._corrected(key, self.raw_rows(key, source, columns))

    def raw_rows(self, key: str, source: Source, columns: Sequence[str]) -> Rows:
        """Rows of one source as it delivered them."""
        utc = self.target.calendar.kind is CalendarKind.INTRADAY
        if source.pulled and not self._is_straight(source):
            return self._pulled(key, source, columns)
        if source.pulled:
            return self._queried(source, columns, utc=utc)
        return read_rows(source, columns, utc=utc)

    def _is_straight(self, source: Source) -> bool:
        """A SQLite file needs no network: it is read straight until it has been pulled once."""
        from horizoncast.data.sql import local_database

        if not local_database(source):
            return False
        return self.folder is None or not store_path(self.folder, self.target.name).is_file()

    def _queried(self, source: Source, columns: Sequence[str], *, utc: bool) -> Rows:
        from horizoncast.data.secrets import Secrets
        from horizoncast.data.sql import fetch_sql

        nothing = Secrets({})  # a file has no password
        return fetch_sql(source, columns, since=None, utc=utc, timeout_s=_LOCAL_S, secrets=nothing)

    def _corrected(self, key: str, rows: Rows) -> Rows:
        if self.folder is None:
            return rows
        own = key == TARGET_KEY
        pairs = [
            (column, name) for column in rows.names for name in self._names(own=own, key=key, column=column)
        ]
        moment = None if self.later_overrides else self.known_at
        log = OverrideLog(overrides_path(self.folder, self.target.name))
        holding = [override for override in log.all() if override.holds_at(moment)]
        rows, applied, findings = apply_overrides(self.target, rows, pairs, holding)
        self.overrides.extend(o for o in applied if o not in self.overrides)
        self.findings.extend(findings)
        return rows

    def _names(self, *, own: bool, key: str, column: str) -> tuple[str, ...]:
        """What a column is called in corrections."""
        return columns_of(self.target, own, column) if own else (key.partition(":")[2],)

    def _pulled(self, key: str, source: Source, columns: Sequence[str]) -> Rows:
        if self.folder is None:
            raise SourceError(
                f"{source.place}: a pulled source is read from the store, and no store was named",
                action="name the folder of the store, as the settings do with data.store",
            )
        with VintageStore(store_path(self.folder, self.target.name)) as store:
            first = store.first_known(key)
            rows = store.as_of(key, tuple(dict.fromkeys(columns)), self.known_at, source.place)
        if self.known_at is not None and first is not None and self.known_at < first:
            self.findings.append(_assumed(source, first))
        return rows


def _assumed(source: Source, first: np.datetime64) -> Finding:
    message = (
        f"{source.place}: nothing was recorded before the first pull of {first}; its values stand in for "
        "what was known then, revisions included"
    )
    return Finding(code="assumed_vintage", severity=Severity.WARNING, message=message)
