"""The descent of a fine-tuning of Bolt: steps, early stop on held-back windows, and going on after a kill.

Every step draws its windows and its dropout from a seed of its own, so a training that goes on from a
saved state computes what the uninterrupted one would have, bit for bit on one processor. What is lowered
is a `Goal`: the checkpoint's own loss, or that of its quantiles fused with another model's.

Letters in shapes: N windows, B batch, H steps, Q levels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.training_state import SavedState, States
from horizoncast.models.chronos.unfreezing import Group, group_of, groups_of, planned_steps, rate_at
from horizoncast.models.chronos.windows import Ints

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Look:
    """Losses after some steps: the mean of the training batches since the last look, and held back."""

    step: int
    train: float
    held: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuned:
    """A finished training.

    Parameters
    ----------
    network
        With the weights of the best look, in evaluation mode.
    looks
        Losses by step.
    chosen
        Step whose weights were kept; 0 is the base.
    steps
        Steps that were planned.
    resumed_at
        Step that a saved state was taken up from; None where the training began anew.
    """

    network: Any
    looks: tuple[Look, ...]
    chosen: int
    steps: int
    resumed_at: int | None = field(default=None)


@dataclass(frozen=True, kw_only=True, eq=False)
class Goal:
    """What a training lowers.

    Parameters
    ----------
    windows
        N to learn from.
    batch_loss
        Loss of the network, in training mode, on some of them.
    held_loss
        Loss of the network on the windows that stop the training.
    groups, parameters
        What is trained beside the network, by name of the group.
    """

    windows: int
    batch_loss: Callable[[Any, Ints], torch.Tensor]
    held_loss: Callable[[Any], float]
    groups: tuple[Group, ...] = ()
    parameters: Mapping[str, list[tuple[str, torch.nn.Parameter]]] = field(default_factory=dict)


Progress = Callable[[int, int, float], None]
"""Called after every step with the step, the steps planned, and the batch's loss."""


def tune_towards(
    network: Any,
    goal: Goal,
    settings: TrainingSettings,
    *,
    states: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> Tuned:
    """Train a network, and what stands beside it, towards a goal; see `tune_bolt`."""
    steps = planned_steps(settings, goal.windows)
    with strict_torch():
        run = _Run(network, goal, settings, steps, States(folder=states, key=key))
        resumed = run.resume()
        for step, loss in run.steps():
            if progress is not None:
                progress(step, steps, loss)
        run.finish()
    return Tuned(
        network=network.eval(),
        looks=tuple(run.looks),
        chosen=run.best_step,
        steps=steps,
        resumed_at=resumed,
    )


def mean_pinball(quantiles: torch.Tensor, targets: torch.Tensor, levels: Sequence[float]) -> torch.Tensor:
    """Mean of the windows' losses as `window_losses` takes them, with a gradient.

    Parameters
    ----------
    quantiles, targets
        (B, H, Q) and (B, H), NaN where a target is unknown, in units of the context.
    """
    import torch

    known = torch.isfinite(targets)
    over = torch.where(known, targets, 0.0)[..., None] - quantiles
    tau = torch.tensor(levels, dtype=torch.float32, device=quantiles.device)
    loss = torch.maximum(tau * over, (tau - 1.0) * over).mean(dim=2) * known
    return (loss.sum(dim=1) / known.sum(dim=1).clamp(min=1)).mean()


@contextmanager
def strict_torch() -> Iterator[None]:
    """Deterministic algorithms and a random state of its own, inside; everything as it was, outside."""
    import torch

    strict = torch.are_deterministic_algorithms_enabled()
    warn = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=warn)


class _Run:
    """One training: the optimiser, the looks, the best weights so far."""

    def __init__(
        self, network: Any, goal: Goal, settings: TrainingSettings, steps: int, states: States
    ) -> None:
        self.network, self.goal, self.settings = network, goal, settings
        self.total, self.states = steps, states
        inside = groups_of(settings, steps)
        self.groups = (*inside, *goal.groups)
        self.parameters = _parameters_by_group(network, inside, settings.encoder_blocks) | dict(
            goal.parameters
        )
        self.optimiser = _optimiser(self.groups, self.parameters, settings)
        self.step, self.looks = 0, [Look(step=0, train=float("nan"), held=goal.held_loss(network))]
        self.best_step, self.best = 0, self._copy()
        self.recent: list[float] = []

    def resume(self) -> int | None:
        """Take up the newest readable state; None where there is none."""
        saved = self.states.newest()
        if saved is None:
            return None
        _restore(self.optimiser, self._named(), saved)
        self.step, self.best_step = saved.step, saved.best_step
        self.best = {name: _tensor(saved.best[name]) for name in self.best}
        self.looks = [Look(step=s, train=t, held=h) for s, t, h in saved.looks]
        self.recent = list(saved.recent)
        return saved.step

    def steps(self) -> Iterator[tuple[int, float]]:
        """Train until the steps are done or the held-back loss has stopped to fall; yields step, loss."""
        while self.step < self.total and not self._done():
            loss = self._descend()
            self.recent.append(loss)
            self.step += 1
            if self.step % self.settings.check_every == 0 or self.step == self.total:
                self._look()
            if self.step % self.settings.checkpoint_every == 0:
                self.states.save(self._state())
            yield self.step, loss

    def finish(self) -> None:
        """The best weights into the network; saved states are no longer needed."""
        import torch

        named = self._named()
        with torch.no_grad():
            for name, value in self.best.items():
                named[name].copy_(value.to(named[name].device))
        self.states.clear()

    def _descend(self) -> float:
        """One step of AdamW on one batch."""
        import torch

        seed = self.settings.seed + self.step
        torch.manual_seed(seed)
        batch = batch_at(self.step, self.goal.windows, self.settings)
        for group, slot in zip(self.groups, self.optimiser.param_groups, strict=True):
            slot["lr"] = rate_at(group, self.step, self.total, self.settings.warmup)
            for parameter in slot["params"]:
                parameter.requires_grad_(self.step >= group.start)
        self.network.train()
        loss = self.goal.batch_loss(self.network, batch)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([p for ps in self.parameters.values() for _, p in ps], 1.0)
        self.optimiser.step()
        return float(loss.detach())

    def _look(self) -> None:
        held = self.goal.held_loss(self.network)
        self.looks.append(Look(step=self.step, train=float(np.mean(self.recent)), held=held))
        self.recent = []
        if held < self.looks[_place(self.looks, self.best_step)].held:
            self.best_step, self.best = self.step, self._copy()

    def _done(self) -> bool:
        """No gain for `patience` looks since the best one and since the last unfreezing."""
        unfrozen = max(group.start for group in self.groups if group.start <= self.step)
        later = any(group.start > self.step for group in self.groups)
        waited = self.step - max(self.best_step, unfrozen)
        return not later and waited >= self.settings.patience * self.settings.check_every

    def _named(self) -> dict[str, torch.nn.Parameter]:
        return {name: p for pairs in self.parameters.values() for name, p in pairs}

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: p.detach().cpu().clone() for name, p in self._named().items()}

    def _state(self) -> SavedState:
        moments = {name: self.optimiser.state.get(p, {}) for name, p in self._named().items()}
        moved = {name: state for name, state in moments.items() if state}
        return SavedState(
            step=self.step,
            best_step=self.best_step,
            now={name: _array(p) for name, p in self._named().items()},
            best={name: _array(value) for name, value in self.best.items()},
            first={name: _array(state["exp_avg"]) for name, state in moved.items()},
            second={name: _array(state["exp_avg_sq"]) for name, state in moved.items()},
            counts={name: float(state["step"]) for name, state in moved.items()},
            looks=tuple((look.step, look.train, look.held) for look in self.looks),
            recent=tuple(self.recent),
        )


def _parameters_by_group(
    network: Any, groups: tuple[Group, ...], encoder_blocks: int
) -> dict[str, list[tuple[str, torch.nn.Parameter]]]:
    """Named parameters of each trained group; all others are frozen."""
    wanted: dict[str, list[tuple[str, torch.nn.Parameter]]] = {group.name: [] for group in groups}
    layers = int(network.config.num_layers)
    for name, parameter in network.named_parameters():
        group = group_of(name, encoder_layers=layers, encoder_blocks=encoder_blocks)
        parameter.requires_grad_(group in wanted)
        if group in wanted:
            wanted[group].append((name, parameter))
    return wanted


def _optimiser(
    groups: tuple[Group, ...],
    parameters: Mapping[str, list[tuple[str, torch.nn.Parameter]]],
    settings: TrainingSettings,
) -> torch.optim.AdamW:
    import torch

    slots = [{"params": [p for _, p in parameters[group.name]], "lr": group.rate} for group in groups]
    return torch.optim.AdamW(slots, weight_decay=settings.weight_decay, foreach=False)


def _restore(
    optimiser: torch.optim.AdamW, named: Mapping[str, torch.nn.Parameter], saved: SavedState
) -> None:
    """Weights and moments as they were."""
    import torch

    with torch.no_grad():
        for name, parameter in named.items():
            parameter.copy_(_tensor(saved.now[name]).to(parameter.device))
            if name in saved.counts:
                optimiser.state[parameter] = {
                    "step": torch.tensor(saved.counts[name], dtype=torch.float32),
                    "exp_avg": _tensor(saved.first[name]).to(parameter.device),
                    "exp_avg_sq": _tensor(saved.second[name]).to(parameter.device),
                }


def batch_at(step: int, windows: int, settings: TrainingSettings) -> Ints:
    """Windows of a step: each epoch is a permutation of its own seed."""
    per_epoch = math.ceil(windows / settings.batch_size)
    epoch, place = divmod(step, per_epoch)
    order = np.random.default_rng((settings.seed, epoch)).permutation(windows)
    return np.sort(order[place * settings.batch_size : (place + 1) * settings.batch_size])


def _place(looks: list[Look], step: int) -> int:
    return next(i for i, look in enumerate(looks) if look.step == step)


def _array(value: torch.Tensor) -> npt.NDArray[np.float32]:
    return value.detach().cpu().numpy().copy()


def _tensor(value: npt.NDArray[np.float32]) -> torch.Tensor:
    import torch

    return torch.from_numpy(value.copy())
