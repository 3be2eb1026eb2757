"""What the network is trained on: pinball loss in units of the naive's error, and a pull to the walk.

Letters in shapes: B series, T context, Q levels, H steps.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from horizoncast.models.chronos.pretrain.network import DECAYS, LEVELS, PATCH, STEPS, forward

if TYPE_CHECKING:
    from torch import Tensor

FARTHEST = 15.0
"""Targets beyond this many standard deviations of the context teach nothing."""


def losses(
    model: Any, context: Tensor, target: Tensor, *, walks: int, half: bool = False
) -> tuple[Tensor, Tensor]:
    """Pinball loss of a batch, and how far the first `walks` series are from the random walk's quantiles.

    The pinball loss of every step is divided by sigma sqrt(h), at most the context's standard deviation:
    so a price, whose move of 7 steps is a few hundredths of that, counts as much as a season. The first
    `walks` series are pure random walks whose conditional quantiles are known up to the volatility;
    against those there is no noise of the outcome, and the network learns from few series to be silent
    on prices.

    Parameters
    ----------
    context, target
        Shapes (B, T), (B, H).
    """
    import torch

    out, location, scale = forward(model, context, half=half)
    known = ~torch.isnan(context)
    unit = typical_change(context) / scale * torch.arange(1, STEPS + 1, device=context.device).sqrt()
    truth = (target - location) / scale
    levels = torch.tensor(LEVELS, device=context.device).view(1, -1, 1)
    error = truth.unsqueeze(1) - out
    pinball = 2 * torch.maximum(levels * error, (levels - 1) * error).mean(1)
    counts = (truth.abs() < FARTHEST) & (scale > 1e-4) & (known.sum(-1, keepdim=True) > 1)
    loss = (pinball * counts / unit.clamp(0.03, 1.0)).mean()
    away = (out[:walks] - walk_quantiles(context[:walks])) / unit[:walks].unsqueeze(1).clamp_min(1e-3)
    return loss, ((1 + away.square()).sqrt() - 1).mean()


def typical_change(context: Tensor) -> Tensor:
    """Mean absolute change as a standard deviation: times sqrt(pi/2). Shape (B, 1)."""
    import torch

    change = context[:, 1:] - context[:, :-1]
    known = ~torch.isnan(change)
    total = torch.where(known, change.abs(), 0.0).sum(-1, keepdim=True)
    return total / known.sum(-1, keepdim=True).clamp_min(1) * math.sqrt(math.pi / 2)


def walk_quantiles(context: Tensor) -> Tensor:
    """What the untrained network says, in the normalised space, by plain arithmetic. Shape (B, Q, H)."""
    import torch

    known = ~torch.isnan(context)
    values = torch.where(known, context, 0.0)
    count = known.sum(-1, keepdim=True).clamp_min(1)
    location = values.sum(-1, keepdim=True) / count
    scale = (torch.where(known, context - location, 0.0).square().sum(-1, keepdim=True) / count).sqrt()
    z = torch.where(known, (values - location) / scale.clamp_min(1e-5), 0.0)
    size = len(context)
    patches, seen = z.view(size, -1, PATCH), known.view(size, -1, PATCH).float()
    changes = (patches[..., 1:] - patches[..., :-1]).abs() * seen[..., 1:] * seen[..., :-1]
    count_patches = patches.shape[1]
    age = torch.arange(count_patches - 1, -1, -1, device=context.device)
    sigma = torch.zeros(size, device=context.device)
    for decay in DECAYS:
        within = decay ** torch.arange(PATCH - 2, -1, -1, device=context.device)
        weighted = (changes * within / within.sum()).sum(-1)
        between = (math.log(decay) * PATCH * age).expand(size, -1).masked_fill(seen.sum(-1) == 0, -1e9)
        sigma = sigma + (torch.softmax(between, -1) * weighted).sum(-1) / len(DECAYS)
    z_levels = torch.special.ndtri(torch.tensor(LEVELS, device=context.device))
    growth = torch.arange(1, STEPS + 1, device=context.device).sqrt() * math.sqrt(math.pi / 2)
    found: Tensor = z[:, -1].view(-1, 1, 1) + sigma.view(-1, 1, 1) * z_levels.view(1, -1, 1) * growth.view(
        1, 1, -1
    )
    return found
