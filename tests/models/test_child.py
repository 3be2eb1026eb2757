"""A member's process: whatever it does, the parent learns why and keeps what came before."""

import gc
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models import child
from horizoncast.models.child import Task, run_guarded, run_in_child
from horizoncast.models.naive import RandomWalkConfig
from horizoncast.models.progress import TrainingStep
from horizoncast.resources import Usage
from support import market
from toys import ToyConfig, enter

SERIES = market(120)
CUTOFFS = tuple(SERIES.dates[[-1, -10, -20, -30]])


def task(config: ToyConfig, **changes: Any) -> Task:
    given = Task(
        member=config.entry,
        config=config,
        service="",
        series=SERIES,
        cutoffs=CUTOFFS,
        horizon=Horizon(steps=7),
        levels=LEVELS,
        deadline_s=20.0,
    )
    return replace(given, **changes)


def answers(given: Task) -> tuple[list[Forecast], list[Failure], list[Usage]]:
    got = list(run_in_child(given))
    return (
        [a for a in got if isinstance(a, Forecast)],
        [a for a in got if isinstance(a, Failure)],
        [a for a in got if isinstance(a, Usage)],
    )


def test_a_child_answers_as_the_member_does_here(monkeypatch: pytest.MonkeyPatch) -> None:
    given = task(enter(monkeypatch))
    forecasts, failures, usage = answers(given)
    here = list(run_guarded(given))
    assert not failures
    assert len(forecasts) == 4
    assert all(f.same_numbers(h) for f, h in zip(forecasts, here, strict=True) if isinstance(h, Forecast))
    assert usage[0].peak_mb > 1.0
    assert usage[0].cpu_s > 0.0
    assert not forecasts[0].quantiles.flags.writeable


def test_a_childs_training_is_heard_of_between_its_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    got = list(run_in_child(task(enter(monkeypatch, act="train", at=3))))
    assert [type(a) for a in got] == [Forecast, Forecast, Forecast, TrainingStep, Forecast, Usage]
    assert got[3] == TrainingStep(member="toy", done=25, total=150)


def test_the_process_is_a_child_of_the_fork_server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Forked from the caller itself, it would copy the caller's threads' locks and import anew."""
    note = tmp_path / "pid"
    stream = run_in_child(task(enter(monkeypatch, act="report", at=1, note=str(note))))
    next(stream)
    server = psutil.Process(wait_for_pid(note)).parent()
    stream.close()  # type: ignore[attr-defined]
    assert server is not None
    assert server.pid != os.getpid()
    assert "forkserver" in " ".join(server.cmdline())
    assert server.ppid() == os.getpid()


@pytest.mark.parametrize(
    ("act", "code", "reason"),
    [
        ("exit", "ProcessDied", "exit code"),
        ("kill", "ProcessDied", "exit code"),
        ("quit", "SystemExit", "4"),
        ("bug", "ZeroDivisionError", "a bug"),
        ("unpicklable", "LocalError", "cannot be pickled"),
        ("needy", "NeedyError", "cannot be unpickled"),
    ],
)
def test_what_came_before_a_failure_is_kept(
    monkeypatch: pytest.MonkeyPatch, act: str, code: str, reason: str
) -> None:
    forecasts, failures, _ = answers(task(enter(monkeypatch, act=act, at=2)))
    assert [f.cutoff for f in forecasts] == list(CUTOFFS[:2])
    assert [(f.code, f.cutoff, f.member) for f in failures] == [(code, None, "toy")]
    assert reason in failures[0].reason


def test_a_cutoff_that_is_refused_costs_that_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    _, failures, usage = answers(task(enter(monkeypatch, act="refuse", at=3)))
    assert [(f.code, f.cutoff) for f in failures] == [("ModelError", CUTOFFS[3])]
    assert len(usage) == 1


def test_a_hang_ends_at_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    """It hangs for two minutes. A busy machine may not reach the hang in time: it is then given longer."""
    config = enter(monkeypatch, act="hang", at=2)
    answered = 0
    for deadline in (1.0, 8.0, 60.0):
        started = time.monotonic()
        forecasts, failures, _ = answers(task(config, deadline_s=deadline))
        assert deadline <= time.monotonic() - started < deadline + 40.0
        assert [f.code for f in failures] == ["DeadlineExceeded"]
        assert f"{deadline:g} s" in failures[0].reason
        answered = len(forecasts)
        if answered:
            break
    assert answered == 2


def test_memory_beyond_the_cap_is_the_members_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    config = enter(monkeypatch, act="memory", at=1)
    forecasts, failures, _ = answers(task(config, memory_mb=100))
    assert len(forecasts) == 1
    assert [f.code for f in failures] == ["OutOfMemory"]
    assert "100 MiB" in failures[0].reason
    assert not answers(task(config, memory_mb=1500))[1]


def test_a_process_left_behind_does_not_hold_up_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grandchild inherits the pipe's end: waiting for its end of file would take a minute."""
    started = time.monotonic()
    forecasts, failures, _ = answers(task(enter(monkeypatch, act="grandchild", at=2), deadline_s=5.0))
    assert time.monotonic() - started < 15.0
    assert len(forecasts) == 2
    assert len(failures) == 1


def test_a_message_cut_short_by_a_kill_is_the_end_and_no_error() -> None:
    """A child killed while it writes leaves half a message in the pipe."""
    reader, writer = os.pipe()
    from multiprocessing.connection import Connection

    connection = Connection(reader, writable=False)
    os.write(writer, (1000).to_bytes(4, "big") + b"half")
    os.close(writer)
    assert list(child._receive(connection, lambda: False)) == []
    connection.close()


def test_settings_that_cannot_cross_are_the_members_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    config = enter(monkeypatch)
    object.__setattr__(config, "note", lambda: None)
    _, failures, _ = answers(task(config))
    assert len(failures) == 1
    assert failures[0].code == "ChildNotStarted"


def test_a_process_that_cannot_be_started_is_the_members_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> object:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(child.concurrent, "process", full)
    _, failures, _ = answers(task(enter(monkeypatch)))
    assert [f.code for f in failures] == ["ChildNotStarted"]
    assert "temporarily unavailable" in failures[0].reason


def test_no_child_is_left_when_the_caller_stops_listening(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    note = tmp_path / "pid"
    stream = run_in_child(task(enter(monkeypatch, act="report", at=1, note=str(note))))
    next(stream)
    pid = wait_for_pid(note)
    stream.close()  # type: ignore[attr-defined]
    assert gone(pid)


def test_environment_and_main_are_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    main = sys.modules["__main__"]
    before = (main.__spec__, main.__dict__.get("__file__"), dict(os.environ))
    assert not answers(task(enter(monkeypatch)))[1]
    assert (main.__spec__, main.__dict__.get("__file__"), dict(os.environ)) == before


def wait_for_pid(note: Path) -> int:
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline:
        if note.exists() and note.read_text():
            return int(note.read_text())
        time.sleep(0.05)
    raise AssertionError("the child never started")


def gone(pid: int, within: float = 8.0) -> bool:
    """Whether a process ends, or is a zombie, in time."""
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


SCRIPT = """
import sys
print("script runs", flush=True)
import numpy as np
from support import market
from toys import ToyConfig
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.child import Task, run_in_child
from horizoncast.models.progress import TrainingStep
from horizoncast.models.registry import MEMBERS

MEMBERS["toy"] = "toys:Toy"
series = market(120)
task = Task(member="toy", config=ToyConfig(min_train=5, act=sys.argv[1], at=1, note=sys.argv[2]), service="",
            series=series, cutoffs=tuple(series.dates[[-1, -10, -20]]), horizon=Horizon(steps=7),
            levels=LEVELS, deadline_s=60.0)
print([type(a).__name__ for a in run_in_child(task)], flush=True)
"""


def start_script(tmp_path: Path, act: str, note: str) -> subprocess.Popen[str]:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    tests = str(Path(__file__).resolve().parents[1])
    environment = {**os.environ, "PYTHONPATH": tests}
    return subprocess.Popen(
        [sys.executable, str(script), act, note], stdout=subprocess.PIPE, text=True, env=environment
    )


def test_a_script_without_a_main_guard_is_not_run_again(tmp_path: Path) -> None:
    process = start_script(tmp_path, "", "")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.splitlines() == ["script runs", "['Forecast', 'Forecast', 'Forecast', 'Usage']"]


def test_no_orphan_survives_a_killed_parent(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    process = start_script(tmp_path, "report", str(note))
    pid = wait_for_pid(note)
    assert not gone(pid, 0.2)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert gone(pid)


def test_the_naive_is_fast_in_its_process() -> None:
    """The fork server is warm by now: a child costs well under a second."""
    naive = Task(
        member="random_walk",
        config=RandomWalkConfig(),
        service="",
        series=SERIES,
        cutoffs=CUTOFFS,
        horizon=Horizon(steps=7),
        levels=LEVELS,
    )
    list(run_in_child(naive))
    started = time.monotonic()
    usage = answers(naive)[2][0]
    assert time.monotonic() - started < 5.0
    assert usage.wall_s < 2.0
    assert np.isfinite(usage.peak_mb)


@pytest.mark.parametrize(
    ("act", "word"),
    [
        ("memory", "MemoryError"),
        ("memory_import", "ImportError"),
        ("memory_wrapped", "RuntimeError"),
        ("memory_threads", "RuntimeError"),
        ("memory_abort", "std::bad_alloc"),
    ],
)
def test_a_failed_allocation_is_recognised_however_it_shows(
    monkeypatch: pytest.MonkeyPatch, act: str, word: str
) -> None:
    """MemoryError, ImportError, RuntimeError or abort: one code, and what came before is kept."""
    forecasts, failures, _ = answers(task(enter(monkeypatch, act=act, at=1), memory_mb=300))
    assert len(forecasts) == 1
    assert [f.code for f in failures] == ["OutOfMemory"]
    assert word in failures[0].reason


def test_an_abort_that_is_no_lack_of_memory_is_no_lack_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    _, failures, _ = answers(task(enter(monkeypatch, act="abort", at=1)))
    assert [f.code for f in failures] == ["ProcessDied"]


def test_a_kill_by_the_system_for_memory_is_told_from_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = iter([3, 4])
    monkeypatch.setattr(child, "memory_kills", lambda: next(counts))
    _, failures, _ = answers(task(enter(monkeypatch, act="kill", at=1)))
    assert [f.code for f in failures] == ["OutOfMemory"]


def test_what_a_member_says_on_standard_error_is_passed_on(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    answers(task(enter(monkeypatch, act="memory_abort", at=1)))
    assert "std::bad_alloc" in capfd.readouterr().err


def test_no_file_handle_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    config = enter(monkeypatch)
    answers(task(config))
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for _ in range(5):
        answers(task(config))
    # the thread that looks after a child closes its end of the pipe a moment after the last answer
    deadline = time.monotonic() + 60
    while len(os.listdir("/proc/self/fd")) > before + 1 and time.monotonic() < deadline:  # noqa: PTH208
        gc.collect()
        time.sleep(0.1)
    assert len(os.listdir("/proc/self/fd")) <= before + 1  # noqa: PTH208
