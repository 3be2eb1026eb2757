"""Electricity demand of Victoria, the next 24 hours from half-hourly data joined to hourly means."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine import ForecastEngine

ROOT = Path(__file__).resolve().parents[1]
CUTOFF = np.datetime64("2014-11-18T12:00:00")


def main() -> None:
    target = read_target(ROOT / "config" / "targets" / "electricity.toml")
    if not target.source.path or not target.source.path.is_file():
        sys.exit(f"this example needs {target.source.path}")
    whole = load_series(replace(target, start=np.datetime64("2014-06-01"))).series
    result = ForecastEngine().forecast(whole.truncated(CUTOFF), 24)
    forecast = result.forecast
    actual = whole.actuals(forecast.cutoff, forecast.dates)
    week_ago = whole.values[whole.index_of(CUTOFF) - 167 :][:24]
    low, high = forecast.interval(0.95)
    for i in range(0, 24, 3):
        hour = whole.calendar.text(forecast.dates[i])
        span = f"95 %: {low[i]:.0f} to {high[i]:.0f}"
        print(f"{hour} UTC {forecast.point[i]:6.0f} MW, {span}, was {actual[i]:.0f}")
    error = np.abs(forecast.point - actual).mean()
    print(f"mean error {error:.0f} MW; the same hour a week ago: {np.abs(week_ago - actual).mean():.0f} MW")
    inside = int(((low <= actual) & (actual <= high)).sum())
    print(f"{inside} of 24 hours inside the 95 % interval")
    print("weights:", {m.name: round(m.weight, 2) for m in result.members if m.weight > 0})


if __name__ == "__main__":
    main()
