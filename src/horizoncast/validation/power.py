"""What a Diebold-Mariano test could have found: a test that sees nothing may have been unable to.

Letters in shapes: n cutoffs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError
from horizoncast.horizon import Horizon, effective_windows
from horizoncast.validation.significance import MIN_EFFECTIVE, SIGNIFICANCE, mean_error, two_sided

Floats = npt.NDArray[np.float64]

FINDS = 0.8
"""Probability with which a difference is to be found, as is usual (Cohen 1988)."""

EXAMPLE = 0.05
"""A difference in mean loss whose chance of being found is told: a good gain between two forecasters."""


@dataclass(frozen=True, kw_only=True)
class Power:
    """Power of a comparison, from the noise of its own loss differences.

    Parameters
    ----------
    difference
        Mean loss of the subject relative to the reference's, less 1.
    error
        Standard error of that difference, overlap and Harvey's correction included.
    smallest
        Smallest true difference that the test finds with probability `FINDS`.
    finds_example
        Probability that it finds a true difference of `EXAMPLE`.
    windows, n_eff
        Cutoffs compared, and how many independent ones they are worth.
    """

    difference: float
    error: float
    smallest: float
    finds_example: float
    windows: int
    n_eff: float

    @property
    def can_tell(self) -> bool:
        """Whether there are enough independent windows for any verdict."""
        return self.n_eff >= MIN_EFFECTIVE and bool(np.isfinite(self.error))


def power_of(loss: Floats, reference_loss: Floats, *, steps: int, stride: int) -> Power:
    """Power of Diebold-Mariano with Harvey's correction at 5 %, two-sided.

    With the corrected error s of the mean difference, f degrees of freedom and t their quantiles::

        smallest   = (t(0.975, f) + t(0.8, f)) s
        P(found d) = F(d / s - t(0.975, f)) + F(-d / s - t(0.975, f))

    the usual approximation of the noncentral t by a shifted one; f = n_eff - 1, because s rests on no
    more independent windows than that. Below `MIN_EFFECTIVE` the figures say what such a test could see,
    while `significance.compare` gives no verdict at all.

    Parameters
    ----------
    loss, reference_loss
        (n,) one loss per cutoff; cutoffs where either is NaN are left out.
    steps, stride
        H and the sessions between cutoffs: they give the overlap.
    """
    both = np.isfinite(loss) & np.isfinite(reference_loss)
    d, base = (loss - reference_loss)[both], reference_loss[both]
    n, nan = len(d), float("nan")
    n_eff = effective_windows(n, stride, Horizon(steps=steps))
    level = float(base.mean()) if n else nan
    if n < 3 or not np.ptp(d) > 0 or not level > 0:
        difference = float(d.mean()) / level if n and level > 0 else nan
        return Power(
            difference=difference, error=nan, smallest=nan, finds_example=nan, windows=n, n_eff=n_eff
        )
    root, correction = mean_error(d, ceil(steps / stride) - 1)
    error, freedom = root / correction / level, max(1, floor(n_eff) - 1)
    return Power(
        difference=float(d.mean()) / level,
        error=error,
        smallest=(t_quantile(1.0 - SIGNIFICANCE / 2.0, freedom) + t_quantile(FINDS, freedom)) * error,
        finds_example=found(EXAMPLE / error, freedom),
        windows=n,
        n_eff=n_eff,
    )


def found(shift: float, freedom: int) -> float:
    """Probability that a two-sided t test at 5 % rejects, the truth lying `shift` standard errors off.

    >>> round(found(0.0, 30), 6)
    0.05
    """
    critical = t_quantile(1.0 - SIGNIFICANCE / 2.0, freedom)
    return _below(shift - critical, freedom) + _below(-shift - critical, freedom)


def t_quantile(level: float, freedom: int) -> float:
    """Quantile of Student's t, by bisection on its distribution; no import of scipy.

    >>> round(t_quantile(0.975, 9), 6)
    2.262157

    Raises
    ------
    ConfigError
        For a level outside [0.5, 1).
    """
    if not 0.5 <= level < 1.0:
        raise ConfigError("a quantile of t in the upper half is asked for", value=level, allowed="[0.5, 1)")
    low, high = 0.0, 1.0
    while _below(high, freedom) < level:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _below(middle, freedom) < level else (low, middle)
    return (low + high) / 2.0


def _below(value: float, freedom: int) -> float:
    """Distribution function of Student's t."""
    tail = two_sided(value, freedom) / 2.0
    return tail if value < 0 else 1.0 - tail
