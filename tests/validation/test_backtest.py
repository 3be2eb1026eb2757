"""Filling the bank: order, progress, whole failures, and answers nobody asked for."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.base import MemberConfig
from horizoncast.models.child import Task, run_guarded
from horizoncast.models.progress import TrainingStep
from horizoncast.models.registry import MEMBERS
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.backtest import run_members
from support import market
from toys import Toy, ToyConfig, enter

SERIES = market(120)
CUTOFFS = tuple(SERIES.dates[[-1, -10, -20, -30]])


def task(member: str, config: MemberConfig, **changes: Any) -> Task:
    given = Task(
        member=member,
        config=config,
        service="",
        series=SERIES,
        cutoffs=CUTOFFS,
        horizon=Horizon(steps=7),
        levels=LEVELS,
    )
    return replace(given, **changes)


def run_one(given: Task, cache: BankCache | None = None) -> Any:
    return run_members([given], cache=cache, isolated=False, workers=1)[given.member]


def test_answers_come_in_the_order_asked_and_progress_counts_up(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, int, int]] = []
    config = enter(monkeypatch)
    runs = run_members(
        [task("toy", config)],
        cache=None,
        isolated=False,
        workers=1,
        progress=lambda *event: seen.append(event),
    )
    assert [a.cutoff for a in runs["toy"].answers] == list(CUTOFFS)
    assert runs["toy"].live is runs["toy"].answers[0]
    assert seen == [("toy", n, 4) for n in (1, 2, 3, 4)]


def test_steps_of_a_training_are_progress_and_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def child(given: Task) -> Iterator[Any]:
        yield TrainingStep(member=given.member, done=25, total=150)
        yield from run_guarded(given)

    monkeypatch.setattr("horizoncast.validation.backtest.run_in_child", child)
    seen: list[tuple[str, int, int]] = []
    given = task("toy", enter(monkeypatch))
    for progress in (lambda *event: seen.append(event), None):
        runs = run_members([given], cache=None, isolated=True, workers=1, progress=progress)
        assert [a.cutoff for a in runs["toy"].answers] == list(CUTOFFS)
    assert seen == [("toy training", 25, 150), *(("toy", n, 4) for n in (1, 2, 3, 4))]


def test_a_member_that_is_not_installed_is_a_recorded_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEMBERS, "ghost", "no_such_package.module:Class")
    run = run_one(task("ghost", MemberConfig()))
    assert [p.code for p in run.problems] == ["NotInstalledError"]
    assert [(a.code, a.cutoff) for a in run.answers] == [("NotInstalledError", c) for c in CUTOFFS]
    assert (run.cached, run.computed) == (0, 0)


def test_a_broken_member_gives_the_reason_at_every_cutoff_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    run = run_one(task("toy", enter(monkeypatch, act="bug", at=2)))
    assert [type(a) for a in run.answers] == [Forecast, Forecast, Failure, Failure]
    assert run.answers[3].code == "ZeroDivisionError"
    assert run.answers[3].cutoff == CUTOFFS[3]
    assert run.computed == 2


def test_what_a_broken_member_answered_is_kept_for_the_next_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cache = BankCache(tmp_path)
    config = enter(monkeypatch, act="bug", at=2)
    run_one(task("toy", config), cache)
    again = run_one(task("toy", config), cache)
    assert again.cached == 2
    assert not again.problems  # two calls are left, and it breaks at its third
    assert all(isinstance(a, Forecast) for a in again.answers)


def test_failures_are_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    config = enter(monkeypatch, act="refuse", at=3)
    assert [type(a) for a in run_one(task("toy", config), cache).answers][-1] is Failure
    assert run_one(task("toy", config), cache).cached == 3


def test_an_answer_nobody_asked_for_is_a_recorded_problem(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    config = enter(monkeypatch)

    def astray(self: Toy, series: Any, cutoffs: Any, *rest: Any) -> Iterator[Any]:
        yield from Toy.__mro__[1].forecast(self, series, [*cutoffs, series.dates[50]], *rest)

    monkeypatch.setattr(Toy, "forecast", astray)
    run = run_one(task("toy", config), BankCache(tmp_path))
    assert [type(a) for a in run.answers] == [Forecast] * 4
    assert [p.code for p in run.problems] == ["NotAsked"]


def test_members_run_side_by_side_give_the_same_as_one_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configs: dict[str, ToyConfig] = {
        name: enter(monkeypatch, name, shift=shift) for name, shift in [("x", 0.0), ("y", 0.1), ("z", 0.2)]
    }
    tasks = [task(name, config) for name, config in configs.items()]
    one, two = (run_members(tasks, cache=None, isolated=False, workers=n) for n in (1, 3))
    assert list(one) == list(two) == ["x", "y", "z"]
    for name in one:
        for a, b in zip(one[name].answers, two[name].answers, strict=True):
            assert isinstance(a, Forecast)
            assert isinstance(b, Forecast)
            np.testing.assert_array_equal(a.quantiles, b.quantiles)
