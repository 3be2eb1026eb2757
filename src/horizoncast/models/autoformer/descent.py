"""One network's descent, which can stop at any look and go on from it, bit for bit.

Between two looks the state is the weights, the optimiser's two moments, the random numbers' state and
the best weights so far; batches and learning rates follow from the seed and the step.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from horizoncast.errors import ModelError
from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.losses import pinball_by_origin
from horizoncast.models.autoformer.network import Network, NetworkConfig
from horizoncast.models.autoformer.trained import Look, network_quantiles, tensors
from horizoncast.models.autoformer.warm_start import WarmStart

Ints = npt.NDArray[np.int64]
Weights = dict[str, torch.Tensor]

_WARM_UP = 0.15
"""Share of the steps over which the learning rate rises."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What one descent is a function of.

    Parameters
    ----------
    most
        Steps, unless the held-back loss stops it before.
    """

    config: AutoformerConfig
    shape: NetworkConfig
    scaler: Scaler
    learn: Examples
    held: Examples
    start: WarmStart | None
    seed: int
    most: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Halfway:
    """A descent between two looks.

    Parameters
    ----------
    step, best_step, best_loss
        Steps done; the best look so far.
    looks
        All looks so far.
    weights, best, first, second
        Weights, the best weights, and the two moments of AdamW by parameter.
    random
        State of torch's random numbers, uint8.
    """

    step: int
    best_step: int
    best_loss: float
    looks: tuple[Look, ...]
    weights: Weights
    best: Weights
    first: Weights
    second: Weights
    random: torch.Tensor


class Resume(Protocol):
    """Keeps unfinished descents, one per network."""

    def read(self, place: int) -> Halfway | None:
        """What was kept; None where there is nothing to go on from."""

    def write(self, place: int, halfway: Halfway) -> None:
        """Keep it in place of what was there."""


def chosen_device(name: str) -> torch.device:
    """``auto`` takes an accelerator that torch can use, else the processor.

    >>> chosen_device("cpu").type
    'cpu'

    Raises
    ------
    ModelError
        When an accelerator is asked for that is not there.
    """
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ModelError(
            "autoformer: torch finds no accelerator",
            value=name,
            allowed="auto, cpu",
            action="set members.autoformer.device = auto",
        )
    return torch.device("cuda" if there and name != "cpu" else "cpu")


def learning_rate(step: int, most: int, peak: float) -> float:
    """Rise in a straight line, then half a cosine down to a hundredth of the peak.

    >>> [round(learning_rate(step, 100, 1.0), 2) for step in (1, 15, 50, 100)]
    [0.07, 1.0, 0.64, 0.01]
    """
    rise = max(1, round(_WARM_UP * most))
    if step <= rise:
        return peak * step / rise
    along = (step - rise) / max(1, most - rise)
    return peak * (0.01 + 0.99 * 0.5 * (1.0 + math.cos(math.pi * along)))


@dataclass(eq=False)
class _Best:
    loss: float
    step: int
    weights: Weights = field(repr=False)


class Descent:
    """AdamW with a look at the held-back windows every `check_every` steps.

    Parameters
    ----------
    job
        What is trained, on what.
    resume, place
        Where it is kept at each look, and under which number.
    """

    def __init__(self, job: Job, *, resume: Resume | None = None, place: int = 0) -> None:
        self.job, self.resume, self.place = job, resume, place
        self.device = chosen_device(job.config.device)
        self.network = Network(job.shape)
        self.held = tensors(job.held, job.scaler, self.network, self.device)
        self.network.to(self.device)
        self.step = 0
        self._best = _Best(self._held_loss(), 0, self._copy())
        self.looks = [Look(step=0, train=float("nan"), held=self._best.loss)]
        if job.start is not None:
            self.network.head.start_at(
                job.start.weights, job.start.constant, *job.start.standardised(job.scaler)
            )
            self._look(1, float("nan"))
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=1.0, weight_decay=job.config.weight_decay, foreach=False
        )
        kept = resume.read(place) if resume is not None else None
        if kept is not None:
            self._go_on_from(kept)

    def run(self) -> Iterator[int]:
        """Descend; yields the step of each look, after it was kept."""
        config, most = self.job.config, self.job.most
        inputs = tensors(self.job.learn, self.job.scaler, self.network, self.device)
        target = torch.from_numpy(self.job.learn.target).to(self.device).unsqueeze(-1)
        recent: list[float] = []
        batches = _batches(len(self.job.learn.rows), config.batch, most, self.job.seed)
        for step, places in enumerate(batches, 1):
            if step <= self.step:
                continue
            if self._has_stopped():
                return
            at = torch.from_numpy(places).to(self.device)
            recent.append(self._descend(step, [part[at] for part in inputs], target[at]))
            self.step = step
            if step % config.check_every == 0 or step == most:
                self._look(step, float(np.mean(recent)))
                recent = []
                if self.resume is not None:
                    self.resume.write(self.place, self._halfway())
                yield step

    def best(self) -> tuple[Network, int, tuple[Look, ...]]:
        """The network of the best look on the processor, its step, and all looks."""
        self.network.load_state_dict(self._best.weights)
        return self.network.to("cpu").eval(), self._best.step, tuple(self.looks)

    def _descend(self, step: int, inputs: list[torch.Tensor], target: torch.Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(step, self.job.most, self.job.config.learning_rate)
        self.network.train()
        loss = self.network.head.loss(self.network(*inputs), target)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def _look(self, step: int, train: float) -> None:
        held = self._held_loss()
        self.looks.append(Look(step=step, train=train, held=held))
        if held < self._best.loss:
            self._best = _Best(held, step, self._copy())

    def _has_stopped(self) -> bool:
        """Whether the last looks gained nothing; asked at looks only, where a descent may go on."""
        config = self.job.config
        if self.step % config.check_every:
            return False
        return self.step - self._best.step >= config.patience * config.check_every

    def _held_loss(self) -> float:
        """Mean pinball loss on the held-back windows."""
        self.network.eval()
        return float(
            pinball_by_origin(network_quantiles(self.network, self.held), self.job.held.target).mean()
        )

    def _copy(self) -> Weights:
        return {name: value.detach().cpu().clone() for name, value in self.network.state_dict().items()}

    def _halfway(self) -> Halfway:
        moments = {
            name: self.optimiser.state[parameter] for name, parameter in self.network.named_parameters()
        }
        return Halfway(
            step=self.step,
            best_step=self._best.step,
            best_loss=self._best.loss,
            looks=tuple(self.looks),
            weights=self._copy(),
            best=self._best.weights,
            first={name: state["exp_avg"].detach().cpu() for name, state in moments.items()},
            second={name: state["exp_avg_sq"].detach().cpu() for name, state in moments.items()},
            random=torch.random.get_rng_state(),
        )

    def _go_on_from(self, kept: Halfway) -> None:
        self.network.load_state_dict(kept.weights)
        for name, parameter in self.network.named_parameters():
            self.optimiser.state[parameter] = {
                "step": torch.tensor(float(kept.step)),
                "exp_avg": kept.first[name].to(self.device),
                "exp_avg_sq": kept.second[name].to(self.device),
            }
        torch.random.set_rng_state(kept.random)
        self.step, self.looks = kept.step, list(kept.looks)
        self._best = _Best(kept.best_loss, kept.best_step, kept.best)


def _batches(count: int, size: int, steps: int, seed: int) -> Iterator[Ints]:
    """`steps` batches of origins; each origin once before any comes again."""
    rng = np.random.default_rng(seed)
    pool = rng.permutation(count)
    for _ in range(steps):
        while len(pool) < size:
            pool = np.concatenate([pool, rng.permutation(count)])
        yield pool[:size]
        pool = pool[size:]
