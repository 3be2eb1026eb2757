"""Chart of a backtest: error by lead relative to a reference, and coverage by lead.

matplotlib is imported on use. Letters in shapes: R scored cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.report import style
from horizoncast.report.style import Canvas, draw, dress, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

SHIPPED = "shipped"
WIDE = 1280


def backtest_chart(
    bank: Bank, subjects: Mapping[str, Floats], reference: str, title: str, *, width: int = WIDE
) -> bytes:
    """Left: RMSE of each member and of ``shipped`` by lead over the reference's. Right: coverage.

    Parameters
    ----------
    bank
        The scored cutoffs with their actuals, in the scale.
    subjects
        (R, H, Q) in the scale; members of the bank, ``shipped`` and whatever else (left out).
    reference
        Subject that errors are relative to.

    Returns
    -------
    bytes
        A PNG file, equal for equal input.
    """
    canvas = Canvas(width=width, height=round(width * 0.5))

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        for axes in (left, right):
            dress(axes, canvas)
            axes.set_xlabel("step", fontsize=canvas.text, color=style.MUTED)
        _paint_errors(left, canvas, bank, subjects, reference)
        _paint_coverage(right, canvas, bank, subjects[SHIPPED])
        figure.text(0.02, 0.96, printable(title, 120), fontsize=canvas.title, color=style.INK, va="top")
        figure.subplots_adjust(left=0.06, right=0.98, top=0.82, bottom=0.22, wspace=0.16)

    return draw(canvas, paint)


def rmse_by_lead(quantiles: Floats, bank: Bank) -> Floats:
    """(H,) root mean square error of the median at each step, in the scale; NaN where nothing is known."""
    error = (quantiles[..., bank.level_index(0.5)] - bank.actuals) ** 2
    known = np.isfinite(error)
    total = np.where(known, error, 0.0).sum(axis=0)
    return np.asarray(np.sqrt(total / np.where(known.any(axis=0), known.sum(axis=0), np.nan)))


def coverage_by_lead(quantiles: Floats, bank: Bank, share: float) -> Floats:
    """(H,) share of known actuals inside the central interval at each step; NaN where none is known."""
    tail = round((1.0 - share) / 2.0, 6)
    low = quantiles[..., bank.level_index(tail)]
    high = quantiles[..., bank.level_index(round(1.0 - tail, 6))]
    known = np.isfinite(bank.actuals) & np.isfinite(low)
    inside = known & (low <= bank.actuals) & (bank.actuals <= high)
    return np.asarray(inside.sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan))


def _paint_errors(
    axes: Axes, canvas: Canvas, bank: Bank, subjects: Mapping[str, Floats], reference: str
) -> None:
    """One line per member, ``shipped`` above them; a lead where the reference is perfect has none."""
    steps = np.arange(1, bank.horizon.steps + 1)
    base = rmse_by_lead(subjects[reference], bank)
    base = np.where(base > 0, base, np.nan)
    names = [name for name in bank.members if name != reference]
    for turn, name in enumerate(names):
        axes.plot(
            steps,
            rmse_by_lead(subjects[name], bank) / base,
            color=style.LINES[turn % len(style.LINES)],
            linestyle=style.DASHES[turn % len(style.DASHES)],
            linewidth=0.8 * canvas.line,
            label=name,
            marker="o" if len(steps) == 1 else None,
        )
    ratio = rmse_by_lead(subjects[SHIPPED], bank) / base
    axes.plot(steps, ratio, color=style.BLUE, linewidth=1.6 * canvas.line, label=SHIPPED)
    axes.axhline(1.0, color=style.MUTED, linewidth=1.0, linestyle=(0, (2, 2)))
    axes.set_title("RMSE relative to the reference", fontsize=canvas.text, color=style.INK, loc="left")
    line_legend(axes, canvas)


def _paint_coverage(axes: Axes, canvas: Canvas, bank: Bank, quantiles: Floats) -> None:
    steps = np.arange(1, bank.horizon.steps + 1)
    for share, colour in ((0.95, style.LINES[1]), (0.8, style.BLUE)):
        found = 100 * coverage_by_lead(quantiles, bank, share)
        axes.plot(steps, found, color=colour, linewidth=canvas.line, label=f"{100 * share:.0f} % interval")
        axes.axhline(100 * share, color=colour, linewidth=1.0, linestyle=(0, (2, 2)))
    axes.set_ylim(top=101.0)
    axes.set_title("coverage of shipped, per cent", fontsize=canvas.text, color=style.INK, loc="left")
    line_legend(axes, canvas)


def line_legend(axes: Axes, canvas: Canvas) -> None:
    """Names of the lines, below the axes."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.14),
        ncols=3,
        frameon=False,
        fontsize=0.9 * canvas.text,
        labelcolor=style.INK,
    )
