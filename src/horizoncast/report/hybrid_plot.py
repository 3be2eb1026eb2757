"""Chart of a fusion: where the hybrid's uncertainty comes from, and the branches' weights, by lead.

matplotlib is imported on use. Letters in shapes: H steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.engine import EngineResult
from horizoncast.ensemble.records import BRANCHES, FusionRecord
from horizoncast.report import style
from horizoncast.report.review.rounding import percent
from horizoncast.report.style import DPI, Canvas, draw, dress, heading, number_ticks, printable
from horizoncast.report.texts import ENGLISH, text
from horizoncast.series import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Floats = npt.NDArray[np.float64]

WIDE, PHONE = 1280, 380

PART_COLOURS = {"aleatoric": style.BLUE, "between": style.LINES[3], "epistemic": style.LINES[0]}
"""Parts from the bottom up."""
BRANCH_COLOURS = dict(zip(BRANCHES, (style.LINES[5], style.LINES[2]), strict=True))
_FEW = 12
"""Steps up to which each has a bar of its own."""
_SIDE_BY_SIDE = 900
"""Pixels from which the panels stand side by side."""


def hybrid_files(result: EngineResult) -> dict[str, bytes]:
    """For a screen and for a phone, by name, where a run has a fusion to show; equal for equal input."""
    fusion, series = result.decision.fusion, result.series
    if fusion is None or not drawable(fusion):
        return {}
    about: dict[str, Any] = {"series": series.name, "unit": series.unit, "scale": series.scale}
    return {
        "hybrid.png": hybrid_chart(fusion, **about),
        f"hybrid_{PHONE}.png": hybrid_chart(fusion, width=PHONE, **about),
    }


def drawable(fusion: FusionRecord) -> bool:
    """Whether weights and parts of the uncertainty are known at every lead, and there is some doubt."""
    total = fusion.uncertainty.total
    return bool(np.isfinite(fusion.weights).all() and np.isfinite(total).all() and total.max() > 0)


def hybrid_chart(
    fusion: FusionRecord,
    *,
    series: str,
    unit: str,
    scale: Scale,
    width: int = WIDE,
    language: str = ENGLISH,
) -> bytes:
    """Left: the standard deviation by lead, split by shares of the variance. Right: weights by lead.

    Parameters
    ----------
    fusion
        One that is `drawable`.
    series, unit, scale
        What was forecast; on the log scale a standard deviation is told in per cent.

    Returns
    -------
    bytes
        A PNG file, equal for equal input.
    """
    beside = width >= _SIDE_BY_SIDE
    canvas = Canvas(width=width, height=round(width * (0.5 if beside else 1.5)))

    def say(key: str, **values: object) -> str:
        return text(f"chart.hybrid.{key}", language, **values)

    def paint(figure: Figure) -> None:
        panels = figure.subplots(1, 2) if beside else figure.subplots(2, 1)
        factor = 100.0 if scale is Scale.LOG else 1.0
        parts = {name: factor * row for name, row in stacked_spreads(fusion).items() if row.any()}
        labels = {name: say(name) for name in parts}
        _stack(panels[0], canvas, parts, PART_COLOURS, labels)
        number_ticks(panels[0], canvas)
        axis = say("sd_log") if scale is Scale.LOG else say("sd_level", unit=printable(unit, 30))
        _name(panels[0], canvas, axis)
        weights = {name: 100.0 * row for name, row in zip(BRANCHES, fusion.weights, strict=True)}
        _stack(panels[1], canvas, weights, BRANCH_COLOURS, {name: name for name in BRANCHES})
        panels[1].set_ylim(0, 100)
        _name(panels[1], canvas, say("weights"))
        for axes in panels:
            axes.set_xlabel(text("chart.step", language), fontsize=canvas.text, color=style.MUTED)
            _legend(axes, canvas)
        title, below = _words(fusion, printable(series, 40), language)
        heading(figure, canvas, title, below, room=2.2 if beside else 3.4)
        lines = (6.4 if beside else 6.0) * canvas.text * DPI / 72 / canvas.height
        figure.subplots_adjust(right=0.97, bottom=lines, wspace=0.16, hspace=0.95)

    return draw(canvas, paint)


def stacked_spreads(fusion: FusionRecord) -> dict[str, Floats]:
    """(H,) of each part, from the bottom up; they add up to the standard deviation at every lead."""
    shares = dict(zip(("epistemic", "aleatoric", "between"), fusion.uncertainty.shares, strict=True))
    return {name: np.nan_to_num(shares[name]) * fusion.uncertainty.spread for name in PART_COLOURS}


def _words(fusion: FusionRecord, series: str, language: str) -> tuple[str, str]:
    """The finding, and the line below it."""
    epistemic, _, between = np.nan_to_num(fusion.uncertainty.shares)
    known = bool(epistemic.any())
    title = finding_of(fusion.steps, epistemic[-1] if known else None, between[-1], language)
    mean = f"{100.0 * fusion.weights[0].mean():.0f}"
    below = text("chart.hybrid.below", language, series=series, branch=BRANCHES[0], share=mean)
    return title, below


def finding_of(step: int, epistemic: float | None, between: float, language: str) -> str:
    """What the doubt comes to, from shares of the variance; None where that about the models is not known."""
    words = {"step": step, "between": percent(between)}
    if epistemic is None:
        return text("chart.hybrid.title_unknown", language, **words)
    return text("chart.hybrid.title", language, epistemic=percent(epistemic), **words)


def _stack(
    axes: Axes,
    canvas: Canvas,
    rows: Mapping[str, Floats],
    colours: Mapping[str, str],
    labels: Mapping[str, str],
) -> None:
    """Rows one above the other by lead: bars for a few leads, areas for more."""
    dress(axes, canvas)
    steps = np.arange(1, len(next(iter(rows.values()))) + 1)
    below = np.zeros(len(steps))
    for name, row in rows.items():
        drawn: dict[str, Any] = {
            "color": colours[name],
            "edgecolor": "white",
            "linewidth": 0.8,
            "label": labels[name],
        }
        if len(steps) <= _FEW:
            axes.bar(steps, row, bottom=below, width=0.72, **drawn)
        else:
            axes.fill_between(steps, below, below + row, **drawn)
        below = below + row
    if len(steps) <= _FEW:
        axes.set_xticks(steps)
    else:
        axes.set_xlim(1, len(steps))
    axes.set_ylim(bottom=0)


def _name(axes: Axes, canvas: Canvas, words: str) -> None:
    """What the y axis counts, above it."""
    axes.set_title(canvas.wrap(words, canvas.text), fontsize=canvas.text, color=style.INK, loc="left")


def _legend(axes: Axes, canvas: Canvas) -> None:
    """What is what, below the axes."""
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(-0.03, -0.15 if canvas.width >= _SIDE_BY_SIDE else -0.24),
        ncols=2 if canvas.narrow else 3,
        frameon=False,
        fontsize=0.9 * canvas.text,
        labelcolor=style.INK,
        handlelength=1.2,
        columnspacing=1.2,
    )
