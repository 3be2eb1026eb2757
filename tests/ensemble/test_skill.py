"""The skill slopes: their formula by hand, a planted signal, noise, signs, several members."""

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from horizoncast.ensemble.skill import nonnegative_ridge, prior_for, shifted, skill_slopes
from horizoncast.horizon import Horizon
from horizoncast.series import Scale


def factor(p: np.ndarray, r: np.ndarray, **settings: Any) -> float:
    """The slope of a single member: the scalar skill factor."""
    return float(skill_slopes(p[None], r, np.ones(1), **settings)[0])


def test_one_member_is_the_scalar_formula_by_hand() -> None:
    p, r = np.array([[0.2], [-0.1], [0.3]]), np.array([[0.5], [0.2], [0.1]])
    above = 0.2 * 0.5 - 0.1 * 0.2 + 0.3 * 0.1
    below = 0.04 + 0.01 + 0.09 + (30 / 5) * (0.25 + 0.04 + 0.01) / 3 / 0.25**2
    got = factor(p, r, horizon=Horizon(steps=30), stride=5, prior=0.25)
    assert got == pytest.approx(above / below)


def test_no_overlap_is_no_discount_below_one() -> None:
    p = np.array([[1.0], [2.0]])
    got = factor(p, p, horizon=Horizon(steps=2), stride=10, prior=1.0)
    assert got == pytest.approx(5.0 / (5.0 + 1.0 * 2.5))


def test_unknown_cells_are_left_out() -> None:
    p, r = np.array([[0.2, 9.0], [0.3, np.nan]]), np.array([[0.5, np.nan], [0.1, 7.0]])
    keep = factor(p[:, :1], r[:, :1], horizon=Horizon(steps=2), stride=2, prior=0.5)
    assert factor(p, r, horizon=Horizon(steps=2), stride=2, prior=0.5) == keep > 0


def test_nothing_predicted_or_known_is_no_skill() -> None:
    zero, one, gone = np.zeros((4, 2)), np.ones((4, 2)), np.full((4, 2), np.nan)
    for p, r in [(zero, one), (gone, one), (one, gone), (one[:0], one[:0]), (1e-12 * one, one)]:
        assert factor(p, r, horizon=Horizon(steps=2), stride=2, prior=0.5) == 0.0


def test_a_planted_signal_is_kept_and_noise_is_shrunk() -> None:
    rng = np.random.default_rng(0)
    kept, shrunk = [], []
    for _ in range(200):
        signal, noise = rng.standard_normal((2, 40, 5))
        kept.append(factor(signal, signal + noise, horizon=Horizon(steps=7), stride=5, prior=0.5))
        shrunk.append(factor(0.2 * signal, noise, horizon=Horizon(steps=7), stride=5, prior=0.5))
    assert np.mean(kept) > 0.9
    assert np.mean(shrunk) < 0.1


@given(st.integers(0, 10_000))
def test_the_factor_lies_in_the_unit_interval_and_a_wrong_sign_gives_zero(seed: int) -> None:
    p, r = np.random.default_rng(seed).standard_normal((2, 20, 4))
    one = factor(p, r, horizon=Horizon(steps=15), stride=5, prior=0.5)
    other = factor(-p, r, horizon=Horizon(steps=15), stride=5, prior=0.5)
    assert 0.0 <= one <= 1.0
    assert min(one, other) == 0.0


def three(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    p = rng.standard_normal((3, 30, 4)) + rng.standard_normal((30, 4))
    r = rng.uniform(-0.2, 0.9, 3) @ p.reshape(3, -1) + rng.standard_normal(120)
    return p, r.reshape(30, 4), rng.uniform(0.1, 0.5, 3)


def by_enumeration(gram: np.ndarray, moment: np.ndarray) -> np.ndarray:
    """``argmin b'Gb - 2 m'b`` over ``b >= 0, sum(b) <= 1``: every set of positive slopes, solved by hand.

    A general optimiser is no judge: SLSQP now and then stops outside the bounds.
    """
    found = [np.zeros(len(moment))]
    for size in range(1, len(moment) + 1):
        for support in map(list, combinations(range(len(moment)), size)):
            own = gram[np.ix_(support, support)]
            free, one = np.linalg.solve(own, np.stack([moment[support], np.ones(size)], axis=1)).T
            on_the_bound = free - (free.sum() - 1.0) / one.sum() * one
            for slopes in (free, on_the_bound):
                if (slopes >= 0).all() and slopes.sum() <= 1.0 + 1e-12:
                    found.append(np.zeros(len(moment)))
                    found[-1][support] = slopes
    return min(found, key=lambda b: float(b @ gram @ b - 2.0 * moment @ b))


@given(st.integers(0, 10_000))
@example(3170)
def test_slopes_minimise_the_penalised_squares_under_their_bounds(seed: int) -> None:
    """Against the best of all sets of members, each by its own linear equations."""
    p, r, weights = three(seed)
    got = skill_slopes(p, r, weights, horizon=Horizon(steps=15), stride=5, prior=1.0)
    flat, actual = p.reshape(3, -1), r.ravel()
    penalty = 3.0 * (actual**2).mean() * weights.sum() / weights
    best = by_enumeration(flat @ flat.T + np.diag(penalty), flat @ actual)
    assert (got >= 0).all()
    assert got.sum() <= 1 + 1e-6
    np.testing.assert_allclose(got, best, atol=1e-5)


@given(st.integers(0, 1000), st.sampled_from([1e-9, 1e-4, 1e5, 1e9]))
def test_slopes_do_not_depend_on_the_unit(seed: int, unit: float) -> None:
    p, r, weights = three(seed)
    settings: dict[str, Any] = {"horizon": Horizon(steps=15), "stride": 5, "prior": 1.0}
    one, other = (skill_slopes(p * u, r * u, weights, **settings) for u in (1.0, unit))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_twins_share_what_one_alone_would_get() -> None:
    """Splitting a member in two halves of its weight changes nothing."""
    rng = np.random.default_rng(3)
    p, noise = rng.standard_normal((2, 40, 5))
    settings: dict[str, Any] = {"horizon": Horizon(steps=7), "stride": 5, "prior": 0.5}
    alone = factor(p, 0.5 * p + noise, **settings)
    twins = skill_slopes(np.stack([p, p]), 0.5 * p + noise, np.full(2, 0.5), **settings)
    np.testing.assert_allclose(twins, alone / 2)


def test_the_member_that_was_right_is_followed_and_noise_is_not() -> None:
    rng = np.random.default_rng(5)
    signal, wrong, noise = rng.standard_normal((3, 40, 5))
    slopes = skill_slopes(
        np.stack([signal, wrong]),
        signal + noise,
        np.full(2, 0.5),
        horizon=Horizon(steps=7),
        stride=5,
        prior=1.0,
    )
    assert slopes[0] > 0.8
    assert slopes[1] < 0.1


def test_a_fixed_sum_is_kept() -> None:
    p, r, _ = three(1)
    slopes = nonnegative_ridge(p.reshape(3, -1), 3 * r.ravel(), np.full(3, 1.0), total=1.0)
    assert slopes.sum() == pytest.approx(1.0, abs=1e-5)


def test_priors_by_horizon_scale_and_naive() -> None:
    assert prior_for(Horizon(steps=15), Scale.LOG, "random_walk") == 0.5
    assert prior_for(Horizon(steps=30), Scale.LOG, "random_walk") == 0.25
    assert prior_for(Horizon(steps=30), Scale.LEVEL, "random_walk") == 1.0
    assert prior_for(Horizon(steps=90), Scale.LOG, "seasonal_naive") == 1.0


def test_shifting_moves_every_quantile_alike() -> None:
    quantiles = np.array([[3.0, 5.0, 9.0]])
    out = shifted(quantiles, quantiles[:, 1], np.array([2.0]))
    np.testing.assert_allclose(out, [[0.0, 2.0, 6.0]])
