"""What a child process writes to standard error, kept in memory until it has ended.

A library that aborts says why on standard error only. The file has no name on disk; a child of the
fork server opens it through the parent's entry in /proc.
"""

from __future__ import annotations

import os
from contextlib import suppress

KEPT = 8192
"""Bytes of the end that are looked at and passed on."""


class LastWords:
    """Standard error of one child, in an anonymous file of this process."""

    def __init__(self) -> None:
        self._handle = os.memfd_create("horizoncast-stderr")

    @property
    def place(self) -> str:
        """Path under which a child opens the file."""
        return f"/proc/{os.getpid()}/fd/{self._handle}"

    def read(self) -> str:
        """The end of what was written so far."""
        size = os.fstat(self._handle).st_size
        return os.pread(self._handle, KEPT, max(0, size - KEPT)).decode("utf-8", "replace")

    def close(self) -> None:
        """Pass what was written on to standard error, and let go of the file."""
        words = self.read()
        os.close(self._handle)
        if words:
            with suppress(OSError):  # standard error may be closed
                os.write(2, words.encode())


def redirect(place: str) -> None:
    """In the child: send standard error to the parent's file; without one it stays where it is."""
    try:
        handle = os.open(place, os.O_WRONLY | os.O_APPEND)
    except OSError:
        return
    os.dup2(handle, 2)
    os.close(handle)
