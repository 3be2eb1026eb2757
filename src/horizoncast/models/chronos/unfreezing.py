"""Which weights of Chronos-Bolt move at which rate, and when.

Gradual unfreezing with discriminative rates and slanted triangular schedules is ULMFiT's recipe (Howard
& Ruder, ACL 2018): the head first, then the decoder as well, then the last encoder blocks as well, each
with a smaller rate and a schedule of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from horizoncast.models.chronos.settings import TrainingSettings


@dataclass(frozen=True, kw_only=True)
class Group:
    """Weights that share a rate, and the step from which they move."""

    name: str
    rate: float
    start: int


def planned_steps(settings: TrainingSettings, windows: int) -> int:
    """Epochs over batches, at most the steps allowed."""
    return min(settings.steps, settings.epochs * math.ceil(windows / settings.batch_size))


def groups_of(settings: TrainingSettings, steps: int) -> tuple[Group, ...]:
    """What a mode trains: rates, and when each part is unfrozen."""
    rate = settings.learning_rate
    if settings.mode == "full":
        return tuple(Group(name=n, rate=rate, start=0) for n in ("head", "decoder", "encoder", "rest"))
    head = Group(name="head", rate=rate, start=0)
    if settings.mode == "head":
        return (head,)
    return (
        head,
        Group(name="decoder", rate=settings.decoder_rate, start=steps // 3),
        Group(name="encoder", rate=settings.encoder_rate, start=2 * steps // 3),
    )


def group_of(parameter: str, *, encoder_layers: int, encoder_blocks: int) -> str:
    """Group of a parameter by its name in the network.

    >>> group_of("encoder.block.5.layer.0.q.weight", encoder_layers=6, encoder_blocks=2)
    'encoder'
    >>> group_of("encoder.block.0.layer.0.q.weight", encoder_layers=6, encoder_blocks=2)
    'rest'
    """
    parts = parameter.split(".")
    if parts[0] == "output_patch_embedding":
        return "head"
    if parts[0] == "decoder":
        return "decoder"
    if parts[0] == "encoder":
        last = parts[1] == "final_layer_norm"
        if parts[1] == "block":
            last = int(parts[2]) >= encoder_layers - encoder_blocks
        return "encoder" if last and encoder_blocks > 0 else "rest"
    return "rest"


def rate_at(group: Group, step: int, steps: int, warmup: float) -> float:
    """Slanted triangle from the step that unfreezes a group to the last one; 0 before.

    >>> group = Group(name="head", rate=1.0, start=0)
    >>> [round(rate_at(group, s, 10, 0.2), 2) for s in (0, 1, 2, 9)]
    [0.5, 1.0, 1.0, 0.12]
    """
    if step < group.start:
        return 0.0
    span = steps - group.start
    rise = max(1, round(warmup * span))
    done = step - group.start
    if done < rise:
        return group.rate * (done + 1) / rise
    return group.rate * (span - done) / max(1, span - rise)
