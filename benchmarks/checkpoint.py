"""A Chronos checkpoint on its own, zero-shot, on the test beds.

    python benchmarks/checkpoint.py [--model NAME_OR_FOLDER] [--beds ecb14 structured] [--season off auto]
        [--quick] [--out FILE] [--card FOLDER]

The member `chronos` answers every cutoff of a bed with its shipped contexts, also where the checkpoint
unrolls; no weights, no skill factor, no width factor. ``--season off`` is the checkpoint itself, zero-shot:
what its card states. ``auto`` is the member as shipped, which reads some series as differences from their
last seasons; on series without periods the two are one. Reference: the random walk with EWMA volatility on
the exchange rates (cutoffs from 2018), seasonal naive on the structured beds. Ratios of WQL over nine
deciles on the lead grid, geometric mean over series; coverage over all leads. ``--card FOLDER`` puts
the tables into a model's card and manifest, as ``horizoncast models pretrain --scores FILE`` does with the
file that is written.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np
import pandas as pd

from accuracy import cutoff_plan, figures, mean_ratio
from beds import STRUCTURED, WORK, Cell, cells_of, engine_config
from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.models.chronos.config import AUTO, OFF, ON, ChronosConfig
from horizoncast.models.chronos.pretrain.export import put_scores
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState

Season = Literal["off", "auto", "on"]
KEYS: dict[Season, str] = {OFF: "rows", AUTO: "member", ON: "forced"}
"""Where a table stands in the file: `rows` and `member` are what the model's card shows."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One series at one horizon."""

    season: str
    bed: str
    series: str
    steps: int
    wql: float
    rmse: float
    coverage80: float
    coverage95: float
    cutoffs: int


ALL_CUTOFFS = 1000
"""More than any bed has: the newest 20, which a service asks for where a checkpoint unrolls, can flatter."""


def config_of(cell: Cell, model: str, season: Season = AUTO) -> EngineConfig:
    """The naives and the checkpoint at all cutoffs, its context that of the service."""
    config = engine_config(cell.steps, ("chronos",))
    members = tuple(
        replace(m, state=MemberState.ON, config=own_config(m.config, model, season))
        if isinstance(m.config, ChronosConfig)
        else m
        for m in config.members
        if m.name in (*NAIVES, "chronos")
    )
    return replace(config, members=members)


def own_config(config: ChronosConfig, model: str, season: Season) -> ChronosConfig:
    """The member's settings with a checkpoint and a way to read seasons."""
    return replace(config, model=model, season=season, unrolled_cutoffs=ALL_CUTOFFS)


def figures_of(cell: Cell, model: str, seasons: Sequence[Season]) -> list[Figure]:
    """The checkpoint on one cell, read in each of these ways; computed once on a series without periods."""
    if cell.load(cell.series).periods:
        return [figure_of(cell, model, season) for season in seasons]
    only = figure_of(cell, model, seasons[0])
    return [replace(only, season=season) for season in seasons]


def figure_of(cell: Cell, model: str, season: Season) -> Figure:
    """The checkpoint against the reference on one cell."""
    series = cell.load(cell.series)
    bank, _ = ForecastEngine(config_of(cell, model, season)).fill(series, cutoff_plan(cell, series))
    if cell.first is not None:
        bank = bank.pick(bank.cutoffs >= cell.first)
    structured = cell.bed in STRUCTURED and "seasonal_naive" in bank.members
    reference = bank.quantiles[bank.member_index("seasonal_naive" if structured else "random_walk")]
    quantiles = bank.quantiles[bank.member_index("chronos")]
    answered = np.isfinite(quantiles).all(axis=(1, 2))
    own = figures(quantiles, bank)
    base = figures(np.where(answered[:, None, None], reference, np.nan), bank)
    return Figure(
        season=season,
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
    """One row per bed and horizon, of figures of one season."""
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
    parser.add_argument("--season", nargs="*", choices=(OFF, AUTO, ON), default=[OFF, AUTO])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--out", type=Path, default=WORK / "checkpoint.json")
    parser.add_argument("--card", type=Path, help="folder of a model that was made here")
    options = parser.parse_args()
    if options.card is not None and OFF not in options.season:
        parser.error("--card needs --season off: a card states the checkpoint itself")
    started, found = time.process_time(), []
    for cell in cells_of(options.beds, quick=options.quick):
        for figure in figures_of(cell, options.model, options.season):
            found.append(figure)
            print(f"{time.process_time() - started:.0f} CPU s {asdict(figure)}", flush=True)
    written: dict[str, object] = {"model": options.model}
    for season in options.season:
        mine = [figure for figure in found if figure.season == season]
        table = table_of(mine)
        print(f"season {season}")
        print(table.to_string(index=False, float_format=lambda value: f"{value:.4f}"))
        structured = [figure.wql for figure in mine if figure.bed in STRUCTURED]
        if structured:
            print(f"structured beds, mean ratio to seasonal naive: {np.mean(structured):.3f}")
        written[KEYS[season]] = table.round(4).to_dict("records")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(written, indent=1) + "\n")
    if options.card is not None:
        put_scores(options.card, {key: value for key, value in written.items() if key != "model"})


if __name__ == "__main__":
    main()
