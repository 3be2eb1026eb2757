"""Read raw rows from CSV, Parquet or the embedded ECB history, with the line each came from.

Nothing is judged here beyond being readable; `checks` does that. pandas is not imported: the csv
module knows the line number of every row, which is what an error must name.

Letters in shapes: n rows, C columns.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.data.cells import Lines, parse_dates, parse_numbers
from horizoncast.data.ecb import ecb_pair
from horizoncast.data.target import Source, SourceType
from horizoncast.errors import SourceError, close_match
from horizoncast.series import Floats

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """Rows as they lie in a source.

    Parameters
    ----------
    place
        The source, as messages name it.
    lines
        (n,) line numbers in the file (its header is line 1); for Parquet and ECB the row number.
    dates
        (n,) datetime64[s].
    names
        C column names.
    values
        (n, C) NaN where a cell is empty.
    """

    place: str
    lines: Lines
    dates: Dates
    names: tuple[str, ...]
    values: Floats

    def __len__(self) -> int:
        return len(self.dates)

    def column(self, name: str) -> Floats:
        """(n,) one column."""
        return np.asarray(self.values[:, self.names.index(name)])

    def take(self, chosen: npt.NDArray[Any]) -> Rows:
        """Rows by mask or by index."""
        return Rows(
            place=self.place,
            lines=self.lines[chosen],
            dates=self.dates[chosen],
            names=self.names,
            values=self.values[chosen],
        )


def read_rows(source: Source, columns: Sequence[str], *, utc: bool = True) -> Rows:
    """Read the date column and the named columns of a source.

    Parameters
    ----------
    source
        Where to read.
    columns
        Columns of the file; ignored for ECB, whose one column is the pair.
    utc
        Whether stamps with a time zone become UTC or keep their own clock (see `parse_dates`).

    Raises
    ------
    SourceError
        With file, row, value and what to do.
    """
    if source.type == SourceType.ECB:
        return _read_ecb(source)
    assert source.path is not None
    if not source.path.is_file():
        raise SourceError(
            "the data file does not exist",
            value=source.path,
            action="correct path in [source]; a relative path starts at the target's own file",
        )
    if source.path.stat().st_size == 0:
        raise SourceError("the data file is empty", value=source.path, action="write it again")
    wanted = tuple(dict.fromkeys(columns))
    reader = _read_csv if source.type == SourceType.CSV else _read_parquet
    rows = reader(source, source.path, wanted, utc)
    if not len(rows):
        raise SourceError(
            "the data file has no rows" + (" that match the filter" if source.filter else ""),
            value=source.path,
        )
    return rows


def read_table(source: Source, path: Path) -> tuple[list[str], list[list[str]], Lines]:
    """Read a CSV file as text: header, stripped rows, and the (n,) line number of each; see `parse_table`."""
    return parse_table(source, path.read_bytes(), str(path))


def parse_table(source: Source, data: bytes, place: str) -> tuple[list[str], list[list[str]], Lines]:
    """Read the bytes of a CSV as text; `place` names them in messages.

    Raises
    ------
    SourceError
        For an HTML page, a wrong encoding, or a row with more or fewer cells than the header.
    """
    reader = csv.reader(io.StringIO(_decoded(source, data, place), newline=""), delimiter=source.delimiter)
    header: list[str] = []
    rows, lines = [], []
    try:
        for raw in reader:
            cells = [cell.strip() for cell in raw]
            if not any(cells):
                continue
            if not header:
                header = cells
                continue
            rows.append(_checked_width(cells, header, place, reader.line_num))
            lines.append(reader.line_num)
    except csv.Error as error:
        raise SourceError(f"{place}, row {reader.line_num}: no valid CSV", value=error) from error
    return header, rows, np.array(lines, dtype=np.int64)


def _decoded(source: Source, data: bytes, place: str) -> str:
    encoding = "utf-8-sig" if source.encoding.lower() in ("utf-8", "utf8") else source.encoding
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{place}: not {source.encoding} at byte {error.start}",
            action='declare the encoding in [source], often "latin-1" or "utf-16"',
        ) from error
    except LookupError as error:
        raise SourceError("unknown encoding", value=source.encoding, allowed="such as utf-8") from error
    if text.lstrip()[:200].lower().startswith(("<!doctype", "<html", "<?xml")):
        raise SourceError(
            f"{place}, row 1: this is a web page, not a CSV file",
            value=repr(text.lstrip()[:40]),
            action="download the data again; the server answered with a page, often a login or an error",
        )
    return text


def _checked_width(cells: list[str], header: list[str], place: str, line: int) -> list[str]:
    if len(cells) > len(header) and not any(cells[len(header) :]):
        return cells[: len(header)]  # trailing delimiters
    if len(cells) != len(header):
        raise SourceError(
            f"{place}, row {line}: the row has {len(cells)} cells and the header {len(header)}",
            value=repr(cells[0]),
            action="check the delimiter, the decimal mark and unquoted commas",
        )
    return cells


def _read_csv(source: Source, path: Path, wanted: tuple[str, ...], utc: bool) -> Rows:
    return parse_csv(source, path.read_bytes(), str(path), wanted, utc=utc)


def parse_csv(source: Source, data: bytes, path: str, wanted: tuple[str, ...], *, utc: bool) -> Rows:
    """Rows of the bytes of a CSV; `path` names them in messages."""
    header, rows, lines = parse_table(source, data, path)
    if not header:
        raise SourceError("the data file is empty", value=path, action="write it again")
    for column, value in source.filter:
        at = _place_of(column, header, path, source)
        keep = [i for i, row in enumerate(rows) if row[at] == value]
        _check_filter(bool(keep), column, value, (row[at] for row in rows), path)
        rows, lines = [rows[i] for i in keep], lines[keep]
    where = _place_of(source.date_column, header, path, source)
    places = [_place_of(column, header, path, source) for column in wanted]
    values = [_numbers([row[at] for row in rows], lines, path, header[at], source) for at in places]
    dates = [row[where] for row in rows]
    return Rows(
        place=path,
        lines=lines,
        dates=parse_dates(dates, lines, place=path, date_format=source.date_format, utc=utc),
        names=wanted,
        values=np.column_stack(values) if values else np.empty((len(rows), 0)),
    )


def _numbers(cells: list[str], lines: Lines, path: Path | str, column: str, source: Source) -> Floats:
    return parse_numbers(
        cells, lines, place=str(path), column=column, decimal=source.decimal, thousands=source.thousands
    )


def _place_of(column: str, header: Sequence[str], path: Path | str, source: Source) -> int:
    """Index of a column, or the error that names the nearest one."""
    if header.count(column) == 1:
        return header.index(column)
    if header.count(column) > 1:
        raise SourceError(
            f"{path}: the column appears twice", value=repr(column), action="rename one of them"
        )
    action = close_match(column, header)
    other = next((mark for mark in ";\t|," if mark != source.delimiter and mark in header[0]), None)
    if len(header) == 1 and other is not None:
        action = f"the header looks separated by {other!r}: set delimiter = {other!r} in [source]"
    raise SourceError(f"{path}: no such column", value=repr(column), allowed=", ".join(header), action=action)


def _check_filter(hit: bool, column: str, value: str, present: Any, path: Path | str) -> None:
    if hit:
        return
    values = sorted(set(present))
    raise SourceError(
        f"{path}: no row where {column} is this value",
        value=repr(value),
        allowed=", ".join(values[:20]) + (", ..." if len(values) > 20 else ""),
        action=close_match(value, values),
    )


def _read_parquet(source: Source, path: Path, wanted: tuple[str, ...], utc: bool) -> Rows:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    try:
        header = pq.read_schema(path).names
        needed = dict.fromkeys([source.date_column, *wanted, *(column for column, _ in source.filter)])
        for column in needed:
            _place_of(column, header, path, source)
        table = pq.read_table(path, columns=list(needed), partitioning=None)
    except pa.ArrowInvalid as error:
        raise SourceError("this is no Parquet file", value=path, action="check type in [source]") from error
    lines = np.arange(1, len(table) + 1, dtype=np.int64)
    for column, value in source.filter:
        texts = pc.cast(table[column], pa.string())
        keep = np.asarray(pc.fill_null(pc.equal(texts, value), False))
        _check_filter(bool(keep.any()), column, value, texts.unique().drop_null().to_pylist(), path)
        table, lines = table.filter(pa.array(keep)), lines[keep]
    values = [_arrow_numbers(table[column], lines, path, column, source) for column in wanted]
    return Rows(
        place=str(path),
        lines=lines,
        dates=_arrow_dates(table[source.date_column], lines, path, source, utc=utc),
        names=wanted,
        values=np.column_stack(values) if values else np.empty((len(lines), 0)),
    )


def _arrow_dates(column: pa.ChunkedArray, lines: Lines, path: Path, source: Source, *, utc: bool) -> Dates:
    """Timestamps, dates, or texts in the declared format."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if column.null_count:
        first = int(np.flatnonzero(np.asarray(column.is_null()))[0])
        raise SourceError(f"{path}, row {lines[first]}: the date is missing", action="remove or complete it")
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        zone = getattr(kind, "tz", None)
        stamps = pc.local_timestamp(column) if zone is not None and not utc else column
        seconds = stamps.cast(pa.timestamp("s", tz=zone if utc else None), safe=False)
        return np.asarray(seconds).astype("datetime64[s]")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind):
        cells = [str(cell).strip() for cell in column.to_pylist()]
        return parse_dates(cells, lines, place=str(path), date_format=source.date_format, utc=utc)
    raise SourceError(
        f"{path}: the date column holds no dates",
        value=kind,
        allowed="timestamps, dates or texts",
        action="name another date_column, or convert it",
    )


def _arrow_numbers(column: pa.ChunkedArray, lines: Lines, path: Path, name: str, source: Source) -> Floats:
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return np.asarray(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    cells = ["" if cell is None else str(cell).strip() for cell in column.to_pylist()]
    return _numbers(cells, lines, path, name, source)


def _read_ecb(source: Source) -> Rows:
    assert source.pair is not None
    dates, values = ecb_pair(source.pair[:3], source.pair[3:])
    return Rows(
        place=source.place,
        lines=np.arange(1, len(dates) + 1, dtype=np.int64),
        dates=dates,
        names=(source.pair,),
        values=values[:, None],
    )
