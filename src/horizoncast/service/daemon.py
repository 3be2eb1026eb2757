"""The daemon: one small process that starts each tick as a child, for machines without cron or systemd.

It holds no schedule: APScheduler only beats. Nothing of a tick is imported here, so that its memory
stays what it was at the start; a beat that comes while a tick is at work is dropped, and late ones
are joined to one.
"""

from __future__ import annotations

import logging
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from types import FrameType

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from horizoncast.service.children import command
from horizoncast.service.export import require_minutes

GRACE_S = 30.0
"""Time a tick has to end by itself after the daemon was told to end."""
_POLL_S = 0.2

Spawn = Callable[[Sequence[str]], "subprocess.Popen[bytes]"]


def spawn(arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start a command of ours on a leash."""
    return subprocess.Popen(command(arguments), stdin=subprocess.DEVNULL)  # noqa: S603 (ours)


class Daemon:
    """Starts a tick at every beat, one at a time.

    Parameters
    ----------
    arguments
        Of the child: ``tick`` and its options.
    start
        Starts a child; tests bring their own.
    tell
        Called with a line when a tick ends in an error.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        start: Spawn = spawn,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.arguments = tuple(arguments)
        self.beats = 0
        self._start, self._tell = start, tell
        self._stopping = threading.Event()

    def beat(self) -> None:
        """One tick, from its start to its end; ended early when the daemon is told to end."""
        if self._stopping.is_set():
            return
        self.beats += 1
        try:
            child = self._start(self.arguments)
        except OSError as error:  # no process or memory left for the moment: the next beat tries again
            self._tell(f"a tick could not be started: {error}")
            return
        try:
            code = self._wait(child)
        finally:
            end(child)
        if code:
            self._tell(f"a tick ended with exit code {code}")

    def _wait(self, child: subprocess.Popen[bytes]) -> int:
        while True:
            try:
                return child.wait(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                if self._stopping.is_set():
                    return 0

    def stop(self) -> None:
        """Ask for the end: the tick at work is ended, no other begins."""
        self._stopping.set()

    @property
    def stopped(self) -> threading.Event:
        """Set once the end was asked for."""
        return self._stopping

    def run(self, *, every: int = 5, seconds: float | None = None) -> None:
        """Beat until told to end.

        Parameters
        ----------
        every
            Minutes between two beats, on the minutes of the clock.
        seconds
            Seconds between two beats instead; for tests and measurements.
        """
        logging.getLogger("apscheduler").setLevel(logging.ERROR)  # a dropped beat is no news
        trigger = (
            CronTrigger(minute=f"*/{require_minutes(every)}" if every < 60 else "0", timezone="UTC")
            if seconds is None
            else IntervalTrigger(seconds=seconds, timezone="UTC")
        )
        scheduler = BackgroundScheduler(
            timezone="UTC",
            executors={"default": ThreadPoolExecutor(1)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": 3600},
        )
        scheduler.add_job(self.beat)  # at once: what became due while the machine was off
        scheduler.add_job(self.beat, trigger, id="tick")
        scheduler.start()
        try:
            self._stopping.wait()
        finally:
            self.stop()
            scheduler.shutdown(wait=True)


def end(child: subprocess.Popen[bytes]) -> None:
    """End a child that is still at work: asked first, then killed."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(timeout=GRACE_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop_on_signals(daemon: Daemon) -> None:
    """SIGTERM and SIGINT end the daemon in good order."""

    def stop(number: int, frame: FrameType | None) -> None:
        daemon.stop()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
