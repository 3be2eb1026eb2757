"""Where the ensemble's uncertainty comes from: what members state, and how far they disagree.

Letters in shapes: K members, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError

Floats = npt.NDArray[np.float64]

UNCERTAINTY_PARTS = ("within", "between")
"""What members state on average, and the spread of their medians."""

_HALF_80 = 1.2815515655446004
"""Half the 80 % interval of a unit normal."""


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
    low, middle, high = (quantiles[used][..., list(levels).index(level)] for level in (0.1, 0.5, 0.9))
    spread = (high - low) / (2.0 * _HALF_80)
    within = share @ spread**2
    between = share @ (middle - share @ middle) ** 2
    return np.stack([within, between])
