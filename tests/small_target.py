"""A target on disk for tests: a short synthetic price in a CSV file, forecast by the naives alone."""

from pathlib import Path

import numpy as np

from small_runs import small_series

NAIVES_ONLY = {
    "members.arima_garch.state": "off",
    "members.var.state": "off",
    "members.random_forest.state": "off",
    "members.chronos.state": "off",
    "run.isolated": "false",
}
"""Settings under which a run takes well under a second."""


def write_target(folder: Path, sessions: int = 400, name: str = "toy") -> Path:
    """A CSV file and its target; returns the target's path."""
    series = small_series(sessions=sessions)
    lines = [
        f"{np.datetime_as_string(date, unit='D')},{value:.6f}"
        for date, value in zip(series.dates, series.values, strict=True)
    ]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.csv").write_text("date,value\n" + "\n".join(lines) + "\n")
    target = folder / f"{name}.toml"
    target.write_text(
        f'name = "{name}"\nunit = "MXN per USD"\nscale = "log"\nperiods = []\n'
        f'[source]\ntype = "csv"\npath = "{name}.csv"\nvalue_column = "value"\n'
        '[calendar]\nkind = "business"\n'
    )
    return target
