"""What the adaptation of Chronos reads of the domain at a cutoff, in numbers without a unit.

Chronos reads the target's context alone; these are what it does not see or does not weigh: momentum in
units of volatility, the phase of the season, the regime, and the covariates. All of it comes from a
`History`, so a cutoff's features depend on nothing that was published after it.

Letters in shapes: n sessions of a history, P covariates, H steps, W cutoffs, F features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates, as_stamp
from horizoncast.errors import HistoryTooShortError, ModelError
from horizoncast.models.hybrid.context import strengths, volatility_percentile
from horizoncast.models.naive import ewma_volatility
from horizoncast.series import History, Series

Floats = npt.NDArray[np.float64]

WINDOW = 1500
"""Sessions looked back at: three times the regime's, six years of trading days."""

MOMENTUM_SCALES = (1, 5, 20)
"""Sessions of the target's changes: a day, a week and a month of trading."""

COVARIATE_SCALES = (1, 5)
"""Sessions of the covariates' changes."""

DECAY = 0.94
"""Of volatilities (RiskMetrics 1996)."""


def feature_names(series: Series, period: int | None) -> tuple[str, ...]:
    """Names of the F features of a series, in order."""
    names = [f"momentum_{k}" for k in MOMENTUM_SCALES] + ["volatility"]
    if period is not None:
        names += ["season_sin", "season_cos", "season_strength", "trend_strength"]
    for covariate in series.covariates:
        names += [f"{covariate.name}.change_{k}" for k in COVARIATE_SCALES]
        names += [f"{covariate.name}.ahead"] if covariate.known_future else []
    return tuple(names)


def domain_features(history: History, period: int | None, steps: int) -> Floats:
    """(F,) features at the history's cutoff, NaN where one cannot be known there.

    ========================  =======================================================================
    ``momentum_k``            change over k sessions in the scale, over EWMA volatility times sqrt(k)
    ``volatility``            rank of the EWMA volatility among the last 500, in (0, 1)
    ``season_sin, _cos``      phase of the last session in the season
    ``season_``, ``trend_``   strengths by STL (`context.strengths`), in [0, 1]
    ``name.change_k``         the same as momentum, of a covariate as known at the cutoff
    ``name.ahead``            mean of a covariate known in advance over the next `steps` sessions
    ========================  =======================================================================

    Parameters
    ----------
    history
        Values up to the cutoff.
    period
        Sessions of the season; None for none.
    steps
        H, over which covariates known in advance are averaged.
    """
    if steps < 1:
        raise ModelError("features look at least one step ahead", value=steps)
    past = history.tail(WINDOW)
    found = [*_changes(past.z, MOMENTUM_SCALES), _volatility_rank(past.z)]
    if period is not None:
        found += _season(past, period)
    ahead = history.future_covariates(steps)
    for p, covariate in enumerate(history.series.covariates):
        found += _changes(past.covariates[:, p], COVARIATE_SCALES)
        found += [_mean(ahead[:, p])] if covariate.known_future else []
    return np.array(found)


def feature_rows(
    series: Series, cutoffs: Dates | Sequence[np.datetime64], period: int | None, steps: int
) -> Floats:
    """(W, F) features at each cutoff; see `domain_features`."""
    rows = [domain_features(series.until(as_stamp(cutoff)), period, steps) for cutoff in cutoffs]
    return np.stack(rows) if rows else np.empty((0, len(feature_names(series, period))))


def _changes(values: Floats, scales: Sequence[int]) -> list[float]:
    """Last changes over some scales in units of volatility; 0 where nothing ever moved."""
    moves = np.diff(values)
    moves = moves[np.isfinite(moves)]
    if len(moves) < 2:
        return [float("nan")] * len(scales)
    volatility = float(ewma_volatility(moves, DECAY)[-1])
    out = []
    for k in scales:
        change = values[-1] - values[-1 - k] if len(values) > k else np.nan
        unit = volatility * np.sqrt(k)
        out.append(float(change / unit) if unit > 0 else 0.0 * float(change))
    return out


def _volatility_rank(z: Floats) -> float:
    return volatility_percentile(np.diff(z), DECAY) if len(z) > 2 else float("nan")


def _season(past: History, period: int) -> list[float]:
    angle = 2.0 * np.pi * float(past.ordinals[-1] % period) / period
    try:
        season, trend = strengths(past.z, period)
    except HistoryTooShortError:
        season = trend = float("nan")
    return [float(np.sin(angle)), float(np.cos(angle)), season, trend]


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
