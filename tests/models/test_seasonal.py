"""Tests of the seasonal helper: which seasons are real, and what is added back."""

import csv

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.models.seasonal import (
    decompose,
    last_cycle,
    real_periods,
    season_autocorrelation,
    seasonal_strength,
    width_factor,
)
from support import shared_data


def read_column(name: str, column: str) -> np.ndarray:
    with shared_data(name).open() as lines:
        return np.array([float(row[column]) for row in csv.DictReader(lines) if row[column]])


def test_strength_is_one_without_remainder_and_zero_without_season():
    wave = np.tile([1.0, -1.0], 20)
    assert seasonal_strength(wave, np.zeros(40)) == 1.0
    assert seasonal_strength(np.zeros(40), wave) == 0.0
    assert seasonal_strength(np.zeros(4), np.zeros(4)) == 0.0


def test_strength_matches_the_definition():
    rng = np.random.default_rng(1)
    season, rest = rng.normal(size=50), rng.normal(size=50)
    assert seasonal_strength(season, rest) == max(0.0, 1 - np.var(rest) / np.var(season + rest))


def test_autocorrelation_of_a_noisy_season_estimates_its_share_of_variance():
    rng = np.random.default_rng(2)
    season = np.tile(np.sin(np.arange(12) * np.pi / 6), 300)
    z = season + 0.5 * rng.normal(size=len(season))
    share = np.var(np.diff(season)) / np.var(np.diff(z))
    assert season_autocorrelation(z, 12)[0] == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize("period", [4, 5, 7, 12, 24, 52])
def test_noise_and_random_walks_have_no_season(period):
    found = 0
    for seed in range(60):
        noise = np.random.default_rng(seed).normal(size=5 * period)
        found += bool(real_periods(noise, (period,))) + bool(real_periods(np.cumsum(noise), (period,)))
    assert found <= 2


def test_the_weekday_of_a_price_is_not_a_season():
    price = np.log(read_column("usdclp_panel_daily.csv", "usdclp"))
    for end in (1500, 3000, 4500, len(price)):
        assert real_periods(price[end - 1500 : end], (5,)) == ()


def test_the_month_of_air_passengers_is_a_season_from_three_years_on():
    passengers = np.log(read_column("airpassengers_monthly.csv", "y"))
    for end in (36, 60, 144):
        assert real_periods(passengers[:end], (12,)) == (12,)


def test_two_seasons_are_found_and_a_shorter_one_does_not_imply_its_multiple():
    rng = np.random.default_rng(3)
    t = np.arange(1200)
    day = 3 * np.sin(2 * np.pi * t / 24)
    week = np.where(t % 168 >= 120, -4.0, 0.0)
    noise = 0.3 * rng.normal(size=len(t))
    assert real_periods(day + week + noise, (24, 168)) == (24, 168)
    assert real_periods(day + noise, (24, 168)) == (24,)


def test_constant_and_short_series_have_no_season():
    assert real_periods(np.full(100, 3.0), (7,)) == ()
    assert real_periods(np.arange(14.0), (7,)) == ()
    assert real_periods(np.arange(50.0), ()) == ()


def test_decomposition_recovers_a_pure_season_and_adds_up():
    t = np.arange(140)
    week = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -2.0, -9.0])
    z = 0.1 * t + week[t % 7]
    parts = decompose(z, (7,))
    np.testing.assert_allclose(parts.seasonal.sum(axis=0) + parts.adjusted, z, atol=1e-12)
    np.testing.assert_allclose(
        parts.ahead(14) + parts.adjusted[-1],
        week[(t[-1] + 1 + np.arange(14)) % 7] + parts.adjusted[-1],
        atol=0.05,
    )


def test_decomposition_leaves_out_what_does_not_fit_twice_and_keeps_its_input():
    z = np.random.default_rng(4).normal(size=100)
    before = z.copy()
    parts = decompose(z, (7, 52))
    assert parts.periods == (7,)
    np.testing.assert_array_equal(z, before)
    none = decompose(z, ())
    np.testing.assert_array_equal(none.adjusted, z)
    np.testing.assert_array_equal(none.ahead(5), np.zeros(5))


@settings(max_examples=25, deadline=None)
@given(shift=st.floats(-1e3, 1e3), factor=st.sampled_from([1e-9, 1e-3, 1.0, 1e9]), seed=st.integers(0, 99))
def test_seasons_do_not_depend_on_unit_or_origin(shift, factor, seed):
    t = np.arange(120)
    z = np.sin(2 * np.pi * t / 12) + 0.2 * np.random.default_rng(seed).normal(size=120)
    assert real_periods(factor * (z + shift), (12,)) == (12,)
    np.testing.assert_allclose(
        decompose(factor * z, (12,)).seasonal,
        factor * decompose(z, (12,)).seasonal,
        rtol=1e-6,
        atol=1e-8 * factor,
    )


def test_last_cycle_repeats():
    np.testing.assert_array_equal(last_cycle(np.arange(9.0), 4, 6), [5, 6, 7, 8, 5, 6])


def test_width_factor_is_one_without_a_season_and_falls_with_cycles():
    assert width_factor((), 100) == 1.0
    factors = [width_factor((12,), n) for n in (24, 36, 48, 60, 600)]
    assert factors == sorted(factors, reverse=True)
    assert factors[0] == pytest.approx(np.sqrt(3.0))
    assert factors[-1] == pytest.approx(np.sqrt(1.5))


def test_width_factor_is_the_error_of_a_mean_forecast():
    rng = np.random.default_rng(5)
    draws = rng.normal(size=(200_000, 3))
    past, new = draws[:, :2], draws[:, 2]
    centre = past.mean(axis=1)
    ratio = np.std(new - centre) / np.std(past - centre[:, None])
    assert ratio == pytest.approx(width_factor((52,), 104), rel=0.01)
