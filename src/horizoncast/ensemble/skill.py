"""The skill factor: how far the published median may leave the best naive, and along which members.

Letters in shapes: K members with weight, W windows, L leads of the grid, H steps, Q levels.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import Horizon
from horizoncast.series import Scale

Floats = npt.NDArray[np.float64]


def skill_slopes(
    predicted: Floats,
    realised: Floats,
    weights: Floats,
    *,
    horizon: Horizon,
    stride: int,
    prior: float,
) -> Floats:
    """Bayesian slopes of the realised change on each member's predicted change, (K,).

    The posterior mode under independent priors ``beta_k ~ N(0, s^2 w_k)``, with the noise's sum
    inflated for overlapping windows, subject to ``beta >= 0`` and ``sum(beta) <= 1``::

        min  sum (r - sum_k beta_k p_k)^2 + max(1, H/stride) mean(r^2) sum_k beta_k^2 / (s^2 w_k)

    With one member it is ``sum(p r) / (sum(p^2) + max(1, H/stride) mean(r^2) / s^2)``, clipped: the
    scalar skill factor. With several it is stacking (Breiman 1996) shrunk toward the naive: the
    weights set how far each member may be trusted beforehand, the slice how far it was right.

    Parameters
    ----------
    predicted, realised
        (K, W, L) change of each member's median, (W, L) of the outcome, against the best naive,
        both divided by sqrt(h), in the scale; cells where any is NaN are left out.
    weights
        (K,) RMSE weights of the members, positive.
    prior
        s, the prior standard deviation of the slopes' sum.

    Examples
    --------
    >>> p = np.full((1, 40, 3), 0.1)
    >>> one = np.array([1.0])
    >>> bool(skill_slopes(p, p[0], one, horizon=Horizon(steps=3), stride=5, prior=0.5)[0] > 0.9)
    True
    >>> skill_slopes(p, -p[0], one, horizon=Horizon(steps=3), stride=5, prior=0.5)
    array([0.])
    """
    known = np.isfinite(predicted).all(axis=0) & np.isfinite(realised)
    p, r = predicted[:, known], realised[known]
    total = float((r**2).sum())
    if not total > 0 or not (p**2).sum() > 1e-20 * total:
        return np.zeros(len(weights))
    overlap = max(1.0, horizon.steps / stride)
    share = weights / weights.sum()
    penalty = overlap * (r**2).mean() / (prior**2 * share)
    slopes = nonnegative_ridge(p, r, penalty)
    if slopes.sum() <= 1.0:
        return slopes
    return nonnegative_ridge(p, r, penalty, total=1.0)


def nonnegative_ridge(p: Floats, r: Floats, penalty: Floats, total: float | None = None) -> Floats:
    """``argmin |r - beta p|^2 + sum penalty beta^2`` over ``beta >= 0``, optionally of a fixed sum.

    Non-negative least squares (Lawson & Hanson 1974) on the Cholesky factor of the normal
    equations; a fixed sum enters as one more row of overwhelming weight.

    Parameters
    ----------
    p, r, penalty
        (K, n), (n,) and (K,).

    Returns
    -------
    (K,) slopes.
    """
    from scipy.optimize import nnls

    gram, moment = p @ p.T + np.diag(penalty), p @ r
    if total is not None:
        heavy = 1e6 * float(np.trace(gram))
        gram, moment = gram + heavy, moment + heavy * total
    unit = np.sqrt(np.diag(gram))  # scaled to a unit diagonal, so that tiny units stay well posed
    factor = np.linalg.cholesky(gram / np.outer(unit, unit))
    solution, _ = nnls(factor.T, np.linalg.solve(factor, moment / unit))
    return np.asarray(solution / unit)


def prior_for(horizon: Horizon, scale: Scale, best_naive: str) -> float:
    """Prior standard deviation of the slopes' sum (docs/methods.md, "Skill factor").

    1 where the series has structure. Prices, whose best naive is the random walk in logs, get 0.5,
    and 0.25 beyond 15 steps, where an estimated slope is mostly luck: larger ones helped on USD/CLP
    until 2018 and hurt afterwards.
    """
    if scale is not Scale.LOG or best_naive != "random_walk":
        return 1.0
    return 0.5 if horizon.steps <= 15 else 0.25


def shifted(quantiles: Floats, median: Floats, wanted: Floats) -> Floats:
    """Shift all quantiles alike so that the median is the wanted one, (..., H, Q).

    Parameters
    ----------
    median, wanted
        (..., H) the quantiles' own median, and the one to be shipped.
    """
    return np.asarray(quantiles + (wanted - median)[..., None])
