"""Seasonality for members that model the seasonally adjusted series.

Decompose by STL, forecast the seasonally adjusted series, add the last seasonal cycle back
(Hyndman & Athanasopoulos, Forecasting: Principles and Practice, 3rd ed., 5.7). A season is used
only when the training window shows it: the weekday of an exchange rate is noise.

Letters in shapes: n sessions, S seasons, H steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

STRENGTH = 0.2
"""Least lag-m autocorrelation of the changes of a season that is used; see `real_periods`."""

SIGNIFICANCE = 3.0
"""The same in standard errors, ``1 / sqrt(n)`` under no season."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decomposition:
    """A series split into seasonal components and the rest.

    Parameters
    ----------
    periods
        S season lengths in sessions, increasing.
    seasonal
        (S, n) one component per season.
    adjusted
        (n,) the series without them: trend and remainder.
    """

    periods: tuple[int, ...]
    seasonal: Floats
    adjusted: Floats

    def ahead(self, steps: int) -> Floats:
        """(H,) the last cycle of every component, repeated: what to add to a forecast."""
        out = np.zeros(steps)
        for period, component in zip(self.periods, self.seasonal, strict=True):
            out += last_cycle(component, period, steps)
        return out


def last_cycle(component: Floats, period: int, steps: int) -> Floats:
    """(H,) the last `period` values of a component, repeated from the first of them.

    >>> last_cycle(np.array([9.0, 1.0, 2.0]), 2, 3)
    array([1., 2., 1.])
    """
    return np.asarray(component[len(component) - period + np.arange(steps) % period])


def seasonal_strength(seasonal: Floats, remainder: Floats) -> float:
    """``F_s = max(0, 1 - var(R) / var(S + R))`` (Wang, Smith & Hyndman 2006; FPP3 eq. 4.2).

    >>> seasonal_strength(np.array([1.0, -1.0] * 4), np.zeros(8))
    1.0
    """
    total = float(np.var(seasonal + remainder))
    return max(0.0, 1.0 - float(np.var(remainder)) / total) if total > 0 else 0.0


def season_autocorrelation(z: Floats, period: int) -> tuple[float, float]:
    """Autocorrelation of the changes of z, (n,), at lag `period`, and the same in standard errors.

    For a stable season the autocovariance at its own lag is the variance of the season, so this is
    a strength judged on one cycle by another: noise gets zero, however few the cycles, where the
    strength of an STL fit rises to one half with two cycles of noise. The standard error is
    Bartlett's, ``1 / sqrt(n)`` (Box & Jenkins 1970).
    """
    changes = np.diff(np.asarray(z, dtype=np.float64))
    early, late = changes[:-period], changes[period:]
    if len(late) < 3 or np.ptp(early) == 0 or np.ptp(late) == 0:
        return 0.0, 0.0
    correlation = float(np.corrcoef(early, late)[0, 1])
    return correlation, correlation * float(np.sqrt(len(late)))


def real_periods(
    z: Floats, periods: Sequence[int], *, strength: float = STRENGTH, significance: float = SIGNIFICANCE
) -> tuple[int, ...]:
    """The season lengths that a training window (n,) shows, shortest first.

    Each is judged after the shorter ones were taken out, and needs two full cycles.
    """
    found: list[int] = []
    rest = np.asarray(z, dtype=np.float64)
    for period in periods:
        if len(rest) <= 2 * period:
            continue
        correlation, t_ratio = season_autocorrelation(rest, period)
        if correlation >= strength and t_ratio >= significance:
            found.append(period)
            rest = rest - _stl(rest, period, 11)
    return tuple(found)


def decompose(z: Floats, periods: Sequence[int], *, rounds: int = 2) -> Decomposition:
    """Split a window (n,) into its seasons and the rest.

    STL (Cleveland et al., J. Official Statistics 1990) for one season; for several, STL of each in
    turn on the series without the others, `rounds` times (MSTL: Bandara, Hyndman & Bergmeir 2021,
    algorithm 1), with the seasonal smoothers 11, 15, 19... of that paper; of degree 0,
    as in R: with degree 1 the last of two cycles would pass through its own noise. Periods that do not fit
    twice into the window are left out.
    """
    values = np.asarray(z, dtype=np.float64)
    used = tuple(p for p in periods if len(values) > 2 * p)
    parts = np.zeros((len(used), len(values)))
    for _ in range(rounds if len(used) > 1 else 1):
        for i, period in enumerate(used):
            others = parts.sum(axis=0) - parts[i]
            parts[i] = _stl(values - others, period, 11 + 4 * i)
    return Decomposition(periods=used, seasonal=parts, adjusted=values - parts.sum(axis=0))


def width_factor(periods: Sequence[int], sessions: int) -> float:
    """How much wider the error of the last cycle is than the remainder of the decomposition.

    A cycle averaged over c cycles leaves ``1 - 1/c`` of the noise in its own remainder and forecasts
    with ``1 + 1/c`` of it (prediction from a mean, e.g. Draper & Smith 1998, 1.4). The smoother of
    length 11 sees about five cycles at the end of the window. 1 without a season.

    >>> round(width_factor((52,), 104), 3)
    1.732
    """
    if not periods:
        return 1.0
    cycles = max(2.0, min(5.0, sessions / periods[-1]))
    return float(np.sqrt((1.0 + 1.0 / cycles) / (1.0 - 1.0 / cycles)))


def _stl(values: Floats, period: int, smoother: int) -> Floats:
    """(n,) seasonal component; loess is evaluated at every tenth of its span, two inner loops (as in R)."""
    from statsmodels.tsa.seasonal import STL

    trend = int(np.ceil(1.5 * period / (1.0 - 1.5 / smoother)))
    trend += 1 - trend % 2
    model = STL(
        values,
        period=period,
        seasonal=smoother,
        trend=max(trend, 3),
        seasonal_deg=0,
        trend_jump=max(1, trend // 10),
        low_pass_jump=max(1, period // 10),
    )
    return np.asarray(model.fit(inner_iter=2).seasonal)
