"""A trained state as a checkpoint, and back.

The key of a checkpoint is a digest of everything its training read, so that a network that is read back
is the one that would be trained again, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from horizoncast.errors import StoreError
from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.descent import Halfway
from horizoncast.models.autoformer.network import Network, NetworkConfig
from horizoncast.models.autoformer.trained import Look, Trained
from horizoncast.models.autoformer.uncertainty import LastLayer
from horizoncast.models.autoformer.warm_start import WarmStart
from horizoncast.store.checkpoints import Arrays, Checkpoint, load_checkpoint, save_checkpoint

_START = ("constant", "level", "slope", "penalty", "share")


def training_key(parts: Sequence[object], learn: Examples, held: Examples) -> str:
    """Digest of names and settings, of the libraries' versions, and of every number trained on."""
    state = hashlib.sha256(repr((*parts, torch.__version__, np.__version__)).encode())
    for examples in (learn, held):
        for name in examples.__dataclass_fields__:
            array = np.ascontiguousarray(getattr(examples, name))
            state.update(repr((name, array.shape)).encode())
            state.update(array.tobytes())
    return state.hexdigest()[:32]


def to_checkpoint(
    key: str, trained: Trained, trained_until: np.datetime64, about: Mapping[str, object]
) -> Checkpoint:
    """Weights, scaler and last layer as arrays; the rest as plain values.

    Parameters
    ----------
    about
        What a reader of the folder wants to know: series, service, steps.
    """
    arrays: dict[str, Any] = {"scaler.mean": trained.scaler.mean, "scaler.spread": trained.scaler.spread}
    for k, network in enumerate(trained.networks):
        arrays |= {f"network{k}.{name}": value.numpy() for name, value in network.state_dict().items()}
    if trained.last_layer is not None:
        arrays |= {"last_layer.mean": trained.last_layer.mean, "last_layer.root": trained.last_layer.root}
    start = trained.start
    if start is not None:
        arrays |= {"start.weights": start.weights, "start.used": start.used}
    facts = {
        "network": asdict(trained.networks[0].config),
        "method": trained.method,
        "samples": trained.samples,
        "seed": str(trained.seed),
        "width": trained.width,
        "start": None if start is None else {name: getattr(start, name) for name in _START},
        "share": trained.share,
        "held_ratio": trained.held_ratio,
        "chosen": list(trained.chosen),
        "curves": [_plain_looks(curve) for curve in trained.curves],
        **about,
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
    start = None
    if facts["start"] is not None:
        start = WarmStart(weights=arrays["start.weights"], used=arrays["start.used"], **facts["start"])
    return Trained(
        networks=tuple(
            _network(NetworkConfig(**shape), arrays, f"network{k}.") for k in range(len(facts["chosen"]))
        ),
        scaler=Scaler(mean=arrays["scaler.mean"], spread=arrays["scaler.spread"]),
        method=facts["method"],
        samples=facts["samples"],
        seed=int(facts["seed"]),
        width=facts["width"],
        start=start,
        share=facts["share"],
        held_ratio=facts["held_ratio"],
        last_layer=layer,
        chosen=tuple(facts["chosen"]),
        curves=tuple(_looks(curve) for curve in facts["curves"]),
    )


class KeptDescents:
    """Unfinished descents of one training, beside the checkpoint it will become.

    One that cannot be read costs the steps it held and nothing else: training starts again.

    Parameters
    ----------
    folder, key, cutoff
        Of the checkpoint.
    """

    def __init__(self, folder: Path, key: str, cutoff: np.datetime64) -> None:
        self.folder, self.key, self.cutoff = folder, key, cutoff

    def read(self, place: int) -> Halfway | None:
        """What was kept; None where there is nothing to go on from."""
        try:
            kept = load_checkpoint(self.folder, self._name(place))
        except StoreError:  # killed between its two files, or damaged
            return None
        return None if kept is None else _halfway(kept)

    def write(self, place: int, halfway: Halfway) -> None:
        """Keep it in place of what was there."""
        arrays = {
            f"{group}.{name}": value.numpy()
            for group in _GROUPS
            for name, value in getattr(halfway, group).items()
        }
        facts = {
            "step": halfway.step,
            "best_step": halfway.best_step,
            "best_loss": halfway.best_loss,
            "looks": _plain_looks(halfway.looks),
        }
        save_checkpoint(
            self.folder,
            Checkpoint(
                key=self._name(place),
                trained_until=self.cutoff,
                arrays=arrays | {"random": halfway.random.numpy()},
                facts=facts,
            ),
        )

    def clear(self) -> None:
        """Remove them: the training is done."""
        for file in self.folder.glob(f"{self.key}-part*"):
            file.unlink(missing_ok=True)

    def _name(self, place: int) -> str:
        return f"{self.key}-part{place}"


_GROUPS = ("weights", "best", "first", "second")


def _halfway(kept: Checkpoint) -> Halfway:
    groups = {
        group: {
            name.removeprefix(f"{group}."): torch.from_numpy(array.copy())
            for name, array in kept.arrays.items()
            if name.startswith(f"{group}.")
        }
        for group in _GROUPS
    }
    facts = kept.facts
    return Halfway(
        step=facts["step"],
        best_step=facts["best_step"],
        best_loss=facts["best_loss"],
        looks=_looks(facts["looks"]),
        random=torch.from_numpy(kept.arrays["random"].copy()),
        **groups,
    )


def _plain_looks(looks: Sequence[Look]) -> list[list[float | int | None]]:
    return [[look.step, None if np.isnan(look.train) else look.train, look.held] for look in looks]


def _looks(plain: Sequence[Sequence[Any]]) -> tuple[Look, ...]:
    return tuple(Look(step=s, train=np.nan if t is None else t, held=h) for s, t, h in plain)


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
