"""What the held-back windows decide about a trained network: last layer, widths, how far to follow it.

Letters in shapes: N origins, H steps, Q levels, U features of the last layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import LEVELS
from horizoncast.models.autoformer.anchor import Examples
from horizoncast.models.autoformer.losses import blocks_of, choose_share, normal_levels, pinball_by_origin
from horizoncast.models.autoformer.origins import joined
from horizoncast.models.autoformer.trained import (
    Trained,
    answer,
    last_features,
    network_quantiles,
    quiet_torch,
    started_quantiles,
    tensors,
    widened,
)
from horizoncast.models.autoformer.uncertainty import LastLayer, fit_last_layer

Floats = npt.NDArray[np.float64]

_OPTIONS = ((3.0, False), (300.0, True), (30.0, True), (3.0, True))
"""Penalty of the last layer's posterior, and whether its mean moves the median."""
_WIDTHS = tuple(float(c) for c in np.geomspace(0.6, 1.6, 13))
_LAYER_ORIGINS = 256
_LEADS = 12
"""Steps per origin that the last layer learns from; more of them say the same again."""


def settle(trained: Trained, learn: Examples, held: Examples) -> Trained:
    """Choose the last layer, and the share of the network, by the held-back windows."""
    fixed = None if trained.networks[0].config.anchored else 1.0
    quantiles = answer(trained, held).quantiles
    if trained.method == "last_layer":
        pairs = _layer_pairs(trained, learn)
        options = [replace(trained, last_layer=_posterior(pairs, *option)) for option in _OPTIONS]
        answers = [answer(option, held).quantiles for option in options]
        place = int(np.argmin([pinball_by_origin(each, held.target).mean() for each in answers]))
        trained, quantiles = options[place], answers[place]
    if fixed is not None:
        return replace(trained, share=fixed, held_ratio=_loss_ratio(quantiles, held))
    trained = replace(trained, width=choose_width(quantiles, held))
    first = started_quantiles(trained, held)
    second = widened(quantiles, trained.width)
    share = choose_share(first, second, held.target, held.rows)
    trained = replace(trained, share=share, held_ratio=_loss_ratio(first + share * (second - first), held))
    if share > 0 or trained.start is None:
        return trained
    return replace(trained, start=trained.start.again(trained.scaler, joined([learn, held])))


@dataclass(frozen=True, kw_only=True, eq=False)
class _LayerPairs:
    """Features (N, U) and residuals (N,) of the last layer, worth `independent` outcomes."""

    features: Floats
    residual: Floats
    independent: float


def _layer_pairs(trained: Trained, part: Examples) -> _LayerPairs:
    """Some steps of some origins: neighbours say the same again."""
    network, steps = trained.networks[0], part.target.shape[1]
    leads = np.unique(np.linspace(0, steps - 1, min(_LEADS, steps)).astype(np.int64))
    span = int(np.ptp(part.rows)) + 1
    if len(part.rows) > _LAYER_ORIGINS:
        part = part.pick(np.linspace(0, len(part.rows) - 1, _LAYER_ORIGINS).astype(np.int64))
    with quiet_torch(trained.seed):
        inputs = tensors(part, trained.scaler, network)
        hidden = last_features(network, inputs)[:, leads]
        median = network_quantiles(network, inputs)[:, leads, LEVELS.index(0.5)]
    return _LayerPairs(
        features=hidden.reshape(-1, hidden.shape[-1]),
        residual=(part.target[:, leads] - median).ravel(),
        independent=2.0 * span / steps,
    )


def _posterior(pairs: _LayerPairs, penalty: float, correct: bool) -> LastLayer:
    return fit_last_layer(
        pairs.features,
        pairs.residual,
        overlap=max(1.0, len(pairs.residual) / max(2.0, pairs.independent)),
        penalty=penalty,
        correct=correct,
    )


def choose_width(quantiles: Floats, held: Examples) -> float:
    """The factor of the widths with the smallest held-back loss, shrunk to 1 where blocks are few.

    The posterior's width comes on top of widths that were learnt, so that together they may be too much.
    """
    losses = [pinball_by_origin(widened(quantiles, c), held.target).mean() for c in _WIDTHS]
    blocks = blocks_of(held.rows, held.target.shape[1])
    return float(_WIDTHS[int(np.argmin(losses))] ** (blocks / (blocks + 2.0)))


def _loss_ratio(quantiles: Floats, held: Examples) -> float:
    """Held-back pinball loss relative to the naive's."""
    naive = np.broadcast_to(normal_levels(LEVELS), quantiles.shape)
    return float(
        pinball_by_origin(quantiles, held.target).mean() / pinball_by_origin(naive, held.target).mean()
    )
