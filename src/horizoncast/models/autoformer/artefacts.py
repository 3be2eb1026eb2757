"""A trained state as a checkpoint, and back.

The key of a checkpoint is a digest of everything its training read, so that a network that is read back
is the one that would be trained again, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.network import Network, NetworkConfig
from horizoncast.models.autoformer.training import Look, Trained
from horizoncast.models.autoformer.uncertainty import LastLayer
from horizoncast.store.checkpoints import Arrays, Checkpoint


def training_key(parts: Sequence[object], learn: Examples, held: Examples) -> str:
    """Digest of names and settings, of the libraries' versions, and of every number trained on."""
    state = hashlib.sha256(repr((*parts, torch.__version__, np.__version__)).encode())
    for examples in (learn, held):
        for name in examples.__dataclass_fields__:
            array = np.ascontiguousarray(getattr(examples, name))
            state.update(repr((name, array.shape)).encode())
            state.update(array.tobytes())
    return state.hexdigest()[:32]


def to_checkpoint(key: str, trained: Trained, trained_until: np.datetime64) -> Checkpoint:
    """Weights, scaler and last layer as arrays; the rest as plain values."""
    arrays: dict[str, Any] = {"scaler.mean": trained.scaler.mean, "scaler.spread": trained.scaler.spread}
    for k, network in enumerate(trained.networks):
        arrays |= {f"network{k}.{name}": value.numpy() for name, value in network.state_dict().items()}
    if trained.last_layer is not None:
        arrays |= {"last_layer.mean": trained.last_layer.mean, "last_layer.root": trained.last_layer.root}
    facts = {
        "network": asdict(trained.networks[0].config),
        "method": trained.method,
        "samples": trained.samples,
        "seed": str(trained.seed),
        "share": trained.share,
        "held_ratio": trained.held_ratio,
        "chosen": list(trained.chosen),
        "curves": [
            [[look.step, None if np.isnan(look.train) else look.train, look.held] for look in curve]
            for curve in trained.curves
        ],
    }
    return Checkpoint(key=key, trained_until=trained_until, arrays=arrays, facts=facts)


def from_checkpoint(checkpoint: Checkpoint) -> Trained:
    """The state that `to_checkpoint` packed."""
    facts, arrays = checkpoint.facts, checkpoint.arrays
    shape: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in facts["network"].items()
    }
    layer = None
    if "last_layer.mean" in arrays:
        layer = LastLayer(mean=arrays["last_layer.mean"], root=arrays["last_layer.root"])
    return Trained(
        networks=tuple(
            _network(NetworkConfig(**shape), arrays, f"network{k}.") for k in range(len(facts["chosen"]))
        ),
        scaler=Scaler(mean=arrays["scaler.mean"], spread=arrays["scaler.spread"]),
        method=facts["method"],
        samples=facts["samples"],
        seed=int(facts["seed"]),
        share=facts["share"],
        held_ratio=facts["held_ratio"],
        last_layer=layer,
        chosen=tuple(facts["chosen"]),
        curves=tuple(
            tuple(Look(step=s, train=np.nan if t is None else t, held=h) for s, t, h in curve)
            for curve in facts["curves"]
        ),
    )


def _network(config: NetworkConfig, arrays: Arrays, prefix: str) -> Network:
    weights = {
        name.removeprefix(prefix): torch.from_numpy(array.copy())
        for name, array in arrays.items()
        if name.startswith(prefix)
    }
    with torch.random.fork_rng(devices=[]):
        network = Network(config)
    network.load_state_dict(weights)
    return network.eval()
