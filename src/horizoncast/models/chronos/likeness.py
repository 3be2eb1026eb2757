"""Past windows that look like one of them, by cosine of their vectors; never two that overlap.

Letters in shapes: n sessions, N windows, T window length, D size of a vector.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, HistoryTooShortError
from horizoncast.policy.novelty import unit

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Likeness:
    """A past window: the row of its last session, and the cosine of its vector with today's."""

    row: int
    cosine: float


def windows_at(values: Floats, rows: Ints, length: int) -> Floats:
    """(N, T) windows that end at rows.

    >>> windows_at(np.arange(5.0), np.array([2, 4]), 3).tolist()
    [[0.0, 1.0, 2.0], [2.0, 3.0, 4.0]]
    """
    return np.asarray(values[np.asarray(rows)[:, None] + np.arange(1 - length, 1)])


def candidate_rows(stop: int, length: int, follow_up: int) -> Ints:
    """Rows of last sessions of windows that today may be compared with, oldest first.

    Neither the window nor what followed it touches today's window: what followed is over, and no
    session is counted on both sides.

    Parameters
    ----------
    stop
        Row after the cutoff.
    length, follow_up
        T, and sessions that followed.

    Raises
    ------
    HistoryTooShortError
        When there is none.
    """
    newest = stop - 1 - length - follow_up
    if newest < length - 1:
        raise HistoryTooShortError(
            "no past window to compare with",
            value=f"{stop} sessions",
            allowed=f"at least {2 * length + follow_up}: two windows and what followed the first",
            action="take a shorter --window",
        )
    return np.arange(length - 1, newest + 1, dtype=np.int64)


def most_alike(today: Floats, vectors: Floats, rows: Ints, *, count: int, apart: int) -> Sequence[Likeness]:
    """The windows nearest to today's, at least `apart` sessions from one another.

    Parameters
    ----------
    today
        (D,)
    vectors, rows
        (N, D) and the last sessions' rows (N,).

    Returns
    -------
    sequence of Likeness
        At most `count`, the most alike first.
    """
    if count < 1:
        raise ConfigError("number of analogs", value=count, allowed="at least 1")
    cosine = (unit(vectors) @ unit(today[None])[0]).round(12)
    out: list[Likeness] = []
    for at in np.lexsort((-rows, -cosine)):  # of equals, the newer one
        row = int(rows[at])
        if all(abs(row - one.row) >= apart for one in out):
            out.append(Likeness(row=row, cosine=float(cosine[at])))
        if len(out) == count:
            break
    return out
