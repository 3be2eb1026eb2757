import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.load import LoadedSeries, check_target, load_series
from horizoncast.data.report import DataReport
from horizoncast.data.target import Target
from horizoncast.data.target_file import parse_target
from horizoncast.errors import CheckError
from horizoncast.series import Scale

NOW = np.datetime64("2024-08-01T12:00:00")
BUSINESS = Calendar(kind=CalendarKind.BUSINESS)


def target_of(folder: Path, body: str = "", kind: str = "business", top: str = "") -> Target:
    """A target named t on t.csv with column v; `top` and `body` add to it."""
    text = f"""
    name = "t"
    unit = "u"
    {top}
    [source]
    type = "csv"
    path = "t.csv"
    value_column = "v"
    [calendar]
    kind = "{kind}"
    {body}
    """
    return parse_target(text, place="t.toml", folder=folder)


def write(folder: Path, rows: list[tuple[object, ...]], header: str = "date,v") -> None:
    lines = [header, *(",".join("" if cell is None else str(cell) for cell in row) for row in rows)]
    (folder / "t.csv").write_text("\n".join(lines) + "\n")


def days(first: str = "2024-01-01", last: str = "2024-07-31", kind: str = "business") -> list[str]:
    calendar = Calendar(kind=CalendarKind(kind))
    sessions = calendar.sessions(np.datetime64(first), np.datetime64(last))
    return [str(d)[:10] if kind != "intraday" else str(d) for d in sessions]


def prices(dates: list[str]) -> list[tuple[object, ...]]:
    walk = 900 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, len(dates))))
    return [(day, round(float(v), 4)) for day, v in zip(dates, walk, strict=True)]


def load(target: Target, as_of: str | None = None) -> LoadedSeries:
    moment = None if as_of is None else np.datetime64(as_of)
    return load_series(target, as_of=moment, now=NOW)


def codes(report: DataReport) -> set[str]:
    return {f.code for f in report.findings}


def test_plain_business_series(tmp_path: Path) -> None:
    rows = prices(days())
    write(tmp_path, rows)
    loaded = load(target_of(tmp_path))
    series, report = loaded.series, loaded.report
    assert len(series) == len(rows) and series.values[0] == rows[0][1]
    assert report.findings == () and report.rows == report.observed == len(rows)
    assert (report.filled, report.absent, report.stale) == (0, 0, 0)
    assert report.scale is series.scale is Scale.LOG and report.scale_reason
    assert str(report.last) == "2024-07-31T00:00:00" and len(report.digest) == 64
    assert series.periods == (5,)


def test_regression_business_steps_carry_sessions_of_the_calendar(tmp_path: Path) -> None:
    """Steps were once stamped with calendar dates: Friday's first step is Monday, not Saturday."""
    write(tmp_path, prices(days(last="2024-09-17")))
    target = target_of(tmp_path, 'country = "CL"')
    series = load_series(target, as_of=np.datetime64("2024-06-28"), now=np.datetime64("2024-10-01")).series
    dates = series.until(series.last).future_dates(60).astype("datetime64[D]")
    assert str(dates[0]) == "2024-07-01"
    assert np.is_busday(dates).all()
    closed = np.array(
        ["2024-07-16", "2024-08-15", "2024-09-18", "2024-09-19", "2024-09-20"], dtype="datetime64[D]"
    )
    assert not np.isin(dates, closed).any()


def test_regression_sunday_is_not_scored_against_friday(tmp_path: Path) -> None:
    rows = prices(days())
    friday = next(i for i, row in enumerate(rows) if row[0] == "2024-06-28")
    copies = [("2024-06-29", rows[friday][1]), ("2024-06-30", rows[friday][1])]
    write(tmp_path, rows[: friday + 1] + copies + rows[friday + 1 :])
    loaded = load(target_of(tmp_path))
    assert codes(loaded.report) == {"weekend_copy"} and len(loaded.series) == len(rows)
    sunday = np.array(["2024-06-30", "2024-07-01"], dtype="datetime64[s]")
    actuals = loaded.series.actuals(np.datetime64("2024-06-28", "s"), sunday)
    assert np.isnan(actuals[0]) and actuals[1] == rows[friday + 1][1]


def test_as_of_is_the_last_observation_at_or_before(tmp_path: Path) -> None:
    rows = prices(days())
    write(tmp_path, rows)
    series = load(target_of(tmp_path), "2024-06-30").series
    assert str(series.last) == "2024-06-28T00:00:00"
    whole = load(target_of(tmp_path)).series.truncated(series.last)
    assert whole.digests()[-1] == series.digests()[-1]


def test_later_rows_are_not_even_checked(tmp_path: Path) -> None:
    rows = prices(days())
    cut = next(i for i, row in enumerate(rows) if row[0] == "2024-06-28") + 1
    write(tmp_path, rows)
    before = load(target_of(tmp_path), "2024-06-28")
    write(tmp_path, [*rows[:cut], ("2024-07-01", "inf"), ("2024-07-02", 1e9), ("2024-07-02", 2e9)])
    after = load(target_of(tmp_path), "2024-06-28")
    assert after.report == before.report
    assert check_target(target_of(tmp_path), now=NOW).errors


def test_all_blocking_findings_are_listed(tmp_path: Path) -> None:
    rows = prices(days())
    rows[50] = (rows[50][0], "inf")
    rows.insert(61, (rows[60][0], 5))
    rows.append(("2024-09-02", 900))
    write(tmp_path, rows)
    with pytest.raises(CheckError) as caught:
        load(target_of(tmp_path))
    message = str(caught.value)
    for code in ("non_finite", "duplicates_disagree", "future_date", "gap"):
        assert f"[{code}]" in message
    assert "t.csv, row 52" in message and caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({-1: 90_000.0}, "unit_slip"),
        ({70: 9.0}, "unit_slip"),
        ({-1: 9_000.0}, "jump"),
    ],
)
def test_slips_block_and_name_the_row(tmp_path: Path, values: dict[int, float], code: str) -> None:
    rows = prices(days())
    for at, value in values.items():
        factor = value / 900
        rows[at] = (rows[at][0], float(str(rows[at][1])) * factor)
    write(tmp_path, rows)
    with pytest.raises(CheckError, match=rf"\[{code}\]"):
        load(target_of(tmp_path))


def test_declared_log_scale_with_non_positive_values(tmp_path: Path) -> None:
    rows = prices(days())
    rows[30] = (rows[30][0], 0)
    write(tmp_path, rows)
    with pytest.raises(CheckError, match="non_positive"):
        load(target_of(tmp_path, top='scale = "log"'))
    assert load(target_of(tmp_path)).report.scale is Scale.LEVEL


def test_wti_below_zero_is_real() -> None:
    """EIA: WTI at Cushing closed at -36.98 USD on 2020-04-20; a warning, and level scale."""
    from support import shared_data

    path = shared_data("usdclp_panel_daily.csv")
    for column, day in (("wti", "2020-04-20"), ("vix", "2018-02-05")):
        text = f"""
        name = "t"\nunit = "u"\n[source]\ntype = "csv"\npath = "{path}"\nvalue_column = "{column}"
        [calendar]\nkind = "business"
        """
        target = parse_target(text, place="t.toml", folder=Path())
        report = load_series(target, as_of=np.datetime64(day), now=NOW).report
        assert str(report.last)[:10] == day
        assert "jump" in {f.code for f in report.warnings} and report.errors == ()


def test_staleness_blocks_only_with_a_limit(tmp_path: Path) -> None:
    write(tmp_path, prices(days(last="2024-07-15")))
    report = load(target_of(tmp_path)).report
    assert report.stale == 12 and codes(report) == {"stale"}
    with pytest.raises(CheckError, match="12 sessions old"):
        load(target_of(tmp_path, top="max_staleness = 11"))
    assert load(target_of(tmp_path, top="max_staleness = 12")).report.stale == 12
    assert load(target_of(tmp_path, top="max_staleness = 0"), "2024-07-15").report.stale == 0


def test_short_and_empty_histories(tmp_path: Path) -> None:
    write(tmp_path, prices(days())[:20])
    with pytest.raises(CheckError, match="20 observed sessions, at least 30"):
        load(target_of(tmp_path))
    with pytest.raises(CheckError, match="0 observed sessions"):
        load(target_of(tmp_path), "2020-01-01")
    assert load(target_of(tmp_path, "[checks]\nmin_history = 20")).report.observed == 20


def test_missing_business_sessions_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = prices(days())
    write(tmp_path, [*rows[:40], (rows[40][0], None), *rows[42:]])
    loaded = load(target_of(tmp_path))
    assert len(loaded.series) == len(rows) - 2 and loaded.report.absent == 2
    assert loaded.series.observed_mask.all()


@pytest.mark.parametrize(
    ("policy", "expected"), [("carry", [9, 9]), ("interpolate", [10, 11]), ("seasonal", [3, 4])]
)
def test_regular_grid_fills_gaps_and_masks_them(tmp_path: Path, policy: str, expected: list[float]) -> None:
    dates = days(kind="daily")
    rows = [(day, i % 1000) for i, day in enumerate(dates)]
    write(tmp_path, rows[:10] + rows[12:])
    target = target_of(tmp_path, f'[missing]\npolicy = "{policy}"\nmax_gap = 2', "daily")
    loaded = load(target)
    assert loaded.series.values[10:12].tolist() == expected
    assert np.flatnonzero(~loaded.series.observed_mask).tolist() == [10, 11]
    assert ("interpolated" in codes(loaded.report)) is (policy == "interpolate")
    assert loaded.report.filled == 2 and loaded.report.observed == len(rows) - 2
    gap = np.array(dates[10:12], dtype="datetime64[s]")
    assert np.isnan(loaded.series.actuals(np.datetime64(dates[9], "s"), gap)).all()
    with pytest.raises(CheckError, match=r"\[gap\]"):
        load(target_of(tmp_path, "[missing]\nmax_gap = 1", "daily"))


def test_half_hours_become_hourly_means_and_a_cut_hour_is_dropped(tmp_path: Path) -> None:
    stamps = np.arange("2024-07-01T00:00", "2024-07-04T12:30", 30, dtype="datetime64[m]")
    write(tmp_path, [(str(s), float(i)) for i, s in enumerate(stamps)])
    series = load(target_of(tmp_path, "minutes = 60", "intraday", top='aggregate = "mean"')).series
    assert str(series.last) == "2024-07-04T11:00:00"
    assert series.values[:2].tolist() == [0.5, 2.5]
    early = load(
        target_of(tmp_path, "minutes = 60", "intraday", top='aggregate = "mean"'), "2024-07-03T05:00"
    )
    assert str(early.series.last) == "2024-07-03T05:00:00"  # the session of that label, whole
    with pytest.raises(CheckError, match="crowded_session"):
        load(target_of(tmp_path, "minutes = 60", "intraday"))


def test_start_hides_earlier_rows(tmp_path: Path) -> None:
    write(tmp_path, [("2020-01-01", 5), *prices(days())])
    with pytest.raises(CheckError, match='start = "2024-01-01"'):
        load(target_of(tmp_path))
    assert str(load(target_of(tmp_path, top='start = "2024-01-01"')).report.first)[:10] == "2024-01-01"


COVARIATE = '[[covariates]]\nname = "c"\n'


def test_covariates_of_the_same_file_live_beside_missing_targets(tmp_path: Path) -> None:
    """A covariate row on a holiday of the target, and after its last row."""
    rows = [(day, value, i) for i, (day, value) in enumerate(prices(days()))]
    rows[40] = (rows[40][0], None, 40)
    rows[41] = (rows[41][0], rows[41][1], None)
    rows[-1] = (rows[-1][0], None, 999)
    write(tmp_path, rows, "date,v,c")
    series = load(target_of(tmp_path, COVARIATE)).series
    values = series.covariates[0].values
    assert len(values) == len(series) == len(rows) - 2
    assert values[39:42].tolist() == [39, 40, 42]  # the value of the missing session, one old
    assert 999 not in values


def test_dating_offset_adds_to_the_publication_lag(tmp_path: Path) -> None:
    write(tmp_path, [(day, value, i) for i, (day, value) in enumerate(prices(days()))], "date,v,c")
    target = target_of(tmp_path, COVARIATE + "publication_lag = 1", top="dating_offset = 1")
    series = load(target).series
    assert series.until(series.last).covariate("c")[-1] == len(series) - 3


def test_known_future_rows_beyond_the_target(tmp_path: Path) -> None:
    dates = days(kind="daily")
    rows = [(day, 100 + i % 7, i % 2) for i, day in enumerate(dates)] + [
        ("2024-08-01", None, 7),
        ("2024-08-02", None, 8),
    ]
    write(tmp_path, rows, "date,v,c")
    series = load(target_of(tmp_path, COVARIATE + "known_future = true", "daily")).series
    np.testing.assert_array_equal(series.until(series.last).future_covariates(3)[:, 0], [7, 8, np.nan])
    early = load(target_of(tmp_path, COVARIATE + "known_future = true", "daily"), "2024-07-01").series
    assert early.covariates[0].values.tolist() == series.covariates[0].values.tolist()
    hidden = load(target_of(tmp_path, COVARIATE, "daily")).series
    assert len(hidden.covariates[0].values) == len(hidden)


def test_covariate_findings(tmp_path: Path) -> None:
    base = prices(days())
    write(tmp_path, [(day, value, None) for day, value in base], "date,v,c")
    with pytest.raises(CheckError, match="empty_covariate"):
        load(target_of(tmp_path, COVARIATE))
    write(tmp_path, [(d, v, v if i < 100 else None) for i, (d, v) in enumerate(base)], "date,v,c")
    assert codes(load(target_of(tmp_path, COVARIATE)).report) == {"late_covariate"}
    last = len(base) - 1
    jumped = [(d, v, float(str(v)) * (7 if i == last else 1)) for i, (d, v) in enumerate(base)]
    write(tmp_path, jumped, "date,v,c")
    report = load(target_of(tmp_path, COVARIATE)).report
    assert codes(report) == {"jump"} and report.errors == ()
    write(
        tmp_path,
        [(d, v, float(str(v)) * (100 if i == 80 else 1)) for i, (d, v) in enumerate(base)],
        "date,v,c",
    )
    with pytest.raises(CheckError, match="unit_slip"):
        load(target_of(tmp_path, COVARIATE))


def test_own_source_of_a_covariate(tmp_path: Path) -> None:
    write(tmp_path, prices(days()))
    (tmp_path / "c.csv").write_text("day;k\n" + "".join(f"{d};{i},5\n" for i, d in enumerate(days())))
    source = 'type="csv", path="c.csv", date_column="day", value_column="k", delimiter=";", decimal=","'
    series = load(target_of(tmp_path, COVARIATE + f"source = {{ {source} }}")).series
    assert series.covariates[0].values[:2].tolist() == [0.5, 1.5]


def test_no_leak_from_later_covariate_rows(tmp_path: Path) -> None:
    """Every covariate value after the cutoff replaced by x1000 or nothing: what was known stays."""
    rows = [(day, value, float(i)) for i, (day, value) in enumerate(prices(days()))]
    cut = next(i for i, row in enumerate(rows) if row[0] == "2024-06-28")
    known = []
    for factor in (1.0, 1.37, None):
        later = [(d, v, None if factor is None else factor * c) for d, v, c in rows[cut + 1 :]]
        write(tmp_path, rows[: cut + 1] + later, "date,v,c")
        series = load(target_of(tmp_path, COVARIATE)).series
        known.append(series.until(np.datetime64("2024-06-28", "s")).covariates)
    np.testing.assert_array_equal(known[0], known[1])
    np.testing.assert_array_equal(known[0], known[2])


def test_digest_follows_the_numbers(tmp_path: Path) -> None:
    rows = prices(days())
    write(tmp_path, rows)
    first = load(target_of(tmp_path)).report.digest
    assert load(target_of(tmp_path)).report.digest == first
    rows[5] = (rows[5][0], float(str(rows[5][1])) + 0.01)
    write(tmp_path, rows)
    assert load(target_of(tmp_path)).report.digest != first


def test_series_crosses_a_process_boundary(tmp_path: Path) -> None:
    write(tmp_path, prices(days()))
    series = load(target_of(tmp_path)).series
    copy = pickle.loads(pickle.dumps(series))
    assert copy.digests() == series.digests()


def test_pandas_is_not_imported_by_the_data_floor() -> None:
    code = (
        "import sys; import horizoncast.data.load, horizoncast.data.wizard, horizoncast.data.target_file;"
        "sys.exit('pandas' in sys.modules or 'pyarrow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
