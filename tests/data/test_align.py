import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.align import (
    aggregate_rows,
    align_covariate,
    complete_sessions,
    fill_gaps,
    future_tail,
    regular_grid,
    session_start,
    stable_scale,
    usable_periods,
)
from horizoncast.data.target import Aggregate, Fill
from horizoncast.errors import DataError
from horizoncast.series import Covariate, Scale, Series

BUSINESS = Calendar(kind=CalendarKind.BUSINESS)
DAILY = Calendar(kind=CalendarKind.DAILY)
HOURLY = Calendar(kind=CalendarKind.INTRADAY, minutes=60)
WEEKLY = Calendar(kind=CalendarKind.WEEKLY)
MONTHLY = Calendar(kind=CalendarKind.MONTHLY)
QUARTERLY = Calendar(kind=CalendarKind.QUARTERLY)


def stamps(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[s]")


@pytest.mark.parametrize(
    ("calendar", "start"),
    [
        (HOURLY, "2024-02-29T13:00:00"),
        (DAILY, "2024-02-29T00:00:00"),
        (BUSINESS, "2024-02-29T00:00:00"),
        (WEEKLY, "2024-02-26T00:00:00"),
        (MONTHLY, "2024-02-01T00:00:00"),
        (QUARTERLY, "2024-01-01T00:00:00"),
    ],
)
def test_session_start(calendar: Calendar, start: str) -> None:
    assert str(session_start(calendar, stamps("2024-02-29T13:45"))[0]) == start


@settings(deadline=None)
@given(st.lists(st.integers(-(10**9), 2 * 10**9), min_size=1, max_size=20))
def test_session_start_is_in_the_same_session_and_before(seconds: list[int]) -> None:
    dates = np.array(seconds, dtype="datetime64[s]")
    for calendar in (HOURLY, DAILY, WEEKLY, MONTHLY, QUARTERLY):
        start = session_start(calendar, dates)
        assert (start <= dates).all()
        np.testing.assert_array_equal(calendar.ordinal(start), calendar.ordinal(dates))
        np.testing.assert_array_equal(session_start(calendar, start), start)


def test_aggregation() -> None:
    dates = stamps("2024-01-01T10:00", "2024-01-01T10:30", "2024-01-01T11:00", "2024-01-01T11:30")
    values = np.array([1.0, 3.0, 5.0, 8.0])
    for how, expected in ((Aggregate.MEAN, [2, 6.5]), (Aggregate.SUM, [4, 13]), (Aggregate.LAST, [3, 8])):
        joined = aggregate_rows(HOURLY, dates, values, how)
        assert joined.values.tolist() == expected
        assert joined.counts.tolist() == [2, 2] and joined.first.tolist() == [0, 2]


def test_cut_sessions_at_the_ends_are_dropped() -> None:
    counts = np.array([1, 2, 1, 2, 2, 1])
    assert complete_sessions(counts, Aggregate.MEAN).tolist() == [False, True, True, True, True, False]
    assert complete_sessions(counts, Aggregate.SUM).tolist() == [False, True, False, True, True, False]


def test_grid_keeps_the_phase() -> None:
    grid, place = regular_grid(
        WEEKLY, stamps("2024-06-07", "2024-06-14", "2024-06-27")
    )  # Fridays, a Thursday
    assert grid.astype("datetime64[D]").astype(str).tolist() == [
        "2024-06-07",
        "2024-06-14",
        "2024-06-21",
        "2024-06-28",
    ]
    assert place.tolist() == [0, 1, 3]
    ends, place = regular_grid(MONTHLY, stamps("2024-01-31", "2024-02-29", "2024-04-30"))
    assert ends.astype("datetime64[D]").astype(str).tolist() == [
        "2024-01-31",
        "2024-02-29",
        "2024-03-31",
        "2024-04-30",
    ]
    assert place.tolist() == [0, 1, 3]


def test_fill_policies() -> None:
    values = np.array([1.0, 2.0, np.nan, np.nan, 5.0])
    assert fill_gaps(values, Fill.CARRY, None).tolist() == [1, 2, 2, 2, 5]
    assert fill_gaps(values, Fill.INTERPOLATE, None).tolist() == [1, 2, 3, 4, 5]
    assert fill_gaps(values, Fill.SEASONAL, 2).tolist() == [1, 2, 1, 2, 5]
    assert fill_gaps(values, Fill.SEASONAL, 4).tolist() == [1, 2, 2, 2, 5]  # no season back: carried
    assert fill_gaps(np.array([1.0, 2.0]), Fill.DROP, None).tolist() == [1, 2]
    with pytest.raises(DataError, match="cannot drop"):
        fill_gaps(values, Fill.DROP, None)


@settings(deadline=None)
@given(
    st.lists(st.one_of(st.none(), st.floats(-100, 100)), min_size=2, max_size=40),
    st.integers(1, 40),
    st.integers(1, 6),
)
def test_causal_fills_never_look_ahead(cells: list[float | None], stop: int, period: int) -> None:
    values = np.array([0.5, *(np.nan if c is None else c for c in cells)])
    for policy in (Fill.CARRY, Fill.SEASONAL):
        whole = fill_gaps(values, policy, period)
        np.testing.assert_array_equal(fill_gaps(values[:stop], policy, period), whole[:stop])
        assert np.isfinite(whole).all()


def align(
    sessions: np.ndarray, dates: np.ndarray, values: list[float], carry: int = 5, *, exact: bool = False
) -> list[float]:
    got = align_covariate(BUSINESS, sessions, dates, np.array(values), max_carry=carry, exact=exact)
    return [None if np.isnan(v) else float(v) for v in got]  # type: ignore[misc]


def test_same_date_wins_and_missing_stays_missing() -> None:
    sessions = stamps("2024-06-26", "2024-06-27", "2024-06-28")
    assert align(sessions, stamps("2024-06-26", "2024-06-28"), [1, 3]) == [1, None, 3]


def test_a_row_on_a_holiday_of_the_target_goes_to_the_next_session() -> None:
    sessions = stamps("2024-09-17", "2024-09-23")  # Chile closed 18 to 20 September
    rows = stamps("2024-09-17", "2024-09-18", "2024-09-19")
    assert align(sessions, rows, [1, 2, 3]) == [1, 3]
    assert align(sessions, rows, [1, 2, 3], carry=1) == [1, None]  # two weekdays old
    assert align(sessions, rows, [1, 2, 3], carry=2) == [1, 3]
    assert align(sessions, rows, [1, 2, 3], carry=0) == [1, None]
    assert align(sessions, rows, [1, 2, 3], exact=True) == [1, None]


def test_regression_saturday_value_never_reaches_the_friday_before() -> None:
    weeks = stamps("2024-06-21", "2024-06-28")
    got = align_covariate(
        WEEKLY, weeks, stamps("2024-06-22", "2024-06-29"), np.array([1.0, 2.0]), max_carry=5, exact=False
    )
    np.testing.assert_array_equal(got, [np.nan, 1.0])


def test_empty_covariate() -> None:
    assert align(stamps("2024-06-21"), stamps(), []) == [None]


DAYS = np.arange("2024-01-01", "2024-06-01", dtype="datetime64[D]").astype("datetime64[s]")


@settings(deadline=None)
@given(
    st.sets(st.integers(0, 151), min_size=2, max_size=60),
    st.sets(st.integers(0, 151), min_size=1, max_size=60),
    st.integers(0, 8),
    st.integers(0, 151),
    st.booleans(),
)
def test_alignment_takes_only_rows_at_or_before_and_ignores_later_ones(
    sessions: set[int], rows: set[int], carry: int, cut: int, exact: bool
) -> None:
    weekdays = DAYS[sorted(s for s in sessions | {0, 1} if s % 7 < 5)]  # 2024-01-01 was a Monday
    places = np.array(sorted(rows))
    dates = DAYS[places]
    got = align_covariate(BUSINESS, weekdays, dates, places.astype(float), max_carry=carry, exact=exact)
    for session, value in zip(weekdays, got, strict=True):
        if np.isfinite(value):
            age = BUSINESS.ordinal(session)[0] - BUSINESS.ordinal(DAYS[int(value)])[0]
            assert DAYS[int(value)] <= session and age <= (0 if exact else carry)
        else:
            assert session not in dates
    kept = dates <= DAYS[cut]
    early = weekdays[weekdays <= DAYS[cut]]
    again = align_covariate(
        BUSINESS, early, dates[kept], places[kept].astype(float), max_carry=carry, exact=exact
    )
    np.testing.assert_array_equal(again, got[: len(early)])


@settings(deadline=None)
@given(st.integers(2, 60), st.integers(0, 3), st.integers(0, 2), st.integers(0, 5), st.integers(1, 59))
def test_known_covariates_never_change_when_rows_are_added(
    count: int, lag: int, offset: int, carry: int, cut: int
) -> None:
    rng = np.random.default_rng(count)
    values = np.where(rng.random(count) < 0.3, np.nan, rng.normal(size=count))
    dates = BUSINESS.sessions(np.datetime64("2024-01-01"), np.datetime64("2025-01-01"))[:count]

    def series(stop: int) -> Series:
        covariate = Covariate(name="c", values=values[:stop], publication_lag=lag, max_carry=carry)
        return Series(
            name="s", unit="u", calendar=BUSINESS, dates=dates[:stop], values=np.arange(stop) + 1.0,
            covariates=(covariate,), dating_offset=offset,
        )  # fmt: skip

    stop = max(2, min(cut, count))
    early, whole = series(stop), series(count)
    cutoff = dates[stop - 1]
    np.testing.assert_array_equal(early.until(cutoff).covariates, whole.until(cutoff).covariates)


def test_future_tail_ends_with_the_last_known_value() -> None:
    dates = stamps("2024-06-28", "2024-06-29", "2024-07-01")
    tail = future_tail(DAILY, np.datetime64("2024-06-28T00:00:00"), dates, np.array([1.0, 2.0, 3.0]))
    np.testing.assert_array_equal(tail, [2.0, np.nan, 3.0])
    assert len(future_tail(DAILY, np.datetime64("2024-07-01T00:00:00"), dates, np.ones(3))) == 0
    weekend = future_tail(BUSINESS, np.datetime64("2024-06-28T00:00:00"), dates[:2], np.ones(2))
    assert len(weekend) == 0
    far = future_tail(DAILY, dates[0], stamps("2024-06-29", "9999-01-01"), np.ones(2))
    assert far.tolist() == [1.0]


def test_scale_does_not_flip_with_later_observations() -> None:
    rng = np.random.default_rng(5)
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 6000)))
    answers = {stable_scale(prices[:n]) for n in range(2048, 6000, 37)}
    assert len(answers) == 1
    assert stable_scale(prices)[0] is Scale.LOG
    assert len({stable_scale(prices[:n])[1] for n in range(512, 1024, 13)}) == 1  # until it doubles


def test_scale_of_short_and_non_positive_series() -> None:
    assert stable_scale(np.array([1.0, 2.0, -1.0])) == (Scale.LEVEL, "values at or below zero")
    assert stable_scale(np.arange(1.0, 11.0))[1].endswith("in the first 10 observations")


def test_periods_need_two_full_seasons() -> None:
    assert usable_periods(HOURLY, 335) == (24,)
    assert usable_periods(HOURLY, 336) == (24, 168)
    assert usable_periods(MONTHLY, 23) == ()
