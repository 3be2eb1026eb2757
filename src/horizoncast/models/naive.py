"""The references every other member is measured against: random walk and seasonal naive.

Both are members like any other; at most one of them, the better on the slice, may carry weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HistoryTooShortError, ModelError
from horizoncast.forecast import Flag
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, MemberConfig, Prediction
from horizoncast.series import History

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RandomWalkConfig(MemberConfig):
    """Settings of `RandomWalk`: `decay` is the EWMA's lambda (RiskMetrics 1996: 0.94 for days)."""

    window: int = 500
    min_train: int = 20
    decay: float = 0.94


@dataclass(frozen=True, kw_only=True)
class SeasonalNaiveConfig(MemberConfig):
    """Settings of `SeasonalNaive`."""

    window: int = 2000
    min_train: int = 8


class RandomWalk(Member[RandomWalkConfig, None]):
    """Last value, Gaussian quantiles of width ``sigma sqrt(h)`` with EWMA volatility."""

    name: ClassVar[str] = "random_walk"
    config_type: ClassVar[type[MemberConfig]] = RandomWalkConfig
    naive: ClassVar[bool] = True

    def fit(self, history: History, horizon: Horizon) -> None:
        """Nothing is estimated."""

    def predict(
        self,
        state: None,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the last value."""
        z = history.tail(self.config.window).z
        sigma = ewma_volatility(np.diff(z), self.config.decay)[-1]
        spread = sigma * np.sqrt(np.arange(1, horizon.steps + 1))
        return gaussian_prediction(np.full(horizon.steps, z[-1]), spread, levels)


class SeasonalNaive(Member[SeasonalNaiveConfig, None]):
    """The value one season ago, Gaussian quantiles from the spread of seasonal differences.

    Among several season lengths the one with the smallest seasonal difference is used. Width:
    root mean square seasonal difference times ``sqrt(1 + floor((h - 1) / m))`` (Hyndman &
    Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 5.5).
    """

    name: ClassVar[str] = "seasonal_naive"
    config_type: ClassVar[type[MemberConfig]] = SeasonalNaiveConfig
    naive: ClassVar[bool] = True

    def fit(self, history: History, horizon: Horizon) -> None:
        """Nothing is estimated."""

    def predict(
        self,
        state: None,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the last season."""
        z = history.tail(self.config.window).z
        period = best_period(z, history.periods)
        rms = float(np.sqrt(np.mean((z[period:] - z[:-period]) ** 2)))
        lead = np.arange(horizon.steps)
        return gaussian_prediction(
            z[len(z) - period + lead % period], rms * np.sqrt(1 + lead // period), levels
        )


def best_period(z: Floats, periods: Sequence[int]) -> int:
    """The season length whose seasonal difference is smallest; at least one difference is needed.

    Raises
    ------
    ModelError
        When the series has no season.
    HistoryTooShortError
        When no season fits the history.
    """
    if not periods:
        raise ModelError("the series has no season", action="name its periods, or leave this member off")
    fitting = [p for p in periods if len(z) >= 2 * p]
    if not fitting:
        raise HistoryTooShortError(
            "history shorter than two seasons", value=len(z), allowed=f"at least {2 * periods[0]}"
        )
    return min(fitting, key=lambda p: float(np.mean((z[p:] - z[:-p]) ** 2)))


def ewma_volatility(changes: Floats, decay: float) -> Floats:
    """(n,) root of the exponentially weighted mean square of changes, (n,) to (n,).

    ``s2[t] = decay s2[t-1] + (1 - decay) r[t]^2``, started at the mean square of the first 20
    changes (RiskMetrics Technical Document, 1996, eq. 5.3).
    """
    from scipy.signal import lfilter

    start = float(np.mean(changes[:20] ** 2))
    squares, _ = lfilter([1.0 - decay], [1.0, -decay], changes**2, zi=[decay * start])
    return np.asarray(np.sqrt(squares))


def gaussian_prediction(centre: Floats, spread: Floats, levels: Sequence[float]) -> Prediction:
    """(H, Q) Gaussian quantiles; a spread of zero is flagged, because it claims certainty."""
    from scipy.special import ndtri

    quantiles = centre[:, None] + spread[:, None] * ndtri(np.asarray(levels))[None, :]
    flags = () if (spread > 0).all() else (Flag.DEGENERATE_WIDTH,)
    return Prediction(quantiles=quantiles, flags=flags)
