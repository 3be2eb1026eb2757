"""Memory and time: what may run now, and what it cost.

`psutil.virtual_memory()` ignores the limit of a container; everything here looks at the control
group first.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

MIB = 1024 * 1024
THREAD_VARIABLES: dict[str, str] = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
}
"""One thread per child unless the operator says otherwise: two spinning threads on a busy two-core
machine ran fifty times slower than one, and GARCH results differ between one and two."""

_CGROUP = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """What a process has cost so far.

    Parameters
    ----------
    wall_s, cpu_s
        Seconds on the clock, and of processor time (user and system).
    peak_mb
        Peak resident set in MiB.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


def memory_limit(root: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Bytes this process may use in all: the smaller of the machine's memory and the container's limit.

    Parameters
    ----------
    root
        Where the control groups are mounted (version 2, or version 1 with a memory folder).
    membership
        File that names this process's groups.
    """
    limits = [_read_limit(path) for path in _limit_files(root, membership)]
    return min([int(psutil.virtual_memory().total), *(limit for limit in limits if limit is not None)])


def memory_available(root: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Bytes that can be allocated now without swapping or being killed; parameters as above."""
    free = int(psutil.virtual_memory().available)
    for limit_file in _limit_files(root, membership):
        limit = _read_limit(limit_file)
        used_name = "memory.current" if limit_file.name == "memory.max" else "memory.usage_in_bytes"
        used = _read_limit(limit_file.with_name(used_name))
        if limit is not None and used is not None:
            free = min(free, max(0, limit - used + _reclaimable(limit_file.parent)))
    return free


def memory_kills(root: Path = _CGROUP, membership: Path = _MEMBERSHIP) -> int:
    """Processes of this control group that the system has killed for memory so far.

    Version 2 counts them in ``memory.events``, version 1 in ``memory.oom_control``; 0 where neither
    can be read.
    """
    for mount, controller, name in (
        (root, "", "memory.events"),
        (root / "memory", "memory", "memory.oom_control"),
    ):
        group = _own_group(membership, controller)
        for place in dict.fromkeys((group, *group.parents, Path())):
            found = _keyed(mount / place / name).get("oom_kill")
            if found is not None:
                return found
    return 0


def usage_now(started: float, now: float) -> Usage:
    """Usage of this process; `started` and `now` are readings of one monotonic clock."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(wall_s=now - started, cpu_s=own.ru_utime + own.ru_stime, peak_mb=own.ru_maxrss / 1024)


def data_left() -> int | None:
    """Bytes of private memory this process may still take under its own cap; None without one."""
    soft, _ = resource.getrlimit(resource.RLIMIT_DATA)
    return None if soft == resource.RLIM_INFINITY else max(0, soft - _data_used())


def limit_data(extra_mb: int) -> None:
    """Cap the data segment of this process at what it has now plus `extra_mb` MiB.

    RLIMIT_DATA counts private writable memory (Linux 4.7 on), so that an allocation beyond it fails
    in this process instead of waking the system's out-of-memory killer.
    """
    cap = _data_used() + extra_mb * MIB
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if hard != resource.RLIM_INFINITY:
        cap = min(cap, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (cap, hard))


def _data_used() -> int:
    """Bytes in the data segment, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0


def die_with(parent: int) -> None:
    """End this process at once when process `parent` ends, however it ends.

    A thread waits on the parent's pidfd (Linux 5.3 on), so that no orphan survives a SIGKILL.
    """
    try:
        handle = os.pidfd_open(parent)
    except ProcessLookupError:
        os._exit(1)
    threading.Thread(target=_wait_and_exit, args=(handle,), daemon=True, name="watch-parent").start()


@contextmanager
def child_environment() -> Iterator[None]:
    """Set the thread variables that children inherit, and put the environment back afterwards.

    Variables that the operator has set are left alone.
    """
    added = {key: value for key, value in THREAD_VARIABLES.items() if key not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for key in added:
            os.environ.pop(key, None)


def _wait_and_exit(handle: int) -> None:
    import select

    poll = select.poll()
    poll.register(handle, select.POLLIN)
    poll.poll()
    os._exit(1)


def _own_group(membership: Path, controller: str) -> Path:
    """Own group below a hierarchy's mount; version 2 has no controller name.

    A line reads ``hierarchy:controllers:/path``.
    """
    try:
        lines = membership.read_text().splitlines()
    except OSError:
        return Path()
    fields = [line.split(":", 2) for line in lines if line.count(":") >= 2]
    found = (path for _, controllers, path in fields if controller in controllers.split(","))
    return Path(next(found, "").strip("/"))


def _limit_files(root: Path, membership: Path) -> list[Path]:
    """Files that may hold a limit: own group and its parents, in version 2 and in version 1."""
    files = []
    for mount, controller, name in (
        (root, "", "memory.max"),
        (root / "memory", "memory", "memory.limit_in_bytes"),
    ):
        group = _own_group(membership, controller)
        files += [mount / place / name for place in (group, *group.parents, Path())]
    return [file for file in dict.fromkeys(files) if file.is_file()]


def _read_limit(path: Path) -> int | None:
    """A byte count from a control file; None for ``max`` or what cannot be read."""
    try:
        text = path.read_text().strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _reclaimable(folder: Path) -> int:
    """Bytes of inactive file cache in a group, which the kernel drops before it kills.

    Version 1 counts the group alone under ``inactive_file`` and its children, as the usage does,
    under ``total_inactive_file``.
    """
    count = _keyed(folder / "memory.stat")
    return count.get("total_inactive_file", count.get("inactive_file", 0))


def _keyed(path: Path) -> dict[str, int]:
    """Counts of a control file by name; empty when it cannot be read."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    pairs = [line.split() for line in lines]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}
