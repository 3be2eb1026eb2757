"""What is due now: cadence against ledger."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.policy.cadence import WEEKDAYS, Cadence, CatchUp
from horizoncast.policy.schedule import Plan, Publication, any_moment, plan_now
from horizoncast.policy.sessions import expected_session

WEEKDAYS_ONLY = Calendar(kind=CalendarKind.BUSINESS)
DAILY = Cadence(days=WEEKDAYS[:5], timezone="UTC", late_hours=100)
WEEKLY = Cadence(days=("fri",), timezone="UTC", late_hours=72)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def index(day: str, calendar: Calendar = WEEKDAYS_ONLY) -> int:
    return int(calendar.ordinal(np.datetime64(day))[0])


def sessions(calendar: Calendar) -> Callable[[datetime], int]:
    return lambda moment: expected_session(calendar, moment)


def made(as_of: str, committed: str, calendar: Calendar = WEEKDAYS_ONLY, *, live: bool = True) -> Publication:
    return Publication(session=index(as_of, calendar), committed=at(committed), live=live)


def plan(cadence: Cadence, now: str, *published: Publication, since: str | None = None) -> Plan:
    missed = None if since is None else at(since)
    return plan_now(cadence, at(now), sessions(WEEKDAYS_ONLY), published, missed_since=missed)


def moments(found: Plan) -> list[str]:
    return [slot.due.moment.strftime("%m-%d") for slot in found.run]


def test_due_from_its_moment_on_and_never_before() -> None:
    assert moments(plan(WEEKLY, "2026-01-09T06:59:59")) == []
    assert moments(plan(WEEKLY, "2026-01-09T07:00:00")) == ["01-09"]


def test_published_means_nothing_is_due_however_often_one_asks() -> None:
    done = made("2026-01-08", "2026-01-09T07:04")
    for now in ("2026-01-09T07:05", "2026-01-09T23:00", "2026-01-11T12:00"):
        assert plan(WEEKLY, now, done, since="2026-01-01").run == ()


def test_a_forecast_made_by_hand_after_the_moment_serves_it() -> None:
    assert plan(WEEKLY, "2026-01-12T06:00", made("2026-01-09", "2026-01-12T05:00")).run == ()


def test_a_forecast_made_before_the_moment_does_not_serve_it() -> None:
    wednesday = made("2026-01-06", "2026-01-07T12:00")
    assert moments(plan(WEEKLY, "2026-01-09T08:00", wednesday)) == ["01-09"]


def test_too_late_is_let_go_and_named() -> None:
    assert moments(plan(WEEKLY, "2026-01-12T07:00:00")) == ["01-09"]
    late = plan(WEEKLY, "2026-01-12T07:00:01", since="2026-01-08")
    assert late.run == ()
    assert [slot.due.moment.day for slot in late.missed] == [9]
    assert plan(WEEKLY, "2026-01-12T07:00:01", since="2026-01-10").missed == ()


@pytest.mark.parametrize(
    ("catch_up", "served"),
    [
        (CatchUp.LATEST, ["01-08"]),
        (CatchUp.ALL, ["01-05", "01-06", "01-07", "01-08"]),
        (CatchUp.NONE, []),
    ],
)
def test_catch_up_after_days_without_power(catch_up: CatchUp, served: list[str]) -> None:
    cadence = Cadence(days=WEEKDAYS[:5], timezone="UTC", late_hours=100, catch_up=catch_up)
    assert moments(plan(cadence, "2026-01-08T09:00")) == served


def test_without_catching_up_the_newest_moment_has_its_grace() -> None:
    cadence = Cadence(days=("fri",), timezone="UTC", catch_up=CatchUp.NONE, grace_minutes=30)
    assert moments(plan(cadence, "2026-01-09T07:30")) == ["01-09"]
    assert moments(plan(cadence, "2026-01-09T07:31")) == []


def test_catching_up_the_old_one_does_not_serve_the_new_one() -> None:
    cadence = Cadence(days=WEEKDAYS[:5], timezone="UTC", late_hours=100, catch_up=CatchUp.ALL)
    caught = made("2026-01-06", "2026-01-08T09:10", live=False)
    assert moments(plan(cadence, "2026-01-08T09:30", caught)) == ["01-05", "01-06", "01-08"]


def test_a_run_on_stale_input_serves_the_moment_it_was_made_for() -> None:
    """Thursday's value never came: Friday's run stood on Wednesday's, and is not run again all day."""
    before = made("2026-01-01", "2026-01-02T07:05")
    stale = made("2026-01-07", "2026-01-09T07:05")
    assert plan(WEEKLY, "2026-01-09T09:00", before, stale).run == ()
    assert moments(plan(WEEKLY, "2026-01-16T09:00", before, stale)) == ["01-16"]


@pytest.mark.parametrize("as_of", ["2025-06-30", "2026-01-01", "2026-01-07"])
def test_a_backfill_never_serves_the_moment_it_happened_to_follow(as_of: str) -> None:
    """Made on Friday after seven for a date of long ago: Friday's own forecast is still due."""
    assert moments(plan(WEEKLY, "2026-01-09T08:00", made(as_of, "2026-01-09T07:30", live=False))) == ["01-09"]


@pytest.mark.parametrize("since", [None, "2025-11-01"])
def test_whether_a_moment_is_served_does_not_hang_on_how_far_one_looks_back(since: str | None) -> None:
    """A first run on data that end weeks ago: `tick` (days) and `status` (months) must agree."""
    first = made("2025-12-10", "2026-01-09T07:30")
    found = plan(WEEKLY, "2026-01-09T08:00", first, since=since)
    assert found.run == () and index("2026-01-08") not in {slot.session for slot in found.missed}


def test_a_late_run_on_newer_data_serves_its_own_moment_and_leaves_nothing_to_the_next() -> None:
    """Thursday's moment caught up on Friday at six, on Thursday's own session: at seven nothing is new."""
    early = made("2026-01-08", "2026-01-09T06:00")
    found = plan(DAILY, "2026-01-09T07:05", early, since="2026-01-07T12:00")
    assert (found.run, found.missed) == ((), ())


def test_a_holiday_brings_nothing_new_and_is_no_second_run() -> None:
    chile = Calendar(kind=CalendarKind.BUSINESS, country="CL")
    thursday = made("2026-09-17", "2026-09-18T11:05", chile)
    found = plan_now(DAILY, at("2026-09-21T12:00"), sessions(chile), [thursday])
    assert found.run == ()
    assert len(plan_now(DAILY, at("2026-09-22T12:00"), sessions(chile), [thursday]).run) == 1


def test_a_monthly_series_is_forecast_once_a_month_and_offered_again_when_that_failed() -> None:
    monthly = Calendar(kind=CalendarKind.MONTHLY)
    july = made("2026-07-01", "2026-08-07T07:05", monthly)
    for friday in ("2026-08-14T08:00", "2026-08-21T08:00"):
        assert plan_now(WEEKLY, at(friday), sessions(monthly), [july]).run == ()
        assert len(plan_now(WEEKLY, at(friday), sessions(monthly), []).run) == 1


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(0, 60 * 24 * 21), max_size=60),
    st.sampled_from(list(CatchUp)),
    st.lists(st.sampled_from(WEEKDAYS), min_size=1, max_size=4, unique=True),
)
def test_triggers_at_any_times_publish_every_session_at_most_once(
    minutes: list[int], catch_up: CatchUp, days: list[str]
) -> None:
    """Late, twice, backwards or never: what is run is published, and no session is run again."""
    cadence = Cadence(days=tuple(days), catch_up=catch_up)
    published: list[Publication] = []
    start = at("2026-08-25T00:00")
    for minute in minutes:  # in any order: the clock may jump back
        now = start + timedelta(minutes=minute)
        found = plan_now(cadence, now, sessions(WEEKDAYS_ONLY), published, missed_since=start)
        for slot in found.run:
            assert slot.session not in [p.session for p in published]
            assert now - slot.due.moment <= timedelta(hours=cadence.late_hours)
            published.append(Publication(session=slot.session, committed=now))
        assert not plan_now(cadence, now, sessions(WEEKDAYS_ONLY), published).run


def test_the_cheap_question_agrees_with_the_plan() -> None:
    for hour in range(24 * 14):
        now = at("2026-08-30T00:30") + timedelta(hours=hour)
        found = plan_now(WEEKLY, now, sessions(WEEKDAYS_ONLY), [])
        assert any_moment(WEEKLY, now) >= bool(found.run)
