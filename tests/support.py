"""Helpers shared by tests."""

import os
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.series import Covariate, Scale, Series


def shared_folder() -> Path:
    """Where shared data lies; `TESTS_SHARED` names another place (a folder that is not there: none)."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("TESTS_SHARED", beside))


def shared_data(name: str) -> Path:
    """Path of a file in ``shared/data`` beside the checkout; the test is skipped without it."""
    path = shared_folder() / name
    if not path.exists():
        pytest.skip(f"shared data absent: {name}")
    return path


def make_series(
    values: npt.ArrayLike,
    *,
    kind: CalendarKind = CalendarKind.BUSINESS,
    scale: Scale = Scale.LEVEL,
    periods: tuple[int, ...] = (5,),
    covariates: tuple[Covariate, ...] = (),
    nonnegative: bool = False,
    name: str = "sample",
) -> Series:
    """A series on a plain calendar that starts on Monday 2015-01-05."""
    calendar = Calendar(kind=kind)
    first = np.datetime64("2015-01-05T00:00:00")
    target = np.asarray(values, dtype=np.float64)
    dates = np.concatenate([[first], calendar.future(first, len(target) - 1)])
    return Series(
        name=name,
        unit="unit",
        calendar=calendar,
        dates=dates,
        values=target,
        scale=scale,
        periods=periods,
        covariates=covariates,
        nonnegative=nonnegative,
    )


def market(length: int = 420, *, seed: int = 0, lag: int = 1, scale: Scale = Scale.LOG) -> Series:
    """A price with two covariates that move with it, each published `lag` sessions late."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_normal((length, 3))
    target = 100.0 * np.exp(np.cumsum(0.006 * shocks[:, 0]))
    paths = np.cumsum(0.5 * shocks[:, :1] + shocks[:, 1:], axis=0)
    covariates = tuple(
        Covariate(name=f"x{p}", values=50.0 + paths[:, p], publication_lag=lag) for p in range(2)
    )
    return make_series(target, scale=scale, covariates=covariates)


def weekly_season(length: int = 420, *, seed: int = 0, noise: float = 0.02) -> Series:
    """A daily series whose week repeats, with little noise."""
    rng = np.random.default_rng(seed)
    week = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -2.0, -4.0])
    values = 20.0 + week[np.arange(length) % 7] + noise * rng.standard_normal(length)
    return make_series(values, kind=CalendarKind.DAILY, periods=(7,))


def echo(connection: Connection) -> None:
    """Body of a child process: sends back what it receives, with what it saw, until it gets None.

    It stands here because a child finds this module by name, and a test module it does not.
    """
    while (item := connection.recv()) is not None:
        arrays = [item.values if isinstance(item, Series) else item.quantiles, item.dates]
        connection.send(([array.flags.writeable for array in arrays], item))
    connection.close()
