"""A level shift: the forecast before it, the day after, and forty days later.

Generated daily demand with a weekly season; on day 600 the level doubles and stays.
"""

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.engine import ForecastEngine
from horizoncast.series import Series

BREAK, STEPS = 600, 7


def demand(days: int) -> np.ndarray:
    rng = np.random.default_rng(4)
    week = np.tile([0.0, 4.0, 5.0, 4.0, 8.0, -9.0, -12.0], days // 7 + 1)[:days]
    level = np.where(np.arange(days) < BREAK, 100.0, 200.0)
    return level + week + 3.0 * rng.standard_normal(days)


def main() -> None:
    calendar = Calendar(kind=CalendarKind.DAILY)
    values = demand(BREAK + 60)
    first = np.datetime64("2023-01-01T00:00:00")
    dates = np.concatenate([[first], calendar.future(first, len(values) - 1)])
    whole = Series(
        name="parcels", unit="parcels", calendar=calendar, dates=dates, values=values, periods=(7,)
    )
    print("cutoff       mean of 7 days   was    80 % interval of day 7   width factor")
    for day in (BREAK - 1, BREAK, BREAK + 40):
        result = ForecastEngine().forecast(whole.truncated(dates[day]), STEPS)
        forecast = result.forecast
        actual = values[day + 1 : day + 1 + STEPS]
        low, high = (end[-1] for end in forecast.interval(0.8))
        when = f"break {day - BREAK + 1:+d}"
        print(
            f"{when:<12} {forecast.point.mean():14.1f} {actual.mean():6.1f}   {low:8.1f} to {high:6.1f}"
            f"   {result.decision.width:12.2f}   {', '.join(result.status_reasons)}"
        )


if __name__ == "__main__":
    main()
