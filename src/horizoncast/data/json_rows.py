"""JSON answers to rows: a dotted path to the records, a field for the date, fields for the values.

Letters in shapes: n rows, C columns.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping, Sequence

import numpy as np

from horizoncast.calendar import Dates
from horizoncast.data.cells import Lines, parse_dates, parse_numbers
from horizoncast.data.sources import Rows
from horizoncast.data.target import Source
from horizoncast.errors import SourceError
from horizoncast.series import Floats

LARGEST = sys.float_info.max

KEY = "@key"
"""The field that stands for a record's own key, where the records are an object and no list."""

EPOCHS = {"epoch": 1, "epoch_ms": 1000}
"""Values of date_format for dates that are counts since 1970, and how many make a second."""


def parse_json_rows(source: Source, data: bytes, place: str, columns: Sequence[str], *, utc: bool) -> Rows:
    """Rows of a JSON answer; an empty list of records gives no rows.

    Raises
    ------
    SourceError
        When it is no JSON, has no records where they should be, or a record lacks a field.
    """
    assert source.feed is not None
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SourceError(
            f"{place}: the answer is no JSON", value=error, action="it may be cut; pull again"
        ) from None
    records = _records(document, source.feed.records, place)
    records = [r for r in records if all(str(_field(r, c, place)) == v for c, v in source.filter)]
    lines = np.arange(1, len(records) + 1, dtype=np.int64)
    stamps = [_field(record, source.date_column, place) for record in records]
    values = [_numbers([_field(r, c, place) for r in records], lines, place, c, source) for c in columns]
    return Rows(
        place=place,
        lines=lines,
        dates=_dates(stamps, lines, place, source, utc=utc),
        names=tuple(columns),
        values=np.column_stack(values) if values else np.empty((len(records), 0)),
    )


def _records(document: object, path: str, place: str) -> list[object]:
    found = _walk(document, path, place) if path else document
    if isinstance(found, Mapping):
        return [
            {**item, KEY: key} if isinstance(item, Mapping) else {KEY: key, "value": item}
            for key, item in found.items()
        ]
    if not isinstance(found, list):
        raise SourceError(
            f"{place}: no records in the answer",
            value=f"{path or 'the answer'} is {_kind(found)}",
            allowed="a list, or an object of records",
            action="set records to the dotted path of the list",
        )
    return found


def _walk(document: object, path: str, place: str) -> object:
    """Follow a dotted path through objects and lists."""
    here = document
    for part in path.split("."):
        if isinstance(here, Mapping) and part in here:
            here = here[part]
        elif isinstance(here, list) and part.isdigit() and int(part) < len(here):
            here = here[int(part)]
        else:
            known = ", ".join(map(str, here)) if isinstance(here, Mapping) else _kind(here)
            raise SourceError(f"{place}: the answer has no such field", value=path, allowed=known[:200])
    return here


def _field(record: object, name: str, place: str) -> object:
    if isinstance(record, Mapping) and name in record:
        return record[name]
    return _walk(record, name, place)


def _kind(value: object) -> str:
    return "missing" if value is None else f"a {type(value).__name__}"


def _dates(stamps: list[object], lines: Lines, place: str, source: Source, *, utc: bool) -> Dates:
    scale = EPOCHS.get(source.date_format or "")
    if scale is None:
        cells = [str(stamp).strip() for stamp in stamps]
        return parse_dates(cells, lines, place=place, date_format=source.date_format, utc=utc)
    seconds = _numbers(stamps, lines, place, source.date_column, source) / scale
    if not np.isfinite(seconds).all():
        raise SourceError(f"{place}: a date is missing", action="remove or complete the record")
    return np.floor(seconds).astype(np.int64).astype("datetime64[s]")


def _numbers(cells: list[object], lines: Lines, place: str, column: str, source: Source) -> Floats:
    """JSON numbers as they are; texts with the declared decimal mark."""
    out = np.full(len(cells), math.nan)
    texts = [i for i, cell in enumerate(cells) if isinstance(cell, str)]
    for i, cell in enumerate(cells):
        if isinstance(cell, bool | int | float):
            out[i] = _finite(cell)
        elif cell is not None and not isinstance(cell, str):
            raise SourceError(f"{place}, row {lines[i]}: {column} is no number", value=_kind(cell))
    if texts:
        out[texts] = parse_numbers(
            [str(cells[i]).strip() for i in texts],
            lines[texts],
            place=place,
            column=column,
            decimal=source.decimal,
            thousands=source.thousands,
        )
    return out


def _finite(number: float) -> float:
    """A number as float; one that no float can hold counts as missing, like infinity."""
    return float(number) if abs(number) < math.inf and abs(number) <= LARGEST else math.nan
