"""Epistemic and aleatoric parts by the law of total variance, three ways behind one interface.

``Var[y] = E[Var(y | w)] + Var[E(y | w)]``: the mean variance of the heads is the aleatoric part, the
variance of their medians over the weights w the epistemic part. The weights vary over a closed-form
posterior of the last layer, over networks of several seeds, or over dropout masks (Gal & Ghahramani,
ICML 2016).

Letters in shapes: N pairs of origin and step, U features of the last layer, B samples, H steps,
Q levels, K networks or passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_WIDEST = 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """A predictive distribution in the scaled space, taken apart.

    Parameters
    ----------
    quantiles
        (B, H, Q), widened by the epistemic part.
    aleatoric, epistemic
        (B, H) variances.
    """

    quantiles: Floats
    aleatoric: Floats
    epistemic: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class LastLayer:
    """Gaussian posterior of a correction to the median's weights (Bishop 2006, eq. 3.50 to 3.59).

    Parameters
    ----------
    mean
        (U + 1,) of the correction; zeros where the held-back windows wanted none.
    root
        (U + 1, U + 1) R with ``R R' = s^2 (Phi' Phi / o + lambda I)^-1``, o the overlap of outcomes.
    """

    mean: Floats
    root: Floats

    def correction(self, features: Floats) -> Floats:
        """(B, H) what to add to the median, from (B, H, U)."""
        return np.asarray(with_constant(features) @ self.mean)

    def variance(self, features: Floats) -> Floats:
        """(B, H) ``s^2 phi' (Phi' Phi / o + lambda I)^-1 phi``."""
        return np.asarray(np.square(with_constant(features) @ self.root).sum(axis=-1))


def with_constant(features: Floats) -> Floats:
    """(..., U) to (..., U + 1)."""
    return np.concatenate([features, np.ones((*features.shape[:-1], 1))], axis=-1)


def fit_last_layer(
    features: Floats, residual: Floats, *, overlap: float, penalty: float, correct: bool
) -> LastLayer:
    """Posterior of the last layer, given the residuals of the trained median.

    Parameters
    ----------
    features, residual
        (N, U) and (N,).
    overlap
        o: pairs per independent outcome. Overlapping outcomes share most of their noise; counted as
        independent they would make the posterior too sure.
    penalty
        lambda.
    correct
        Whether the posterior mean moves the median; the spread is there in any case.
    """
    phi = with_constant(features)
    precision = phi.T @ phi / overlap + penalty * np.eye(phi.shape[1])
    mean: Floats = np.asarray(np.linalg.solve(precision, phi.T @ residual / overlap), dtype=np.float64)
    rest = residual - phi @ mean if correct else residual
    upper = np.linalg.cholesky(precision)
    root = np.linalg.solve(upper, np.eye(len(upper))).T * float(np.sqrt(np.mean(rest**2)))
    return LastLayer(mean=mean if correct else np.zeros_like(mean), root=root)


def variance_of(quantiles: Floats, levels: Sequence[float]) -> Floats:
    """(...,) variance of the distribution whose quantiles (..., Q) are given.

    Mean of squares of the quantile function, linear in probit space between levels and beyond, at 99
    evenly spaced probabilities.

    >>> round(float(variance_of(np.array([-1.2816, 0.0, 1.2816]), (0.1, 0.5, 0.9))), 2)
    0.99
    """
    points = np.arange(0.5, 99.5) / 99.0
    filled = at_levels(quantiles, levels, tuple(points))
    return np.asarray(filled.var(axis=-1))


def at_levels(quantiles: Floats, levels: Sequence[float], wanted: Sequence[float]) -> Floats:
    """(..., Q) to (..., W): linear in probit space between levels, and beyond the outermost.

    >>> at_levels(np.array([-1.0, 0.0, 1.0]), (0.1, 0.5, 0.9), (0.5, 0.9)).tolist()
    [0.0, 1.0]
    """
    if tuple(levels) == tuple(wanted):
        return quantiles
    known = np.array([NormalDist().inv_cdf(p) for p in levels])
    asked = np.array([NormalDist().inv_cdf(p) for p in wanted])
    left = np.clip(np.searchsorted(known, asked, side="right") - 1, 0, len(known) - 2)
    weight = (asked - known[left]) / (known[left + 1] - known[left])
    return np.asarray(quantiles[..., left] + weight * (quantiles[..., left + 1] - quantiles[..., left]))


def total_variance(quantiles: Floats, levels: Sequence[float], epistemic: Floats | None = None) -> Parts:
    """Put the parts together and widen the quantiles about their median to the total variance.

    Parameters
    ----------
    quantiles
        (K, B, H, Q), one set per draw of the weights.
    epistemic
        (B, H) where a posterior gives it; None takes the variance of the K medians.
    """
    middle = list(levels).index(0.5)
    aleatoric = variance_of(quantiles, levels).mean(axis=0)
    if epistemic is None:
        draws = quantiles[..., middle]
        epistemic = draws.var(axis=0, ddof=1 if len(draws) > 1 else 0)
    mean = quantiles.mean(axis=0)
    median = mean[..., middle : middle + 1]
    factor = _widening(aleatoric, epistemic)
    return Parts(
        quantiles=median + factor[..., None] * (mean - median), aleatoric=aleatoric, epistemic=epistemic
    )


def published_share(
    parts: Parts, own: Floats, published: Floats, *, followed: float, levels: Sequence[float]
) -> Floats:
    """Share of a published variance that is doubt about the network's weights, (B, H) in [0, 1].

    The forecast is published at a part s of the way from what it started from (the naive, or the closed
    form) to the network, quantile by quantile::

        q = (1 - s) q_start + s q_own

    Another draw of the weights moves the network's median by d and the published one by s d. So, with f
    the factor that the epistemic part widened the network's quantiles by, the share is::

        s^2 (1 - 1 / f^2) V_own / V_published

    A calibrated width counts both parts alike, and nothing about the start's own parameters enters: they
    have no posterior, so that doubt about them is counted as noise. Comonotone averages have
    ``V_published >= s^2 V_own``.

    Parameters
    ----------
    parts
        The network's answer.
    own, published
        (B, H, Q) its quantiles after calibration, and those published, in the same space.
    followed
        s.
    """
    widened = 1.0 - 1.0 / np.square(_widening(parts.aleatoric, parts.epistemic))
    whole = variance_of(published, levels)
    share = followed**2 * widened * variance_of(own, levels) / np.where(whole > 0, whole, np.inf)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _widening(aleatoric: Floats, epistemic: Floats) -> Floats:
    """Factor of the distances to the median by which the epistemic part widens a distribution."""
    ratio = epistemic / np.maximum(aleatoric, 1e-12)
    return np.asarray(np.minimum(np.sqrt(1.0 + ratio), _WIDEST))
