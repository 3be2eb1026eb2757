"""Scores of forecasts, as small pure functions, and the record of one score.

Letters in shapes: W windows, H steps, Q levels; ``...`` any leading axes. NaN cells are left out; a
score of no cell at all is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError

Floats = npt.NDArray[np.float64]


class Sample(StrEnum):
    """Where a score's forecasts come from."""

    IN_SAMPLE = "in_sample"
    PSEUDO_OUT_OF_SAMPLE = "pseudo_out_of_sample"
    LIVE = "live"


class Metric(StrEnum):
    """Names of the scores, as they stand in records."""

    RMSE = "rmse"
    MAE = "mae"
    MAPE = "mape"
    MASE = "mase"
    WQL = "wql"
    CRPS = "crps"
    INTERVAL_SCORE_80 = "interval_score_80"
    INTERVAL_SCORE_95 = "interval_score_95"
    COVERAGE_80 = "coverage_80"
    COVERAGE_95 = "coverage_95"
    WIDTH_80 = "width_80"
    WIDTH_95 = "width_95"
    DIRECTIONAL_ACCURACY = "directional_accuracy"
    PATH_RMSE = "path_rmse"


@dataclass(frozen=True, kw_only=True)
class Score:
    """One number with everything needed to compare it fairly.

    Parameters
    ----------
    subject
        Member or ensemble.
    metric, value, unit
        What was measured; the unit is the series' unit, its scale, or ``1`` for ratios.
    sample
        Pseudo out-of-sample, live, or in-sample (which weighting refuses).
    leads
        1-based steps the value is a mean over.
    windows
        Number of cutoffs behind it.
    n_eff
        Effective number of independent windows.
    """

    subject: str
    metric: Metric
    value: float
    unit: str
    sample: Sample
    leads: tuple[int, ...]
    windows: int
    n_eff: float


_HALF_80 = 1.2815515655446004
"""Half the 80 % interval of a unit normal."""


def require_comparable(scores: Sequence[Score]) -> None:
    """Refuse to compare what is not comparable.

    Raises
    ------
    BankError
        When a score is in-sample, or metric, unit, sample, leads or windows differ.
    """
    for score in scores:
        if score.sample is Sample.IN_SAMPLE:
            raise BankError("an in-sample error is no validation", value=score.subject)
    for name in ("metric", "unit", "sample", "leads", "windows"):
        kinds = {getattr(score, name) for score in scores}
        if len(kinds) > 1:
            raise BankError(f"scores differ in {name} and cannot be compared", value=sorted(map(str, kinds)))


def pinball(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Pinball loss, (..., Q): ``max(tau (y - q), (tau - 1) (y - q))`` (Koenker & Bassett 1978).

    >>> pinball(np.array([1.0]), np.array([[0.0, 3.0]]), [0.1, 0.9])
    array([[0.1, 0.2]])
    """
    tau = np.asarray(levels)
    error = actual[..., None] - quantiles
    return np.maximum(tau * error, (tau - 1.0) * error)


def weighted_quantile_loss(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> float:
    """WQL: ``2 sum pinball / (Q sum |y|)``, averaged over levels (GluonTS; Salinas et al. 2020).

    Parameters
    ----------
    actual
        (...,) outcomes.
    quantiles
        (..., Q) on the same cells.

    Returns
    -------
    float
        NaN when every known outcome is zero.
    """
    known = np.isfinite(actual) & np.isfinite(quantiles).all(axis=-1)
    loss = pinball(actual[known], quantiles[known], levels)
    total = float(np.abs(actual[known]).sum())
    return float(2.0 * loss.mean(axis=-1).sum()) / total if total > 0 else float("nan")


def quantile_loss(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> float:
    """Twice the mean pinball loss over cells and levels: WQL without its denominator."""
    known = np.isfinite(actual) & np.isfinite(quantiles).all(axis=-1)
    return 2.0 * _mean(pinball(actual[known], quantiles[known], levels))


def crps_quantile(actual: Floats, quantiles: Floats, levels: Sequence[float]) -> float:
    """Mean CRPS by integrating twice the pinball loss over the levels, in the unit of `actual`.

    Trapezoid over uneven levels, the end pieces held constant (Laio & Tamea 2007: CRPS is the
    integral of twice the pinball loss).
    """
    tau = np.asarray(levels)
    edges = np.concatenate([[0.0], (tau[1:] + tau[:-1]) / 2.0, [1.0]])
    known = np.isfinite(actual) & np.isfinite(quantiles).all(axis=-1)
    loss = pinball(actual[known], quantiles[known], levels)
    return 2.0 * _mean((loss * np.diff(edges)).sum(axis=-1))


def interval_score(actual: Floats, lower: Floats, upper: Floats, coverage: float) -> float:
    """Mean interval score ``(u - l) + 2/a (l - y)+ + 2/a (y - u)+`` (Gneiting & Raftery 2007, eq. 43)."""
    a = 1.0 - coverage
    miss = np.maximum(lower - actual, 0.0) + np.maximum(actual - upper, 0.0)
    return _mean((upper - lower) + (2.0 / a) * miss)


def coverage(actual: Floats, lower: Floats, upper: Floats) -> float:
    """Share of known outcomes inside the interval, ends included, 0 to 1."""
    known = np.isfinite(actual) & np.isfinite(lower) & np.isfinite(upper)
    hit = (actual[known] >= lower[known]) & (actual[known] <= upper[known])
    return _mean(hit.astype(np.float64))


def rmse(actual: Floats, point: Floats) -> float:
    """Root mean square error over known cells."""
    return float(np.sqrt(_mean((actual - point) ** 2)))


def path_rmse(actual: Floats, point: Floats, leads: Sequence[int]) -> float:
    """RMSE of errors divided by ``sqrt(h)``, so that late leads do not own the mean.

    Parameters
    ----------
    actual, point
        (..., L) on the leads given.
    leads
        L 1-based steps.
    """
    scaled = (actual - point) / np.sqrt(np.asarray(leads, dtype=np.float64))
    return float(np.sqrt(_mean(scaled**2)))


def mae(actual: Floats, point: Floats) -> float:
    """Mean absolute error over known cells."""
    return _mean(np.abs(actual - point))


def mape(actual: Floats, point: Floats) -> float:
    """Mean absolute percentage error as a fraction; NaN when an outcome is zero."""
    known = np.isfinite(actual) & np.isfinite(point)
    if not known.any() or (actual[known] == 0).any():
        return float("nan")
    return float(np.mean(np.abs((actual[known] - point[known]) / actual[known])))


def mase(actual: Floats, point: Floats, history: Floats, period: int = 1) -> float:
    """Mean absolute scaled error (Hyndman & Koehler 2006): MAE over the MAE of the naive in history.

    Parameters
    ----------
    history
        (n,) observations before the forecasts, same unit.
    period
        Lag of the in-sample naive.

    Returns
    -------
    float
        NaN when the history never moved or is not longer than the lag.
    """
    scale = _mean(np.abs(history[period:] - history[:-period]))
    return mae(actual, point) / scale if scale > 0 else float("nan")


def directional_accuracy(actual: Floats, point: Floats, origin: Floats) -> float:
    """Share of known cells where forecast and outcome moved the same way from the origin.

    Cells where either did not move are left out; NaN when none is left (a random walk's point).
    """
    moved, said = np.sign(actual - origin), np.sign(point - origin)
    counted = np.isfinite(moved) & np.isfinite(said) & (moved != 0) & (said != 0)
    return _mean((moved[counted] == said[counted]).astype(np.float64))


def skill(score: float, reference: float) -> float:
    """``1 - score / reference``: above 0 is better than the naive. NaN for a reference of zero."""
    return 1.0 - score / reference if reference > 0 else float("nan")


def stated_spread(quantiles: Floats, levels: Sequence[float]) -> Floats:
    """Standard deviation that a forecast states: half the 80 % width over 1.2816, (..., Q) to (...).

    Raises
    ------
    BankError
        When the levels lack 0.1 or 0.9.
    """
    if not {0.1, 0.9} <= set(levels):
        raise BankError("a stated spread needs the 80 % interval", value=levels)
    low, high = (quantiles[..., list(levels).index(level)] for level in (0.1, 0.9))
    return np.asarray((high - low) / (2.0 * _HALF_80))


def _mean(values: Floats) -> float:
    """Mean over the cells that are not NaN; NaN, without a warning, when there is none."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else float("nan")
