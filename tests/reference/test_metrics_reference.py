"""Scores and tests against other people's software.

scoringrules (Zanetta & Allen), scikit-learn and statsmodels were written by others from the same
papers; where our formula is another one on purpose, the relation between the two is what is tested.
"""

import numpy as np
import pytest
import scoringrules as sr
from scipy.stats import norm, t
from sklearn.metrics import mean_pinball_loss
from statsmodels.tsa.stattools import diebold_mariano_test

from horizoncast import metrics
from horizoncast.horizon import DECILES, LEVELS
from horizoncast.validation.significance import diebold_mariano

RNG = np.random.default_rng(20240628)
ACTUAL = 3.0 + RNG.standard_normal((60, 4))
CENTRE = 3.0 + 0.3 * RNG.standard_normal((60, 4))
QUANTILES = CENTRE[..., None] + 1.3 * norm.ppf(LEVELS)


def column(level: float) -> np.ndarray:
    return QUANTILES[..., LEVELS.index(level)]


# quantile scores


@pytest.mark.parametrize("level", LEVELS)
def test_pinball_is_that_of_scikit_learn(level):
    ours = metrics.pinball(ACTUAL, column(level)[..., None], [level]).mean()
    theirs = mean_pinball_loss(ACTUAL.ravel(), column(level).ravel(), alpha=level)
    assert ours == pytest.approx(theirs, rel=1e-12)


def test_quantile_loss_is_the_crps_of_scoringrules_over_the_same_levels():
    """Berrisch & Ziel (2023): twice the mean pinball loss, every level with the same weight."""
    theirs = sr.crps_quantile(ACTUAL, QUANTILES, np.array(LEVELS), backend="numpy").mean()
    assert metrics.quantile_loss(ACTUAL, QUANTILES, LEVELS) == pytest.approx(theirs, rel=1e-12)


def test_on_even_levels_our_crps_weighs_levels_as_scoringrules_does():
    """Midpoint levels (i - 1/2) / n cut the unit interval into equal pieces: the two then agree."""
    levels = (np.arange(200) + 0.5) / 200
    quantiles = CENTRE[..., None] + 1.3 * norm.ppf(levels)
    theirs = sr.crps_quantile(ACTUAL, quantiles, levels, backend="numpy").mean()
    assert metrics.crps_quantile(ACTUAL, quantiles, list(levels)) == pytest.approx(theirs, rel=1e-12)


def test_crps_on_our_uneven_levels_comes_near_the_exact_one():
    """The closed form for a Gaussian (Gneiting & Raftery 2007, eq. 21) is the limit of many levels.

    Averaging the 19 levels with equal weights, as scoringrules does, would be off by more than 10 %
    here, because the product's levels crowd in the tails.
    """
    exact = sr.crps_normal(ACTUAL, CENTRE, 1.3, backend="numpy").mean()
    ours = metrics.crps_quantile(ACTUAL, QUANTILES, LEVELS)
    equal = sr.crps_quantile(ACTUAL, QUANTILES, np.array(LEVELS), backend="numpy").mean()
    assert ours == pytest.approx(exact, rel=0.015)
    assert abs(equal / exact - 1) > 5 * abs(ours / exact - 1)


def test_crps_of_many_quantiles_is_that_of_the_same_numbers_as_an_ensemble():
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = CENTRE[:5, :, None] + 1.3 * norm.ppf(levels)
    theirs = sr.crps_ensemble(ACTUAL[:5], quantiles, estimator="qd", backend="numpy").mean()
    assert metrics.crps_quantile(ACTUAL[:5], quantiles, list(levels)) == pytest.approx(theirs, rel=1e-6)


def test_wql_is_the_sum_of_scikit_learns_losses_over_the_sum_of_outcomes():
    at = [LEVELS.index(level) for level in DECILES]
    losses = [
        mean_pinball_loss(ACTUAL.ravel(), column(level).ravel(), alpha=level) * ACTUAL.size
        for level in DECILES
    ]
    theirs = 2 * np.mean(losses) / np.abs(ACTUAL).sum()
    ours = metrics.weighted_quantile_loss(ACTUAL, QUANTILES[..., at], DECILES)
    assert ours == pytest.approx(theirs, rel=1e-12)


# intervals


@pytest.mark.parametrize("share", [0.68, 0.8, 0.95, 0.98])
def test_interval_score_is_that_of_scoringrules(share):
    tail = round((1 - share) / 2, 6)
    low, high = column(tail), column(round(1 - tail, 6))
    theirs = sr.interval_score(ACTUAL, low, high, 1 - share, backend="numpy").mean()
    assert metrics.interval_score(ACTUAL, low, high, share) == pytest.approx(theirs, rel=1e-12)


def test_quantile_loss_is_the_weighted_interval_score():
    """Bracher et al. (2021), eq. 2: with weights alpha/2 the WIS is twice the mean pinball loss.

    The nine intervals and the median of the product's 19 levels. The median's term is added here:
    scoringrules 0.10 without numba adds the median itself where the paper has its absolute error.
    """
    tails = np.array(LEVELS[:9])
    low, high = QUANTILES[..., :9], QUANTILES[..., :9:-1]
    intervals = sr.weighted_interval_score(
        ACTUAL, column(0.5), low, high, 2 * tails, w_median=0.0, w_alpha=tails, backend="numpy"
    )
    theirs = intervals + 0.5 * np.abs(ACTUAL - column(0.5)) / 9.5
    ours = metrics.quantile_loss(ACTUAL, QUANTILES, LEVELS)
    assert ours == pytest.approx(theirs.mean(), rel=1e-12)


# Diebold-Mariano


def two_losses(count: int, overlap: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An outcome and two forecasts whose errors are moving averages, as overlapping windows make."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((3, count + overlap))
    smooth = np.stack([np.convolve(row, np.ones(overlap + 1), "valid") for row in noise])
    return smooth[0], smooth[0] + smooth[1], smooth[0] + 1.15 * smooth[2]


@pytest.mark.parametrize("count", [12, 40, 200])
@pytest.mark.parametrize("lags", [0, 1, 5])
def test_diebold_mariano_with_bartlett_weights_is_that_of_statsmodels(count, lags):
    y, a, b = two_losses(count, lags, seed=count + lags)
    theirs = diebold_mariano_test(y, a, b, lags=lags, criterion="mse", harvey_adj=True, horizon=lags + 1)
    statistic, p_value = diebold_mariano((y - a) ** 2, (y - b) ** 2, lags=lags, kernel="bartlett")
    assert statistic == pytest.approx(theirs.statistic, rel=1e-10)
    assert p_value == pytest.approx(theirs.pvalue, rel=1e-8)


def hln_by_hand(d: np.ndarray, h: int) -> tuple[float, float]:
    """Diebold & Mariano (1995) with rectangular weights, Harvey, Leybourne & Newbold (1997, eq. 9)."""
    n = len(d)
    total = 0.0
    for lag in range(-(h - 1), h):
        k = abs(lag)
        total += sum((d[i] - d.mean()) * (d[i - k] - d.mean()) for i in range(k, n)) / n
    dm = d.mean() / (total / n) ** 0.5
    statistic = dm * ((n + 1 - 2 * h + h * (h - 1) / n) / n) ** 0.5
    return statistic, 2 * t.cdf(-abs(statistic), n - 1)


@pytest.mark.parametrize("lags", [0, 1, 4])
def test_diebold_mariano_with_rectangular_weights_is_the_formula_of_the_papers(lags):
    y, a, b = two_losses(60, lags, seed=lags)
    first, second = np.abs(y - a), np.abs(y - b)
    statistic, p_value = hln_by_hand(first - second, lags + 1)
    ours = diebold_mariano(first, second, lags=lags)
    assert ours == pytest.approx((statistic, p_value), rel=1e-10)


def test_the_better_forecast_has_the_negative_statistic_and_the_test_is_symmetric():
    small, large = np.arange(30.0) % 3, np.arange(30.0) % 3 + 1 + 0.1 * (np.arange(30) % 2)
    statistic, p_value = diebold_mariano(small, large, lags=1)
    other, p_other = diebold_mariano(large, small, lags=1)
    assert statistic < 0
    assert p_value < 0.001
    assert (other, p_other) == pytest.approx((-statistic, p_value))


def test_a_rectangular_variance_that_is_not_positive_gives_way_to_bartlett():
    alternating = np.tile([1.0, -1.0], 10) + 0.01 * np.arange(20)
    zeros = np.zeros(20)
    got = diebold_mariano(alternating, zeros, lags=1)
    assert np.isfinite(got).all()
    assert got == diebold_mariano(alternating, zeros, lags=1, kernel="bartlett")


def test_nothing_can_be_told_from_too_few_or_identical_losses():
    assert np.isnan(diebold_mariano(np.ones(2), np.zeros(2), lags=0)).all()
    assert np.isnan(diebold_mariano(np.arange(9.0), np.arange(9.0), lags=2)).all()
