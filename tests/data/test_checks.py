import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data import checks, plausible
from horizoncast.data.checks import Column, Finding, Severity
from horizoncast.data.ecb import ecb_currencies, ecb_pair
from horizoncast.data.target import Checks
from horizoncast.series import Scale

BUSINESS = Calendar(kind=CalendarKind.BUSINESS)
DAILY = Calendar(kind=CalendarKind.DAILY)
HOURLY = Calendar(kind=CalendarKind.INTRADAY, minutes=60)
WEEKLY = Calendar(kind=CalendarKind.WEEKLY)


def column(dates: list[str] | np.ndarray, values: object) -> Column:
    stamps = np.asarray(dates, dtype="datetime64[s]")
    return Column(
        place="file.csv",
        name="v",
        lines=np.arange(2, len(stamps) + 2),
        dates=stamps,
        values=np.asarray(values, dtype=np.float64),
    )


def walk(n: int = 300, seed: int = 0, sigma: float = 0.01) -> Column:
    days = BUSINESS.sessions(np.datetime64("2020-01-01"), np.datetime64("2030-01-01"))[:n]
    steps = np.random.default_rng(seed).normal(0, sigma, n)
    return column(days, 900 * np.exp(np.cumsum(steps)))


def changed(base: Column, rows: slice, factor: float) -> Column:
    values = base.values.copy()
    values[rows] *= factor
    return column(base.dates, values)


def one(found: list[Finding], code: str, severity: Severity) -> Finding:
    assert [f.code for f in found] == [code]
    assert found[0].severity is severity
    assert "file.csv" in found[0].message
    return found[0]


def test_clean_series_gives_no_finding() -> None:
    clean = walk()
    found = checks.check_finite(clean) + checks.check_order(clean) + checks.check_duplicates(clean)
    found += checks.check_calendar(clean, BUSINESS, Checks()) + checks.check_gaps(clean, BUSINESS, 0)
    found += checks.check_weekends(clean, BUSINESS) + checks.check_one_per_session(clean, BUSINESS)
    found += plausible.check_unit_slip(clean) + plausible.check_jump(clean, Scale.LOG, Checks())
    assert found + plausible.check_stuck(clean, 5) == []


def test_infinite_value_names_row_date_and_value() -> None:
    found = checks.check_finite(column(["2024-01-01", "2024-01-02"], [1.0, np.inf]))
    assert "row 3 (2024-01-02, inf)" in one(found, "non_finite", Severity.ERROR).message
    assert checks.check_finite(column(["2024-01-01"], [np.nan])) == []


def test_order() -> None:
    days = ["2024-01-01", "2024-01-03", "2024-01-02", "2024-01-04"]
    assert one(checks.check_order(column(days, [1, 2, 3, 4])), "unsorted", Severity.WARNING).rows == (4,)
    assert checks.check_order(column(days[::2][::-1], [1, 2])) == []  # newest first is an order


def test_day_and_month_exchanged() -> None:
    right = np.arange("2024-01-01", "2024-01-13", dtype="datetime64[D]")
    read_wrong = [f"2024-{day:02d}-01" for day in range(1, 13)]  # all in order: cannot be told
    assert checks.check_swapped_days(column(read_wrong, np.ones(12))) == []
    mixed = ["2024-11-01", "2024-12-01", "2024-01-02", "2024-02-02"]  # 11, 12 January, 1, 2 February
    found = checks.check_swapped_days(column(mixed, np.ones(4)))
    assert "date_format" in one(found, "ambiguous_dates", Severity.ERROR).message
    assert checks.check_swapped_days(column(right, np.ones(12))) == []


def test_duplicates_that_agree_and_disagree() -> None:
    days = ["2024-01-01", "2024-01-01", "2024-01-02"]
    agree = one(checks.check_duplicates(column(days, [1, 1, 2])), "duplicates_agree", Severity.WARNING)
    assert agree.rows == (3,)
    found = checks.check_duplicates(column(days, [1, 5, 2]))
    error = one(found, "duplicates_disagree", Severity.ERROR)
    assert error.rows == (3,) and "row 2 (2024-01-01, 1)" in error.message


def test_few_doubles_are_fine_where_rows_are_joined() -> None:
    days = np.repeat(np.arange("2024-01-01", "2024-03-01", dtype="datetime64[D]"), [2] + [1] * 59)
    few = column(days, np.arange(61))
    one(checks.check_duplicates(few, joined=True), "duplicates_disagree", Severity.WARNING)
    many = column(np.repeat(days, 2), np.arange(122))
    one(checks.check_duplicates(many, joined=True), "duplicates_disagree", Severity.ERROR)


def test_future_dates() -> None:
    friday = np.datetime64("2024-06-28T20:00")
    monday = column(["2024-06-28", "2024-07-01"], [1, 2])
    error = one(checks.check_future(monday, BUSINESS, friday, 0), "future_date", Severity.ERROR)
    assert error.rows == (3,)
    assert checks.check_future(monday, BUSINESS, friday, 1) == []  # dated one session ahead
    tuesday = column(["2024-06-28", "2024-07-02"], [1, 2])
    one(checks.check_future(tuesday, BUSINESS, friday, 1), "future_date", Severity.ERROR)


def test_a_new_day_begins_first_at_utc_plus_14() -> None:
    rows = column(["2024-06-29"], [1])
    assert checks.check_future(rows, DAILY, np.datetime64("2024-06-28T10:00"), 0) == []
    assert checks.check_future(rows, DAILY, np.datetime64("2024-06-28T09:59"), 0) != []
    stamp = column(["2024-06-28T10:01"], [1])
    assert checks.check_future(stamp, HOURLY, np.datetime64("2024-06-28T10:00"), 0) != []


def test_non_positive_on_log_scale_and_negative_demand() -> None:
    rows = column(["2020-04-17", "2020-04-20"], [18.31, -36.98])
    error = one(checks.check_positive(rows, Scale.LOG), "non_positive", Severity.ERROR)
    assert "-36.98" in error.message and 'scale = "level"' in error.message
    assert checks.check_positive(rows, Scale.LEVEL) == [] == checks.check_positive(rows, None)
    one(checks.check_negative(rows, True), "negative", Severity.ERROR)
    assert checks.check_negative(rows, False) == []


def test_several_rows_in_one_session() -> None:
    rows = column(["2024-01-01T10:00", "2024-01-01T10:30"], [1, 2])
    assert (
        "aggregate"
        in one(checks.check_one_per_session(rows, HOURLY), "crowded_session", Severity.ERROR).message
    )
    assert checks.check_one_per_session(column(["2024-06-29", "2024-07-01"], [1, 2]), BUSINESS) == []


def test_regression_sunday_against_friday() -> None:
    """A Sunday is no session of a business calendar: a copy of Friday goes, a value of its own blocks."""
    days = ["2024-06-28", "2024-06-29", "2024-06-30", "2024-07-01"]
    copies = column(days, [1, 1, 1, 2])
    assert one(checks.check_weekends(copies, BUSINESS), "weekend_copy", Severity.WARNING).rows == (3, 4)
    assert checks.weekend_rows(copies, BUSINESS)[1].tolist() == [False, True, True, False]
    own = one(checks.check_weekends(column(days[::2], [1, 3]), BUSINESS), "weekend_row", Severity.ERROR)
    assert "2024-06-30" in own.message
    assert checks.check_weekends(copies, DAILY) == []


def test_missing_sessions_and_wrong_calendar() -> None:
    base = walk(40)
    found = checks.check_calendar(base.take(np.arange(40) != 7), BUSINESS, Checks())
    assert str(base.dates[8])[:10] in one(found, "missing_sessions", Severity.WARNING).message
    one(checks.check_calendar(base, DAILY, Checks()), "calendar_mismatch", Severity.ERROR)


def test_rows_on_holidays_and_off_the_grid() -> None:
    chile = Calendar(kind=CalendarKind.BUSINESS, country="CL")
    rows = column(["2024-09-16", "2024-09-17", "2024-09-18"], [1, 2, 3])
    assert one(checks.check_calendar(rows, chile, Checks()), "holiday_row", Severity.WARNING).rows == (4,)
    fridays = column(["2024-06-07", "2024-06-14", "2024-06-20", "2024-06-28"], [1, 2, 3, 4])
    assert one(checks.check_calendar(fridays, WEEKLY, Checks()), "off_grid", Severity.WARNING).rows == (4,)


def test_gaps_name_the_row_after_and_a_start() -> None:
    base = walk(60)
    holed = base.take((np.arange(60) < 10) | (np.arange(60) > 21))
    error = one(checks.check_gaps(holed, BUSINESS, 10), "gap", Severity.ERROR)
    assert "12 sessions in a row" in error.message
    assert f'start = "{str(base.dates[22])[:10]}"' in error.message
    assert checks.check_gaps(holed, BUSINESS, 11) != [] and checks.check_gaps(holed, BUSINESS, 12) == []


def test_a_mistyped_year_is_reported_without_building_its_grid() -> None:
    minutes = Calendar(kind=CalendarKind.INTRADAY, minutes=1)
    stamps = np.concatenate([[np.datetime64("0204-01-01T00:00", "s")], walk(40).dates])
    rows = column(stamps, np.ones(41))
    one(checks.check_calendar(rows, minutes, Checks()), "calendar_mismatch", Severity.ERROR)
    assert "0204" not in one(checks.check_gaps(rows, minutes, 10), "gap", Severity.ERROR).message


def test_staleness_counts_sessions_of_the_calendar() -> None:
    friday, sunday = np.datetime64("2024-06-28", "s"), np.datetime64("2024-06-30", "s")
    assert checks.staleness(friday, BUSINESS, sunday, clock=False) == 0
    assert checks.staleness(friday, BUSINESS, np.datetime64("2024-07-02T12:00:00"), clock=True) == 1
    assert checks.staleness(friday, BUSINESS, np.datetime64("2024-07-02T00:00:00"), clock=False) == 2
    assert checks.staleness(friday, DAILY, np.datetime64("2024-06-30T12:00:00"), clock=True) == 1
    assert checks.staleness(friday, DAILY, friday - np.timedelta64(9, "D"), clock=True) == 0
    rows = walk(40)
    assert checks.check_staleness(rows, 3, 3) == [] == checks.check_staleness(rows, 5, None)
    one(checks.check_staleness(rows, 4, 3), "stale", Severity.ERROR)
    one(checks.check_staleness(rows, 6, None), "stale", Severity.WARNING)


def test_short_history() -> None:
    one(checks.check_history(walk(29), 30), "short_history", Severity.ERROR)
    assert checks.check_history(walk(30), 30) == []


@pytest.mark.parametrize("factor", [100.0, 0.01, 1000.0, 0.001])
@pytest.mark.parametrize("rows", [slice(-1, None), slice(-20, None), slice(100, 101), slice(100, 140)])
def test_unit_slips(factor: float, rows: slice) -> None:
    slipped = changed(walk(), rows, factor)
    error = one(plausible.check_unit_slip(slipped), "unit_slip", Severity.ERROR)
    assert error.rows[0] == slipped.lines[rows][0]


def test_two_slips_are_two_findings() -> None:
    twice = changed(changed(walk(), slice(50, 53), 100), slice(200, 202), 0.001)
    assert [f.rows for f in plausible.check_unit_slip(twice)] == [(52, 53, 54), (202, 203)]


def test_a_unit_that_stays_changed_is_a_warning() -> None:
    one(plausible.check_unit_slip(changed(walk(), slice(100, None), 1000)), "unit_change", Severity.WARNING)


@pytest.mark.parametrize("factor", [10.0, 60.0, 400.0])
def test_other_factors_are_no_unit_slip(factor: float) -> None:
    assert plausible.check_unit_slip(changed(walk(), slice(100, 110), factor)) == []


def test_bursty_series_are_left_alone() -> None:
    values = np.exp(np.random.default_rng(1).normal(0, 2.0, 400))
    values[200] = 100 * values[199]
    assert plausible.check_unit_slip(column(walk(400).dates, values)) == []


def test_jump_of_the_last_value() -> None:
    base = walk()
    assert plausible.check_jump(changed(base, slice(-1, None), 1.05), Scale.LOG, Checks()) == []
    mild = changed(base, slice(-1, None), 1.2)
    warning = one(plausible.check_jump(mild, Scale.LOG, Checks()), "jump", Severity.WARNING)
    assert warning.rows == (301,)
    slip = changed(base, slice(-1, None), 10.0)
    error = one(plausible.check_jump(slip, Scale.LOG, Checks()), "jump", Severity.ERROR)
    assert "robust sigmas" in error.message
    one(plausible.check_jump(slip, Scale.LOG, Checks(), blocks=False), "jump", Severity.WARNING)
    assert plausible.check_jump(mild, Scale.LOG, Checks(jump_warning=50)) == []


def test_jump_after_no_movement_and_on_short_series() -> None:
    flat = column(walk(40).dates, [5.0] * 39 + [11.0])
    one(plausible.check_jump(flat, Scale.LEVEL, Checks()), "jump", Severity.ERROR)
    peg = column(walk(40).dates, [8.28] * 39 + [8.11])
    one(plausible.check_jump(peg, Scale.LOG, Checks()), "jump", Severity.WARNING)
    assert plausible.check_jump(column(walk(40).dates, [5.0] * 40), Scale.LEVEL, Checks()) == []
    assert plausible.check_jump(changed(walk(11), slice(-1, None), 10.0), Scale.LOG, Checks()) == []


def test_robust_sigma_is_the_standard_deviation_of_a_normal() -> None:
    normal = np.random.default_rng(2).normal(0, 3.0, 100_000)
    assert plausible.robust_sigma(normal) == pytest.approx(3.0, rel=0.02)
    assert plausible.robust_sigma(np.array([0.0] * 9 + [1.0])) > 0
    assert plausible.robust_sigma(np.empty(0)) == 0.0


def test_stuck_value() -> None:
    base = walk()
    values = base.values.copy()
    values[-6:] = values[-7]
    stuck = one(plausible.check_stuck(column(base.dates, values), 5), "stuck", Severity.WARNING)
    assert len(stuck.rows) == 7
    values[50:60] = values[50]  # it happened before
    assert plausible.check_stuck(column(base.dates, values), 5) == []


@pytest.mark.parametrize("base", ["USD", "EUR"])
def test_no_false_alarm_on_any_ecb_cross(base: str) -> None:
    live = [c for c in ecb_currencies() if c != base]
    errors = []
    for quote in live:
        dates, values = ecb_pair(base, quote)
        rows = column(dates, values)
        if len(rows) < 30:
            continue
        found = plausible.check_unit_slip(rows) + checks.check_weekends(rows, BUSINESS)
        found += checks.check_duplicates(rows) + checks.check_one_per_session(rows, BUSINESS)
        for stop in range(len(rows) - 30, len(rows) + 1):
            found += plausible.check_jump(rows.take(np.arange(stop)), Scale.LOG, Checks())
        errors += [(quote, f.message) for f in found if f.severity is Severity.ERROR]
    assert errors == []
