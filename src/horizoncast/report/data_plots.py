"""Charts of the data page: the series with what is odd about it, sessions by year, lead and lag.

SVG, equal bytes for equal input. matplotlib is imported on use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from horizoncast.data.leadlag import LAGS, Dating, LeadLag
from horizoncast.data.survey import Survey
from horizoncast.report import style
from horizoncast.report.style import Canvas, draw, dress, number_ticks, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 4000
_RED, _GREEN = style.LINES[0], style.LINES[1]


def series_chart(found: Survey) -> bytes:
    """The target's rows: gaps shaded, outliers and corrections marked."""
    canvas = Canvas(width=1100, height=340)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        dress(axes, canvas)
        number_ticks(axes, canvas)
        dates, values = _thinned(found)
        axes.plot(dates, _broken(found, dates, values), color=style.BLUE, linewidth=0.9)
        for gap in found.gaps:
            first, last = _places(gap.after, gap.before)
            axes.axvspan(first, last, color=style.GRID, linewidth=0)
        _mark(axes, found)
        axes.set_ylim(*_usual_range(found.column.values))
        axes.set_ylabel(printable(found.target.unit, 30), fontsize=canvas.text, color=style.MUTED)
        figure.subplots_adjust(left=0.08, right=0.99, top=0.97, bottom=0.22)

    return draw(canvas, paint, "svg")


def _thinned(
    found: Survey,
) -> tuple[np.typing.NDArray[np.datetime64], np.typing.NDArray[np.float64]]:
    """Lowest and highest row of each bin, so that a long series keeps its spikes and the page its size."""
    dates, values = found.column.dates, found.column.values
    if len(dates) <= _MOST_POINTS:
        return dates, values
    bins = np.array_split(np.arange(len(dates)), _MOST_POINTS // 2)
    keep = np.unique([b[k] for b in bins for k in (int(values[b].argmin()), int(values[b].argmax()))])
    return np.asarray(dates[keep]), np.asarray(values[keep])


def _broken(
    found: Survey, dates: np.typing.NDArray[np.datetime64], values: np.typing.NDArray[np.float64]
) -> np.typing.NDArray[np.float64]:
    """The line is broken at the largest gaps: the row before each is left out."""
    before = np.array([gap.after for gap in found.gaps if gap.sessions > 1], dtype="datetime64[s]")
    return np.where(np.isin(dates, before), np.nan, values)


def _usual_range(values: np.typing.NDArray[np.float64]) -> tuple[float | None, float | None]:
    """Ends of the axis where a slip would flatten everything else; None leaves both to the data."""
    low, high = (float(q) for q in np.quantile(values, (0.005, 0.995)))
    room = 0.25 * (high - low)
    bottom, top = float(values.min()), float(values.max())
    if bottom >= low - 8 * room and top <= high + 8 * room:
        return None, None
    return max(bottom, low - room) - 0.1 * room, min(top, high + room) + 0.1 * room


def _places(*dates: np.datetime64) -> list[float]:
    """Dates as matplotlib counts them: days since 1970."""
    return [float(date.astype("datetime64[s]").astype(np.int64)) / 86400 for date in dates]


def _mark(axes: Axes, found: Survey) -> None:
    style_of: dict[str, Any] = {
        "linestyle": "none",
        "markersize": 6,
        "markerfacecolor": "none",
        "markeredgewidth": 1.6,
    }
    if found.outliers:
        at = _places(*(o.date for o in found.outliers))
        axes.plot(at, [o.value for o in found.outliers], "o", color=_RED, label="outlier", **style_of)
    applied = [
        (o.date, o.value) for o in found.report.overrides if o.column == "target" and o.value is not None
    ]
    if applied:
        at = _places(*(date for date, _ in applied))
        axes.plot(at, [value for _, value in applied], "s", color=_GREEN, label="override", **style_of)
    if found.gaps:
        axes.fill_between([], [], color=style.GRID, label="gap")
    if found.outliers or applied or found.gaps:
        axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.1), ncols=3, frameon=False, fontsize=10)


def years_chart(found: Survey) -> bytes:
    """Sessions of each year, with a value and without."""
    canvas = Canvas(width=1100, height=240)

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        dress(axes, canvas)
        years = [span.year for span in found.years]
        seen = [span.observed for span in found.years]
        axes.bar(years, seen, color=style.BANDS[0.5], width=0.8, label="observed")
        axes.bar(years, [s.missing for s in found.years], bottom=seen, color=_RED, width=0.8, label="missing")
        axes.set_xticks(years[:: -(-len(years) // 13)])
        axes.legend(loc="upper left", bbox_to_anchor=(-0.01, -0.12), ncols=2, frameon=False, fontsize=10)
        figure.subplots_adjust(left=0.08, right=0.99, top=0.96, bottom=0.26)

    return draw(canvas, paint, "svg")


def lead_chart(found: Survey) -> bytes:
    """Correlations by lag, one small chart per covariate; lags that a one-step forecast uses are shaded."""
    columns = 4
    rows = -(-len(found.leads) // columns)
    canvas = Canvas(width=1100, height=40 + 190 * rows)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
        high = max((abs(r) for lead in found.leads for r in lead.correlations if np.isfinite(r)), default=0)
        for axes, lead in zip(grid, found.leads, strict=False):
            _paint_lead(axes, lead, max(0.3, 1.15 * high))
        for axes in grid[len(found.leads) :]:
            axes.set_visible(False)
        figure.subplots_adjust(
            left=0.05, right=0.99, top=1 - 28 / canvas.height, bottom=28 / canvas.height, hspace=0.5
        )

    return draw(canvas, paint, "svg")


def _paint_lead(axes: Axes, lead: LeadLag, high: float) -> None:
    small = Canvas(width=260, height=190)
    dress(axes, small)
    wrong = lead.verdict is Dating.TRAP
    colours = [_RED if wrong and lag == lead.peak else style.BLUE for lag in LAGS]
    axes.axvspan(lead.first_used - 0.5, LAGS[-1] + 0.5, color="#eef4e8", linewidth=0)
    axes.bar(LAGS, np.nan_to_num(lead.correlations), color=colours, width=0.7)
    axes.axhline(0, color=style.MUTED, linewidth=0.8)
    axes.set_ylim(-high, high)
    axes.set_xticks(LAGS)
    title = f"{printable(lead.name, 22)}{' : dating trap' if wrong else ''}"
    axes.set_title(title, fontsize=9, color=_RED if wrong else style.INK, loc="left")
