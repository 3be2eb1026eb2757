"""The skill factor: how far the combined median may leave the best naive.

Letters in shapes: W windows, L leads of the grid.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import Horizon
from horizoncast.series import Scale

Floats = npt.NDArray[np.float64]


def skill_factor(
    predicted: Floats, realised: Floats, *, horizon: Horizon, stride: int, prior: float
) -> float:
    """Bayesian slope of realised on predicted changes, clipped to [0, 1].

    ``kappa = sum(p r) / (sum(p^2) + max(1, H/stride) mean(r^2) / s^2)``: the posterior mean of the
    slope under a N(0, s^2) prior, with the noise's sum inflated for overlapping windows.

    Parameters
    ----------
    predicted, realised
        (W, L) change of the combined median, and of the outcome, against the best naive, both
        divided by sqrt(h), in the scale; NaN cells are left out.
    prior
        s, the prior standard deviation of the slope.

    Examples
    --------
    >>> p = np.full((40, 3), 0.1)
    >>> skill_factor(p, p, horizon=Horizon(steps=3), stride=5, prior=0.5) > 0.9
    True
    >>> skill_factor(p, -p, horizon=Horizon(steps=3), stride=5, prior=0.5)
    0.0
    """
    known = np.isfinite(predicted) & np.isfinite(realised)
    p, r = predicted[known], realised[known]
    if not len(p) or not (p**2).sum() > 0:
        return 0.0
    overlap = max(1.0, horizon.steps / stride)
    slope = (p * r).sum() / ((p**2).sum() + overlap * (r**2).mean() / prior**2)
    return float(np.clip(slope, 0.0, 1.0))


def prior_for(horizon: Horizon, scale: Scale, best_naive: str) -> float:
    """Prior standard deviation of the slope (methods, section 4).

    Long horizons of prices are where an estimated slope is mostly luck.
    """
    long_price = horizon.steps > 15 and scale is Scale.LOG and best_naive == "random_walk"
    return 0.25 if long_price else 0.5


def shrink(quantiles: Floats, median: Floats, naive: Floats, kappa: float) -> Floats:
    """Shift all quantiles so that the median is ``b + kappa (median - b)``, (..., H, Q).

    Parameters
    ----------
    median, naive
        (..., H) combined median and median of the best naive.
    """
    shift = (kappa - 1.0) * (median - naive)
    return np.asarray(quantiles + shift[..., None])
