"""Cells of a file to dates and numbers; an error names row, value and what to do.

Letters in shapes: n rows.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.errors import SourceError
from horizoncast.series import Floats

Lines = npt.NDArray[np.int64]

MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", ".", "-", "nd", "#n/a"})
"""Cells that stand for no value, in lower case (FRED writes a point, the BCCh ND)."""

_FLAGS = {"true": "1", "false": "0"}
_SLASHED = re.compile(r"(\d{1,2})([/.-])(\d{1,2})\2(\d{2}|\d{4})\b")


def parse_dates(
    cells: Sequence[str], lines: Lines, *, place: str, date_format: str | None, utc: bool = True
) -> Dates:
    """Read dates, shape (n,), datetime64[s].

    Parameters
    ----------
    cells
        n texts, stripped.
    lines
        (n,) their line numbers in the file.
    place
        The file, as messages name it.
    date_format
        A strptime format, or None for ISO 8601.
    utc
        Stamps with a time zone become UTC (intraday series); else they keep their own clock, so that
        midnight in Tokyo stays its own day.

    Raises
    ------
    SourceError
        For the first cell that is not a date in this format, with a count of all; for slashed dates
        without a declared format, which may be day/month or month/day.
    """
    known: dict[str, datetime.datetime | None] = {}
    for cell in cells:
        if cell not in known:
            known[cell] = _parse_date(cell, date_format)
    bad = [i for i, cell in enumerate(cells) if known[cell] is None]
    if bad:
        raise _date_error(cells, bad, lines, place, date_format)
    zoned = {stamp.tzinfo is not None for stamp in known.values() if stamp is not None}
    if len(zoned) > 1:
        raise SourceError(
            f"{place}: some dates carry a time zone and some do not", action="write all of them alike"
        )
    stamps = {cell: _plain(stamp, utc) for cell, stamp in known.items() if stamp is not None}
    return np.array([stamps[cell] for cell in cells], dtype="datetime64[s]")


def parse_numbers(
    cells: Sequence[str], lines: Lines, *, place: str, column: str, decimal: str, thousands: str
) -> Floats:
    """Read numbers, shape (n,), NaN where a cell stands for no value (`MISSING`).

    True and False become 1 and 0.

    Raises
    ------
    SourceError
        For the first cell that is no number with the declared marks, with a count of all.
    """
    plain = [_plain_number(cell, decimal, thousands) for cell in cells]
    bad = [i for i, text in enumerate(plain) if text is None]
    if bad:
        raise _number_error(
            cells, bad, lines, place=place, column=column, decimal=decimal, thousands=thousands
        )
    return np.array([text for text in plain if text is not None], dtype=np.float64)


def _plain(stamp: datetime.datetime, utc: bool) -> datetime.datetime:
    if stamp.tzinfo is None or not utc:
        return stamp.replace(tzinfo=None)
    return stamp.astimezone(datetime.UTC).replace(tzinfo=None)


def _parse_date(cell: str, date_format: str | None) -> datetime.datetime | None:
    try:
        if date_format is not None:
            return datetime.datetime.strptime(cell, date_format)
        return datetime.datetime.fromisoformat(cell) if "-" in cell[:5] else None
    except ValueError:
        return None


def _date_error(
    cells: Sequence[str], bad: list[int], lines: Lines, place: str, date_format: str | None
) -> SourceError:
    first = bad[0]
    where = f"{place}, row {lines[first]}: {{}}{_others(bad)}"
    cell = cells[first]
    if date_format is not None:
        return SourceError(
            where.format("the date does not match date_format"),
            value=repr(cell),
            allowed=date_format,
            action="correct the row, or declare the format the file has",
        )
    if _SLASHED.match(cell):
        return _slashed_error([cells[i] for i in bad], where)
    return SourceError(
        where.format("the date cannot be read"),
        value=repr(cell),
        allowed="ISO dates such as 2024-06-28",
        action="correct the row, or declare date_format (strptime) in [source]",
    )


def _slashed_error(cells: list[str], where: str) -> SourceError:
    """Day/month or month/day: say which one the file itself proves, and never choose silently."""
    formats = possible_formats(cells)
    known = "the date is ambiguous" if len(formats) != 1 else "the date is not ISO"
    choice = " or ".join(f'date_format = "{text}"' for text in formats)
    return SourceError(
        where.format(known),
        value=repr(cells[0]),
        allowed="ISO dates, or a declared date_format",
        action=f"set {choice} in [source]" if choice else "declare date_format in [source]",
    )


def possible_formats(cells: Sequence[str]) -> list[str]:
    """Return the day/month formats that read every cell, out of d/m/y, m/d/y and y/m/d.

    >>> possible_formats(["03/04/2024", "25/04/2024"])
    ['%d/%m/%Y']
    >>> possible_formats(["03/04/2024"])
    ['%d/%m/%Y', '%m/%d/%Y']
    """
    found = re.search(r"\d([/. -])\d", cells[0]) if cells else None
    mark = found.group(1) if found else "/"
    times = ("", " %H:%M", " %H:%M:%S")
    orders = ("dmY", "mdY", "dmy", "mdy", "Ymd")
    candidates = [mark.join(f"%{part}" for part in order) + time for order in orders for time in times]
    return [text for text in candidates if all(_parse_date(cell, text) is not None for cell in cells)]


def _plain_number(cell: str, decimal: str, thousands: str) -> str | None:
    """A cell as Python's float reads it, or None when it is no number."""
    text = cell.strip()
    if text.lower() in MISSING:
        return "nan"
    text = _FLAGS.get(text.lower(), text)
    if thousands and thousands in text:
        text = _without_thousands(text, decimal, thousands)
    if decimal == ",":
        if "." in text:
            return None
        text = text.replace(",", ".")
    return text if _is_number(text) else None


def _without_thousands(text: str, decimal: str, thousands: str) -> str:
    """Drop the marks when they really group by three; ``1.5`` is not fifteen."""
    whole, point, rest = text.partition(decimal)
    mark = re.escape(thousands)
    if not re.fullmatch(rf"[+-]?\d{{1,3}}({mark}\d{{3}})+", whole):
        return text + "?"
    return whole.replace(thousands, "") + point + rest


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return "_" not in text


def _number_error(
    cells: Sequence[str],
    bad: list[int],
    lines: Lines,
    *,
    place: str,
    column: str,
    decimal: str,
    thousands: str,
) -> SourceError:
    cell = cells[bad[0]]
    other = "," if decimal == "." else "."
    if other in cell and _plain_number(cell, other, "") not in (None, "nan"):
        action = f'set decimal = "{other}", or thousands = "{other}" if it groups thousands'
    elif other in cell and not thousands:
        action = f'set thousands = "{other}", or correct the row'
    else:
        action = "correct the cell, or leave it empty when the value is missing"
    marks = f"numbers with decimal mark {decimal!r}" + (f" and thousands {thousands!r}" if thousands else "")
    return SourceError(
        f"{place}, row {lines[bad[0]]}: {column} is no number{_others(bad)}",
        value=repr(cell),
        allowed=marks,
        action=action,
    )


def _others(bad: list[int]) -> str:
    return f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
