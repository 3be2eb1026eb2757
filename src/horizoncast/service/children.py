"""Commands of ours as child processes: their memory returns to the system when they end.

A child dies with its parent, however that ends (`horizoncast.cli.leash`), so that a tick that was
killed leaves nothing running beside the next one.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

TIMED_OUT = 124
"""Exit code of a child that was ended for taking too long, as timeout(1) has it."""
STOPPED = 143
"""Exit code of a process that was asked to end, as a shell has it."""
_GRACE_S = 10.0

Start = Callable[[Sequence[str], float], int]
"""Runs a command of ours with a limit in seconds and returns its exit code; tests bring their own."""


def command(arguments: Sequence[str]) -> list[str]:
    """Program and arguments of a child on a leash of this process."""
    return [sys.executable, "-m", "horizoncast.cli.leash", str(os.getpid()), *arguments]


def run_child(arguments: Sequence[str], limit_s: float, *, silent: bool = False) -> int:
    """Run a command of ours and return its exit code; a negative one is a signal.

    Its results go to standard error, as our own standard output may be JSON; `silent` leaves errors
    alone to go there. Whatever ends the wait, an exception included, ends the child.
    """
    results = subprocess.DEVNULL if silent else sys.stderr.fileno()
    child = subprocess.Popen(  # noqa: S603 (ours)
        command(arguments), stdin=subprocess.DEVNULL, stdout=results
    )
    try:
        return child.wait(timeout=limit_s)
    except subprocess.TimeoutExpired:
        return TIMED_OUT
    finally:
        _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(timeout=_GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@contextmanager
def ending_on_sigterm() -> Iterator[None]:
    """Turn SIGTERM into an exit that runs every ``finally`` on the way, the child's end among them."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise SystemExit(STOPPED)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
