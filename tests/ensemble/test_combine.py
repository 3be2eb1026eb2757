"""Combining quantiles: identities, the analytic mixture, absent members."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import norm

from horizoncast.ensemble.combine import COMBINATIONS, linear_pool, quantile_average
from horizoncast.errors import BankError
from horizoncast.horizon import LEVELS

TAU = np.array(LEVELS)


def gaussian(mean: float, sd: float) -> np.ndarray:
    return (mean + sd * norm.ppf(TAU))[None, :]


def mixture(tau: float, parts: list[tuple[float, float, float]]) -> float:
    return brentq(lambda x: sum(w * norm.cdf(x, m, s) for w, m, s in parts) - tau, -50, 50)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_identical_members_give_the_member(name: str) -> None:
    one = np.stack([gaussian(1.0, 0.3)[0], gaussian(2.0, 0.6)[0]])
    out = COMBINATIONS[name](np.stack([one, one, one]), np.array([0.5, 0.3, 0.2]), LEVELS)
    np.testing.assert_allclose(out, one, atol=1e-9)


def test_the_quantile_average_of_normals_is_the_normal_of_averages() -> None:
    out = quantile_average(np.stack([gaussian(0.0, 1.0), gaussian(4.0, 3.0)]), np.array([0.75, 0.25]), LEVELS)
    np.testing.assert_allclose(out, gaussian(1.0, 1.5), atol=1e-12)


@pytest.mark.parametrize("parts", [[(0.5, -3.0, 1.0), (0.5, 3.0, 1.0)], [(0.8, 0.0, 1.0), (0.2, 2.0, 2.0)]])
def test_the_linear_pool_of_two_normals_is_their_mixture(parts: list[tuple[float, float, float]]) -> None:
    """Against the mixture's quantiles; levels between the members' outermost ones are exact to the knots."""
    out = linear_pool(
        np.stack([gaussian(m, s) for _, m, s in parts]), np.array([w for w, _, _ in parts]), LEVELS
    )[0]
    want = np.array([mixture(t, parts) for t in LEVELS])
    inner = (TAU >= 0.05) & (TAU <= 0.95) & (np.abs(TAU - 0.5) > 1e-9)
    np.testing.assert_allclose(out[inner], want[inner], atol=0.06)


def test_the_linear_pool_is_wider_than_the_average() -> None:
    members = np.stack([gaussian(-1.0, 1.0), gaussian(1.0, 1.0)])
    pool, average = (f(members, np.array([0.5, 0.5]), LEVELS)[0] for f in (linear_pool, quantile_average))
    assert pool[-1] - pool[0] > average[-1] - average[0]


def test_the_linear_pool_resolves_a_narrow_member_beside_a_wide_one() -> None:
    """A thousandfold spread: a fixed grid between the extremes would miss the narrow member."""
    parts = [(0.9, 0.0, 1e-3), (0.1, 0.0, 1.0)]
    out = linear_pool(np.stack([gaussian(0.0, 1e-3), gaussian(0.0, 1.0)]), np.array([0.9, 0.1]), LEVELS)[0]
    at = [LEVELS.index(level) for level in (0.2, 0.4, 0.6, 0.8)]
    want = np.array([mixture(LEVELS[i], parts) for i in at])
    np.testing.assert_allclose(out[at], want, rtol=0.1)


@pytest.mark.parametrize("scale", [1.0, 1e12])
def test_the_linear_pool_takes_a_member_without_width(scale: float) -> None:
    flat = np.full((1, len(LEVELS)), 2.0 * scale)
    with np.errstate(all="raise"):
        out = linear_pool(np.stack([flat, gaussian(0.0, scale)]), np.array([0.3, 0.7]), LEVELS)[0]
    assert np.isfinite(out).all()
    assert (np.diff(out) >= 0).all()
    assert linear_pool(np.stack([flat, flat]), np.array([0.3, 0.7]), LEVELS)[0] == pytest.approx(flat[0])


@pytest.mark.parametrize("name", COMBINATIONS)
def test_members_of_weight_zero_may_be_absent(name: str) -> None:
    here, absent = gaussian(1.0, 2.0), np.full((1, len(LEVELS)), np.nan)
    out = COMBINATIONS[name](np.stack([here, absent]), np.array([1.0, 0.0]), LEVELS)
    np.testing.assert_allclose(out, here, atol=1e-9)


@pytest.mark.parametrize("name", COMBINATIONS)
def test_an_absent_member_with_weight_is_refused(name: str) -> None:
    absent = np.full((1, len(LEVELS)), np.nan)
    with pytest.raises(BankError, match="no forecast"):
        COMBINATIONS[name](np.stack([gaussian(1.0, 2.0), absent]), np.array([0.9, 0.1]), LEVELS)


@settings(max_examples=50, deadline=None)
@given(
    means=st.lists(st.floats(-10, 10), min_size=2, max_size=4),
    name=st.sampled_from(sorted(COMBINATIONS)),
    seed=st.integers(0, 99),
)
def test_combined_quantiles_never_cross_nor_leave_the_members(
    means: list[float], name: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    members = np.stack(
        [gaussian(m, s) for m, s in zip(means, rng.uniform(0.1, 3.0, len(means)), strict=True)]
    )
    out = COMBINATIONS[name](members, rng.dirichlet(np.ones(len(means))), LEVELS)
    assert (np.diff(out, axis=-1) >= 0).all()
    assert (out >= members.min(axis=0) - 1e-9).all()
    assert (out <= members.max(axis=0) + 1e-9).all()
