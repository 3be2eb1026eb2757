"""`models pretrain`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

from horizoncast.cli.screen import Screen
from horizoncast.errors import ConfigError
from horizoncast.resources import THREAD_VARIABLES

if TYPE_CHECKING:
    from horizoncast.models.chronos.pretrain.training import Report, Training


def pretrain_model(
    output: Path,
    *,
    steps: int | None,
    seed: int,
    device: str,
    revision: str,
    scores: Path | None,
    quiet: bool,
) -> None:
    """Train, or go on where a training was stopped, and write the model folder.

    Raises
    ------
    ConfigError
        When `device` is not here, or `scores` cannot be read.
    """
    from horizoncast.models.chronos.finetuning import device_of
    from horizoncast.models.chronos.places import SHIPPED_NAME
    from horizoncast.models.chronos.pretrain.export import save_model
    from horizoncast.models.chronos.pretrain.training import Recipe, pretrain

    _one_thread()
    device = device_of(device)
    table = _read_scores(scores)
    recipe = Recipe(seed=seed) if steps is None else Recipe(seed=seed).shortened(steps)
    screen = Screen(as_json=False, quiet=quiet)
    state = output.with_name(f"{output.name}.training")
    screen.tell(f"{recipe.steps} steps of {recipe.batch} synthetic series; state in {state}")
    sums: list[tuple[float, float]] = []

    def advance(report: Report) -> None:
        sums.append((report.loss, report.distance))
        if screen.live:
            screen.advance("pretrain", report.step, recipe.steps)

    def told(_: Training, report: Report) -> None:
        loss, distance = (sum(part) / len(sums) for part in zip(*sums, strict=True))
        sums.clear()
        screen.tell(f"  step {report.step}: loss {loss:.4f}, distance from the walk {distance:.4f}")

    with screen.progressing():
        model = pretrain(recipe, state, device=device, told=told, advance=advance)
    manifest = save_model(
        model.cpu(),
        output,
        recipe=recipe,
        revision=revision,
        steps=recipe.steps,
        scores=table,
        name=SHIPPED_NAME if recipe == Recipe() else output.resolve().name.replace("--", "/"),
    )
    screen.paths([(f"{manifest.name} {manifest.digest}", str(output))])


def _one_thread() -> None:
    """Unless the operator says otherwise; read when torch is first imported."""
    for name, value in THREAD_VARIABLES.items():
        os.environ.setdefault(name, value)


def _read_scores(scores: Path | None) -> dict[str, object] | None:
    if scores is None:
        return None
    try:
        table: dict[str, object] = json.loads(scores.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(
            "scores", value=f"{scores}: {error}", allowed="a file that benchmarks/checkpoint.py wrote"
        ) from error
    return table
