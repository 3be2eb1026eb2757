"""Series observed beside the target, and what of them is known when.

Letters in shapes: T sessions of the target, F sessions after it, n sessions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import DataError
from horizoncast.frozen import readonly, reduced

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Covariate:
    """A series observed beside the target.

    Parameters
    ----------
    name
        Column name.
    values
        (T + F,) in its own unit, NaN where missing, on the target's sessions; the F rows after the
        target's last session are the known future of a `known_future` covariate, else F = 0.
    publication_lag
        Sessions from a value's date to the moment it may be used, relative to the target's row of
        the same date; a target dated one day ahead (see `Series.dating_offset`) adds its own.
    max_carry
        A missing value repeats the last one for at most this many sessions.
    known_future
        True for values known in advance (holidays, prices already set).
    """

    name: str
    values: Floats
    publication_lag: int = 0
    max_carry: int = 5
    known_future: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "values", readonly(self.values))
        if self.publication_lag < 0 or self.max_carry < 0:
            raise DataError(f"covariate {self.name}: publication lag and max_carry must not be negative")
        if np.isinf(self.values).any():
            raise DataError(f"covariate {self.name} holds infinite values")

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)


def carry_forward(values: Floats, limit: int) -> Floats:
    """Repeat the last finite value over at most `limit` missing ones, shape (n,) to (n,).

    >>> carry_forward(np.array([1.0, np.nan, np.nan, 4.0]), 1)
    array([ 1.,  1., nan,  4.])
    """
    place = np.arange(len(values))
    seen = np.where(np.isfinite(values), place, -1)
    last = np.maximum.accumulate(seen) if len(values) else seen
    usable = (last >= 0) & (place - last <= limit)
    return np.where(usable, values[np.maximum(last, 0)], np.nan) if len(values) else values.copy()


def known_column(covariate: Covariate, length: int, lag: int) -> Floats:
    """(length,) values as usable at each session: carried forward, then `lag` sessions late."""
    carried = carry_forward(covariate.values, covariate.max_carry)
    if lag >= length:
        return np.full(length, np.nan)
    column = np.concatenate([np.full(lag, np.nan), carried])[:length]
    return np.concatenate([column, np.full(length - len(column), np.nan)])
