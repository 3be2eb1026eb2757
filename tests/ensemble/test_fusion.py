"""Fusion by confidence: the published figures, units, limits, and branches that are sure and wrong."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import norm

from horizoncast.ensemble.fusion import CONFIDENCES, HIGHEST, LOWEST, fuse, fusion_weights, inverse_variance
from horizoncast.errors import BankError, UnknownNameError
from horizoncast.horizon import LEVELS
from horizoncast.metrics import stated_spread

SPREADS = arrays(np.float64, (3, 4), elements=st.floats(1e-3, 1e3))
EQUAL = np.ones(3) / 3


@given(SPREADS, st.floats(1e-6, 1e6))
def test_the_default_is_the_same_in_every_unit(spreads: np.ndarray, unit: float) -> None:
    np.testing.assert_allclose(
        fusion_weights(unit * spreads, EQUAL), fusion_weights(spreads, EQUAL), rtol=1e-9
    )


def test_the_known_rule_is_not() -> None:
    """8 and 12 pesos, and the same two in units a thousand times larger."""
    spreads, even = np.array([[8.0], [12.0]]), np.array([0.5, 0.5])
    pesos, thousands = (fusion_weights(unit * spreads, even, "inverse_shifted")[0, 0] for unit in (1, 1e-3))
    assert pesos == pytest.approx(0.591, abs=5e-4)
    assert thousands == pytest.approx(0.501, abs=5e-4)
    assert fusion_weights(spreads, even)[0, 0] == pytest.approx(0.692, abs=5e-4)


@given(SPREADS, arrays(np.float64, 3, elements=st.floats(0.01, 1.0)), st.sampled_from(sorted(CONFIDENCES)))
def test_weights_sum_to_one_and_follow_confidence_and_accuracy(
    spreads: np.ndarray, accuracy: np.ndarray, rule: str
) -> None:
    weights = fusion_weights(spreads, accuracy, rule)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    trusted = weights / accuracy[:, None]
    for h in range(4):
        order = np.argsort(spreads[:, h])
        assert (np.diff(trusted[order, h]) <= 1e-9 * trusted.max()).all(), "the surer counts for more"


@given(st.floats(1e-9, 1e9), st.floats(1e-9, 1e9))
def test_of_two_branches_confidence_gives_neither_all(one: float, other: float) -> None:
    weights = fusion_weights(np.array([[one], [other]]), np.array([0.5, 0.5]))
    assert weights.min() >= LOWEST - 1e-12 and weights.max() <= HIGHEST + 1e-12


def test_inverse_variance_is_the_best_average_of_independent_errors() -> None:
    """Of all averages of two unbiased forecasts, on 200,000 draws."""
    spreads = np.array([1.0, 1.5])
    errors = np.random.default_rng(2).normal(scale=spreads[:, None], size=(2, 200_000))
    grid = np.linspace(0.0, 1.0, 201)
    best = grid[np.argmin([np.var(w * errors[0] + (1 - w) * errors[1]) for w in grid])]
    assert inverse_variance(spreads[:, None])[0, 0] == pytest.approx(best, abs=0.011)


def test_a_branch_that_is_sure_and_wrong_does_not_win() -> None:
    accuracy = np.array([0.05, 0.95])  # the first has been far off in the past
    assert fusion_weights(np.array([[0.01], [1.0]]), accuracy)[0, 0] < 0.2
    assert inverse_variance(np.array([[0.01], [1.0]]))[0, 0] > 0.99


def test_branches_without_spread_share_a_lead() -> None:
    spreads = np.array([[0.0, 0.0], [0.0, 2.0], [1.0, 2.0]])
    np.testing.assert_array_equal(inverse_variance(spreads), [[0.5, 1.0], [0.5, 0.0], [0.0, 0.0]])
    assert (inverse_variance(np.zeros((2, 1))) == 0.5).all()


def test_a_branch_without_weight_may_be_missing() -> None:
    spreads = np.array([[1.0], [np.nan], [1.0]])
    weights = fusion_weights(spreads, np.array([0.5, 0.0, 0.5]))
    np.testing.assert_array_equal(weights, [[0.5], [0.0], [0.5]])
    with pytest.raises(BankError):
        fusion_weights(spreads, EQUAL)


@pytest.mark.parametrize("accuracy", [[0.0, 0.0], [-1.0, 2.0], [np.nan, 1.0]])
def test_impossible_weights_are_refused(accuracy: list[float]) -> None:
    with pytest.raises(BankError):
        fusion_weights(np.ones((2, 3)), np.array(accuracy))


def test_an_unknown_rule_is_refused_with_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="inverse_variance"):
        fusion_weights(np.ones((2, 3)), np.array([0.5, 0.5]), "inverse_varianse")


def test_fused_quantiles_follow_the_weights_of_their_lead() -> None:
    """Normal branches: the fused median and spread are the weighted ones at each lead."""
    means, spreads = np.array([[0.0, 0.0], [4.0, 4.0]]), np.array([[1.0, 2.0], [2.0, 1.0]])
    quantiles = means[..., None] + spreads[..., None] * norm.ppf(LEVELS)
    np.testing.assert_allclose(stated_spread(quantiles, LEVELS), spreads)
    weights = fusion_weights(stated_spread(quantiles, LEVELS), np.array([0.5, 0.5]))
    np.testing.assert_allclose(weights, [[0.8, 0.2], [0.2, 0.8]])
    fused = fuse(quantiles, weights)
    np.testing.assert_allclose(fused[:, LEVELS.index(0.5)], [0.8, 3.2])
    np.testing.assert_allclose(stated_spread(fused, LEVELS), [1.2, 1.2])
    assert (np.diff(fused, axis=1) > 0).all()
    with pytest.raises(BankError, match="per branch and lead"):
        fuse(quantiles, weights[:, :1])
