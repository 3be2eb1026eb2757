"""Parts of the uncertainty: the law of total variance, against a simulated mixture."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from horizoncast.ensemble.parts import UNCERTAINTY_PARTS, uncertainty_parts
from horizoncast.errors import BankError
from horizoncast.horizon import LEVELS


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
