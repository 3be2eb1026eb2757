"""Folders with services whose data end on a day of the test's choice."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from horizoncast.service.folders import find_places
from horizoncast.service.light import LightSettings, read_light
from small_runs import small_series

FRIDAY = datetime(2026, 1, 9, 11, 0, tzinfo=UTC)
"""Eight o'clock in Santiago, an hour after the services below are due."""

_SERVICE = """target = "toy.toml"
horizon = "{horizon}"
[cadence]
days = {days}
{more}
[members.arima_garch]
state = "off"
[members.var]
state = "off"
[members.random_forest]
state = "off"
[members.chronos]
state = "off"
"""


def write_data(folder: Path, last: str, sessions: int = 120) -> None:
    """A price on weekdays up to `last`; the values of earlier days do not depend on it."""
    origin = np.datetime64("2025-01-01")
    days = np.arange(origin, np.datetime64(last) + 1)
    days = days[np.is_busday(days)]
    values = small_series(sessions=800).values[: len(days)]
    rows = [f"{day},{value:.6f}" for day, value in zip(days, values, strict=True)][-max(sessions, 1) :]
    (folder / "toy.csv").write_text("date,value\n" + "\n".join(rows) + "\n")


def write_services(
    folder: Path,
    *,
    last: str = "2026-01-08",
    names: Sequence[str] = ("one",),
    days: Sequence[str] = ("fri",),
    more: str = "",
    calendar: str = "",
) -> Path:
    """A root with a target and services of the naives alone."""
    folder.mkdir(parents=True, exist_ok=True)
    write_data(folder, last)
    (folder / "toy.toml").write_text(
        'name = "toy"\nunit = "MXN per USD"\nscale = "log"\nperiods = []\n'
        '[source]\ntype = "csv"\npath = "toy.csv"\nvalue_column = "value"\n'
        f'[calendar]\nkind = "business"\n{calendar}'
    )
    for place, name in enumerate(names):
        home = folder / "services" / name
        home.mkdir(parents=True, exist_ok=True)
        text = _SERVICE.format(horizon=f"{3 + place}d", days=list(days), more=more)
        (home / "service.toml").write_text(text.replace("'", '"'))
    return folder


def light(folder: Path, *names: str) -> list[LightSettings]:
    """The services of a root, as a tick reads them."""
    places = find_places(folder)
    return [read_light(name, places, environ={}) for name in names or places.services()]
