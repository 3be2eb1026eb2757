"""A lock between processes that a kill releases."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from horizoncast.errors import StoreError

PUBLISHING = ".publish.lock"
_RETRY_S = 0.02


@contextmanager
def publishing(root: Path, *, timeout_s: float = 120.0) -> Iterator[None]:
    """Keep other runs of this folder of results from publishing, sweeping and repairing.

    Raises
    ------
    StoreError
        When another run holds it for too long, or the folder cannot be written.
    """
    path = root / PUBLISHING
    try:
        root.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(
            f"cannot lock {root}", value=error.strerror or str(error), action="check space and permissions"
        ) from error
    try:
        _wait(handle, path, timeout_s)
        yield
    finally:
        os.close(handle)  # gives the lock back


def _wait(handle: int, path: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise StoreError(
                    f"{path} is held by another run",
                    allowed=f"{timeout_s:g} s of waiting",
                    action="look for a run that hangs",
                ) from error
            time.sleep(_RETRY_S)
        else:
            return


@contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Yield whether this process has the lock to itself now; never waits.

    Raises
    ------
    StoreError
        When the lock file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StoreError(f"cannot lock {path}", value=error.strerror or str(error)) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
