"""Fresh, wait, stale or blocked: a pure function of dates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.waiting import InputPolicy, Readiness, judge_covariates, judge_target
from horizoncast.errors import ConfigError
from horizoncast.series import Covariate
from support import make_series

CHILE = Calendar(kind=CalendarKind.BUSINESS, country="CL")
FRI = np.datetime64("2024-06-28")
POLICY = InputPolicy(ready_s=3600, wait_s=7200, max_stale=3)


def judge(
    now: str,
    *,
    last: np.datetime64 = FRI,
    calendar: Calendar = CHILE,
    policy: InputPolicy = POLICY,
    offset: int = 0,
) -> tuple[str, int]:
    found = judge_target(last, calendar, policy, now=np.datetime64(now, "s"), dating_offset=offset)
    return str(found.state), found.behind


@pytest.mark.parametrize(
    ("now", "state", "behind"),
    [
        ("2024-06-28T20:00", "fresh", 0),  # its own day
        ("2024-06-30T12:00", "fresh", 0),  # a weekend makes nothing old
        ("2024-07-01T23:00", "fresh", 0),  # Monday is not over
        ("2024-07-02T00:59", "fresh", 0),  # over, but not yet published
        ("2024-07-02T01:00", "wait", 1),
        ("2024-07-02T02:59", "wait", 1),
        ("2024-07-02T03:00", "stale", 1),
        ("2024-07-04T12:00", "stale", 3),
        ("2024-07-05T12:00", "blocked", 4),
    ],
)
def test_a_business_day_by_the_clock(now: str, state: str, behind: int) -> None:
    assert judge(now) == (state, behind)


def test_holidays_are_no_sessions() -> None:
    assert judge("2024-09-21T12:00", last=np.datetime64("2024-09-17")) == ("fresh", 0)


def test_a_rate_dated_ahead_is_expected_a_session_earlier() -> None:
    assert judge("2024-07-01T20:00", offset=1) == ("stale", 1)
    assert judge("2024-07-01T02:00", last=np.datetime64("2024-07-01"), offset=1) == ("fresh", 0)
    assert judge("2024-06-29T02:00", offset=1) == ("wait", 1)


def test_a_source_long_dead_is_not_waited_for() -> None:
    """The wait belongs to the first missed value, not to the newest."""
    assert judge("2024-07-04T01:30")[0] == "stale"


def test_without_a_limit_nothing_is_called_stale() -> None:
    assert judge("2030-01-01", policy=InputPolicy(wait_s=60)) == ("fresh", pytest.approx(1380, abs=20))


def test_lateness_may_block_at_once_or_be_tolerated() -> None:
    assert judge("2024-07-02T03:00", policy=InputPolicy(max_stale=5, run_stale=False))[0] == "blocked"
    patient = InputPolicy(max_stale=5, tolerated=1)
    assert judge("2024-07-02T03:00", policy=patient)[0] == "fresh"
    assert judge("2024-07-03T03:00", policy=patient)[0] == "stale"


@pytest.mark.parametrize(
    ("calendar", "last", "now", "state"),
    [
        (Calendar(kind=CalendarKind.INTRADAY, minutes=60), "2024-06-28T10:00", "2024-06-28T13:30", "wait"),
        (Calendar(kind=CalendarKind.INTRADAY, minutes=60), "2024-06-28T10:00", "2024-06-28T12:59", "fresh"),
        (Calendar(kind=CalendarKind.DAILY), "2024-06-28", "2024-06-30T01:30", "wait"),
        (Calendar(kind=CalendarKind.WEEKLY), "2024-06-28", "2024-07-08T02:00", "wait"),
        (Calendar(kind=CalendarKind.WEEKLY), "2024-06-28", "2024-07-09T02:00", "stale"),
        (Calendar(kind=CalendarKind.MONTHLY), "2024-05-31", "2024-06-30T12:00", "fresh"),
        (Calendar(kind=CalendarKind.MONTHLY), "2024-05-31", "2024-07-01T02:00", "wait"),
        (Calendar(kind=CalendarKind.QUARTERLY), "2024-01-01", "2024-07-01T02:00", "wait"),
    ],
)
def test_other_calendars(calendar: Calendar, last: str, now: str, state: str) -> None:
    assert judge(now, last=np.datetime64(last), calendar=calendar)[0] == state


def test_a_replay_is_judged_by_its_date_and_never_waits() -> None:
    def by(day: str) -> Readiness:
        return judge_target(
            FRI, CHILE, POLICY, now=np.datetime64("2031-01-01", "s"), as_of=np.datetime64(day)
        ).state

    assert by("2024-06-28") is Readiness.FRESH
    assert by("2024-06-30") is Readiness.FRESH
    assert by("2024-07-01") is Readiness.STALE
    assert by("2024-07-05") is Readiness.BLOCKED


@given(st.integers(0, 400), st.integers(0, 23), st.sampled_from(list(CalendarKind)), st.integers(0, 3))
def test_time_only_makes_things_older(days: int, hour: int, kind: CalendarKind, offset: int) -> None:
    order = [Readiness.FRESH, Readiness.WAIT, Readiness.STALE, Readiness.BLOCKED]
    calendar = Calendar(kind=kind)
    start = FRI.astype("datetime64[s]")
    moment = start + np.timedelta64(24 * days + hour, "h")

    def at(now: np.datetime64) -> tuple[int, int]:
        found = judge_target(start, calendar, POLICY, now=now, dating_offset=offset)
        assert (found.wait_until is None) == (found.state is not Readiness.WAIT)
        assert found.wait_until is None or found.wait_until > now
        return order.index(found.state), found.behind

    later = at(moment + np.timedelta64(5, "h"))
    assert all(a <= b for a, b in zip(at(moment), later, strict=True))


def test_a_policy_that_means_nothing_is_refused() -> None:
    with pytest.raises(ConfigError):
        InputPolicy(wait_s=-1)
    with pytest.raises(ConfigError):
        InputPolicy(tolerated=2, max_stale=1)


def covariate(missing: int, *, lag: int = 0, carry: int = 3) -> Covariate:
    values = np.arange(50.0)
    values[50 - missing :] = np.nan
    return Covariate(name=f"m{missing}", values=values, publication_lag=lag, max_carry=carry)


def test_covariates_age_in_sessions_beyond_their_lag() -> None:
    series = make_series(
        np.arange(50.0),
        covariates=(covariate(0), covariate(2), covariate(3), covariate(4), covariate(1, lag=1)),
    )
    found = judge_covariates(series)
    assert [c.behind for c in found] == [0, 2, 3, 4, 0]
    assert [c.exhausted for c in found] == [False, False, False, True, False]
    assert [bool(c.reason) for c in found] == [False, True, True, True, False]
    assert "members that need it fail" in found[3].reason


def test_a_plan_that_ends_before_the_target_is_exhausted() -> None:
    plan = np.concatenate([np.zeros(45), np.full(5, np.nan)])
    known = Covariate(name="plan", values=plan, known_future=True, max_carry=0)
    (found,) = judge_covariates(make_series(np.arange(50.0), covariates=(known,)))
    assert found.exhausted and found.behind == 5
