"""`analogs`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json
from horizoncast.service.analogs import Analog, Analogs, Asked, find_analogs

Floats = npt.NDArray[np.float64]

HEAD = ("", "window", "", "cosine", "followed until", "change")


def analogs(common: Common, asked: Asked, *, png: Path | None, json: bool, quiet: bool) -> None:
    """Find, show and draw the past windows most like today's."""
    from horizoncast.data.target_file import read_target
    from horizoncast.report.analogs_plot import analogs_plot
    from horizoncast.service.inputs import read_series
    from horizoncast.store.atomic import write_atomic

    settings = common.settings(common.places().services()[0])
    screen = Screen(as_json=json, quiet=quiet)
    series = read_series(settings, read_target(settings.target_path), as_of=common.as_of).series
    screen.tell(f"{series.name}: {len(series)} sessions, comparing windows of {asked.window}")
    found = find_analogs(settings, series, asked)
    if png is not None:
        drawn = analogs_plot(chart_of(found))
        write_atomic(png, lambda handle: handle.write(drawn))
    if json:
        print_json(values_of(found, png))
        return
    screen.table(_title(found), HEAD, [_row(k, found, one) for k, one in enumerate(found.found, 1)])
    screen.rows("", notes_of(found))
    if png is not None:
        screen.paths([("chart", str(png))])


def notes_of(found: Analogs) -> list[tuple[str, str]]:
    """What the table has to be read against."""
    low, middle, high = (change_text(found, value) for value in found.usual)
    rows = [
        (
            "any window",
            f"change over {found.follow_up} sessions: {middle} in the middle, 80 % {low} to {high}",
        ),
        ("likeness", f"{found.compared} windows compared, cosine {found.median_cosine:.2f} in the middle"),
        ("vectors", f"{found.source}{''.join(f', {flag}' for flag in found.flags)}"),
        ("note", "chosen for being alike: no forecast, and too few to say anything of chances"),
    ]
    if len(found.found) > 1 and found.found[-1].cosine <= found.median_cosine:
        rows.append(("note", "the last of them are no more alike than any window: take fewer"))
    return rows


def change_text(found: Analogs, change: float) -> str:
    """A change as people write it: a share on the log scale, else in the unit."""
    return f"{100 * change:+.1f} %" if found.relative else f"{change:+.4g} {found.series.unit}"


def chart_of(found: Analogs) -> Any:
    """What `analogs_plot` draws."""
    from horizoncast.report.analogs_plot import AnalogChart, AnalogLine

    text = found.series.calendar.text
    names = [f"{text(one.first)}: {change_text(found, one.change)}" for one in found.found]
    return AnalogChart(
        title=f"{found.series.name}: past windows most like the last {found.window} sessions",
        subtitle=(
            f"up to {text(found.series.last)}; moved and stretched to today's mean and spread; labels: first "
            "session, and what really followed; no forecast"
        ),
        unit=found.series.unit,
        today=found.today,
        dates=found.dates,
        lines=[
            AnalogLine(label=name, values=fitted(found, one.path))
            for name, one in zip(names, found.found, strict=True)
        ],
    )


def fitted(found: Analogs, path: Floats) -> Floats:
    """(T + H,) a past window and what followed, in today's mean and spread, in the unit."""
    scale, length = found.series.scale, found.window
    today, past = scale.forward(found.today), scale.forward(path)
    spread = float(past[:length].std())
    stretch = float(today.std()) / spread if spread > 0 else 0.0
    return scale.backward(today.mean() + stretch * (past - past[:length].mean()))


def values_of(found: Analogs, png: Path | None) -> dict[str, Any]:
    """The same as plain values."""
    return {
        "series": found.series.name,
        "unit": found.series.unit,
        "cutoff": found.series.last,
        "window": found.window,
        "follow_up": found.follow_up,
        "change_in": "share" if found.relative else "unit",
        "compared": found.compared,
        "median_cosine": found.median_cosine,
        "source": found.source,
        "flags": found.flags,
        "usual_change": dict(zip(("q10", "q50", "q90"), found.usual, strict=True)),
        "analogs": [
            {
                "first": one.first,
                "last": one.last,
                "cosine": one.cosine,
                "followed_until": one.followed_until,
                "change": one.change,
            }
            for one in found.found
        ],
        "chart": png,
    }


def _title(found: Analogs) -> str:
    text = found.series.calendar.text
    first = found.series.dates[-found.window]
    return f"{found.series.name}: windows most like {text(first)} to {text(found.series.last)}"


def _row(place: int, found: Analogs, one: Analog) -> tuple[str, ...]:
    text = found.series.calendar.text
    return (
        str(place),
        text(one.first),
        text(one.last),
        f"{one.cosine:.3f}",
        text(one.followed_until),
        change_text(found, one.change),
    )
