"""How many members must have answered before their ensemble is published."""

from __future__ import annotations

from enum import StrEnum


class BelowQuorum(StrEnum):
    """Below the quorum: publish the best naive, degraded, or publish nothing."""

    BASELINE = "baseline"
    BLOCKED = "blocked"


def falls_short(on: int, answered: int, quorum: int) -> bool:
    """Whether fewer members than the quorum answered; it never asks for more than are on.

    Parameters
    ----------
    on, answered
        Members in state ``on``, and those of them with a live forecast; the naives apart.

    >>> falls_short(on=3, answered=1, quorum=2), falls_short(on=1, answered=1, quorum=2)
    (True, False)
    """
    return answered < min(quorum, on)
