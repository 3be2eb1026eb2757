"""Checks before any model sees a row: small pure functions from rows to findings.

An error blocks the run, a warning is written down and goes on. Each finding says file, row, value
and what to do. Thresholds are `target.Checks`.

Letters in shapes: n rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Calendar, CalendarKind, Dates
from horizoncast.data.align import session_start
from horizoncast.data.cells import Lines
from horizoncast.data.target import Checks
from horizoncast.series import Bools, Floats, Scale


class Severity(StrEnum):
    """What a finding does to the run."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something a check found.

    Parameters
    ----------
    code
        Stable name for records and tests.
    severity
        Error blocks, warning does not.
    message
        File, row, value and what to do.
    rows
        Line numbers concerned (at most 20).
    """

    code: str
    severity: Severity
    message: str
    rows: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class Column:
    """One column of a source: lines (n,), dates (n,), values (n,)."""

    place: str
    name: str
    lines: Lines
    dates: Dates
    values: Floats

    def __len__(self) -> int:
        return len(self.dates)

    def take(self, chosen: npt.NDArray[np.bool_] | npt.NDArray[np.int64]) -> Column:
        """Rows by mask or by index."""
        return Column(
            place=self.place,
            name=self.name,
            lines=self.lines[chosen],
            dates=self.dates[chosen],
            values=self.values[chosen],
        )

    def cell(self, row: int) -> str:
        """How a message names one row."""
        return f"row {self.lines[row]} ({day_text(self.dates[row])}, {self.values[row]:g})"


def day_text(date: np.datetime64) -> str:
    """A date without the time when that is midnight."""
    text = str(date.astype("datetime64[m]"))
    return text.removesuffix("T00:00")


def check_finite(column: Column) -> list[Finding]:
    """Infinite values; empty cells are missing, not wrong."""
    bad = np.flatnonzero(np.isinf(column.values))
    if not len(bad):
        return []
    text = f"{column.name} is infinite{_more(bad)}; correct the cell or leave it empty"
    return [finding_at(column, "non_finite", Severity.ERROR, bad, text)]


def check_order(column: Column) -> list[Finding]:
    """Rows that run neither forward nor backward in time."""
    steps = np.diff(column.dates).astype(np.int64)
    if (steps >= 0).all() or (steps <= 0).all():
        return []
    turn = np.flatnonzero((steps < 0) if (steps > 0).mean() > 0.5 else (steps > 0)) + 1
    text = f"dates are not in order{_more(turn)}; they were sorted, check the date format and the file"
    return [finding_at(column, "unsorted", Severity.WARNING, turn, text)]


def check_swapped_days(column: Column) -> list[Finding]:
    """Day and month read in the wrong order: another reading is in order and this one is not."""
    day = column.dates.astype("datetime64[D]")
    month = day.astype("datetime64[M]")
    of_month = (day - month.astype("datetime64[D]")).astype(np.int64) + 1
    of_year = month.astype(np.int64) % 12 + 1
    if len(day) < 3 or (of_month > 12).any() or (of_month == 1).all():
        return []
    swapped = month - (of_year - of_month).astype("timedelta64[M]")
    other = swapped.astype("datetime64[D]") + (of_year - 1).astype("timedelta64[D]")
    if _in_order(day) or not _in_order(other):
        return []
    text = "day and month look exchanged: read the other way the dates are in order; correct date_format"
    return [finding_at(column, "ambiguous_dates", Severity.ERROR, np.array([0]), text)]


def check_duplicates(column: Column, *, joined: bool = False) -> list[Finding]:
    """Dates that appear more than once; `column` is in order of dates.

    Equal values are a warning (one is kept), different ones an error. Where rows are joined to
    sessions anyway, different values are an error only when they are more than 5 % of the rows (a
    long file without a filter, not a logger's double second).
    """
    again = np.flatnonzero(np.diff(column.dates) == np.timedelta64(0, "s")) + 1
    if not len(again):
        return []
    differs = again[~np.isclose(column.values[again], column.values[again - 1], rtol=1e-12, atol=0.0)]
    agrees = np.setdiff1d(again, differs)
    found = []
    if len(differs):
        few = joined and len(differs) <= 0.05 * len(column)
        text = (
            f"{column.name} has another value for the same date than {column.cell(int(differs[0]) - 1)}"
            f"{_more(differs)}; remove the wrong row, or choose one series of a long file with filter"
        )
        severity = Severity.WARNING if few else Severity.ERROR
        found.append(finding_at(column, "duplicates_disagree", severity, differs, text))
    if len(agrees):
        kept = "all were joined" if joined else "one row was kept"
        text = f"{column.name} repeats a date with the same value{_more(agrees)}; {kept}"
        found.append(finding_at(column, "duplicates_agree", Severity.WARNING, agrees, text))
    return found


def check_future(column: Column, calendar: Calendar, now: np.datetime64, offset: int) -> list[Finding]:
    """Rows dated after the clock (UTC), a dating offset in sessions allowed.

    A date without a time is accepted from the moment it begins anywhere on earth (UTC + 14 hours).
    """
    ahead = np.timedelta64(0 if calendar.kind is CalendarKind.INTRADAY else 14 * 3600, "s")
    limit = now.astype("datetime64[s]") + ahead
    if offset:
        limit = calendar.future(limit, offset)[-1]
    late = np.flatnonzero(column.dates > limit)
    if not len(late):
        return []
    text = (
        f"the date lies after {day_text(limit)}{_more(late)}; correct date_format or the rows, "
        "or declare dating_offset"
    )
    return [finding_at(column, "future_date", Severity.ERROR, late, text)]


def check_positive(column: Column, scale: Scale | None) -> list[Finding]:
    """Values at or below zero where the log scale is declared."""
    bad = np.flatnonzero(column.values <= 0)
    if scale is not Scale.LOG or not len(bad):
        return []
    text = f'{column.name} is not positive and scale = "log"{_more(bad)}; set scale = "level" or correct it'
    return [finding_at(column, "non_positive", Severity.ERROR, bad, text)]


def check_negative(column: Column, nonnegative: bool) -> list[Finding]:
    """Negative values where the target is declared non-negative."""
    bad = np.flatnonzero(column.values < 0)
    if not nonnegative or not len(bad):
        return []
    text = f"{column.name} is negative{_more(bad)}; correct the rows or drop nonnegative"
    return [finding_at(column, "negative", Severity.ERROR, bad, text)]


def check_one_per_session(column: Column, calendar: Calendar) -> list[Finding]:
    """Several rows in one session of the calendar, which only `aggregate` may join."""
    business = calendar.kind is CalendarKind.BUSINESS
    label = (
        session_start(calendar, column.dates).astype(np.int64) if business else calendar.ordinal(column.dates)
    )
    crowded = np.flatnonzero(np.diff(label) == 0) + 1
    if not len(crowded):
        return []
    text = (
        f"a second row in one {calendar.kind} session{_more(crowded)}; "
        'set aggregate = "mean", "sum" or "last", or a finer calendar'
    )
    return [finding_at(column, "crowded_session", Severity.ERROR, crowded, text)]


def weekend_rows(column: Column, calendar: Calendar) -> tuple[Bools, Bools]:
    """Rows on Saturdays and Sundays of a business calendar: (n,) all, and (n,) mere copies of Friday."""
    if calendar.kind is not CalendarKind.BUSINESS:
        return np.zeros(len(column), dtype=np.bool_), np.zeros(len(column), dtype=np.bool_)
    weekend = np.asarray(~np.is_busday(column.dates.astype("datetime64[D]")))
    same = np.concatenate([[False], column.values[1:] == column.values[:-1]])
    return weekend, weekend & same


def check_weekends(column: Column, calendar: Calendar) -> list[Finding]:
    """Saturdays and Sundays on a business calendar: a copy is dropped, a value of its own blocks."""
    weekend, copies = weekend_rows(column, calendar)
    found = []
    own = np.flatnonzero(weekend & ~copies)
    if len(own):
        text = (
            f"{column.name} has a value of its own on a weekend{_more(own)}; "
            'set calendar kind = "daily", or remove these rows'
        )
        found.append(finding_at(column, "weekend_row", Severity.ERROR, own, text))
    dropped = np.flatnonzero(copies)
    if len(dropped):
        text = f"{column.name} repeats Friday's value on a weekend{_more(dropped)}; dropped, no session"
        found.append(finding_at(column, "weekend_copy", Severity.WARNING, dropped, text))
    return found


def gap_lengths(dates: Dates, calendar: Calendar) -> tuple[Lines, Lines]:
    """Runs of sessions that the calendar expects and that have no row: row after each, and its length.

    `dates` ascend, one per session; on regular calendars a row counts for its session whatever its
    exact date. No grid is built: one mistyped year would make it huge.
    """
    if calendar.kind is CalendarKind.BUSINESS:
        absent = np.setdiff1d(calendar.sessions(dates[0], dates[-1]), dates)
        after, lengths = np.unique(np.searchsorted(dates, absent), return_counts=True)
        return after.astype(np.int64), lengths.astype(np.int64)
    lengths = np.diff(calendar.ordinal(dates)) - 1
    before = np.flatnonzero(lengths > 0)
    return before + 1, lengths[before]


def check_calendar(column: Column, calendar: Calendar, checks: Checks) -> list[Finding]:
    """Sessions without rows, rows on holidays, rows off the grid's phase."""
    rows, lengths = gap_lengths(column.dates, calendar)
    missing = int(lengths.sum())
    if missing > checks.max_missing * (missing + len(column)):
        message = (
            f"{column.place}: {missing} of {missing + len(column)} sessions of the {calendar.kind} calendar "
            f"have no row, the first ones before {column.cell(int(rows[0]))}; "
            "correct [calendar] kind, minutes or country, or raise checks.max_missing"
        )
        return [Finding(code="calendar_mismatch", severity=Severity.ERROR, message=message)]
    found = []
    if missing:
        last = column.cell(int(rows[-1]))
        text = f"{column.place}: {missing} sessions have no row, the latest just before {last}"
        found.append(Finding(code="missing_sessions", severity=Severity.WARNING, message=text))
    return found + _off_calendar(column, calendar)


def _off_calendar(column: Column, calendar: Calendar) -> list[Finding]:
    if calendar.kind is CalendarKind.BUSINESS:
        expected = calendar.sessions(column.dates[0], column.dates[-1])
        code, words = "holiday_row", "a row on a holiday of the calendar"
    else:
        place = calendar.ordinal(column.dates) - calendar.ordinal(column.dates[0])[0]
        expected = np.concatenate([column.dates[:1], calendar.future(column.dates[0], int(place[-1]))])
        code, words = "off_grid", "a row beside the grid that the first row sets, moved to its session"
    off = np.flatnonzero(~np.isin(column.dates, expected))
    if not len(off):
        return []
    text = f"{words}{_more(off)}; correct country, closed or opened in [calendar] if they are wrong"
    return [finding_at(column, code, Severity.WARNING, off, text)]


def check_gaps(column: Column, calendar: Calendar, max_gap: int) -> list[Finding]:
    """Runs of missing sessions longer than `max_gap`; `column` has one row per session."""
    rows, lengths = gap_lengths(column.dates, calendar)
    wide = lengths > max_gap
    if not wide.any():
        return []
    bad, worst = rows[wide], int(lengths[wide].max())
    last = int(bad[-1])
    text = (
        f"{worst} sessions in a row have no value{_more(bad)}, at most {max_gap} are accepted; complete "
        f'the file, raise missing.max_gap, or set start = "{day_text(column.dates[last])}"'
    )
    return [finding_at(column, "gap", Severity.ERROR, bad, text)]


def staleness(last: np.datetime64, calendar: Calendar, until: np.datetime64, *, clock: bool) -> int:
    """Sessions of the calendar after the last observation.

    Parameters
    ----------
    until
        The as-of date, whose own session is expected, or the clock, whose own is not yet.
    clock
        Which of the two.
    """
    if calendar.kind is CalendarKind.BUSINESS:
        end = until - np.timedelta64(1, "D") if clock else until
        return int((calendar.sessions(last, end) > last).sum())
    behind = int(calendar.ordinal(until)[0] - calendar.ordinal(last)[0])
    return max(behind - int(clock), 0)


def check_staleness(column: Column, behind: int, limit: int | None) -> list[Finding]:
    """The last observation is too old; without a limit only a warning beyond five sessions."""
    if behind <= (5 if limit is None else limit):
        return []
    severity = Severity.WARNING if limit is None else Severity.ERROR
    bound = "no limit is declared" if limit is None else f"at most {limit} are accepted"
    text = (
        f"the last value is {behind} sessions old, {bound}; bring the source up to date, or set max_staleness"
    )
    return [finding_at(column, "stale", severity, np.array([len(column) - 1]), text)]


def check_history(column: Column, least: int) -> list[Finding]:
    """Too few observed sessions."""
    if len(column) >= least:
        return []
    text = f"{len(column)} observed sessions, at least {least} are needed; add history"
    return [finding_at(column, "short_history", Severity.ERROR, np.arange(len(column))[-1:], text)]


def _in_order(dates: npt.NDArray[np.datetime64]) -> bool:
    steps = np.diff(dates).astype(np.int64)
    return bool((steps > 0).all() or (steps < 0).all())


def _more(rows: npt.NDArray[np.int64]) -> str:
    return f" (and {len(rows) - 1} more)" if len(rows) > 1 else ""


def finding_at(
    column: Column, code: str, severity: Severity, rows: npt.NDArray[np.int64], text: str
) -> Finding:
    """Make a finding that names the first of some rows of a column."""
    where = f", {column.cell(int(rows[0]))}" if len(rows) else ""
    return Finding(
        code=code,
        severity=severity,
        message=f"{column.place}{where}: {text}",
        rows=tuple(int(line) for line in column.lines[rows[:20]]),
    )
