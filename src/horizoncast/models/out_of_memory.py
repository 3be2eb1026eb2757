"""Whether a member ran out of memory, however that shows.

A failing allocation under `RLIMIT_DATA` is a MemoryError in Python, an ImportError where a library
cannot be mapped, a RuntimeError where a thread or a tensor cannot be had, an OSError from the system,
or the abort of a C++ library that nobody catches; the last words on standard error tell that one from
a defect. The system's own killer leaves SIGKILL and a count in the control group.
"""

from __future__ import annotations

import errno
import re
import signal
from collections.abc import Iterator

WORDS = re.compile(
    r"cannot allocate memory|out of memory|not enough memory|bad_alloc|memory allocation|"
    r"(unable|failed|can't|cannot|could not) (to )?(allocate|create new thread|start new thread)|"
    r"failed to map segment|cannot enable executable stack|cannot create new thread|pthread_create failed|"
    r"std::length_error|defaultcpuallocator|insufficient memory",
    re.IGNORECASE,
)
"""How libc, the dynamic linker, C++, OpenBLAS, OpenMP and torch put it."""

_ABORTS = (-signal.SIGABRT, -signal.SIGSEGV, -signal.SIGBUS, 1, 127, 134)
"""Ways in which libraries end a process that cannot allocate."""


def ran_out(error: BaseException) -> bool:
    """Whether an exception, or one behind it, is a failed allocation."""
    return any(_is_allocation(found) for found in _chain(error))


def ended_for_memory(exitcode: int | None, last_words: str, kills: int) -> bool:
    """Whether a process ended because it could not allocate, or was killed for what it held.

    Parameters
    ----------
    exitcode
        Of the process; negative for a signal.
    last_words
        End of what it wrote to standard error.
    kills
        Processes that the system killed for memory in this control group while it ran.
    """
    if exitcode == -signal.SIGKILL:
        return kills > 0
    return exitcode in _ABORTS and WORDS.search(last_words) is not None


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    ahead: list[BaseException | None] = [error]
    while ahead:
        found = ahead.pop()
        if found is not None and id(found) not in seen:
            seen.add(id(found))
            yield found
            ahead += [found.__cause__, found.__context__]


def _is_allocation(error: BaseException) -> bool:
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True
    return isinstance(error, ImportError | RuntimeError | OSError) and WORDS.search(str(error)) is not None
