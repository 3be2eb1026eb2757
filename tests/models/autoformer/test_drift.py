"""The drift of the naive forecast: found where a series grows, absent where it has no season."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.calendar import CalendarKind
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.autoformer.anchor import naive_at
from horizoncast.models.autoformer.drift import Drift, anchored, growth
from horizoncast.models.lag_features import choose_design, window_of
from horizoncast.models.registry import make_member
from horizoncast.series import Scale
from support import make_series


def quarters(growing: float, seed: int = 0, length: int = 80):
    """A season of four with noise, growing by so much a quarter."""
    rng = np.random.default_rng(seed)
    values = 100.0 + np.tile([4.0, 9.0, 6.0, 2.0], length // 4) + growing * np.arange(length)
    return make_series(values + rng.standard_normal(length), kind=CalendarKind.QUARTERLY, periods=(4,))


def found(series, steps=8):
    window = window_of(series.until(series.last))
    design = choose_design(window, series.periods, Horizon(steps=steps))
    return window, *anchored(window.z, design, series.periods, steps)


def test_a_growing_series_has_a_drift_and_its_naive_forecast_carries_it_on():
    series = quarters(2.0)
    window, design, drift = found(series)
    assert drift is not None
    assert drift.weight > 0.99
    assert drift.spread < 0.7
    assert design.anchor == 4  # the trend hid it
    rows = np.array([60])
    bare, wide = naive_at(window, design, rows, 8)
    anchor, spread = naive_at(window, design, rows, 8, drift)
    actual = window.z[61:69]
    assert np.abs(actual - anchor).mean() < 0.4 * np.abs(actual - bare).mean()
    assert np.allclose(spread, drift.spread * wide)


def test_of_a_walk_with_a_declared_season_little_is_carried_on():
    """Its past changes say nothing of the coming ones; the weight is what even odds and the past leave."""
    weights = []
    for seed in range(20):
        walk = np.cumsum(np.random.default_rng(seed).standard_normal(300))
        _, _, drift = found(make_series(200.0 + walk, kind=CalendarKind.DAILY, periods=(7,)), 7)
        assert drift is not None
        weights.append(drift.weight)
    assert np.mean(weights) < 0.4


def test_a_price_that_declares_its_week_keeps_the_random_walk():
    for seed in range(6):
        walk = np.exp(0.006 * np.cumsum(np.random.default_rng(seed).standard_normal(400)))
        member = make_member("autoformer", {"steps": 0})
        price = make_series(walk, periods=(5,), scale=Scale.LOG)
        assert member.fit(price.until(price.last), Horizon(steps=7)).drift is None


def test_prices_and_short_histories_have_none():
    walk = 50.0 + np.cumsum(np.random.default_rng(0).standard_normal(300))
    assert found(make_series(walk, periods=()))[2] is None
    assert found(quarters(1.0, length=8), 2)[2] is None


def test_too_few_rows_to_judge_by_are_even_odds():
    series = quarters(1.0, length=20)
    drift = found(series)[2]
    assert drift == Drift(period=4, weight=0.5, spread=1.0)


def test_a_constant_keeps_its_naive_forecast():
    series = make_series(np.full(60, 3.0), kind=CalendarKind.QUARTERLY, periods=(4,))
    assert found(series, 4)[2] is None


def test_a_season_without_a_trend_keeps_its_anchor():
    _, design, drift = found(quarters(0.0))
    assert design.anchor == 4
    assert drift is not None
    assert drift.weight < 0.6


@given(at=st.integers(25, 60), anchor=st.sampled_from((1, 4)), seed=st.integers(0, 99))
def test_growth_is_that_of_the_last_seasons_and_of_nothing_later(at, anchor, seed):
    z = np.random.default_rng(seed).standard_normal(80)
    later = z.copy()
    later[at + 1 :] = 1e6
    rows = np.array([at])
    (step,) = growth(z, 4, anchor, rows, 6)
    assert np.array_equal(step, growth(later, 4, anchor, rows, 6)[0])
    yearly = np.mean([z[at - k] - z[at - k - 4] for k in range(16)])
    distance = np.array([1, 2, 3, 4, 5, 6]) if anchor == 1 else np.array([4, 4, 4, 4, 8, 8])
    assert np.allclose(step, yearly * distance / 4)


@pytest.mark.parametrize("steps", [0, 1200])
def test_the_member_follows_a_trend_on_a_short_history(steps):
    """With its network and without."""
    series = quarters(2.0, seed=1)
    cutoff = series.dates[59]
    member = make_member("autoformer", {"steps": steps})
    (forecast,) = member.forecast(series, [cutoff], Horizon(steps=8), LEVELS)
    actual = series.actuals(forecast.cutoff, forecast.dates)
    assert np.abs(actual - forecast.point).mean() < 3.0


def test_a_prediction_sees_as_far_back_as_its_drift():
    """Two and a half years of days: the growth at a cutoff is measured on all of them."""
    days = np.arange(900)
    values = 100.0 + 10.0 * np.sin(2 * np.pi * days / 365) + np.sqrt(days)
    series = make_series(values, kind=CalendarKind.DAILY, periods=(365,))
    member = make_member("autoformer", {"steps": 0})
    history = series.until(series.last)
    state = member.fit(history, Horizon(steps=8))
    assert state.drift is not None
    assert state.drift.period == 365
    examples = member.inputs(state, history, Horizon(steps=8))
    whole, _ = naive_at(window_of(history, 8), state.design, np.array([899]), 8, state.drift)
    assert np.allclose(examples.anchor, whole)
