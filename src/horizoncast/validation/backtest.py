"""Filling the bank: every member at every planned cutoff, cached rows first.

Letters in shapes: W windows, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np

from horizoncast.errors import HorizoncastError, StoreError
from horizoncast.forecast import Failure, Forecast
from horizoncast.models.child import Task, run_guarded, run_in_child
from horizoncast.models.progress import TrainingStep
from horizoncast.models.registry import member_class
from horizoncast.policy.admission import MemoryPlan
from horizoncast.resources import Usage
from horizoncast.store.bank_cache import BankCache, row_key
from horizoncast.validation.turns import Turns

Progress = Callable[[str, int, int], None]
"""Called with a member's name, cutoffs answered and cutoffs asked, from any thread.

While a member trains, with ``NAME training``, steps done and most steps."""


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberRun:
    """What one member answered, and what it cost.

    Parameters
    ----------
    member
        Its name.
    answers
        One per cutoff asked, live cutoff first; a failure stands where there is no forecast.
    cached, computed
        Rows taken from the cache, and computed now.
    usage
        Seconds and memory of the child; None when nothing was computed or the child died.
    problems
        Failures of the member as a whole, and cache files that could not be written.
    """

    member: str
    answers: tuple[Forecast | Failure, ...]
    cached: int
    computed: int
    usage: Usage | None
    problems: tuple[Failure, ...] = field(default=())

    @property
    def live(self) -> Forecast | Failure:
        """The answer at the live cutoff."""
        return self.answers[0]


def run_members(
    tasks: Sequence[Task],
    *,
    cache: BankCache | None,
    isolated: bool,
    workers: int,
    progress: Progress | None = None,
    memory: MemoryPlan | None = None,
) -> dict[str, MemberRun]:
    """Run members side by side, at most `workers` at a time; results in the order given.

    Parameters
    ----------
    memory
        What they may take together; without it they start in the order given.
    """
    turns = Turns(tasks, memory)
    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        jobs = [pool.submit(_work, turns, memory, cache, isolated, progress) for _ in range(max(1, workers))]
        done = {name: run for job in jobs for name, run in job.result().items()}
    return {task.member: done[task.member] for task in tasks}


def _work(
    turns: Turns,
    memory: MemoryPlan | None,
    cache: BankCache | None,
    isolated: bool,
    progress: Progress | None,
) -> dict[str, MemberRun]:
    """Take members from the queue until it is empty."""
    done = {}
    while (task := turns.take()) is not None:
        try:
            refusal = memory.refusal(task.member) if memory is not None else ""
            if refusal:
                failure = Failure(member=task.member, cutoff=None, code="NotAdmitted", reason=refusal)
                done[task.member] = _finish(task, {}, cached=0, usage=None, problems=[failure])
            else:
                capped = task if memory is None else replace(task, memory_mb=memory.cap(task.memory_mb))
                done[task.member] = _run_member(capped, cache, isolated, progress)
        finally:
            turns.give_back(task)
    return done


def _run_member(task: Task, cache: BankCache | None, isolated: bool, progress: Progress | None) -> MemberRun:
    try:
        keys = _keys(task)
    except HorizoncastError as error:  # not installed, or settings it refuses
        failure = Failure(member=task.member, cutoff=None, code=type(error).__name__, reason=str(error))
        return _finish(task, {}, cached=0, usage=None, problems=[failure])
    stored = cache.read(task.series.name, task.service, task.member) if cache else {}
    found: dict[np.datetime64, Forecast | Failure] = {
        cutoff: stored[key] for cutoff, key in keys.items() if key in stored
    }
    hits = len(found)
    missing = tuple(cutoff for cutoff in task.cutoffs if cutoff not in found)
    usage, problems = None, []
    if missing:
        for answer in _answers(replace(task, cutoffs=missing), isolated, progress):
            if isinstance(answer, Usage):
                usage = answer
            elif answer.cutoff is None:
                assert isinstance(answer, Failure)
                problems.append(answer)
            elif answer.cutoff not in keys:
                reason = f"an answer for {answer.cutoff}, which nobody asked for"
                problems.append(Failure(member=task.member, cutoff=None, code="NotAsked", reason=reason))
            else:
                found[answer.cutoff] = answer
                if progress is not None:
                    progress(task.member, len(found), len(task.cutoffs))
        problems += _remember(task, cache, keys, found, stored)
    elif progress is not None:
        progress(task.member, hits, len(task.cutoffs))
    return _finish(task, found, cached=hits, usage=usage, problems=problems)


def _answers(task: Task, isolated: bool, progress: Progress | None) -> Iterator[Forecast | Failure | Usage]:
    """What the member answers; steps of its training go to `progress`."""
    for answer in run_in_child(task) if isolated else run_guarded(task):
        if not isinstance(answer, TrainingStep):
            yield answer
        elif progress is not None:
            progress(answer.name, answer.done, answer.total)


def _keys(task: Task, cutoffs: Sequence[np.datetime64] | None = None) -> dict[np.datetime64, str]:
    """Cache key of every cutoff: the member, the data up to it, and the sessions it forecasts.

    The sessions are part of the key because a market that closed unforeseen moves the steps of a
    forecast made before.
    """
    digest = member_class(task.member)(task.config, service=task.service).digest()
    steps = task.horizon.steps
    data = task.series.digests(steps)
    return {
        cutoff: row_key(
            member_digest=digest,
            data_digest=data[task.series.index_of(cutoff)],
            dates=task.series.session_dates(cutoff, steps),
            levels=task.levels,
            service=task.service,
        )
        for cutoff in (task.cutoffs if cutoffs is None else cutoffs)
    }


def _remember(
    task: Task,
    cache: BankCache | None,
    keys: dict[np.datetime64, str],
    found: dict[np.datetime64, Forecast | Failure],
    stored: dict[str, Forecast],
) -> list[Failure]:
    """Keep this run's rows and earlier live rows that have yet to mature: the file does not grow."""
    rows = {keys[cutoff]: f for cutoff, f in found.items() if isinstance(f, Forecast)}
    rows |= _waiting(task, stored)
    if cache is None or not rows:
        return []
    try:
        cache.write(task.series.name, task.service, task.member, rows)
    except StoreError as error:  # costs time next week, not the forecast of today
        return [Failure(member=task.member, cutoff=None, code="CacheNotWritten", reason=str(error))]
    return []


def _waiting(task: Task, stored: dict[str, Forecast]) -> dict[str, Forecast]:
    """Stored rows newer than the bank's newest matured cutoff, if the data under them still hold."""
    matured = max((c for c in task.cutoffs if c < task.series.last), default=task.series.last)
    sessions = set(task.series.dates)
    newer = {f.cutoff: key for key, f in stored.items() if matured < f.cutoff and f.cutoff in sessions}
    current = _keys(task, tuple(newer)) if newer else {}
    return {key: stored[key] for cutoff, key in newer.items() if current[cutoff] == key}


def _finish(
    task: Task,
    found: dict[np.datetime64, Forecast | Failure],
    *,
    cached: int,
    usage: Usage | None,
    problems: list[Failure],
) -> MemberRun:
    """One answer per cutoff asked; those that never came carry the reason of the member's failure."""
    fatal = next((p for p in problems if p.code != "CacheNotWritten"), None)
    code, reason = (fatal.code, fatal.reason) if fatal else ("NoAnswer", "the member gave no answer")
    answers = tuple(
        found.get(c, Failure(member=task.member, cutoff=c, code=code, reason=reason)) for c in task.cutoffs
    )
    return MemberRun(
        member=task.member,
        answers=answers,
        cached=cached,
        computed=len(found) - cached,
        usage=usage,
        problems=tuple(problems),
    )
