"""One pooled width factor: how much wider the intervals must be to cover what they claim.

Letters in shapes: W windows, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError

Floats = npt.NDArray[np.float64]

LIMITS = (0.5, 2.0)
FLOOR = 0.05
SHRINK_SKILLED, SHRINK_NAIVE = 10.0, 40.0
"""Windows' worth of belief that stated widths are right: where members' medians are followed, and
where the naive's is, so that widths come from volatility models, which are rarely far off."""
SHRINK_NEURAL = 2.0
"""The same for a neural branch that is followed: on short histories it states widths that are wrong by half
and more (chosen on series outside the benchmark, docs/hybrid.md)."""


def standardised_misses(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Distance of outcomes from the median in half-widths of the 80 % interval, (W, H).

    ``z = (y - med) / (q90 - med)`` above the median and ``(med - y) / (med - q10)`` below. Where
    the half-width is zero (intermittent demand, a constant sensor) z is 0 for a hit and the cap,
    ``2 x LIMITS[1]``, for a miss. Cells without an outcome or without quantiles are NaN.
    """
    lower, centre, upper = (quantiles[..., _at(levels, tau)] for tau in (0.1, 0.5, 0.9))
    distance = actual - centre
    half = np.where(distance >= 0, upper - centre, centre - lower)
    miss = 2.0 * LIMITS[1]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(half > 0, np.abs(distance) / half, np.where(distance == 0, 0.0, miss))
    z = np.where(np.isposinf(z), miss, z)  # a half-width too small to divide by is none
    return np.where(np.isfinite(distance) & np.isfinite(half), z, np.nan)


def width_factor(z: Floats, n_eff: float, kappa: float = 1.0, skilled: float = SHRINK_SKILLED) -> float:
    """Factor for all half-widths, shrunk to 1 and limited to [0.5, 2].

    ``c = exp(n_eff / (n_eff + K) log f)`` with f the 80 % quantile of z over all cutoffs and
    leads: conformal prediction's quantile (Vovk et al. 2005), pooled because forty overlapping
    cutoffs cannot carry one quantile per lead. ``K = 10 + 30 (1 - kappa)``: the variance of log f is
    about 0.8 / n_eff, so K = 10 expects widths to be wrong by a quarter or so, K = 40 by a seventh.

    Parameters
    ----------
    z
        (W, H) from `standardised_misses`.
    n_eff
        Effective number of independent windows.
    kappa
        Skill factor of the decision, 0 to 1.
    skilled
        K where kappa is 1.

    Examples
    --------
    >>> width_factor(np.full((40, 7), 1.0), 28.0)
    1.0
    """
    known = z[np.isfinite(z)]
    if not len(known):
        return 1.0
    f = max(float(np.quantile(known, 0.8)), FLOOR)
    shrink = SHRINK_NAIVE + (skilled - SHRINK_NAIVE) * kappa
    c = np.exp(n_eff / (n_eff + shrink) * np.log(f))
    return float(np.clip(c, *LIMITS))


def widen(quantiles: Floats, levels: Sequence[float], factor: float) -> Floats:
    """Scale every quantile's distance from the median, ``med + c (q - med)``, (..., Q)."""
    centre = quantiles[..., _at(levels, 0.5)][..., None]
    return np.asarray(centre + factor * (quantiles - centre))


def _at(levels: Sequence[float], level: float) -> int:
    if level not in levels:
        raise BankError("calibration needs this quantile level", value=level, allowed=str(tuple(levels)))
    return list(levels).index(level)
