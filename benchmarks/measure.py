"""What a command costs: CPU seconds and memory of all its processes together.

    python benchmarks/measure.py -- horizoncast run-all

A helper process runs the command and is the only ancestor that survives it: it declares itself the
subreaper of its descendants (Linux, prctl 36), so that a fork server and the children left behind by
one are handed to it and waited for. RUSAGE_CHILDREN of the helper then counts every process that the
command started, and nothing else; the sampling that runs in the helper itself is not counted.

Memory is the peak, over samples every 30 ms, of the sum of the proportional set sizes of all
descendants: a page shared by n processes counts 1/n in each. Processes outside the measurement that
map the same libraries take their share too, so measure on a machine that runs nothing else in the
same environment; the sum of the resident sets, which counts shared pages in each process, is the
upper bound beside it.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
INTERVAL_S = 0.03
GRACE_S = 30.0
"""Processes that outlive the command longer than this are ended, and the measurement says so."""
KIB_PER_MIB = 1024


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Cost of one command.

    Parameters
    ----------
    cpu_s
        User and system seconds of all processes.
    peak_mb
        Peak of the summed proportional set sizes, MiB.
    peak_rss_mb
        Peak of the summed resident set sizes, MiB.
    wall_s
        Seconds until the command itself ended.
    processes
        Most processes seen in one sample.
    samples
        Samples of memory taken.
    exit_code
        Of the command; negative for a signal.
    """

    cpu_s: float
    peak_mb: float
    peak_rss_mb: float
    wall_s: float
    processes: int
    samples: int
    exit_code: int


class MeasureError(RuntimeError):
    """A command that failed, or left processes behind, has no cost to report."""


def measure(
    command: Sequence[str],
    *,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    quiet: bool = True,
) -> Measured:
    """Run a command and return its cost.

    Parameters
    ----------
    command
        Program and arguments.
    folder, environment
        Where and with which variables it runs; None takes those of this process.
    quiet
        Keep its standard output from the terminal.

    Raises
    ------
    MeasureError
        When the command ends with an exit code other than 0, or leaves processes behind.
    """
    with tempfile.TemporaryDirectory() as scratch:
        report = Path(scratch) / "report.json"
        helper = [sys.executable, "-S", str(Path(__file__).resolve()), "--report", str(report), "--"]
        done = subprocess.run(
            [*helper, *command],
            cwd=folder,
            env=None if environment is None else dict(environment),
            stdout=subprocess.PIPE if quiet else None,
            stderr=subprocess.PIPE if quiet else None,
            text=True,
            check=False,
        )
        if done.returncode or not report.exists():
            tail = (done.stderr or "")[-2000:]
            raise MeasureError(f"exit code {done.returncode} of {' '.join(command)}\n{tail}")
        return Measured(**json.loads(report.read_text()))


class Sampler(threading.Thread):
    """Samples the memory of all descendants until told to stop."""

    def __init__(self, root: int) -> None:
        super().__init__(daemon=True)
        self.root = root
        self.pss = self.rss = 0
        self.processes = self.samples = 0
        self.ended = threading.Event()

    def run(self) -> None:
        """Sample, and sleep, until `ended` is set."""
        while not self.ended.is_set():
            pids = descendants(self.root)
            sizes = [memory_of(pid) for pid in pids]
            self.pss = max(self.pss, sum(pss for pss, _ in sizes))
            self.rss = max(self.rss, sum(rss for _, rss in sizes))
            self.processes = max(self.processes, len(pids))
            self.samples += 1
            self.ended.wait(INTERVAL_S)


def descendants(root: int) -> list[int]:
    """Process ids below `root`, without it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            parent = _parent(entry)
            if parent is not None:
                children.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    ahead = [root]
    while ahead:
        below = children.get(ahead.pop(), [])
        found += below
        ahead += below
    return found


def _parent(folder: Path) -> int | None:
    try:
        text = (folder / "stat").read_text()
    except OSError:  # it has ended since the folder was listed
        return None
    return int(text.rpartition(")")[2].split()[1])


def memory_of(pid: int) -> tuple[int, int]:
    """Proportional and resident set size of a process, KiB; zeros when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # ended, or a zombie that has no memory any more
        return 0, 0
    sizes = {key: int(rest.split()[0]) for key, _, rest in (line.partition(":") for line in lines[1:])}
    return sizes["Pss"], sizes["Rss"]


def adopt_orphans() -> None:
    """Make this process the parent of descendants whose own parent ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed; Linux 3.4 is needed")


def run_and_wait(command: Sequence[str]) -> Measured:
    """Body of the helper: run the command and wait for every process it leaves behind."""
    adopt_orphans()
    started = time.monotonic()
    process = subprocess.Popen(command)
    sampler = Sampler(os.getpid())
    sampler.start()
    exit_code = wait_for(process.pid)
    wall = time.monotonic() - started
    process.returncode = exit_code  # waited for here: Popen must not wait again
    timer = threading.Timer(GRACE_S, end_leftovers)
    timer.start()
    wait_for(None)
    timer.cancel()
    sampler.ended.set()
    sampler.join()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Measured(
        cpu_s=used.ru_utime + used.ru_stime,
        peak_mb=sampler.pss / KIB_PER_MIB,
        peak_rss_mb=sampler.rss / KIB_PER_MIB,
        wall_s=wall,
        processes=sampler.processes,
        samples=sampler.samples,
        exit_code=exit_code,
    )


def wait_for(pid: int | None) -> int:
    """Wait until process `pid` has ended, or with None until none is left; the last exit code."""
    code = 0
    while True:
        try:
            ended, status = os.waitpid(-1, 0)
        except ChildProcessError:
            return code
        if ended == pid:
            return os.waitstatus_to_exitcode(status)


def end_leftovers() -> None:
    """End what outlived the command, and say so: its cost would be a matter of chance."""
    left = descendants(os.getpid())
    for pid in left:
        with suppress(ProcessLookupError):  # ended by itself in the meantime
            os.kill(pid, signal.SIGKILL)
    print(f"measure: {len(left)} processes outlived the command by {GRACE_S:g} s", file=sys.stderr)
    os._exit(3)


def main() -> int:
    """Measure one command from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--report", type=Path, help="write the figures here instead of printing them")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("which command?")
    measured = run_and_wait(command)
    text = json.dumps(asdict(measured), indent=1)
    if options.report is None:
        print(text)
    else:
        options.report.write_text(text)
    return measured.exit_code


if __name__ == "__main__":
    raise SystemExit(main())
