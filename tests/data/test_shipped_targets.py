"""Every target in config/targets loads; those on shared data are skipped without it."""

import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import CalendarKind
from horizoncast.data.load import load_series
from horizoncast.data.target import SourceType
from horizoncast.data.target_file import read_target
from horizoncast.series import Scale, Series
from support import shared_data

TARGETS = Path(__file__).resolve().parents[2] / "config" / "targets"
NAMES = sorted(file.stem for file in TARGETS.glob("*.toml"))


def shipped(name: str, as_of: str | None = None) -> Series:
    target = read_target(TARGETS / f"{name}.toml")
    if target.source.type is not SourceType.ECB:
        assert target.source.path is not None
        assert target.source.path == shared_data(target.source.path.name)
    return load_series(target, as_of=None if as_of is None else np.datetime64(as_of)).series


def test_the_list_is_complete() -> None:
    assert {"airpassengers", "bike_demand", "electricity", "retail_demand", "sensor"} <= set(NAMES)
    assert {"tourism", "usdclp", "usdmxn"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_loads(name: str) -> None:
    series = shipped(name)
    assert series.name == name and len(series) >= 60
    history = series.until(series.last)
    assert np.isfinite(history.covariates[-20:]).all()
    dates = history.future_dates(10)
    assert (dates > series.last).all()


def test_usdmxn_is_the_ecb_cross() -> None:
    series = shipped("usdmxn", "2024-06-30")
    assert str(series.last)[:10] == "2024-06-28"
    assert [c.name for c in series.covariates] == ["eurusd", "usdbrl", "usdcad", "usdzar", "usdjpy"]
    assert series.periods == () and series.scale is Scale.LOG


def test_usdclp_covariates_are_those_of_the_day_before() -> None:
    series = shipped("usdclp", "2024-06-28")
    history = series.until(series.last)
    assert str(series.last)[:10] == "2024-06-28" and series.dating_offset == 1
    wti = series.covariates[0].values
    assert history.covariate("wti")[-1] == wti[-2] != wti[-1]
    new_year = series.until(np.datetime64("2023-12-29", "s")).future_dates(1)
    assert str(new_year[0])[:10] == "2024-01-02"


def test_seasons_and_known_future() -> None:
    assert shipped("electricity").periods == (24, 168)
    assert shipped("retail_demand").periods == (52,)
    bike = shipped("bike_demand", "2012-06-30")
    ahead = bike.until(bike.last).future_covariates(7)
    assert np.isfinite(ahead[:, :2]).all() and np.isnan(ahead[:, 2]).all()


def test_sensor_grid_is_regular_and_filled_hours_are_marked() -> None:
    series = shipped("sensor")
    assert series.calendar.kind is CalendarKind.INTRADAY
    assert (np.diff(series.ordinals) == 1).all()
    assert 0 < (~series.observed_mask).sum() < 0.1 * len(series)


def test_embedded_pair_with_five_covariates_loads_in_a_second_of_cpu() -> None:
    code = (
        "from horizoncast.data.load import load_series; from horizoncast.data.target_file import read_target;"
        f"load_series(read_target({str(TARGETS / 'usdmxn.toml')!r}))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0
