"""The hybrid against its parts, and the full ensemble against its members, on cells fixed beforehand.

    python benchmarks/hybrid.py [--beds ecb14 clp structured] [--fill] [--deployment full] [--out FILE]

The cells are those of hybrid_cells.toml. Their banks (every member at every cutoff, the Autoformer fitted
from scratch at each of its re-fit points) lie below benchmarks/work/hybrid; ``--fill`` computes those that
are missing, an hour or two of CPU time in all. Then every decision is replayed with the slice of its own
cutoff, the hybrid on.

Hybrid against the better part: at each cutoff the part whose loss was smaller on the slice stands for "the
better one", so the choice is as blind as the hybrid is. Ratios of WQL over nine deciles on the lead grid;
within 0.1 % is a tie. Coverage over all leads, averaged over the cells of a horizon.
"""

from __future__ import annotations

import argparse
import json
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np
import pandas as pd

from accuracy import cutoff_plan, figures, mean_ratio
from beds import RESULTS, ROOT, WORK, Cell, cells_of, engine_config
from horizoncast.bank import Bank
from horizoncast.engine import ForecastEngine, HybridSetting
from horizoncast.engine.hybrid import fusion_of
from horizoncast.ensemble.hybrid import path_losses
from horizoncast.ensemble.records import BRANCHES, HYBRID
from horizoncast.ensemble.replay import replay
from horizoncast.horizon import Horizon
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.series import Series

BANKS = WORK / "hybrid"
SCORED = 160
"""Newest cutoffs that are scored on exchange rates; the other beds are scored as in accuracy.py."""
TIE = 0.001
FULL = "ensemble"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One subject on one cell, on the cutoffs where a hybrid could be made."""

    bed: str
    series: str
    steps: int
    subject: str
    wql: float
    coverage80: float
    coverage95: float
    cutoffs: int


def wanted_cells(beds: list[str]) -> Iterator[Cell]:
    """The cells of the file, those of the named beds."""
    listed = tomllib.loads((ROOT / "benchmarks" / "hybrid_cells.toml").read_text())["cells"]
    known = {(c.bed, c.series, c.steps): c for c in cells_of(beds)}
    for key in (tuple(item) for item in listed):
        if key in known:
            cell = known[key]
            yield replace(cell, most=SCORED) if cell.bed in {"ecb14", "clp"} else cell


def bank_of(cell: Cell, series: Series, *, fill: bool) -> Bank | None:
    """The cell's bank from its file; computed where it is missing and may be."""
    place = BANKS / f"{cell.name.replace(':', '_')}.npz"
    if place.exists():
        return read_bank(place, series)
    if not fill:
        return None
    config = engine_config(cell.steps, BRANCHES)
    members = tuple(
        replace(m, config=replace(m.config, unrolled_cutoffs=1000))
        if isinstance(m.config, ChronosConfig)
        else m
        for m in config.members
    )
    bank, _ = ForecastEngine(replace(config, members=members)).fill(series, cutoff_plan(cell, series))
    write_bank(place, bank)
    return bank


def write_bank(place: Path, bank: Bank) -> None:
    """Arrays of a bank and what names them."""
    place.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        place,
        members=np.array(bank.members),
        levels=np.array(bank.levels),
        cutoffs=bank.cutoffs,
        ends=bank.ends,
        quantiles=bank.quantiles,
        actuals=bank.actuals,
        stride=bank.stride,
    )


def read_bank(place: Path, series: Series) -> Bank:
    """A bank from its file; a member that never answered is left out."""
    with np.load(place) as found:
        quantiles = found["quantiles"]
        asked = np.isfinite(quantiles).all(axis=(2, 3))
        kept = asked.any(axis=1)
        return Bank(
            members=tuple(str(name) for name in found["members"][kept]),
            cutoffs=found["cutoffs"].astype("datetime64[s]"),
            ends=found["ends"].astype("datetime64[s]"),
            horizon=Horizon(steps=quantiles.shape[2]),
            stride=int(found["stride"]),
            levels=tuple(float(level) for level in found["levels"]),
            scale=series.scale,
            quantiles=quantiles[kept],
            actuals=found["actuals"],
            asked=asked[kept],
            nonnegative=series.nonnegative,
        )


def rows_of(cell: Cell, series: Series, bank: Bank, deployment: str) -> list[Row]:
    """Figures of the parts, the better of them, the hybrid, every member and the ensemble."""
    config = replace(
        engine_config(cell.steps, BRANCHES),
        hybrid=HybridSetting(state=MemberState.ON, config=HybridConfig(deployment=deployment)),
    )
    states = dict.fromkeys(bank.members, MemberState.ON)
    live = bank.pick(np.array([bank.windows - 1]))
    fusion, _ = fusion_of(series, bank.pick(np.arange(bank.windows - 1)), live, config, {})
    least = 40 if bank.windows > 100 else 10
    done = replay(bank, states, config.decision, least=least, fusion=fusion)
    made = np.isfinite(done.hybrid).all(axis=(1, 2)) if done.hybrid is not None else np.zeros(0, dtype=bool)
    if not made.any() or done.hybrid is None:
        return []
    places = done.places[made]
    scored = bank.pick(places)
    subjects = {name: bank.quantiles[k, places] for k, name in enumerate(bank.members)}
    subjects["better_part"] = better_part(bank, places, config.decision.newest)
    subjects[HYBRID] = done.hybrid[made]
    subjects[FULL] = done.quantiles[made]
    rows = []
    for name, quantiles in subjects.items():
        if not np.isfinite(quantiles).all():
            continue
        own = figures(quantiles, scored)
        rows.append(
            Row(
                bed=cell.bed,
                series=cell.series,
                steps=cell.steps,
                subject=name,
                wql=own["wql"],
                coverage80=100 * own["coverage80"],
                coverage95=100 * own["coverage95"],
                cutoffs=len(places),
            )
        )
    return rows


def better_part(bank: Bank, places: np.ndarray, newest: int) -> np.ndarray:
    """Rows of the part with the smaller loss on each cutoff's own slice, (R, H, Q)."""
    parts = bank.select(BRANCHES)
    out = []
    for w in places:
        past = parts.slice_at(bank.cutoffs[w], newest)
        out.append(parts.quantiles[int(np.argmin(path_losses(past, past.quantiles))), w])
    return np.stack(out)


def summary_of(frame: pd.DataFrame) -> dict[str, Any]:
    """Cells won, sums, coverage by horizon, and the ensemble beside every member."""
    table = frame.pivot_table(index=["bed", "series", "steps"], columns="subject", values="wql")
    ratio = table[HYBRID] / table["better_part"]
    decided = ratio[(ratio - 1.0).abs() > TIE]
    coverage = frame[frame["subject"] == HYBRID].groupby("steps")[["coverage80", "coverage95"]].mean()
    members = [c for c in table.columns if c not in {FULL, "better_part", HYBRID}]
    beside = {name: over_beds(table[FULL] / table[name]) for name in members}
    return {
        "cells": len(ratio),
        "at_or_below_the_better_part": int((ratio <= 1.0 + TIE).sum()),
        "clearly_below": int((decided < 1.0).sum()),
        "ties": int(len(ratio) - len(decided)),
        "clearly_above": int((decided > 1.0).sum()),
        "mean_ratio": mean_ratio(ratio),
        "mean_ratio_by_bed": {bed: mean_ratio(group) for bed, group in ratio.groupby(level="bed")},
        "sum_of_wql_over_better_part": {"hybrid": float(ratio.sum()), "better_part": float(len(ratio))},
        "sum_over_the_better_in_hindsight": {
            "hybrid": float((table[HYBRID] / table[list(BRANCHES)].min(axis=1)).sum()),
            "better_part": float((table["better_part"] / table[list(BRANCHES)].min(axis=1)).sum()),
        },
        "coverage_by_horizon": coverage.round(1).T.to_dict(),
        "ensemble_over_member": beside,
    }


def over_beds(ratio: pd.Series) -> float:
    """Geometric mean over the cells of each bed, and over the beds."""
    return mean_ratio(pd.Series([mean_ratio(group) for _, group in ratio.dropna().groupby(level="bed")]))


def main() -> None:
    """Fill, score, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--beds", nargs="*", default=["ecb14", "clp", "structured"])
    parser.add_argument("--fill", action="store_true", help="compute banks that are missing")
    parser.add_argument("--deployment", default="full")
    parser.add_argument("--out", type=Path, default=RESULTS / "hybrid.json")
    options = parser.parse_args()
    rows: list[Row] = []
    for cell in wanted_cells(options.beds):
        series = cell.load(cell.series)
        bank = bank_of(cell, series, fill=options.fill)
        if bank is None:
            print(f"{cell.name}: no bank; --fill computes it")
            continue
        found = rows_of(cell, series, bank, options.deployment)
        rows += found
        told = {row.subject: row.wql for row in found}
        if told:
            better = told["better_part"]
            words = [f"{n} {told[n] / better:.4f}" for n in (*BRANCHES, HYBRID, FULL, *NAIVES) if n in told]
            print(f"{cell.name}, relative to the better part: {', '.join(words)}", flush=True)
    frame = pd.DataFrame([vars(row) for row in rows])
    summary = summary_of(frame)
    print(json.dumps(summary, indent=1))
    cells = frame[frame["subject"].isin([*BRANCHES, "better_part", HYBRID, FULL])]
    content = {"deployment": options.deployment, "summary": summary, "cells": cells.to_dict("records")}
    options.out.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
