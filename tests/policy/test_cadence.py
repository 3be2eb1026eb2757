"""Due moments: wall clock in a zone, daylight saving, first weekdays."""

import itertools
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.errors import ConfigError
from horizoncast.policy.cadence import WEEKDAYS, Cadence, CatchUp, Shift, Weeks, cron_or_days

SANTIAGO = "America/Santiago"
GAP_DAY = date(2026, 9, 6)  # 00:00 does not exist, the clock goes from 23:59 to 01:00
BACK_DAY = date(2026, 4, 4)  # 23:00 to 23:59 happen twice


def days(cadence: Cadence, first: str, last: str) -> list[str]:
    found = cadence.between(
        datetime.fromisoformat(first).replace(tzinfo=UTC), datetime.fromisoformat(last).replace(tzinfo=UTC)
    )
    return [due.local.date().isoformat() for due in found]


def test_regression_first_tuesday_is_due_once_a_month_and_not_124_days_a_year() -> None:
    """Cron lines that say "days 1 to 7 or Tuesdays" fire on 124 days of 2026."""
    cadence = Cadence(days=("tue",), weeks=Weeks.FIRST)
    assert days(cadence, "2026-01-01", "2027-01-01") == [
        "2026-01-06", "2026-02-03", "2026-03-03", "2026-04-07", "2026-05-05", "2026-06-02",
        "2026-07-07", "2026-08-04", "2026-09-01", "2026-10-06", "2026-11-03", "2026-12-01",
    ]  # fmt: skip
    assert cron_or_days(cadence, date(2026, 1, 1), 365) == 124


@settings(deadline=None)
@given(st.dates(min_value=date(1990, 1, 1), max_value=date(2090, 1, 1)), st.sampled_from(WEEKDAYS))
def test_a_first_weekday_comes_once_in_every_month(day: date, weekday: str) -> None:
    cadence = Cadence(days=(weekday,), weeks=Weeks.FIRST)
    month = [day.replace(day=1) + timedelta(days=n) for n in range(28)]
    assert sum(cadence.is_due_on(d) for d in month) == 1


def test_seven_oclock_is_seven_oclock_on_the_day_the_clock_changes() -> None:
    cadence = Cadence(days=WEEKDAYS, timezone=SANTIAGO)
    before, on = cadence.due_on(GAP_DAY - timedelta(days=1)), cadence.due_on(GAP_DAY)
    assert (before.moment.hour, on.moment.hour) == (11, 10)
    assert (on.local.hour, on.shift) == (7, Shift.NONE)
    assert on.moment - before.moment == timedelta(hours=23)


def test_regression_midnight_does_not_vanish_on_the_day_that_has_none() -> None:
    cadence = Cadence(days=WEEKDAYS, time="00:00", timezone=SANTIAGO)
    due = cadence.due_on(GAP_DAY)
    assert due.shift is Shift.GAP
    assert due.moment == datetime(2026, 9, 6, 4, 0, tzinfo=UTC)
    assert due.moment.astimezone(cadence.zone).strftime("%H:%M") == "01:00"
    assert len(days(cadence, "2026-09-01T03:00", "2026-09-10T03:00")) == 10


def test_a_time_that_happens_twice_is_due_once() -> None:
    cadence = Cadence(days=WEEKDAYS, time="23:30", timezone=SANTIAGO)
    due = cadence.due_on(BACK_DAY)
    assert due.shift is Shift.TWICE
    assert due.moment == datetime(2026, 4, 5, 2, 30, tzinfo=UTC)
    assert days(cadence, "2026-04-04T12:00", "2026-04-05T12:00") == ["2026-04-04"]


@settings(max_examples=40, deadline=None)
@given(
    st.datetimes(min_value=datetime(2015, 1, 1), max_value=datetime(2035, 1, 1)),
    st.integers(0, 23),
    st.sampled_from([SANTIAGO, "Europe/Madrid", "America/New_York", "Australia/Lord_Howe"]),
)
def test_every_day_has_exactly_one_moment(start: datetime, hour: int, zone: str) -> None:
    cadence = Cadence(days=WEEKDAYS, time=f"{hour:02d}:30", timezone=zone)
    first = start.replace(tzinfo=UTC)
    found = list(cadence.between(first, first + timedelta(days=40)))
    assert all(a.moment < b.moment for a, b in itertools.pairwise(found))
    gaps = [b.local.date() - a.local.date() for a, b in itertools.pairwise(found)]
    assert set(gaps) == {timedelta(days=1)}


def test_bounds_are_open_below_and_closed_above() -> None:
    cadence = Cadence(days=("fri",), timezone="UTC")
    moment = datetime(2026, 1, 2, 7, tzinfo=UTC)
    assert list(cadence.between(moment, moment + timedelta(days=6))) == []
    assert [d.moment for d in cadence.between(moment - timedelta(seconds=1), moment)] == [moment]


def test_settings_as_text_are_read() -> None:
    values = {"days": ["fri", "mon"], "weeks": "first", "late_hours": "48", "catch_up": "all"}
    found = Cadence.of(values)
    assert (found.days, found.weeks, found.late_hours, found.catch_up) == (
        ("mon", "fri"), Weeks.FIRST, 48.0, CatchUp.ALL,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"days": "mon"}, "list"),
        ({"days": []}, "weekday"),
        ({"days": ["mon", "mon"]}, "twice"),
        ({"days": ["monday"]}, "weekday"),
        ({"weeks": "last"}, "every, first"),
        ({"time": "24:00"}, "23:59"),
        ({"timezone": "America/Santiag"}, "America/Santiago"),
        ({"timezone": "../etc/passwd"}, "time zone database"),
        ({"late_hours": "soon"}, "number"),
        ({"late_hours": 0}, "positive"),
        ({"late_hours": "nan"}, "positive"),
        ({"catch_up": "some"}, "latest, all, none"),
        ({"wekks": "first"}, "weeks"),
    ],
)
def test_what_cannot_mean_anything_is_refused(values: dict[str, object], word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        Cadence.of(values)
