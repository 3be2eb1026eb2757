import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.calendar import Calendar, CalendarKind, as_stamp, month_day_of
from horizoncast.errors import ConfigError

BUSINESS = Calendar(kind=CalendarKind.BUSINESS)
CHILE = Calendar(kind=CalendarKind.BUSINESS, country="CL")
ECB = Calendar(kind=CalendarKind.BUSINESS, country="ECB")
DAILY = Calendar(kind=CalendarKind.DAILY)
HALF_HOURLY = Calendar(kind=CalendarKind.INTRADAY, minutes=30)
WEEKLY = Calendar(kind=CalendarKind.WEEKLY)
MONTHLY = Calendar(kind=CalendarKind.MONTHLY)
QUARTERLY = Calendar(kind=CalendarKind.QUARTERLY)
ALL = [BUSINESS, CHILE, ECB, DAILY, HALF_HOURLY, WEEKLY, MONTHLY, QUARTERLY]


def ident(calendar: Calendar) -> str:
    return calendar.country or calendar.kind


def days(calendar: Calendar, after: str, steps: int, **more: int) -> list[str]:
    return [calendar.text(d) for d in calendar.future(as_stamp(after), steps, **more)]


# business days


def test_business_day_steps_are_not_calendar_dates():
    """Regression: "business-day steps stamped with calendar dates"."""
    assert days(BUSINESS, "2024-06-28", 6) == [
        "2024-07-01", "2024-07-02", "2024-07-03", "2024-07-04", "2024-07-05", "2024-07-08",
    ]  # fmt: skip
    assert days(BUSINESS, "2024-06-28", 30)[-1] == "2024-08-09"  # thirty sessions are six weeks


def test_chilean_holidays_are_no_sessions():
    # 18 to 20 September 2024 are holidays of the Fiestas Patrias (law 20.983 adds the Friday)
    assert days(CHILE, "2024-09-16", 3) == ["2024-09-17", "2024-09-23", "2024-09-24"]


def test_ecb_closes_on_the_target_holidays_only():
    # TARGET: 1 January, Good Friday, Easter Monday, 1 May, 25 and 26 December
    assert days(ECB, "2024-03-28", 2) == ["2024-04-02", "2024-04-03"]
    assert days(ECB, "2024-12-24", 2) == ["2024-12-27", "2024-12-30"]
    whole_year = ECB.sessions(as_stamp("2024-01-01"), as_stamp("2024-12-31"))
    assert len(whole_year) == 262 - 6


def test_a_forecast_across_new_year_knows_the_holidays_of_both_years():
    assert days(ECB, "2023-12-29", 1) == ["2024-01-02"]
    assert days(CHILE, "2023-12-29", 1) == ["2024-01-02"]


def test_ninety_sessions_over_two_years_skip_every_holiday():
    ahead = ECB.future(as_stamp("2023-11-01"), 400)
    assert np.array_equal(ahead, ECB.sessions(as_stamp("2023-11-02"), ahead[-1]))


@pytest.mark.parametrize("cutoff", ["2024-03-29", "2024-03-30", "2024-04-01", "2024-01-01", "2023-12-31"])
def test_a_cutoff_on_a_holiday_or_weekend_is_followed_by_the_next_session(cutoff):
    """A value dated on a holiday (Good Friday) must not shift or repeat a session."""
    ahead = ECB.future(as_stamp(cutoff), 3)
    expected = ECB.sessions(as_stamp(cutoff) + np.timedelta64(1, "D"), as_stamp("2024-06-01"))[:3]
    assert np.array_equal(ahead, expected)


def test_own_exceptions_close_and_open_days():
    own = Calendar(kind=CalendarKind.BUSINESS, country="ECB", closed=("2024-05-02",), opened=("2024-05-01",))
    assert days(own, "2024-04-30", 2) == ["2024-05-01", "2024-05-03"]


def test_a_long_closure_does_not_exhaust_the_search():
    shut = tuple(str(d) for d in np.arange("2024-01-01", "2024-06-01", dtype="datetime64[D]"))
    own = Calendar(kind=CalendarKind.BUSINESS, closed=shut)
    assert days(own, "2023-12-29", 2) == ["2024-06-03", "2024-06-04"]


@pytest.mark.parametrize(
    "settings",
    [
        {"kind": CalendarKind.BUSINESS, "country": "ZZ"},
        {"kind": CalendarKind.BUSINESS, "country": "NOWHERE"},
        {"kind": CalendarKind.BUSINESS, "country": ""},
        {"kind": CalendarKind.DAILY, "country": "CL"},
        {"kind": CalendarKind.DAILY, "closed": ("2024-01-01",)},
        {"kind": CalendarKind.WEEKLY, "opened": ("2024-01-01",)},
        {"kind": CalendarKind.BUSINESS, "closed": ("2024-13-01",)},
        {"kind": CalendarKind.BUSINESS, "opened": ("yesterday",)},
        {"kind": CalendarKind.BUSINESS, "closed": ("",)},
        {"kind": CalendarKind.INTRADAY, "minutes": 7},
        {"kind": CalendarKind.INTRADAY, "minutes": 0},
        {"kind": CalendarKind.INTRADAY, "minutes": -30},
        {"kind": CalendarKind.INTRADAY, "minutes": 2880},
    ],
    ids=str,
)
def test_wrong_settings_fail_when_the_calendar_is_made(settings):
    with pytest.raises(ConfigError):
        Calendar(**settings)


# ordinals


@pytest.mark.parametrize("calendar", ALL, ids=ident)
@pytest.mark.parametrize("first", ["1969-06-02", "1999-11-01", "2023-12-04"])
def test_ordinals_increase_strictly_over_sessions(calendar, first):
    sessions = np.concatenate([[as_stamp(first)], calendar.future(as_stamp(first), 500)])
    steps = np.diff(calendar.ordinal(sessions))
    assert (steps >= 1).all()
    if calendar.country is None:
        assert (steps == 1).all()


@pytest.mark.parametrize("calendar", ALL, ids=ident)
def test_ordinals_are_absolute(calendar):
    """The same date has the same index whatever series it stands in: re-fit points never move."""
    sessions = calendar.future(as_stamp("2019-12-02"), 300)
    assert np.array_equal(calendar.ordinal(sessions)[100:], calendar.ordinal(sessions[100:]))


def test_holidays_do_not_move_business_ordinals():
    friday = as_stamp("2024-06-28")
    assert BUSINESS.ordinal(friday) == CHILE.ordinal(friday) == ECB.ordinal(friday)


def test_ordinals_start_on_monday_5_january_1970():
    monday = as_stamp("1970-01-05")
    for calendar in (BUSINESS, DAILY, WEEKLY, HALF_HOURLY):
        assert calendar.ordinal(monday).tolist() == [0]
    around = np.array(["1970-01-04", "1970-01-11", "1970-01-12"], dtype="datetime64[s]")
    assert WEEKLY.ordinal(around).tolist() == [-1, 0, 1]


# the other kinds


@pytest.mark.parametrize("weekday", range(7))
def test_weeks_keep_the_weekday_they_came_with(weekday):
    first = as_stamp("2024-02-26") + np.timedelta64(weekday, "D")
    ahead = WEEKLY.future(first, 60)
    assert (np.diff(np.concatenate([[first], ahead])) == np.timedelta64(7, "D")).all()


def test_daily_steps_pass_29_february():
    assert days(DAILY, "2024-02-27", 3) == ["2024-02-28", "2024-02-29", "2024-03-01"]
    assert days(DAILY, "2023-02-27", 2) == ["2023-02-28", "2023-03-01"]


def test_the_last_day_of_a_month_stays_the_last_day():
    assert days(MONTHLY, "2024-01-31", 3) == ["2024-02-29", "2024-03-31", "2024-04-30"]
    assert days(MONTHLY, "2024-02-29", 2) == ["2024-03-31", "2024-04-30"]
    assert days(MONTHLY, "2023-02-28", 1) == ["2023-03-31"]


def test_a_day_inside_the_month_is_kept():
    assert days(MONTHLY, "2024-01-15", 2) == ["2024-02-15", "2024-03-15"]
    assert days(MONTHLY, "2024-01-30", 3) == ["2024-02-29", "2024-03-30", "2024-04-30"]
    assert days(MONTHLY, "2024-02-28", 1) == ["2024-03-28"]  # a leap year: the 28th is not its end


def test_the_day_of_the_month_can_be_named_where_the_last_date_does_not_tell_it():
    assert days(MONTHLY, "2024-02-29", 2, month_day=30) == ["2024-03-30", "2024-04-30"]
    assert days(MONTHLY, "2023-02-28", 2, month_day=28) == ["2023-03-28", "2023-04-28"]
    assert days(QUARTERLY, "2024-11-30", 2, month_day=30) == ["2025-02-28", "2025-05-30"]


@pytest.mark.parametrize(
    ("dates", "day"),
    [
        (["2024-01-31", "2024-02-29"], 31),
        (["2023-01-28", "2023-02-28"], 28),
        (["2024-04-30", "2024-05-30"], 30),
        (["2024-01-01"], 1),
        (["2023-02-28"], 31),
    ],
)
def test_month_day_of(dates, day):
    assert month_day_of(np.array(dates, dtype="datetime64[s]")) == day


def test_quarters_keep_start_or_end():
    assert days(QUARTERLY, "2023-10-01", 3) == ["2024-01-01", "2024-04-01", "2024-07-01"]
    assert days(QUARTERLY, "2023-12-31", 4) == ["2024-03-31", "2024-06-30", "2024-09-30", "2024-12-31"]


def test_intraday_steps_know_no_daylight_saving():
    """Santiago, Berlin and New York all change their clocks inside these dates; UTC does not."""
    for first in ("2024-03-09T22:00", "2024-03-30T22:00", "2024-04-06T22:00", "2024-10-26T22:00"):
        ahead = HALF_HOURLY.future(as_stamp(first), 96)
        assert (np.diff(ahead) == np.timedelta64(1800, "s")).all()
        assert ahead[-1] == as_stamp(first) + np.timedelta64(2, "D")


def test_intraday_sessions_keep_their_phase():
    ahead = HALF_HOURLY.future(as_stamp("2024-01-01T00:15"), 2)
    assert [HALF_HOURLY.text(d) for d in ahead] == ["2024-01-01T00:45", "2024-01-01T01:15"]
    assert np.diff(HALF_HOURLY.ordinal(ahead)).tolist() == [1]


@pytest.mark.parametrize(
    ("calendar", "periods"),
    [(BUSINESS, (5,)), (DAILY, (7,)), (WEEKLY, (52,)), (MONTHLY, (12,)), (QUARTERLY, (4,)),
     (HALF_HOURLY, (48, 336)), (Calendar(kind=CalendarKind.INTRADAY, minutes=1440), (7,))],
)  # fmt: skip
def test_usual_seasons(calendar, periods):
    assert calendar.periods == periods


# sessions


@pytest.mark.parametrize("calendar", ALL, ids=ident)
def test_sessions_across_years_are_the_first_one_and_its_future(calendar):
    first = as_stamp("2019-12-02")
    ahead = calendar.future(first, 70)
    assert np.array_equal(calendar.sessions(first, ahead[-1])[1:], ahead)
    between = ahead[-1] - np.timedelta64(1, "s")
    assert np.array_equal(calendar.sessions(first, between)[1:], ahead[:-1])


@pytest.mark.parametrize("calendar", ALL, ids=ident)
def test_sessions_of_an_empty_or_single_range(calendar):
    day = as_stamp("2024-07-01")
    assert calendar.sessions(day, day).tolist() == [day.item()]
    assert len(calendar.sessions(day, day - np.timedelta64(1, "D"))) == 0


def test_sessions_that_start_on_a_month_end_end_every_month():
    found = [MONTHLY.text(d) for d in MONTHLY.sessions(as_stamp("2023-11-30"), as_stamp("2024-03-31"))]
    assert found == ["2023-11-30", "2023-12-31", "2024-01-31", "2024-02-29", "2024-03-31"]


@given(
    st.sampled_from(ALL),
    st.integers(-4000, 25000),
    st.integers(0, 120),
)
def test_future_dates_increase_and_follow_the_cutoff(calendar, day, steps):
    after = as_stamp("1970-01-01") + np.timedelta64(day, "D")
    ahead = calendar.future(after, steps)
    assert ahead.dtype == np.dtype("datetime64[s]")
    assert len(ahead) == steps
    assert (np.diff(np.concatenate([[after], ahead])) > np.timedelta64(0, "s")).all()


@given(
    st.sampled_from([BUSINESS, CHILE, ECB, DAILY, WEEKLY, HALF_HOURLY]),
    st.integers(0, 20000),
    st.integers(1, 60),
)
def test_a_future_in_two_pieces_is_the_future_in_one(calendar, day, steps):
    after = as_stamp("1970-01-01") + np.timedelta64(day, "D")
    whole = calendar.future(after, steps + 10)
    assert np.array_equal(calendar.future(whole[steps - 1], 10), whole[steps:])
