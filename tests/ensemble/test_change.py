"""What changed between two forecasts: the parts add up, and each answers for its own ingredient alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from banks import FIRST
from horizoncast.bank import Bank
from horizoncast.ensemble.change import MEASURES, PARTS, Ingredients, as_applied, what_changed
from horizoncast.ensemble.decision import apply
from horizoncast.ensemble.records import Decision, DecisionConfig, MemberWeight
from horizoncast.errors import BankError
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale

NAMES = ("random_walk", "a", "b")
STEPS = 8


def a_decision(
    weights: tuple[float, ...] = (0.0, 0.6, 0.4),
    slopes: tuple[float, ...] = (0.0, 0.3, 0.2),
    *,
    width: float = 1.1,
    adaptive: float = 1.0,
    naive: str = "random_walk",
    config: DecisionConfig | None = None,
) -> Decision:
    rows = tuple(
        MemberWeight(
            name=name,
            state=MemberState.ON,
            weight=w,
            would_be_weight=w,
            slope=s,
            rmse=1.0,
            relative=1.0,
            windows=40,
        )
        for name, w, s in zip(NAMES, weights, slopes, strict=True)
    )
    return Decision(
        members=rows,
        best_naive=naive,
        kappa=sum(slopes),
        width=width,
        adaptive=adaptive,
        windows=40,
        n_eff=28.0,
        first_cutoff=None,
        last_cutoff=None,
        config=config or DecisionConfig(),
    )


def some_members(seed: int, *, last: float = 0.0) -> dict[str, np.ndarray]:
    """Gaussian members around paths of their own; the random walk stays at the last value."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(np.arange(1, STEPS + 1))[:, None]
    found = {}
    for name in NAMES:
        path = np.zeros(STEPS) if name == "random_walk" else 0.01 * np.cumsum(rng.normal(size=STEPS))
        spread = 0.01 * rng.uniform(0.5, 2.0)
        found[name] = last + path[:, None] + spread * root * norm.ppf(LEVELS)
    return found


def published(decision: Decision, members: dict[str, np.ndarray], scale: Scale = Scale.LOG) -> np.ndarray:
    """What the decision makes of them, by the code that publishes."""
    missing = np.full((STEPS, len(LEVELS)), np.nan)
    bank = Bank(
        members=NAMES,
        cutoffs=np.array([FIRST]),
        ends=np.array([FIRST]),
        horizon=Horizon(steps=STEPS),
        stride=1,
        levels=LEVELS,
        scale=scale,
        quantiles=np.stack([members.get(name, missing) for name in NAMES])[:, None],
        actuals=np.full((1, STEPS), np.nan),
        asked=np.ones((len(NAMES), 1), dtype=bool),
    )
    return apply(decision, bank).quantiles


def made(
    decision: Decision, members: dict[str, np.ndarray], *, cutoff: int = 100, last: float = 0.0
) -> Ingredients:
    return Ingredients(
        decision=decision,
        members=members,
        published=published(decision, members),
        levels=LEVELS,
        cutoff=cutoff,
        last=last,
    )


def parts_of(table) -> dict[str, np.ndarray]:
    return dict(zip(PARTS, table.parts, strict=True))


seeds = st.integers(0, 10_000)
shares = st.tuples(*[st.floats(0.05, 1.0)] * 3).map(lambda w: tuple(x / sum(w) for x in w))
slopes = st.tuples(st.just(0.0), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
decisions = st.builds(
    a_decision,
    shares,
    slopes,
    width=st.floats(0.5, 2.0),
    adaptive=st.floats(0.5, 2.0),
    naive=st.sampled_from(["random_walk", "a"]),
    config=st.builds(
        DecisionConfig,
        combination=st.sampled_from(["quantile_average", "linear_pool"]),
        shrink=st.booleans(),
    ),
)


@given(decisions, decisions, seeds, seeds, st.integers(0, STEPS - 1), st.sampled_from(Scale))
@settings(max_examples=40, deadline=None)
def test_parts_add_up_to_new_minus_before_on_the_same_dates(one, two, seed, other, apart, scale):
    old, new = some_members(seed), some_members(other, last=0.03)
    before = made(one, old, cutoff=100, last=0.0)
    after = made(two, new, cutoff=100 + apart, last=0.03)
    table = what_changed(before, after, scale=scale)
    assert table is not None
    assert list(table.steps) == list(range(1, STEPS - apart + 1))
    assert (table.previous_steps - table.steps == apart).all()
    np.testing.assert_allclose(table.parts.sum(axis=0), table.after - table.before, rtol=0, atol=1e-12)
    middle = LEVELS.index(0.5)
    np.testing.assert_array_equal(table.before[:, 0], scale.backward(before.published[apart:, middle]))
    np.testing.assert_array_equal(table.after[:, 0], scale.backward(after.published[: STEPS - apart, middle]))


@given(decisions, seeds)
@settings(max_examples=30, deadline=None)
def test_nothing_changed_nothing_to_tell(decision, seed):
    same = made(decision, some_members(seed))
    table = what_changed(same, same, scale=Scale.LOG)
    np.testing.assert_allclose(table.parts, 0.0, atol=1e-14)


def only(table, part: str, *, measures: tuple[str, ...]) -> None:
    """Nothing but one part moved, and it moved these measures."""
    for name, moved in parts_of(table).items():
        for k, measure in enumerate(MEASURES):
            if name == part and measure in measures:
                assert np.abs(moved[:, k]).min() > 1e-6, (name, measure)
            else:
                np.testing.assert_allclose(moved[:, k], 0.0, atol=1e-13, err_msg=f"{name} {measure}")


def test_new_weights_alone_move_the_weights_part_alone():
    members = some_members(3)
    one = a_decision(weights=(0.0, 0.6, 0.4))
    table = what_changed(
        made(one, members), made(a_decision(weights=(0.0, 0.1, 0.9)), members), scale=Scale.LOG
    )
    # With the skill factor the median follows slopes, and weights have a say in the widths alone.
    only(table, "weights", measures=("half_width_80",))


def test_without_a_skill_factor_weights_move_the_median_too():
    rules = DecisionConfig(shrink=False)
    one, two = (a_decision(weights=w, config=rules) for w in ((0.0, 0.6, 0.4), (0.0, 0.1, 0.9)))
    members = some_members(3)
    table = what_changed(made(one, members), made(two, members), scale=Scale.LOG)
    only(table, "weights", measures=("median", "half_width_80"))


def test_slopes_turned_to_another_member_are_weights_and_their_sum_is_skill():
    members = some_members(4)
    one = a_decision(slopes=(0.0, 0.4, 0.1))
    turned = a_decision(slopes=(0.0, 0.1, 0.4))
    table = what_changed(made(one, members), made(turned, members), scale=Scale.LEVEL)
    only(table, "weights", measures=("median",))
    shrunk = a_decision(slopes=(0.0, 0.2, 0.05))
    table = what_changed(made(one, members), made(shrunk, members), scale=Scale.LEVEL)
    only(table, "skill", measures=("median",))


def test_a_skill_factor_of_zero_is_skill_whichever_member_was_followed():
    members = some_members(4)
    one, none = a_decision(slopes=(0.0, 0.4, 0.1)), a_decision(slopes=(0.0, 0.0, 0.0))
    for before, after in ((one, none), (none, one)):
        table = what_changed(made(before, members), made(after, members), scale=Scale.LEVEL)
        only(table, "skill", measures=("median",))


@pytest.mark.parametrize("changed", [{"width": 1.4}, {"adaptive": 0.8}])
def test_another_width_factor_moves_the_width_part_alone(changed):
    members = some_members(5)
    table = what_changed(
        made(a_decision(), members), made(replace(a_decision(), **changed), members), scale=Scale.LEVEL
    )
    only(table, "width", measures=("half_width_80",))


def test_other_members_forecasts_move_the_members_part_alone():
    rules = DecisionConfig(shrink=False)
    decision = a_decision(config=rules)
    old, new = some_members(6), some_members(7)
    table = what_changed(made(decision, old), made(decision, new), scale=Scale.LEVEL)
    only(table, "members", measures=("median", "half_width_80"))


def test_new_data_move_what_members_did_not_expect_and_shorten_the_lead():
    """Members that expected nothing and then follow the last value: the surprise is all there is."""
    decision = a_decision(slopes=(0.0, 0.0, 0.0))
    old = some_members(8)
    new = {name: rows + 0.05 for name, rows in old.items()}
    table = what_changed(
        made(decision, old, cutoff=100, last=0.0),
        made(decision, new, cutoff=103, last=0.05),
        scale=Scale.LEVEL,
    )
    only(table, "data", measures=("median", "half_width_80"))
    np.testing.assert_allclose(parts_of(table)["data"][:, 0], 0.05)
    assert (parts_of(table)["data"][:, 1] < 0).all()  # three sessions nearer, narrower


def test_a_revised_last_value_at_the_same_cutoff_is_data():
    decision = a_decision(slopes=(0.0, 0.0, 0.0))
    old = some_members(8)
    new = {name: rows - 0.02 for name, rows in old.items()}
    table = what_changed(made(decision, old, last=0.0), made(decision, new, last=-0.02), scale=Scale.LEVEL)
    only(table, "data", measures=("median",))


def test_a_member_that_fails_leaves_its_share_as_it_does_when_publishing():
    decision = a_decision(config=DecisionConfig(shrink=False))
    old = some_members(9)
    new = {name: rows for name, rows in old.items() if name != "b"}
    table = what_changed(made(decision, old), made(decision, new), scale=Scale.LEVEL)
    only(table, "members", measures=("median", "half_width_80"))


def test_a_forecast_that_the_gate_replaced_is_the_naive_alone():
    members = some_members(10)
    naive = as_applied(a_decision(), ("fallback", "implausible"), {"random_walk": 1.0, "a": 0.0, "b": 0.0})
    np.testing.assert_allclose(published(naive, members), members["random_walk"], atol=1e-15)
    before = made(a_decision(), members)
    after = replace(made(naive, members), published=members["random_walk"])
    table = what_changed(before, after, scale=Scale.LEVEL)
    np.testing.assert_allclose(table.parts.sum(axis=0), table.after - table.before, atol=1e-14)
    np.testing.assert_allclose(parts_of(table)["data"], 0.0, atol=1e-14)
    np.testing.assert_allclose(parts_of(table)["members"], 0.0, atol=1e-14)


def test_what_cannot_be_compared_is_not():
    one = made(a_decision(), some_members(1), cutoff=100)
    assert what_changed(one, replace(one, cutoff=100 + STEPS), scale=Scale.LOG) is None
    assert what_changed(one, replace(one, levels=(0.1, 0.5, 0.9)), scale=Scale.LOG) is None
    with pytest.raises(BankError, match="later cutoff"):
        what_changed(one, replace(one, cutoff=99), scale=Scale.LOG)
