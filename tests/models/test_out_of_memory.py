"""Failed allocations in their many words."""

import errno
import signal

import pytest

from horizoncast.models.out_of_memory import ended_for_memory, ran_out


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        ImportError("libopenblas.so.0: cannot allocate memory in static TLS block"),
        ImportError("_arpack.so: failed to map segment from shared object"),
        RuntimeError("can't start new thread"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("std::bad_alloc"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
)
def test_what_runs_out_of_memory(error: BaseException) -> None:
    assert ran_out(error)


@pytest.mark.parametrize(
    "error",
    [
        ImportError("No module named 'torch'"),
        RuntimeError("the operator failed to run"),
        ValueError("out of memory"),  # no allocation raises it
        OSError(errno.ENOSPC, "No space left on device"),
    ],
)
def test_what_does_not(error: BaseException) -> None:
    assert not ran_out(error)


def test_the_cause_behind_an_error_counts_and_a_circle_of_causes_ends() -> None:
    outer, inner = RuntimeError("fit failed"), MemoryError()
    outer.__cause__, inner.__context__ = inner, outer
    assert ran_out(outer)
    one, other = ValueError("a"), ValueError("b")
    one.__context__, other.__context__ = other, one
    assert not ran_out(one)


@pytest.mark.parametrize(
    ("code", "words", "kills", "memory"),
    [
        (-signal.SIGABRT, "what():  std::bad_alloc", 0, True),
        (-signal.SIGABRT, "OpenBLAS blas_thread_init: pthread_create failed for thread 1", 0, True),
        (127, "error while loading shared libraries: cannot allocate memory", 0, True),
        (-signal.SIGABRT, "double free or corruption", 0, False),
        (-signal.SIGKILL, "", 1, True),
        (-signal.SIGKILL, "std::bad_alloc", 0, False),
        (None, "", 0, False),
    ],
)
def test_how_a_process_ended(code: int | None, words: str, kills: int, memory: bool) -> None:
    assert ended_for_memory(code, words, kills) is memory
