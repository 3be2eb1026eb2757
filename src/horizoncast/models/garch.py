"""GARCH(1,1) with Student t innovations: fit, filter, simulate.

``s2[t+1] = omega + alpha e[t]^2 + beta s2[t]`` (Bollerslev 1986), estimated by arch; afterwards the
parameters are fixed and the recursion runs forward in numpy.

Letters in shapes: n sessions, N paths, H steps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


FLOOR = 1e-3
"""Least conditional variance relative to the unconditional one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Garch:
    """Parameters of a variance recursion; ``alpha = beta = 0`` is a constant variance.

    Parameters
    ----------
    omega, alpha, beta
        See the module. An EWMA is ``omega = 0, alpha = 1 - lambda, beta = lambda``.
    simulated
        False when paths keep the variance of the cutoff (EWMA, constant variance).
    """

    omega: float
    alpha: float = 0.0
    beta: float = 0.0
    simulated: bool = True


def fit_garch(residuals: Floats) -> Garch | None:
    """GARCH(1,1)-t without a mean by maximum likelihood; None without convergence or stationarity.

    Parameters
    ----------
    residuals
        (n,) with a standard deviation between 1 and 1000, where arch's optimiser is at home.
    """
    from arch import arch_model

    model = arch_model(residuals, mean="Zero", vol="GARCH", p=1, q=1, dist="t", rescale=False)
    fit = model.fit(disp="off", show_warning=False)
    omega, alpha, beta, _ = (float(value) for value in np.asarray(fit.params))
    sound = np.isfinite([omega, alpha, beta]).all() and omega > 0 and alpha + beta < 1.0
    return Garch(omega=omega, alpha=alpha, beta=beta) if fit.convergence_flag == 0 and sound else None


def ewma(decay: float) -> Garch:
    """RiskMetrics' EWMA as a recursion whose forecast is flat."""
    return Garch(omega=0.0, alpha=1.0 - decay, beta=decay, simulated=False)


def variances(residuals: Floats, garch: Garch, start: float) -> Floats:
    """(n + 1,) conditional variances from s2[0] = `start`; the last is that of the next session.

    They are kept above `FLOOR` times the mean square: an EWMA forgets a long run of zeros entirely.
    """
    from scipy.signal import lfilter

    shocks = garch.omega + garch.alpha * np.asarray(residuals) ** 2
    later, _ = lfilter([1.0], [1.0, -garch.beta], shocks, zi=[garch.beta * start])
    return np.asarray(np.maximum(np.append(start, later), FLOOR * float(np.mean(np.asarray(residuals) ** 2))))


def backcast(residuals: Floats) -> float:
    """Start of the recursion: 0.94-weighted mean of the first 75 squares, as in arch."""
    head = np.asarray(residuals[:75]) ** 2
    weights = 0.94 ** np.arange(len(head))
    return float(weights @ head / weights.sum())


def antithetic_shocks(pool: Floats, paths: int, steps: int, rng: np.random.Generator) -> Floats:
    """(N, H) draws by antithetic uniforms on the empirical quantile function of a sorted pool.

    Flipping signs instead would make every path's mirror image as likely and destroy the skew.
    """
    half = rng.random((paths // 2, steps))
    uniforms = np.concatenate([half, 1.0 - half])
    grid = (np.arange(len(pool)) + 0.5) / len(pool)
    return np.asarray(np.interp(uniforms, grid, pool))


def simulate(garch: Garch, variance: float, shocks: Floats) -> Floats:
    """(N, H) innovations from standardised shocks (N, H) and the variance of the first step.

    Filtered historical simulation (Barone-Adesi, Giannopoulos & Vosper 1999).
    """
    if not garch.simulated:
        return np.asarray(np.sqrt(variance) * shocks)
    out = np.empty_like(shocks)
    s2 = np.full(len(shocks), variance)
    for h in range(shocks.shape[1]):
        out[:, h] = np.sqrt(s2) * shocks[:, h]
        s2 = garch.omega + garch.alpha * out[:, h] ** 2 + garch.beta * s2
    return out
