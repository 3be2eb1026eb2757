"""Adaptive calibration on live outcomes: a width that follows what really happened.

Pooled width factors look at forty cutoffs and are shrunk toward 1; once about a hundred live cutoffs have
matured, the misses of published intervals themselves can steer the width. The rule is the quantile
tracker of conformal PID control (Angelopoulos, Candes & Tibshirani 2023, eq. 4), the successor of
adaptive conformal inference (Gibbs & Candes 2021, eq. 2), on the logarithm of the width.

Letters in shapes: W cutoffs, H steps.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from horizoncast.validation.calibration import LIMITS

Floats = npt.NDArray[np.float64]

MIN_MATURED = 100
"""Matured live cutoffs of a service below which the pooled factor stands alone."""

RATE = 0.05
"""Step of the tracker per independent cutoff: larger follows breaks faster and costs interval score on
stationary series (docs/rollout.md has the measurements)."""

ALPHA = 0.2
"""Misses that an 80 % interval should have."""


def rate_for(steps: int, spacing: int) -> float:
    """Step of the tracker for overlapping horizons, ``RATE sqrt(min(1, spacing / H))``.

    Neighbouring cutoffs share outcomes, so that the same step would follow noise.
    """
    return RATE * float(np.sqrt(min(1.0, spacing / steps)))


def adaptive_factor(misses: Floats, *, rate: float, least: int = MIN_MATURED) -> float:
    """Factor for the next forecast's half-widths, beside the pooled one; 1 while too few have matured.

    ``log a' = log a + rate (miss - alpha)``, where miss is the share of a cutoff's outcomes outside the
    80 % interval widened by a. Cutoffs count when their step H has come, in that order, so the factor
    of a forecast depends on nothing that was unknown when it was made.

    Parameters
    ----------
    misses
        (W, H) distances of outcomes from the median in published half-widths of the 80 % interval
        before any adaptive factor (`standardised_misses`), matured cutoffs only, oldest first.
    rate, least
        Step of the tracker, and matured cutoffs it needs.

    Examples
    --------
    >>> adaptive_factor(np.full((99, 7), 9.0), rate=RATE)
    1.0
    """
    path = adaptive_path(misses, rate=rate)
    return float(path[-1]) if len(misses) >= least else 1.0


def adaptive_path(misses: Floats, *, rate: float) -> Floats:
    """(W + 1,) the factor before the first cutoff (1) and after each of them."""
    out = np.ones(len(misses) + 1)
    log_a, (low, high) = 0.0, np.log(LIMITS)
    for w, row in enumerate(misses):
        known = row[np.isfinite(row)]
        if len(known):
            share = float((known > np.exp(log_a)).mean())
            log_a = float(np.clip(log_a + rate * (share - ALPHA), low, high))
        out[w + 1] = np.exp(log_a)
    return out
