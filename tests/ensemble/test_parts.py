"""Parts of the uncertainty: the law of total variance, against a simulated mixture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from horizoncast.ensemble.parts import (
    UNCERTAINTY_PARTS,
    hierarchical_uncertainty,
    root_sum_of_squares,
    uncertainty_parts,
)
from horizoncast.errors import BankError
from horizoncast.horizon import LEVELS
from horizoncast.metrics import stated_spread


def gaussians(means, spreads):
    return np.array([[m + s * norm.ppf(LEVELS)] for m, s in zip(means, spreads, strict=True)])


def test_parts_add_up_to_the_variance_of_a_simulated_mixture():
    means, spreads, weights = [0.0, 3.0, -1.0], [1.0, 0.5, 2.0], np.array([0.5, 0.3, 0.2])
    rng = np.random.default_rng(1)
    which = rng.choice(3, size=400_000, p=weights)
    drawn = rng.normal(np.array(means)[which], np.array(spreads)[which])
    parts = uncertainty_parts(gaussians(means, spreads), weights, LEVELS)
    assert parts.shape == (len(UNCERTAINTY_PARTS), 1)
    assert parts.sum() == pytest.approx(drawn.var(), rel=0.01)


@given(st.floats(-5, 5), st.floats(0.1, 3))
def test_members_that_agree_leave_nothing_between_them(mean, spread):
    within, between = uncertainty_parts(gaussians([mean] * 3, [spread] * 3), np.array([1, 2, 3.0]), LEVELS)
    assert within[0] == pytest.approx(spread**2)
    assert between[0] == pytest.approx(0, abs=1e-12)


def test_members_without_weight_may_be_missing():
    rows = gaussians([0.0, np.nan], [1.0, 1.0])
    assert np.isfinite(uncertainty_parts(rows, np.array([1.0, 0.0]), LEVELS)).all()


@pytest.mark.parametrize(("weights", "levels"), [([0.0, 0.0], LEVELS), ([1.0, 1.0], (0.25, 0.5, 0.75))])
def test_what_cannot_be_computed_is_refused(weights, levels):
    with pytest.raises(BankError):
        uncertainty_parts(np.zeros((2, 1, len(levels))), np.array(weights), levels)


SQUARES = arrays(np.float64, (3, 5), elements=st.floats(0, 100))


@given(SQUARES, SQUARES, arrays(np.float64, (3, 5), elements=st.floats(-50, 50)), st.integers(0, 99))
def test_three_parts_add_up_at_every_lead(epistemic, aleatoric, medians, seed):
    """Against the second moment of the mixture less the square of its mean."""
    weights = np.random.default_rng(seed).dirichlet(np.ones(3), size=5).T
    found = hierarchical_uncertainty(epistemic, aleatoric, medians, weights)
    moment = (weights * (epistemic + aleatoric + medians**2)).sum(axis=0)
    variance = moment - (weights * medians).sum(axis=0) ** 2
    np.testing.assert_allclose(found.total, variance, rtol=1e-9, atol=1e-8)
    np.testing.assert_allclose(found.epistemic + found.aleatoric + found.between, found.spread**2)
    assert min(found.epistemic.min(), found.aleatoric.min(), found.between.min()) >= 0
    known = found.total > 0
    np.testing.assert_allclose(found.shares.sum(axis=0)[known], 1.0)


def test_three_parts_and_two_are_the_same_variance():
    rows, weights = gaussians([0.0, 3.0], [1.0, 2.0]), np.array([0.7, 0.3])
    within, between = uncertainty_parts(rows, weights, LEVELS)
    square = stated_spread(rows, LEVELS) ** 2
    found = hierarchical_uncertainty(0.25 * square, 0.75 * square, np.array([[0.0], [3.0]]), weights)
    assert found.epistemic + found.aleatoric == pytest.approx(within)
    assert found.between == pytest.approx(between)


def test_two_calibrated_branches_that_agree_cover_what_they_say():
    """The root of the sum of squares covers 93 % where 80 % is said; the law of total variance 80 %."""
    spreads, medians = np.ones((2, 1)), np.zeros((2, 1))
    half = norm.ppf(0.9)
    drawn = np.abs(np.random.default_rng(5).normal(size=200_000))
    right = hierarchical_uncertainty(np.zeros((2, 1)), spreads**2, medians, np.array([0.5, 0.5])).spread
    assert (drawn <= half * right[0]).mean() == pytest.approx(0.80, abs=0.005)
    double = root_sum_of_squares(spreads, medians)
    assert (drawn <= half * double[0]).mean() == pytest.approx(0.93, abs=0.005)
    assert root_sum_of_squares(np.array([[3.0], [4.0]]), np.array([[0.0], [12.0]])) == pytest.approx(13.0)


def test_a_branch_without_weight_may_be_missing_at_a_lead():
    gap = np.array([[1.0, np.nan], [4.0, 4.0]])
    weights = np.array([[1.0, 0.0], [1.0, 1.0]])
    found = hierarchical_uncertainty(gap, gap, gap, weights)
    np.testing.assert_allclose(found.epistemic, [2.5, 4.0])
    with pytest.raises(BankError):
        hierarchical_uncertainty(gap, gap, gap, np.array([0.5, 0.5]))
    with pytest.raises(BankError):
        hierarchical_uncertainty(gap, gap, gap, np.array([[1.0, 0.0], [1.0, 0.0]]))
    with pytest.raises(BankError):
        hierarchical_uncertainty(-np.ones((2, 2)), np.ones((2, 2)), np.ones((2, 2)), np.array([0.5, 0.5]))
