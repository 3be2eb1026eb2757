"""What changed since the forecast before: a waterfall and a table whose parts add up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from horizoncast.report import style
from horizoncast.report.pages.frame import panel, plain_axes
from horizoncast.report.pages.rendering import Cell, Chart, Head, Table, number
from horizoncast.report.pages.svg import picture
from horizoncast.report.texts import day, text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from horizoncast.report.style import Canvas

PARTS = ("data", "members", "weights", "skill", "width")
MEDIAN = "median"
_NOTHING = 1e-3
"""Of the half-width, or of the value: a move below it is none."""


class Recorded(Protocol):
    """A change as a run's record has it; see `horizoncast.store.records.ChangeRecord`."""

    @property
    def step(self) -> int:
        """Lead in the new forecast."""

    @property
    def date(self) -> str:
        """Its date."""

    @property
    def measure(self) -> str:
        """Median, or half-width of the 80 % interval."""

    @property
    def before(self) -> float:
        """In the unit."""

    @property
    def after(self) -> float:
        """In the unit."""

    @property
    def data(self) -> float:
        """Part of ``after - before``, as are the next four."""

    @property
    def members(self) -> float:
        """Part."""

    @property
    def weights(self) -> float:
        """Part."""

    @property
    def skill(self) -> float:
        """Part."""

    @property
    def width(self) -> float:
        """Part."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A change as it is shown: the parts in their order."""

    step: int
    date: str
    measure: str
    before: float
    after: float
    parts: tuple[float, ...]

    @property
    def largest(self) -> str:
        """The part that moved it most."""
        return PARTS[int(np.argmax(np.abs(self.parts)))]


def moves_of(changes: Sequence[Recorded]) -> list[Move]:
    """From a run's record."""
    return [
        Move(
            step=c.step,
            date=c.date,
            measure=str(c.measure),
            before=c.before,
            after=c.after,
            parts=(c.data, c.members, c.weights, c.skill, c.width),
        )
        for c in changes
    ]


def change_table(moves: Sequence[Move], language: str) -> Table:
    """Every date and measure, in the digits that the half-widths leave."""
    head = [Head(text=text("change.date", language)), Head(text=text("change.what", language))]
    names = [text("change.before", language), *(text(f"change.part.{p}", language) for p in PARTS)]
    head += [Head(text=name, kind="number") for name in (*names, text("change.after", language))]
    digits = _digits(moves)
    rows = []
    for move in moves:
        parts = (_signed(p, digits) for p in shown_parts(move, digits))
        values = [f"{move.before:.{digits}f}", *parts, f"{move.after:.{digits}f}"]
        what = text(f"change.measure.{move.measure}", language)
        rows.append([Cell(text=move.date), Cell(text=what), *(number(v) for v in values)])
    return Table(label=text("change.table", language), head=head, rows=rows)


def shown_parts(move: Move, digits: int) -> tuple[float, ...]:
    """The parts, rounded so that what is shown adds up as well: the largest takes what rounding leaves.

    >>> move = Move(step=1, date="", measure="median", before=17.0083, after=18.1496, parts=(1.1413, 0.0))
    >>> shown_parts(move, 3)
    (1.142, 0.0)
    """
    parts = [round(part, digits) for part in move.parts]
    largest = int(np.argmax(np.abs(move.parts)))
    left = round(move.after, digits) - round(move.before, digits) - sum(parts)
    parts[largest] = round(parts[largest] + left, digits)
    return tuple(parts)


def change_chart(moves: Sequence[Move], unit: str, language: str, *, name: str = "change") -> Chart | None:
    """Waterfall of the expected value at the last common date; None without one."""
    medians = [move for move in moves if move.measure == MEDIAN]
    if not medians:
        return None
    move, canvas, digits = medians[-1], panel(), _digits(moves)
    names = [text(f"change.part.{part}", language) for part in PARTS]

    def paint(figure: Figure) -> None:
        axes = plain_axes(figure, canvas, unit=unit, left=0.2)
        axes.grid(axis="y", visible=False)
        axes.grid(axis="x", color=style.GRID, linewidth=0.8)
        level = np.concatenate([[move.before], move.before + np.cumsum(move.parts)])
        low, high = float(level.min()), float(level.max())
        room = (high - low) or abs(high) * 0.01 or 1.0
        shown = shown_parts(move, digits)
        for place, part in enumerate(move.parts, start=1):
            colour = style.BLUE if part >= 0 else style.LINES[0]
            axes.barh(place, part, left=level[place - 1], color=colour, height=0.6)
            axes.plot([level[place - 1]] * 2, [place - 1, place + 0.3], color=style.MUTED, linewidth=0.8)
            _value(
                axes, canvas, max(level[place - 1], level[place]), place, _signed(shown[place - 1], digits)
            )
        axes.plot([level[-1]] * 2, [len(PARTS) + 0.3, len(PARTS) + 1], color=style.MUTED, linewidth=0.8)
        for place, value in ((0, move.before), (len(PARTS) + 1, move.after)):
            axes.plot(value, place, "o", color=style.INK, markersize=6)
            _value(axes, canvas, value, place, f" {value:.{digits}f}")
        axes.set_xlim(low - 0.08 * room, high + 0.28 * room)
        ends = text("change.before", language), text("change.after", language)
        axes.set_yticks(range(len(PARTS) + 2), [ends[0], *names, ends[1]])
        axes.set_ylim(len(PARTS) + 1.6, -0.6)
        axes.locator_params(axis="x", nbins=4)

    return Chart(
        title=change_title(move, moves, language),
        picture=picture(canvas, paint, name=name, label=_label(move, language)),
    )


def _value(axes: Axes, canvas: Canvas, at: float, place: int, words: str) -> None:
    """A number to the right of a bar."""
    axes.annotate(
        words, (at, place), (4, 0), textcoords="offset points", va="center",
        fontsize=canvas.text * 0.92, color=style.INK,
    )  # fmt: skip


def change_title(move: Move, moves: Sequence[Move], language: str) -> str:
    """How far it moved, and which part of the move is the largest."""
    digits = _digits(moves)
    widths = [m.after for m in moves if m.measure != MEDIAN and m.date == move.date]
    scale = widths[0] if widths else abs(move.after)
    values = {
        "measure": text(f"change.measure.{move.measure}", language),
        "date": day(np.datetime64(move.date), language),
        "after": f"{move.after:.{digits}f}",
    }
    if abs(move.after - move.before) < _NOTHING * scale:
        return _capital(text("change.same", language, **values))
    part = text(f"change.part.{move.largest}", language)
    return _capital(text("change.title", language, before=f"{move.before:.{digits}f}", part=part, **values))


def _label(move: Move, language: str) -> str:
    measure = text(f"change.measure.{move.measure}", language)
    return text("change.label", language, measure=measure, date=day(np.datetime64(move.date), language))


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]


def _digits(moves: Sequence[Move]) -> int:
    """Decimals that leave three digits of the smallest half-width."""
    widths = [m.after for m in moves if m.measure != MEDIAN and m.after > 0]
    base = min(widths, default=0.0) or max((abs(m.after) for m in moves), default=1.0) / 100 or 1.0
    return int(min(8, max(0, 2 - np.floor(np.log10(base)))))


def _signed(value: float, digits: int) -> str:
    words = f"{value:+.{digits}f}"
    return words[1:] if float(words) == 0 else words
