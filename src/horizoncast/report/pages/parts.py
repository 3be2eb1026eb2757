"""Chart of where uncertainty comes from: what members state, and how far they disagree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from markupsafe import Markup

from horizoncast.report import style
from horizoncast.report.pages.frame import legend, panel, percent_axis, plain_axes
from horizoncast.report.pages.rendering import Chart
from horizoncast.report.pages.svg import picture
from horizoncast.report.texts import text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLOURS = {"within": style.BLUE, "between": style.LINES[0]}


class Part(Protocol):
    """A part at a lead, as a run's record and the review have it."""

    @property
    def step(self) -> int:
        """Lead."""

    @property
    def part(self) -> str:
        """``within`` or ``between``."""

    @property
    def share(self) -> float:
        """Of the variance."""


@dataclass(frozen=True, kw_only=True)
class ShareRow:
    """One part of a whole by lead: its name, its colour, and its share, 0 to 1."""

    label: str
    colour: str
    shares: Sequence[float]


def stacked_shares(
    rows: Sequence[ShareRow], steps: Sequence[int], *, axis: str, across: str, name: str, label: str
) -> Markup:
    """Bars by lead that add up to the whole, in per cent.

    Parameters
    ----------
    rows
        From the bottom up.
    axis, across
        What the bars are shares of, and what runs across.
    name, label
        See `svg.picture`.
    """
    canvas = panel()

    def paint(figure: Figure) -> None:
        axes = plain_axes(
            figure, canvas, unit=axis, across=across, legend_rows=1 if len(rows) < 3 else 2, left=0.165
        )
        below = np.zeros(len(steps))
        for row in rows:
            values = 100 * np.array(row.shares)
            axes.bar(range(len(steps)), values, bottom=below, color=row.colour, width=0.72, label=row.label)
            below = below + values
        percent_axis(axes, 100)
        axes.set_xticks(range(len(steps)), [str(step) for step in steps])
        legend(figure, canvas, axes, columns=2)

    return picture(canvas, paint, name=name, label=label)


def parts_chart(parts: Sequence[Part], language: str, *, name: str = "parts") -> Chart | None:
    """Shares of the variance by lead; None where none were recorded."""
    if not parts:
        return None
    steps = sorted({part.step for part in parts})
    kinds = list(dict.fromkeys(part.part for part in parts))
    share = {(part.step, part.part): part.share for part in parts}
    rows = [
        ShareRow(
            label=text(f"chart.parts.{kind}", language),
            colour=_COLOURS.get(kind, style.LINES[place % len(style.LINES)]),
            shares=[share.get((step, kind), 0.0) for step in steps],
        )
        for place, kind in enumerate(kinds)
    ]
    last = f"{100 * share.get((steps[-1], 'between'), 0.0):.0f}"
    return Chart(
        title=text("chart.parts.title", language, step=steps[-1], share=last),
        picture=stacked_shares(
            rows,
            steps,
            axis=text("chart.parts.axis", language),
            across=text("chart.step", language),
            name=name,
            label=text("chart.parts.label", language),
        ),
    )
