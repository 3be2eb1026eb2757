"""The same rolling validation by statsforecast and by AutoGluon-TimeSeries, beside ours.

    PYTHONPATH=benchmarks python benchmarks/peers/run_peers.py [--quick] [--peers statsforecast]

Each peer has an environment of its own below benchmarks/work (they need an older pandas).
HORIZONCAST_PEER_VENVS="statsforecast=/path autogluon=/path" names existing ones instead. All sides
answer one job: the log of USD/MXN, the same cutoffs, training windows of 2,000 sessions, re-fits
every 60 sessions. Costs are those of all processes (measure.py); accuracy is computed here, from
everybody's quantiles, by the functions of accuracy.py.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from accuracy import figures
from beds import RESULTS, ROOT, WORK, target_series
from engine_run import TARGET
from horizoncast.bank import Bank
from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.horizon import DECILES, Horizon
from horizoncast.series import Series
from horizoncast.validation.splitter import CutoffPlan, plan_cutoffs
from measure import Measured, measure
from speed import clean_environment, git_state, machine

HERE = Path(__file__).resolve().parent
HORIZONS = (7, 15, 30, 90)
LEVELS = (0.025, *DECILES, 0.975)
SCORED, VALIDATED, REFIT_SESSIONS, WINDOW = 20, 40, 60, 2000
TORCH = "torch==2.13.0"
"""By exact version: a looser request pulls gigabytes of CUDA libraries."""
ENVIRONMENTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "statsforecast": (("statsforecast==2.1.1",),),
    "autogluon": ((TORCH,), ("autogluon.timeseries==1.6.3",)),
}
"""Requests to pip, in order."""
OURS = "horizoncast"
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""For everybody alike: spinning threads would count as work."""


def python_of(peer: str) -> Path:
    """Interpreter of a peer's environment, created when there is none yet."""
    given = dict(pair.split("=", 1) for pair in os.environ.get("HORIZONCAST_PEER_VENVS", "").split())
    if peer in given:
        return Path(given[peer]) / "bin" / "python"
    folder = WORK / f"venv-{peer}"
    done = folder / ".installed"
    if not done.exists():
        create(peer, folder)
        done.touch()
    return folder / "bin" / "python"


def create(peer: str, folder: Path) -> None:
    """A virtual environment with the peer in it."""
    print(f"creating {folder.relative_to(ROOT)}", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    limits = folder / "constraints.txt"
    limits.write_text(TORCH + "\n")
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for request in ENVIRONMENTS[peer]:
        subprocess.run([*pip, "-c", str(limits), *request], check=True)


def make_job(series: Series, *, quick: bool) -> dict[str, Any]:
    """What all sides are asked: cutoffs of our plan, evenly spaced in rows."""
    cells = []
    for steps in (7, 30) if quick else HORIZONS:
        plan = plan_cutoffs(series, Horizon(steps=steps))
        last = series.index_of(plan.cutoffs[-1])
        cells.append({"steps": steps, "stride": plan.stride, "windows": len(plan.cutoffs), "last": last})
    return {
        "target": TARGET,
        "values": series.scale.forward(series.values).tolist(),
        "levels": list(LEVELS),
        "cells": cells,
        "window": WINDOW,
        "refit_sessions": REFIT_SESSIONS,
        "scored": SCORED,
        "validated": 8 if quick else VALIDATED,
    }


def run_side(side: str, job: Path, folder: Path) -> tuple[Measured, dict[str, np.ndarray]]:
    """Cost of one side, and its quantiles by ``steps:subject``."""
    python = sys.executable if side == OURS else str(python_of(side))
    out = folder / f"{side}.npz"
    environment = clean_environment() | ONE_THREAD
    if side == OURS:
        environment["PYTHONPATH"] = str(HERE.parent)
    else:
        environment.pop("PYTHONPATH", None)
    cost = measure(
        [python, str(HERE / f"{side}_cv.py"), str(job), str(out)], folder=folder, environment=environment
    )
    with np.load(out, allow_pickle=False) as stored:
        return cost, {name: stored[name] for name in stored.files}


def reference_bank(cell: dict[str, Any], series: Series) -> Bank:
    """Actuals and the random walk on a cell's cutoffs."""
    rows = cell["last"] - cell["stride"] * np.arange(cell["windows"])[::-1]
    plan = CutoffPlan(
        cutoffs=series.dates[rows],
        live=series.last,
        stride=cell["stride"],
        wanted=len(rows),
        horizon=Horizon(steps=cell["steps"]),
    )
    config = EngineConfig(members=(), levels=LEVELS, isolated=False)
    bank, _ = ForecastEngine(config).fill(series, plan)
    return bank


def score(cell: dict[str, Any], bank: Bank, side: str, name: str, quantiles: np.ndarray) -> dict[str, Any]:
    """Accuracy of one subject relative to our random walk, on all cutoffs it answered."""
    same = bank.pick(np.arange(bank.windows) >= bank.windows - len(quantiles))
    own = figures(quantiles, same)
    walk = figures(same.quantiles[same.member_index("random_walk")], same)
    return {
        "horizon": cell["steps"],
        "side": side,
        "subject": name,
        "windows": len(quantiles),
        "rmse_ratio": own["rmse"] / walk["rmse"],
        "wql_ratio": own["wql"] / walk["wql"],
        "coverage80": own["coverage80"],
        "coverage95": own["coverage95"],
    }


def score_all(
    job: dict[str, Any], series: Series, answers: dict[str, dict[str, np.ndarray]]
) -> list[dict[str, Any]]:
    """Every subject on the newest cutoffs, which all sides answered, and on all of its own."""
    rows = []
    for cell in job["cells"]:
        bank = reference_bank(cell, series)
        for side, found in answers.items():
            for key, quantiles in found.items():
                steps, name = key.split(":", 1)
                if int(steps) != cell["steps"]:
                    continue
                rows.append(score(cell, bank, side, name, quantiles[-SCORED:]))
                if len(quantiles) > SCORED:
                    rows.append(score(cell, bank, side, name, quantiles))
    return rows


def cost_row(cost: Measured, ours: Measured, forecasts: int) -> dict[str, Any]:
    """Cost of a side, absolute and relative to ours."""
    return {
        **asdict(cost),
        "forecasts": forecasts,
        "cpu_ratio": cost.cpu_s / ours.cpu_s,
        "memory_ratio": cost.peak_mb / ours.peak_mb,
        "cpu_ms_per_forecast": 1000 * cost.cpu_s / forecasts,
    }


def forecasts_made(side: str, job: dict[str, Any], found: dict[str, np.ndarray]) -> int:
    """Forecasts that a side computed: its subjects times its windows, validation included."""
    made = sum(len(quantiles) for quantiles in found.values())
    return made + (len(found) * job["validated"] if side == "autogluon" else 0)


def show(costs: dict[str, dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """The tables for a person."""
    print(f"{'side':16}{'CPU s':>9}{'ratio':>8}{'PSS MB':>9}{'ratio':>8}{'forecasts':>11}{'CPU ms each':>13}")
    for side, c in costs.items():
        print(
            f"{side:16}{c['cpu_s']:>9.1f}{c['cpu_ratio']:>8.2f}{c['peak_mb']:>9.0f}{c['memory_ratio']:>8.2f}"
            f"{c['forecasts']:>11}{c['cpu_ms_per_forecast']:>13.1f}"
        )
    print(
        f"\n{'horizon':>7}  {'side':14}{'subject':18}{'windows':>8}{'RMSE/RW':>9}{'WQL/RW':>8}"
        f"{'cov80':>7}{'cov95':>7}"
    )
    for r in sorted(rows, key=lambda r: (r["horizon"], r["windows"] > SCORED)):
        print(
            f"{r['horizon']:>7}  {r['side']:14}{r['subject']:18}{r['windows']:>8}{r['rmse_ratio']:>9.4f}"
            f"{r['wql_ratio']:>8.4f}{100 * r['coverage80']:>7.1f}{100 * r['coverage95']:>7.1f}"
        )


def main() -> None:
    """Run all sides, print and write benchmarks/results/peers.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="two horizons, written below benchmarks/work")
    parser.add_argument("--peers", nargs="*", choices=list(ENVIRONMENTS), default=list(ENVIRONMENTS))
    options = parser.parse_args()
    about = machine()
    series = target_series(TARGET)
    job = make_job(series, quick=options.quick)
    WORK.mkdir(parents=True, exist_ok=True)
    costs: dict[str, Measured] = {}
    answers: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory(dir=WORK, prefix="peers-") as name:
        file = Path(name) / "job.json"
        file.write_text(json.dumps(job))
        for side in (OURS, *options.peers):
            costs[side], answers[side] = run_side(side, file, Path(name))
            print(f"{side}: {costs[side].cpu_s:.1f} CPU s, {costs[side].wall_s:.0f} s", file=sys.stderr)
    table = {
        side: cost_row(cost, costs[OURS], forecasts_made(side, job, answers[side]))
        for side, cost in costs.items()
    }
    rows = score_all(job, series, answers)
    show(table, rows)
    partial = options.quick or set(options.peers) != set(ENVIRONMENTS)
    path = (WORK if partial else RESULTS) / ("peers-partial.json" if partial else "peers.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    asked = {key: job[key] for key in ("target", "cells", "window", "refit_sessions", "scored", "validated")}
    result = {
        **git_state(),
        "machine": about,
        "requests": ENVIRONMENTS,
        "job": asked,
        "costs": table,
        "accuracy": rows,
    }
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nwritten to {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
