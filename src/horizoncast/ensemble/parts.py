"""Where the ensemble's uncertainty comes from: what members state, and how far they disagree.

Letters in shapes: K members, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError
from horizoncast.metrics import stated_spread

Floats = npt.NDArray[np.float64]

UNCERTAINTY_PARTS = ("within", "between")
"""What members state on average, and the spread of their medians."""


def uncertainty_parts(quantiles: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """Variance of the members' mixture by the law of total variance, (2, H).

    In the order of the names::

        within  = sum w_k s_k^2           s_k = half-width of the 80 % interval / 1.2816
        between = sum w_k (m_k - m)^2     m = sum w_k m_k

    The published intervals average quantiles and are scaled by the width factor: they need not have this
    variance. The parts say how much of the doubt members state themselves, and how much lies between them.

    Parameters
    ----------
    quantiles
        (K, H, Q); members of weight 0 may hold NaN.
    weights
        (K,) not all zero.

    Raises
    ------
    BankError
        When the levels lack 0.1, 0.5 or 0.9, or no member has weight.

    Examples
    --------
    >>> two = np.array([[[-1.0, 0.0, 1.0]], [[1.0, 2.0, 3.0]]])
    >>> uncertainty_parts(two, np.array([0.5, 0.5]), (0.1, 0.5, 0.9)).round(3).tolist()
    [[0.609], [1.0]]
    """
    if not {0.1, 0.5, 0.9} <= set(levels) or not (weights > 0).any():
        raise BankError("uncertainty parts need the 80 % interval and a member with weight", value=levels)
    used = weights > 0
    share = weights[used] / weights[used].sum()
    middle = quantiles[used][..., list(levels).index(0.5)]
    within = share @ stated_spread(quantiles[used], levels) ** 2
    return np.stack([within, _between(middle, share[:, None])])


@dataclass(frozen=True, kw_only=True, eq=False)
class HierarchicalUncertainty:
    """Variance of a mixture of branches in three parts that add up to it at every lead, (H,) each.

    Parameters
    ----------
    epistemic
        What the branches do not know of their own parameters, averaged.
    aleatoric
        The noise they expect, averaged.
    between
        How far their medians lie apart.
    """

    epistemic: Floats
    aleatoric: Floats
    between: Floats

    @property
    def total(self) -> Floats:
        """(H,) variance of the mixture."""
        return self.epistemic + self.aleatoric + self.between

    @property
    def spread(self) -> Floats:
        """(H,) standard deviation of the mixture."""
        return np.asarray(np.sqrt(self.total))

    @property
    def shares(self) -> Floats:
        """(3, H) parts relative to the total, in the order above; NaN where there is no doubt at all."""
        total = np.where(self.total > 0, self.total, np.nan)
        return np.stack([self.epistemic, self.aleatoric, self.between]) / total


def hierarchical_uncertainty(
    epistemic: Floats, aleatoric: Floats, medians: Floats, weights: Floats
) -> HierarchicalUncertainty:
    """Parts of a mixture's variance by the law of total variance.

    With branch k of variance e_k + a_k and weight w_k, its weights summing to 1 at every lead::

        total = sum w_k e_k + sum w_k a_k + sum w_k (m_k - m)^2        m = sum w_k m_k

    Parameters
    ----------
    epistemic, aleatoric
        (K, H) variances that each branch states.
    medians
        (K, H), in the same scale.
    weights
        (K, H), or (K,) for the same at every lead; not negative, made to sum to 1. Branches of weight 0
        may hold NaN.

    Raises
    ------
    BankError
        When a branch with weight has no number, a variance is negative, or a lead has no weight at all.
    """
    share = _shares(weights, medians.shape[1])
    rows = [np.where(share > 0, values, 0.0) for values in (epistemic, aleatoric, medians)]
    if not np.isfinite(rows).all() or min(rows[0].min(), rows[1].min()) < 0:
        raise BankError("parts of the uncertainty must be known and not negative where there is weight")
    return HierarchicalUncertainty(
        epistemic=np.asarray((share * rows[0]).sum(axis=0)),
        aleatoric=np.asarray((share * rows[1]).sum(axis=0)),
        between=_between(rows[2], share),
    )


def root_sum_of_squares(spreads: Floats, medians: Floats) -> Floats:
    """``sqrt(u_1^2 + ... + u_K^2 + d^2)`` with d the range of the medians, (K, H) twice to (H,).

    A known rule that counts the noise once per branch: two calibrated branches that agree cover 93 % with
    what is called 80 %. For comparison only; `hierarchical_uncertainty` is right.
    """
    return np.asarray(np.sqrt((spreads**2).sum(axis=0) + np.ptp(medians, axis=0) ** 2))


def _shares(weights: Floats, steps: int) -> Floats:
    """(K, H) weights that sum to 1 at every lead."""
    rows = np.broadcast_to(weights[:, None], (len(weights), steps)) if weights.ndim == 1 else weights
    total = rows.sum(axis=0)
    if not (np.isfinite(rows).all() and (rows >= 0).all() and (total > 0).all()):
        raise BankError("weights are finite, not negative, and not all zero at any lead")
    return np.asarray(rows / total)


def _between(medians: Floats, share: Floats) -> Floats:
    """(H,) weighted variance of (K, H) medians; the shares sum to 1."""
    return np.asarray((share * (medians - (share * medians).sum(axis=0)) ** 2).sum(axis=0))
