"""What may run together."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.policy.admission import LEAST_CAP_MB, RESERVE_MB, MemoryPlan, next_start, start_order


@settings(deadline=None)
@given(
    st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.floats(1, 2000), min_size=1, max_size=8),
    st.floats(100, 4000),
    st.integers(1, 4),
    st.randoms(use_true_random=False),
)
def test_what_runs_together_stays_within_the_budget_and_everybody_gets_a_turn(
    claims, budget, workers, random
):
    waiting, running, started = start_order(claims), set(), []
    while waiting or running:
        name = next_start(waiting, running, claims, budget) if len(running) < workers else None
        if name is None:
            running.remove(random.choice(sorted(running)))
            continue
        waiting.remove(name)
        running.add(name)
        started.append(name)
        assert len(running) == 1 or sum(claims[n] for n in running) <= budget
    assert sorted(started) == sorted(claims)


def test_a_4_gb_server_never_runs_two_dear_members_at_once():
    plan = MemoryPlan(free_mb=3000, peaks={"chronos": 1500, "autoformer": 1200, "var": 260, "naive": 180})
    claims = {name: plan.claim(name, 1500) for name in plan.peaks}
    order = start_order(claims)
    assert order[:2] == ["chronos", "autoformer"]
    assert next_start(order[1:], {"chronos"}, claims, plan.budget_mb) == "var"


def test_members_that_keep_apart_wait_for_each_other_however_much_memory_there_is():
    claims = {"chronos": 1.0, "autoformer": 1.0, "var": 1.0}
    apart = ("chronos", "autoformer")
    assert next_start(["autoformer", "var"], {"chronos"}, claims, 1e6, apart=apart) == "var"
    assert next_start(["autoformer"], {"chronos", "var"}, claims, 1e6, apart=apart) is None
    assert next_start(["autoformer"], {"var"}, claims, 1e6, apart=apart) == "autoformer"
    assert next_start(["autoformer"], {"chronos"}, claims, 1e6) == "autoformer"


def test_a_member_that_was_measured_above_what_is_free_is_refused_in_words():
    plan = MemoryPlan(free_mb=1000 + RESERVE_MB, peaks={"dear": 1001.0, "cheap": 1000.0, "naive": 5000.0},
                      needed=("naive",))  # fmt: skip
    assert plan.refusal("dear") == "its last runs took 1001 MiB, 1000 MiB are free for members"
    assert [plan.refusal(n) for n in ("cheap", "naive", "never measured")] == ["", "", ""]


@pytest.mark.parametrize(("free", "cap"), [(10_000, 1500), (1000, 750), (100, LEAST_CAP_MB)])
def test_a_cap_never_promises_more_than_there_is(free, cap):
    assert MemoryPlan(free_mb=free).cap(1500) == cap
