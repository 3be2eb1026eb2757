"""Members take turns: each starts when its claim on memory fits beside those that run."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from horizoncast.models.child import Task
from horizoncast.models.registry import NEEDS
from horizoncast.policy.admission import MemoryPlan, next_start, start_order


class Turns:
    """The queue of members, shared by the threads that run them.

    Parameters
    ----------
    tasks
        In the order in which they start where memory does not matter.
    plan
        Budget and measured peaks; None lets them start as they come.
    """

    def __init__(self, tasks: Sequence[Task], plan: MemoryPlan | None) -> None:
        self._tasks = {task.member: task for task in tasks}
        claims = {t.member: 0.0 if plan is None else plan.claim(t.member, t.memory_mb) for t in tasks}
        self._claims = claims
        self._budget = 0.0 if plan is None else plan.budget_mb
        self._waiting = start_order(claims)
        self._running: set[str] = set()
        self._changed = threading.Condition()

    def take(self) -> Task | None:
        """The next member to run, as soon as there is room for one; None when none is left."""
        with self._changed:
            while self._waiting:
                name = next_start(
                    self._waiting, self._running, self._claims, self._budget, apart=NEEDS
                )  # torch and its threads, once at a time
                if name is not None:
                    self._waiting.remove(name)
                    self._running.add(name)
                    return self._tasks[name]
                self._changed.wait()
            return None

    def give_back(self, task: Task) -> None:
        """A member has ended, however it did."""
        with self._changed:
            self._running.remove(task.member)
            self._changed.notify_all()
