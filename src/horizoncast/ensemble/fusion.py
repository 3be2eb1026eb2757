"""Confidence-weighted fusion of a few branches: at each lead the surer one counts for more.

Pure functions. Letters in shapes: K branches, H steps, Q levels; ``...`` any axes between, such as cutoffs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError, UnknownNameError

Floats = npt.NDArray[np.float64]

LOWEST, HIGHEST = 0.2, 0.8
"""Limits of what confidence alone may give a branch: no stated width is certain enough for all."""


def inverse_variance(spreads: Floats) -> Floats:
    """``u_k^-2 / sum u_j^-2``, (K, ..., H) to the same: the weights of least variance for independent errors.

    Bates & Granger (1969). The same in every unit. Branches without any spread share a lead among
    themselves.

    >>> inverse_variance(np.array([[8.0], [12.0]])).round(3).ravel().tolist()
    [0.692, 0.308]
    """
    smallest = spreads.min(axis=0)
    ratio = np.where(spreads > 0, smallest / np.where(spreads > 0, spreads, 1.0), 1.0)
    return np.asarray(ratio**2 / (ratio**2).sum(axis=0))


def inverse_shifted(spreads: Floats) -> Floats:
    """``1 / (1 + u_k)`` over their sum, (K, ..., H) to the same: a known rule that depends on the unit of u.

    Spreads of 8 and 12 pesos give 0.591 to the first; the same spreads in log units give 0.501.

    >>> inverse_shifted(np.array([[8.0, 0.008], [12.0, 0.012]]))[0].round(3).tolist()
    [0.591, 0.501]
    """
    raw = 1.0 / (1.0 + spreads)
    return np.asarray(raw / raw.sum(axis=0))


CONFIDENCES: dict[str, Callable[[Floats], Floats]] = {
    "inverse_variance": inverse_variance,
    "inverse_shifted": inverse_shifted,
}


def fusion_weights(
    spreads: Floats,
    accuracy: Floats,
    confidence: str = "inverse_variance",
    preference: Floats | None = None,
) -> Floats:
    """Weights of the branches at each lead, (K, ..., H), summing to 1.

    The confidence of each branch, kept within `LOWEST` and `HIGHEST`, times its weight by accuracy on the
    past, so that a branch that is sure and wrong cannot win, times what the context says::

        w_kh ~ clip(c_kh, 0.2, 0.8) a_k exp(g_kh)

    Parameters
    ----------
    spreads
        (K, ..., H) standard deviations that branches state (`metrics.stated_spread`), each after its own
        width factor: the spreads of branches that are not calibrated say nothing. NaN where a branch has no
        weight.
    accuracy
        (K,) weights by past error, not negative, not all zero (`ensemble.weights`).
    confidence
        ``inverse_variance``; ``inverse_shifted`` is kept for comparison.
    preference
        (K, ..., H) log weights by context; None for none.

    Raises
    ------
    BankError
        When a branch with weight has no spread, or no branch has weight.
    UnknownNameError
        For a rule that nobody knows.
    """
    if confidence not in CONFIDENCES:
        raise UnknownNameError.of("confidence of a fusion", confidence, CONFIDENCES)
    used = accuracy > 0
    if not used.any() or not np.isfinite(accuracy).all() or (accuracy < 0).any():
        raise BankError("weights by accuracy are finite, not negative and not all zero", value=accuracy)
    if not np.isfinite(spreads[used]).all() or (spreads[used] < 0).any():
        raise BankError("a branch with weight has no spread, or a negative one")
    along = (-1, *(1,) * (spreads.ndim - 1))
    trusted = np.clip(CONFIDENCES[confidence](spreads[used]), LOWEST, HIGHEST)
    trusted = trusted * accuracy[used].reshape(along)
    if preference is not None:
        trusted = trusted * np.exp(preference[used] - preference[used].max(axis=0))
    out = np.zeros_like(spreads)
    out[used] = trusted / trusted.sum(axis=0)
    return out


def fuse(quantiles: Floats, weights: Floats) -> Floats:
    """Quantiles averaged with weights of each lead, (K, ..., H, Q) and (K, ..., H) to (..., H, Q), sorted.

    Branches of weight 0 may hold NaN.

    Raises
    ------
    BankError
        When a branch with weight has no forecast, or the shapes differ.
    """
    if weights.shape != quantiles.shape[:-1]:
        raise BankError("fusion needs a weight per branch and lead", value=weights.shape)
    used = weights[..., None] > 0
    if not np.isfinite(quantiles[np.broadcast_to(used, quantiles.shape)]).all():
        raise BankError("a branch with weight has no forecast")
    return np.sort(np.where(used, weights[..., None] * quantiles, 0.0).sum(axis=0), axis=-1)
