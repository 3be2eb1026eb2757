"""What the small charts of a page share: size, axes, dates, legend. matplotlib is imported on use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.report import style
from horizoncast.report.style import DPI, Canvas, dress, number_ticks, printable
from horizoncast.report.texts import day

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Dates = npt.NDArray[np.datetime64]

WIDTH, HEIGHT = 380, 250
LETTERS = 12.5
"""Pixels; a panel is shown at 0.8 to 1.3 times its size, so that texts stay between 10 and 16."""


_APART = 0.24
"""Share of the axis that two ticks must lie apart, so that their texts do not meet."""


def panel(height: int = HEIGHT) -> Canvas:
    """Size of a small chart."""
    return Canvas(width=WIDTH, height=height, letters=LETTERS)


def plain_axes(
    figure: Figure, canvas: Canvas, *, unit: str, across: str = "", legend_rows: int = 0, left: float = 0.115
) -> Axes:
    """Quiet axes with the unit above them, what runs across below, and room for a legend."""
    axes = figure.add_subplot()
    dress(axes, canvas)
    number_ticks(axes, canvas)
    line = canvas.text * DPI / 72 / canvas.height
    bottom = (2.0 + (1.35 if across else 0.0) + 1.5 * legend_rows) * line
    figure.subplots_adjust(left=left, right=0.97, top=1 - 1.9 * line, bottom=bottom)
    axes.annotate(
        printable(unit, 48),
        xy=(0.0, 1 - 0.25 * line),
        xycoords="figure fraction",
        fontsize=canvas.text,
        color=style.MUTED,
        va="top",
    )
    if across:
        axes.set_xlabel(across, fontsize=canvas.text, color=style.MUTED, labelpad=2)
    return axes


def legend(figure: Figure, canvas: Canvas, axes: Axes, *, columns: int) -> None:
    """What is what, along the bottom."""
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles,
        [printable(name, 30) for name in names],
        loc="lower left",
        bbox_to_anchor=(0.0, -0.02),
        ncols=columns,
        frameon=False,
        fontsize=canvas.text,
        labelcolor=style.INK,
        handlelength=1.5,
        handletextpad=0.5,
        columnspacing=1.2,
        labelspacing=0.3,
        borderpad=0.2,
    )


def days_of(dates: Dates | Sequence[str]) -> Floats:
    """Dates as days since 1970, with fractions."""
    return np.asarray(dates, dtype="datetime64[s]").astype(np.int64) / 86400.0


def date_ticks(axes: Axes, days: Floats, language: str, *, most: int = 4) -> None:
    """A few of the dates as ticks, the last one among them: by month over a year, by hour in a few days."""
    known = np.unique(days)
    wanted = np.linspace(known[0], known[-1], most)
    places = known[np.unique(np.abs(known[None, :] - wanted[:, None]).argmin(axis=1))]
    span = float(known[-1] - known[0])
    apart = [p for p in places[:-1] if places[-1] - p >= _APART * span]
    places = np.array(
        [p for k, p in enumerate(apart) if k == 0 or p - apart[k - 1] >= _APART * span] + [places[-1]]
    )
    stamps = (places * 86400).round().astype(np.int64).astype("datetime64[s]")
    axes.set_xticks(places.tolist(), [_tick(stamp, span, language) for stamp in stamps])
    axes.get_xticklabels()[-1].set_horizontalalignment("right" if len(places) > 1 else "center")


def _tick(stamp: np.datetime64, span: float, language: str) -> str:
    name = day(stamp, language, year=False)
    if span > 300:
        return f"{name[name.index(' ') + 1 :]} {str(stamp)[:4]}"
    return f"{name} {str(stamp)[11:16]}" if span < 4 and str(stamp)[11:16] != "00:00" else name


def percent_axis(axes: Axes, top: float | None = None) -> None:
    """The y axis in whole per cent, from 0."""
    axes.set_ylim(0, top)
    from matplotlib.ticker import FuncFormatter

    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}\u00a0%"))
