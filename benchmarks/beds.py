"""The test beds: real series with the cutoffs they are scored on.

Letters in shapes: T sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.ecb import ecb_pair
from horizoncast.engine import EngineConfig
from horizoncast.horizon import Horizon
from horizoncast.models.registry import NEEDS
from horizoncast.policy.states import MemberState
from horizoncast.series import Covariate, Scale, Series, choose_scale

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
WORK = ROOT / "benchmarks" / "work"
RESULTS = ROOT / "benchmarks" / "results"

TUNING = ("EUR", "GBP", "AUD", "CAD", "SEK", "MXN", "KRW")
HELD_OUT = ("JPY", "CHF", "NZD", "NOK", "BRL", "ZAR", "PLN")
"""Rules were chosen on the first seven before 2018; the table reports from 2018 on."""

REPORT_FROM = np.datetime64("2018-01-01", "s")
TUNE_FROM = np.datetime64("2008-01-01", "s")
HORIZONS = (7, 15, 30, 90)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One series at one horizon: what a worker computes.

    Parameters
    ----------
    bed, series
        Names; `load` builds the series.
    steps
        H.
    first, last
        Cutoffs that are scored lie between these dates; None is open.
    most
        Score at most this many of the newest cutoffs.
    extra
        Neural members that are computed besides.
    alone
        Whether only they and the naives are.
    every
        Keep the cutoffs of every n-th re-fit point of the Autoformer.
    """

    bed: str
    series: str
    steps: int
    load: Callable[[str], Series]
    first: np.datetime64 | None = None
    last: np.datetime64 | None = None
    most: int | None = None
    extra: tuple[str, ...] = ()
    alone: bool = False
    every: int = 1

    @property
    def name(self) -> str:
        """File name of the cell's bank."""
        return f"{self.bed}-{self.series}-{self.steps}"


def ecb_series(currency: str) -> Series:
    """USD cross of a currency (units per USD) with four other crosses as covariates."""
    dates, values = ecb_pair("USD", currency)
    keep = dates >= np.datetime64("1999-01-04")
    dates, values = dates[keep], values[keep]
    others = [c for c in ("EUR", "JPY", "GBP", "CAD", "AUD") if c != currency][:4]
    covariates = []
    for other in others:
        other_dates, other_values = ecb_pair("USD", other)
        at = np.minimum(np.searchsorted(other_dates, dates), len(other_dates) - 1)
        aligned = np.where(other_dates[at] == dates, other_values[at], np.nan)
        covariates.append(Covariate(name=f"usd{other.lower()}", values=aligned))
    return Series(
        name=f"usd{currency.lower()}",
        unit=f"{currency} per USD",
        calendar=Calendar(kind=CalendarKind.BUSINESS, country="ECB"),
        dates=dates,
        values=values,
        scale=Scale.LOG,
        periods=(),
        covariates=tuple(covariates),
    )


def target_series(name: str) -> Series:
    """A shipped target by its file's name."""
    from horizoncast.data.load import load_series
    from horizoncast.data.target_file import read_target

    return load_series(read_target(ROOT / "config" / "targets" / f"{name}.toml")).series


STRUCTURED: dict[str, tuple[int, ...]] = {
    "electricity": (24, 168),
    "bike_demand": (7, 15),
    "tourism": (4, 8),
    "airpassengers": (12,),
    "walmart": (8,),
}
"""Beds with real signal: target's name and its horizons."""


def engine_config(steps: int, extra: tuple[str, ...] = ()) -> EngineConfig:
    """The shipped settings for a horizon, members in this process; neural ones only where asked for."""
    from horizoncast.service.settings import load_settings

    settings = load_settings("forecaster_30d", root=ROOT, environ={})
    config = settings.engine_config(Horizon(steps=steps))
    members = tuple(
        replace(m, state=MemberState.SHADOW) if m.name in extra and m.state is MemberState.OFF else m
        for m in config.members
        if m.name not in NEEDS or m.name in extra
    )
    return replace(config, members=members, service="benchmark", isolated=False)


def cells_of(beds: list[str] | None, *, quick: bool = False, tune: bool = False) -> list[Cell]:
    """Cells of the named beds (all by default); dear ones first, so that two workers end together."""
    known: dict[str, Callable[[bool, bool], Iterator[Cell]]] = {
        "ecb14": _ecb14,
        "clp": _clp,
        "structured": _structured,
        "simulated": _simulated,
    }
    wanted = list(known) if beds is None else beds
    found = [cell for bed in wanted for cell in known[bed](quick, tune)]
    return sorted(found, key=lambda cell: -cell.steps)


def _ecb14(quick: bool, tune: bool) -> Iterator[Cell]:
    currencies = TUNING if tune else (*TUNING, *HELD_OUT)
    for currency in currencies[::4] if quick else currencies:
        for steps in HORIZONS:
            yield Cell(
                bed="ecb14",
                series=currency,
                steps=steps,
                load=ecb_series,
                first=TUNE_FROM if tune else REPORT_FROM,
                last=REPORT_FROM if tune else None,
                most=40 if quick else None,
            )


def _clp(quick: bool, tune: bool) -> Iterator[Cell]:
    if not (SHARED / "usdclp_panel_daily.csv").exists():
        print("bed clp skipped: shared data absent")
        return
    for steps in HORIZONS:
        yield Cell(
            bed="clp",
            series="usdclp",
            steps=steps,
            load=target_series,
            first=TUNE_FROM,
            last=REPORT_FROM if tune else None,
            most=40 if quick else None,
        )


def _structured(quick: bool, tune: bool) -> Iterator[Cell]:
    if not SHARED.exists():
        print("structured beds skipped: shared data absent")
        return
    for bed, horizons in STRUCTURED.items():
        for name in _names(bed):
            for steps in horizons:
                yield Cell(
                    bed=bed, series=name, steps=steps, load=structured_series, most=60 if quick else 200
                )


def _names(bed: str) -> list[str]:
    if bed == "walmart":
        return [f"walmart:{k}" for k in WALMART]
    return [f"tourism:{state}" for state in STATES] if bed == "tourism" else [bed]


STATES = (
    "Australia",
    "New South Wales",
    "Northern Territory",
    "Queensland",
    "South Australia",
    "Tasmania",
    "Victoria",
    "Western Australia",
)
WALMART = ("1_1", "1_3", "1_8", "1_13", "1_38", "1_93", "1_95")


def structured_series(name: str) -> Series:
    """A structured bed's series: a shipped target, or one department of the retail panel."""
    from horizoncast.data.load import load_series
    from horizoncast.data.target_file import read_target

    bed, _, unique = name.partition(":")
    if bed == "tourism":
        return tourism_total(unique)
    target = read_target(ROOT / "config" / "targets" / f"{_FILES.get(bed, bed)}.toml")
    if unique:
        source = replace(target.source, filter=(("unique_id", unique),))
        target = replace(target, name=f"walmart-{unique}", source=source)
    return load_series(target).series


_FILES = {"walmart": "retail_demand"}


def tourism_total(state: str) -> Series:
    """Trips of all regions and purposes of a state, or of Australia, by quarter."""
    table = pd.read_parquet(SHARED / "tourism_australia_quarterly.parquet")
    if state != "Australia":
        table = table[table["state"] == state]
    total = table.groupby("date")["trips"].sum().sort_index()
    values = total.to_numpy(dtype=np.float64)
    scale, reason = choose_scale(values[: len(values) // 2])
    return Series(
        name=f"tourism-{state.lower().replace(' ', '-')}",
        unit="thousand trips",
        calendar=Calendar(kind=CalendarKind.QUARTERLY),
        dates=total.index.to_numpy().astype("datetime64[s]"),
        values=values,
        scale=scale,
        scale_reason=reason,
        periods=(4,),
        nonnegative=True,
    )


SIMULATED = ("ar1", "random_walk")
PATHS = 24


def _simulated(quick: bool, tune: bool) -> Iterator[Cell]:
    for kind in SIMULATED:
        for path in range(6 if quick else PATHS):
            yield Cell(
                bed=f"simulated_{kind}", series=f"{kind}:{path}", steps=7, load=simulated_path, most=60
            )


def simulated_path(name: str) -> Series:
    """A log price of 1,100 business days: pure random walk, or AR(1) changes.

    The AR(1) coefficient 0.718 makes the true conditional mean explain 20 % of the variance of
    the change over 7 steps.
    """
    kind, _, path = name.partition(":")
    rng = np.random.default_rng([int(path), len(kind)])
    shocks = 0.006 * rng.standard_normal(1100)
    phi = 0.718 if kind == "ar1" else 0.0
    changes = np.zeros(1100)
    for i in range(1, 1100):
        changes[i] = phi * changes[i - 1] + shocks[i]
    calendar = Calendar(kind=CalendarKind.BUSINESS)
    return Series(
        name=name.replace(":", "-"),
        unit="unit",
        calendar=calendar,
        dates=calendar.future(np.datetime64("2015-01-01", "s"), 1100),
        values=100 * np.exp(np.cumsum(changes)),
        scale=Scale.LOG,
    )
