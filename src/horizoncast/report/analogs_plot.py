"""The past windows most like today's, drawn over it, and what followed each.

Every past window is moved and stretched to today's mean and spread, as the comparison sees it; what
followed is stretched alike. Letters in shapes: T window length, H sessions that followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.report import style
from horizoncast.report.style import Canvas, draw, dress, heading, number_ticks, printable, spread_labels
from horizoncast.store.plain import date_texts

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogLine:
    """A past window: its label, and (T + H,) values in today's mean and spread."""

    label: str
    values: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogChart:
    """What is drawn.

    Parameters
    ----------
    title, subtitle
        The finding, and what a reader must know.
    unit
        Of the axis.
    today
        (T,)
    dates
        (T + H,) of today's window and of the sessions to come.
    lines
        The most alike first.
    """

    title: str
    subtitle: str
    unit: str
    today: Floats
    dates: Dates
    lines: Sequence[AnalogLine]


def analogs_plot(chart: AnalogChart, *, width: int = 1200) -> bytes:
    """A PNG, equal bytes for equal input."""
    canvas = Canvas(width=width, height=round(0.56 * width))
    return draw(canvas, lambda figure: _paint(figure, canvas, chart))


def _paint(figure: Figure, canvas: Canvas, chart: AnalogChart) -> None:
    axes = figure.add_subplot()
    dress(axes, canvas)
    length = len(chart.today)
    time = np.arange(len(chart.dates)) - (length - 1)
    for k, line in enumerate(chart.lines):
        axes.plot(
            time,
            line.values,
            color=style.LINES[k % len(style.LINES)],
            linestyle=style.DASHES[k % len(style.DASHES)],
            linewidth=0.6 * canvas.line,
        )
    axes.plot(time[:length], chart.today, color=style.INK, linewidth=1.3 * canvas.line)
    axes.axvline(0, color=style.MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xlim(time[0], time[-1])
    _date_ticks(axes, canvas, chart.dates, length - 1)
    axes.set_ylabel(printable(chart.unit, 30), fontsize=canvas.text, color=style.MUTED)
    number_ticks(axes, canvas)
    figure.subplots_adjust(bottom=0.1, right=0.72)
    heading(figure, canvas, printable(chart.title, 200), printable(chart.subtitle, 200))
    _labels(axes, canvas, chart)


def _date_ticks(axes: Axes, canvas: Canvas, dates: Dates, cutoff: int) -> None:
    texts = date_texts(dates)
    end = len(texts) - 1
    kept = sorted({0, cutoff // 2, cutoff, (cutoff + end) // 2, end})
    wide = 1.4 * len(texts[0]) * 0.62 * canvas.text * style.DPI / 72
    room = 0.64 * canvas.width / max(1, end)
    shown = [
        i for i in kept if i in (0, cutoff, end) or min(abs(i - j) for j in (0, cutoff, end)) * room > wide
    ]
    axes.set_xticks([i - cutoff for i in shown], [texts[i] for i in shown])


def _labels(axes: Axes, canvas: Canvas, chart: AnalogChart) -> None:
    """Names at the ends of the lines, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    box = axes.get_position()
    least = 1.45 * canvas.text * style.DPI / 72 / (canvas.height * (box.ymax - box.ymin)) * (high - low)
    ends = [float(line.values[-1]) for line in chart.lines]
    for k, place in enumerate(spread_labels(ends, least, low, high)):
        axes.annotate(
            printable(chart.lines[k].label, 40),
            xy=(len(chart.dates) - len(chart.today), ends[k]),
            xytext=(1.02, (place - low) / (high - low)),
            textcoords="axes fraction",
            fontsize=canvas.text,
            color=style.LINES[k % len(style.LINES)],
            va="center",
            annotation_clip=False,
        )
