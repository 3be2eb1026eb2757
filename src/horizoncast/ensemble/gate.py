"""The output gate: whether a forecast is plausible against what the series has ever done."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import Horizon
from horizoncast.series import History

Floats = npt.NDArray[np.float64]

MULTIPLE = 3.0
"""A median further from the last value than this multiple of any past move is refused."""

WIDEST = 20.0
"""An 80 % interval wider than this multiple of the widest past move is refused."""


JUMP = 20.0
"""A last move beyond this multiple of any earlier one is a slip, not a market: forecasts start there."""

JUMP_HISTORY = 30
"""Earlier moves below which a record says too little to judge the last move by."""


class Status(StrEnum):
    """What became of a run."""

    PUBLISHED = "published"
    DEGRADED = "degraded"
    BLOCKED = "blocked"


def implausible(history: History, horizon: Horizon, quantiles: Floats, levels: tuple[float, ...]) -> str:
    """Why a forecast must not go out, or an empty text.

    Compares, in the scale, the median's distance from the last value and the 80 % half-width with
    the largest move over as many sessions in the whole history (over shorter ones, scaled by
    ``sqrt``, where history is short). The last value itself is compared with earlier moves first,
    because every forecast starts from it.

    Parameters
    ----------
    quantiles
        (H, Q) in the scale.
    """
    if not np.isfinite(quantiles).all():
        return "quantiles are not finite"
    if (np.diff(quantiles, axis=1) < 0).any():
        return "quantiles cross"
    z = history.z
    if _jumped(z):
        return f"the last value moved more than {JUMP:g} times any earlier value did"
    bound = _largest_moves(z, horizon.steps)
    median = quantiles[:, levels.index(0.5)]
    half = (quantiles[:, levels.index(0.9)] - quantiles[:, levels.index(0.1)]) / 2.0
    far = np.abs(median - z[-1]) > MULTIPLE * bound
    wide = half > WIDEST * bound
    if far.any():
        step = int(np.argmax(far)) + 1
        return f"the median at step {step} lies beyond {MULTIPLE:g} times any past move of that length"
    if wide.any():
        step = int(np.argmax(wide)) + 1
        return f"the 80 % interval at step {step} is over {WIDEST:g} times as wide as any past move"
    return ""


def _jumped(z: Floats) -> bool:
    moves = np.abs(np.diff(z))
    record = moves[:-1].max(initial=0.0)
    return len(moves) > JUMP_HISTORY and record > 0 and bool(moves[-1] > JUMP * record)


def _largest_moves(z: Floats, steps: int) -> Floats:
    """(H,) largest absolute change over each number of sessions, never falling with the lead."""
    usable = max(1, min(steps, len(z) // 2))
    moves = np.array([np.abs(z[h:] - z[:-h]).max() for h in range(1, usable + 1)])
    if usable < steps:
        later = np.sqrt(np.arange(usable + 1, steps + 1) / usable)
        moves = np.concatenate([moves, moves[-1] * later])
    moves = np.maximum.accumulate(moves)
    return np.where(moves > 0, moves, np.inf) if not moves.any() else moves
