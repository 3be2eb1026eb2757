"""From members' quantiles to one set of quantiles.

Letters in shapes: K members, H steps, Q levels; ``...`` any axes between.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError

Floats = npt.NDArray[np.float64]


def quantile_average(quantiles: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """Weighted average of quantiles, (K, ..., Q) and (K,) to (..., Q), sorted.

    Also called Vincentization; sharper than the linear pool, which over-disperses even calibrated
    members (Lichtendahl, Grushka-Cockayne & Winkler 2013; Gneiting & Ranjan 2013). Members of
    weight 0 may hold NaN.
    """
    used = weights > 0
    _require_complete(quantiles[used])
    return np.sort(np.tensordot(weights[used], quantiles[used], axes=1), axis=-1)


def linear_pool(quantiles: Floats, weights: Floats, levels: Sequence[float], points: int = 401) -> Floats:
    """Quantiles of the mixture ``sum w_k F_k``, (K, ..., Q) and (K,) to (..., Q).

    Each member's distribution is its quantiles joined linearly in probability, its outer pieces
    continued with their slope; the mixture's CDF is inverted on a grid between the outermost
    quantiles of all members.
    """
    used = np.flatnonzero(weights > 0)
    members = quantiles[used]
    _require_complete(members)
    flat = members.reshape(len(used), -1, len(levels))
    out = np.empty(flat.shape[1:])
    tau = np.asarray(levels, dtype=np.float64)
    for cell in range(flat.shape[1]):
        knots = flat[:, cell]
        spread = np.ptp(knots)
        if spread == 0:
            out[cell] = knots[0, 0]
            continue
        grid = np.linspace(knots.min() - 0.25 * spread, knots.max() + 0.25 * spread, points)
        cdf = sum(w * _cdf(grid, q, tau) for w, q in zip(weights[used], knots, strict=True))
        out[cell] = np.interp(tau, cdf, grid)
    return np.sort(out.reshape(quantiles.shape[1:]), axis=-1)


COMBINATIONS: dict[str, Callable[[Floats, Floats, Sequence[float]], Floats]] = {
    "quantile_average": quantile_average,
    "linear_pool": linear_pool,
}


def _cdf(grid: Floats, knots: Floats, tau: Floats) -> Floats:
    """CDF of quantiles joined linearly, tails continued by the outer slopes, (G,) to (G,)."""
    inner = np.interp(grid, knots, tau)
    low = max(knots[1] - knots[0], 1e-300)
    high = max(knots[-1] - knots[-2], 1e-300)
    below = tau[0] - (knots[0] - grid) / low * (tau[1] - tau[0])
    above = tau[-1] + (grid - knots[-1]) / high * (tau[-1] - tau[-2])
    cdf = np.where(grid < knots[0], below, np.where(grid > knots[-1], above, inner))
    return np.asarray(np.clip(cdf, 0.0, 1.0))


def _require_complete(quantiles: Floats) -> None:
    if not np.isfinite(quantiles).all():
        raise BankError("a member with weight has no forecast here", action="re-weigh without it")
