"""Losses outside the network, on arrays.

Letters in shapes: N origins, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import LEVELS

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_SHARES = (0.25, 0.5, 0.75, 1.0)


@cache
def normal_levels(levels: tuple[float, ...]) -> Floats:
    """(Q,) quantiles of the standard normal, read-only."""
    found = np.array([NormalDist().inv_cdf(level) for level in levels])
    found.flags.writeable = False
    return found


def pinball_by_origin(
    quantiles: Floats, target: npt.NDArray[np.floating], levels: Sequence[float] = LEVELS
) -> Floats:
    """(N,) mean pinball loss over steps and levels; quantiles (N, H, Q), target (N, H)."""
    tau = np.asarray(levels)
    gap = target[..., None] - quantiles
    return np.asarray(np.maximum(tau * gap, (tau - 1.0) * gap).mean(axis=(1, 2)))


def blocks_of(rows: Ints, steps: int) -> int:
    """Independent outcomes of H steps among windows at these rows, 2 to 10."""
    return int(np.clip((np.ptp(rows) + 1) // steps, 2, 10))


def choose_share(first: Floats, second: Floats, target: npt.NDArray[np.floating], rows: Ints) -> float:
    """How far to go from one answer to another, by the windows that neither learnt from.

    The best of four shares, times ``max(0, 1 - 2 (1 + 4 / b) / t^2)``, t the gain in standard errors of
    the means of b blocks: with a chance gain the first stays (positive-part shrinkage, James & Stein
    1961; the factor of b because an error from few blocks is itself uncertain). Windows that overlap
    almost wholly are one outcome, whatever their blocks say: ``n / (n + 1/2)`` for n of them.

    Parameters
    ----------
    first, second
        (N, H, Q) answers.
    target
        (N, H) what followed.
    rows
        (N,) rows of the windows, in order.
    """
    base = pinball_by_origin(first, target)
    gains = [base - pinball_by_origin(first + s * (second - first), target) for s in _SHARES]
    place = int(np.argmax([gain.mean() for gain in gains]))
    gain = gains[place]
    if gain.mean() <= 0:
        return 0.0
    means = [part.mean() for part in np.array_split(gain, blocks_of(rows, target.shape[1])) if len(part)]
    error = float(np.var(means, ddof=1)) / len(means) + (0.01 * float(base.mean())) ** 2
    share = _SHARES[place] * max(0.0, 1.0 - 2.0 * (1.0 + 4.0 / len(means)) * error / float(gain.mean()) ** 2)
    outcomes = (np.ptp(rows) + 1) / target.shape[1]
    return float(share * outcomes / (outcomes + 0.5))
