"""Chart of a comparison: error by lead, coverage by lead, and when one gained on the other.

matplotlib is imported on use. Letters in shapes: R compared cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.report import style
from horizoncast.report.backtest_plot import WIDE, coverage_by_lead, line_legend, rmse_by_lead
from horizoncast.report.style import Canvas, draw, dress, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]
Pair = tuple[Floats, Floats]

COLOURS = (style.BLUE, style.LINES[0])
_MANY_TICKS = 4
_LEAST_ROOM = 0.01


def compare_chart(
    bank: Bank, names: tuple[str, str], quantiles: Pair, losses: Pair, title: str, *, width: int = WIDE
) -> bytes:
    """Left: RMSE of B over A's by step. Middle: coverage of both by step. Right: what B gained over time.

    Parameters
    ----------
    bank
        The compared cutoffs with their actuals, in the scale.
    names
        A and B.
    quantiles, losses
        (R, H, Q) in the scale, and (R,) losses, of A and B.

    Returns
    -------
    bytes
        A PNG file, equal for equal input.
    """
    canvas = Canvas(width=width, height=round(width * 0.42))

    def paint(figure: Figure) -> None:
        left, middle, right = figure.subplots(1, 3)
        for axes in (left, middle, right):
            dress(axes, canvas)
        for axes in (left, middle):
            axes.set_xlabel("step", fontsize=canvas.text, color=style.MUTED)
        _paint_ratio(left, canvas, bank, names, quantiles)
        _paint_coverage(middle, canvas, bank, names, quantiles)
        _paint_gain(right, canvas, bank, names, losses)
        figure.text(0.02, 0.96, printable(title, 120), fontsize=canvas.title, color=style.INK, va="top")
        figure.subplots_adjust(left=0.06, right=0.98, top=0.8, bottom=0.26, wspace=0.22)

    return draw(canvas, paint)


def cumulative_gain(losses: Pair) -> Floats:
    """(R,) sum up to each cutoff of A's loss less B's, relative to A's loss in all.

    It ends at 1 minus the ratio of the mean losses: a line that climbs steadily is a gain everywhere, one
    that jumps once is a gain at a single time.
    """
    total = float(losses[0].sum())
    gain = np.cumsum(losses[0] - losses[1])
    return np.asarray(gain / total if total > 0 else np.full_like(gain, np.nan))


def _paint_ratio(axes: Axes, canvas: Canvas, bank: Bank, names: tuple[str, str], quantiles: Pair) -> None:
    steps = np.arange(1, bank.horizon.steps + 1)
    base = rmse_by_lead(quantiles[0], bank)
    ratio = rmse_by_lead(quantiles[1], bank) / np.where(base > 0, base, np.nan)
    marker = "o" if len(steps) == 1 else None
    axes.plot(steps, ratio, color=COLOURS[1], linewidth=1.6 * canvas.line, marker=marker, label=names[1])
    axes.axhline(1.0, color=COLOURS[0], linewidth=1.0, linestyle=(0, (2, 2)), label=names[0])
    off = max(_LEAST_ROOM, float(np.nanmax(np.abs(ratio - 1.0), initial=0.0)) * 1.1)
    axes.set_ylim(1.0 - off, 1.0 + off)  # else a tie fills the picture with its last digits
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_title(f"RMSE relative to {names[0]}", fontsize=canvas.text, color=style.INK, loc="left")
    line_legend(axes, canvas)


def _paint_coverage(axes: Axes, canvas: Canvas, bank: Bank, names: tuple[str, str], quantiles: Pair) -> None:
    steps = np.arange(1, bank.horizon.steps + 1)
    for share, dash in ((0.95, style.DASHES[0]), (0.8, style.DASHES[1])):
        for name, rows, colour in zip(names, quantiles, COLOURS, strict=True):
            found = 100 * coverage_by_lead(rows, bank, share)
            label = f"{name} {100 * share:.0f} %"
            axes.plot(steps, found, color=colour, linestyle=dash, linewidth=canvas.line, label=label)
        axes.axhline(100 * share, color=style.MUTED, linewidth=1.0, linestyle=(0, (2, 2)))
    axes.set_ylim(top=101.0)
    axes.set_title("coverage, per cent", fontsize=canvas.text, color=style.INK, loc="left")
    line_legend(axes, canvas)


def _paint_gain(axes: Axes, canvas: Canvas, bank: Bank, names: tuple[str, str], losses: Pair) -> None:
    gain = 100 * cumulative_gain(losses)
    days = bank.cutoffs.astype("datetime64[D]")
    marker = "o" if len(gain) == 1 else None
    axes.plot(days, gain, color=COLOURS[1], linewidth=1.6 * canvas.line, marker=marker)
    axes.axhline(0.0, color=COLOURS[0], linewidth=1.0, linestyle=(0, (2, 2)))
    places = np.unique(np.linspace(0, len(days) - 1, _MANY_TICKS).round().astype(np.int64))
    axes.set_xticks(days[places], [str(day)[:7] for day in days[places]])
    axes.set_title(
        f"loss saved by {names[1]} so far, per cent",
        fontsize=canvas.text,
        color=style.INK,
        loc="left",
    )
