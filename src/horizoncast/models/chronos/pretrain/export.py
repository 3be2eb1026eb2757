"""From a trained network to the folder that ships: float16 weights, manifest and card."""

from __future__ import annotations

from pathlib import Path
from string import Template
from typing import Any

from horizoncast.models.chronos.folder import (
    WEIGHTS,
    ModelManifest,
    verify,
    write_manifest,
)
from horizoncast.models.chronos.pipeline import quiet_transformers
from horizoncast.models.chronos.places import SHIPPED_NAME
from horizoncast.models.chronos.pretrain.training import Recipe, plain_recipe
from horizoncast.models.chronos.safetensors_header import parameter_count

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
    for extra in folder.glob("generation_config.json"):
        extra.unlink()
    facts = {"recipe": plain_recipe(recipe), "steps": steps, "scores": scores or {}}
    return _describe(folder, name=name, revision=revision, facts=facts)


def put_scores(folder: Path, scores: dict[str, Any]) -> ModelManifest:
    """Write card and manifest of a model made here again, with other scores; all else stays.

    Parameters
    ----------
    scores
        Tables of ``benchmarks/checkpoint.py``: `rows`, and `member` where it was measured.

    Raises
    ------
    StoreError
        When the folder is not what its manifest says.
    """
    known = verify(folder)
    facts = {**known.facts, "scores": scores}
    return _describe(folder, name=known.name, revision=known.revision, facts=facts)


def _describe(folder: Path, *, name: str, revision: str, facts: dict[str, Any]) -> ModelManifest:
    """Card and manifest of the files that lie in a folder."""
    batch, steps = facts["recipe"]["batch"], facts["steps"]
    numbers, size = parameter_count(folder / WEIGHTS), (folder / WEIGHTS).stat().st_size
    card = Template(_CARD.read_text(encoding="utf-8")).substitute(
        name=name, revision=revision, steps=f"{steps:,}", series=f"{steps * batch:,}",
        parameters=f"{numbers / 1e6:.1f}", size=f"{size / 1e6:.1f}", seed=facts["recipe"]["seed"],
        scores=_table(facts["scores"]),
    )  # fmt: skip
    (folder / CARD).write_text(card, encoding="utf-8")
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
    member = {(s["bed"], s["steps"]): s for s in scores.get("member", [])}
    head = ["bed", "steps", "WQL / reference", "worst series", "coverage 80; 95"]
    head += ["as the member: WQL / reference", "coverage 80; 95"] if member else []
    rows = [head, ["---"] * len(head)]
    for score in scores["rows"]:
        place = (score["bed"], score["steps"])
        row = [*map(str, place), f"{score['wql']:.3f}", f"{score['worst']:.3f}", _coverage(score)]
        rows.append([*row, f"{member[place]['wql']:.3f}", _coverage(member[place])] if member else row)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _coverage(score: dict[str, Any]) -> str:
    return f"{score['coverage80']:.1f}; {score['coverage95']:.1f}"
