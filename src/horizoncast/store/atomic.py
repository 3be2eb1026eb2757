"""Files that are whole or absent: written beside their place, synced, then renamed."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO

from horizoncast.errors import StoreError


def write_atomic(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file through `write`, sync it and move it into place in one step.

    Raises
    ------
    StoreError
        When the disk is full or the folder cannot be written; the old file, if any, is untouched.
        Whatever else `write` raises passes through, and leaves as little behind.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("xb") as handle:
            write(handle)
            handle.flush()
            os.fsync(handle.fileno())
        part.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise StoreError(
            f"cannot write {path}", value=error.strerror or str(error), action="check space and permissions"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink()  # still there only when something failed


def sync_folder(folder: Path) -> None:
    """Make renames inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
