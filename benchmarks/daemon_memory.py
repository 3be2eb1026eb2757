"""Memory of the daemon over many ticks, some of which start a real child.

    python benchmarks/daemon_memory.py --beats 10000 --real 200

The daemon is the shipped one, its beats come from APScheduler every few milliseconds; a beat without
a real child starts a stand-in that has ended already. Resident memory is read every 100 beats; the
slope over the second half says whether it grows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from horizoncast.service.daemon import Daemon, spawn

EVERY = 100
KIB = 1024


class Ended:
    """A child that has ended already."""

    def poll(self) -> int:
        """Return its exit code."""
        return 0

    def wait(self, timeout: float | None = None) -> int:
        """Return its exit code."""
        return 0


def resident_kb() -> int:
    """Resident set of this process now, KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1])


class Counting:
    """Starts stand-ins, and a real tick at every n-th beat; samples memory."""

    def __init__(self, beats: int, real: int) -> None:
        self.beats, self.step = beats, max(1, beats // max(real, 1))
        self.real = self.count = 0
        self.samples: list[tuple[int, int]] = []
        self.daemon: Daemon | None = None

    def start(self, arguments: Sequence[str]) -> subprocess.Popen[bytes] | Ended:
        """Start what a beat starts."""
        self.count += 1
        if self.count % EVERY == 0:
            self.samples.append((self.count, resident_kb()))
        if self.count >= self.beats and self.daemon is not None:
            self.daemon.stop()
        if self.count % self.step:
            return Ended()
        self.real += 1
        return spawn(arguments)


def slope(samples: list[tuple[int, int]]) -> float:
    """Least squares slope, KiB per 1,000 beats."""
    n = len(samples)
    mean_x, mean_y = (sum(column) / n for column in zip(*samples, strict=True))
    above = sum((x - mean_x) * (y - mean_y) for x, y in samples)
    return 1000 * above / sum((x - mean_x) ** 2 for x, _ in samples)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--beats", type=int, default=10_000)
    parser.add_argument("--real", type=int, default=200)
    options = parser.parse_args()
    counting = Counting(options.beats, options.real)
    with tempfile.TemporaryDirectory() as root:
        daemon = Daemon(["tick", "--quiet", "--root", root, "--set", "cadence.late_hours=0.0001"],
                        start=counting.start)  # type: ignore[arg-type]  # fmt: skip
        counting.daemon = daemon
        began, threads = time.monotonic(), threading.active_count()
        daemon.run(seconds=0.002)
        seconds = time.monotonic() - began
        left = threading.active_count() - threads
        handles = sum(1 for _ in Path("/proc/self/fd").iterdir())
    second_half = counting.samples[len(counting.samples) // 2 :]
    print(
        json.dumps(
            {
                "beats": counting.count,
                "real_children": counting.real,
                "seconds": round(seconds, 1),
                "first_mb": round(counting.samples[0][1] / KIB, 2),
                "last_mb": round(counting.samples[-1][1] / KIB, 2),
                "peak_mb": round(max(kb for _, kb in counting.samples) / KIB, 2),
                "slope_kb_per_1000_beats_second_half": round(slope(second_half), 2),
                "threads_left": left,
                "file_handles": handles,
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
