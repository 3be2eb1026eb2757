from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.load import check_target
from horizoncast.data.target import Aggregate, SourceType, Target
from horizoncast.data.target_file import parse_target
from horizoncast.data.wizard import propose_target
from horizoncast.errors import SourceError
from support import shared_data

NOW = np.datetime64("2026-01-01")


def proposed(file: Path) -> Target:
    return parse_target(propose_target(file), place="new.toml", folder=Path())


def dated(kind: str, form: str, count: int = 60, minutes: int = 60) -> str:
    calendar = Calendar(kind=CalendarKind(kind), minutes=minutes)
    dates = calendar.future(np.datetime64("2005-01-05T00:00:00"), count)
    return "".join(f"{d.astype(object).strftime(form)};{i + 1},25\n" for i, d in enumerate(dates))


def test_spanish_file(tmp_path: Path) -> None:
    file = tmp_path / "Dólar Observado.csv"
    file.write_bytes(("Día;Valor\n" + dated("business", "%d-%m-%Y")).encode("cp1252"))
    target = proposed(file)
    source = target.source
    assert (source.delimiter, source.decimal, source.encoding) == (";", ",", "cp1252")
    assert (source.date_column, source.value_column, source.date_format) == ("Día", "Valor", "%d-%m-%Y")
    assert target.calendar.kind is CalendarKind.BUSINESS and target.name == "d_lar_observado"
    assert check_target(target, now=NOW).errors == ()


@pytest.mark.parametrize("kind", ["daily", "weekly", "monthly", "quarterly", "business"])
def test_calendar_from_spacing(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text("date;v\n" + dated(kind, "%Y-%m-%d"))
    target = proposed(file)
    assert target.calendar.kind == kind
    assert check_target(target, now=NOW).errors == ()


def test_intraday_and_irregular(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("stamp;v\n" + dated("intraday", "%Y-%m-%dT%H:%M", 200, minutes=15))
    assert proposed(file).calendar.minutes == 15
    stamps = np.datetime64("2020-01-01", "s") + np.cumsum(np.random.default_rng(0).integers(200, 900, 900))
    file.write_text("stamp,v\n" + "".join(f"{s},{i}\n" for i, s in enumerate(stamps)))
    target = proposed(file)
    assert target.calendar.minutes == 60 and target.aggregate is Aggregate.MEAN
    assert check_target(target, now=NOW).errors == ()


def test_a_format_the_file_does_not_prove_is_said(tmp_path: Path) -> None:
    file = tmp_path / "x.csv"
    file.write_text("date,v\n" + "".join(f"{d:02d}/{m:02d}/2024,{d}\n" for m in (1, 2) for d in range(1, 13)))
    text = propose_target(file)
    assert 'date_format = "%d/%m/%Y"   # or %m/%d/%Y: the file does not tell' in text


def test_long_gap_is_written_down(tmp_path: Path) -> None:
    lines = dated("daily", "%Y-%m-%d", 200).splitlines(keepends=True)
    file = tmp_path / "x.csv"
    file.write_text("date;v\n" + "".join(lines[:100] + lines[115:]))
    target = proposed(file)
    assert target.missing.max_gap == 15 and check_target(target, now=NOW).errors == ()


def test_parquet(tmp_path: Path) -> None:
    file = tmp_path / "x.parquet"
    dates = np.arange("2020-01-01", "2020-06-01", dtype="datetime64[D]")
    pq.write_table(pa.table({"note": ["a"] * len(dates), "d": dates, "v": np.arange(len(dates)) * 1.0}), file)
    target = proposed(file)
    assert target.source.type is SourceType.PARQUET
    assert (target.source.date_column, target.source.value_column) == ("d", "v")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "empty"),
        ("date,v\n2024-01-01,1\n", "fewer than two rows"),
        ("a,b\nx,1\ny,2\n", "no column reads as dates"),
        ("date,b\n2024-01-01,x\n2024-01-02,y\n", "no column reads as numbers"),
        ("<html>", "web page"),
    ],
)
def test_what_is_no_table_of_dates_and_numbers(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "x.csv"
    file.write_text(content)
    with pytest.raises(SourceError, match=message):
        propose_target(file)


def test_no_parquet_and_no_file(tmp_path: Path) -> None:
    (tmp_path / "x.parquet").write_text("date,v")
    with pytest.raises(SourceError, match="no Parquet"):
        propose_target(tmp_path / "x.parquet")
    with pytest.raises(SourceError, match="does not exist"):
        propose_target(tmp_path / "y.csv")


@pytest.mark.parametrize(
    ("name", "kind", "filters"),
    [
        ("airpassengers_monthly.csv", "monthly", []),
        ("bike_sharing_daily.csv", "daily", []),
        ("co2_weekly.csv", "weekly", []),
        ("nab_anomaly.parquet", "intraday", ["unique_id"]),
        ("tourism_australia_quarterly.parquet", "quarterly", ["region", "purpose"]),
        ("us_macro_quarterly.csv", "quarterly", []),
        ("usdclp_panel_daily.csv", "business", []),
        ("vic_electricity_halfhourly.parquet", "intraday", []),
        ("walmart_weekly.csv", "weekly", ["unique_id"]),
    ],
)
def test_proposals_for_real_files_load(name: str, kind: str, filters: list[str]) -> None:
    target = proposed(shared_data(name))
    assert target.calendar.kind == kind
    assert {column for column, _ in target.source.filter} == set(filters)
    assert check_target(target, now=NOW).errors == ()
