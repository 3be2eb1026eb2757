"""The hybrid in the decision: better than its parts where it should be, and never by looking ahead."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from banks import DAY, holes, noisy_bank
from horizoncast.bank import Bank
from horizoncast.ensemble.decision import apply, decide
from horizoncast.ensemble.hybrid import AdaptiveFusionLayer, Fusion, FusionInputs, Joined, state_of
from horizoncast.ensemble.records import BRANCHES, HYBRID, DecisionConfig
from horizoncast.ensemble.replay import replay
from horizoncast.errors import BankError
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.policy.states import MemberState
from horizoncast.validation.calibration import standardised_misses

NAMES = ("random_walk", "a", *BRANCHES)
OFF, SHADOW, ON = MemberState.OFF, MemberState.SHADOW, MemberState.ON
STATES = {"a": ON, "chronos": ON, "autoformer": ON}
CONFIG = DecisionConfig()


def bank_of(errors: tuple[float, ...] = (3.0, 2.0, 1.0, 1.0), **kwargs: Any) -> Bank:
    return noisy_bank(errors, members=NAMES, **kwargs)


def fusion(bank: Bank, *, odds: float = 0.0, state: MemberState = ON, **config: Any) -> Fusion:
    """No learned parts; the context favours chronos by the same log-odds everywhere."""
    steps = bank.horizon.steps
    return Fusion(
        state=state,
        config=HybridConfig(**config),
        inputs=FusionInputs(
            cutoffs=bank.cutoffs,
            log_odds=np.full((bank.windows, steps), odds),
            regime={"season": 0.0},
            epistemic=np.array([[0.0], [0.25]]) * np.ones(steps),
            trained={},
        ),
    )


def last_of(bank: Bank, plan: Fusion, states: Mapping[str, MemberState] = STATES) -> Joined:
    """The newest cutoff forecast from those before it that had matured."""
    when = bank.cutoffs[-1]
    return plan.joined(bank.slice_at(when, 40), bank.pick(bank.cutoffs == when), states)


def loss(bank: Bank, quantiles: np.ndarray, at: np.ndarray) -> float:
    return float(np.abs(quantiles[..., bank.level_index(0.5)] - bank.actuals[at]).mean())


def test_two_branches_with_errors_of_their_own_are_better_together_and_stay_calibrated() -> None:
    bank = bank_of(windows=120, seed=3)
    done = replay(bank, STATES, CONFIG, fusion=fusion(bank), least=30)
    assert done.hybrid is not None
    parts = [
        loss(bank, bank.quantiles[bank.member_index(name), done.places], done.places) for name in BRANCHES
    ]
    assert loss(bank, done.hybrid, done.places) < 0.8 * min(parts)
    low, high = (done.hybrid[..., bank.level_index(level)] for level in (0.1, 0.9))
    covered = ((bank.actuals[done.places] >= low) & (bank.actuals[done.places] <= high)).mean()
    assert 0.85 < covered < 0.98  # averaged quantiles of independent errors are too wide, by sqrt(2) at most


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-4, 1e4))
def test_the_unit_does_not_matter(unit: float) -> None:
    one, other = bank_of(seed=1), bank_of(seed=1, unit=unit)
    first, second = (last_of(bank, fusion(bank)) for bank in (one, other))
    assert first.record is not None
    assert second.record is not None
    np.testing.assert_allclose(first.record.weights, second.record.weights, rtol=1e-6)
    np.testing.assert_allclose(
        unit * first.live.quantiles[-1], second.live.quantiles[-1], rtol=1e-6, atol=1e-9 * unit
    )


def test_a_branch_that_is_sure_and_wrong_cannot_win() -> None:
    bank = bank_of((3.0, 2.0, 1.0, 4.0), seed=2)
    quantiles = bank.quantiles.copy()
    wrong = bank.member_index("autoformer")
    middle = quantiles[wrong][..., [bank.level_index(0.5)]]
    quantiles[wrong] = middle + 0.05 * (quantiles[wrong] - middle)
    bank = replace(bank, quantiles=quantiles)
    found = last_of(bank, fusion(bank)).record
    assert found is not None
    assert found.widths[1] == pytest.approx(2.0, abs=0.5)
    assert (found.weights[0] > 0.7).all()


def test_it_takes_the_place_of_its_parts_when_it_is_on() -> None:
    bank = bank_of()
    joined = last_of(bank, fusion(bank))
    decision = decide(joined.past, joined.states, CONFIG)
    rows = {row.name: row for row in decision.members}
    for name in BRANCHES:
        assert rows[name].weight == 0.0
        assert rows[name].would_be_weight > 0.0
        assert rows[name].reason == "its say is in the hybrid"
    assert rows[HYBRID].weight > 0.3
    assert apply(decision, joined.live).weights[HYBRID] > 0.3


def test_in_shadow_it_is_scored_and_has_no_say() -> None:
    bank = bank_of()
    joined = last_of(bank, fusion(bank, state=SHADOW))
    plain = decide(bank.slice_at(bank.cutoffs[-1], 40), STATES, CONFIG)
    rows = {row.name: row for row in decide(joined.past, joined.states, CONFIG).members}
    assert rows[HYBRID].weight == 0.0
    assert rows[HYBRID].would_be_weight > 0.3
    assert {name: rows[name].weight for name in NAMES} == plain.weights
    alone, beside = (replay(bank, STATES, CONFIG, fusion=f) for f in (None, fusion(bank, state=SHADOW)))
    np.testing.assert_array_equal(alone.quantiles, beside.quantiles)
    assert beside.hybrid is not None


@pytest.mark.parametrize(
    ("own", "chronos", "autoformer", "found"),
    [(ON, ON, ON, ON), (ON, ON, SHADOW, SHADOW), (SHADOW, ON, ON, SHADOW), (ON, OFF, ON, OFF)],
)
def test_its_state_is_the_lowest(
    own: MemberState, chronos: MemberState, autoformer: MemberState, found: MemberState
) -> None:
    assert state_of(own, {"chronos": chronos, "autoformer": autoformer}) is found


def test_with_a_part_in_shadow_the_other_keeps_its_weight() -> None:
    bank = bank_of()
    joined = last_of(bank, fusion(bank), {**STATES, "autoformer": SHADOW})
    assert joined.states[HYBRID] is SHADOW
    weights = decide(joined.past, joined.states, CONFIG).weights
    assert weights["chronos"] > 0.3
    assert weights[HYBRID] == weights["autoformer"] == 0.0


def test_a_part_that_fails_leaves_the_other_to_stand_for_itself() -> None:
    whole = bank_of()
    bank = holes(whole, "autoformer", [-1])
    joined = last_of(bank, fusion(bank))
    assert not joined.made
    assert joined.reason == "autoformer gave no forecast"
    combined = apply(decide(joined.past, joined.states, CONFIG), joined.live)
    assert combined.weights["chronos"] > 0.3
    done = replay(bank, STATES, CONFIG, fusion=fusion(bank), last=2)
    assert done.hybrid is not None
    assert np.isfinite(done.hybrid[0]).all()
    assert np.isnan(done.hybrid[1]).all()


def test_without_enough_cutoffs_of_both_there_is_none() -> None:
    bank = holes(bank_of(), "autoformer", np.arange(31))
    joined = last_of(bank, fusion(bank))
    assert "matured cutoffs of both parts" in joined.reason
    assert HYBRID not in joined.past.members


def spoiled(bank: Bank, when: np.datetime64, factor: float) -> Bank:
    """Whatever was not known at `when`, replaced; the forecasts made there are known."""
    dates = bank.cutoffs[:, None] + DAY * np.arange(1, bank.horizon.steps + 1)[None, :]
    actuals, quantiles = bank.actuals.copy(), bank.quantiles.copy()
    actuals[dates > when] *= factor
    late = (bank.ends > when) & (bank.cutoffs != when)
    quantiles[:, late] *= factor
    return replace(bank, actuals=actuals, quantiles=quantiles)


@pytest.mark.parametrize("factor", [np.nan, 1000.0])
@pytest.mark.parametrize("deployment", ["full", "ensemble", "selection"])
def test_leak_nothing_that_came_later_moves_a_replayed_row(factor: float, deployment: str) -> None:
    bank = bank_of(windows=66, steps=30)
    plan = fusion(bank, deployment=deployment)
    whole = replay(bank, STATES, CONFIG, fusion=plan)
    assert whole.hybrid is not None
    for row in (0, 20, len(whole.places) - 1):
        w = int(whole.places[row])
        past = spoiled(bank, bank.cutoffs[w], factor).pick(np.arange(w + 1))
        again = replay(past, STATES, CONFIG, last=1, fusion=plan)
        assert again.hybrid is not None
        np.testing.assert_array_equal(again.hybrid[-1], whole.hybrid[row])
        np.testing.assert_array_equal(again.quantiles[-1], whole.quantiles[row])


def test_a_live_hybrid_equals_the_replayed_one_at_the_same_date() -> None:
    bank = bank_of(windows=60)
    done = replay(bank, STATES, CONFIG, last=1, fusion=fusion(bank))
    assert done.hybrid is not None
    np.testing.assert_array_equal(last_of(bank, fusion(bank)).live.quantiles[-1, 0], done.hybrid[0])


def test_deployments() -> None:
    bank = bank_of(seed=5)
    found = {
        name: last_of(bank, fusion(bank, odds=0.4, deployment=name))
        for name in ("full", "ensemble", "selection")
    }
    records = {name: joined.record for name, joined in found.items()}
    full, ensemble, selection = (records[name] for name in found)
    assert full is not None
    assert ensemble is not None
    assert selection is not None
    np.testing.assert_allclose(ensemble.weights, ensemble.accuracy[:, None] * np.ones(7))
    assert set(selection.weights.ravel()) == {0.0, 1.0}
    assert (full.weights[0] > ensemble.weights[0]).all()  # the context favours chronos
    chosen = int(np.argmax(selection.weights[:, 0]))
    live = found["selection"].live
    layer = AdaptiveFusionLayer(
        config=HybridConfig(), accuracy=np.ones(2), widths=selection.widths, levels=bank.levels
    )
    rows = layer.widened(live.select(BRANCHES).quantiles[:, 0])
    np.testing.assert_allclose(live.quantiles[-1, 0], rows[chosen])


def test_the_context_moves_the_weights_by_its_log_odds() -> None:
    bank = bank_of()
    even, tilted = (last_of(bank, fusion(bank, odds=odds)).record for odds in (0.0, 1.5))
    assert even is not None
    assert tilted is not None
    np.testing.assert_allclose(
        np.log(tilted.weights[0] / tilted.weights[1]), np.log(even.weights[0] / even.weights[1]) + 1.5
    )


def test_parts_of_the_uncertainty_add_up_at_every_lead() -> None:
    bank = bank_of()
    found = last_of(bank, fusion(bank)).record
    assert found is not None
    parts = found.uncertainty
    np.testing.assert_allclose(parts.epistemic + parts.aleatoric + parts.between, parts.total)
    np.testing.assert_allclose(parts.shares.sum(axis=0), 1.0)
    assert (parts.epistemic > 0).all()


def test_adapted_rows_stand_in_for_chronos_in_the_hybrid_alone() -> None:
    bank = bank_of()
    plan = fusion(bank)
    moved = bank.quantiles[bank.member_index("chronos")] + 1.0
    adapted = replace(plan, inputs=replace(plan.inputs, adapted=moved))
    plain, shifted = last_of(bank, plan), last_of(bank, adapted)
    k = bank.member_index("chronos")
    np.testing.assert_array_equal(shifted.live.quantiles[k], plain.live.quantiles[k])
    assert not np.allclose(shifted.live.quantiles[-1], plain.live.quantiles[-1])


def test_a_cutoff_without_context_is_refused() -> None:
    bank = bank_of()
    plan = fusion(bank.pick(np.arange(39)))
    with pytest.raises(BankError, match="no context"):
        last_of(bank, plan)


def test_a_layer_makes_branches_as_wide_as_they_miss() -> None:
    bank = bank_of((3.0, 2.0, 1.0, 1.0), windows=200).select(BRANCHES)
    halved = replace(bank, quantiles=0.5 * bank.quantiles + 0.5 * bank.median[..., None])
    layer = AdaptiveFusionLayer.fitted(halved, HybridConfig())
    z = standardised_misses(bank.actuals, layer.widened(halved.quantiles)[0], bank.levels)
    assert np.quantile(z, 0.8) == pytest.approx(1.0, abs=0.1)
