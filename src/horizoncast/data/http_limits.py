"""What asking may cost: limits, the budget of a pull, and the waits between tries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class HttpLimits:
    """What asking may cost.

    Parameters
    ----------
    connect_s, read_s
        Seconds until a connection stands, and between two pieces of an answer.
    budget_s
        Seconds for one pull with all its sources, retries and waits.
    tries
        Times one question is asked at most.
    backoff_s, longest_wait_s
        First wait between two tries; it doubles up to the longest, and a random half of it is left
        out, so that many clients do not come back together.
    max_bytes
        Largest answer, before and after decompression.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    budget_s: float = 300.0
    tries: int = 4
    backoff_s: float = 1.0
    longest_wait_s: float = 60.0
    max_bytes: int = 64 << 20


class Budget:
    """Seconds that may still be spent, by a clock.

    Parameters
    ----------
    clock
        Seconds, increasing.
    seconds
        From now on.
    """

    def __init__(self, clock: Callable[[], float], seconds: float) -> None:
        self.clock = clock
        self.deadline = clock() + seconds

    def left(self) -> float:
        """Seconds left, at least 0."""
        return max(0.0, self.deadline - self.clock())

    def share(self, parts: int) -> Budget:
        """An equal share for one of `parts`; what it leaves over stays with the others."""
        return Budget(self.clock, self.left() / max(1, parts))


def full_wait(limits: HttpLimits, tried: int) -> float:
    """Seconds before the next try, of which up to half are left out at random.

    >>> [full_wait(HttpLimits(backoff_s=1.0, longest_wait_s=5.0), tried) for tried in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    return min(limits.longest_wait_s, limits.backoff_s * 2.0 ** (tried - 1))
