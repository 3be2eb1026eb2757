"""Bank rows kept from one run to the next, as weeks pass and markets close unforeseen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.engine import EngineConfig, EngineResult, ForecastEngine
from horizoncast.series import Scale, Series
from horizoncast.store.bank_cache import BankCache

CALENDAR = Calendar(kind=CalendarKind.BUSINESS)


def walk(dates: np.ndarray) -> Series:
    values = 100 * np.exp(np.cumsum(0.005 * np.random.default_rng(0).standard_normal(len(dates))))
    return Series(name="s", unit="u", calendar=CALENDAR, dates=dates, values=values, scale=Scale.LOG)


def weekdays() -> np.ndarray:
    return CALENDAR.sessions(np.datetime64("2015-01-05", "s"), np.datetime64("2017-12-29", "s"))


def engine(folder: Path) -> ForecastEngine:
    return ForecastEngine(EngineConfig(members=(), isolated=False, replays=2), cache=BankCache(folder))


def run(folder: Path, series: Series, at: int) -> EngineResult:
    return engine(folder).forecast(series.truncated(series.dates[at]), 7)


def test_an_unforeseen_closure_after_the_live_cutoff_costs_one_row_and_not_the_run(tmp_path: Path) -> None:
    """The live row carries the calendar's dates; the market then stays closed on one of them."""
    series = walk(np.delete(weekdays(), 601))
    run(tmp_path, series, 599)
    later = run(tmp_path, series, 607)
    afresh = run(tmp_path / "empty", series, 607)
    assert np.array_equal(later.bank.quantiles, afresh.bank.quantiles)


def test_a_weekly_run_computes_the_live_row_only_once_its_grid_row_was_live(tmp_path: Path) -> None:
    series = walk(weekdays())
    fridays = np.flatnonzero(np.diff(series.ordinals // 5) > 0)
    first = fridays[100]
    computed = []
    for week in range(6):
        result = run(tmp_path, series, int(fridays[100 + week]))
        computed.append([m.asked - m.cached for m in result.members])
    assert first and computed[0][0] > 40
    assert all(count == [1] for count in computed[2:]), computed


def test_a_row_under_changed_data_is_not_kept(tmp_path: Path) -> None:
    series = walk(weekdays())
    run(tmp_path, series, 599)
    values = series.values.copy()
    values[590] *= 1.01
    changed = replace(series, values=values)
    later, afresh = run(tmp_path, changed, 606), run(tmp_path / "empty", changed, 606)
    assert np.array_equal(later.bank.quantiles, afresh.bank.quantiles)
