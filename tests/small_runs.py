"""Small engine results for tests: naives only, in this process, in well under a second."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.engine import EngineConfig, EngineResult, ForecastEngine
from horizoncast.series import Scale, Series


def small_series(name: str = "usd_mxn", unit: str = "MXN per USD", sessions: int = 400) -> Series:
    """A geometric random walk on weekdays with a season of five."""
    calendar = Calendar(kind=CalendarKind.BUSINESS)
    first = np.datetime64("2022-01-03")
    dates = calendar.sessions(first, first + np.timedelta64(2 * sessions, "D"))[:sessions]
    steps = np.random.default_rng(7).normal(scale=0.006, size=sessions)
    values = 18.0 * np.exp(np.cumsum(steps))
    return Series(
        name=name, unit=unit, calendar=calendar, dates=dates, values=values, scale=Scale.LOG, periods=(5,)
    )


@lru_cache(maxsize=16)
def small_result(
    name: str = "usd_mxn", unit: str = "MXN per USD", horizon: int = 7, sessions: int = 400
) -> EngineResult:
    """A run of the naives on `small_series`."""
    engine = ForecastEngine(EngineConfig(service=f"forecaster_{horizon}d", members=(), isolated=False))
    return engine.forecast(small_series(name, unit, sessions), horizon)
