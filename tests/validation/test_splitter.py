"""Cutoffs: on an absolute grid, matured, at the stride that fits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.horizon import Horizon
from horizoncast.series import Series
from horizoncast.validation.splitter import matured_rows, minimum_training, plan_cutoffs
from support import make_series


def chilean(length: int) -> Series:
    """Business days with holes: holidays of Chile."""
    calendar = Calendar(kind=CalendarKind.BUSINESS, country="CL")
    first = np.datetime64("2010-01-04T00:00:00")
    dates = np.concatenate([[first], calendar.future(first, length - 1)])
    return Series(name="s", unit="u", calendar=calendar, dates=dates, values=np.arange(length) + 1.0)


@pytest.mark.parametrize(("steps", "stride"), [(7, 5), (15, 5), (30, 5), (90, 10)])
def test_the_product_horizons_have_their_strides(steps: int, stride: int) -> None:
    plan = plan_cutoffs(chilean(3000), Horizon(steps=steps))
    assert plan.stride == stride
    assert plan.wanted == 40 + -(-steps // stride) + 20 == len(plan.cutoffs)
    assert plan.n_eff == pytest.approx(plan.wanted * min(1.0, stride / steps))


@pytest.mark.parametrize("steps", [7, 30, 90])
def test_every_cutoff_is_matured_and_has_its_training(steps: int) -> None:
    series = chilean(1500)
    plan = plan_cutoffs(series, Horizon(steps=steps))
    at = np.array([series.index_of(c) for c in plan.cutoffs])
    assert (at + steps <= len(series) - 1).all()
    assert (at + 1 >= minimum_training(series, Horizon(steps=steps))).all()
    assert (np.diff(at) > 0).all()
    assert plan.live == series.last
    assert plan.newest_first == (series.last, *plan.cutoffs[::-1])


@pytest.mark.parametrize("steps", [7, 15, 30])
def test_a_series_with_one_more_week_shares_all_but_one_cutoff(steps: int) -> None:
    for length in range(2000, 2012):
        one = plan_cutoffs(chilean(length), Horizon(steps=steps))
        week = plan_cutoffs(chilean(length + 5), Horizon(steps=steps))
        assert len(set(week.cutoffs) - set(one.cutoffs)) <= 2  # five sessions may hold a holiday's shift
        assert len(set(one.cutoffs) & set(week.cutoffs)) >= len(one.cutoffs) - 2
    plain = [plan_cutoffs(make_series(np.ones(n)), Horizon(steps=steps)) for n in range(1000, 1016)]
    for before, after in zip(plain[:-5], plain[5:], strict=True):
        assert len(set(after.cutoffs) - set(before.cutoffs)) == 1


def test_a_series_with_its_first_year_cut_off_has_the_same_cutoffs() -> None:
    whole = chilean(2500)
    cut = Series(
        name="s", unit="u", calendar=whole.calendar, dates=whole.dates[250:], values=whole.values[250:]
    )
    for steps in (7, 30, 90):
        one, other = (plan_cutoffs(s, Horizon(steps=steps)) for s in (whole, cut))
        np.testing.assert_array_equal(one.cutoffs, other.cutoffs)


def test_a_holiday_moves_a_grid_point_back_and_loses_none() -> None:
    series = chilean(3000)
    at = matured_rows(series, Horizon(steps=7), 5, 20)
    weeks = series.ordinals[at] // 5
    assert len(np.unique(weeks)) == len(weeks)
    assert (np.diff(weeks) == 1).all()  # one cutoff in every week that has a session
    assert (series.ordinals[at] % 5 < 4).any()  # some Fridays were holidays


@pytest.mark.parametrize(("length", "steps", "stride"), [(130, 7, 2), (100, 7, 1), (400, 7, 5), (300, 90, 2)])
def test_short_series_take_a_smaller_stride(length: int, steps: int, stride: int) -> None:
    plan = plan_cutoffs(make_series(np.ones(length), periods=()), Horizon(steps=steps))
    assert plan.stride == stride
    assert len(plan.cutoffs) >= 40


def test_other_horizons_take_the_largest_stride_that_leaves_forty() -> None:
    for length, stride in [(2000, 10), (600, 5), (200, 2), (90, 1), (40, 1)]:
        assert plan_cutoffs(make_series(np.ones(length), periods=()), Horizon(steps=12)).stride == stride


@settings(max_examples=60, deadline=None)
@given(length=st.integers(2, 400), steps=st.integers(1, 120))
def test_no_length_is_too_short_to_plan(length: int, steps: int) -> None:
    series = make_series(np.ones(length))
    plan = plan_cutoffs(series, Horizon(steps=steps))
    assert len(plan.cutoffs) <= plan.wanted
    assert all(series.index_of(c) + steps < length for c in plan.cutoffs)


def test_two_seasons_come_before_the_first_cutoff_where_they_fit() -> None:
    year = make_series(np.ones(400), kind=CalendarKind.DAILY, periods=(7, 365))
    assert minimum_training(year, Horizon(steps=7)) == 133  # a third; two years do not fit
    year = make_series(np.ones(900), kind=CalendarKind.DAILY, periods=(7, 365))
    assert minimum_training(year, Horizon(steps=7)) == 731
    assert minimum_training(make_series(np.ones(9000)), Horizon(steps=7)) == 500
    assert minimum_training(make_series(np.ones(30)), Horizon(steps=7)) == 20


def test_own_minimum_and_counts_are_kept() -> None:
    plan = plan_cutoffs(make_series(np.ones(1000)), Horizon(steps=7), windows=10, replays=3, min_train=900)
    assert plan.wanted == 15
    assert plan.cutoffs[0] >= make_series(np.ones(1000)).dates[899]
