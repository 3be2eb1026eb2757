"""A projection head over frozen embeddings, trained so that paired vectors find each other.

Two towers end on one unit sphere: the window's vector goes through a layer of 256 and one of 512, its
partner's through one linear map. The loss is symmetric InfoNCE over the pairs of a batch (van den Oord,
Li & Vinyals 2018, eq. 4; symmetric with a learnt temperature as in CLIP, Radford et al. 2021, fig. 3;
the head of two layers over a frozen or thrown-away backbone as in SimCLR, Chen et al. 2020).

Letters in shapes: N pairs, D size of a window's vector, M of its partner's, E of the shared space.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, DataError
from horizoncast.models.chronos.bolt_descent import Look, strict_torch
from horizoncast.store.checkpoints import Checkpoint

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]

_COLDEST = 100.0
"""Largest inverse temperature, as in CLIP: beyond it the training becomes unstable."""


@dataclass(frozen=True, kw_only=True)
class HeadSettings:
    """Shape and training of the head.

    Parameters
    ----------
    hidden, out
        Units of its two layers; E is the latter.
    temperature
        Of the softmax over similarities: where it starts, or stays.
    learn_temperature
        False keeps it.
    epochs, batch_size, learning_rate, weight_decay
        Of AdamW on a cosine schedule.
    dropout
        Share of the hidden units dropped while learning.
    patience
        Epochs without a smaller held-back loss that end the training.
    validation_split, test_split
        Newest shares of the pairs: the first stops the training, the second is only measured on.
    seed
        Of weights and batches.
    """

    hidden: int = 256
    out: int = 512
    temperature: float = 0.07
    learn_temperature: bool = True
    epochs: int = 200
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    patience: int = 20
    validation_split: float = 0.15
    test_split: float = 0.2
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("hidden", "out", "epochs", "batch_size", "patience"):
            _between(name, getattr(self, name), 1, 100_000)
        _between("temperature", self.temperature, 1.0 / _COLDEST, 10.0)
        _between("dropout", self.dropout, 0.0, 0.9)
        _between("learning_rate", self.learning_rate, 0.0, 1.0)
        _between("weight_decay", self.weight_decay, 0.0, 1.0)
        for name in ("validation_split", "test_split"):
            _between(name, getattr(self, name), 0.02, 0.5)


@dataclass(frozen=True, kw_only=True, eq=False)
class Head:
    """A trained head: plain arrays, so that it is used and stored without the network.

    Parameters
    ----------
    arrays
        Means and spreads of both sides, and the weights of both towers.
    temperature
        As learnt.
    settings
        What it was trained with.
    looks
        Losses by epoch.
    """

    arrays: dict[str, npt.NDArray[np.float32]]
    temperature: float
    settings: HeadSettings
    looks: tuple[Look, ...] = field(default=())

    def project(self, vectors: Floats) -> Floats:
        """Windows' vectors on the shared sphere, (N, D) to (N, E)."""
        known = self._checked(vectors, "window")
        hidden = _gelu(known @ self.arrays["first.weight"].T + self.arrays["first.bias"])
        return _unit(hidden @ self.arrays["second.weight"].T + self.arrays["second.bias"])

    def project_partner(self, vectors: Floats) -> Floats:
        """Partners' vectors on the shared sphere, (N, M) to (N, E)."""
        return _unit(self._checked(vectors, "partner") @ self.arrays["partner.weight"].T)

    def checkpoint(self, key: str, trained_until: np.datetime64, facts: dict[str, Any]) -> Checkpoint:
        """The head as a checkpoint; `facts` say what its vectors are made of."""
        own = {
            "settings": asdict(self.settings),
            "temperature": self.temperature,
            "looks": [[look.step, look.train, look.held] for look in self.looks],
        }
        return Checkpoint(
            key=key, trained_until=trained_until, arrays=self.arrays, facts={**facts, "head": own}
        )

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> Head:
        """The head that `checkpoint` packed."""
        own = checkpoint.facts["head"]
        return cls(
            arrays=dict(checkpoint.arrays),
            temperature=own["temperature"],
            settings=HeadSettings(**own["settings"]),
            looks=tuple(Look(step=s, train=t, held=h) for s, t, h in own["looks"]),
        )

    def _checked(self, vectors: Floats, side: str) -> Floats:
        mean, spread = self.arrays[f"{side}.mean"], self.arrays[f"{side}.spread"]
        if vectors.ndim != 2 or vectors.shape[1] != len(mean):
            raise DataError(
                f"vectors of another size than the head's {side}s",
                value=f"shape {vectors.shape}",
                allowed=f"(N, {len(mean)})",
            )
        return np.asarray((vectors - mean) / spread)


@dataclass(frozen=True, kw_only=True)
class Retrieval:
    """How often the paired vector is found among all.

    Parameters
    ----------
    pairs
        N: chance finds one in N.
    top1, top5
        Shares of windows whose own partner is the nearest, or among the five nearest.
    median_rank
        Of the own partner; 1 is the nearest.
    """

    pairs: int
    top1: float
    top5: float
    median_rank: float

    @property
    def chance1(self) -> float:
        """Share that guessing finds first."""
        return 1.0 / self.pairs

    @property
    def chance5(self) -> float:
        """Share that five guesses find."""
        return min(1.0, 5.0 / self.pairs)


def parts_of(pairs: int, settings: HeadSettings, gap: int = 0) -> tuple[slice, slice, slice]:
    """Learnt from, held back, measured on: in order of time, `gap` pairs apart.

    Raises
    ------
    DataError
        When a part would have fewer than eight pairs.
    """
    test = pairs - round(settings.test_split * pairs)
    held = test - round(settings.validation_split * test)
    parts = slice(0, held - gap), slice(held, test - gap), slice(test, pairs)
    if min(part.stop - part.start for part in parts) < 8:
        raise DataError("too few pairs to learn from, hold back and measure on", value=pairs, allowed=">= 60")
    return parts


def train_head(
    windows: Floats,
    partners: Floats,
    settings: HeadSettings,
    *,
    gap: int = 0,
    progress: Callable[[int, int, float], None] | None = None,
) -> tuple[Head, Retrieval]:
    """Train a head on pairs in order of time; the newest ones only measure it.

    Parameters
    ----------
    windows, partners
        (N, D) and (N, M); row n of both belong together.
    gap
        Pairs left out between the parts: those that overlap with the next part.
    progress
        Called after every epoch with epoch, epochs and held-back loss.
    """
    if len(windows) != len(partners):
        raise DataError("windows and partners are not pairs", value=f"{len(windows)} and {len(partners)}")
    learn, held, test = parts_of(len(windows), settings, gap)
    scaling = {
        **_scaling("window", windows[learn]),
        **_scaling("partner", partners[learn]),
    }
    sides = tuple(
        ((side - scaling[f"{name}.mean"]) / scaling[f"{name}.spread"]).astype(np.float32)
        for name, side in (("window", windows), ("partner", partners))
    )
    with strict_torch():
        weights, temperature, looks = _descend(sides, learn, held, settings, progress)
    head = Head(arrays={**scaling, **weights}, temperature=temperature, settings=settings, looks=tuple(looks))
    found = retrieve(head.project(windows[test]), head.project_partner(partners[test]))
    return head, found


def retrieve(queries: Floats, partners: Floats) -> Retrieval:
    """Rank of each query's own partner among all by cosine; rows of both are unit vectors.

    Ties count against the query.

    >>> found = retrieve(np.eye(6), np.eye(6))
    >>> found.top1, found.median_rank, round(found.chance5, 3)
    (1.0, 1.0, 0.833)
    """
    likeness = queries @ partners.T
    own = np.diag(likeness)[:, None]
    rank = (likeness >= own).sum(axis=1)
    return Retrieval(
        pairs=len(queries),
        top1=float((rank <= 1).mean()),
        top5=float((rank <= 5).mean()),
        median_rank=float(np.median(rank)),
    )


def info_nce(windows: torch.Tensor, partners: torch.Tensor, inverse: torch.Tensor) -> torch.Tensor:
    """Mean cross-entropy of finding one's partner, both ways; rows are unit vectors."""
    import torch.nn.functional as f
    from torch import arange

    logits = windows @ partners.T * inverse
    own = arange(len(logits))
    return 0.5 * (f.cross_entropy(logits, own) + f.cross_entropy(logits.T, own))


def _descend(
    sides: tuple[npt.NDArray[np.float32], ...],
    learn: slice,
    held: slice,
    settings: HeadSettings,
    progress: Callable[[int, int, float], None] | None,
) -> tuple[dict[str, npt.NDArray[np.float32]], float, list[Look]]:
    """Weights of the epoch with the smallest held-back loss."""
    import torch

    torch.manual_seed(settings.seed)
    window, partner = (torch.from_numpy(side) for side in sides)
    towers = _Towers(window.shape[1], partner.shape[1], settings)
    optimiser = torch.optim.AdamW(
        towers.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs)
    rng = np.random.default_rng(settings.seed)
    best, looks = (math.inf, 0, towers.state()), []
    for epoch in range(1, settings.epochs + 1):
        losses = []
        order = rng.permutation(learn.stop - learn.start)
        for at in range(0, len(order), settings.batch_size):
            batch = torch.from_numpy(np.sort(order[at : at + settings.batch_size]))
            if len(batch) < 2:
                continue  # one pair alone has nobody to be told apart from
            loss = towers.loss(window[learn][batch], partner[learn][batch], learning=True)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(float(loss.detach()))
        falling.step()
        with torch.no_grad():
            held_loss = float(towers.loss(window[held], partner[held], learning=False))
        looks.append(Look(step=epoch, train=float(np.mean(losses)), held=held_loss))
        if held_loss < best[0]:
            best = (held_loss, epoch, towers.state())
        if progress is not None:
            progress(epoch, settings.epochs, held_loss)
        if epoch - best[1] >= settings.patience:
            break
    state = dict(best[2])
    return state, float(np.exp(-state.pop("inverse").item())), looks


class _Towers:
    """Both towers and the logarithm of the inverse temperature."""

    def __init__(self, size: int, partner: int, settings: HeadSettings) -> None:
        import torch

        self.first = torch.nn.Linear(size, settings.hidden)
        self.second = torch.nn.Linear(settings.hidden, settings.out)
        self.partner = torch.nn.Linear(partner, settings.out, bias=False)
        self.inverse = torch.nn.Parameter(
            torch.tensor(-math.log(settings.temperature)), requires_grad=settings.learn_temperature
        )
        self.dropout = settings.dropout

    def parameters(self) -> list[dict[str, Any]]:
        """Groups of the optimiser: the temperature does not decay."""
        layers = [p for layer in (self.first, self.second, self.partner) for p in layer.parameters()]
        return [{"params": layers}, {"params": [self.inverse], "weight_decay": 0.0}]

    def loss(self, windows: torch.Tensor, partners: torch.Tensor, *, learning: bool) -> torch.Tensor:
        """Symmetric InfoNCE of a batch."""
        import torch.nn.functional as f

        hidden = f.dropout(f.gelu(self.first(windows)), self.dropout, training=learning)
        left, right = f.normalize(self.second(hidden), dim=1), f.normalize(self.partner(partners), dim=1)
        return info_nce(left, right, self.inverse.clamp(max=math.log(_COLDEST)).exp())

    def state(self) -> dict[str, npt.NDArray[np.float32]]:
        """Copies of all weights."""
        named = {
            "first.weight": self.first.weight,
            "first.bias": self.first.bias,
            "second.weight": self.second.weight,
            "second.bias": self.second.bias,
            "partner.weight": self.partner.weight,
            "inverse": self.inverse.clamp(max=math.log(_COLDEST)),
        }
        return {name: value.detach().numpy().copy() for name, value in named.items()}


def _scaling(side: str, vectors: Floats) -> dict[str, npt.NDArray[np.float32]]:
    spread = vectors.std(axis=0)
    return {
        f"{side}.mean": vectors.mean(axis=0).astype(np.float32),
        f"{side}.spread": np.where(spread > 1e-9, spread, 1.0).astype(np.float32),
    }


def _gelu(values: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(values * ndtr(values))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), dtype=np.float64)


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise ConfigError(f"[head] {name} is out of range", value=value, allowed=f"{low:g} to {high:g}")
