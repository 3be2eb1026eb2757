"""Does today look like anything in the history? Distances between embedded windows, and an alarm on them.

The history is cut into years on an absolute grid. The older half of those before this year is the
reference, the newer half says how far an ordinary window lies from it, and this year is watched. Windows
are vectors of shapes (every one normalised by itself), so this is never a test of price levels.

An alarm asks for two windows of this year, apart by a whole window, that both lie farther from the
reference than any window of the n calibration years did. Where years are exchangeable, the two largest of
n + 1 years fall into this one with probability about ``1 / (n + 1)^2``, whatever the distances are
distributed like: 6 % with the three years that are asked for.

Letters in shapes: N windows, D size of a vector, R reference windows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError
from horizoncast.policy.drift import YEAR

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

NEAREST = 5
"""Reference windows that a distance is a mean over."""

YEARS = (1, 3)
"""Calibration years for a percentile, and for an alarm."""


@dataclass(frozen=True, kw_only=True)
class Novelty:
    """How unlike the reference the newest window is.

    Parameters
    ----------
    distance
        Mean cosine distance to its five nearest reference windows, 0 to 2.
    percentile
        Share of the calibration windows that lie nearer, 0 to 1.
    years
        Calibration years.
    windows
        Calibration windows.
    alarm
        Session index (as given) of the window that completed an alarm this year; None without one, and
        where the history is too short to promise a rate.
    """

    distance: float
    percentile: float
    years: int
    windows: int
    alarm: int | None


def novelty(vectors: Floats, ordinals: Ints, window: int) -> Novelty | None:
    """Judge the newest of some windows; None where the history is too short to tell.

    Parameters
    ----------
    vectors
        (N, D) embedded windows, oldest first.
    ordinals
        (N,) absolute session index of each window's last session, increasing.
    window
        Sessions in a window.

    Raises
    ------
    BankError
        When a number is not finite or the order is wrong.
    """
    if not np.isfinite(vectors).all() or len(vectors) != len(ordinals) or (np.diff(ordinals) <= 0).any():
        raise BankError("novelty: vectors must be finite and their sessions increase", value=vectors.shape)
    if not len(ordinals):
        return None
    reference, calibration, watched, years = _parts(ordinals, window)
    if years < YEARS[0] or reference.sum() < NEAREST:
        return None
    usual = nearest_distance(vectors[calibration], vectors[reference])
    now = nearest_distance(vectors[watched], vectors[reference])
    alarm = None
    if years >= YEARS[1]:
        alarm = _second_apart(ordinals[watched][now > usual.max()], window)
    return Novelty(
        distance=float(now[-1]),
        percentile=float((usual < now[-1]).mean()),
        years=years,
        windows=len(usual),
        alarm=alarm,
    )


def nearest_distance(vectors: Floats, reference: Floats, nearest: int = NEAREST) -> Floats:
    """Mean cosine distance to the nearest reference vectors, (N, D) and (R, D) to (N,)."""
    distance = 1.0 - unit(vectors) @ unit(reference).T
    count = min(nearest, reference.shape[0])
    return np.asarray(np.sort(distance, axis=1)[:, :count].mean(axis=1))


def unit(vectors: Floats) -> Floats:
    """Vectors of length one; a zero vector stays zero."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(length > 0, length, 1.0))


def _parts(ordinals: Ints, window: int) -> tuple[Bools, Bools, Bools, int]:
    """Masks of reference, calibration and this year, and the calibration years.

    A calibration window begins after the last reference window has ended.
    """
    this_year = int(ordinals[-1]) // YEAR * YEAR
    whole = (this_year - (int(ordinals[0]) - window)) // YEAR
    years = whole // 2
    middle = this_year - years * YEAR
    watched = ordinals >= this_year
    calibration = (ordinals - window >= middle) & ~watched
    reference = ordinals < middle
    return reference, calibration, watched, years if calibration.any() else 0


def _second_apart(found: Ints, window: int) -> int | None:
    """The first of some sessions that lies at least a window after another one."""
    later = found[found >= found[0] + window] if len(found) else found
    return int(later[0]) if len(later) else None
