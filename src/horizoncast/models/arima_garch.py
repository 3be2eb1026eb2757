"""ARIMA mean with GARCH(1,1)-t variance; intervals by filtered historical simulation.

Orders, coefficients, variance parameters and the pool of standardised residuals are estimated at the
re-fit point; at a cutoff both recursions run forward with fixed parameters.

Letters in shapes: n sessions, N paths, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HistoryTooShortError
from horizoncast.forecast import Flag
from horizoncast.horizon import Horizon
from horizoncast.models.arma import (
    Arma,
    Orders,
    candidates,
    choose_orders,
    difference,
    filtered,
    integrate,
    maximum_likelihood,
    psi_weights,
)
from horizoncast.models.base import Member, MemberConfig, Prediction
from horizoncast.models.garch import (
    Garch,
    antithetic_shocks,
    backcast,
    ewma,
    fit_garch,
    simulate,
    variances,
)
from horizoncast.models.seasonal import decompose, real_periods, width_factor
from horizoncast.series import History

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ArimaGarchConfig(MemberConfig):
    """Settings of `ArimaGarch`.

    Parameters
    ----------
    max_p, max_q
        Largest orders of the non-seasonal part; (0, 0) is always among the candidates.
    seasonal_arima
        Seasons up to this length are modelled by a seasonal ARIMA, longer ones by STL.
    paths
        N simulated paths, an even number.
    min_garch
        Residuals below which no GARCH is fitted: the variance is then constant.
    decay
        EWMA that replaces a GARCH that did not converge.
    """

    min_train: int = 30
    max_p: int = 2
    max_q: int = 2
    seasonal_arima: int = 12
    paths: int = 1000
    min_garch: int = 250
    decay: float = 0.94


@dataclass(frozen=True, kw_only=True, eq=False)
class ArimaGarchState:
    """What a re-fit point leaves behind.

    Parameters
    ----------
    periods
        Seasons taken out by STL before the ARIMA; empty for a seasonal ARIMA.
    unit
        Standard deviation that the changes were divided by; 0 for a constant window.
    arma, garch
        The mean and variance models of the standardised changes.
    pool
        Standardised residuals, sorted, mean 0 and variance 1.
    """

    periods: tuple[int, ...]
    unit: float
    arma: Arma
    garch: Garch
    pool: Floats
    flags: tuple[Flag, ...]


class ArimaGarch(Member[ArimaGarchConfig, ArimaGarchState]):
    """ARIMA without drift, GARCH(1,1)-t, 1000 bootstrapped paths."""

    name: ClassVar[str] = "arima_garch"
    config_type: ClassVar[type[MemberConfig]] = ArimaGarchConfig

    def fit(self, history: History, horizon: Horizon) -> ArimaGarchState:
        """Choose the season and the orders, then estimate mean and variance."""
        z = history.z
        config = self.config
        real = real_periods(z, history.periods)
        inside = bool(real) and real[-1] <= config.seasonal_arima
        periods = () if inside else real
        m = real[-1] if inside else 1
        y = decompose(z, periods).adjusted
        base = Orders(D=int(inside), m=m)
        w = difference(y, base)
        unit = float(np.std(w))
        if len(w) < 10:
            raise HistoryTooShortError("too few changes to fit an ARIMA", value=len(w), allowed="at least 10")
        if not unit > 1e-12 * max(1e-300, float(np.max(np.abs(z)))):
            return _constant_state(base)
        grid = candidates(config.max_p, config.max_q, D=int(inside), m=m)
        arma = maximum_likelihood(w / unit, choose_orders(w / unit, grid))
        residuals, _ = filtered(w / unit, arma, 1)
        garch, flags = self._variance(residuals)
        s2 = variances(residuals, garch, backcast(residuals))[:-1]
        pool = residuals / np.sqrt(s2)
        return ArimaGarchState(
            periods=periods,
            unit=unit,
            arma=arma,
            garch=garch,
            pool=np.sort((pool - pool.mean()) / pool.std()),
            flags=flags if arma.converged else (*flags, Flag.NOT_CONVERGED),
        )

    def predict(
        self,
        state: ArimaGarchState,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles: exact mean path plus simulated deviations with their median removed."""
        z = history.tail(self.config.window).z
        steps = horizon.steps
        if state.unit == 0:
            return Prediction(quantiles=np.full((steps, len(levels)), z[-1]), flags=state.flags)
        parts = decompose(z, state.periods)
        y = parts.adjusted / state.unit
        residuals, ahead = filtered(difference(y, state.arma.orders), state.arma, steps)
        mean = integrate(y, ahead, state.arma.orders) * state.unit + parts.ahead(steps)
        s2 = variances(residuals, state.garch, backcast(residuals))[-1]
        shocks = antithetic_shocks(state.pool, self.config.paths, steps, rng)
        width = state.unit * width_factor(parts.periods, len(z))
        psi = psi_weights(state.arma, steps)
        deviations = _convolve(simulate(state.garch, s2, shocks), psi)
        quantiles = np.quantile(deviations, levels, axis=0).T
        quantiles -= np.median(deviations, axis=0)[:, None]
        return Prediction(quantiles=mean[:, None] + width * quantiles, flags=state.flags)

    def _variance(self, residuals: Floats) -> tuple[Garch, tuple[Flag, ...]]:
        """GARCH, or a constant variance for few residuals, or EWMA where GARCH does not converge."""
        if len(residuals) < self.config.min_garch:
            return Garch(omega=float(np.mean(residuals**2)), simulated=False), (Flag.SHORT_HISTORY,)
        found = fit_garch(residuals)
        if found is None:
            return ewma(self.config.decay), (Flag.FALLBACK, Flag.NOT_CONVERGED)
        return found, ()


def _constant_state(orders: Orders) -> ArimaGarchState:
    """A window without any movement: the last value, no width."""
    return ArimaGarchState(
        periods=(),
        unit=0.0,
        arma=Arma(orders=orders),
        garch=Garch(omega=0.0),
        pool=np.zeros(1),
        flags=(Flag.DEGENERATE_WIDTH,),
    )


def _convolve(innovations: Floats, psi: Floats) -> Floats:
    """(N, H) deviations of z: innovations (N, H) filtered by the psi weights (H,).

    A product with the triangular Toeplitz matrix of the weights; a filter loops over the rows.
    """
    lag = np.arange(len(psi))[None, :] - np.arange(len(psi))[:, None]
    return np.asarray(innovations @ np.where(lag >= 0, psi[np.maximum(lag, 0)], 0.0))
