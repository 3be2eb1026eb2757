"""A member in a process of its own: a crash, a hang or a full memory costs that member only.

The child streams each answer as it is ready, so that a deadline costs what was still to come.
Objects cross the pipe by pickle; nothing is ever unpickled from disk.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from pebble import concurrent

from horizoncast.errors import ForecastError, HorizoncastError
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import Horizon
from horizoncast.models.base import MemberConfig
from horizoncast.models.last_words import LastWords, redirect
from horizoncast.models.out_of_memory import ended_for_memory, ran_out
from horizoncast.models.progress import TrainingStep, listening
from horizoncast.models.registry import member_class
from horizoncast.resources import (
    Usage,
    child_environment,
    die_with,
    limit_data,
    memory_kills,
    usage_now,
)
from horizoncast.series import Series

POLL_S = 0.05
_STARTING = threading.Lock()
"""Children are started one at a time: starting one changes process-wide state for a moment."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What a child is asked for.

    Parameters
    ----------
    member, config
        Name in the registry, and the member's frozen settings.
    service
        Part of the seed of random numbers.
    series, cutoffs, horizon, levels
        As in `Member.forecast`; the live cutoff first.
    deadline_s
        Seconds on the clock after which the child is ended.
    memory_mb
        Private memory the child may take beyond what it starts with.
    """

    member: str
    config: MemberConfig
    service: str
    series: Series
    cutoffs: tuple[np.datetime64, ...]
    horizon: Horizon
    levels: tuple[float, ...]
    deadline_s: float = 600.0
    memory_mb: int = 1500


def run_task(task: Task) -> Iterator[Forecast | Failure]:
    """Run a member in this process, unguarded: the body of the child."""
    member = member_class(task.member)(task.config, service=task.service)
    yield from member.forecast(task.series, task.cutoffs, task.horizon, task.levels)


def run_guarded(task: Task) -> Iterator[Forecast | Failure]:
    """Run a member in this process, in a child or where isolation is switched off (benchmarks).

    The member guard: whatever a member raises becomes its failure, in words, so that no error
    needs to cross a process boundary itself. Neither deadline nor memory cap holds here.
    """
    try:
        yield from run_task(task)
    except Exception as error:  # noqa: BLE001 the member guard
        yield _failure(task, error)


def run_in_child(task: Task) -> Iterator[Forecast | Failure | Usage | TrainingStep]:
    """Run a member in a child process and yield its answers as they come, its usage last.

    Steps of its training come between them.

    When the child dies, hangs, raises or cannot be started, one `Failure` without a cutoff says why;
    answers that came before it are good.
    """
    words, kills = LastWords(), memory_kills()
    try:
        reader, future = _start(task, words)
    except _NOT_STARTED as error:
        words.close()
        reason = f"{type(error).__name__}: {error}"
        yield Failure(member=task.member, cutoff=None, code="ChildNotStarted", reason=reason)
        return
    try:
        yield from _receive(reader, future.done)
        ending = future.exception()
        if ending is not None:
            yield _ended(task, ending, words.read(), memory_kills() - kills)
    except ForecastError as broken:  # every forecast is checked again as it arrives
        yield _failure(task, broken)
    finally:
        future.cancel()
        reader.close()
        words.close()


_NOT_STARTED = (OSError, EOFError, RuntimeError, pickle.PicklingError, TypeError, AttributeError)
"""No process, thread or file handle left, or settings that cannot be pickled."""


def _start(task: Task, words: LastWords) -> tuple[Connection, Any]:
    """Start a child: the end of the pipe it answers through, and the future of its end."""
    reader, writer = _context().Pipe(duplex=False)
    try:
        with _STARTING, child_environment(), _anonymous_main():
            start = concurrent.process(
                name=f"horizoncast-{task.member}", timeout=task.deadline_s, context=_context()
            )
            return reader, start(_serve)(writer, task, os.getpid(), words.place)
    except _NOT_STARTED:
        reader.close()
        raise
    finally:
        writer.close()


def _receive(
    reader: Connection, ended: Callable[[], bool]
) -> Iterator[Forecast | Failure | Usage | TrainingStep]:
    """Answers until the child closes its end, by finishing or by dying.

    A process that the child left behind may hold its end open: the child's own end ends it too.
    """
    while True:
        try:
            if not reader.poll(POLL_S):
                if ended() and not reader.poll(0):
                    return
                continue
            answer = reader.recv()
        except (EOFError, OSError):  # an OSError is a message that a killed child left unfinished
            return
        yield answer


def _serve(writer: Connection, task: Task, parent: int, words: str) -> None:
    """Body of the child."""
    started = time.monotonic()
    redirect(words)
    die_with(parent)
    limit_data(task.memory_mb)
    try:
        with listening(writer.send):
            for answer in run_guarded(task):
                writer.send(answer)
        writer.send(usage_now(started, time.monotonic()))
    finally:
        writer.close()


def _failure(task: Task, error: Exception) -> Failure:
    """What the member raised, in words an operator understands."""
    code, reason = type(error).__name__, str(error) or "no message"
    if ran_out(error):
        code, reason = "OutOfMemory", f"more than {task.memory_mb} MiB beyond the start ({code})"
    elif not isinstance(error, HorizoncastError):
        reason = f"unexpected {code}: {reason}"
    return Failure(member=task.member, cutoff=None, code=code, reason=reason)


def _ended(task: Task, error: BaseException, words: str, kills: int) -> Failure:
    """How the process ended other than by finishing."""
    code, reason = type(error).__name__, f"unexpected {type(error).__name__}: {error}"
    if isinstance(error, TimeoutError):
        code, reason = "DeadlineExceeded", f"not done after {task.deadline_s:g} s"
    elif code == "ProcessExpired":
        exitcode = getattr(error, "exitcode", None)
        memory = ended_for_memory(exitcode, words, kills)
        code = "OutOfMemory" if memory else "ProcessDied"
        reason = f"the member's process ended with exit code {exitcode}{_quoted(words)}"
    return Failure(member=task.member, cutoff=None, code=code, reason=reason)


def _quoted(words: str) -> str:
    """The last line on standard error, as part of a sentence."""
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return f", saying: {lines[-1][:200]}" if lines else ""


@cache
def _context() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["horizoncast.models.preload"])
    return context


@contextmanager
def _anonymous_main() -> Iterator[None]:
    """Keep children from importing the caller's script again.

    A script without the ``if __name__ == "__main__"`` guard would otherwise start itself in every
    child; nothing of it is needed there.
    """
    main = sys.modules["__main__"]
    kept = {name: main.__dict__.pop(name) for name in ("__file__",) if name in main.__dict__}
    spec, main.__spec__ = main.__spec__, None
    try:
        yield
    finally:
        main.__dict__.update(kept)
        main.__spec__ = spec
