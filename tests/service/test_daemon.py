"""The daemon: beats, starts one child at a time, ends when told."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from due_services import write_services
from horizoncast.service.daemon import Daemon

HEAVY = {"numpy", "pandas", "scipy", "sqlalchemy", "pydantic_settings", "horizoncast.service.tick"}


class FakeChild:
    """A process that ends after some polls."""

    def __init__(self, seconds: float = 0.0, code: int = 0) -> None:
        self.ends, self.code, self.asked = time.monotonic() + seconds, code, False

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self.code if self.asked or time.monotonic() >= self.ends else None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end."""
        deadline = time.monotonic() + (timeout or 1e9)
        while self.poll() is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("fake", timeout or 0.0)
            time.sleep(0.001)
        return self.code

    def terminate(self) -> None:
        """Asked to end."""
        self.asked = True

    kill = terminate


def run_until(daemon: Daemon, enough: Callable[[], bool], *, every_s: float) -> float:
    """Beat in a thread until there is enough of it, and a little longer; returns the seconds it took."""
    thread, began = threading.Thread(target=lambda: daemon.run(seconds=every_s)), time.monotonic()
    thread.start()
    while not enough() and time.monotonic() < began + 60.0:
        time.sleep(0.01)
    time.sleep(0.2)
    daemon.stop()
    thread.join(30.0)
    assert not thread.is_alive()
    return time.monotonic() - began


def test_one_child_at_a_time_and_late_beats_are_joined() -> None:
    alive, most, started = [0], [0], [0]

    class Child(FakeChild):
        def wait(self, timeout: float | None = None) -> int:
            try:
                return super().wait(timeout)
            finally:
                if self.poll() is not None:
                    alive[0] -= 1

    def start(arguments: Sequence[str]) -> Child:
        started[0] += 1
        alive[0] += 1
        most[0] = max(most[0], alive[0])
        return Child(seconds=0.3)

    daemon = Daemon(["tick"], start=start)  # type: ignore[arg-type]
    seconds = run_until(daemon, lambda: started[0] >= 4, every_s=0.02)
    assert most[0] == 1
    assert 4 <= started[0] <= seconds / 0.3 + 1  # each child takes fifteen beats


def test_what_ends_badly_or_cannot_be_started_is_told_and_goes_on() -> None:
    said: list[str] = []
    codes = iter([3, None, 0, 0, 0, 0])

    def start(arguments: Sequence[str]) -> FakeChild:
        code = next(codes, 0)
        if code is None:
            raise BlockingIOError("no more processes")
        return FakeChild(code=code)

    daemon = Daemon(["tick"], start=start, tell=said.append)  # type: ignore[arg-type]
    for _ in range(3):
        daemon.beat()
    assert said == ["a tick ended with exit code 3", "a tick could not be started: no more processes"]
    assert daemon.beats == 3


def test_told_to_end_it_ends_the_tick_at_work_and_starts_no_other() -> None:
    children: list[FakeChild] = []

    def start(arguments: Sequence[str]) -> FakeChild:
        children.append(FakeChild(seconds=60))
        return children[-1]

    daemon = Daemon(["tick"], start=start)  # type: ignore[arg-type]
    run_until(daemon, lambda: bool(children), every_s=0.05)
    assert len(children) == 1
    assert children[0].asked
    daemon.beat()
    assert len(children) == 1


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> subprocess.Popen[bytes]:
    folder = write_services(tmp_path_factory.mktemp("daemon"), more="late_hours = 0.001")
    return subprocess.Popen(
        [sys.executable, "-m", "horizoncast.cli", "daemon", "--every", "60"],
        cwd=folder,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_the_process_is_small_ticks_at_once_and_ends_cleanly_on_sigterm(
    process: subprocess.Popen[bytes],
) -> None:
    parent = psutil.Process(process.pid)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not parent.children():
        time.sleep(0.02)
    assert parent.children(), "no tick at the start"
    assert parent.memory_info().rss < 60 * 1024 * 1024
    tick = parent.children()
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=45)[1].decode()
    assert process.returncode == 0
    assert said.rstrip().endswith("ended")
    assert psutil.wait_procs(tick, timeout=5)[1] == []


def test_importing_it_imports_nothing_of_a_tick() -> None:
    code = "import sys, horizoncast.cli.daemon, horizoncast.service.daemon; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert set(done.stdout.split()) & HEAVY == set()


def test_an_interval_that_does_not_divide_an_hour_is_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "horizoncast.cli", "daemon", "--every", "7"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "divide an hour" in done.stderr
