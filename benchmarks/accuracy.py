"""Accuracy of members, rules and the shipped pipeline on every test bed.

    python benchmarks/accuracy.py [--quick] [--beds ecb14 clp ...] [--split report|tune] [--jobs 2]
        [--with autoformer [--alone] [--every 3]]

Banks are computed once per series and horizon (kept below benchmarks/work), then every decision is
replayed from what had matured at its cutoff. Every scored forecast is written to Parquet;
``rescore.py`` recomputes the table from those files and the raw data without this package.
With ``--alone`` only the naives and the members named by ``--with`` are scored, on the same cutoffs;
``--every 3`` keeps those of every third re-fit point of the Autoformer.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import exp, log
from pathlib import Path
from typing import Any
from unittest.mock import patch

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import numpy as np
import pandas as pd

from beds import RESULTS, WORK, Cell, cells_of, engine_config
from horizoncast import metrics
from horizoncast.bank import Bank
from horizoncast.engine import ForecastEngine
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.ensemble.replay import replay
from horizoncast.ensemble.weights import RULE_NAMES
from horizoncast.horizon import DECILES, Horizon
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.member import Autoformer, AutoformerState
from horizoncast.models.registry import NAIVES, NEEDS
from horizoncast.policy.states import MemberState
from horizoncast.series import History, Series
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.splitter import CutoffPlan, matured_rows

WRITTEN_LEVELS = (0.025, *DECILES, 0.975)


@dataclass(frozen=True, kw_only=True)
class Row:
    """Figures of one subject on one series at one horizon, relative to the reference."""

    bed: str
    series: str
    horizon: int
    subject: str
    rmse: float
    path_rmse: float
    wql: float
    is95: float
    coverage80: float
    coverage95: float
    kappa: float
    n: int
    data: str


def cutoff_plan(cell: Cell, series: Series) -> CutoffPlan:
    """Cutoffs that are scored, and before them those that fill their slices."""
    horizon = Horizon(steps=cell.steps)
    engine = ForecastEngine(engine_config(cell.steps))
    short = engine.plan(series, horizon)
    rows = matured_rows(series, horizon, short.stride, engine.min_train(series, horizon))
    dates = series.dates[rows]
    if cell.every > 1:
        dates = dates[(series.ordinals[rows] // AutoformerConfig().refit_every) % cell.every == 0]
    if cell.last is not None:
        dates = dates[dates < cell.last]
    ahead = 0 if cell.alone else 40 + horizon.cutoffs_per_horizon(short.stride) + 1
    if cell.first is not None:
        first = max(0, int(np.searchsorted(dates, cell.first)) - ahead)
        dates = dates[first:]
    if cell.most is not None:
        dates = dates[-(cell.most + ahead) :]
    return CutoffPlan(
        cutoffs=dates, live=series.last, stride=short.stride, wanted=len(dates), horizon=horizon
    )


def fill_bank(cell: Cell, series: Series) -> Bank:
    """Every member at every cutoff, from the cache where nothing changed."""
    config = engine_config(cell.steps, cell.extra)
    if cell.alone:
        config = replace(config, members=tuple(m for m in config.members if m.name in cell.extra))
    engine = ForecastEngine(config, cache=BankCache(WORK / "cache" / cell.bed))
    bank, _ = engine.fill(series, cutoff_plan(cell, series))
    return bank


def subjects_of(cell: Cell, bank: Bank) -> tuple[np.ndarray, dict[str, np.ndarray], list[float]]:
    """Replayed cutoffs (places in the bank), quantiles by subject on them, and kappas."""
    if cell.alone:
        places = np.arange(bank.windows)
        alone = {name: bank.quantiles[k] for k, name in enumerate(bank.members)}
        if "autoformer" in alone:
            alone["autoformer_step0"] = untrained(cell)
        return places, alone, []
    config = engine_config(cell.steps, cell.extra)
    states = {m.name: m.state for m in config.members} | dict.fromkeys(NAIVES, MemberState.ON)
    shipped = replay(bank, states, config.decision, least=_slice_size(bank))
    keep = np.ones(len(shipped.places), dtype=bool)
    if cell.first is not None:
        keep &= shipped.cutoffs >= cell.first
    places = shipped.places[keep]
    subjects = {name: bank.quantiles[k, places] for k, name in enumerate(bank.members)}
    for rule in RULE_NAMES:
        plain = DecisionConfig(rule=rule, shrink=False, calibrate=False)
        subjects[rule] = replay(bank, states, plain, least=_slice_size(bank)).quantiles[keep]
    subjects["shipped"] = shipped.quantiles[keep]
    if "autoformer" in bank.members:
        subjects["autoformer_step0"] = untrained(cell)[places]
    return places, subjects, [d.kappa for d, k in zip(shipped.decisions, keep, strict=True) if k]


def untrained(cell: Cell) -> np.ndarray:
    """Quantiles (W, H, Q) of the Autoformer before its first step, on the same cutoffs."""
    series = cell.load(cell.series)
    config = engine_config(cell.steps, ("autoformer",))
    members = tuple(
        replace(m, config=AutoformerConfig(steps=0)) for m in config.members if m.name in ("autoformer",)
    )
    bank, _ = ForecastEngine(replace(config, members=members)).fill(series, cutoff_plan(cell, series))
    return bank.quantiles[bank.member_index("autoformer")]


def _slice_size(bank: Bank) -> int:
    """Full slices where the bank is long enough, else the smallest that decides anything."""
    return 40 if bank.windows > 100 else 10


def score_cell(cell: Cell) -> list[Row]:
    """All rows of one cell; its forecasts go to Parquet."""
    series = cell.load(cell.series)
    with steps_of_autoformer() as steps:
        bank = fill_bank(cell, series)
    if steps:
        print(f"{cell.name}: autoformer's chosen steps and shares {steps}", flush=True)
    places, subjects, kappas = subjects_of(cell, bank)
    scored = bank.pick(places)
    reference = _reference(bank)
    write_forecasts(cell, scored, subjects, series, reference)
    digest = series.digests()[-1]
    base = figures(subjects[reference], scored)
    rows = []
    for name, quantiles in subjects.items():
        own = figures(quantiles, scored)
        same = base if own["n"] == base["n"] else figures(_masked(subjects[reference], quantiles), scored)
        rows.append(
            Row(
                bed=cell.bed,
                series=cell.series,
                horizon=cell.steps,
                subject=name,
                rmse=own["rmse"] / same["rmse"],
                path_rmse=own["path_rmse"] / same["path_rmse"],
                wql=own["wql"] / same["wql"],
                is95=own["is95"] / same["is95"],
                coverage80=own["coverage80"],
                coverage95=own["coverage95"],
                kappa=float(np.mean(kappas)) if name == "shipped" else float("nan"),
                n=int(own["n"]),
                data=digest,
            )
        )
    return rows


@contextmanager
def steps_of_autoformer() -> Iterator[list[tuple[int, float]]]:
    """Step and share of the network at each fit inside the body; cached rows need none."""
    found: list[tuple[int, float]] = []
    fit = Autoformer.fit

    def watched(member: Autoformer, history: History, horizon: Horizon) -> AutoformerState:
        state = fit(member, history, horizon)
        if state.trained is not None:
            found.append((state.trained.chosen[0], round(state.trained.share, 2)))
        return state

    with patch.object(Autoformer, "fit", watched):
        yield found


def _masked(reference: np.ndarray, quantiles: np.ndarray) -> np.ndarray:
    """The reference on the cutoffs that a subject answered."""
    answered = np.isfinite(quantiles).all(axis=(1, 2))
    return np.where(answered[:, None, None], reference, np.nan)


def _reference(bank: Bank) -> str:
    """The random walk, or the seasonal naive where it is the better of the two on the first half."""
    if "seasonal_naive" not in bank.members:
        return "random_walk"
    half = bank.pick(np.arange(bank.windows) < bank.windows // 2)
    error = {}
    for name in NAIVES:
        point = half.median[half.member_index(name)][:, half.leads]
        error[name] = metrics.rmse(half.actuals[:, half.leads], point)
    return min(error, key=lambda name: error[name])


def figures(quantiles: np.ndarray, bank: Bank) -> dict[str, float]:
    """Figures of one subject in the scale: grid leads for RMSE and WQL, all leads for coverage."""
    leads = bank.leads
    at = {level: bank.level_index(level) for level in (0.025, 0.1, 0.5, 0.9, 0.975)}
    deciles = [bank.level_index(level) for level in DECILES]
    actual = np.where(np.isfinite(quantiles).all(axis=-1), bank.actuals, np.nan)
    q = {level: quantiles[..., k] for level, k in at.items()}
    return {
        "rmse": metrics.rmse(actual[:, leads], q[0.5][:, leads]),
        "path_rmse": metrics.path_rmse(actual[:, leads], q[0.5][:, leads], leads + 1),
        "wql": metrics.quantile_loss(actual[:, leads], quantiles[:, leads][..., deciles], DECILES),
        "is95": metrics.interval_score(actual, q[0.025], q[0.975], 0.95),
        "coverage80": metrics.coverage(actual, q[0.1], q[0.9]),
        "coverage95": metrics.coverage(actual, q[0.025], q[0.975]),
        "n": float(np.isfinite(actual).any(axis=1).sum()),
    }


def write_forecasts(
    cell: Cell, bank: Bank, subjects: dict[str, np.ndarray], series: Series, reference: str
) -> None:
    """One row per subject, cutoff and step, in the unit."""
    at = [bank.level_index(level) for level in WRITTEN_LEVELS]
    dates = np.stack([series.session_dates(c, cell.steps) for c in bank.cutoffs])
    frames = []
    for name, quantiles in subjects.items():
        unit = bank.scale.backward(quantiles[..., at]).reshape(-1, len(at))
        frame = pd.DataFrame({f"q{level:g}": unit[:, i] for i, level in enumerate(WRITTEN_LEVELS)})
        frame.insert(0, "step", np.tile(np.arange(1, cell.steps + 1), bank.windows))
        frame.insert(0, "date", dates.reshape(-1))
        frame.insert(0, "cutoff", np.repeat(bank.cutoffs, cell.steps))
        frame.insert(0, "subject", name)
        frames.append(frame)
    folder = WORK / "forecasts"
    folder.mkdir(parents=True, exist_ok=True)
    table = pd.concat(frames, ignore_index=True)
    table["actual"] = np.tile(bank.scale.backward(bank.actuals).reshape(-1), len(subjects))
    table["scale"], table["reference"] = str(bank.scale), reference
    table.to_parquet(folder / f"{cell.name}.parquet", index=False)


def mean_ratio(values: pd.Series) -> float:
    """Geometric mean over series."""
    return exp(float(np.mean([log(v) for v in values])))


def aggregate(rows: pd.DataFrame) -> pd.DataFrame:
    """One row per bed, horizon and subject."""
    out = []
    for (bed, horizon, subject), group in rows.groupby(["bed", "horizon", "subject"], sort=False):
        out.append(
            {
                "bed": bed,
                "horizon": int(horizon),
                "subject": subject,
                "rmse_ratio": mean_ratio(group["rmse"]),
                "path_rmse_ratio": mean_ratio(group["path_rmse"]),
                "wql_ratio": mean_ratio(group["wql"]),
                "is95_ratio": mean_ratio(group["is95"]),
                "coverage80": float(np.average(group["coverage80"], weights=group["n"])),
                "coverage95": float(np.average(group["coverage95"], weights=group["n"])),
                "mean_kappa": None if group["kappa"].isna().any() else float(group["kappa"].mean()),
                "n": int(group["n"].sum()),
            }
        )
    return pd.DataFrame(out)


def main() -> None:
    """Run the beds and write benchmarks/results/accuracy.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--beds", nargs="*", default=None)
    parser.add_argument("--split", choices=("report", "tune"), default="report")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--only", nargs="*", type=int, default=None, help="horizons")
    parser.add_argument("--with", nargs="*", default=[], choices=sorted(NEEDS), dest="extra")
    parser.add_argument("--alone", action="store_true", help="only the naives and those of --with")
    parser.add_argument("--every", type=int, default=1, help="keep every n-th re-fit point")
    options = parser.parse_args()
    cells = [
        replace(cell, extra=tuple(options.extra), alone=options.alone, every=options.every)
        for cell in cells_of(options.beds, quick=options.quick, tune=options.split == "tune")
        if options.only is None or cell.steps in options.only
    ]
    started = time.monotonic()
    rows: list[Row] = []
    with ProcessPoolExecutor(max_workers=options.jobs) as pool:
        for done, result in enumerate(pool.map(score_cell, cells), 1):
            rows += result
            print(
                f"{done}/{len(cells)} {cells[done - 1].name} {time.monotonic() - started:.0f} s", flush=True
            )
    frame = pd.DataFrame([vars(r) for r in rows])
    table = aggregate(with_held_out(frame))
    print(table.to_string(index=False, float_format=lambda v: f"{v:.4f}"))
    name = "accuracy.json" if options.split == "report" and not options.quick else "accuracy-partial.json"
    if options.alone:
        name = f"accuracy-{'-'.join(options.extra)}.json"
    path = options.out or (WORK if name == "accuracy-partial.json" else RESULTS) / name
    write_results(path, table, frame)


def with_held_out(frame: pd.DataFrame) -> pd.DataFrame:
    """Add the bed of the seven currencies that no rule was chosen on."""
    from beds import HELD_OUT

    held = frame[(frame["bed"] == "ecb14") & frame["series"].isin(HELD_OUT)]
    return pd.concat([frame, held.assign(bed="ecb14_heldout")], ignore_index=True)


def write_results(path: Path, table: pd.DataFrame, frame: pd.DataFrame) -> None:
    """The table with what it was computed from; rows of beds that were not run are kept."""
    head: dict[str, Any] = {
        "git": _git("rev-parse", "HEAD"),
        "dirty": bool(_git("status", "--porcelain")),
        "data": hashlib.sha256("".join(sorted(set(frame["data"]))).encode()).hexdigest()[:16],
    }
    beds = set(table["bed"])
    kept = []
    if path.exists():
        kept = [row for row in json.loads(path.read_text())["rows"] if row["bed"] not in beds]
    rows = [{**row, **head} for row in table.astype(object).where(table.notna(), None).to_dict("records")]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"rows": kept + rows}, indent=1, default=float) + "\n")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    main()
