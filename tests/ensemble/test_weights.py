"""Weights: limits, invariances, who is dropped, and the greedy search against brute force."""

from dataclasses import replace
from itertools import combinations_with_replacement

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banks import holes, make_bank, noisy_bank
from horizoncast.ensemble.decision import decide
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.ensemble.weights import (
    RULE_NAMES,
    best_member,
    cap_weights,
    equal_weights,
    greedy_selection,
    inverse_rmse,
    path_errors,
    trimmed_inverse_square,
    weights_by,
)
from horizoncast.errors import BankError, UnknownNameError
from horizoncast.policy.states import MemberState

shares = st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=7).map(lambda w: np.array(w) / np.sum(w))


def test_regression_a_weight_cap_that_does_not_cap() -> None:
    """Renormalising after clipping puts the largest weight above the cap again; ours must not."""
    clipped = np.minimum([0.9, 0.05, 0.05], 0.6)
    assert (clipped / clipped.sum()).max() > 0.6  # the mistake
    np.testing.assert_allclose(cap_weights(np.array([0.9, 0.05, 0.05])), [0.6, 0.2, 0.2])


@given(weights=shares, cap=st.floats(0.05, 1.0))
def test_capped_weights_sum_to_one_and_none_exceeds_the_cap(weights: np.ndarray, cap: float) -> None:
    out = cap_weights(weights, cap)
    reachable = max(cap, 1.0 / len(weights))  # below 1/K no weights could sum to one
    assert out.sum() == pytest.approx(1.0, abs=1e-12)
    assert out.max() <= reachable + 1e-12
    assert (out >= 0).all()


@given(weights=shares, cap=st.floats(0.34, 1.0))
def test_the_cap_preserves_the_order(weights: np.ndarray, cap: float) -> None:
    out = cap_weights(weights, cap)
    order = np.argsort(weights)
    assert (np.diff(out[order]) >= -1e-12).all()


def test_the_cap_lets_members_without_weight_alone() -> None:
    out = cap_weights(np.array([0.9, 0.0, 0.06, 0.04]), 0.6)
    assert out[1] == 0.0
    np.testing.assert_allclose(out, [0.6, 0.0, 0.24, 0.16])


def test_the_excess_that_lifts_another_over_the_cap_is_shared_again() -> None:
    np.testing.assert_allclose(cap_weights(np.array([0.9, 0.09, 0.01]), 0.4), [0.4, 0.4, 0.2])


def test_two_members_are_not_capped() -> None:
    np.testing.assert_array_equal(cap_weights(np.array([0.9, 0.1, 0.0]), 0.6), [0.9, 0.1, 0.0])


def test_an_almost_empty_rest_is_no_warning() -> None:
    with np.errstate(all="raise"):
        out = cap_weights(np.array([1.0 - 2e-310, 1e-310, 1e-310]), 0.6)
    np.testing.assert_allclose(out, [0.6, 0.2, 0.2])


def test_the_inverse_square_of_two_errors_by_hand() -> None:
    np.testing.assert_allclose(trimmed_inverse_square(np.array([1.0, 1.2])), [1.44 / 2.44, 1.0 / 2.44])


def test_members_beyond_the_trim_get_nothing() -> None:
    out = trimmed_inverse_square(np.array([1.0, 1.25, 1.2501, 9.0]))
    assert (out > 0).tolist() == [True, True, False, False]


@pytest.mark.parametrize("rule", [trimmed_inverse_square, inverse_rmse])
def test_a_perfect_member_takes_all(rule: object) -> None:
    np.testing.assert_array_equal(rule(np.array([0.0, 1.0, np.nan])), [1.0, 0.0, 0.0])  # type: ignore[operator]


@pytest.mark.parametrize("rule", [trimmed_inverse_square, inverse_rmse, equal_weights, best_member])
def test_a_dropped_member_has_no_weight(rule: object) -> None:
    out = rule(np.array([1.0, np.nan, 1.1]))  # type: ignore[operator]
    assert out[1] == 0.0
    assert out.sum() == pytest.approx(1.0)


def test_no_member_left_is_an_error_and_not_nan() -> None:
    for rule in RULE_NAMES:
        with pytest.raises(BankError):
            weights_by(rule, noisy_bank([1.0, 1.0]), np.array([np.nan, np.nan]), [True, True])


def test_an_unknown_rule_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="inverse_rmse"):
        weights_by("inverse_rsme", noisy_bank([1.0, 1.0]), np.array([1.0, 1.0]), [True, True])


@settings(max_examples=25, deadline=None)
@given(
    errors=st.lists(st.floats(0.2, 3.0), min_size=3, max_size=5),
    unit=st.sampled_from([1e-6, 1e6, 37.3]),
    rule=st.sampled_from(RULE_NAMES),
    seed=st.integers(0, 1000),
)
def test_weights_do_not_depend_on_the_unit(errors: list[float], unit: float, rule: str, seed: int) -> None:
    states = dict.fromkeys(["a", "b", "c", "d"], MemberState.ON)
    config = DecisionConfig(rule=rule)
    one = decide(noisy_bank(errors, seed=seed), states, config)
    other = decide(noisy_bank(errors, seed=seed, unit=unit), states, config)
    assert other.weights == pytest.approx(one.weights, abs=1e-9)
    assert other.kappa == pytest.approx(one.kappa, abs=1e-9)
    assert other.width == pytest.approx(one.width, abs=1e-9)


def test_regression_inverse_rmse_over_mixed_units() -> None:
    """A member in prices beside one in returns: its error is measured in the scale of all others.

    With RMSE in prices (about 8 pesos) beside RMSE in returns (about 0.01) a price model's inverse
    RMSE weight was 0.1 %, however good it was. The bank holds one scale only, so equal members
    weigh the same whatever the size of the price.
    """
    mistake = inverse_rmse(np.array([0.01, 8.0]))
    assert mistake[1] < 0.01
    bank = noisy_bank([1.0, 1.0, 1.0], windows=400, unit=0.01)
    weights = inverse_rmse(path_errors(bank, "random_walk").rmse)
    np.testing.assert_allclose(weights, 1 / 3, atol=0.02)


def test_the_path_error_by_hand() -> None:
    median = np.zeros((1, 2, 3))
    actual = np.array([[1.0, 2.0, 3.0], [2.0, np.nan, 0.0]])
    errors = path_errors(make_bank(median, actual), "random_walk")
    first, second = np.mean([1.0, 4.0 / 2, 9.0 / 3]), np.mean([4.0, 0.0])
    np.testing.assert_allclose(errors.squares, [[first, second]])
    np.testing.assert_allclose(errors.rmse, np.sqrt([(first + second) / 2]))


def test_more_than_a_tenth_of_failures_drops_a_member() -> None:
    bank = noisy_bank([1.0, 0.5, 0.5])
    kept = path_errors(holes(bank, "a", [1, 2, 3, 4]), "random_walk")
    assert not kept.dropped
    assert kept.windows.tolist() == [36, 36, 36]  # all are compared on the common cutoffs
    dropped = path_errors(holes(bank, "a", [1, 2, 3, 4, 5]), "random_walk")
    assert dropped.dropped == {"a": "failed on 5 of 40 cutoffs"}
    assert np.isnan(dropped.rmse[1])
    assert dropped.windows.tolist() == [40, 0, 40]


def test_a_member_asked_for_fewer_cutoffs_is_scored_by_its_ratio() -> None:
    """The newest half is four times as volatile: raw errors would call the dear member bad."""
    bank = noisy_bank([1.0, 0.9, 0.9])
    louder = np.where(np.arange(40) >= 20, 4.0, 1.0)
    asked = bank.asked.copy()
    asked[1, :20] = False
    bank = replace(
        bank,
        quantiles=bank.quantiles * louder[:, None, None],
        actuals=bank.actuals * louder[:, None],
        asked=asked,
    )
    bank = holes(bank, "a", np.arange(20))
    errors = path_errors(bank, "random_walk")
    assert not errors.dropped
    assert errors.windows.tolist() == [40, 20, 40]
    base = errors.squares[0]
    ratio = errors.squares[1, 20:].mean() / base[20:].mean()
    np.testing.assert_allclose(errors.rmse[1], np.sqrt(ratio * base.mean()))
    assert errors.rmse[1] < errors.rmse[0] < np.sqrt(errors.squares[1, 20:].mean())


def test_nothing_answered_by_all_is_an_error() -> None:
    bank = noisy_bank([1.0, 1.0])
    with pytest.raises(BankError, match="no cutoff"):
        path_errors(replace(bank, actuals=np.full(bank.actuals.shape, np.nan)), "random_walk")


def test_greedy_finds_the_best_blend_of_a_tiny_case() -> None:
    """Two members with opposite biases: brute force over all multisets of 4 gives the same shares."""
    rng = np.random.default_rng(3)
    actual = rng.standard_normal((6, 2))
    bias = np.array([1.0, -3.0, 4.0])[:, None, None]
    bank = make_bank(actual + bias, actual)
    root = np.sqrt([1.0, 2.0])

    def loss(chosen: tuple[int, ...]) -> float:
        return float(np.mean(((bank.median[list(chosen)].mean(axis=0) - actual) / root) ** 2))

    best = min(combinations_with_replacement(range(3), 4), key=loss)
    assert best == (0, 0, 0, 1)
    greedy = greedy_selection(bank, np.array([True, True, True]), rounds=4)
    np.testing.assert_allclose(greedy, np.bincount(best, minlength=3) / 4)


def test_greedy_leaves_out_who_may_not_carry_weight() -> None:
    bank = holes(noisy_bank([1.0, 0.1, 0.8]), "a", np.arange(40))
    weights = greedy_selection(bank, np.array([True, False, True]))
    assert weights[1] == 0.0
    assert weights.sum() == pytest.approx(1.0)
