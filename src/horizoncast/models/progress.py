"""How a member that trains is heard of while it does: on a terminal, minutes are long."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

TRAINING = "training"
"""Last word of the name under which training is reported."""


@dataclass(frozen=True, kw_only=True)
class TrainingStep:
    """Steps done, and most steps that one fit takes."""

    member: str
    done: int
    total: int

    @property
    def name(self) -> str:
        """What a progress bar is called."""
        return f"{self.member} {TRAINING}"


Listener = Callable[[TrainingStep], None]
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def listening(listener: Listener | None) -> Iterator[None]:
    """Pass training steps on to `listener` while the body runs, in this thread."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def report_training(member: str, done: int, total: int) -> None:
    """Say how far a fit is; nobody needs to listen."""
    listener = _LISTENER.get()
    if listener is not None:
        listener(TrainingStep(member=member, done=done, total=total))
