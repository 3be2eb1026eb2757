"""A Chronos checkpoint on its own, zero-shot, on the test beds.

    python benchmarks/checkpoint.py [--model NAME_OR_FOLDER] [--beds ecb14 structured] [--quick] [--out FILE]

The member `chronos` answers every cutoff with its shipped contexts; no weights, no skill factor, no
width factor. Reference: the random walk with EWMA volatility on the exchange rates (cutoffs from 2018),
seasonal naive on the structured beds. Ratios of WQL over nine deciles on the lead grid, geometric mean
over series; coverage over all leads. ``horizoncast models pretrain --scores FILE`` puts the file that is
written into the model's card.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np
import pandas as pd

from accuracy import cutoff_plan, figures, mean_ratio
from beds import STRUCTURED, WORK, Cell, cells_of, engine_config
from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One series at one horizon."""

    bed: str
    series: str
    steps: int
    wql: float
    rmse: float
    coverage80: float
    coverage95: float
    cutoffs: int


def config_of(cell: Cell, model: str) -> EngineConfig:
    """The naives and the checkpoint, its context that of the service."""
    config = engine_config(cell.steps, ("chronos",))
    members = tuple(
        replace(m, state=MemberState.ON, config=replace(m.config, model=model))
        if isinstance(m.config, ChronosConfig)
        else m
        for m in config.members
        if m.name in (*NAIVES, "chronos")
    )
    return replace(config, members=members)


def figure_of(cell: Cell, model: str) -> Figure:
    """The checkpoint against the reference on one cell."""
    series = cell.load(cell.series)
    bank, _ = ForecastEngine(config_of(cell, model)).fill(series, cutoff_plan(cell, series))
    if cell.first is not None:
        bank = bank.pick(bank.cutoffs >= cell.first)
    structured = cell.bed in STRUCTURED and "seasonal_naive" in bank.members
    reference = bank.quantiles[bank.member_index("seasonal_naive" if structured else "random_walk")]
    quantiles = bank.quantiles[bank.member_index("chronos")]
    answered = np.isfinite(quantiles).all(axis=(1, 2))
    own = figures(quantiles, bank)
    base = figures(np.where(answered[:, None, None], reference, np.nan), bank)
    return Figure(
        bed=cell.bed,
        series=cell.series,
        steps=cell.steps,
        wql=own["wql"] / base["wql"],
        rmse=own["path_rmse"] / base["path_rmse"],
        coverage80=own["coverage80"],
        coverage95=own["coverage95"],
        cutoffs=int(own["n"]),
    )


def table_of(found: list[Figure]) -> pd.DataFrame:
    """One row per bed and horizon."""
    frame = pd.DataFrame([asdict(figure) for figure in found])
    rows = []
    for (bed, steps), group in frame.groupby(["bed", "steps"], sort=False):
        rows.append(
            {
                "bed": bed,
                "steps": int(steps),
                "wql": mean_ratio(group["wql"]),
                "worst": float(group["wql"].max()),
                "rmse": mean_ratio(group["rmse"]),
                "coverage80": 100 * float(np.average(group["coverage80"], weights=group["cutoffs"])),
                "coverage95": 100 * float(np.average(group["coverage95"], weights=group["cutoffs"])),
                "farthest80": 100 * float((group["coverage80"] - 0.8).abs().max()),
                "series": len(group),
                "cutoffs": int(group["cutoffs"].sum()),
            }
        )
    return pd.DataFrame(rows).sort_values(["bed", "steps"])


def main() -> None:
    """Run the beds, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="horizoncast-bolt-micro")
    parser.add_argument("--beds", nargs="*", default=["ecb14", "structured"])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=WORK / "checkpoint.json")
    options = parser.parse_args()
    started, found = time.process_time(), []
    for cell in cells_of(options.beds, quick=options.quick):
        found.append(figure_of(cell, options.model))
        print(f"{time.process_time() - started:.0f} CPU s {asdict(found[-1])}", flush=True)
    table = table_of(found)
    print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
    structured = [figure.wql for figure in found if figure.bed in STRUCTURED]
    if structured:
        print(f"structured beds, mean ratio to seasonal naive: {np.mean(structured):.3f}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = table.round(4).to_dict("records")
    options.out.write_text(json.dumps({"model": options.model, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
