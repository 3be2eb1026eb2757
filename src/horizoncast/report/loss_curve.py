"""How the network behind a run was trained: its losses by step, as JSON and as a chart.

matplotlib is imported on use.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from horizoncast.report import style
from horizoncast.report.style import Canvas, draw, dress, heading
from horizoncast.store.checkpoints import Manifest, manifests
from horizoncast.store.plain import date_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDE = 1280


@dataclass(frozen=True, kw_only=True)
class Training:
    """The newest training of a member that a run may have answered with.

    Parameters
    ----------
    member, series, service, steps
        Whose it is; `steps` is the horizon.
    key, trained_until
        Of its checkpoint.
    chosen, share
        Step that was kept, per network (1 is the closed form, 0 the naive), and how far the network is
        followed from there.
    curves
        Per network (step, training loss or None, held-back loss).
    """

    member: str
    series: str
    service: str
    steps: int
    key: str
    trained_until: str
    chosen: tuple[int, ...]
    share: float
    curves: tuple[tuple[tuple[int, float | None, float], ...], ...]


def newest_trainings(
    folder: Path, *, series: str, service: str, steps: int, cutoff: np.datetime64
) -> list[Training]:
    """One per member: the latest re-fit point at or before the cutoff, the newest file of several."""
    found: dict[str, Manifest] = {}
    for manifest in manifests(folder):
        facts = manifest.facts
        if (facts.get("series"), facts.get("service"), facts.get("steps")) != (series, service, steps):
            continue
        best = found.get(facts["member"])
        if manifest.trained_until <= cutoff and (
            best is None or manifest.trained_until >= best.trained_until
        ):
            found[facts["member"]] = manifest
    return [_training(manifest) for _, manifest in sorted(found.items())]


def _training(manifest: Manifest) -> Training:
    facts = manifest.facts
    return Training(
        member=facts["member"],
        series=facts["series"],
        service=facts["service"],
        steps=facts["steps"],
        key=manifest.key,
        trained_until=date_text(manifest.trained_until),
        chosen=tuple(facts["chosen"]),
        share=facts["share"],
        curves=tuple(tuple((step, train, held) for step, train, held in curve) for curve in facts["curves"]),
    )


def training_files(trainings: Sequence[Training]) -> dict[str, bytes]:
    """``training_MEMBER.json`` and ``.png``, by name; equal for equal input."""
    files = {}
    for training in trainings:
        text = json.dumps(vars(training), indent=1, sort_keys=True) + "\n"
        files[f"training_{training.member}.json"] = text.encode()
        files[f"training_{training.member}.png"] = loss_chart(training)
    return files


def loss_chart(training: Training, *, width: int = WIDE) -> bytes:
    """A PNG: held-back and training loss by step, relative to the naive's held-back loss."""
    canvas = Canvas(width=width, height=round(width * 0.5))

    def paint(figure: Figure) -> None:
        axes = figure.subplots()
        dress(axes, canvas)
        for k, curve in enumerate(training.curves):
            base = curve[0][2]
            learnt = [(step, train / base) for step, train, _ in curve if train is not None]
            label = f" {k + 1}" if len(training.curves) > 1 else ""
            axes.plot(
                [step for step, _, _ in curve],
                [held / base for _, _, held in curve],
                color=style.BLUE,
                linewidth=canvas.line,
                marker="o",
                label=f"held back{label}",
            )
            if learnt:
                axes.plot(
                    *zip(*learnt, strict=True),
                    color=style.LINES[0],
                    linewidth=canvas.line,
                    linestyle=style.DASHES[1],
                    label=f"training{label}",
                )
            axes.axvline(training.chosen[k], color=style.MUTED, linewidth=1.0)
        axes.axhline(1.0, color=style.MUTED, linewidth=1.0)
        axes.set_xlabel("step (0 the naive, 1 the closed form)", fontsize=canvas.text, color=style.MUTED)
        axes.legend(fontsize=canvas.text, frameon=False)
        title = f"{training.member}, {training.series}, {training.steps} steps ahead"
        chosen = ", ".join(str(step) for step in training.chosen)
        followed = (
            f"trained until {training.trained_until}; step {chosen} kept, followed {training.share:.0%}"
        )
        heading(figure, canvas, title, f"Quantile loss relative to the naive; {followed}")

    return draw(canvas, paint)
