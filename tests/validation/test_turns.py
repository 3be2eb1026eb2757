"""Members share the memory there is."""

import threading
from dataclasses import replace

import pytest

from horizoncast.engine import EngineConfig, ForecastEngine, MemberSetting
from horizoncast.engine import core as engine_core
from horizoncast.forecast import Failure
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.base import MemberConfig
from horizoncast.models.child import Task
from horizoncast.policy.admission import RESERVE_MB, MemoryPlan
from horizoncast.resources import MIB
from horizoncast.validation import backtest
from horizoncast.validation.turns import Turns
from support import market
from toys import enter

SERIES = market(120)


def task(member: str, cap: int = 1500) -> Task:
    return Task(
        member=member, config=MemberConfig(), service="", series=SERIES, cutoffs=(SERIES.last,),
        horizon=Horizon(steps=7), levels=LEVELS, memory_mb=cap,
    )  # fmt: skip


def test_a_member_waits_until_there_is_room() -> None:
    plan = MemoryPlan(free_mb=1000 + RESERVE_MB, peaks={"a": 700, "b": 600, "c": 100})
    turns = Turns([task("b"), task("c"), task("a")], plan)
    first, second = turns.take(), turns.take()
    assert first is not None
    assert second is not None
    assert (first.member, second.member) == ("a", "c")
    got: list[Task | None] = []
    waiter = threading.Thread(target=lambda: got.append(turns.take()))
    waiter.start()
    turns.give_back(second)
    waiter.join(0.2)
    assert got == []
    turns.give_back(first)
    waiter.join(5.0)
    assert [t.member for t in got if t] == ["b"]
    assert turns.take() is None


def test_without_a_plan_they_start_in_the_order_given() -> None:
    turns = Turns([task("b"), task("c"), task("a")], None)
    assert [t.member for t in iter(turns.take, None)] == ["b", "c", "a"]


def test_a_defect_in_one_thread_does_not_leave_the_others_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(given: Task, *rest: object) -> None:
        raise AssertionError(given.member)

    monkeypatch.setattr(backtest, "_run_member", broken)
    plan = MemoryPlan(free_mb=1000 + RESERVE_MB)
    with pytest.raises(AssertionError):
        backtest.run_members([task("a"), task("b")], cache=None, isolated=True, workers=2, memory=plan)


def test_the_engine_refuses_what_does_not_fit_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_core, "memory_available", lambda: int((500 + RESERVE_MB) * MIB))
    toy = MemberSetting(name="toy", config=enter(monkeypatch))
    engine = ForecastEngine(EngineConfig(members=(toy,)), peaks={"toy": 501.0, "random_walk": 900.0})
    result = engine.forecast(market(300), 7)
    outcome = {m.name: m for m in result.members}
    assert isinstance(outcome["toy"].live, Failure)
    assert outcome["toy"].live.code == "NotAdmitted"
    assert not isinstance(outcome["random_walk"].live, Failure)
    assert any("toy is on and gave no forecast (NotAdmitted)" in r for r in result.status_reasons)


def test_a_cap_is_lowered_to_what_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """400 MiB are allocated under a cap of 1500 where 250 are free: the member fails, nobody is killed."""
    config = enter(monkeypatch, act="memory", at=0)
    plan = MemoryPlan(free_mb=250 + RESERVE_MB)
    given = replace(task("toy"), config=config)
    found = backtest.run_members([given], cache=None, isolated=True, workers=1, memory=plan)
    assert [p.code for p in found["toy"].problems] == ["OutOfMemory"]
