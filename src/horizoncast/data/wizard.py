"""Propose a target for a file: ``horizoncast target new FILE`` prints the TOML text.

Everything is read from the file itself: delimiter, date column and format, decimal mark, value
column, calendar and seasons. The text is a proposal for a person to correct, with the reasons in
its comments; it loads as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind, Dates, Ints
from horizoncast.data.align import session_start, usable_periods
from horizoncast.data.cells import MISSING, parse_dates, parse_numbers, possible_formats
from horizoncast.data.checks import gap_lengths
from horizoncast.data.sources import read_table
from horizoncast.data.target import Fill, Missing, Source, SourceType
from horizoncast.errors import SourceError

_ENCODINGS = ("utf-8", "cp1252")
_DELIMITERS = ",;\t|"
_MARKS = ((".", ""), (",", ""), (".", ","), (",", "."))
_VALUE_NAMES = ("value", "close", "price", "y", "target", "sales", "demand")


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A file as texts: header, rows, and the source that reads it so far."""

    source: Source
    header: list[str]
    rows: list[list[str]]

    def cells(self, column: str) -> list[str]:
        at = self.header.index(column)
        return [row[at] for row in self.rows]


def propose_target(path: Path | str) -> str:
    """TOML text of a target for a CSV or Parquet file; the path in it is absolute.

    Raises
    ------
    SourceError
        When the file cannot be read, or has no column of dates or of numbers.
    """
    file = Path(path).resolve()
    if not file.is_file() or file.stat().st_size == 0:
        raise SourceError("the data file does not exist or is empty", value=file)
    table = _read(file)
    date_column, formats = _date_column(table)
    source = replace(table.source, date_column=date_column, date_format=formats[0])
    table = replace(table, source=source)
    value_column, (decimal, thousands) = _value_column(table)
    source = replace(source, value_column=value_column, decimal=decimal, thousands=thousands)
    series_filter, table = _one_series(replace(table, source=source))
    dates = _dates(table)
    calendar, joins = _calendar_of(dates)
    notes = _Notes(
        formats=formats,
        joins=joins,
        series=series_filter,
        seasons=usable_periods(calendar, len(dates)),
        longest_gap=_longest_gap(dates, calendar),
    )
    return _toml(file, source, calendar, notes)


@dataclass(frozen=True, kw_only=True)
class _Notes:
    """What the proposal has to say besides source and calendar."""

    formats: list[str | None]
    joins: bool
    series: tuple[tuple[str, str], ...]
    seasons: tuple[int, ...]
    longest_gap: int


def _read(file: Path) -> _Table:
    if file.suffix.lower() in (".parquet", ".pq") or file.read_bytes()[:4] == b"PAR1":
        return _read_parquet(file)
    first_error: SourceError | None = None
    for encoding in _ENCODINGS:
        source = Source(type=SourceType.CSV, path=file, encoding=encoding)
        try:
            header, rows, _ = read_table(replace(source, delimiter=_delimiter(file, encoding)), file)
        except SourceError as error:
            first_error = first_error or error
            continue
        source = replace(source, delimiter=_delimiter(file, encoding))
        if len(rows) < 2:
            raise SourceError("the file has fewer than two rows", value=file)
        return _Table(source=source, header=header, rows=rows)
    assert first_error is not None
    raise first_error


def _delimiter(file: Path, encoding: str) -> str:
    """The mark that splits the header into most columns."""
    with file.open(encoding=encoding, errors="replace") as lines:
        header = next((line for line in lines if line.strip()), "")
    return max(_DELIMITERS, key=header.count)


def _read_parquet(file: Path) -> _Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(file, partitioning=None)
    except pa.ArrowInvalid as error:
        raise SourceError("this is no Parquet file", value=file) from error
    columns = [["" if cell is None else str(cell) for cell in column.to_pylist()] for column in table.columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    if len(rows) < 2:
        raise SourceError("the file has fewer than two rows", value=file)
    return _Table(source=Source(type=SourceType.PARQUET, path=file), header=table.column_names, rows=rows)


def _date_column(table: _Table) -> tuple[str, list[str | None]]:
    """Return the first column that reads as dates, with the formats that read all of it."""
    for column in table.header:
        cells = table.cells(column)
        if all(re.match(r"\d{4}-\d{2}", cell) for cell in cells[:50]) and _readable(cells):
            return column, [None]
        formats = possible_formats(cells) if re.match(r"\d{1,4}[/. -]\d{1,2}[/. -]\d", cells[0]) else []
        if formats:
            return column, list(formats)
    raise SourceError(
        "no column reads as dates", value=", ".join(table.header), allowed="ISO, d/m/y, m/d/y or y/m/d"
    )


def _readable(cells: list[str]) -> bool:
    try:
        parse_dates(cells, np.arange(len(cells)), place="", date_format=None)
    except SourceError:
        return False
    return True


def _value_column(table: _Table) -> tuple[str, tuple[str, str]]:
    """A column of numbers: one with a usual name, else the first that is no flag."""
    numeric: list[tuple[str, tuple[str, str]]] = []
    for column in table.header:
        cells = table.cells(column)
        marks = _marks(cells)
        if column != table.source.date_column and marks is not None and len(set(cells)) > 2:
            numeric.append((column, marks))
    if not numeric:
        raise SourceError("no column reads as numbers", value=", ".join(table.header))
    usual = [item for item in numeric if item[0].lower() in _VALUE_NAMES]
    return (usual or numeric)[0]


def _marks(cells: Sequence[str]) -> tuple[str, str] | None:
    """Decimal and thousands mark that read every cell, or None."""
    if all(cell.lower() in MISSING for cell in cells):
        return None
    lines = np.arange(len(cells))
    for decimal, thousands in _MARKS:
        try:
            parse_numbers(cells, lines, place="", column="", decimal=decimal, thousands=thousands)
        except SourceError:
            continue
        return decimal, thousands
    return None


def _dates(table: _Table) -> Dates:
    """Distinct dates of the rows that have a value, ascending."""
    stamps, values = table.cells(table.source.date_column), table.cells(str(table.source.value_column))
    cells = [stamp for stamp, value in zip(stamps, values, strict=True) if value.lower() not in MISSING]
    dates = parse_dates(cells, np.arange(len(cells)), place="", date_format=table.source.date_format)
    return np.unique(dates)


def _one_series(table: _Table) -> tuple[tuple[tuple[str, str], ...], _Table]:
    """Filter a long file to the series of its first row, one column of texts after the other."""
    chosen: list[tuple[str, str]] = []
    texts = [c for c in table.header if c != table.source.date_column and _marks(table.cells(c)) is None]
    while texts and _repeats(table) > 0:
        shorter = {column: _first_only(table, column) for column in texts}
        best = min(texts, key=lambda column: len(shorter[column].rows))
        if len(shorter[best].rows) == len(table.rows):
            break
        chosen.append((best, table.cells(best)[0]))
        table = shorter[best]
        texts.remove(best)
    return tuple(chosen), table


def _repeats(table: _Table) -> int:
    cells = table.cells(table.source.date_column)
    return len(cells) - len(set(cells))


def _first_only(table: _Table, column: str) -> _Table:
    names = table.cells(column)
    rows = [row for row, name in zip(table.rows, names, strict=True) if name == names[0]]
    return replace(table, rows=rows)


def _calendar_of(dates: Dates) -> tuple[Calendar, bool]:
    """Calendar by the usual spacing of the dates, and whether rows must be joined to sessions."""
    if len(dates) < 2:
        raise SourceError("one date is no series", value=str(dates[0]) if len(dates) else "none")
    steps = np.diff(dates).astype(np.int64)
    usual = float(np.median(steps)) / 86400
    if usual < 0.9:
        return _intraday(steps)
    weekend = ~np.is_busday(dates.astype("datetime64[D]"))
    if usual < 1.5:
        kind = CalendarKind.DAILY if weekend.mean() > 0.05 else CalendarKind.BUSINESS
    elif usual < 20:
        kind = CalendarKind.WEEKLY
    else:
        kind = CalendarKind.MONTHLY if usual < 60 else CalendarKind.QUARTERLY
    return Calendar(kind=kind), False


def _longest_gap(dates: Dates, calendar: Calendar) -> int:
    """Longest run of sessions without a row, once rows are one per session."""
    starts = np.unique(session_start(calendar, dates)) if calendar.kind is CalendarKind.INTRADAY else dates
    return int(gap_lengths(starts, calendar)[1].max(initial=0))


def _intraday(steps: Ints) -> tuple[Calendar, bool]:
    """The usual step in minutes when it divides a day and rows keep to it, else hourly means."""
    minutes = int(np.median(steps)) // 60
    regular = minutes > 0 and 1440 % minutes == 0 and bool((steps % (60 * minutes) == 0).all())
    return Calendar(kind=CalendarKind.INTRADAY, minutes=minutes if regular else 60), not regular


def _toml(file: Path, source: Source, calendar: Calendar, notes: _Notes) -> str:
    name = re.sub(r"[^a-z0-9_-]+", "_", file.stem.lower()).strip("_") or "target"
    lines = [
        f"# Proposed from {file.name}; correct it, then try: horizoncast data check",
        f"name = {_quoted(name)}",
        'unit = "unit"                # say what a value is, as in "CLP per USD"',
        'scale = "auto"               # or "log", "level"',
        f"# seasons found usable, in sessions: {list(notes.seasons)}; write periods = [] for a price",
        'periods = "auto"',
        *(['aggregate = "mean"           # several rows become one session'] if notes.joins else []),
        "",
        "[source]",
        f"type = {_quoted(str(source.type))}",
        f"path = {_quoted(str(file))}",
        f"date_column = {_quoted(source.date_column)}",
        f"value_column = {_quoted(str(source.value_column))}",
        *_format_lines(source, notes),
        "",
        "[calendar]",
        f"kind = {_quoted(str(calendar.kind))}",
    ]
    if calendar.kind is CalendarKind.INTRADAY:
        lines.append(f"minutes = {calendar.minutes}")
    if calendar.kind is CalendarKind.BUSINESS:
        lines.append('# country = "CL"             # its holidays are no sessions')
    if notes.longest_gap > Missing(policy=Fill.CARRY).max_gap:
        lines += [
            "",
            "[missing]",
            f"max_gap = {notes.longest_gap}   # the longest one in the file, in sessions",
        ]
    return "\n".join(lines) + "\n"


def _format_lines(source: Source, notes: _Notes) -> list[str]:
    """Only what differs from the defaults."""
    lines = []
    if source.date_format is not None:
        others = [text for text in notes.formats[1:] if text is not None]
        doubt = f"   # or {' or '.join(others)}: the file does not tell" if others else ""
        lines.append(f"date_format = {_quoted(source.date_format)}{doubt}")
    for key, usual in (("decimal", "."), ("thousands", ""), ("delimiter", ","), ("encoding", "utf-8")):
        value = getattr(source, key)
        if value != usual:
            lines.append(f"{key} = {_quoted(value)}")
    if notes.series:
        pairs = ", ".join(f"{_quoted(column)} = {_quoted(value)}" for column, value in notes.series)
        lines.append(f"filter = {{ {pairs} }}   # one series of a long file")
    return lines


def _quoted(text: str) -> str:
    """Write a TOML basic string."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t")
    return f'"{escaped}"'
