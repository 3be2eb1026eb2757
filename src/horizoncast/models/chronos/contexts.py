"""``context_length = "auto"``: the context that forecast best where the outcome was known by the cutoff.

Origins lie on an absolute grid, so that a loss computed for one cutoff serves the next: H sessions apart,
where their outcomes do not overlap, and closer where a history holds too few of those. An origin counts
once its step H lies at or before the cutoff. A context other than the default has to win by more than the
standard error of its mean gain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import DECILES, Horizon
from horizoncast.models.chronos.levels import at_levels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CANDIDATES = (60, 90, 180, 365, 512, 1024)
ORIGINS = 16
"""Matured origins that are wanted; where they lie closer than H, the newest twice as many decide."""
FEWEST = 6


@dataclass(frozen=True, kw_only=True, eq=False)
class Origins:
    """Matured origins that decide at a cutoff.

    Parameters
    ----------
    rows
        Rows of their last sessions, oldest first.
    worth
        What one of them counts for: its distance to the next over H, at most 1.
    """

    rows: Ints
    worth: float


def candidates(default: int, longest: int) -> tuple[int, ...]:
    """Contexts tried, the default first; none longer than the checkpoint reads.

    >>> candidates(180, 512)
    (180, 60, 90, 365, 512)
    """
    first = min(default, longest)
    return (first, *(c for c in CANDIDATES if c <= longest and c != first))


def matured_origins(ordinals: Ints, stop: int, steps: int, fewest_rows: int) -> Origins:
    """The newest origins whose outcome lies before row `stop`.

    They are H sessions apart where that leaves `ORIGINS` of them, else at a half, a quarter... of that.

    Parameters
    ----------
    ordinals
        (T,) absolute session indices.
    stop
        Row after the cutoff: an origin at row r needs r + H < stop.
    steps
        H
    fewest_rows
        Rows an origin needs up to itself.

    >>> long, short = matured_origins(np.arange(300), 300, 8, 20), matured_origins(np.arange(80), 80, 8, 20)
    >>> len(long.rows), long.worth, len(short.rows), short.worth
    (16, 1.0, 26, 0.25)
    """
    rows = np.arange(max(fewest_rows - 1, 1), stop - steps)
    apart = steps
    while True:
        block = ordinals // apart
        first = rows[block[rows] != block[rows - 1]] if len(rows) else rows
        if len(first) >= ORIGINS or apart == 1:
            most = ORIGINS if apart == steps else 2 * ORIGINS
            return Origins(rows=np.asarray(first[-most:]), worth=apart / steps)
        apart = max(1, apart // 2)


def loss(quantiles: Floats, own_levels: tuple[float, ...], actual: Floats, horizon: Horizon) -> float:
    """Mean pinball loss of the deciles over the lead grid, leads h divided by sqrt(h).

    Parameters
    ----------
    quantiles
        (H, N) in the scale.
    actual
        (H,) in the scale.
    """
    leads = np.array(horizon.lead_grid)
    deciles = at_levels(quantiles[leads - 1], own_levels, DECILES)[0]
    miss = actual[leads - 1, None] - deciles
    levels = np.asarray(DECILES)
    return float(np.mean(np.maximum(levels * miss, (levels - 1.0) * miss) / np.sqrt(leads)[:, None]))


def choose(losses: Mapping[int, Floats], worth: float = 1.0) -> int:
    """The context with the smallest loss, the default unless the gain exceeds its standard error.

    Parameters
    ----------
    losses
        Per context, the default first, the losses at common origins (E,).
    worth
        What one origin counts for.

    >>> even = np.tile([1.0, 1.2], 4)
    >>> choose({180: even, 90: 0.9 * even, 365: even + np.tile([0.3, -0.31], 4)})
    90
    """
    default = best = next(iter(losses))
    most = 0.0
    for context, found in losses.items():
        mean, error = gain(losses[default], found, worth)
        if mean > max(most, error):
            best, most = context, mean
    return best


def gain(plain: Floats, found: Floats, worth: float = 1.0) -> tuple[float, float]:
    """Mean log ratio of two losses at common origins (E,), and its standard error."""
    ratio = np.log(np.maximum(plain, 1e-300) / np.maximum(found, 1e-300))
    return float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(len(ratio) * worth))
