"""Corrections that the checks would make: printed as commands for a person, never applied.

Letters in shapes: n rows.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.checks import Column, Severity, day_text
from horizoncast.data.plausible import SLIP_FACTORS, check_stuck, check_unit_slip, robust_sigma
from horizoncast.data.target import Checks, Target
from horizoncast.series import Bools, Floats

MOST = 20
"""Suggestions of one kind beyond which the file, not a row, is wrong."""

_AROUND = 30
"""Rows on either side whose changes a row is compared with."""


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """One correction somebody may want to make.

    Parameters
    ----------
    code
        ``unit_slip``, ``fat_finger``, ``stuck`` or ``holiday_duplicate``.
    column
        ``target``, or the name of a covariate.
    date, before
        The observation as it is.
    value
        What it may have meant; None to drop it.
    why
        What speaks for it.
    """

    code: str
    column: str
    date: np.datetime64
    before: float
    value: float | None
    why: str

    def command(self, target: Path, store: Path | None = None) -> str:
        """The command that makes this correction; `store` where it is not the usual one."""
        change = "--drop" if self.value is None else f"--value {self.value:.10g}"
        column = "" if self.column == "target" else f" --column {shlex.quote(self.column)}"
        where = f"{shlex.quote(str(target))} --date {day_text(self.date)}"
        where += "" if store is None else f" --store {shlex.quote(str(store))}"
        return f"horizoncast data override {where} {change}{column} --why {shlex.quote(self.why)} --by NAME"


def suggest_all(target: Target, columns: Mapping[str, Column]) -> list[Suggestion]:
    """Suggestions for a target and its covariates; those known in advance are somebody's plan, not data.

    Parameters
    ----------
    columns
        From `load.read_columns`.
    """
    planned = {spec.name for spec in target.covariates if spec.known_future}
    return [
        found
        for name, column in columns.items()
        if name not in planned and len(column)
        for found in suggest(column, name, target.calendar, target.checks)
    ]


def suggest(column: Column, name: str, calendar: Calendar, checks: Checks) -> list[Suggestion]:
    """All suggestions for one clean column, ascending by date; one per date.

    Parameters
    ----------
    column
        n finite rows, ascending.
    name
        What it is called in corrections.
    """
    found = [
        *unit_slips(column, name),
        *fat_fingers(column, name, checks),
        *stuck_values(column, name, checks),
        *(holiday_duplicates(column, name, calendar) if name == "target" else ()),
    ]
    first: dict[np.datetime64, Suggestion] = {}
    for one in found:
        first.setdefault(one.date, one)
    return sorted(first.values(), key=lambda one: one.date.astype(np.int64))


def unit_slips(column: Column, name: str) -> list[Suggestion]:
    """Rows that `check_unit_slip` blocks, brought back by the nearest factor."""
    out = []
    for finding in check_unit_slip(column):
        if finding.severity is not Severity.ERROR:
            continue
        rows = np.flatnonzero(np.isin(column.lines, finding.rows))[:MOST]
        before = float(column.values[max(int(rows[0]) - 1, 0)])
        for row in rows:
            value = float(column.values[row])
            factors = [f for factor in SLIP_FACTORS for f in (factor, 1 / factor)]
            factor = min(factors, key=lambda f: abs(np.log(value / before / f)))
            why = f"unit slip: {value:.10g} is about {factor:g} times the values around it"
            out.append(
                _at(column, int(row), name, code="unit_slip", value=float(f"{value / factor:.10g}"), why=why)
            )
    return out


def fat_fingers(column: Column, name: str, checks: Checks) -> list[Suggestion]:
    """Single rows far from both neighbours that a slip of the keyboard explains.

    A row counts when its change in and its change out both exceed `checks.jump_warning` robust sigmas
    of the changes around it, while its neighbours agree to three. A decimal mark moved by one place,
    two neighbouring digits exchanged or a digit doubled explains it when that brings it to within two
    sigmas of the middle of its neighbours. The last row has one neighbour.
    """
    values = column.values
    if len(values) < _AROUND:
        return []
    before, after = values[:-1], np.append(values[2:], values[-2])
    middle = (before + after) / 2
    away = np.minimum(np.abs(values[1:] - before), np.abs(values[1:] - after))
    out = []
    for i in np.flatnonzero(away > checks.jump_warning / 4 * robust_sigma(np.diff(values))):
        sigma = _sigma_around(values, int(i) + 1)
        if sigma == 0 or away[i] <= checks.jump_warning * sigma or abs(before[i] - after[i]) > 3 * sigma:
            continue
        value = float(values[i + 1])
        near = [r for r in _readings(value) if abs(r - float(middle[i])) <= 2 * sigma]
        if near:
            best = min(near, key=lambda reading: abs(reading - float(middle[i])))
            why = f"fat finger: {value:.10g} between values near {middle[i]:.6g}, a slip for {best:.10g}"
            out.append(_at(column, int(i) + 1, name, code="fat_finger", value=best, why=why))
    return out[-MOST:]


def _sigma_around(values: Floats, row: int) -> float:
    """Robust sigma of the changes around a row, its own two left out."""
    first, last = max(row - _AROUND, 0), row + _AROUND
    return robust_sigma(np.concatenate([np.diff(values[first:row]), np.diff(values[row + 1 : last + 1])]))


def _readings(value: float) -> list[float]:
    """What a typist may have meant.

    >>> sorted(_readings(9.5))
    [0.95, 5.9, 95.0]
    """
    text = f"{abs(value):.10g}"
    texts = {repr(abs(value) * 10), repr(abs(value) / 10)}
    digits = [i for i, mark in enumerate(text) if mark.isdigit()]
    for i, j in itertools.pairwise(digits):
        swapped = list(text)
        swapped[i], swapped[j] = swapped[j], swapped[i]
        texts.add("".join(swapped))
        if text[i] == text[j]:
            texts.add(text[:i] + text[i + 1 :])  # doubled
    sign = -1.0 if value < 0 else 1.0
    found = {sign * float(f"{float(t):.10g}") for t in texts if "e" not in t}
    return [reading for reading in found if reading != value]


def stuck_values(column: Column, name: str, checks: Checks) -> list[Suggestion]:
    """The repeats of a last value that has stopped moving."""
    out = []
    for finding in check_stuck(column, checks.stuck):
        run = np.flatnonzero(np.isin(column.lines, finding.rows))
        for row in run[1:MOST]:
            why = f"stuck: {column.values[row]:.10g} repeated, longer than ever before"
            out.append(_at(column, int(row), name, code="stuck", value=None, why=why))
    return out


def holiday_duplicates(column: Column, name: str, calendar: Calendar) -> list[Suggestion]:
    """Rows on closed days that only repeat the row before."""
    if calendar.kind is not CalendarKind.BUSINESS or len(column) < 2:
        return []
    closed = closed_rows(column, calendar)
    why = "holiday duplicate: a closed day repeats the value"
    same = np.concatenate([[False], column.values[1:] == column.values[:-1]])
    return [
        _at(column, int(row), name, code="holiday_duplicate", value=None, why=why)
        for row in np.flatnonzero(closed & same)[-MOST:]
    ]


def closed_rows(column: Column, calendar: Calendar) -> Bools:
    """(n,) weekdays on which the calendar is closed."""
    days = column.dates.astype("datetime64[D]")
    expected = calendar.sessions(column.dates[0], column.dates[-1]).astype("datetime64[D]")
    return np.asarray(~np.isin(days, expected) & np.is_busday(days))


def _at(column: Column, row: int, name: str, *, code: str, value: float | None, why: str) -> Suggestion:
    return Suggestion(
        code=code, column=name, date=column.dates[row], before=float(column.values[row]), value=value, why=why
    )
