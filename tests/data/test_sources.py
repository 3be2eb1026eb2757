import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from horizoncast.data.cells import possible_formats
from horizoncast.data.sources import Rows, read_rows
from horizoncast.data.target import Source, SourceType
from horizoncast.errors import SourceError


def read(tmp_path: Path, content: str | bytes, columns: tuple[str, ...] = ("v",), **options: object) -> Rows:
    file = tmp_path / "x.csv"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return read_rows(Source(type=SourceType.CSV, path=file, **options), columns)  # type: ignore[arg-type]


def refused(tmp_path: Path, content: str | bytes, **options: object) -> str:
    with pytest.raises(SourceError) as caught:
        read(tmp_path, content, **options)
    message = str(caught.value)
    assert "x.csv" in message
    return message


def test_plain(tmp_path: Path) -> None:
    rows = read(tmp_path, "date,v\n2024-01-01,1.5\n2024-01-02,\n2024-01-03,N/A\n")
    assert rows.lines.tolist() == [2, 3, 4]
    assert rows.dates.astype(str).tolist()[0] == "2024-01-01T00:00:00"
    np.testing.assert_array_equal(rows.column("v"), [1.5, np.nan, np.nan])


def test_bom_crlf_spaces_blank_lines_and_trailing_delimiters(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf date , v \r\n2024-01-01 , 1.5 \r\n\r\n2024-01-02,2,,\r\n"
    rows = read(tmp_path, text)
    assert rows.column("v").tolist() == [1.5, 2.0]
    assert rows.lines.tolist() == [2, 4]


def test_line_numbers_survive_quoted_line_breaks(tmp_path: Path) -> None:
    text = 'date,note,v\n2024-01-01,"two\nlines",1\n2024-01-02,x,oops\n'
    assert "row 4: v is no number; got 'oops'" in refused(tmp_path, text)


def test_spanish_marks(tmp_path: Path) -> None:
    text = "fecha;v\n28-06-2024;1.234,5\n29-06-2024;944,25\n"
    rows = read(
        tmp_path, text, date_column="fecha", date_format="%d-%m-%Y", decimal=",", thousands=".", delimiter=";"
    )
    assert rows.column("v").tolist() == [1234.5, 944.25]
    assert str(rows.dates[0]) == "2024-06-28T00:00:00"


def test_flags_and_filter(tmp_path: Path) -> None:
    text = "id,date,v\na,2024-01-01,True\nb,2024-01-01,False\na,2024-01-02,false\n"
    rows = read(tmp_path, text, filter=(("id", "a"),))
    assert rows.column("v").tolist() == [1.0, 0.0] and rows.lines.tolist() == [2, 4]


def test_stamps_with_a_zone_become_utc(tmp_path: Path) -> None:
    rows = read(tmp_path, "date,v\n2024-01-01T00:30+02:00,1\n2024-01-01T01:30+02:00,1\n")
    assert str(rows.dates[0]) == "2023-12-31T22:30:00"
    file = Source(type=SourceType.CSV, path=tmp_path / "x.csv")
    assert str(read_rows(file, ["v"], utc=False).dates[0]) == "2024-01-01T00:30:00"
    message = refused(tmp_path, "date,v\n2024-01-01T00:30+02:00,1\n2024-01-01T01:30,1\n")
    assert "some dates carry a time zone" in message


def test_unparsable_date_names_row_value_and_count(tmp_path: Path) -> None:
    message = refused(tmp_path, "date,v\n2024-01-01,1\n2024-02-30,2\nsoon,3\n")
    assert "row 3: the date cannot be read (and 1 more); got '2024-02-30'" in message
    assert "date_format" in message


def test_compact_dates_need_a_format(tmp_path: Path) -> None:
    text = "date,v\n20240628,1\n"
    assert "cannot be read" in refused(tmp_path, text)
    assert str(read(tmp_path, text, date_format="%Y%m%d").dates[0]) == "2024-06-28T00:00:00"


def test_ambiguous_dates_ask_for_a_format(tmp_path: Path) -> None:
    message = refused(tmp_path, "date,v\n03/04/2024,1\n04/04/2024,2\n")
    assert "row 2: the date is ambiguous" in message
    assert '"%d/%m/%Y" or date_format = "%m/%d/%Y"' in message


def test_slashed_dates_that_prove_their_order_are_still_not_guessed(tmp_path: Path) -> None:
    message = refused(tmp_path, "date,v\n03/04/2024,1\n25/04/2024,2\n")
    assert "the date is not ISO" in message and 'set date_format = "%d/%m/%Y"' in message
    assert possible_formats(["99/99/2024"]) == []


def test_declared_format_that_does_not_match(tmp_path: Path) -> None:
    message = refused(tmp_path, "date,v\n03/04/2024,1\n04/25/2024,2\n", date_format="%d/%m/%Y")
    assert "row 3: the date does not match date_format" in message and "04/25/2024" in message


@pytest.mark.parametrize(
    ("cell", "options", "action"),
    [
        ('"12,5"', {}, 'set decimal = ","'),
        ('"1,234.5"', {}, 'set thousands = ","'),
        ("12.5", {"decimal": ","}, 'set decimal = "."'),
        ("1.5", {"decimal": ",", "thousands": "."}, 'set decimal = "."'),  # not fifteen
        ("12 CLP", {}, "correct the cell"),
        ("1_000", {}, "correct the cell"),
    ],
)
def test_cells_that_are_no_numbers(
    tmp_path: Path, cell: str, options: dict[str, object], action: str
) -> None:
    message = refused(tmp_path, f"date,v\n2024-01-01,1\n2024-01-02,{cell}\n", **options)
    assert "row 3: v is no number" in message and action in message


def test_missing_column_has_a_close_match(tmp_path: Path) -> None:
    assert "did you mean usdclp?" in refused(tmp_path, "date,usdclp\n2024-01-01,1\n", columns=("usdcpl",))
    assert "did you mean dates?" in refused(tmp_path, "dates,v\n2024-01-01,1\n")
    assert "appears twice" in refused(tmp_path, "date,v,v\n2024-01-01,1,2\n")


def test_wrong_delimiter_is_recognised(tmp_path: Path) -> None:
    assert "set delimiter = ';'" in refused(tmp_path, "date;v\n2024-01-01;1\n")


def test_ragged_row(tmp_path: Path) -> None:
    assert "row 3: the row has 3 cells and the header 2" in refused(
        tmp_path, "date,v\n2024-01-01,1\n2024-01-02,1,5\n"
    )


@pytest.mark.parametrize("page", ["<!DOCTYPE html><html>", "\n <html><body>", '<?xml version="1.0"?>'])
def test_web_page_is_refused(tmp_path: Path, page: str) -> None:
    assert "web page" in refused(tmp_path, page)


def test_empty_files(tmp_path: Path) -> None:
    assert "is empty" in refused(tmp_path, "")
    assert "is empty" in refused(tmp_path, "\n\n")
    assert "no rows" in refused(tmp_path, "date,v\n")


def test_encoding(tmp_path: Path) -> None:
    content = "date,v,día\n2024-01-01,1,x\n".encode("latin-1")
    assert "encoding" in refused(tmp_path, content)
    assert read(tmp_path, content, encoding="latin-1").column("v").tolist() == [1.0]
    with pytest.raises(SourceError, match="unknown encoding"):
        read(tmp_path, content, encoding="latin-nine")


def test_broken_csv(tmp_path: Path) -> None:
    assert "no valid CSV" in refused(tmp_path, "date,v\n2024-01-01," + "1" * 200_000 + "\n")


def test_filter_without_match_has_a_hint(tmp_path: Path) -> None:
    text = "date,v,id\n2024-01-01,1,north\n"
    assert "did you mean north?" in refused(tmp_path, text, filter=(("id", "nort"),))


def test_absent_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="does not exist"):
        read_rows(Source(type=SourceType.CSV, path=tmp_path / "no.csv"), ["v"])


def parquet(
    tmp_path: Path,
    columns: tuple[str, ...] = ("v",),
    filters: tuple[tuple[str, str], ...] = (),
    **data: object,
) -> Rows:
    file = tmp_path / "x.parquet"
    pq.write_table(pa.table(data), file)
    return read_rows(Source(type=SourceType.PARQUET, path=file, filter=filters), columns)


def test_parquet_types(tmp_path: Path) -> None:
    day = [datetime.date(2024, 1, 1), datetime.date(2024, 1, 2)]
    rows = parquet(tmp_path, ("v", "flag"), date=day, v=[1, None], flag=[True, False])
    np.testing.assert_array_equal(rows.values, [[1.0, 1.0], [np.nan, 0.0]])
    assert str(rows.dates[1]) == "2024-01-02T00:00:00"
    zoned = pa.array([0, 3_600_000], pa.timestamp("ms", tz="America/Santiago"))
    rows = parquet(tmp_path, date=zoned, v=["1.5", "N/A"])
    assert str(rows.dates[1]) == "1970-01-01T01:00:00"
    file = Source(type=SourceType.PARQUET, path=tmp_path / "x.parquet")
    assert str(read_rows(file, ["v"], utc=False).dates[1]) == "1969-12-31T22:00:00"  # UTC-3 that year
    np.testing.assert_array_equal(rows.column("v"), [1.5, np.nan])


def test_parquet_filter_keeps_row_numbers(tmp_path: Path) -> None:
    rows = parquet(
        tmp_path, filters=(("id", "2"),), date=["2024-01-01", "2024-01-01"], v=[1.0, 2.0], id=[1, 2]
    )
    assert rows.lines.tolist() == [2] and rows.column("v").tolist() == [2.0]


def test_parquet_errors(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="holds no dates"):
        parquet(tmp_path, date=[1, 2], v=[1.0, 2.0])
    with pytest.raises(SourceError, match="row 2: the date is missing"):
        parquet(tmp_path, date=["2024-01-01", None], v=[1.0, 2.0])
    with pytest.raises(SourceError, match="row 2: v is no number"):
        parquet(tmp_path, date=["2024-01-01", "2024-01-02"], v=["1", "x"])
    with pytest.raises(SourceError, match="no such column"):
        parquet(tmp_path, ("w",), date=["2024-01-01"], v=[1.0])
    with pytest.raises(SourceError, match="did you mean north"):
        parquet(tmp_path, filters=(("id", "nort"),), date=["2024-01-01"], v=[1.0], id=["north"])
    (tmp_path / "bad.parquet").write_text("date,v\n")
    with pytest.raises(SourceError, match="no Parquet file"):
        read_rows(Source(type=SourceType.PARQUET, path=tmp_path / "bad.parquet"), ["v"])
