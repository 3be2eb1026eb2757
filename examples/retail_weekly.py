"""Weekly sales with holidays known in advance: the last eight weeks of the data, Labor Day among them.

Run as of the end of August 2012: sales after that day are hidden, the calendar of holidays is not.
"""

import sys
from pathlib import Path

import numpy as np

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine import ForecastEngine

ROOT = Path(__file__).resolve().parents[1]
AS_OF = np.datetime64("2012-08-31")


def main() -> None:
    target = read_target(ROOT / "config" / "targets" / "retail_demand.toml")
    if not target.source.path or not target.source.path.is_file():
        sys.exit(f"this example needs {target.source.path}")
    known = load_series(target, as_of=AS_OF).series
    later = load_series(target).series
    ahead = known.until(known.last).future_covariates(8)
    holidays = ahead[:, [c.name for c in known.covariates].index("isholiday")]
    result = ForecastEngine().forecast(known, 8)
    forecast = result.forecast
    actual = later.actuals(forecast.cutoff, forecast.dates)
    low, high = forecast.interval(0.95)
    for i in range(8):
        mark = "holiday" if holidays[i] else ""
        week = known.calendar.text(forecast.dates[i])
        span = f"95 %: {low[i]:6.0f} to {high[i]:6.0f}"
        print(f"{week}  {forecast.point[i]:7.0f}  {span}  was {actual[i]:6.0f}  {mark}")
    error = np.abs(forecast.point / actual - 1).mean()
    print(f"mean error {error:.1%}")
    print(f"{int(((low <= actual) & (actual <= high)).sum())} of 8 weeks inside the 95 % interval")
    print("weights:", {m.name: round(m.weight, 2) for m in result.members if m.weight > 0})
    if result.status_reasons:
        print(f"{result.status}: {'; '.join(result.status_reasons)}")


if __name__ == "__main__":
    main()
