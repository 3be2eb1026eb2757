"""``context_length = "auto"``: the context that forecast best where the outcome was known by the cutoff.

Origins lie on an absolute grid, H sessions apart, so that their outcomes do not overlap and a loss
computed for one cutoff serves the next; an origin counts once its step H lies at or before the cutoff.
A context other than the default has to win by more than the standard error of its mean gain.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import DECILES, Horizon
from horizoncast.models.chronos.levels import at_levels

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

CANDIDATES = (60, 90, 180, 365, 512, 1024)
ORIGINS = 16
"""Newest matured origins that decide."""
FEWEST = 6


def candidates(default: int, longest: int) -> tuple[int, ...]:
    """Contexts tried, the default first; none longer than the checkpoint reads.

    >>> candidates(180, 512)
    (180, 60, 90, 365, 512)
    """
    first = min(default, longest)
    return (first, *(c for c in CANDIDATES if c <= longest and c != first))


def matured_origins(ordinals: Ints, stop: int, steps: int, fewest_rows: int) -> Ints:
    """Rows of the newest origins whose outcome lies before row `stop`, oldest first.

    Parameters
    ----------
    ordinals
        (T,) absolute session indices.
    stop
        Row after the cutoff: an origin at row r needs r + H < stop.
    steps
        H, also the distance of two origins.
    fewest_rows
        Rows an origin needs up to itself.
    """
    rows = np.arange(max(fewest_rows - 1, 1), stop - steps)
    block = ordinals // steps
    first = rows[block[rows] != block[rows - 1]] if len(rows) else rows
    return np.asarray(first[-ORIGINS:])


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


def choose(losses: Mapping[int, Floats]) -> int:
    """The context with the smallest loss, the default unless the gain exceeds its standard error.

    Parameters
    ----------
    losses
        Per context, the default first, the losses at common origins (E,).

    >>> even = np.tile([1.0, 1.2], 4)
    >>> choose({180: even, 90: 0.9 * even, 365: even + np.tile([0.3, -0.31], 4)})
    90
    """
    default = best = next(iter(losses))
    most = 0.0
    for context, found in losses.items():
        mean, error = gain(losses[default], found)
        if mean > max(most, error):
            best, most = context, mean
    return best


def gain(plain: Floats, found: Floats) -> tuple[float, float]:
    """Mean log ratio of two losses at common origins (E,), and its standard error."""
    ratio = np.log(np.maximum(plain, 1e-300) / np.maximum(found, 1e-300))
    return float(ratio.mean()), float(ratio.std(ddof=1) / np.sqrt(len(ratio)))
