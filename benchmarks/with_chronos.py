"""What the shipped ensemble gains from the member `chronos`, without running the other members again.

    python benchmarks/with_chronos.py [--beds ecb14 clp structured] [--out FILE]

Reads the members' forecasts that ``accuracy.py`` wrote (benchmarks/work/forecasts), adds the checkpoint's at
the same cutoffs, and replays every decision twice, with it and without, on the cutoffs both can decide.
Ratios to the reference of ``accuracy.py``, geometric mean over series; RMSE is the path RMSE. The member
is as shipped, but answers all past cutoffs also where the checkpoint unrolls. Rows of beds that are not run
are kept.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np
import pandas as pd

from accuracy import WRITTEN_LEVELS, cutoff_plan, figures, mean_ratio
from beds import RESULTS, WORK, Cell, cells_of, engine_config
from checkpoint import config_of
from horizoncast.bank import Bank
from horizoncast.engine import ForecastEngine
from horizoncast.ensemble.replay import replay
from horizoncast.policy.states import MemberState

MEMBERS = ("random_walk", "seasonal_naive", "arima_garch", "var", "random_forest")
FIGURES = ("wql", "path_rmse", "coverage80", "coverage95")


def banks_of(cell: Cell, model: str) -> tuple[Bank, Bank, str]:
    """The written members alone, the same with the checkpoint, and the reference."""
    written = pd.read_parquet(WORK / "forecasts" / f"{cell.name}.parquet")
    series = cell.load(cell.series)
    fresh, _ = ForecastEngine(config_of(cell, model)).fill(series, cutoff_plan(cell, series))
    first = written[written["subject"] == written["subject"].iloc[0]]
    cutoffs = first["cutoff"].to_numpy().astype("datetime64[s]")[:: cell.steps]
    at = np.searchsorted(fresh.cutoffs, cutoffs)
    if not (fresh.cutoffs[at] == cutoffs).all():
        raise SystemExit(
            f"{cell.name}: the written cutoffs are not those of this code; run accuracy.py again"
        )
    names = tuple(name for name in MEMBERS if name in set(written["subject"]))
    columns = [f"q{level:g}" for level in WRITTEN_LEVELS]
    shape = (len(cutoffs), cell.steps, len(WRITTEN_LEVELS))
    members = [
        fresh.scale.forward(written.loc[written["subject"] == name, columns].to_numpy()).reshape(shape)
        for name in names
    ]
    keep = [fresh.level_index(level) for level in WRITTEN_LEVELS]
    chronos = fresh.quantiles[fresh.member_index("chronos")][at][..., keep]
    quantiles = np.stack([*members, chronos])
    both = Bank(
        members=(*names, "chronos"),
        cutoffs=cutoffs,
        ends=fresh.ends[at],
        horizon=fresh.horizon,
        stride=fresh.stride,
        levels=WRITTEN_LEVELS,
        scale=fresh.scale,
        quantiles=quantiles,
        actuals=fresh.actuals[at],
        asked=np.isfinite(quantiles).all(axis=(2, 3)),
        nonnegative=fresh.nonnegative,
    )
    alone = replace(both, members=names, quantiles=quantiles[:-1], asked=both.asked[:-1])
    return alone, both, str(written["reference"].iloc[0])


def compare(cell: Cell, model: str) -> dict[str, Any] | None:
    """Figures of both ensembles on one cell; None where no decision can be replayed."""
    alone, both, reference = banks_of(cell, model)
    least = 40 if both.windows > 100 else 10
    decision = engine_config(cell.steps).decision
    found: dict[str, Any] = {"bed": cell.bed, "steps": cell.steps, "series": cell.series}
    for name, bank in (("without", alone), ("with", both)):
        states = dict.fromkeys(bank.members, MemberState.ON)
        done = replay(bank, states, decision, least=least)
        if not len(done.places):
            return None
        scored = bank.pick(done.places)
        own = figures(done.quantiles, scored)
        base = figures(bank.quantiles[bank.member_index(reference)][done.places], scored)
        for figure in FIGURES:
            ratio = own[figure] / base[figure] if figure in ("wql", "path_rmse") else own[figure]
            found[f"{name}_{figure}"] = ratio
    return found


def main() -> None:
    """Run the beds, print the table and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="horizoncast-bolt-micro")
    parser.add_argument("--beds", nargs="*", default=["ecb14", "clp", "structured"])
    parser.add_argument("--out", type=Path, default=RESULTS / "with_chronos.json")
    options = parser.parse_args()
    rows = []
    for cell in cells_of(options.beds):
        row = compare(cell, options.model)
        rows += [] if row is None else [row]
        print(cell.name if row is None else row, flush=True)
    table = []
    for (bed, steps), group in pd.DataFrame(rows).groupby(["bed", "steps"]):
        entry: dict[str, Any] = {"bed": bed, "steps": int(steps), "series": len(group)}
        for name in ("without", "with"):
            for figure in FIGURES:
                values = group[f"{name}_{figure}"]
                mean = mean_ratio(values) if figure in ("wql", "path_rmse") else float(values.mean())
                entry[f"{name}_{figure}"] = round(mean, 4)
        table.append(entry)
    print(pd.DataFrame(table).to_string(index=False))
    table = sorted([*kept_rows(options.out, options.model, table), *table], key=_place)
    options.out.write_text(json.dumps({"model": options.model, "rows": table}, indent=1) + "\n")


def kept_rows(path: Path, model: str, table: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of an earlier run with this model, of beds and horizons that were not run now."""
    known = json.loads(path.read_text()) if path.exists() else {"model": model, "rows": []}
    run = {_place(row) for row in table}
    return [row for row in known["rows"] if known["model"] == model and _place(row) not in run]


def _place(row: dict[str, Any]) -> tuple[str, int]:
    return str(row["bed"]), int(row["steps"])


if __name__ == "__main__":
    main()
