"""A member's process: where it comes from, what it brings, what its failures look like."""

from __future__ import annotations

import os

import numpy as np
import psutil
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.child import Task, run_in_child
from horizoncast.models.registry import make_config
from horizoncast.resources import Usage
from horizoncast.series import Scale, Series


@pytest.fixture(scope="module")
def series() -> Series:
    calendar = Calendar(kind=CalendarKind.DAILY)
    dates = calendar.sessions(np.datetime64("2023-01-01"), np.datetime64("2023-12-31"))
    values = np.exp(np.cumsum(np.random.default_rng(0).normal(size=len(dates)) * 0.01))
    return Series(name="x", unit="u", calendar=calendar, dates=dates, values=values, scale=Scale.LOG)


def a_task(series: Series, member: str = "random_walk", **changes: object) -> Task:
    given: dict[str, object] = {
        "member": member,
        "config": make_config(member),
        "service": "s",
        "series": series,
        "cutoffs": tuple(series.dates[-3:][::-1]),
        "horizon": Horizon(steps=5),
        "levels": LEVELS,
    }
    return Task(**(given | changes))  # type: ignore[arg-type]


def test_answers_come_in_order_and_usage_last(series: Series) -> None:
    task = a_task(series)
    answers = list(run_in_child(task))
    assert [a.cutoff for a in answers[:-1] if isinstance(a, Forecast)] == list(task.cutoffs)
    assert isinstance(answers[-1], Usage)


def test_the_process_is_a_child_of_the_fork_server(series: Series) -> None:
    """Forked from the caller itself, it would copy the caller's threads' locks and import anew."""
    answers = run_in_child(a_task(series, cutoffs=tuple(series.dates[-300:])))
    next(answers)
    running = [p for p in psutil.Process().children(recursive=True) if "forkserver" in " ".join(p.cmdline())]
    parents = {p.pid: p.ppid() for p in running}
    list(answers)
    servers = {pid for pid, parent in parents.items() if parent == os.getpid()}
    members = {pid for pid, parent in parents.items() if parent in servers}
    assert len(servers) == 1
    assert members


def test_a_deadline_is_a_failure_of_the_member(series: Series) -> None:
    answers = list(run_in_child(a_task(series, member="random_forest", deadline_s=0.05)))
    last = answers[-1]
    assert isinstance(last, Failure)
    assert last.code == "DeadlineExceeded"
