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


def linear_pool(quantiles: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles of the mixture ``sum w_k F_k``, (K, ..., Q) and (K,) to (..., Q).

    Each member's distribution is its quantiles joined linearly, its outer pieces continued with
    their slope to probability 0 and 1. The mixture's CDF is then linear between all members'
    knots together, and is inverted there without a grid of its own.
    """
    used = weights > 0
    members = quantiles[used]
    _require_complete(members)
    flat = members.reshape(len(members), -1, len(levels))
    tau = np.asarray(levels, dtype=np.float64)
    out = np.empty(flat.shape[1:])
    for cell in range(flat.shape[1]):
        out[cell] = _mixture_quantiles(flat[:, cell], weights[used] / weights[used].sum(), tau)
    return np.sort(out.reshape(quantiles.shape[1:]), axis=-1)


COMBINATIONS: dict[str, Callable[[Floats, Floats, Sequence[float]], Floats]] = {
    "quantile_average": quantile_average,
    "linear_pool": linear_pool,
}


def _mixture_quantiles(knots: Floats, weights: Floats, tau: Floats) -> Floats:
    """(Q,) quantiles at `tau` of the mixture of K distributions with quantiles (K, Q)."""
    low = knots[:, :1] - tau[0] * (knots[:, 1:2] - knots[:, :1]) / (tau[1] - tau[0])
    high = knots[:, -1:] + (1.0 - tau[-1]) * (knots[:, -1:] - knots[:, -2:-1]) / (tau[-1] - tau[-2])
    knots = np.concatenate([low, knots, high], axis=1)
    share = np.concatenate([[0.0], tau, [1.0]])
    grid = np.unique(knots)
    # np.interp takes the upper end of a jump (a member without width); mirrored, the lower one
    upper = sum(w * np.interp(grid, x, share) for w, x in zip(weights, knots, strict=True))
    lower = sum(w * np.interp(-grid, -x[::-1], share[::-1]) for w, x in zip(weights, knots, strict=True))
    cdf = np.stack([np.asarray(lower), np.asarray(upper)], axis=1).ravel()
    return np.asarray(np.interp(tau, np.maximum.accumulate(cdf), np.repeat(grid, 2)))


def _require_complete(quantiles: Floats) -> None:
    if not np.isfinite(quantiles).all():
        raise BankError("a member with weight has no forecast here", action="re-weigh without it")
