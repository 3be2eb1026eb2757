"""Formulas of the posterior and of the law of total variance; numpy only."""

import numpy as np
import pytest
from scipy import stats

from horizoncast.horizon import LEVELS
from horizoncast.models.autoformer.uncertainty import (
    at_levels,
    fit_last_layer,
    published_share,
    total_variance,
    variance_of,
    with_constant,
)

NORMAL = stats.norm.ppf(LEVELS)


def regression(n=400, width=3, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, width))
    return x, x @ np.array([1.0, -2.0, 0.5]) + 0.3 + 0.5 * rng.standard_normal(n)


def test_posterior_mean_is_ridge_regression():
    x, y = regression()
    layer = fit_last_layer(x, y, overlap=4.0, penalty=2.0, correct=True)
    phi = with_constant(x)
    expected = np.linalg.inv(phi.T @ phi + 8.0 * np.eye(4)) @ phi.T @ y
    assert np.allclose(layer.mean, expected)


def test_posterior_variance_is_the_formula():
    x, y = regression()
    layer = fit_last_layer(x, y, overlap=4.0, penalty=2.0, correct=True)
    phi = with_constant(x)
    noise = np.mean((y - phi @ layer.mean) ** 2)
    cov = noise * np.linalg.inv(phi.T @ phi / 4.0 + 2.0 * np.eye(4))
    new = np.random.default_rng(1).standard_normal((2, 5, 3))
    expected = np.einsum("bhu,uv,bhv->bh", with_constant(new), cov, with_constant(new))
    assert np.allclose(layer.variance(new), expected)


def test_without_correction_the_median_stays():
    x, y = regression()
    layer = fit_last_layer(x, y, overlap=1.0, penalty=1.0, correct=False)
    assert (layer.correction(x[None]) == 0).all()
    assert (layer.variance(x[None]) > 0).all()


def test_far_inputs_and_little_data_are_uncertain():
    x, y = regression()
    layer = fit_last_layer(x, y, overlap=1.0, penalty=1.0, correct=True)
    few = fit_last_layer(x, y, overlap=20.0, penalty=1.0, correct=True)
    near, far = np.zeros((1, 1, 3)), np.full((1, 1, 3), 5.0)
    assert layer.variance(far) > 10 * layer.variance(near)
    assert few.variance(near) > 5 * layer.variance(near)


def test_variance_of_normal_quantiles():
    assert variance_of(3.0 + 2.0 * NORMAL, LEVELS) == pytest.approx(4.0, rel=0.05)


def test_law_of_total_variance():
    """Two networks: same spread, medians one apart."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((2, 4, 3))
    parts = total_variance(centres[..., None] + NORMAL, LEVELS)
    assert np.allclose(parts.epistemic, centres.var(axis=0, ddof=1))
    assert np.allclose(parts.aleatoric, variance_of(NORMAL, LEVELS))
    spread = parts.quantiles[..., -1] - parts.quantiles[..., 9]
    widened = np.sqrt(1 + parts.epistemic / parts.aleatoric).clip(max=3.0)
    assert np.allclose(spread, widened * NORMAL[-1])
    assert np.allclose(parts.quantiles[..., 9], centres.mean(axis=0))


def test_the_published_share_is_that_of_draws_of_the_weights():
    """The law of total variance by sampling: draw weights, move the network, publish, compare variances."""
    rng = np.random.default_rng(1)
    noise, doubt, followed, calibrated = 1.5, 0.9, 0.6, 1.2
    parts = total_variance((2.0 + noise * NORMAL)[None, None, None], LEVELS, np.full((1, 1), doubt**2))
    own = parts.quantiles.copy()
    own = own[..., 9:10] + calibrated * (own - own[..., 9:10])
    published = NORMAL + followed * (own - NORMAL)
    found = published_share(parts, own, published, followed=followed, levels=LEVELS)
    medians = followed * calibrated * rng.normal(scale=doubt, size=400_000)
    whole = rng.normal(size=400_000) * (0.4 + followed * calibrated * np.hypot(noise, doubt))
    assert found[0, 0] == pytest.approx(medians.var() / whole.var(), rel=0.03)


@pytest.mark.parametrize(("followed", "doubt"), [(1.0, 0.0), (0.3, 0.7), (1.0, 0.7), (1.0, 50.0), (0.9, 1e6)])
def test_the_published_share_never_leaves_its_range(followed, doubt):
    parts = total_variance(NORMAL[None, None, None], LEVELS, np.full((1, 1), doubt))
    published = 2.0 * NORMAL + followed * (parts.quantiles - 2.0 * NORMAL)
    (share,) = published_share(parts, parts.quantiles, published, followed=followed, levels=LEVELS).ravel()
    if followed == 1.0:
        assert share == pytest.approx(min(doubt / (variance_of(NORMAL, LEVELS) + doubt), 8 / 9))
    assert 0.0 <= share < 1.0
    assert (share == 0.0) == (doubt == 0.0)


def test_a_forecast_without_any_spread_has_no_doubt_to_share():
    flat = np.zeros((1, 1, 19))
    parts = total_variance(flat[None], LEVELS, np.zeros((1, 1)))
    assert published_share(parts, flat, flat, followed=1.0, levels=LEVELS).tolist() == [[0.0]]


def test_no_epistemic_part_changes_nothing():
    quantiles = np.broadcast_to(NORMAL, (1, 2, 3, 19))
    parts = total_variance(quantiles, LEVELS, np.zeros((2, 3)))
    assert np.allclose(parts.quantiles, quantiles[0])


@pytest.mark.parametrize("wanted", [(0.5,), (0.003, 0.15, 0.45, 0.997)])
def test_other_levels_of_a_normal_are_exact(wanted):
    assert np.allclose(at_levels(NORMAL, LEVELS, wanted), stats.norm.ppf(wanted), atol=1e-9)
