"""From a trained network to the folder that ships: float16 weights, manifest and card."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from horizoncast.models.chronos.folder import WEIGHTS, ModelManifest, write_manifest
from horizoncast.models.chronos.pipeline import quiet_transformers
from horizoncast.models.chronos.places import SHIPPED_NAME
from horizoncast.models.chronos.pretrain.training import Recipe, plain_recipe

CARD = "README.md"
LICENCE = "Apache-2.0"
HALVED = ("DenseReluDense", "output_layer")
"""Tensors kept in float16; the others carry the last value and the volatility to the output."""


def save_model(
    model: Any,
    folder: Path,
    *,
    recipe: Recipe,
    revision: str,
    steps: int,
    scores: dict[str, Any] | None = None,
    name: str = SHIPPED_NAME,
) -> ModelManifest:
    """Write config, weights, card and manifest; the stock ``BaseChronosPipeline`` loads the folder.

    Parameters
    ----------
    revision
        Version of this training.
    steps
        Optimiser steps that were done.
    scores
        What the card and the manifest say of its accuracy.
    """
    import torch
    from safetensors.torch import load_file, save_file

    folder.mkdir(parents=True, exist_ok=True)
    model.config.dtype = torch.float32
    with quiet_transformers():
        model.save_pretrained(folder)
    tensors = load_file(folder / WEIGHTS)
    half = {
        n: t.half() if t.ndim > 1 and any(part in n for part in HALVED) else t for n, t in tensors.items()
    }
    save_file(half, folder / WEIGHTS, metadata={"format": "pt"})
    facts = {"recipe": plain_recipe(recipe), "steps": steps, "scores": scores or {}}
    numbers = sum(t.numel() for t in half.values())
    size = (folder / WEIGHTS).stat().st_size / 1e6
    card = Template(_CARD.read_text(encoding="utf-8")).substitute(
        name=name, revision=revision, steps=f"{steps:,}", series=f"{steps * recipe.batch:,}",
        parameters=f"{numbers / 1e6:.1f}", size=f"{size:.1f}", seed=recipe.seed,
        scores=_table(scores or {}),
    )  # fmt: skip
    (folder / CARD).write_text(card, encoding="utf-8")
    for extra in folder.glob("generation_config.json"):
        extra.unlink()
    return write_manifest(
        folder,
        name=name,
        revision=revision,
        licence=LICENCE,
        trained_until=None,
        created_by="horizoncast models pretrain",
        facts=facts,
    )


_CARD = Path(__file__).with_name("card.md")


def _table(scores: dict[str, Any]) -> str:
    """Scores as rows of a table, in the order given."""
    if not scores:
        return "Not measured yet."
    rows = [
        "| bed | steps | WQL / reference | worst series | coverage 80; 95 |",
        "| --- | --- | --- | --- | --- |",
    ]
    rows += [
        f"| {s['bed']} | {s['steps']} | {s['wql']:.3f} | {s['worst']:.3f} "
        f"| {s['coverage80']:.1f}; {s['coverage95']:.1f} |"
        for s in scores.get("rows", [])
    ]
    return "\n".join(rows)
