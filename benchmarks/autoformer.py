"""The Autoformer against its own step 0, the naives and a planted signal; what it costs.

    python benchmarks/autoformer.py beds [--cells bike_demand/7 ecb:JPY/30 ...] [--most 60]
    python benchmarks/autoformer.py cost | signal | exchange | unseen | methods | peer

Each command prints a table and writes it as JSON below benchmarks/results (or work with --most).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np

from beds import RESULTS, ecb_series, structured_series
from horizoncast import metrics
from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.ecb import ecb_pair
from horizoncast.forecast import Forecast
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.losses import normal_levels
from horizoncast.models.autoformer.member import Autoformer, AutoformerState
from horizoncast.models.registry import make_member
from horizoncast.series import Covariate, History, Scale, Series

STRUCTURED = (
    "bike_demand/7", "bike_demand/15", "electricity/24", "electricity/168", "tourism:Victoria/4",
    "tourism:Australia/8", "airpassengers/12", "walmart:1_3/8", "walmart:1_8/8",
)  # fmt: skip
CROSSES = ("ecb:JPY/7", "ecb:JPY/30", "ecb:BRL/30", "ecb:GBP/30", "ecb:JPY/90")


class Recorded(Autoformer):
    """The member, remembering what each fit chose."""

    def __init__(self, config: AutoformerConfig) -> None:
        super().__init__(config, service="benchmark")
        self.chosen: list[int] = []
        self.shares: list[float] = []

    def fit(self, history: History, horizon: Horizon) -> AutoformerState:
        state = super().fit(history, horizon)
        if state.trained is not None:
            self.chosen.append(state.trained.chosen[0])
            self.shares.append(state.trained.share)
        return state


def load(name: str) -> Series:
    return ecb_series(name[4:]) if name.startswith("ecb:") else structured_series(name)


def cutoffs_of(series: Series, steps: int, most: int) -> list[np.datetime64]:
    """Matured cutoffs, newest first, of the last half of the series; two seasons first."""
    last = len(series) - steps - 1
    first = max(len(series) // 2, 2 * min(series.periods, default=1))
    stride = max(1, min(10, (last - first) // most))
    return [series.dates[row] for row in range(last, first, -stride)][:most]


def scored(member: Any, series: Series, cutoffs: Sequence[np.datetime64], steps: int) -> dict[str, float]:
    """WQL over deciles, path RMSE and coverage in the scale."""
    horizon = Horizon(steps=steps)
    found = list(member.forecast(series, cutoffs, horizon, LEVELS))
    bad = [f for f in found if not isinstance(f, Forecast)]
    if bad:
        raise RuntimeError(f"{series.name}: {len(bad)} cutoffs without an answer, first {bad[0]}")
    q = series.scale.forward(np.stack([f.quantiles for f in found]))
    y = series.scale.forward(np.stack([series.actuals(f.cutoff, f.dates) for f in found]))
    at = [LEVELS.index(level) for level in DECILES]
    return {
        "wql": metrics.quantile_loss(y, q[..., at], DECILES),
        "path_rmse": metrics.path_rmse(y, q[..., LEVELS.index(0.5)], np.arange(1, steps + 1)),
        "coverage80": metrics.coverage(y, q[..., LEVELS.index(0.1)], q[..., LEVELS.index(0.9)]),
        "crps": metrics.crps_quantile(y, q, LEVELS),
        "nll": log_score(y, q),
    }


def log_score(y: np.ndarray, quantiles: np.ndarray) -> float:
    """Mean negative log density: normal scores of the levels, joined by lines, which go on beyond them.

    (W, H) and (W, H, Q) in the scale. The density at y is phi(z(y)) dz/dy.
    """
    z = normal_levels(LEVELS)
    gaps = np.maximum(np.diff(quantiles, axis=-1), 1e-9)
    place = np.clip((quantiles[..., 1:-1] <= y[..., None]).sum(axis=-1), 0, len(z) - 2)
    slope = np.diff(z)[place] / np.take_along_axis(gaps, place[..., None], axis=-1)[..., 0]
    low = np.take_along_axis(quantiles, place[..., None], axis=-1)[..., 0]
    score = z[place] + slope * (y - low)
    return float(np.nanmean(0.5 * score**2 + 0.5 * np.log(2 * np.pi) - np.log(slope)))


def beds(cells: Sequence[str], most: int, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Trained against step 0 and the naives, per series and horizon."""
    rows = []
    for cell in cells:
        name, steps = cell.rsplit("/", 1)
        series, h = load(name), int(steps)
        cutoffs = cutoffs_of(series, h, most)
        member = Recorded(AutoformerConfig(**settings))
        started = time.process_time()
        own = scored(member, series, cutoffs, h)
        cpu = time.process_time() - started
        zero = scored(Autoformer(AutoformerConfig(steps=0)), series, cutoffs, h)
        walk = scored(make_member("random_walk"), series, cutoffs, h)
        season = scored(make_member("seasonal_naive"), series, cutoffs, h) if series.periods else walk
        rows.append(
            {
                "cell": cell,
                "cutoffs": len(cutoffs),
                "wql/step0": own["wql"] / zero["wql"],
                "rmse/step0": own["path_rmse"] / zero["path_rmse"],
                "wql/seasonal": own["wql"] / season["wql"],
                "wql/walk": own["wql"] / walk["wql"],
                "coverage80": own["coverage80"],
                "steps": member.chosen,
                "shares": [round(s, 2) for s in member.shares],
                "cpu_s": cpu,
            }
        )
        print(json.dumps(rows[-1], default=float), flush=True)
    for column in ("wql/step0", "wql/seasonal"):
        print(column, "geometric mean", float(np.exp(np.mean([np.log(r[column]) for r in rows]))))
    return rows


def cost(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """A fit and 40 cutoffs on 5,000 daily points with 4 covariates, 90 steps."""
    rng = np.random.default_rng(0)
    walks = np.cumsum(0.005 * rng.standard_normal((5000, 5)), axis=0)
    series = daily(100 * np.exp(walks[:, 0]), covariates=walks[:, 1:], scale=Scale.LOG)
    member, horizon = Autoformer(AutoformerConfig(**settings)), Horizon(steps=90)
    started = time.process_time()
    state = member.fit(series.until(series.dates[4899]).tail(member.config.window), horizon)
    fit = time.process_time() - started
    started = time.process_time()
    for row in range(4860, 4900):
        member.predict(state, series.until(series.dates[row]), horizon, LEVELS, rng)
    predict = time.process_time() - started
    assert state.trained is not None
    full = replace(state, trained=replace(state.trained, share=1.0))
    started = time.process_time()
    for row in range(4860, 4900):
        member.predict(full, series.until(series.dates[row]), horizon, LEVELS, rng)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    looks = state.trained.curves[0]
    return [
        {
            "fit_cpu_s": fit,
            "steps_run": looks[-1].step,
            "chosen": state.trained.chosen,
            "predict_40_cpu_s": predict,
            "predict_40_network_cpu_s": time.process_time() - started,
            "peak_mb": peak,
        }
    ]


def daily(
    values: np.ndarray,
    *,
    covariates: np.ndarray | None = None,
    scale: Scale = Scale.LEVEL,
    periods: tuple[int, ...] = (),
    known: np.ndarray | None = None,
) -> Series:
    calendar = Calendar(kind=CalendarKind.DAILY)
    columns = [] if covariates is None else list(covariates.T)
    named = [Covariate(name=f"x{p}", values=column) for p, column in enumerate(columns)]
    if known is not None:
        named.append(Covariate(name="known", values=known, known_future=True))
    return Series(
        name="simulated",
        unit="unit",
        calendar=calendar,
        dates=calendar.future(np.datetime64("2008-01-01", "s"), len(values)),
        values=values,
        scale=scale,
        periods=periods,
        covariates=tuple(named),
    )


def planted(seed: int, length: int = 3200) -> tuple[Series, np.ndarray]:
    """A weekly series whose weekday decides how a covariate known in advance acts: sin(weekday) x^2.

    Returns the series and its true conditional mean, (T,).
    """
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(length)
    day = np.arange(length) % 7
    mean = 3.0 * np.sin(2 * np.pi * day / 7) * (1.0 + 0.7 * (x**2 - 1.0))
    series = daily(20.0 + mean + rng.standard_normal(length), periods=(7,), known=x)
    return series, 20.0 + mean


FRESH = (101, 102, 103)
"""Seeds that no setting was chosen on."""


def signal(settings: dict[str, Any]) -> list[dict[str, Any]]:
    """Share of the variance explained by the covariate's effect that the trained network recovers."""
    rows = []
    for seed in FRESH:
        series, truth = planted(seed)
        member, horizon = Recorded(AutoformerConfig(**settings)), Horizon(steps=7)
        cutoffs = [series.dates[row] for row in range(3180, 2960, -7)]
        found = list(member.forecast(series, cutoffs, horizon, LEVELS))
        rowsof = np.array([series.index_of(c) for c in cutoffs])[:, None] + np.arange(1, 8)
        season = 20.0 + 3.0 * np.sin(2 * np.pi * (rowsof % 7) / 7)
        point = np.stack([f.point for f in found])
        effect = truth[rowsof] - season
        missed = np.mean((truth[rowsof] - point) ** 2)
        rows.append(
            {
                "seed": seed,
                "recovered": float(1 - missed / np.mean(effect**2)),
                "steps": member.chosen,
                "shares": member.shares,
            }
        )
        print(rows[-1], flush=True)
    return rows


CURRENCIES = ("AUD", "GBP", "CAD", "CHF", "CNY", "JPY", "NZD", "SGD", "USD")


def exchange(settings: dict[str, Any], names: Sequence[str] = CURRENCIES) -> list[dict[str, Any]]:
    """96 to 96 MSE on nine ECB series per EUR, split 7:1:2, standardised on the training part."""
    totals = {"autoformer": [], "repeat_last": []}
    rows = []
    for name in names:
        dates, values = ecb_pair("EUR", name)
        keep = dates >= np.datetime64("2005-04-01")
        series = Series(
            name=name,
            unit=name,
            calendar=Calendar(kind=CalendarKind.BUSINESS, country="ECB"),
            dates=dates[keep],
            values=values[keep],
        )
        first, test = int(0.7 * len(series)), int(0.8 * len(series))
        unit = series.values[:first].std()
        member = Autoformer(AutoformerConfig(**{"window": first, **settings}))
        state = member.fit(series.until(series.dates[test - 1]).tail(test), Horizon(steps=96))
        errors = []
        for row in range(test - 1, len(series) - 96, 5):
            history = series.until(series.dates[row])
            q = member.predict(
                state, history, Horizon(steps=96), (0.1, 0.5, 0.9), np.random.default_rng(0)
            ).quantiles
            actual = series.values[row + 1 : row + 97]
            misses = np.stack([q[:, 1] - actual, series.values[row] - actual]) / unit
            errors.append(np.mean(misses**2, axis=1))
        mine, last = np.mean(errors, axis=0)
        totals["autoformer"].append(mine)
        totals["repeat_last"].append(last)
        assert state.trained is not None
        rows.append(
            {
                "series": name,
                "mse": mine,
                "repeat_last": last,
                "step": state.trained.chosen[0],
                "share": state.trained.share,
            }
        )
        print(rows[-1], flush=True)
    print({key: float(np.mean(value)) for key, value in totals.items()})
    return rows


WAYS = ("last_layer", "ensemble", "mc_dropout")


def unseen(
    settings: dict[str, Any], ways: Sequence[str] = WAYS, seeds: Sequence[int] = (101, 102, 103)
) -> list[dict[str, Any]]:
    """Epistemic variance on inputs unlike those of training, relative to those like them."""
    rows = []
    for method in ways:
        ratios: dict[str, list[float]] = {}
        areas: dict[str, list[float]] = {}
        for seed in seeds:
            for kind, (normal, strange) in epistemic_of(method, seed, settings).items():
                ratios.setdefault(kind, []).append(float(np.median(strange) / np.median(normal)))
                areas.setdefault(kind, []).append(float(np.mean(strange[:, None] > normal[None, :])))
        for kind in sorted(ratios):
            rows.append(
                {
                    "method": method,
                    "kind": kind,
                    "ratio": float(np.median(ratios[kind])),
                    "auc": float(np.median(areas[kind])),
                    "seeds": len(seeds),
                }
            )
            print(rows[-1], flush=True)
    return rows


KINDS = ("new_seasonality", "variance_burst", "trend_reversal")


def strange_series(kind: str, seed: int, length: int = 1300, change: int = 1200) -> Series:
    """A weekly season on a slow trend that, from row `change`, does what it never did before."""
    rng = np.random.default_rng(seed)
    t = np.arange(length)
    noise = rng.standard_normal(length)
    after = t >= change
    y = 0.02 * t + 3 * np.sin(2 * np.pi * t / 7) + noise
    if kind == "new_seasonality":
        y = y + after * 4 * np.sin(2 * np.pi * t / 11)
    if kind == "variance_burst":
        y = y + after * 4 * rng.standard_normal(length)
    if kind == "trend_reversal":
        y = y - after * 0.3 * (t - change)
    return daily(y, periods=(7,))


def epistemic_of(
    method: str, seed: int, settings: dict[str, Any]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Mean epistemic variance per cutoff: undisturbed, and 20 to 60 sessions into each disturbance."""
    member = Autoformer(AutoformerConfig(**{**settings, "uncertainty": method}))
    horizon, plain = Horizon(steps=14), strange_series("none", seed)
    state = member.fit(plain.until(plain.dates[1190]).tail(member.config.window), horizon)

    def parts(series: Series) -> np.ndarray:
        rows = range(1220, 1261, 2)
        each = [member.uncertainty(state, series.until(series.dates[row]), horizon) for row in rows]
        return np.array([p.epistemic.mean() for p in each])

    normal = parts(plain)
    return {kind: (normal, parts(strange_series(kind, seed))) for kind in KINDS}


def methods(cells: Sequence[str], most: int, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The ways to find the epistemic part on real data: loss, coverage, cost."""
    rows = []
    for cell in cells:
        for method in ("none", "last_layer", "ensemble", "mc_dropout"):
            name, steps = cell.rsplit("/", 1)
            series, h = load(name), int(steps)
            member = Autoformer(AutoformerConfig(**{**settings, "uncertainty": method}), service="benchmark")
            started = time.process_time()
            own = scored(member, series, cutoffs_of(series, h, most), h)
            rows.append({"cell": cell, "method": method, **own, "cpu_s": time.process_time() - started})
            print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("command", choices=("beds", "cost", "signal", "exchange", "unseen", "methods"))
    parser.add_argument("--cells", nargs="*", default=[*STRUCTURED, *CROSSES])
    parser.add_argument("--most", type=int, default=60)
    parser.add_argument("--set", nargs="*", default=[], help="settings of the member, name=value")
    options = parser.parse_args()
    settings = {key: _value(text) for key, _, text in (item.partition("=") for item in options.set)}
    if options.command in ("beds", "methods"):
        call = beds if options.command == "beds" else methods
        rows = call(options.cells, options.most, settings)
    else:
        rows = {"cost": cost, "signal": signal, "exchange": exchange, "unseen": unseen}[options.command](
            settings
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"autoformer-{options.command}.json"
    path.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1, default=float) + "\n")
    print(json.dumps(rows, indent=1, default=float) if options.command == "cost" else path.name)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


if __name__ == "__main__":
    main()
