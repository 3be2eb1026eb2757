"""The same rolling validation by AutoGluon-TimeSeries; runs in its own environment.

    python benchmarks/peers/autogluon_cv.py JOB.json OUT.npz

The log series is dated by consecutive weekdays. `fit` validates on the windows that matured before
the first scored cutoff (40 as our decision does), re-fitting every 60 sessions, and weighs its
ensemble on them; the scored cutoffs are then forecast from the data up to each, so that no score is
one that the weights were chosen on. Between them the local models are fitted anew and the tabular
model is not: it is as old as the first scored cutoff.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from autogluon.timeseries import TimeSeriesDataFrame, TimeSeriesPredictor

MODELS: dict[str, dict[str, Any]] = {
    "Naive": {},
    "SeasonalNaive": {},
    "AutoARIMA": {"seasonal": False, "n_jobs": 1},
    "AutoETS": {"n_jobs": 1},
    "RecursiveTabular": {},
}


def frame_of(values: np.ndarray) -> TimeSeriesDataFrame:
    """A series with consecutive weekdays for its sessions."""
    frame = pd.DataFrame(
        {
            "item_id": "series",
            "timestamp": pd.bdate_range("2000-01-03", periods=len(values)),
            "target": values,
        }
    )
    return TimeSeriesDataFrame.from_data_frame(frame)


def answers(cell: dict[str, Any], job: dict[str, Any], folder: str) -> dict[str, np.ndarray]:
    """(scored, H, Q) quantiles by model."""
    values, steps, stride = np.array(job["values"]), cell["steps"], cell["stride"]
    first_scored = cell["last"] - stride * (job["scored"] - 1)
    first_validated = first_scored - steps - stride * (job["validated"] - 1)
    start = first_validated + 1 - job["window"]
    predictor = TimeSeriesPredictor(
        prediction_length=steps,
        freq="B",
        eval_metric="WQL",
        quantile_levels=job["levels"],
        path=folder,
        verbosity=0,
    )
    predictor.fit(
        frame_of(values[start : first_scored + 1]),
        hyperparameters=MODELS,
        num_val_windows=job["validated"],
        val_step_size=stride,
        refit_every_n_windows=job["refit_sessions"] // stride,
    )
    found = predictor.backtest_predictions(
        frame_of(values[start : cell["last"] + steps + 1]),
        model=predictor.model_names(),
        num_val_windows=job["scored"],
        val_step_size=stride,
    )
    columns = [str(level) for level in job["levels"]]
    return {name: np.stack([w[columns].to_numpy() for w in windows]) for name, windows in found.items()}


def main() -> None:
    """Answer a job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    out = {}
    for cell in job["cells"]:
        with tempfile.TemporaryDirectory() as folder:
            for name, quantiles in answers(cell, job, folder).items():
                out[f"{cell['steps']}:{name}"] = quantiles
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
