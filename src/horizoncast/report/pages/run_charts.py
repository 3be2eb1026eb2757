"""Charts of a run's report: fan, width of the intervals by lead, replayed forecasts with what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from horizoncast.forecast import Forecast
from horizoncast.report import style
from horizoncast.report.fan import Dates, Fan, Floats, paint_fan
from horizoncast.report.pages.frame import date_ticks, days_of, legend, panel, plain_axes
from horizoncast.report.pages.rendering import Chart
from horizoncast.report.pages.svg import picture
from horizoncast.report.plots import PHONE, fan_canvas, fan_members
from horizoncast.report.style import Canvas
from horizoncast.report.summary import rounded
from horizoncast.report.texts import text
from horizoncast.store.ledger.rows import ENSEMBLE
from horizoncast.store.records import RunRecord

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCREEN = Canvas(width=1080, height=480, letters=15.0)
_LEAST = 3
"""Replays below which a chart of them would say nothing."""


def fan_pictures(
    record: RunRecord, history: tuple[Dates, Floats], point_text: str, language: str
) -> tuple[Markup, Markup]:
    """The fan chart for a screen and for a phone; the page says the finding."""
    forecast = record.forecast
    fan = Fan(
        forecast=forecast,
        dates=history[0],
        values=history[1],
        members=fan_members(record.members, record.decision.best_naive, language),
        point_text=point_text,
        language=language,
    )
    narrow = fan_canvas(PHONE, len(record.members))
    narrow = Canvas(width=narrow.width, height=narrow.height, letters=12.0)
    label = text("run.fan.label", language, series=forecast.series)
    return (
        picture(SCREEN, lambda figure: paint_fan(figure, SCREEN, fan), name="fan", label=label),
        picture(narrow, lambda figure: paint_fan(figure, narrow, fan), name="fan-phone", label=label),
    )


def width_chart(record: RunRecord, language: str) -> Chart | None:
    """How wide the published intervals are by lead, beside the naive's; None without an 80 % interval."""
    forecast = record.forecast
    mine = _width(forecast, 0.8)
    if mine is None:
        return None
    naive = next((m.live for m in record.members if m.name == record.decision.best_naive), None)
    other = _width(naive, 0.8) if isinstance(naive, Forecast) else None
    canvas, steps = panel(), np.arange(1, forecast.steps + 1)
    marker = "o" if forecast.steps == 1 else None

    def paint(figure: Figure) -> None:
        axes = plain_axes(
            figure, canvas, unit=forecast.unit, across=text("chart.step", language), legend_rows=1
        )
        outer = _width(forecast, 0.95)
        if outer is not None:
            label = text("chart.interval", language, percent="95")
            axes.plot(steps, outer, color=style.BANDS[0.5], linewidth=1.4, label=label, marker=marker)
        label = text("chart.interval", language, percent="80")
        axes.plot(steps, mine, color=style.BLUE, linewidth=2.2, label=label, marker=marker)
        if other is not None:
            label = text("run.width.naive", language)
            axes.plot(steps, other, color=style.MUTED, linewidth=1.4, linestyle=(0, (4, 2)), label=label)
        axes.set_ylim(bottom=0)
        legend(figure, canvas, axes, columns=3)

    ends = [rounded(w, w) for w in (float(mine[0]), float(mine[-1]))]
    title = text(
        "run.width.title", language, first=ends[0], last=ends[1], unit=forecast.unit, steps=forecast.steps
    )
    label = text("run.width.label", language)
    return Chart(title=title, picture=picture(canvas, paint, name="width", label=label))


def replay_chart(record: RunRecord, language: str) -> Chart | None:
    """Replayed forecasts of step H, each with what then happened; None where there are too few."""
    table = record.validation
    if ENSEMBLE not in table.subjects or not {0.1, 0.9} <= set(table.levels):
        return None
    paths = table.quantiles[table.subjects.index(ENSEMBLE), :, -1]
    actuals = table.actuals[:, -1]
    kept = np.flatnonzero(np.isfinite(actuals) & np.isfinite(paths).all(axis=-1) & table.scored)
    if len(kept) < _LEAST:
        return None
    places = {level: table.levels.index(level) for level in (0.025, 0.1, 0.9, 0.975) if level in table.levels}
    low, high = paths[kept, places[0.1]], paths[kept, places[0.9]]
    inside = (low <= actuals[kept]) & (actuals[kept] <= high)
    days = days_of(table.dates[kept, -1])
    canvas = panel()

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, canvas, unit=table.unit, legend_rows=1)
        if len(places) == 4:
            label = text("chart.interval", language, percent="95")
            ends = paths[kept, places[0.025]], paths[kept, places[0.975]]
            axes.vlines(days, *ends, color=style.BANDS[0.8], linewidth=1.6, label=label)
        label = text("chart.interval", language, percent="80")
        axes.vlines(days, low, high, color=style.BLUE, linewidth=4.0, label=label)
        hit, miss = text("run.replays.hit", language), text("run.replays.miss", language)
        axes.plot(days[inside], actuals[kept][inside], "o", color=style.INK, markersize=4.5, label=hit)
        if not inside.all():
            axes.plot(
                days[~inside], actuals[kept][~inside], "X", color=style.LINES[0], markersize=7, label=miss
            )
        date_ticks(axes, days, language)
        legend(figure, canvas, axes, columns=4)

    values = {"hits": int(inside.sum()), "total": len(kept), "steps": record.forecast.steps}
    return Chart(
        title=text("run.replays.title", language, **values),
        note=text("run.replays.note", language),
        picture=picture(canvas, paint, name="replays", label=text("run.replays.label", language)),
    )


def _width(forecast: Forecast, coverage: float) -> Floats | None:
    """(H,) width of a central interval; None where its levels are not there."""
    tail = round((1 - coverage) / 2, 6)
    if tail not in forecast.levels or round(1 - tail, 6) not in forecast.levels:
        return None
    low, high = forecast.interval(coverage)
    return np.asarray(high - low)
