"""The pooled width factor."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from banks import make_bank
from horizoncast.ensemble.decision import apply, decide
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.errors import BankError
from horizoncast.horizon import LEVELS
from horizoncast.policy.states import MemberState
from horizoncast.validation.calibration import standardised_misses, widen, width_factor

L3 = (0.1, 0.5, 0.9)


def test_misses_by_hand_on_both_sides_of_a_skewed_band() -> None:
    quantiles = np.array([[8.0, 10.0, 14.0]])
    for actual, want in [(12.0, 0.5), (14.0, 1.0), (9.0, 0.5), (4.0, 3.0), (10.0, 0.0)]:
        assert standardised_misses(np.array([actual]), quantiles, L3)[0] == pytest.approx(want)


@pytest.mark.parametrize("half", [0.0, 5e-324])
def test_a_band_without_width_counts_hits_as_zero_and_misses_as_the_cap(half: float) -> None:
    quantiles = np.array([[-half, 0.0, half]])
    assert standardised_misses(np.array([0.0]), quantiles, L3)[0] == 0.0
    for actual in (3.0, -3.0):
        assert standardised_misses(np.array([actual]), quantiles, L3)[0] == 4.0


def test_unknown_outcomes_and_absent_quantiles_are_unknown_misses() -> None:
    quantiles = np.array([[8.0, 10.0, 14.0], [np.nan] * 3])
    assert np.isnan(standardised_misses(np.array([np.nan, 11.0]), quantiles, L3)).all()


def test_the_level_must_be_there() -> None:
    with pytest.raises(BankError, match=r"0\.1"):
        standardised_misses(np.zeros(1), np.zeros((1, 3)), (0.2, 0.5, 0.8))


def test_the_factor_by_hand() -> None:
    z = np.linspace(0.0, 2.0, 101)  # its 80 % quantile is 1.6
    assert width_factor(z, 10.0) == pytest.approx(np.exp(0.5 * np.log(1.6)))
    assert width_factor(z, 0.0) == 1.0
    assert width_factor(np.full(9, np.nan), 40.0) == 1.0
    assert width_factor(np.array([]), 40.0) == 1.0


def test_limits_and_floor() -> None:
    assert width_factor(np.full(50, 1e9), 1e6) == 2.0
    assert width_factor(np.zeros(50), 1e6) == 0.5
    assert width_factor(np.zeros(50), 1.0) == pytest.approx(0.05 ** (1 / 11))  # the floor is felt here


@given(f=st.floats(0.05, 20.0), n=st.floats(0.0, 100.0))
def test_few_windows_pull_the_factor_toward_one(f: float, n: float) -> None:
    c = width_factor(np.full(20, f), n)
    assert 0.5 <= c <= 2.0
    assert abs(np.log(c)) <= abs(np.log(f)) + 1e-12
    assert abs(np.log(c)) <= abs(np.log(width_factor(np.full(20, f), n + 1))) + 1e-12


@given(factor=st.floats(0.5, 2.0), seed=st.integers(0, 99))
def test_widening_keeps_the_median_and_the_order(factor: float, seed: int) -> None:
    quantiles = np.sort(np.random.default_rng(seed).standard_normal((3, 19)), axis=1)
    out = widen(quantiles, LEVELS, factor)
    np.testing.assert_array_equal(out[:, 9], quantiles[:, 9])
    np.testing.assert_allclose(out - out[:, [9]], factor * (quantiles - quantiles[:, [9]]), atol=1e-12)
    assert (np.diff(out, axis=1) >= 0).all()


@pytest.mark.parametrize("claimed", [0.7, 1.0, 1.5])
def test_a_band_of_a_known_wrong_width_is_recovered(claimed: float) -> None:
    """Mean factor over 100 banks against the shrunk factor that is right: true over claimed width."""
    rng = np.random.default_rng(1)
    n_eff = 28.0
    found = []
    for _ in range(100):
        y = rng.standard_normal((40, 7))
        quantiles = np.broadcast_to(claimed * norm.ppf(L3), (40, 7, 3))
        found.append(width_factor(standardised_misses(y, quantiles, L3), n_eff))
    want = np.exp(n_eff / (n_eff + 10) * np.log(1 / claimed))
    assert np.mean(found) == pytest.approx(want, rel=0.03)


@settings(max_examples=10, deadline=None)
@given(price=st.sampled_from([0.01, 20.0, 900.0]))
def test_regression_return_unit_sigma_drawn_as_price_intervals(price: float) -> None:
    """A band of a return's sigma around a price covers 2 % for "95 %"; the width follows the unit.

    The same bank in returns and in prices gives the same factor, and the published price interval
    is the price times the return interval.
    """
    rng = np.random.default_rng(5)
    sigma = 0.008
    moves = sigma * np.cumsum(rng.standard_normal((41, 7)), axis=1)
    zero = np.zeros((2, 41, 7))
    returns = make_bank(zero, moves, sigma=[sigma, sigma])
    prices = make_bank(zero + price, price * (1 + moves), sigma=[price * sigma, price * sigma])
    states = {"a": MemberState.ON}
    out = []
    for bank in (returns, prices):
        decision = decide(bank.pick(np.arange(40)), states, DecisionConfig())
        out.append(apply(decision, bank, 40).quantiles)
    np.testing.assert_allclose(out[1] - price, price * out[0], rtol=1e-9, atol=1e-12 * price)
    covered = (np.abs(moves) <= sigma * 1.96 * np.sqrt(np.arange(1, 8))).mean()
    mistaken = (np.abs(900.0 * moves) <= sigma * 1.96 * np.sqrt(np.arange(1, 8))).mean()
    assert covered > 0.9
    assert mistaken < 0.03
