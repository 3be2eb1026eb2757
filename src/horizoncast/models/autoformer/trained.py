"""A trained state and what it answers.

Letters in shapes: N origins, H steps, Q levels, K networks or passes, U features of the last layer.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from horizoncast.horizon import LEVELS
from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.losses import normal_levels
from horizoncast.models.autoformer.network import Network
from horizoncast.models.autoformer.uncertainty import (
    LastLayer,
    Parts,
    published_share,
    total_variance,
)
from horizoncast.models.autoformer.warm_start import WarmStart

Floats = npt.NDArray[np.float64]

_CHUNK = 32


@dataclass(frozen=True, kw_only=True)
class Look:
    """Losses after some steps: the mean of the training batches since the last look, and held back."""

    step: int
    train: float
    held: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Trained:
    """Networks and what the held-back windows decided about them.

    Parameters
    ----------
    networks
        One, or one per seed of an ensemble; in evaluation mode, on the processor.
    scaler
        Of the features.
    method
        How the epistemic part is found.
    samples, seed
        Passes and seed of Monte Carlo dropout.
    width
        Factor of the distances to the median.
    start
        The closed form the descent started from; None where the naive was better.
    share
        Part of the way from there (or from the naive) to the network that is gone; 0 leaves it out.
    last_layer
        Posterior of the first network's last layer.
    chosen
        Step whose weights were kept, per network.
    curves
        Losses by step, per network.
    held_ratio
        Held-back pinball loss of the answer relative to the naive.
    """

    networks: tuple[Network, ...]
    scaler: Scaler
    method: str
    samples: int
    seed: int
    width: float = 1.0
    start: WarmStart | None = None
    share: float = 1.0
    last_layer: LastLayer | None = None
    chosen: tuple[int, ...] = ()
    curves: tuple[tuple[Look, ...], ...] = field(default=())
    held_ratio: float = 1.0


@contextmanager
def quiet_torch(seed: int) -> Iterator[None]:
    """One thread, deterministic algorithms and a seed, inside; everything as it was, outside."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        torch.set_num_threads(1)
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict)
            torch.set_num_threads(threads)


def answer(trained: Trained, examples: Examples) -> Parts:
    """Predictive distribution in the scaled space before it is shared with the naive.

    The processor computes it whatever trained the network, so that a reader gets the same numbers
    everywhere.
    """
    with quiet_torch(trained.seed), torch.no_grad():
        inputs = tensors(examples, trained.scaler, trained.networks[0])
        if trained.method == "mc_dropout":
            return total_variance(_dropout_draws(trained, inputs), LEVELS)
        draws = np.stack([network_quantiles(network.eval(), inputs) for network in trained.networks])
        if trained.method == "none" or trained.last_layer is None:
            none = np.zeros(draws.shape[1:3]) if trained.method != "ensemble" else None
            return total_variance(draws, LEVELS, none)
        hidden = last_features(trained.networks[0], inputs)
    draws = draws + trained.last_layer.correction(hidden)[..., None]
    return total_variance(draws, LEVELS, trained.last_layer.variance(hidden))


def started_quantiles(trained: Trained, examples: Examples) -> Floats:
    """(N, H, Q) in the scaled space without the network: the naive, or on the way to the closed form."""
    naive = np.broadcast_to(normal_levels(LEVELS), (*examples.target.shape, len(LEVELS)))
    if trained.start is None:
        return np.asarray(naive)
    closed = trained.start.quantiles(trained.scaler(examples.known))
    return np.asarray(naive + trained.start.share * (closed - naive))


def published_answer(trained: Trained, examples: Examples) -> tuple[Floats, Floats | None]:
    """What is published in the scaled space: from the naive over the closed form toward the network.

    Returns
    -------
    tuple
        (N, H, Q) quantiles, and the (N, H) share of their variance that is doubt about the network's
        weights; None where the network is left out, or nobody asked how sure its weights are.
    """
    first = started_quantiles(trained, examples)
    if trained.share == 0:
        return first, None
    parts = answer(trained, examples)
    own = widened(parts.quantiles, trained.width)
    quantiles = np.asarray(first + trained.share * (own - first))
    if trained.method == "none" or (trained.method == "last_layer" and trained.last_layer is None):
        return quantiles, None
    return quantiles, published_share(parts, own, quantiles, followed=trained.share, levels=LEVELS)


def widened(quantiles: Floats, factor: float) -> Floats:
    """(..., Q) with all distances to the median times a factor."""
    middle = LEVELS.index(0.5)
    median = quantiles[..., middle : middle + 1]
    return np.asarray(median + factor * (quantiles - median))


def tensors(
    examples: Examples, scaler: Scaler, network: Network, device: torch.device | str = "cpu"
) -> tuple[torch.Tensor, ...]:
    """The inputs of `Network.forward`."""
    start = examples.published if not network.config.anchored else np.zeros_like(examples.published)
    parts = (examples.values, examples.marks, examples.steps, scaler(examples.known), start[..., None])
    return tuple(torch.from_numpy(np.ascontiguousarray(part)).to(device) for part in parts)


def last_features(network: Network, inputs: tuple[torch.Tensor, ...]) -> Floats:
    """(N, H, U) features of the last layer, in evaluation mode."""
    network.eval()
    with torch.no_grad():
        parts = [network.hidden(*chunk[:4])[0].double().numpy() for chunk in _chunks(inputs)]
    return np.concatenate(parts)


def network_quantiles(network: Network, inputs: tuple[torch.Tensor, ...]) -> Floats:
    """(N, H, Q), in the mode the network is in."""
    with torch.no_grad():
        parts = [network(*chunk)[:, :, 0].double().cpu().numpy() for chunk in _chunks(inputs)]
    return np.concatenate(parts)


def _chunks(inputs: tuple[torch.Tensor, ...]) -> Iterator[tuple[torch.Tensor, ...]]:
    """At most `_CHUNK` origins at a time: what a forward pass keeps is many times its input."""
    for start in range(0, len(inputs[0]), _CHUNK):
        yield tuple(part[start : start + _CHUNK] for part in inputs)


def _dropout_draws(trained: Trained, inputs: tuple[torch.Tensor, ...]) -> Floats:
    """(K, N, H, Q); masks differ per origin and come from the training's seed."""
    network = trained.networks[0].train()
    draws = []
    for k in range(trained.samples):
        rows = []
        for i in range(len(inputs[0])):
            torch.manual_seed((trained.seed + k) % 2**63)
            rows.append(network_quantiles(network, tuple(part[i : i + 1] for part in inputs)))
        draws.append(np.concatenate(rows))
    network.eval()
    return np.stack(draws)
