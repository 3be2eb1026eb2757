"""What the machine does to services: memory, disks, locks that stay, lines of cron with another meaning."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from horizoncast.policy.admission import LEAST_CAP_MB, RESERVE_MB
from horizoncast.resources import MIB, THREAD_VARIABLES, memory_available, memory_limit
from horizoncast.service.findings import Finding, fail, ok, warn
from horizoncast.service.notify import LOCK as OUTBOX_LOCK
from horizoncast.service.settings import Settings
from horizoncast.service.tick import LOCK as TICK_LOCK
from horizoncast.service.tick import PULL_S
from horizoncast.store.locks import PUBLISHING
from horizoncast.store.results import STAGING

MIN_DISK_MB, FULL_MB = 500, 50
"""Below the first there is little room; below the second a run may not fit."""
MIN_MEMORY_MB = 1000
NEEDED_MB = RESERVE_MB + LEAST_CAP_MB
"""A run, and one member under the smallest cap it gets."""
STALE_S = 86_400.0
"""Leftovers older than a day belong to no run that is alive."""
NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "fuse.s3fs", "fuse.glusterfs", "ceph", "afs")
"""Kinds of file systems whose locks cannot be relied on."""
CRONTABS = ("/etc/crontab", "/etc/cron.d/*")
_FIELDS = 5
_BUSY_S = 60.0


def machine() -> Iterator[Finding]:
    """Memory as the container limits it, processors, threads."""
    limit, free = memory_limit() // MIB, memory_available() // MIB
    text = f"{limit} MiB may be used in all, {free} MiB are free now"
    if limit < NEEDED_MB:
        text += f"; a run with one small member needs {NEEDED_MB:.0f} MiB"
        yield fail("memory", text, "raise the container's limit")
    elif free < MIN_MEMORY_MB:
        yield warn("memory", text, "stop other programs, or raise the container's limit")
    else:
        yield ok("memory", text)
    cores = len(os.sched_getaffinity(0))
    threads = {key: os.environ[key] for key in THREAD_VARIABLES if key in os.environ}
    words = ", ".join(f"{key}={value}" for key, value in threads.items()) or "one per member (default)"
    several = any(value.isdigit() and int(value) > 1 for value in threads.values())
    text = f"{cores} processors; threads: {words}"
    if several:
        action = "unset them: on a busy two-core machine two threads ran fifty times slower than one"
        yield warn("threads", text, action)
    else:
        yield ok("threads", text)


def folders(settings: Settings) -> Iterator[Finding]:
    """Whether results, cache and store can be written, and have room."""
    named = (
        ("output folder", settings.output_folder),
        ("cache folder", settings.cache_folder),
        ("store folder", settings.store_folder),
    )
    for what, folder in named:
        home = _existing(folder)
        try:
            with tempfile.TemporaryFile(dir=home):
                free = shutil.disk_usage(home).free // MIB
        except OSError as error:
            words = error.strerror or str(error)
            yield fail(what, f"{folder}: {words}", "give write permission, or set another folder")
            continue
        text = f"{folder}: writable, {free} MiB free"
        if free >= MIN_DISK_MB:
            yield ok(what, text)
        else:
            yield (fail if free < FULL_MB else warn)(what, text, "make room on the disk")


def file_system(settings: Settings) -> Iterator[Finding]:
    """Locks and an embedded ledger need a local disk."""
    kind = kind_of(settings.output_folder.resolve())
    if kind.startswith(NETWORK):
        text = f"{settings.output_folder} lies on {kind}: locks of other machines are not seen there"
        more = "put run.output on a local disk"
        yield fail("file system", text, more if settings.ledger.url else f"{more}, or set ledger.url")
    else:
        yield ok("file system", f"{settings.output_folder}: {kind or 'unknown'}")


def leftovers(settings: Settings) -> Iterator[Finding]:
    """Staging folders and half-written files that no living run owns."""
    places = [*(settings.output_folder / STAGING).glob("*"), *settings.cache_folder.rglob(".*.part")]
    old = [path for path in places if time.time() - _changed(path) > STALE_S]
    if old:
        text = f"{len(old)} left by interrupted runs, the first {old[0]}"
        yield warn("leftovers", text, "the next run sweeps staging folders; remove .part files by hand")
    else:
        yield ok("leftovers", "none")


def locks(settings: Settings) -> Iterator[Finding]:
    """Locks that are held: by whom, and whether anything sensible still holds them.

    Read from the kernel's table, so that looking never takes a lock from anybody. A lock goes with the
    last process that has its file open: one that a dead process took is held by a child it left behind.
    """
    root, found = settings.output_folder, []
    held = holders()
    longest = 60 * settings.tick.run_minutes * max(1, len(settings.places.services())) + PULL_S
    limits = {TICK_LOCK: longest, PUBLISHING: 60 * settings.tick.run_minutes, OUTBOX_LOCK: longest}
    for name, limit in limits.items():
        file = root / name
        pid = held.get(file.stat().st_ino) if file.exists() else None
        if pid is None:
            continue
        age = _age_of(pid)
        if age is None:
            text = f"{file} is held, and process {pid} that took it is gone: something it started still runs"
            found.append(fail("locks", text, f"end what holds it (fuser {file}); nothing runs until then"))
        elif age > limit:
            text = f"{file} is held by process {pid}, which has been running for {age / 3600:.1f} hours"
            found.append(warn("locks", text, f"look at it (ps -fp {pid}); end it when it hangs"))
        else:
            found.append(ok("locks", f"{file} is held by process {pid}, at work for {age:.0f} s"))
    yield from found or [ok("locks", "none is held")]


def triggers() -> Iterator[Finding]:
    """Lines of cron that do not mean what they look like."""
    found = []
    for name, line in cron_calls():
        day, month, weekday = line.split()[2:5]
        if day != "*" and weekday != "*" and not (day.startswith("*") or weekday.startswith("*")):
            text = f"{name}: `{day} {month} {weekday}` joins day of month and weekday by or, not by and"
            found.append(warn("cron", text, "use `horizoncast schedule export cron`: tick knows the date"))
        elif re.search(r"\bhorizoncast\b.*\brun\b", line) and "--once" not in line:
            text = f"{name}: calls `run`, which publishes another revision each time"
            found.append(warn("cron", text, "call `horizoncast tick` instead"))
    yield from found or [ok("cron", "no line that means something else than it says")]


def cron_calls() -> Iterator[tuple[str, str]]:
    """Lines of cron that call this program, with where they stand."""
    texts = {}
    for pattern in CRONTABS:
        for path in sorted(Path("/").glob(pattern.lstrip("/"))):
            if os.access(path, os.R_OK) and path.is_file():
                texts[str(path)] = path.read_text(encoding="utf-8", errors="replace")
    program = shutil.which("crontab")
    if program is not None:
        done = subprocess.run([program, "-l"], capture_output=True, text=True, check=False, timeout=10)  # noqa: S603 a path found by name
        texts["crontab -l"] = done.stdout
    for name, text in texts.items():
        for line in text.splitlines():
            if "horizoncast" in line and re.match(r"\s*[\d*]", line) and len(line.split()) > _FIELDS:
                yield name, line.strip()


def kind_of(path: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Kind of the file system that a path lies on, such as ``ext4``; empty when it cannot be told."""
    best, kind = -1, ""
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        _, place, name = line.split()[:3]
        if path.is_relative_to(place) and len(place) >= best:
            best, kind = len(place), name
    return kind


def holders(table: Path = Path("/proc/locks")) -> dict[int, int]:
    """Process by inode of every file lock on the machine (proc(5)): the one that took it."""
    found = {}
    for line in table.read_text().splitlines() if table.exists() else ():
        words = line.split()
        if "->" not in words and words[1] == "FLOCK":
            found[int(words[5].rpartition(":")[2])] = int(words[4])
    return found


def _age_of(pid: int) -> float | None:
    """Seconds since a process began; None when there is none."""
    try:
        process = psutil.Process(pid)
        gone = process.status() == psutil.STATUS_ZOMBIE
        return None if gone else time.time() - process.create_time()
    except psutil.NoSuchProcess:
        return None


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.exists())


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # a run that ended in between took it away
        return time.time()
