"""What a gate learns from: rows of both branches that had matured, with the context of each.

Branches stand in the order chronos, autoformer. Letters in shapes: W windows (cutoffs), H steps, Q levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.errors import BankError
from horizoncast.models.hybrid.context import Context

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class GateRows:
    """What one series at one horizon gives to learn from.

    Parameters
    ----------
    series
        Its name; sets of one series at several horizons may be pooled, and so may series of a panel.
    cutoffs, ends
        (W,) datetime64; a window's outcome is known from its end on.
    levels
        Q levels, the same in all sets.
    quantiles
        (2, W, H, Q) after each branch's width factor, in the scale; NaN where a branch failed.
    confidence
        (2, W, H) weights by confidence, as `ensemble.fusion` clips them; any common factor is of no matter.
    accuracy
        (2, W) weights by past error as each cutoff knew them, or (2,) for all.
    actuals
        (W, H) in the scale, NaN where unknown.
    contexts
        W contexts.
    naive_loss
        Mean of `fitting.window_losses` of the best naive: the unit of losses.
    """

    series: str
    cutoffs: Dates
    ends: Dates
    levels: tuple[float, ...]
    quantiles: Floats
    confidence: Floats
    accuracy: Floats
    actuals: Floats
    contexts: tuple[Context, ...]
    naive_loss: float

    def __post_init__(self) -> None:
        windows, steps = self.actuals.shape
        wanted = (2, windows, steps, len(self.levels))
        if self.quantiles.shape != wanted or self.confidence.shape != wanted[:3]:
            raise BankError("rows of a gate: shape", value=self.quantiles.shape, allowed=str(wanted))
        if not len(self.cutoffs) == len(self.ends) == len(self.contexts) == windows:
            raise BankError("rows of a gate: a cutoff, an end and a context per window", value=windows)
        if self.accuracy.shape not in {(2,), (2, windows)}:
            raise BankError("rows of a gate: weights by accuracy", value=self.accuracy.shape)
        if not (np.isfinite(self.naive_loss) and self.naive_loss > 0):
            raise BankError("rows of a gate: the naive's loss", value=self.naive_loss, allowed="positive")
