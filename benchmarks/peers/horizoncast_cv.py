"""Our side of the comparison: all members over the shared cutoffs, and decisions at the newest ones.

python benchmarks/peers/horizoncast_cv.py JOB.json OUT.npz
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from beds import ROOT, target_series
from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.ensemble.replay import replay
from horizoncast.horizon import Horizon
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.series import Series
from horizoncast.service.settings import load_settings
from horizoncast.validation.splitter import CutoffPlan


def shared_plan(cell: dict[str, Any], series: Series) -> CutoffPlan:
    """The cell's cutoffs: evenly spaced in rows, as the peers' cross-validation needs them."""
    rows = cell["last"] - cell["stride"] * np.arange(cell["windows"])[::-1]
    horizon = Horizon(steps=cell["steps"])
    return CutoffPlan(
        cutoffs=series.dates[rows],
        live=series.last,
        stride=cell["stride"],
        wanted=cell["windows"],
        horizon=horizon,
    )


def settings_of(cell: dict[str, Any]) -> EngineConfig:
    """The shipped settings of the service with the cell's horizon."""
    return load_settings(f"forecaster_{cell['steps']}d", root=ROOT, environ={}).engine_config()


def answers(cell: dict[str, Any], series: Series, job: dict[str, Any]) -> dict[str, np.ndarray]:
    """Quantiles by subject in the scale: (W, H, Q) of members, (scored, H, Q) of the ensemble."""
    config = settings_of(cell)
    bank, _ = ForecastEngine(config).fill(series, shared_plan(cell, series))
    states = {m.name: m.state for m in config.members} | dict.fromkeys(NAIVES, MemberState.ON)
    shipped = replay(bank, states, config.decision, last=job["scored"])
    at = [bank.level_index(level) for level in job["levels"]]
    found = {name: bank.quantiles[k][..., at] for k, name in enumerate(bank.members)}
    return found | {"shipped": shipped.quantiles[..., at]}


def main() -> None:
    """Answer a job."""
    job = json.loads(Path(sys.argv[1]).read_text())
    series = target_series(job["target"])
    out = {}
    for cell in job["cells"]:
        for name, quantiles in answers(cell, series, job).items():
            out[f"{cell['steps']}:{name}"] = quantiles
    np.savez(sys.argv[2], **out)


if __name__ == "__main__":
    main()
