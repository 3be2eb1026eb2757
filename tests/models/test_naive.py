import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from horizoncast.calendar import CalendarKind
from horizoncast.errors import HistoryTooShortError, ModelError
from horizoncast.forecast import Failure, Flag
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.naive import best_period, ewma_volatility, gaussian_prediction
from horizoncast.models.registry import make_member
from horizoncast.series import Scale
from support import make_series, weekly_season

changes_strategy = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=80)


def forecast(name, series, steps, **settings):
    (found,) = make_member(name, settings).forecast(series, [series.last], Horizon(steps=steps), LEVELS)
    return found


@given(changes_strategy, st.floats(0.5, 0.99))
def test_ewma_is_the_riskmetrics_recursion(changes, decay):
    r = np.array(changes)
    variance = np.mean(r[:20] ** 2)
    expected = []
    for value in r:
        variance = decay * variance + (1 - decay) * value**2
        expected.append(np.sqrt(variance))
    assert np.allclose(ewma_volatility(r, decay), expected, rtol=1e-9, atol=1e-12)


def test_ewma_of_constant_changes_is_their_size():
    assert np.allclose(ewma_volatility(np.full(50, -0.3), 0.94), 0.3)


@given(changes_strategy.filter(lambda c: len(c) > 25))
def test_ewma_past_the_start_ignores_what_comes_later(changes):
    r = np.array(changes)
    assert np.array_equal(ewma_volatility(r, 0.94)[:22], ewma_volatility(r[:22], 0.94))


def test_random_walk_widens_by_the_root_of_the_step():
    rng = np.random.default_rng(0)
    series = make_series(np.exp(np.cumsum(0.01 * rng.standard_normal(200))), scale=Scale.LOG)
    found = forecast("random_walk", series, 9)
    assert np.allclose(found.point, series.values[-1])
    sigma = ewma_volatility(np.diff(np.log(series.values)), 0.94)[-1]
    expected = np.log(series.values[-1]) + sigma * np.sqrt(np.arange(1, 10)) * norm.ppf(0.975)
    assert np.allclose(np.log(found.quantile(0.975)), expected)


def test_random_walk_uses_its_window_only():
    values = 10 + np.cumsum(np.random.default_rng(1).standard_normal(300))
    longer = make_series(values)
    shorter = make_series(values[-80:])
    left, right = (forecast("random_walk", s, 4, window=80) for s in (longer, shorter))
    assert np.allclose(left.quantiles, right.quantiles)


@pytest.mark.parametrize(("lead", "seasons"), [(1, 1), (7, 1), (8, 2), (14, 2), (15, 3), (21, 3)])
def test_seasonal_naive_width_grows_by_the_season(lead, seasons):
    """Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., table 5.2."""
    series = weekly_season(noise=0.5)
    found = forecast("seasonal_naive", series, 21)
    z = series.values
    rms = np.sqrt(np.mean((z[7:] - z[:-7]) ** 2))
    expected = norm.ppf(0.9) * rms * np.sqrt(seasons)
    assert np.isclose(found.quantile(0.9)[lead - 1] - found.point[lead - 1], expected)


def test_seasonal_naive_repeats_the_last_season():
    series = weekly_season(noise=0.5)
    found = forecast("seasonal_naive", series, 17)
    assert np.allclose(found.point, np.tile(series.values[-7:], 3)[:17])


def test_best_period_is_the_one_that_shows():
    day = np.tile(np.arange(24.0), 40)
    week = np.tile(np.concatenate([np.arange(120.0), np.zeros(48)]), 6)
    assert best_period(day, (24, 168)) == 24
    assert best_period(week, (24, 168)) == 168


def test_best_period_skips_seasons_the_history_cannot_hold():
    assert best_period(np.arange(20.0), (7, 52)) == 7


def test_best_period_refuses_a_short_history_and_no_season():
    with pytest.raises(HistoryTooShortError, match="at least 14"):
        best_period(np.arange(13.0), (7,))
    with pytest.raises(ModelError, match="no season"):
        best_period(np.arange(13.0), ())


def test_series_without_a_season_is_a_failure_of_the_seasonal_naive():
    series = make_series(np.arange(60.0), kind=CalendarKind.DAILY, periods=())
    found = forecast("seasonal_naive", series, 3)
    assert isinstance(found, Failure)
    assert found.code == "ModelError"


def test_zero_spread_is_flagged_and_finite():
    prediction = gaussian_prediction(np.full(3, 2.0), np.zeros(3), LEVELS)
    assert np.array_equal(prediction.quantiles, np.full((3, len(LEVELS)), 2.0))
    assert prediction.flags == (Flag.DEGENERATE_WIDTH,)
    assert gaussian_prediction(np.zeros(3), np.ones(3), LEVELS).flags == ()
