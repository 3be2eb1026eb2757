"""The published blocks: series decomposition and auto-correlation (Wu, Xu, Wang & Long, NeurIPS 2021).

Two things differ from the authors' code, both because a forecast may not depend on what else is in
its batch: delays are chosen per sample in training as in use (theirs: per batch in training), and
moving averages are differences of cumulative sums. The authors share the delays of a layer between its
heads, so that heads change nothing; there is no setting for them.

Letters in shapes: B samples, L sessions, S sessions of keys, D channels, k delays.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def moving_average(x: Tensor, kernel: int) -> Tensor:
    """(B, L, D) centred moving average with the ends repeated, ``AvgPool(Padding(X))`` of eq. (1)."""
    front = (kernel - 1) // 2
    ends = (x[:, :1].expand(-1, front, -1), x, x[:, -1:].expand(-1, kernel - 1 - front, -1))
    total = functional.pad(torch.cat(ends, dim=1).cumsum(dim=1), (0, 0, 1, 0))
    return (total[:, kernel:] - total[:, :-kernel]) / kernel


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose masks are drawn on the processor.

    An accelerator draws other random numbers: with its own masks it would train another network.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """The same shape; unchanged in evaluation mode."""
        if not self.training or self.rate == 0.0:
            return x
        kept = torch.rand(x.shape) >= self.rate
        return x * kept.to(device=x.device, dtype=x.dtype) / (1.0 - self.rate)


class SeriesDecomposition(nn.Module):
    """Seasonal and trend part, ``X_t = AvgPool(X), X_s = X - X_t`` (eq. 1), both (B, L, D).

    With several kernels the trend is their mixture with weights that depend on the value, as in
    FEDformer's mixture-of-experts decomposition (Zhou et al., ICML 2022, eq. 8).
    """

    def __init__(self, kernels: tuple[int, ...]) -> None:
        super().__init__()
        self.kernels = kernels
        self.mix = nn.Linear(1, len(kernels)) if len(kernels) > 1 else None

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, D) to seasonal and trend."""
        if self.mix is None:
            trend = moving_average(x, self.kernels[0])
        else:
            smooth = torch.stack([moving_average(x, kernel) for kernel in self.kernels], dim=-1)
            trend = (smooth * self.mix(x.unsqueeze(-1)).softmax(dim=-1)).sum(dim=-1)
        return x - trend, trend


def correlation(queries: Tensor, keys: Tensor) -> Tensor:
    """(B, L) ``R(tau) = 1/D sum_d sum_t Q[t + tau] K[t]``, circular, by Wiener and Khinchin (eq. 8).

    Parameters
    ----------
    queries, keys
        (B, L, D) each.
    """
    length = queries.shape[1]
    spectrum = torch.fft.rfft(queries, dim=1) * torch.conj(torch.fft.rfft(keys, dim=1))
    scores: Tensor = torch.fft.irfft(spectrum.mean(dim=-1), n=length, dim=1)
    return scores


def aggregate_delays(values: Tensor, scores: Tensor, top: int) -> Tensor:
    """(B, L, D) ``sum_i softmax(R(tau_i)) Roll(V, tau_i)`` over the `top` best delays (eq. 6).

    Parameters
    ----------
    values
        (B, L, D).
    scores
        (B, L) correlation at each delay.
    """
    batch, length, width = values.shape
    best, delays = scores.topk(top, dim=-1)
    weights = best.softmax(dim=-1)
    base = torch.arange(length, device=values.device)
    out = torch.zeros_like(values)
    for i in range(top):
        at = (base[None, :] + delays[:, i : i + 1]) % length
        rolled = values.gather(1, at.unsqueeze(-1).expand(batch, length, width))
        out = out + weights[:, i, None, None] * rolled
    return out


class AutoCorrelation(nn.Module):
    """Auto-correlation with time-delay aggregation and its projections (eq. 6 and 7).

    Parameters
    ----------
    width
        D.
    factor
        c; ``k = floor(c log L)`` delays, at least one.
    """

    def __init__(self, width: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        """Queries (B, L, D), keys and values (B, S, D) cut or filled with zeros to L."""
        length = x.shape[1]
        queries, keys, values = self.query(x), self.key(memory), self.value(memory)
        missing = length - memory.shape[1]
        if missing > 0:
            keys, values = (functional.pad(part, (0, 0, 0, missing)) for part in (keys, values))
        else:
            keys, values = keys[:, :length], values[:, :length]
        top = min(length, max(1, int(self.factor * math.log(length)))) if length > 1 else 1
        mixed: Tensor = self.out(aggregate_delays(values, correlation(queries, keys), top))
        return mixed


class SeasonalNorm(nn.Module):
    """Layer norm without its mean over time, for the seasonal part (the authors' ``my_Layernorm``)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) to the same."""
        scaled: Tensor = self.norm(x)
        return scaled - scaled.mean(dim=1, keepdim=True)


class FeedForward(nn.Module):
    """Two linear layers per session with dropout, D to F to D, no bias (as published)."""

    def __init__(self, width: int, inner: int, dropout: float) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(width, inner, bias=False), nn.Linear(inner, width, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) to the same."""
        out: Tensor = self.dropout(self.down(self.dropout(functional.gelu(self.up(x)))))
        return out


class EncoderLayer(nn.Module):
    """Keeps the seasonal part only (eq. 3)."""

    def __init__(
        self, width: int, inner: int, kernels: tuple[int, ...], factor: float, dropout: float
    ) -> None:
        super().__init__()
        self.attention = AutoCorrelation(width, factor)
        self.forward_part = FeedForward(width, inner, dropout)
        self.first, self.second = SeriesDecomposition(kernels), SeriesDecomposition(kernels)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, L, D) to the same."""
        x, _ = self.first(x + self.dropout(self.attention(x, x)))
        x, _ = self.second(x + self.forward_part(x))
        return x


class DecoderLayer(nn.Module):
    """Seasonal part, and what the three decompositions found of the trend (eq. 4)."""

    def __init__(
        self, width: int, inner: int, kernels: tuple[int, ...], factor: float, dropout: float, *, outputs: int
    ) -> None:
        super().__init__()
        self.self_attention, self.cross_attention = (AutoCorrelation(width, factor) for _ in range(2))
        self.forward_part = FeedForward(width, inner, dropout)
        self.first, self.second, self.third = (SeriesDecomposition(kernels) for _ in range(3))
        self.trend = nn.Conv1d(width, outputs, 3, padding=1, padding_mode="circular", bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L, D) and the encoder's (B, S, D) to seasonal (B, L, D) and trend (B, L, outputs)."""
        x, one = self.first(x + self.dropout(self.self_attention(x, x)))
        x, two = self.second(x + self.dropout(self.cross_attention(x, memory)))
        x, three = self.third(x + self.forward_part(x))
        trend: Tensor = self.trend((one + two + three).transpose(1, 2)).transpose(1, 2)
        return x, trend
