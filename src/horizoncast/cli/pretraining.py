"""`models pretrain`."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from horizoncast.cli.arguments import Quiet
from horizoncast.cli.screen import Screen
from horizoncast.errors import ConfigError
from horizoncast.resources import THREAD_VARIABLES

if TYPE_CHECKING:
    from horizoncast.models.chronos.pretrain.training import Report, Training


def add_to(models_app: typer.Typer) -> None:
    """Enter the command."""
    models_app.command("pretrain")(pretrain_model)


def pretrain_model(
    *,
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Model folder to write.")],
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Optimiser steps in all, stages in proportion; default: the recipe's."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights and series.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    revision: Annotated[str, typer.Option("--revision", help="Version that the manifest states.")] = "1",
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="FILE", help="Table of benchmarks/checkpoint.py for the card."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a small Chronos-Bolt from scratch on synthetic series, or go on where that was stopped."""
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
