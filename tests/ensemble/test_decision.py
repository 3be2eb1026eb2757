"""Decisions: what they may look at, what they do when members are missing, what replays are."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banks import DAY, holes, make_bank, noisy_bank
from horizoncast.bank import Bank
from horizoncast.ensemble.decision import CALIBRATION_LEVELS, MIN_WINDOWS, apply, best_naive, decide
from horizoncast.ensemble.records import Decision, DecisionConfig
from horizoncast.ensemble.replay import replay
from horizoncast.ensemble.weights import RULE_NAMES
from horizoncast.errors import BankError, ConfigError, UnknownNameError
from horizoncast.forecast import Flag
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale

ON = dict.fromkeys(["a", "b", "c", "d"], MemberState.ON)
CONFIG = DecisionConfig()


def same(one: Decision, other: Decision) -> bool:
    """Bit-identical, NaN included."""
    return repr(one) == repr(other)


def spoil(bank: Bank, when: np.datetime64, factor: float) -> Bank:
    """Everything that was not known at `when`, replaced: outcomes of later dates, rows not matured."""
    dates = bank.cutoffs[:, None] + DAY * np.arange(1, bank.horizon.steps + 1)[None, :]
    actuals, quantiles = bank.actuals.copy(), bank.quantiles.copy()
    actuals[dates > when] = actuals[dates > when] * factor
    late = bank.ends > when
    quantiles[:, late] = quantiles[:, late] * factor
    return replace(bank, actuals=actuals, quantiles=quantiles)


@pytest.mark.parametrize("factor", [np.nan, 1000.0])
@pytest.mark.parametrize("rule", RULE_NAMES)
@pytest.mark.parametrize("place", [25, 40, 65])
def test_leak_a_decision_does_not_see_what_had_not_matured(factor: float, rule: str, place: int) -> None:
    bank = noisy_bank([1.0, 0.9, 1.1, 0.8], windows=66, steps=30)
    config = DecisionConfig(rule=rule)
    when = bank.cutoffs[place]
    clean = decide(bank.slice_at(when, config.newest), ON, config)
    spoiled = decide(spoil(bank, when, factor).slice_at(when, config.newest), ON, config)
    assert clean.last_cutoff is not None
    assert clean.last_cutoff + 30 * DAY <= when
    assert same(clean, spoiled)


@pytest.mark.parametrize("factor", [np.nan, 1000.0])
def test_leak_a_replayed_forecast_does_not_see_what_came_later(factor: float) -> None:
    bank = noisy_bank([1.0, 0.9, 1.1, 0.8], windows=66, steps=30)
    whole = replay(bank, ON, CONFIG)
    for row in (0, 20, len(whole.places) - 1):
        w = whole.places[row]
        dirty = spoil(bank, bank.cutoffs[w], factor)
        quantiles = dirty.quantiles.copy()
        quantiles[:, w] = bank.quantiles[:, w]  # the forecasts made at this cutoff are known there
        again = replay(replace(dirty, quantiles=quantiles).pick(np.arange(w + 1)), ON, CONFIG, last=1)
        assert same(again.decisions[-1], whole.decisions[row])
        np.testing.assert_array_equal(again.quantiles[-1], whole.quantiles[row])


def test_a_live_decision_equals_the_replayed_one_at_the_same_date() -> None:
    bank = noisy_bank([1.0, 0.9, 1.1], windows=60)
    done = replay(bank, ON, CONFIG, last=3)
    w = int(done.places[-1])
    live = decide(bank.slice_at(bank.cutoffs[w], CONFIG.newest), ON, CONFIG)
    assert same(live, done.decisions[-1])
    np.testing.assert_array_equal(apply(live, bank.pick(np.array([w]))).quantiles, done.quantiles[-1])


def test_a_replay_takes_the_newest_and_needs_a_slice_of_its_own() -> None:
    bank = noisy_bank([1.0, 0.9], windows=30, steps=10)
    everything = replay(bank, ON, CONFIG)
    assert everything.places[0] == MIN_WINDOWS + 1  # ten cutoffs matured, two strides before
    assert replay(bank, ON, CONFIG, last=4).places.tolist() == [26, 27, 28, 29]
    assert len(replay(bank, ON, CONFIG, last=0).places) == 0
    assert len(replay(bank.pick(np.arange(8)), ON, CONFIG).places) == 0


def test_only_the_newest_matured_cutoffs_are_used() -> None:
    bank = noisy_bank([1.0, 0.9], windows=60, steps=7)
    decision = decide(bank.slice_at(bank.cutoffs[-1], 40), ON, CONFIG)
    assert decision.windows == 40
    assert decision.first_cutoff == bank.cutoffs[18]
    assert decision.last_cutoff == bank.cutoffs[57]
    assert decision.n_eff == pytest.approx(40 * 5 / 7)


def test_a_shadow_member_has_no_weight_and_its_would_be_weight_is_logged() -> None:
    bank = noisy_bank([1.0, 0.95, 0.9])
    shadow = decide(bank, {"a": MemberState.ON, "b": MemberState.SHADOW}, CONFIG)
    row = {m.name: m for m in shadow.members}["b"]
    on = decide(bank, ON, CONFIG)
    assert row.weight == 0.0
    assert row.would_be_weight == on.weights["b"] > 0.0
    assert row.reason == "in shadow"
    assert np.isfinite(row.rmse)
    others = decide(bank.select(["random_walk", "a"]), ON, CONFIG)
    assert {n: w for n, w in shadow.weights.items() if n != "b"} == others.weights
    assert (shadow.kappa, shadow.width) == (others.kappa, others.width)


def test_a_member_that_is_off_has_no_weight_and_says_why() -> None:
    rows = decide(noisy_bank([1.0, 0.5]), {"a": MemberState.OFF}, CONFIG).members
    assert rows[1].weight == 0.0
    assert rows[1].reason == "off"


def test_only_the_better_naive_carries_weight() -> None:
    bank = noisy_bank([1.0, 0.8, 0.9], members=("random_walk", "seasonal_naive", "a"))
    decision = decide(bank, ON, CONFIG)
    assert decision.best_naive == "seasonal_naive"
    assert decision.weights["random_walk"] == 0.0
    assert decision.members[0].reason == "the better naive is seasonal_naive"
    assert decision.members[2].relative == pytest.approx(decision.members[2].rmse / decision.members[1].rmse)


def test_a_naive_that_failed_is_not_the_reference() -> None:
    bank = noisy_bank([1.0, 0.5, 0.9], members=("random_walk", "seasonal_naive", "a"))
    bank = holes(bank, "seasonal_naive", np.arange(10))
    assert best_naive(bank, ["random_walk", "seasonal_naive"]) == "random_walk"
    assert decide(bank, ON, CONFIG).best_naive == "random_walk"


@pytest.mark.parametrize("windows", [0, 1, MIN_WINDOWS - 1])
def test_fewer_than_ten_cutoffs_decide_nothing(windows: int) -> None:
    bank = noisy_bank([1.0, 0.1, 0.9, 5.0], windows=20).pick(np.arange(windows))
    decision = decide(bank, {"a": MemberState.ON, "b": MemberState.SHADOW, "c": MemberState.ON}, CONFIG)
    assert decision.flags == (Flag.FEW_WINDOWS,)
    assert (decision.kappa, decision.width) == (0.0, 1.0)
    assert decision.weights == pytest.approx({"random_walk": 1 / 3, "a": 1 / 3, "b": 0.0, "c": 1 / 3})
    live = noisy_bank([1.0, 0.1, 0.9, 5.0], windows=20).pick(np.array([19]))
    combined = apply(decision, live)
    np.testing.assert_allclose(combined.quantiles[:, 9], live.median[0, 0], atol=1e-12)
    assert Flag.FEW_WINDOWS in combined.flags
    assert decide(bank.pick(np.arange(0)), ON, CONFIG).first_cutoff is None


def test_ten_cutoffs_are_enough() -> None:
    assert decide(noisy_bank([1.0, 0.5], windows=MIN_WINDOWS), ON, CONFIG).flags == ()


def test_few_cutoffs_without_any_outcome_still_decide() -> None:
    """All sessions after the cutoffs were filled: there is no error to compare naives by."""
    bank = noisy_bank([1.0, 0.5], windows=3)
    blank = replace(bank, actuals=np.full(bank.actuals.shape, np.nan))
    assert decide(blank, ON, CONFIG).flags == (Flag.FEW_WINDOWS,)


def test_a_failing_live_member_leaves_its_share_to_the_others() -> None:
    bank = noisy_bank([1.0, 0.9, 0.95, 0.92], windows=41)
    on = dict.fromkeys("abc", MemberState.ON)
    decision = decide(bank.pick(np.arange(40)), on, CONFIG)
    live = holes(bank, "a", [40]).pick(np.array([40]))
    combined = apply(decision, live)
    assert combined.flags == (Flag.MEMBER_FAILED,)
    assert combined.weights["a"] == 0.0
    ratio = decision.weights["b"] / decision.weights["c"]
    assert combined.weights["b"] / combined.weights["c"] == pytest.approx(ratio)
    assert sum(combined.weights.values()) == pytest.approx(1.0)


def test_the_naive_has_weight_only_where_fewer_than_two_others_survive() -> None:
    two = decide(noisy_bank([1.0, 0.9, 0.95]), ON, CONFIG)
    one = decide(noisy_bank([1.0, 0.9, 1.6]), ON, CONFIG)
    none = decide(noisy_bank([1.0, 1.6, 1.7]), ON, CONFIG)
    assert two.weights["random_walk"] == 0.0
    assert 0.0 < one.weights["random_walk"] < 1.0
    assert one.weights["b"] == 0.0
    assert none.weights == {"random_walk": 1.0, "a": 0.0, "b": 0.0}
    assert none.kappa == 0.0


def test_when_no_weighted_member_is_left_the_naive_stands_in_flagged() -> None:
    bank = noisy_bank([1.0, 0.1, 0.1], windows=41)
    decision = decide(bank.pick(np.arange(40)), ON, CONFIG)
    assert decision.weights["random_walk"] == 0.0  # trimmed
    live = holes(holes(bank, "a", [40]), "b", [40]).pick(np.array([40]))
    combined = apply(decision, live)
    assert set(combined.flags) == {Flag.MEMBER_FAILED, Flag.FALLBACK}
    assert combined.weights["random_walk"] == 1.0
    np.testing.assert_allclose(combined.quantiles[:, 9], live.median[0, 0])


def test_without_any_naive_the_weighted_members_go_out_flagged() -> None:
    bank = noisy_bank([1.0, 0.9, 0.95], windows=41)
    decision = decide(bank.pick(np.arange(40)), ON, CONFIG)
    live = holes(bank, "random_walk", [40]).pick(np.array([40]))
    combined = apply(decision, live)
    assert set(combined.flags) == {Flag.FALLBACK}
    assert combined.weights["random_walk"] == 0.0
    share = decision.weights["a"] / (decision.weights["a"] + decision.weights["b"])
    want = share * live.median[1, 0] + (1 - share) * live.median[2, 0]
    np.testing.assert_allclose(combined.quantiles[:, 9], want)  # nothing to shrink toward


def test_nobody_at_the_live_cutoff_is_an_error() -> None:
    bank = noisy_bank([1.0, 0.9], windows=41)
    decision = decide(bank.pick(np.arange(40)), ON, CONFIG)
    with pytest.raises(BankError):
        apply(decision, holes(holes(bank, "random_walk", [40]), "a", [40]).pick(np.array([40])))


def test_a_past_cutoff_that_nobody_answered_is_left_out_of_the_replay() -> None:
    bank = noisy_bank([1.0, 0.9], windows=40)
    bank = holes(holes(bank, "random_walk", [35]), "a", [35])
    places = replay(bank, ON, CONFIG).places
    assert 35 not in places
    assert {34, 36} <= set(places.tolist())


def test_a_cutoff_without_a_combination_is_no_miss() -> None:
    """A member alone with all weight, absent at three cutoffs: they must not count as misses."""
    bank = noisy_bank([1.0, 0.3], windows=40)
    config = DecisionConfig(rule="best", shrink=False)
    whole = decide(bank.pick(np.arange(3, 40)), ON, config)
    gappy = decide(holes(bank, "a", [0, 1, 2]), ON, config)
    assert gappy.weights["a"] == 1.0
    f_whole = np.log(whole.width) / (whole.n_eff / (whole.n_eff + 10))
    f_gappy = np.log(gappy.width) / (gappy.n_eff / (gappy.n_eff + 10))
    assert f_gappy == pytest.approx(f_whole)


@settings(max_examples=20, deadline=None)
@given(
    errors=st.lists(st.floats(0.2, 2.0), min_size=2, max_size=5),
    rule=st.sampled_from(RULE_NAMES),
    seed=st.integers(0, 1000),
)
def test_quantile_averages_are_decided_by_three_levels(errors: list[float], rule: str, seed: int) -> None:
    bank = noisy_bank(errors, seed=seed)
    at = [bank.level_index(level) for level in CALIBRATION_LEVELS]
    narrow = replace(bank, levels=CALIBRATION_LEVELS, quantiles=bank.quantiles[..., at])
    config = DecisionConfig(rule=rule)
    assert same(decide(bank, ON, config), decide(narrow, ON, config))


def test_the_linear_pool_is_decided_and_applied() -> None:
    apart = np.array([-2.0, 2.0])[:, None, None] * np.ones((2, 40, 7))
    bank = make_bank(apart, np.zeros((40, 7)))
    pooled = decide(bank, ON, DecisionConfig(combination="linear_pool"))
    averaged = decide(bank, ON, CONFIG)
    assert pooled.weights == averaged.weights == {"random_walk": 0.5, "a": 0.5}
    assert pooled.width < averaged.width * 1.001  # both bands are too wide here, the pool more so
    raw = [apply(replace(d, width=1.0), bank).quantiles for d in (pooled, averaged)]
    assert np.ptp(raw[0][0]) > np.ptp(raw[1][0])


@pytest.mark.parametrize("scale", list(Scale))
def test_a_nonnegative_series_is_clipped_at_zero_after_widening(scale: Scale) -> None:
    bank = noisy_bank([1.0, 0.9], windows=41, nonnegative=True, scale=scale)
    combined = apply(decide(bank.pick(np.arange(40)), ON, CONFIG), bank, 40)
    level = scale is Scale.LEVEL
    assert bool(combined.quantiles.min() == 0.0) is level  # below zero in logs is a small positive value
    assert (Flag.CLIPPED_AT_ZERO in combined.flags) is level
    assert (np.diff(combined.quantiles, axis=1) >= 0).all()


def test_switches_of_the_decision() -> None:
    bank = noisy_bank([1.0, 0.2])
    plain = decide(bank, ON, DecisionConfig(shrink=False, calibrate=False))
    assert (plain.kappa, plain.width) == (1.0, 1.0)
    tuned = decide(bank, ON, CONFIG)
    assert 0.5 < tuned.kappa < 1.0
    strict = decide(bank, ON, DecisionConfig(prior=1e-6))
    assert strict.kappa < 1e-6


def test_a_perfect_constant_series_has_no_nan() -> None:
    """Regression: a constant series whose zero width becomes NaN."""
    bank = make_bank(np.full((2, 40, 3), 7.0), np.full((40, 3), 7.0), sigma=[0.0, 0.0])
    decision = decide(bank, ON, CONFIG)
    assert sum(decision.weights.values()) == pytest.approx(1.0)
    assert decision.kappa == 0.0
    np.testing.assert_array_equal(apply(decision, bank, 0).quantiles, 7.0)


def test_the_numbers_of_a_decision_by_hand() -> None:
    """Weights, kappa and width recomputed from the bank's arrays, with the formulas of the methods page."""
    bank = noisy_bank([1.0, 0.9, 0.95], steps=30, scale=Scale.LOG)
    decision = decide(bank, ON, CONFIG)
    leads = np.array([1, 2, 3, 5, 7, 10, 15, 20, 30])
    middle, actual = bank.median[:, :, leads - 1], bank.actuals[:, leads - 1]
    square = np.mean((middle - actual) ** 2 / leads, axis=(1, 2))
    weights = np.array([0.0, *(1 / square[1:])]) / (1 / square[1:]).sum()  # two survive: none for the naive
    np.testing.assert_allclose(list(decision.weights.values()), weights)

    combined = np.tensordot(weights, bank.quantiles, axes=1)
    p = ((middle[1:] - middle[0]) / np.sqrt(leads)).reshape(2, -1)
    r = ((actual - middle[0]) / np.sqrt(leads)).ravel()
    share = weights[1:] / weights[1:].sum()
    slopes = np.linalg.solve(p @ p.T + np.diag(30 / 5 * (r**2).mean() / (0.25**2 * share)), p @ r)
    np.testing.assert_allclose(list(decision.slopes.values()), [0.0, *slopes])
    kappa = slopes.sum()
    assert decision.kappa == pytest.approx(kappa)
    assert (slopes > 0).all()
    assert kappa < 1.0

    wanted = bank.median[0] + np.tensordot(slopes, bank.median[1:] - bank.median[0], axes=1)
    shifted = combined + (wanted - combined[..., 9])[..., None]
    low, centre, high = (shifted[..., bank.level_index(t)] for t in CALIBRATION_LEVELS)
    gap = bank.actuals - centre
    f = np.quantile(np.where(gap >= 0, gap / (high - centre), -gap / (centre - low)), 0.8)
    n_eff = 40 * 5 / 30
    shrink = 10 + 30 * (1 - kappa)
    assert decision.width == pytest.approx(np.exp(n_eff / (n_eff + shrink) * np.log(f)))
    assert decision.width != pytest.approx(1.0, abs=0.01)

    published = apply(decision, bank, 3).quantiles
    want = shifted[3, :, [9]].T + decision.width * (shifted[3] - shifted[3, :, [9]].T)
    np.testing.assert_allclose(published, want)


def test_no_weight_of_a_decision_exceeds_the_cap() -> None:
    decision = decide(noisy_bank([1.0, 0.9, 0.95]), ON, DecisionConfig(rule="inverse_rmse", cap=0.35))
    assert max(decision.weights.values()) <= 0.35 + 1e-12
    assert sum(decision.weights.values()) == pytest.approx(1.0)
    free = decide(noisy_bank([1.0, 0.1, 0.95]), ON, DecisionConfig(rule="inverse_rmse"))
    assert max(free.weights.values()) == pytest.approx(0.6)
    best = decide(noisy_bank([1.0, 0.1, 0.95]), ON, DecisionConfig(rule="best"))
    assert best.weights["a"] == 1.0  # the best member alone is what was asked for


def test_a_slice_without_a_naive_is_refused() -> None:
    with pytest.raises(BankError, match="naive"):
        decide(noisy_bank([1.0, 1.0]).select(["a"]), ON, CONFIG)


@pytest.mark.parametrize(
    "bad",
    [{"trim": 0.9}, {"cap": 0.0}, {"cap": 1.1}, {"newest": 0}, {"prior": 0.0}, {"prior": float("nan")}],
)
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        DecisionConfig(**bad)


@pytest.mark.parametrize("bad", [{"rule": "equall"}, {"combination": "linear_pol"}])
def test_unknown_names_come_with_a_hint(bad: dict[str, Any]) -> None:
    with pytest.raises(UnknownNameError, match="did you mean"):
        DecisionConfig(**bad)
