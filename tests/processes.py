"""Processes whose truth is known: independent paths, one row per path, first the past, then the future.

Letters in shapes: N paths, n sessions of the past, H steps.
"""

import numpy as np
import numpy.typing as npt
from scipy.signal import lfilter

Floats = npt.NDArray[np.float64]


def random_walk(paths: int, length: int, *, seed: int, sigma: float = 0.01) -> Floats:
    """Logarithm of a geometric Brownian motion, (N, length)."""
    return np.cumsum(sigma * np.random.default_rng(seed).standard_normal((paths, length)), axis=1)


def ar_returns(paths: int, length: int, *, seed: int, phi: float, sigma: float = 0.01) -> Floats:
    """Log price whose changes follow ``r_t = phi r_(t-1) + e_t``, started from its own law, (N, length)."""
    rng = np.random.default_rng(seed)
    start = sigma / np.sqrt(1.0 - phi**2) * rng.standard_normal((paths, 1))
    shocks = sigma * rng.standard_normal((paths, length))
    changes, _ = lfilter([1.0], [1.0, -phi], shocks, axis=1, zi=phi * start)
    return np.cumsum(changes, axis=1)


def garch_t(
    paths: int,
    length: int,
    *,
    seed: int,
    alpha: float = 0.08,
    beta: float = 0.9,
    df: float = 6.0,
    sigma: float = 0.01,
) -> Floats:
    """Log price whose changes are GARCH(1,1) with Student-t shocks of variance 1, (N, length).

    200 sessions are run in before the first.
    """
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(df, (paths, length + 200)) * np.sqrt((df - 2.0) / df)
    changes = np.empty(shocks.shape)
    variance = np.full(paths, sigma**2)
    for t in range(shocks.shape[1]):
        changes[:, t] = np.sqrt(variance) * shocks[:, t]
        variance = sigma**2 * (1.0 - alpha - beta) + alpha * changes[:, t] ** 2 + beta * variance
    return np.cumsum(changes[:, 200:], axis=1)


def seasonal_walk(paths: int, length: int, *, seed: int, period: int = 7, sigma: float = 1.0) -> Floats:
    """``y_t = y_(t - period) + e_t`` from a random first season, (N, length)."""
    rng = np.random.default_rng(seed)
    seasons = -(-length // period)
    steps = sigma * rng.standard_normal((paths, seasons, period))
    steps[:, 0] = 5.0 * rng.standard_normal((paths, period))
    return np.cumsum(steps, axis=1).reshape(paths, -1)[:, :length]


def ar_gain(phi: float, steps: int) -> float:
    """What the last change says of the next `steps` together: their conditional mean over it."""
    return phi * (1.0 - phi**steps) / (1.0 - phi)


def ar_r2(phi: float, steps: int) -> float:
    """Share of the variance of the change over `steps` sessions that the last change explains."""
    signal = ar_gain(phi, steps) ** 2 / (1.0 - phi**2)
    noise = sum(((1.0 - phi**j) / (1.0 - phi)) ** 2 for j in range(1, steps + 1))
    return signal / (signal + noise)
