"""Rows to learn the hybrid's gate and adaptation from, with a known truth.

Outcomes are the paths of one random walk, so that overlapping windows share their shocks as in a bank.
Lengths are in steps; a branch's or a feature's effect grows with sqrt(h), as the outcomes do.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy.special import ndtr, ndtri

from horizoncast.models.hybrid.adaptation import AdaptationRows
from horizoncast.models.hybrid.context import Context
from horizoncast.models.hybrid.fitting import window_losses
from horizoncast.models.hybrid.gate_rows import GateRows

LEVELS = (0.1, 0.3, 0.5, 0.7, 0.9)
DAY = np.timedelta64(86400, "s")
START = np.datetime64("2015-01-01", "s")


def outcomes(rng: np.random.Generator, windows: int, steps: int, stride: int):
    """(W, H) paths from each cutoff, (W,) cutoffs and (W,) ends."""
    walk = np.cumsum(rng.normal(size=windows * stride + steps + 1))
    at = np.arange(windows) * stride
    paths = walk[at[:, None] + 1 + np.arange(steps)] - walk[at][:, None]
    return paths, START + at * DAY, START + (at + steps) * DAY


def around(medians: np.ndarray, spread: float = 1.0) -> np.ndarray:
    """(..., H, Q) Gaussian quantiles of width ``spread sqrt(h)`` around (..., H) medians."""
    root = np.sqrt(np.arange(1, medians.shape[-1] + 1))
    return medians[..., None] + spread * root[:, None] * ndtri(np.array(LEVELS))


def persistent(rng: np.random.Generator, windows: int, memory: float = 0.8) -> np.ndarray:
    """(W,) a stationary AR(1) of variance 1, as regimes and covariates are."""
    shocks = rng.normal(size=windows)
    out = np.empty(windows)
    out[0] = shocks[0]
    for w in range(1, windows):
        out[w] = memory * out[w - 1] + np.sqrt(1.0 - memory**2) * shocks[w]
    return out


def gate_rows(
    seed: int,
    *,
    windows: int = 150,
    steps: int = 5,
    stride: int = 5,
    planted: float = 0.0,
    series: str = "x",
    shapes: np.ndarray | None = None,
) -> GateRows:
    """Two branches with independent errors of their medians.

    In the upper half of a regime's ranks chronos' error is ``1 + planted`` times its usual and the other's
    ``1 - planted``; in the lower half the other way round. 0: no context tells them apart. The regime is
    the volatility, or, with (2, N, D) embeddings of two kinds of window, which kind it is and nothing else.
    """
    rng = np.random.default_rng(seed)
    paths, cutoffs, ends = outcomes(rng, windows, steps, stride)
    volatility = ndtr(persistent(rng, windows))
    regime, vectors = volatility > 0.5, [()] * windows
    if shapes is not None:
        regime = persistent(rng, windows) > 0.0
        picked = shapes[regime.astype(int), rng.integers(shapes.shape[1], size=windows)]
        vectors = [tuple(vector) for vector in picked.tolist()]
    tilt = np.where(regime, planted, -planted)
    errors = 0.6 * rng.normal(size=(2, windows)) * np.stack([1.0 + tilt, 1.0 - tilt])
    root = np.sqrt(np.arange(1, steps + 1))
    contexts = tuple(
        Context(season=0.0, trend=0.0, volatility=float(v), entropy=float(e), embedding=seen)
        for v, e, seen in zip(volatility, 0.97 + 0.02 * rng.random(windows), vectors, strict=True)
    )
    naive = around(np.zeros((windows, steps)))
    return GateRows(
        series=series,
        cutoffs=cutoffs,
        ends=ends,
        levels=LEVELS,
        quantiles=around(errors[:, :, None] * root, 1.1),
        confidence=np.full((2, windows, steps), 0.5),
        accuracy=np.array([0.5, 0.5]),
        actuals=paths,
        contexts=contexts,
        naive_loss=float(window_losses(paths, naive, LEVELS).mean()),
    )


def two_shapes(seed: int, *, each: int = 200, size: int = 8, noise: float = 0.5) -> np.ndarray:
    """(2, N, D) embeddings around two directions, of lengths that say nothing."""
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(99).normal(size=(2, 1, size))
    lengths = rng.uniform(0.5, 2.0, size=(2, each, 1))
    return lengths * (middle + noise * rng.normal(size=(2, each, size)))


def adaptation_rows(
    seed: int,
    *,
    windows: int = 150,
    steps: int = 5,
    stride: int = 5,
    planted: float = 0.0,
    wider: float = 1.0,
    series: str = "x",
) -> AdaptationRows:
    """Chronos as the true random walk, and outcomes that a covariate moves besides.

    Outcomes are shifted by ``planted sqrt(h)`` times the last of five features and stretched by ``wider``
    around it; the others are noise, three of them persistent.
    """
    rng = np.random.default_rng(seed)
    paths, cutoffs, ends = outcomes(rng, windows, steps, stride)
    features = np.stack([persistent(rng, windows, memory) for memory in (0.9, 0.9, 0.9, 0.0, 0.0)], axis=1)
    root = np.sqrt(np.arange(1, steps + 1))
    naive = around(np.zeros((windows, steps)))
    rows = AdaptationRows(
        series=series,
        cutoffs=cutoffs,
        ends=ends,
        levels=LEVELS,
        quantiles=naive,
        actuals=wider * paths + planted * root * features[:, -1:],
        names=("a", "b", "c", "d", "signal"),
        features=features,
        naive_loss=1.0,
    )
    return replace(rows, naive_loss=float(window_losses(rows.actuals, naive, LEVELS).mean()))
