"""How charts look: one palette that colour-blind readers can tell apart, sizes in pixels.

Colours: Okabe & Ito, Color Universal Design (2008); bands are one blue in three strengths.
"""

from __future__ import annotations

import io
import textwrap
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DPI = 100
INK = "#222222"
MUTED = "#595959"
GRID = "#dddddd"
BLUE = "#0072B2"
BANDS: dict[float, str] = {0.95: "#cfe3f1", 0.8: "#9cc6e2", 0.5: "#62a3d0"}
"""Central coverage to colour, widest first."""
LINES = ("#D55E00", "#009E73", "#CC79A7", "#B8860B", "#7B3294", "#00798C", "#8C510A")
Dash = tuple[float, tuple[float, ...]]
"""Offset, then lengths of strokes and gaps; none for a solid line."""

DASHES: tuple[Dash, ...] = ((0, ()), (0, (5, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))
"""Line styles in turn, so that colour is never the only mark."""

_RC: dict[Any, Any] = {
    "svg.hashsalt": "horizoncast",
    "svg.fonttype": "none",
    "text.parse_math": False,
    "text.usetex": False,
    "font.family": ["DejaVu Sans"],
    "axes.unicode_minus": True,
    "path.simplify": True,
}
_LOCK = threading.Lock()
"""matplotlib's settings are one per process: one chart at a time."""


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Size of a chart and of its texts.

    Parameters
    ----------
    width, height
        In pixels.
    letters
        Size of ordinary text in pixels; by default it follows the width.
    """

    width: int
    height: int
    letters: float | None = None

    @property
    def narrow(self) -> bool:
        """Whether there is no room for labels beside the lines."""
        return self.width < 640

    @property
    def text(self) -> float:
        """Size of ordinary text in points: 10 pixels on a phone, 16 on a wide screen."""
        return _points(self.letters or min(16.0, max(10.0, self.width / 75)))

    @property
    def title(self) -> float:
        """Size of the title in points."""
        return _points(min(22.0, max(12.0, self.width / 56)))

    @property
    def line(self) -> float:
        """Width of a main line in points."""
        return 1.4 if self.narrow else 2.2

    def wrap(self, text: str, size: float) -> str:
        """Break a text where the chart ends; DejaVu Sans is about 0.6 of its size wide."""
        letters = int(self.width * 0.94 / (0.6 * size * DPI / 72))
        return "\n".join(textwrap.wrap(text, max(10, letters)))


def draw(
    canvas: Canvas, paint: Callable[[Figure], None], file_format: str = "png", *, background: bool = True
) -> bytes:
    """Paint a figure and return the file, equal bytes for equal input.

    pyplot is not involved and settings are put back, so that a caller's own charts are left alone.

    Parameters
    ----------
    background
        False leaves figure and axes see-through: the page behind an inline picture may be dark.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    metadata = {"Software": None} if file_format == "png" else {"Date": None, "Creator": None}
    sink = io.BytesIO()
    with _LOCK, mpl.rc_context(_RC):
        figure = Figure(figsize=(canvas.width / DPI, canvas.height / DPI), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        paint(figure)
        for patch in () if background else (figure.patch, *(axes.patch for axes in figure.axes)):
            patch.set_visible(False)
        figure.savefig(sink, format=file_format, dpi=DPI, metadata=metadata)
    return sink.getvalue()


def printable(text: str, longest: int = 60) -> str:
    """The text in one line of glyphs that the font has; others become a box.

    >>> printable("USD  per " + chr(0x4E2D)) == "USD per " + chr(0x25A1)
    True
    """
    known = _glyphs()
    line = " ".join(text.split())
    shown = "".join(c if ord(c) in known else "\u25a1" for c in line)
    return shown if len(shown) <= longest else shown[: longest - 1] + "\u2026"


def dress(axes: Axes, canvas: Canvas) -> None:
    """Quiet axes: no box, a light horizontal grid, small ticks."""
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=canvas.text, colors=MUTED, length=3)


def heading(figure: Figure, canvas: Canvas, title: str, subtitle: str, *, room: float = 1.0) -> None:
    """The finding on top, a quieter line below it; the axes get the rest, less `room` lines."""
    main, below = (
        canvas.wrap(text.replace(" %", "\u00a0%"), size)
        for text, size in ((title, canvas.title), (subtitle, canvas.text))
    )
    line = 1.3 / 72 * DPI / canvas.height
    top = 1 - 0.6 * line * canvas.title
    figure.text(0.02, top, main, fontsize=canvas.title, color=INK, weight="bold", va="top")
    lower = top - (main.count("\n") + 1) * line * canvas.title
    figure.text(0.02, lower, below, fontsize=canvas.text, color=MUTED, va="top")
    end = lower - (below.count("\n") + 0.6 + room) * line * canvas.text
    figure.subplots_adjust(top=end, left=0.13 if canvas.narrow else 0.08)


def number_ticks(axes: Axes, canvas: Canvas) -> None:
    """Few ticks on the y axis, in plain numbers without an offset."""
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    axes.yaxis.set_major_locator(MaxNLocator(nbins=4 if canvas.narrow else 6))
    formatter = ScalarFormatter(useOffset=False, useMathText=False)
    formatter.set_powerlimits((-5, 7))
    axes.yaxis.set_major_formatter(formatter)
    axes.yaxis.get_offset_text().set_fontsize(canvas.text)


def spread_labels(wanted: list[float], least: float, low: float, high: float) -> list[float]:
    """Positions of labels in order of `wanted`, at least `least` apart, inside [low, high] if they fit.

    >>> spread_labels([1.0, 1.1, 5.0], 1.0, 0.0, 6.0)
    [1.0, 2.0, 5.0]
    """
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    out = [0.0] * len(wanted)
    floor = low
    for i in order:
        out[i] = max(min(wanted[i], high), floor)
        floor = out[i] + least
    ceiling = high
    for i in reversed(order):
        out[i] = min(out[i], ceiling)
        ceiling = out[i] - least
    return out


def _points(pixels: float) -> float:
    return pixels * 72 / DPI


@lru_cache(maxsize=1)
def _glyphs() -> frozenset[int]:
    from matplotlib import font_manager

    path = font_manager.findfont("DejaVu Sans")
    return frozenset(font_manager.get_font(path).get_charmap())
