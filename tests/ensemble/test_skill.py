"""The skill factor: its formula by hand, a planted signal, noise, signs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.ensemble.skill import prior_for, shrink, skill_factor
from horizoncast.horizon import Horizon
from horizoncast.series import Scale


def test_the_formula_by_hand() -> None:
    p, r = np.array([[0.2], [-0.1], [0.3]]), np.array([[0.5], [0.2], [0.1]])
    above = 0.2 * 0.5 - 0.1 * 0.2 + 0.3 * 0.1
    below = 0.04 + 0.01 + 0.09 + (30 / 5) * (0.25 + 0.04 + 0.01) / 3 / 0.25**2
    got = skill_factor(p, r, horizon=Horizon(steps=30), stride=5, prior=0.25)
    assert got == pytest.approx(above / below)


def test_no_overlap_is_no_discount_below_one() -> None:
    p = np.array([[1.0], [2.0]])
    got = skill_factor(p, p, horizon=Horizon(steps=2), stride=10, prior=1.0)
    assert got == pytest.approx(5.0 / (5.0 + 1.0 * 2.5))


def test_unknown_cells_are_left_out() -> None:
    p, r = np.array([[0.2, 9.0], [0.3, np.nan]]), np.array([[0.5, np.nan], [0.1, 7.0]])
    keep = skill_factor(p[:, :1], r[:, :1], horizon=Horizon(steps=2), stride=2, prior=0.5)
    assert skill_factor(p, r, horizon=Horizon(steps=2), stride=2, prior=0.5) == keep > 0


def test_nothing_predicted_or_known_is_no_skill() -> None:
    zero, one, gone = np.zeros((4, 2)), np.ones((4, 2)), np.full((4, 2), np.nan)
    for p, r in [(zero, one), (gone, one), (one, gone), (one[:0], one[:0])]:
        assert skill_factor(p, r, horizon=Horizon(steps=2), stride=2, prior=0.5) == 0.0


def test_a_planted_signal_is_kept_and_noise_is_shrunk() -> None:
    rng = np.random.default_rng(0)
    kept, shrunk = [], []
    for _ in range(200):
        signal, noise = rng.standard_normal((2, 40, 5))
        kept.append(skill_factor(signal, signal + noise, horizon=Horizon(steps=7), stride=5, prior=0.5))
        shrunk.append(skill_factor(0.2 * signal, noise, horizon=Horizon(steps=7), stride=5, prior=0.5))
    assert np.mean(kept) > 0.9
    assert np.mean(shrunk) < 0.1


@given(st.integers(0, 10_000))
def test_the_factor_lies_in_the_unit_interval_and_a_wrong_sign_gives_zero(seed: int) -> None:
    p, r = np.random.default_rng(seed).standard_normal((2, 20, 4))
    args = {"horizon": Horizon(steps=15), "stride": 5, "prior": 0.5}
    one, other = skill_factor(p, r, **args), skill_factor(-p, r, **args)
    assert 0.0 <= one <= 1.0
    assert min(one, other) == 0.0


def test_priors_by_horizon_scale_and_naive() -> None:
    assert prior_for(Horizon(steps=15), Scale.LOG, "random_walk") == 0.5
    assert prior_for(Horizon(steps=30), Scale.LOG, "random_walk") == 0.25
    assert prior_for(Horizon(steps=30), Scale.LEVEL, "random_walk") == 0.5
    assert prior_for(Horizon(steps=90), Scale.LOG, "seasonal_naive") == 0.5


@pytest.mark.parametrize(("kappa", "want"), [(0.0, 1.0), (1.0, 5.0), (0.25, 2.0)])
def test_shrinking_moves_every_quantile_alike(kappa: float, want: float) -> None:
    quantiles = np.array([[3.0, 5.0, 9.0]])
    out = shrink(quantiles, quantiles[:, 1], np.array([1.0]), kappa)
    assert out[0, 1] == pytest.approx(want)
    np.testing.assert_allclose(np.diff(out), np.diff(quantiles))
