"""The same rolling validation by statsforecast; runs in its own environment.

    python benchmarks/peers/statsforecast_cv.py JOB.json OUT.npz

The log series is numbered 0, 1, 2, ... AutoARIMA without seasons, Naive and SeasonalNaive(5) see it
as it is, re-fitted every 60 sessions. GARCH(1,1) has a zero mean and so sees the changes (in per
cent, where its optimiser works); it cannot carry parameters forward and is fitted at every cutoff.
Its point forecast in version 2.1.1 is one simulated draw and its half-width z times the variance,
not the standard deviation; both are put right here: the mean is zero, and the variances are summed
to those of the level.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
from statsforecast import StatsForecast
from statsforecast.models import GARCH, AutoARIMA, Naive, SeasonalNaive

WEEK = 5
PER_CENT = 100.0


def cross_validate(
    values: np.ndarray, models: list[Any], cell: dict[str, Any], job: dict[str, Any], refit: int | bool
) -> pd.DataFrame:
    """Forecasts of every window, ordered by cutoff and step."""
    frame = pd.DataFrame({"unique_id": "series", "ds": np.arange(len(values)), "y": values})
    found = StatsForecast(models=models, freq=1, n_jobs=1).cross_validation(
        df=frame,
        h=cell["steps"],
        step_size=cell["stride"],
        n_windows=cell["windows"],
        refit=refit,
        input_size=job["window"],
        level=[_coverage(level) for level in job["levels"] if level > 0.5],
    )
    return found.sort_values(["cutoff", "ds"])


def _coverage(level: float) -> int:
    """Interval in per cent whose upper end is a quantile level."""
    return round(200 * level - 100)


def quantiles_of(found: pd.DataFrame, name: str, cell: dict[str, Any], job: dict[str, Any]) -> np.ndarray:
    """(W, H, Q) of one model."""
    columns = []
    for level in job["levels"]:
        if level == 0.5:
            columns.append(name)
        else:
            side = "hi" if level > 0.5 else "lo"
            columns.append(f"{name}-{side}-{_coverage(max(level, 1 - level))}")
    return found[columns].to_numpy().reshape(cell["windows"], cell["steps"], len(columns))


def cumulated(changes: np.ndarray, start: np.ndarray, levels: list[float]) -> np.ndarray:
    """(W, H, Q) quantiles of the level from those of its changes in per cent; start is (W,)."""
    z = np.array([NormalDist().inv_cdf(level) for level in levels])
    centre, upper = levels.index(0.5), levels.index(0.9)
    variance = (changes[..., upper] - changes[..., centre]) / z[upper]
    spread = np.sqrt(np.cumsum(variance, axis=1)) / PER_CENT
    return start[:, None, None] + spread[..., None] * z


def answers(cell: dict[str, Any], job: dict[str, Any]) -> dict[str, np.ndarray]:
    """Quantiles by model."""
    values = np.array(job["values"])[: cell["last"] + cell["steps"] + 1]
    plain = [AutoARIMA(seasonal=False), Naive(), SeasonalNaive(season_length=WEEK)]
    found = cross_validate(values, plain, cell, job, job["refit_sessions"] // cell["stride"])
    out = {name: quantiles_of(found, name, cell, job) for name in ("AutoARIMA", "Naive", "SeasonalNaive")}
    changes = cross_validate(PER_CENT * np.diff(values), [GARCH(1, 1)], cell, job, refit=True)
    rows = cell["last"] - cell["stride"] * np.arange(cell["windows"])[::-1]
    out["GARCH"] = cumulated(quantiles_of(changes, "GARCH(1,1)", cell, job), values[rows], job["levels"])
    return out


def main() -> None:
    """Answer a job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    out = {}
    for cell in job["cells"]:
        for name, quantiles in answers(cell, job).items():
            out[f"{cell['steps']}:{name}"] = quantiles
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
