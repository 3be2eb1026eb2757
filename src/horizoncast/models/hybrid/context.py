"""What the recent past looks like, as a few numbers, and the known rule that picks a branch by them.

Pure functions of the values up to a cutoff. Season and trend of a random walk are noise: on prices the
signals mean nothing until the bank proves them.

Letters in shapes: n values of a history, F frequencies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HistoryTooShortError, ModelError
from horizoncast.models.naive import ewma_volatility

Floats = npt.NDArray[np.float64]

SEASON_WINDOW = 11
"""Seasons that STL's seasonal smoother sees, as in ``mstl`` of R's forecast (7 + 4 i, first season)."""

REGIME = 500
"""Values that a volatility is ranked among: two years of trading days."""

STRONG_SEASON = 0.64
"""Strength from which R's ``nsdiffs`` calls for a seasonal difference."""

HIGH_VOLATILITY = 0.8
"""Percentile from which a regime counts as restless: the upper fifth."""

SHARE_STRONG_SEASON, SHARE_HIGH_VOLATILITY, SHARE_ELSE = 0.8, 0.3, 0.6
"""Share of Chronos by the known rule."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """Signals at a cutoff, each in [0, 1], and what an encoder saw there.

    Parameters
    ----------
    season, trend
        Strengths by STL; 0 for a series without a season, whose trend is not told apart from its noise.
    volatility
        Rank of the latest volatility among the last `REGIME`.
    entropy
        Spectral entropy of the changes: 1 where they are white noise.
    novelty
        Share of ordinary past windows that are more like what came before them; None where unknown.
    embedding
        (D,) state of Chronos' encoder; empty where unknown.
    """

    season: float
    trend: float
    volatility: float
    entropy: float
    novelty: float | None = None
    embedding: tuple[float, ...] = ()


def context_of(z: Floats, period: int | None, *, decay: float = 0.94) -> Context:
    """Signals of a history.

    Parameters
    ----------
    z
        (n,) values up to the cutoff, in the scale, finite.
    period
        Sessions of the season; None for none.
    decay
        Of the volatility (RiskMetrics 1996: 0.94 for days).

    Raises
    ------
    HistoryTooShortError, ModelError
        When the history is too short for the signals, or not finite.
    """
    season, trend = (0.0, 0.0) if period is None else strengths(z, period)
    changes = np.diff(z)
    return Context(
        season=season,
        trend=trend,
        volatility=volatility_percentile(changes, decay),
        entropy=spectral_entropy(changes),
    )


def strengths(z: Floats, period: int) -> tuple[float, float]:
    """Strength of season and of trend by STL (Wang, Smith & Hyndman 2006).

    With T, S and R trend, season and remainder::

        F_s = max(0, 1 - var(R) / var(S + R))        F_t = max(0, 1 - var(R) / var(T + R))

    STL takes some noise for season: a sine of twice the noise's variance has 0.76 instead of 0.67, white
    noise and a random walk have 0.21, at most 0.28 in 40 draws of 1,000 values.

    Raises
    ------
    HistoryTooShortError
        With fewer than two seasons.
    ModelError
        For a period below 2, or values that are not finite.
    """
    from statsmodels.tsa.seasonal import STL

    if period < 2:
        raise ModelError("a season has at least two sessions", value=period)
    _require(z, 2 * period + 1)
    jump = max(1, period // 10)  # a week of hours in a tenth of the time, strengths alike to four digits
    parts = STL(z, period=period, seasonal=SEASON_WINDOW, trend_jump=jump, low_pass_jump=jump).fit()
    rest = np.asarray(parts.resid)
    return _strength(np.asarray(parts.seasonal), rest), _strength(np.asarray(parts.trend), rest)


def volatility_percentile(changes: Floats, decay: float, last: int = REGIME) -> float:
    """Rank of the latest EWMA volatility among its `last` values, ties counted half, in (0, 1).

    Raises
    ------
    HistoryTooShortError, ModelError
        Without two changes, or for changes that are not finite.
    """
    _require(changes, 2)
    among = ewma_volatility(changes, decay)[-last:]
    below, same = (among < among[-1]).sum(), (among == among[-1]).sum()
    return float((below + 0.5 * same) / len(among))


def spectral_entropy(changes: Floats, segment: int = 128) -> float:
    """Shannon entropy of the normalised spectral density, relative to that of white noise.

    ``-sum p_f log p_f / log F`` (Inouye et al. 1991) of a density by Welch's (1967) averaged periodograms,
    the mean removed; frequency 0 is left out. 1 for a flat spectrum, 0 for a single line; 1 as well for
    changes that are all the same, of which nothing can be learnt.

    Raises
    ------
    HistoryTooShortError, ModelError
        With fewer than 16 changes, or for changes that are not finite.
    """
    from scipy.signal import welch

    _require(changes, 16)
    if not np.ptp(changes) > 0:
        return 1.0
    density = np.asarray(welch(changes, nperseg=min(segment, len(changes)))[1])[1:]
    share = density / density.sum()
    known = share[share > 0]
    return float(max(0.0, -(known * np.log(known)).sum() / np.log(len(share))))


def known_share(context: Context) -> float:
    """Share of Chronos by the known rule: strong season 0.8, else high volatility 0.3, else 0.6."""
    if context.season >= STRONG_SEASON:
        return SHARE_STRONG_SEASON
    return SHARE_HIGH_VOLATILITY if context.volatility >= HIGH_VOLATILITY else SHARE_ELSE


def _strength(part: Floats, rest: Floats) -> float:
    together = float(np.var(part + rest))
    return max(0.0, 1.0 - float(np.var(rest)) / together) if together > 0 else 0.0


def _require(values: Floats, least: int) -> None:
    if len(values) < least:
        raise HistoryTooShortError(
            "a signal needs more values", value=len(values), allowed=f"at least {least}"
        )
    if not np.isfinite(values).all():
        raise ModelError("a signal needs values without gaps")
