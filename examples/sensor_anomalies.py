"""A temperature sensor: hours outside the one-step 98 % interval, against the labelled windows.

Precision: share of flagged hours inside a window. Recall, twice: share of the windows' hours flagged, and
share of windows with a flag. A window is a long stretch around one event and mostly holds normal hours, and
of a calibrated 98 % interval one hour in fifty is outside without any event: neither comes near one.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.forecast import Forecast
from horizoncast.horizon import Horizon
from horizoncast.models.registry import make_config, member_class

ROOT = Path(__file__).resolve().parents[1]
HOURS = 4200


def main() -> None:
    target = read_target(ROOT / "config" / "targets" / "sensor.toml")
    if not target.source.path or not target.source.path.is_file():
        sys.exit(f"this example needs {target.source.path}")
    series = load_series(target).series
    name = ("unique_id", "=", dict(target.source.filter)["unique_id"])
    table = pq.read_table(target.source.path, filters=[name])
    stamps = np.asarray(table["timestamp"]).astype("datetime64[s]")
    window = dict(zip(stamps.tolist(), np.asarray(table["in_anomaly_window"]).tolist(), strict=True))

    member = member_class("random_forest")(make_config("random_forest"))
    cutoffs = series.dates[-HOURS - 1 : -1]
    flagged, labelled = [], []
    for answer in member.forecast(series, cutoffs, Horizon.parse(1), (0.01, 0.5, 0.99)):
        if not isinstance(answer, Forecast):
            continue
        (actual,) = series.actuals(answer.cutoff, answer.dates)
        if np.isfinite(actual):
            low, high = answer.interval(0.98)
            flagged.append(not low[0] <= actual <= high[0])
            labelled.append(window[answer.dates[0].tolist()])
    out, wanted = np.array(flagged), np.array(labelled)
    starts = np.flatnonzero(np.diff(np.concatenate([[0], wanted.astype(int)])) == 1)
    number = np.cumsum(np.isin(np.arange(len(wanted)), starts))
    hit = len(np.unique(number[out & wanted]))
    print(f"{len(out)} hours, {wanted.sum()} of them in {len(starts)} labelled windows; {out.sum()} flagged")
    print(
        f"outside the 98 % interval beyond the windows: {out[~wanted].mean():.1%} (2 % would be calibrated)"
    )
    print(f"precision {np.mean(wanted[out]):.2f}, where chance would give {wanted.mean():.2f}")
    print(f"recall {np.mean(out[wanted]):.2f} of hours, {hit} of {len(starts)} windows")


if __name__ == "__main__":
    main()
