"""Scores for people: in the series' unit, from forecasts that never saw what they are scored on.

Letters in shapes: R scored cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from horizoncast import metrics
from horizoncast.bank import Bank
from horizoncast.horizon import DECILES
from horizoncast.metrics import Metric, Sample, Score
from horizoncast.series import Series

Floats = npt.NDArray[np.float64]


def score_subject(
    subject: str, quantiles: Floats, bank: Bank, series: Series, sample: Sample = Sample.PSEUDO_OUT_OF_SAMPLE
) -> list[Score]:
    """All metrics of one subject over the cutoffs of a bank.

    Parameters
    ----------
    quantiles
        (R, H, Q) in the scale, on the bank's cutoffs; rows of NaN are left out.
    bank
        The scored cutoffs, with their actuals.
    series
        Gives the unit, the origins and the history that MASE is scaled by.
    """
    with np.errstate(over="ignore"):
        unit = bank.scale.backward(quantiles)
    actual = np.where(np.isfinite(quantiles).all(axis=-1), bank.actuals, np.nan)
    if not np.isfinite(actual).any():
        return []
    values = _in_unit(unit, bank.scale.backward(actual), bank, series)
    values[Metric.PATH_RMSE] = metrics.path_rmse(
        actual[:, bank.leads], quantiles[:, bank.leads, bank.level_index(0.5)], bank.horizon.lead_grid
    )
    rows = int(np.isfinite(actual).any(axis=1).sum())
    return [
        Score(
            subject=subject,
            metric=metric,
            value=value,
            unit=_unit_of(metric, series),
            sample=sample,
            leads=bank.horizon.lead_grid
            if metric is Metric.PATH_RMSE
            else tuple(range(1, bank.horizon.steps + 1)),
            windows=rows,
            n_eff=metrics_n_eff(bank, rows),
        )
        for metric, value in values.items()
    ]


def metrics_n_eff(bank: Bank, rows: int) -> float:
    """Effective number of independent windows among `rows` cutoffs."""
    return rows * min(1.0, bank.stride / bank.horizon.steps)


def _in_unit(unit: Floats, actual: Floats, bank: Bank, series: Series) -> dict[Metric, float]:
    at = {level: bank.level_index(level) for level in bank.levels}
    point = unit[..., at[0.5]]
    origins = np.array([series.values[series.index_of(c)] for c in bank.cutoffs])
    history = series.until(bank.cutoffs[0]).values
    period = series.periods[0] if series.periods and len(history) > series.periods[0] else 1
    deciles = [at[level] for level in DECILES]
    values = {
        Metric.RMSE: metrics.rmse(actual, point),
        Metric.MAE: metrics.mae(actual, point),
        Metric.MAPE: metrics.mape(actual, point),
        Metric.MASE: metrics.mase(actual, point, history, period),
        Metric.WQL: metrics.weighted_quantile_loss(actual, unit[..., deciles], DECILES),
        Metric.CRPS: metrics.crps_quantile(actual, unit, bank.levels),
        Metric.DIRECTIONAL_ACCURACY: metrics.directional_accuracy(actual, point, origins[:, None]),
    }
    for share, names in _INTERVALS.items():
        tail = round((1 - share) / 2, 6)
        low, high = unit[..., at[tail]], unit[..., at[round(1 - tail, 6)]]
        known = np.isfinite(actual)
        values[names[0]] = metrics.interval_score(actual, low, high, share)
        values[names[1]] = metrics.coverage(actual, low, high)
        values[names[2]] = float(np.mean((high - low)[known]))
    return values


_INTERVALS: dict[float, Sequence[Metric]] = {
    0.8: (Metric.INTERVAL_SCORE_80, Metric.COVERAGE_80, Metric.WIDTH_80),
    0.95: (Metric.INTERVAL_SCORE_95, Metric.COVERAGE_95, Metric.WIDTH_95),
}

_RATIOS = (
    Metric.MAPE,
    Metric.MASE,
    Metric.WQL,
    Metric.COVERAGE_80,
    Metric.COVERAGE_95,
    Metric.DIRECTIONAL_ACCURACY,
)


def _unit_of(metric: Metric, series: Series) -> str:
    if metric in _RATIOS:
        return "1"
    return f"{series.scale} of {series.unit}" if metric is Metric.PATH_RMSE else series.unit
