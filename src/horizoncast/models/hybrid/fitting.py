"""What gate and adaptation share: robust units of features, the loss they lower, and its descent.

The loss is the pinball loss of a lead divided by ``sqrt(h)``, so that late leads do not own the mean, on
the horizon's lead grid, in units of the naive's mean loss, so that series and horizons can be pooled.

Why n_eff stands where a likelihood has its number of observations: a forecast N(0, s^2) that is off by d s
has a pinball loss of about ``1 + d^2 / 2`` times its least, which is minus the logarithm of a Gaussian
likelihood of one observation. So the loss relative to its start times n_eff, plus ``theta^2 / (2 s^2)``, is
a posterior under the prior N(0, s^2), with as many observations as windows that do not overlap.

Letters in shapes: N rows, F features, W windows, H steps, L leads of the grid, Q levels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError, ModelError
from horizoncast.horizon import Horizon

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

FARTHEST = 3.0
"""Standardised features end here: one wild value must not move a forecast further than a rare one."""

_DESCENT = {"maxiter": 100, "ftol": 1e-7}
"""The loss itself is known to a per cent or so; a descent to more digits would learn the kinks."""

_QUARTILES = 1.3489795003921634
"""Distance of a unit normal's quartiles."""


@dataclass(frozen=True, kw_only=True)
class Units:
    """Robust location and spread of named features, as they were when a part was learnt.

    Parameters
    ----------
    names
        F names.
    centre, spread
        F numbers; a spread of 0 switches a feature off.
    """

    names: tuple[str, ...]
    centre: tuple[float, ...]
    spread: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.centre) == len(self.spread):
            raise ModelError("features need a name, a centre and a spread each", value=self.names)
        numbers = np.array((*self.centre, *self.spread))
        if not np.isfinite(numbers).all() or min(self.spread, default=0.0) < 0:
            raise ModelError("centres and spreads of features are finite, spreads not negative")

    @classmethod
    def of(cls, names: Sequence[str], values: Floats) -> Units:
        """Medians and quartile distances of (N, F) values; NaN is left out.

        A feature that is mostly one value (a holiday) has no quartile distance and takes its standard
        deviation; one that never moves is off.
        """
        centre, spread = [], []
        for column in values.T:
            known = column[np.isfinite(column)]
            centre.append(float(np.median(known)) if len(known) else 0.0)
            spread.append(_spread(known))
        return cls(names=tuple(names), centre=tuple(centre), spread=tuple(spread))

    def standard(self, values: Floats) -> Floats:
        """(..., F) in these units, within `FARTHEST`; 0 where a feature is off or unknown (NaN)."""
        if values.shape[-1] != len(self.names):
            raise ModelError("features of another kind", value=values.shape[-1], allowed=str(self.names))
        spread = np.asarray(self.spread)
        on = np.isfinite(values) & (spread > 0)
        units = (np.where(on, values, 0.0) - np.asarray(self.centre)) / np.where(spread > 0, spread, 1.0)
        return np.where(on, np.clip(units, -FARTHEST, FARTHEST), 0.0)


def level_at(levels: Sequence[float], level: float) -> int:
    """Place of a level.

    Raises
    ------
    BankError
        When it is missing.
    """
    if level not in levels:
        raise BankError("a learned part needs this quantile level", value=level, allowed=str(tuple(levels)))
    return list(levels).index(level)


def grid_of(steps: int) -> Ints:
    """(L,) 1-based leads of a horizon's grid."""
    return np.array(Horizon(steps=steps).lead_grid, dtype=np.int64)


def pinball_slope(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> tuple[Floats, Floats]:
    """Mean pinball loss over levels and its slope along each quantile, (..., Q) to (...) and (..., Q).

    Koenker & Bassett (1978); at the kink the slope from below. Cells without outcome or quantiles are 0.
    """
    tau = np.asarray(levels)
    error = actual[..., None] - quantiles
    known = np.isfinite(error).all(axis=-1, keepdims=True)
    error = np.where(known, error, 0.0)
    slope = np.where(known, np.where(error < 0, 1.0 - tau, -tau), 0.0) / len(tau)
    return np.asarray(-(slope * error).sum(axis=-1)), slope


def window_losses(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Mean loss of each window over its grid of leads, each divided by sqrt(h), (W, H) to (W,).

    NaN where a window has no known cell. Its mean over a naive's rows is the `naive_loss` of a set.

    Parameters
    ----------
    actual, quantiles
        (W, H) and (W, H, Q), in the same scale.
    """
    leads = grid_of(actual.shape[1])
    y, q = actual[:, leads - 1], quantiles[:, leads - 1]
    loss = pinball_slope(y, q, levels)[0] / np.sqrt(leads)
    count = (np.isfinite(y) & np.isfinite(q).all(axis=-1)).sum(axis=1)
    return np.where(count > 0, loss.sum(axis=1) / np.maximum(count, 1), np.nan)


def minimise(loss: Callable[[Floats], tuple[float, Floats]], ridge: Floats) -> Floats:
    """(P,) where a loss with slope plus ``ridge . theta^2 / 2`` is least, from 0.

    By L-BFGS (Liu & Nocedal 1989). The pinball loss has kinks; where a line search ends at one, the best
    place so far is good enough, and 0 where nothing was better.

    Parameters
    ----------
    loss
        Value and (P,) slope at (P,) parameters.
    ridge
        (P,) penalties.
    """
    from scipy.optimize import minimize

    def objective(theta: Floats) -> tuple[float, Floats]:
        value, slope = loss(theta)
        return value + 0.5 * float(ridge @ theta**2), slope + ridge * theta

    start = np.zeros(len(ridge))
    found = minimize(objective, start, jac=True, method="L-BFGS-B", options=_DESCENT)
    return np.asarray(found.x) if found.fun < objective(start)[0] else start


def _spread(known: Floats) -> float:
    if len(known) < 2 or not np.ptp(known) > 1e-12 * np.abs(known).max():
        return 0.0
    quartiles = float(np.subtract(*np.quantile(known, (0.75, 0.25)))) / _QUARTILES
    return quartiles if quartiles > 1e-6 * float(np.ptp(known)) else float(known.std())
