"""The loss curve of a training as a PNG: learning, held back, and its best step."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from horizoncast.models.chronos.bolt_descent import Look

_BLUE, _ORANGE, _MUTED = "#0072B2", "#D55E00", "#595959"
_FONT = 12.0


def loss_plot(
    looks: Sequence[Look], *, title: str, subtitle: str, chosen: int, unfrozen: Sequence[int]
) -> bytes:
    """Losses relative to where each began, so that both fit one axis; equal bytes for equal input.

    Parameters
    ----------
    looks
        Losses by step; the first is the base.
    chosen
        Step whose held-back loss was the smallest.
    unfrozen
        Steps from which more of the network moved.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sink = io.BytesIO()
    with mpl.rc_context({"font.family": ["DejaVu Sans"], "text.parse_math": False}):
        figure = Figure(figsize=(9.6, 5.4), dpi=100, facecolor="white")
        FigureCanvasAgg(figure)
        axes = figure.add_axes((0.09, 0.12, 0.88, 0.68))
        _lines(axes, looks)
        for step in unfrozen:
            axes.axvline(step, color=_MUTED, linewidth=0.8, linestyle=(0, (1, 2)))
        axes.axvline(
            chosen, color=_ORANGE, linewidth=1.2, linestyle=(0, (5, 2)), label=f"best look: step {chosen}"
        )
        axes.set_xlabel("step (dotted: more of the network is unfrozen)", fontsize=_FONT, color=_MUTED)
        axes.set_ylabel("loss, its first value = 1", fontsize=_FONT, color=_MUTED)
        axes.legend(fontsize=_FONT, frameon=False, loc="best")
        axes.tick_params(labelsize=_FONT, colors=_MUTED)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        figure.text(0.02, 0.95, title, fontsize=15, weight="bold", va="top")
        figure.text(0.02, 0.885, subtitle, fontsize=_FONT, color=_MUTED, va="top")
        figure.savefig(sink, format="png", dpi=100, metadata={"Software": None})
    return sink.getvalue()


def _lines(axes: object, looks: Sequence[Look]) -> None:
    steps = np.array([look.step for look in looks])
    for values, label, colour, style in (
        ([look.train for look in looks], "windows learnt from", _MUTED, (0, (4, 2))),
        ([look.held for look in looks], "windows held back", _BLUE, "-"),
    ):
        loss = np.array(values, dtype=np.float64)
        known = np.isfinite(loss)
        if known.any():
            relative = loss[known] / loss[known][0]
            axes.plot(steps[known], relative, label=label, color=colour, linestyle=style, marker="o")  # type: ignore[attr-defined]
