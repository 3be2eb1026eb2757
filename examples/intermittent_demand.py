"""Spare parts: most days nothing is sold, so the median is zero and the upper quantiles are the forecast.

Generated: a day has a sale with probability 0.15, then a Poisson number of pieces.
"""

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.engine import ForecastEngine
from horizoncast.series import Series

STEPS = 28


def demand(days: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.where(rng.random(days) < 0.15, 1 + rng.poisson(2.0, days), 0).astype(float)


def main() -> None:
    calendar = Calendar(kind=CalendarKind.DAILY)
    values = demand(700 + STEPS, seed=5)
    first = np.datetime64("2023-01-01T00:00:00")
    dates = np.concatenate([[first], calendar.future(first, len(values) - 1)])
    whole = Series(
        name="spare_part", unit="pieces", calendar=calendar, dates=dates, values=values, nonnegative=True
    )
    result = ForecastEngine().forecast(whole.truncated(dates[-STEPS - 1]), STEPS)
    forecast = result.forecast
    actual = values[-STEPS:]
    for level in (0.5, 0.8, 0.9, 0.95, 0.99):
        at = forecast.quantile(level)
        share = np.mean(actual <= at)
        print(f"{level:4.0%} quantile: {at.mean():5.2f} pieces a day, {share:.0%} of days at or below")
    print(f"sold {actual.sum():.0f} pieces on {int((actual > 0).sum())} of {STEPS} days")
    print(f"lowest quantile of all: {forecast.quantiles.min():.2f} (never below zero)")
    print("flags:", ", ".join(forecast.flags) or "none")


if __name__ == "__main__":
    main()
