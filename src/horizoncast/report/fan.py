"""A fan chart: history, bands, members' medians, from whatever knows them.

matplotlib is imported on use. Letters in shapes: n observations, H steps, Q levels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.forecast import Forecast
from horizoncast.report import style
from horizoncast.report.style import (
    Canvas,
    Dash,
    dress,
    heading,
    number_ticks,
    printable,
    spread_labels,
)
from horizoncast.report.texts import ENGLISH, text
from horizoncast.store.plain import date_texts

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]

HISTORY_HORIZONS, PHONE_HORIZONS = 3, 2
HISTORY_LEAST = 60


@dataclass(frozen=True, kw_only=True, eq=False)
class FanMember:
    """A member's median in a fan.

    Parameters
    ----------
    name, note
        The member, and what is said beside it: weight or state.
    values
        (H,) in the unit.
    is_naive
        Drawn quietly: it is the reference.
    """

    name: str
    note: str
    values: Floats
    is_naive: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Fan:
    """What a fan chart shows.

    Parameters
    ----------
    forecast
        Bands and median.
    dates, values
        (n,) observations, the cutoff last; drawing shows the newest of them, and NaN as a gap.
    members
        Those that answered.
    point_text
        The last median as text.
    title, subtitle
        The finding and what belongs to it; a page says both itself and leaves them empty.
    """

    forecast: Forecast
    dates: Dates
    values: Floats
    members: tuple[FanMember, ...]
    point_text: str
    title: str = ""
    subtitle: str = ""
    language: str = ENGLISH


@dataclass(frozen=True, kw_only=True, eq=False)
class _Line:
    """A member's median: (H,) values, how it is drawn and called."""

    label: str
    values: Floats
    colour: str
    dash: Dash
    width: float


def paint_fan(figure: Figure, canvas: Canvas, fan: Fan) -> None:
    """The x axis counts sessions from the cutoff, so that weekends leave no dents; its ticks are dates."""
    forecast, say = fan.forecast, fan.language
    horizons = PHONE_HORIZONS if canvas.narrow else HISTORY_HORIZONS
    shown = min(len(fan.values), max(HISTORY_LEAST, horizons * forecast.steps))
    values = fan.values[-shown:]
    axes = figure.add_subplot()
    dress(axes, canvas)
    ahead = np.arange(forecast.steps + 1)
    handles = _paint_bands(axes, fan, float(values[-1]))
    past = np.arange(1 - shown, 1)
    (line,) = axes.plot(
        past, values, color=style.INK, linewidth=0.8 * canvas.line, label=text("chart.observed", say)
    )
    median = np.concatenate([values[-1:], forecast.point])
    (middle,) = axes.plot(
        ahead, median, color=style.BLUE, linewidth=1.2 * canvas.line, label=text("chart.median", say)
    )
    members = _member_lines(fan, canvas)
    for member in members:
        path = np.concatenate([values[-1:], member.values])
        axes.plot(ahead, path, color=member.colour, linestyle=member.dash, linewidth=member.width)
    axes.axvline(0, color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    _limit_y(axes, values, forecast, members)
    _date_ticks(axes, canvas, np.concatenate([fan.dates[-shown:], forecast.dates]), shown - 1)
    axes.set_xlim(1 - shown, forecast.steps)
    _head(figure, axes, canvas, fan)
    number_ticks(axes, canvas)
    _legend(figure, canvas, [line, middle, *handles], members)
    if not canvas.narrow:
        _right_labels(axes, canvas, fan, members)


def _head(figure: Figure, axes: Axes, canvas: Canvas, fan: Fan) -> None:
    """Title, subtitle and unit; without a title the unit stands above the axis alone."""
    unit = printable(fan.forecast.unit, 30)
    if fan.title:
        heading(figure, canvas, printable(fan.title, 200), printable(fan.subtitle, 160))
        if not canvas.narrow:
            axes.set_ylabel(unit, fontsize=canvas.text, color=style.MUTED)
        return
    left = 0.13 if canvas.narrow else 0.065
    figure.subplots_adjust(top=1 - 2.1 * canvas.text * style.DPI / 72 / canvas.height, left=left)
    axes.annotate(
        unit,
        xy=(0.004, 1 - 0.5 * canvas.text * style.DPI / 72 / canvas.height),
        xycoords="figure fraction",
        fontsize=canvas.text,
        color=style.MUTED,
        va="top",
    )


def _paint_bands(axes: Axes, fan: Fan, start: float) -> list[Artist]:
    """Central intervals whose levels the forecast has, widest first."""
    forecast = fan.forecast
    handles: list[Artist] = []
    for coverage, colour in style.BANDS.items():
        tail = round((1 - coverage) / 2, 6)
        if tail in forecast.levels and round(1 - tail, 6) in forecast.levels:
            low, high = (np.concatenate([[start], q]) for q in forecast.interval(coverage))
            label = text("chart.interval", fan.language, percent=f"{100 * coverage:.0f}")
            ahead = np.arange(len(low))
            handles.append(axes.fill_between(ahead, low, high, color=colour, linewidth=0, label=label))
    return handles[::-1]


def _member_lines(fan: Fan, canvas: Canvas) -> list[_Line]:
    lines: list[_Line] = []
    for member in fan.members:
        turn = sum(line.colour != style.MUTED for line in lines)
        naive = member.is_naive
        lines.append(
            _Line(
                label=f"{member.name} {member.note}",
                values=member.values,
                colour=style.MUTED if naive else style.LINES[turn % len(style.LINES)],
                dash=(0, (5, 3)) if naive else style.DASHES[turn % len(style.DASHES)],
                width=(0.75 if naive else 0.55) * canvas.line,
            )
        )
    return lines


def _limit_y(axes: Axes, values: Floats, forecast: Forecast, members: list[_Line]) -> None:
    """Room for history and fan; a member far outside is cut off, it may not flatten the rest."""
    low_level, high_level = max(forecast.levels[0], 0.025), min(forecast.levels[-1], 0.975)
    at = [i for i, level in enumerate(forecast.levels) if low_level <= level <= high_level]
    core = np.concatenate([values, forecast.quantiles[:, at].ravel()])
    low, high = float(np.nanmin(core)), float(np.nanmax(core))
    room = high - low or abs(high) * 0.1 or 1.0
    medians = np.concatenate([m.values for m in members]) if members else np.array([low])
    low = max(min(low, float(medians.min())), low - 0.5 * room)
    high = min(max(high, float(medians.max())), high + 0.5 * room)
    axes.set_ylim(low - 0.05 * room, high + 0.05 * room)


def _date_ticks(axes: Axes, canvas: Canvas, dates: Dates, cutoff: int) -> None:
    """Real sessions as ticks: the last step and the last observation first, others where they fit.

    Parameters
    ----------
    dates, cutoff
        All sessions shown, and the place of the last observation, which is x = 0.
    """
    texts = date_texts(dates)
    end = len(texts) - 1
    gap = end * 1.25 * len(texts[0]) * 0.62 * canvas.text * style.DPI / 72 / (0.72 * canvas.width)
    kept: list[int] = []
    for i in (end, cutoff, 0, *np.linspace(0, end, 9).astype(int)[::-1].tolist()):
        if all(abs(i - j) >= gap for j in kept):
            kept.append(i)
    kept.sort()
    axes.set_xticks([i - cutoff for i in kept], [texts[i] for i in kept])
    if canvas.narrow:
        axes.get_xticklabels()[-1].set_horizontalalignment("right")


def _legend(figure: Figure, canvas: Canvas, handles: list[Artist], members: list[_Line]) -> None:
    """What is what, below the axes; on a phone the members too."""
    from matplotlib.lines import Line2D

    if canvas.narrow:
        handles = [
            *handles,
            *(
                Line2D([], [], color=m.colour, linestyle=m.dash, linewidth=1.2, label=m.label)
                for m in members
            ),
        ]
    columns = 2 if canvas.narrow else len(handles)
    rows = -(-len(handles) // columns)
    line = 1.55 * canvas.text * style.DPI / 72 / canvas.height
    figure.legend(
        handles=handles,
        loc="lower left",
        bbox_to_anchor=(0.01, 0.0),
        ncols=columns,
        frameon=False,
        fontsize=canvas.text,
        labelcolor=style.INK,
        handlelength=1.8,
        columnspacing=1.4,
        labelspacing=0.25,
    )
    figure.subplots_adjust(bottom=(rows + 2.4) * line, right=0.96 if canvas.narrow else 0.78)


def _right_labels(axes: Axes, canvas: Canvas, fan: Fan, members: list[_Line]) -> None:
    """Names at the ends of the lines, moved apart where they would overlap; the colour is the line's mark."""
    forecast = fan.forecast
    low, high = axes.get_ylim()
    bottom, top = axes.get_position().ymin, axes.get_position().ymax
    least = 1.45 * canvas.text * style.DPI / 72 / (canvas.height * (top - bottom)) * (high - low)
    entries = [
        (f"{text('chart.median', fan.language)} {fan.point_text}", float(forecast.point[-1]), style.BLUE)
    ]
    entries += [(m.label, float(m.values[-1]), m.colour) for m in members]
    ends = [min(max(value, low), high) for _, value, _ in entries]
    places = spread_labels(ends, least, low, high)
    for (words, value, colour), end, place in zip(entries, ends, places, strict=True):
        mark = " \u2191" if value > high else " \u2193" if value < low else ""
        axes.annotate(
            f"{printable(words, 25)}{mark}",
            xy=(forecast.steps, end),
            xytext=(1.025, (place - low) / (high - low)),
            textcoords="axes fraction",
            fontsize=canvas.text,
            color=colour if colour == style.BLUE else style.INK,
            weight="bold" if colour == style.BLUE else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.6,
                "shrinkA": 2,
                "shrinkB": 0,
                "relpos": (0.0, 0.5),
            },
        )
