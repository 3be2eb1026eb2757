"""What the store of observations answers with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Vintage:
    """One value of one date as it became known.

    Parameters
    ----------
    date
        The observation's own date.
    value
        In the source's unit.
    known_at
        Moment of the pull that brought it, UTC.
    seq
        0 for the first value of a date, then 1, 2, ... for its revisions.
    pull
        Number of the pull.
    """

    date: np.datetime64
    value: float
    known_at: np.datetime64
    seq: int
    pull: int


@dataclass(frozen=True, kw_only=True)
class Revision:
    """A value that the source changed: before and after."""

    column: str
    date: np.datetime64
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What rows brought, in numbers of values.

    Parameters
    ----------
    new
        Of dates after the newest one known before this pull.
    late
        Of earlier dates that had no value.
    unchanged
        Known already.
    revised
        Known with another value.
    conflicts
        Dates that one answer holds twice with different values: not stored, because nothing says
        which one is meant.
    """

    new: int = 0
    late: int = 0
    unchanged: int = 0
    revised: tuple[Revision, ...] = ()
    conflicts: tuple[np.datetime64, ...] = ()

    def __add__(self, other: Recorded) -> Recorded:
        return Recorded(
            new=self.new + other.new,
            late=self.late + other.late,
            unchanged=self.unchanged + other.unchanged,
            revised=self.revised + other.revised,
            conflicts=self.conflicts + other.conflicts,
        )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How asking one source went in one pull, as the store keeps it."""

    pull: int
    key: str
    at: np.datetime64
    outcome: str
    new: int
    late: int
    revised: int
    unchanged: int
    reason: str | None
