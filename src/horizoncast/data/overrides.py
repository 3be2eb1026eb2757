"""Corrections of bad observations: recorded with who, when and why, and reversible.

One JSONL file per target beside its store of observations; lines are added and never changed. A
correction is a line, taking it back is another one. What the source delivered stays in the store.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.calendar import CalendarKind
from horizoncast.data.checks import Finding, Severity, day_text
from horizoncast.data.sources import Rows
from horizoncast.data.target import Target
from horizoncast.errors import ConfigError, StoreError, UnknownNameError
from horizoncast.series import Bools

OF_TARGET = "target"


@dataclass(frozen=True, kw_only=True)
class Override:
    """One correction.

    Parameters
    ----------
    id
        Its number, counted from 1.
    column
        ``target``, or the name of a covariate.
    date
        The observation's own date.
    value
        What stands in its place, in the source's unit; None drops the observation.
    before
        What the source said when the correction was made; None when it said nothing.
    why, by, at
        Reason, person, and moment in UTC.
    reverted_at, reverted_by, reverted_why
        When, by whom and why it was taken back; None while it holds.
    """

    id: int
    column: str
    date: np.datetime64
    value: float | None
    before: float | None
    why: str
    by: str
    at: np.datetime64
    reverted_at: np.datetime64 | None = None
    reverted_by: str | None = None
    reverted_why: str | None = None

    def holds_at(self, moment: np.datetime64 | None) -> bool:
        """Whether it was made and not taken back by a moment (UTC); None is now."""
        if moment is None:
            return self.reverted_at is None
        return bool(self.at <= moment and (self.reverted_at is None or self.reverted_at > moment))

    @property
    def text(self) -> str:
        """The correction in words."""
        new = "dropped" if self.value is None else f"{self.value:.10g}"
        old = "nothing" if self.before is None else f"{self.before:.10g}"
        return (
            f"override {self.id} of {self.column}, {day_text(self.date)}: {old} -> {new}, "
            f"by {self.by} on {day_text(self.at.astype('datetime64[D]').astype('datetime64[s]'))}: {self.why}"
        )


def overrides_path(folder: Path, target: str) -> Path:
    """The file of a target's corrections, beside its store."""
    return folder / f"{target}.overrides.jsonl"


class OverrideLog:
    """All corrections of one target.

    Parameters
    ----------
    path
        The file; it is made by the first correction.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def all(self) -> tuple[Override, ...]:
        """Every correction there ever was, taken back or not.

        Raises
        ------
        StoreError
            For a line that cannot be read. A last line without its end was never confirmed, and is left
            out.
        """
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ()
        except (OSError, UnicodeDecodeError) as error:
            raise StoreError("the overrides cannot be read", value=f"{self.path}: {error}") from error
        found: dict[int, Override] = {}
        for number, line in enumerate(text.split("\n")[:-1], 1):
            if line.strip():
                self._take(found, line, number)
        return tuple(found.values())

    def _take(self, found: dict[int, Override], line: str, number: int) -> None:
        try:
            fields = json.loads(line)
            if fields["kind"] == "override":
                found[fields["id"]] = _override(fields)
            else:
                found[fields["id"]] = _reverted(found[fields["id"]], fields)
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                "a line of the overrides cannot be read",
                value=f"{self.path}, line {number}: {error!r}",
                action="restore the file from a copy; corrections are never guessed",
            ) from error

    def add(
        self,
        *,
        column: str,
        date: np.datetime64,
        value: float | None,
        before: float | None,
        why: str,
        by: str,
        now: np.datetime64,
    ) -> Override:
        """Record a correction; see `Override`.

        Raises
        ------
        ConfigError
            When the same observation is corrected already, or reason or person are missing.
        """
        if value is not None and not math.isfinite(value):
            raise ConfigError("an override needs a finite value", value=value, action="use --drop instead")
        _need_words(why, by)
        with _Appender(self.path) as append:
            known = self.all()
            twice = next(
                (o for o in known if o.holds_at(None) and (o.column, o.date) == (column, date)), None
            )
            if twice is not None:
                raise ConfigError(
                    "this observation is corrected already", value=twice.text, action="revert it"
                )
            made = Override(
                id=1 + max((o.id for o in known), default=0),
                column=column,
                date=date.astype("datetime64[s]"),
                value=value,
                before=before,
                why=why.strip(),
                by=by.strip(),
                at=now.astype("datetime64[s]"),
            )
            append.line(_fields(made))
        return made

    def revert(self, number: int, *, why: str, by: str, now: np.datetime64) -> Override:
        """Take a correction back; the record of it stays.

        Raises
        ------
        UnknownNameError
            When there is no such correction.
        ConfigError
            When it was taken back already.
        """
        _need_words(why, by)
        with _Appender(self.path) as append:
            known = {o.id: o for o in self.all()}
            if number not in known:
                raise UnknownNameError.of("override", str(number), [str(i) for i in known])
            if not known[number].holds_at(None):
                raise ConfigError("this override was reverted already", value=known[number].text)
            fields = {"kind": "revert", "id": number, "at": str(now.astype("datetime64[s]"))}
            fields |= {"by": by.strip(), "why": why.strip()}
            append.line(fields)
        return _reverted(known[number], fields)


class _Appender:
    """The file, locked against a second writer; a torn last line is cut off before the next one."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> _Appender:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._handle = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StoreError("the overrides cannot be written", value=f"{self.path}: {error}") from error
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)

    def line(self, fields: dict[str, Any]) -> None:
        """Add one line and wait until it lies on the disk."""
        data = (json.dumps(fields, ensure_ascii=False, allow_nan=False) + "\n").encode()
        try:
            whole = self.path.read_bytes().rfind(b"\n") + 1
            os.ftruncate(self._handle, whole)
            os.pwrite(self._handle, data, whole)
            os.fsync(self._handle)
        except OSError as error:
            raise StoreError("the overrides cannot be written", value=f"{self.path}: {error}") from error


def _need_words(why: str, by: str) -> None:
    for name, text in (("--why", why), ("--by", by)):
        if not text.strip():
            raise ConfigError(f"{name} is empty", action="a correction says who made it and why")


def _fields(override: Override) -> dict[str, Any]:
    fields = {"kind": "override", "id": override.id, "column": override.column, "date": str(override.date)}
    fields |= {"value": override.value, "before": override.before, "why": override.why, "by": override.by}
    return fields | {"at": str(override.at)}


def _override(fields: dict[str, Any]) -> Override:
    value, before = fields["value"], fields["before"]
    return Override(
        id=int(fields["id"]),
        column=str(fields["column"]),
        date=np.datetime64(fields["date"], "s"),
        value=None if value is None else float(value),
        before=None if before is None else float(before),
        why=str(fields["why"]),
        by=str(fields["by"]),
        at=np.datetime64(fields["at"], "s"),
    )


def _reverted(override: Override, fields: dict[str, Any]) -> Override:
    from dataclasses import replace

    at, by, why = np.datetime64(fields["at"], "s"), str(fields["by"]), str(fields["why"])
    return replace(override, reverted_at=at, reverted_by=by, reverted_why=why)


def columns_of(target: Target, own: bool, source_column: str) -> tuple[str, ...]:
    """Which correctable columns a source's column feeds: ``target`` and covariates by name.

    Parameters
    ----------
    own
        Whether the source is the target's own; covariates without a source share it.
    """
    names = [OF_TARGET] if own and source_column == target.source.column else []
    shared = (c.name for c in target.covariates if c.source is None and c.column == source_column)
    return (*names, *(shared if own else ()))


def find_row(target: Target, rows: Rows, date: np.datetime64) -> Bools:
    """(n,) rows of an observation: by its day, or by the very moment where rows are finer than days."""
    exact = target.calendar.kind is CalendarKind.INTRADAY or target.aggregate is not None
    unit = "s" if exact else "D"
    return np.asarray(rows.dates.astype(f"datetime64[{unit}]") == date.astype(f"datetime64[{unit}]"))


def apply_overrides(
    target: Target, rows: Rows, columns: Sequence[tuple[str, str]], overrides: Iterable[Override]
) -> tuple[Rows, list[Override], list[Finding]]:
    """Rows with corrections in place, the corrections that were, and what to say of them.

    Parameters
    ----------
    rows
        Of one source.
    columns
        Pairs of a column of `rows` and what it is called in corrections.
    overrides
        Those that hold at the moment asked about.

    Returns
    -------
    rows, applied, findings
        A value for a date without a row adds the row.
    """
    applied, findings = [], []
    for override in overrides:
        for source_column in (c for c, name in columns if name == override.column):
            hit = find_row(target, rows, override.date)
            at = rows.names.index(source_column)
            findings.append(_said(rows, hit, at, override))
            rows = _changed(rows, hit, at, override)
            applied.append(override)
    return rows, applied, findings


def _changed(rows: Rows, hit: Bools, at: int, override: Override) -> Rows:
    value = np.nan if override.value is None else override.value
    lines, dates, values = rows.lines, rows.dates, rows.values.copy()
    values[hit, at] = value
    if not hit.any() and override.value is not None:
        added = np.full((1, values.shape[1]), np.nan)
        added[0, at] = value
        place = int(np.searchsorted(dates, override.date)) if (np.diff(dates.astype(int)) >= 0).all() else 0
        values = np.insert(values, place, added, axis=0)
        dates = np.insert(dates, place, override.date)
        lines = np.insert(lines, place, 0)
    return Rows(place=rows.place, lines=lines, dates=dates, names=rows.names, values=values)


def _said(rows: Rows, hit: Bools, at: int, override: Override) -> Finding:
    """The correction itself; louder where the source has changed its mind since."""
    seen = rows.values[hit, at]
    now = float(seen[0]) if len(seen) and np.isfinite(seen[0]) else None
    code, note = "override", ""
    if now is not None and now == override.value:
        code, note = "override_redundant", "; the source says the same now, revert it"
    elif now != override.before:
        said = "nothing" if now is None else f"{now:.10g}"
        code, note = "override_outdated", f"; the source has changed it to {said} since, look again"
    message = f"{rows.place}: {override.text}{note}"
    return Finding(code=code, severity=Severity.WARNING, message=message)
