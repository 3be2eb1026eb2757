from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import CalendarKind
from horizoncast.data.target import Aggregate, Fill, SourceType
from horizoncast.data.target_file import parse_target, read_target
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.series import Scale

MINIMAL = """
name = "x"
unit = "u"
[source]
type = "csv"
path = "x.csv"
value_column = "v"
[calendar]
kind = "daily"
"""


def parse(text: str, folder: str = "/somewhere") -> object:
    return parse_target(text, place="x.toml", folder=Path(folder))


def test_defaults() -> None:
    target = parse_target(MINIMAL, place="x.toml", folder=Path("/somewhere/conf"))
    assert target.scale is None and target.periods is None and target.max_staleness is None
    assert target.missing.policy is Fill.CARRY
    assert target.source.path == Path("/somewhere/conf/x.csv")
    assert target.source.date_column == "date"


def test_relative_path_starts_at_the_toml_file(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "t.toml").write_text(MINIMAL.replace("x.csv", "../x.csv"))
    assert read_target(folder / "t.toml").source.path == tmp_path / "a" / "x.csv"


def test_everything_declared_is_read() -> None:
    text = """
    name = "full"
    unit = "u"
    scale = "level"
    periods = [24, 168]
    nonnegative = true
    dating_offset = 1
    max_staleness = 3
    aggregate = "sum"
    start = 2010-01-02
    [source]
    type = "parquet"
    path = "/abs/x.parquet"
    date_column = "d"
    value_column = "v"
    date_format = "%d/%m/%Y"
    decimal = ","
    thousands = "."
    delimiter = ";"
    encoding = "latin-1"
    filter = { id = "a", n = 3 }
    [calendar]
    kind = "intraday"
    minutes = 30
    [missing]
    policy = "seasonal"
    max_gap = 4
    [checks]
    jump_warning = 5
    min_history = 50
    [[covariates]]
    name = "c"
    column = "k"
    publication_lag = 2
    max_carry = 7
    [[covariates]]
    name = "e"
    source = { type = "ecb", pair = "EURUSD" }
    known_future = true
    """
    target = parse_target(text, place="x.toml", folder=Path())
    assert target.scale is Scale.LEVEL and target.periods == (24, 168) and target.nonnegative
    assert (target.dating_offset, target.max_staleness, target.aggregate) == (1, 3, Aggregate.SUM)
    assert target.start == np.datetime64("2010-01-02")
    assert target.source.filter == (("id", "a"), ("n", "3"))
    assert (target.source.decimal, target.source.thousands, target.source.delimiter) == (",", ".", ";")
    assert target.calendar.kind is CalendarKind.INTRADAY and target.calendar.minutes == 30
    assert (target.missing.policy, target.missing.max_gap) == (Fill.SEASONAL, 4)
    assert (target.checks.jump_warning, target.checks.min_history) == (5.0, 50)
    first, second = target.covariates
    assert (first.column, first.publication_lag, first.max_carry, first.source) == ("k", 2, 7, None)
    assert second.source is not None and second.source.type is SourceType.ECB and second.known_future


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('unit = "u"', 'unti = "u"', "did you mean unit"),
        ('value_column = "v"', 'value_colum = "v"', "did you mean value_column"),
        ('kind = "daily"', 'kind = "dayly"', "did you mean daily"),
        ('type = "csv"', 'type = "paquet"', "did you mean parquet"),
        ('kind = "daily"', 'kind = "daily"\n[missing]\npolicy = "cary"', "did you mean carry"),
        ('kind = "daily"', 'kind = "daily"\n[[covariates]]\nnmae = "c"', "did you mean name"),
    ],
)
def test_unknown_names_get_a_hint(old: str, new: str, hint: str) -> None:
    with pytest.raises(UnknownNameError, match=hint) as caught:
        parse(MINIMAL.replace(old, new))
    assert "x.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('unit = "u"', "unit = 3", "unit"),
        ('unit = "u"', 'unit = "u"\ndating_offset = "1"', "dating_offset"),
        ('unit = "u"', 'unit = "u"\ndating_offset = true', "dating_offset"),
        ('unit = "u"', 'unit = "u"\nnonnegative = 1', "nonnegative"),
        ('unit = "u"', 'unit = "u"\nperiods = "weekly"', "periods"),
        ('unit = "u"', 'unit = "u"\nperiods = [true]', "periods"),
        ('unit = "u"', 'unit = "u"\nstart = "yesterday"', "start"),
        ('unit = "u"', 'unit = "u"\nmissing = 3', "missing"),
        ('unit = "u"', 'unit = "u"\ncovariates = ["wti"]', "covariates"),
        ('kind = "daily"', 'kind = "business"\nclosed = ["31.12.2024"]', "closed"),
        ('kind = "daily"', 'kind = "business"\nclosed = "2024-12-31"', "closed"),
        ('kind = "daily"', 'kind = "daily"\n[checks]\njump_error = "x"', "jump_error"),
        ('value_column = "v"', 'value_column = "v"\nfilter = "a"', "filter"),
    ],
)
def test_wrong_types_name_file_and_key(old: str, new: str, key: str) -> None:
    with pytest.raises(ConfigError, match=key) as caught:
        parse(MINIMAL.replace(old, new))
    assert "x.toml" in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('name = "x"', 'name = "USD/CLP"', "name of a folder"),
        ('name = "x"\n', "", "name is missing"),
        ('path = "x.csv"\n', "", "needs a path"),
        ('value_column = "v"\n', "", "value_column is not declared"),
        ('type = "csv"', 'type = "ecb"', "needs a pair"),
        ('type = "csv"', 'type = "csv"\ndecimal = ";"', "decimal mark"),
        ('type = "csv"', 'type = "csv"\nthousands = "."', "thousands mark"),
        ('type = "csv"', 'type = "csv"\ndelimiter = "ab"', "one character"),
        ('[calendar]\nkind = "daily"', "", r"\[source\] and \[calendar\]"),
        ('kind = "daily"', 'kind = "daily"\n[missing]\npolicy = "drop"', "does not fit a daily calendar"),
        ('kind = "daily"', 'kind = "business"\n[missing]\npolicy = "carry"', "does not fit a business"),
        ('kind = "daily"', 'kind = "daily"\n[missing]\nmax_gap = -1', "max_gap is too small"),
        ('unit = "u"', 'unit = "u"\nperiods = [7, 7]', "increase from 2"),
        ('kind = "daily"', 'kind = "daily"\n[[covariates]]\nname="a"\n[[covariates]]\nname="a"', "repeat"),
        ('kind = "daily"', 'kind = "daily"\n[[covariates]]\nname="a"\nmax_carry=-1', "are counts"),
        ('name = "x"', 'name = "x', "no valid TOML"),
    ],
)
def test_what_cannot_mean_anything_is_refused(old: str, new: str, message: str) -> None:
    assert old in MINIMAL
    with pytest.raises(ConfigError, match=message):
        parse(MINIMAL.replace(old, new))


def test_ecb_target_has_no_columns() -> None:
    text = 'name="x"\nunit="u"\n[source]\ntype="ecb"\npair="USDMXN"\n[calendar]\nkind="business"\n'
    with pytest.raises(ConfigError, match="no columns for its covariates"):
        parse(text + '[[covariates]]\nname="wti"')


def test_missing_file_and_bad_encoding(tmp_path: Path) -> None:
    (tmp_path / "usdclp.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match=r"does not exist.*usdclp\.toml"):
        read_target(tmp_path / "usdcpl.toml")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read_target(tmp_path / "usdclp.toml")
