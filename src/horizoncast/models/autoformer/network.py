"""Encoder, decoder and head, put together.

Letters in shapes: B samples, L context, J label, H steps, C channels, M calendar marks, F features of a
step, U features of the last layer, O outputs, Q levels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from horizoncast.models.autoformer.blocks import (
    DecoderLayer,
    Dropout,
    EncoderLayer,
    SeasonalNorm,
    SeriesDecomposition,
)
from horizoncast.models.autoformer.heads import GaussianHead, QuantileHead


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything that fixes the network's shape.

    Parameters
    ----------
    channels, marks, features
        C, M and F; the first `outputs` channels are what is forecast.
    context, label, steps
        L, J and H.
    gaussian
        Gaussian instead of quantile head.
    anchored
        Zero-initialised heads and trend projections: untrained, the answer is the anchor.
    """

    channels: int
    marks: int
    features: int
    context: int
    label: int
    steps: int
    levels: tuple[float, ...]
    d_model: int = 32
    feed_forward: int = 64
    encoder_layers: int = 1
    decoder_layers: int = 1
    kernels: tuple[int, ...] = (25,)
    factor: float = 1.0
    dropout: float = 0.1
    outputs: int = 1
    gaussian: bool = False
    anchored: bool = True


class Embedding(nn.Module):
    """Values by a circular convolution over three sessions, plus a linear map of the calendar marks.

    No positions: the auto-correlation sees order by itself (paper, appendix; ``DataEmbedding_wo_pos``).
    """

    def __init__(self, channels: int, marks: int, width: int, dropout: float) -> None:
        super().__init__()
        self.token = nn.Conv1d(channels, width, 3, padding=1, padding_mode="circular", bias=False)
        self.mark = nn.Linear(marks, width, bias=False) if marks else None
        self.dropout = Dropout(dropout)

    def forward(self, values: Tensor, marks: Tensor) -> Tensor:
        """(B, L, C) and (B, L, M) to (B, L, D)."""
        x: Tensor = self.token(values.transpose(1, 2)).transpose(1, 2)
        if self.mark is not None:
            x = x + self.mark(marks)
        out: Tensor = self.dropout(x)
        return out


class Network(nn.Module):
    """The Autoformer (Wu et al. 2021, figure 1), with features per step and a probabilistic head.

    The last layer sees the decoder's output, an embedding of the step's features and these features
    themselves; being linear, it has a closed-form posterior (see `uncertainty`).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = c = config
        sizes = (c.d_model, c.feed_forward, c.kernels, c.factor, c.dropout)
        self.decomposition = SeriesDecomposition(c.kernels)
        self.encoder_embedding = Embedding(c.channels, c.marks, c.d_model, c.dropout)
        self.decoder_embedding = Embedding(c.outputs, c.marks, c.d_model, c.dropout)
        self.encoder = nn.ModuleList(EncoderLayer(*sizes) for _ in range(c.encoder_layers))
        self.decoder = nn.ModuleList(DecoderLayer(*sizes, outputs=c.outputs) for _ in range(c.decoder_layers))
        self.encoder_norm, self.decoder_norm = SeasonalNorm(c.d_model), SeasonalNorm(c.d_model)
        self.step = StepEmbedding(c.features, c.d_model, c.dropout) if c.features else None
        self.width = c.d_model * (2 if c.features else 1) + c.features
        head = GaussianHead if c.gaussian else QuantileHead
        self.head = head(self.width, c.levels, c.outputs, zero=c.anchored)
        if c.anchored:
            for layer in self.decoder:
                assert isinstance(layer, DecoderLayer)
                nn.init.zeros_(layer.trend.weight)

    def hidden(self, values: Tensor, marks: Tensor, steps: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """Features of the last layer (B, H, U) and the learned trend (B, H, O).

        Parameters
        ----------
        values, marks
            (B, L, C) and (B, L, M) of the context.
        steps
            (B, H, M) calendar marks of the steps.
        features
            (B, H, F) what is known of each step.
        """
        c = self.config
        memory = self.encoder_embedding(values, marks)
        for layer in self.encoder:
            memory = layer(memory)
        memory = self.encoder_norm(memory)
        seasonal, _ = self.decomposition(values[:, :, : c.outputs])
        start = functional.pad(seasonal[:, c.context - c.label :], (0, 0, 0, c.steps))
        x = self.decoder_embedding(start, torch.cat([marks[:, c.context - c.label :], steps], dim=1))
        known = self.step(features) if self.step is not None else None
        if known is not None:
            x = x + functional.pad(known, (0, 0, c.label, 0))
        trend = torch.zeros(values.shape[0], c.steps, c.outputs, dtype=values.dtype, device=values.device)
        for layer in self.decoder:
            x, part = layer(x, memory)
            trend = trend + part[:, -c.steps :]
        x = self.decoder_norm(x)[:, -c.steps :]
        return (x if known is None else torch.cat([x, known, features], dim=-1)), trend

    def forward(
        self, values: Tensor, marks: Tensor, steps: Tensor, features: Tensor, start: Tensor
    ) -> Tensor:
        """(B, H, O, Q) quantiles; `start` (B, H, O) is where the trend starts, 0 at the anchor."""
        last, trend = self.hidden(values, marks, steps, features)
        quantiles: Tensor = self.head(last, trend + start)
        return quantiles


class StepEmbedding(nn.Module):
    """(B, H, F) to (B, H, D): the covariates and phase values of a step may interact."""

    def __init__(self, features: int, width: int, dropout: float) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(features, 2 * width), nn.Linear(2 * width, width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Two layers with GELU."""
        out: Tensor = functional.gelu(self.down(self.dropout(functional.gelu(self.up(x)))))
        return out
