"""From the last hidden layer to quantiles that cannot cross, and the losses.

Letters in shapes: B samples, H steps, U features of the last layer, C outputs, Q levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

Array = npt.NDArray[np.float64]


def normal_quantiles(levels: Sequence[float]) -> list[float]:
    """Quantiles of the standard normal."""
    return [NormalDist().inv_cdf(level) for level in levels]


class QuantileHead(nn.Module):
    """A median, and steps outward from it that are positive by softplus: quantiles in order.

    With weights at zero the quantiles are the standard normal's: in the scaled space, the naive
    forecast with its spread.

    Parameters
    ----------
    width
        U.
    levels
        Q increasing levels, 0.5 among them.
    outputs
        C.
    zero
        Start at zero weights.
    """

    def __init__(self, width: int, levels: Sequence[float], outputs: int = 1, *, zero: bool = True) -> None:
        super().__init__()
        self.levels, self.outputs = tuple(levels), outputs
        self.middle = self.levels.index(0.5)
        start = normal_quantiles(levels)
        gaps = torch.tensor([b - a for a, b in pairwise(start)])
        self.location = nn.Linear(width, outputs)
        self.gaps = nn.Linear(width, outputs * (len(levels) - 1))
        with torch.no_grad():
            self.gaps.bias.copy_(torch.log(torch.expm1(gaps)).repeat(outputs))
            self.location.bias.zero_()
            if zero:
                self.location.weight.zero_()
                self.gaps.weight.zero_()

    def forward(self, features: Tensor, offset: Tensor) -> Tensor:
        """(B, H, U) and the trend (B, H, C) to quantiles (B, H, C, Q)."""
        median = (self.location(features) + offset).unsqueeze(-1)
        shape = (*features.shape[:2], self.outputs, len(self.levels) - 1)
        gaps = functional.softplus(self.gaps(features)).view(shape)
        upper = gaps[..., self.middle :].cumsum(dim=-1)
        lower = gaps[..., : self.middle].flip(-1).cumsum(dim=-1).flip(-1)
        return torch.cat([median - lower, median, median + upper], dim=-1)

    def start_at(self, weights: Array, constant: float, level: float, slope: float) -> None:
        """Median ``w f + b`` and widths ``exp(level + slope log h)`` times the normal's.

        Parameters
        ----------
        weights
            (F,) of the last F features of the last layer, standardised; the last of them is log h.
        """
        gaps = torch.tensor([b - a for a, b in pairwise(normal_quantiles(self.levels))])
        leads = torch.linspace(-2.0, 2.0, 9)
        wanted = torch.log(torch.expm1(torch.exp(level + slope * leads)[:, None] * gaps))
        with torch.no_grad():
            self.location.weight[:, -len(weights) :] = torch.from_numpy(weights).float()
            self.location.bias.fill_(constant)
            self.gaps.bias.copy_(wanted.mean(dim=0))
            steep = (leads[:, None] * (wanted - wanted.mean(dim=0))).sum(dim=0) / (leads**2).sum()
            self.gaps.weight[:, -1] = steep

    def loss(self, quantiles: Tensor, target: Tensor) -> Tensor:
        """Mean pinball loss (Koenker & Bassett 1978)."""
        return pinball(quantiles, target, self.levels).mean()


class GaussianHead(nn.Module):
    """Mean and log spread; parameters as in `QuantileHead`."""

    normal: Tensor

    def __init__(self, width: int, levels: Sequence[float], outputs: int = 1, *, zero: bool = True) -> None:
        super().__init__()
        self.levels, self.outputs = tuple(levels), outputs
        self.location, self.spread = nn.Linear(width, outputs), nn.Linear(width, outputs)
        self.register_buffer("normal", torch.tensor(normal_quantiles(levels)))
        self.middle = self.levels.index(0.5)
        with torch.no_grad():
            self.location.bias.zero_()
            self.spread.bias.zero_()
            if zero:
                self.location.weight.zero_()
                self.spread.weight.zero_()

    def forward(self, features: Tensor, offset: Tensor) -> Tensor:
        """(B, H, U) and the trend (B, H, C) to quantiles (B, H, C, Q)."""
        mean = (self.location(features) + offset).unsqueeze(-1)
        spread = torch.exp(self.spread(features).clamp(-4.0, 4.0)).unsqueeze(-1)
        quantiles: Tensor = mean + spread * self.normal
        return quantiles

    def start_at(self, weights: Array, constant: float, level: float, slope: float) -> None:
        """As `QuantileHead.start_at`."""
        with torch.no_grad():
            self.location.weight[:, -len(weights) :] = torch.from_numpy(weights).float()
            self.location.bias.fill_(constant)
            self.spread.bias.fill_(level)
            self.spread.weight[:, -1] = slope

    def loss(self, quantiles: Tensor, target: Tensor) -> Tensor:
        """Mean negative log likelihood of the normal whose quantiles these are."""
        mean = quantiles[..., self.middle]
        spread = (quantiles[..., -1] - mean) / self.normal[-1]
        scaled = (target - mean) / spread
        return (0.5 * scaled**2 + torch.log(spread) + 0.5 * math.log(2 * math.pi)).mean()


def pinball(quantiles: Tensor, target: Tensor, levels: Sequence[float]) -> Tensor:
    """(B, H, C, Q) pinball loss of each quantile; `target` is (B, H, C)."""
    tau = torch.tensor(levels, dtype=quantiles.dtype, device=quantiles.device)
    gap = target.unsqueeze(-1) - quantiles
    return torch.maximum(tau * gap, (tau - 1.0) * gap)
