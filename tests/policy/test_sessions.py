"""The session a forecast made at a moment is based on."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.waiting import InputPolicy, judge_target
from horizoncast.policy.sessions import expected_session, session_end, stamp_of

KINDS = [Calendar(kind=kind) for kind in CalendarKind] + [Calendar(kind=CalendarKind.BUSINESS, country="CL")]


def test_the_day_before_over_weekends_and_holidays() -> None:
    chile = Calendar(kind=CalendarKind.BUSINESS, country="CL")
    # 18 September 2026 is a Friday and a holiday: Monday the 21st still forecasts from Thursday the 17th
    for day, last in (
        ("2026-09-18", "2026-09-17"),
        ("2026-09-21", "2026-09-17"),
        ("2026-09-22", "2026-09-21"),
    ):
        moment = datetime.fromisoformat(f"{day}T11:00").replace(tzinfo=UTC)
        assert expected_session(chile, moment) == int(chile.ordinal(np.datetime64(last))[0])


@pytest.mark.parametrize("calendar", KINDS, ids=lambda c: f"{c.kind}-{c.country}")
@settings(max_examples=30, deadline=None)
@given(moment=st.datetimes(min_value=datetime(2000, 1, 3), max_value=datetime(2040, 1, 1)))
def test_a_series_that_ends_there_is_fresh_and_one_session_less_is_late(
    calendar: Calendar, moment: datetime
) -> None:
    """The judgement of inputs counts the same way."""
    now = stamp_of(moment.replace(tzinfo=UTC))
    index = expected_session(calendar, moment.replace(tzinfo=UTC))
    policy = InputPolicy(max_stale=0)
    end = session_end(calendar, index)
    assert judge_target(end, calendar, policy, now=now).behind == 0
    before = calendar.sessions(end - np.timedelta64(130, "D"), end)
    earlier = [d for d in before if calendar.ordinal(d)[0] < index][-1]
    assert judge_target(earlier, calendar, policy, now=now).behind == 1


@pytest.mark.parametrize("calendar", KINDS, ids=lambda c: f"{c.kind}-{c.country}")
@settings(max_examples=40, deadline=None)
@given(index=st.integers(0, 20_000))
def test_the_end_of_a_session_lies_in_it_and_the_next_second_does_not(calendar: Calendar, index: int) -> None:
    end = session_end(calendar, index)
    assert int(calendar.ordinal(end)[0]) == index
    if calendar.kind is not CalendarKind.BUSINESS:
        assert int(calendar.ordinal(end + np.timedelta64(1, "s"))[0]) == index + 1


def test_values_that_come_late_or_are_dated_ahead() -> None:
    calendar = Calendar(kind=CalendarKind.BUSINESS)
    tuesday = datetime(2026, 1, 6, 1, tzinfo=UTC)
    monday = expected_session(calendar, tuesday)
    assert expected_session(calendar, tuesday, ready_s=7200) == monday - 1
    assert expected_session(calendar, tuesday, dating_offset=1) == monday + 1
