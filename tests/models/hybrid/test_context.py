"""Signals of the recent past, against series whose answer is known, and the rule that uses them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy, percentileofscore

from horizoncast.errors import HistoryTooShortError, ModelError
from horizoncast.models.hybrid.context import (
    Context,
    context_of,
    known_share,
    spectral_entropy,
    strengths,
    volatility_percentile,
)
from horizoncast.models.naive import ewma_volatility


def wave(n: int = 600, period: int = 12, noise: float = 0.1, slope: float = 0.0, seed: int = 0) -> np.ndarray:
    t = np.arange(n)
    return (
        np.sin(2 * np.pi * t / period) + slope * t + np.random.default_rng(seed).normal(scale=noise, size=n)
    )


def test_strengths_of_a_planted_season_and_trend() -> None:
    """var(S) = 1/2, var(R) = 1/4, var(T) = 30^2 / 12: 2/3 and 0.9967 for who knows the parts.

    STL takes some noise for season (its smoother sees 11 seasons), so the estimate lies above, by up to 0.12.
    """
    season, _ = strengths(wave(3000, noise=0.5), 12)
    assert 2 / 3 <= season < 2 / 3 + 0.12
    same, trend = strengths(wave(3000, noise=0.5, slope=0.01), 12)
    assert same == pytest.approx(season, abs=0.02)
    assert trend == pytest.approx(1.0 - 0.25 / (0.25 + 30**2 / 12), abs=0.002)


def test_more_noise_is_less_season() -> None:
    found = [strengths(wave(1200, noise=noise), 12)[0] for noise in (0.01, 0.3, 1.0, 5.0)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.999


def test_a_year_that_repeats_and_grows_is_all_season_and_trend() -> None:
    """The passengers of 1949 (Box & Jenkins 1976), twelve times over, 11 % more each year, in logs."""
    years, months = np.divmod(np.arange(144), 12)
    shape = np.array([112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118])
    season, trend = strengths(np.log(shape[months] * 1.11**years), 12)
    assert season > 0.99
    assert trend > 0.99


@given(st.floats(0.01, 100.0), st.floats(-50, 50), st.integers(0, 50))
def test_unit_and_level_do_not_matter(unit: float, level: float, seed: int) -> None:
    z = wave(200, noise=0.7, seed=seed)
    one, other = context_of(z, 12), context_of(unit * z + level, 12)
    for name in ("season", "trend", "entropy", "volatility"):
        assert getattr(other, name) == pytest.approx(getattr(one, name), abs=1e-6)


@pytest.mark.parametrize("period", [5, 12])
def test_noise_and_random_walks_have_little_season(period: int) -> None:
    for seed in range(5):
        noise = np.random.default_rng(seed).normal(size=1000)
        assert strengths(noise, period)[0] < 0.3
        assert strengths(np.cumsum(noise), period)[0] < 0.3
    assert strengths(wave(1000, period, noise=0.5), period)[0] > 0.6


def test_the_percentile_is_the_mean_rank_of_scipy() -> None:
    changes = np.random.default_rng(1).normal(size=900)
    among = ewma_volatility(changes, 0.94)[-500:]
    want = percentileofscore(among, among[-1], kind="mean") / 100
    assert volatility_percentile(changes, 0.94) == pytest.approx(want)


def test_a_storm_is_the_top_of_its_regime_and_a_calm_the_bottom() -> None:
    changes = np.random.default_rng(2).normal(size=600)
    storm, calm = changes.copy(), changes.copy()
    storm[-20:] *= 8.0
    calm[-80:] *= 0.01
    assert volatility_percentile(storm, 0.94) > 0.95
    assert volatility_percentile(calm, 0.94) < 0.05
    assert volatility_percentile(np.zeros(50), 0.94) == 0.5


def test_entropy_of_white_noise_of_a_line_and_by_hand() -> None:
    noise = np.random.default_rng(3).normal(size=4000)
    assert spectral_entropy(noise) > 0.98
    assert spectral_entropy(np.sin(2 * np.pi * np.arange(4096) / 16)) < 0.3
    short = noise[:128]
    taper = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
    power = np.abs(np.fft.rfft(taper * (short - short.mean()))) ** 2
    power[1:-1] *= 2.0  # one-sided
    assert spectral_entropy(short) == pytest.approx(entropy(power[1:]) / np.log(64))
    assert spectral_entropy(np.zeros(40)) == 1.0


def test_a_random_walk_looks_like_one() -> None:
    z = np.cumsum(np.random.default_rng(5).normal(size=2000))
    found = context_of(z, None)
    assert (found.season, found.trend) == (0.0, 0.0)
    assert found.entropy > 0.97


@pytest.mark.parametrize(
    ("season", "volatility", "share"),
    [(0.9, 0.1, 0.8), (0.9, 0.95, 0.8), (0.2, 0.95, 0.3), (0.2, 0.5, 0.6), (0.64, 0.0, 0.8), (0.0, 0.8, 0.3)],
)
def test_the_known_rule(season: float, volatility: float, share: float) -> None:
    assert known_share(Context(season=season, trend=0.0, volatility=volatility, entropy=1.0)) == share


def test_what_cannot_be_computed_is_refused() -> None:
    with pytest.raises(HistoryTooShortError):
        strengths(np.arange(20.0), 12)
    with pytest.raises(HistoryTooShortError):
        spectral_entropy(np.arange(5.0))
    with pytest.raises(ModelError):
        strengths(np.arange(50.0), 1)
    with pytest.raises(ModelError):
        volatility_percentile(np.array([1.0, np.nan, 2.0]), 0.94)
