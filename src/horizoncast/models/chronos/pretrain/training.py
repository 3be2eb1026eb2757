"""The training loop: from the anchored start, on synthetic series only, resumable at any step.

Every batch is a function of (seed, step), so a run that was stopped and resumed gives the weights of one
that was not. State lies in safetensors, never in a pickle.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from horizoncast.errors import ConfigError, StoreError
from horizoncast.models.chronos.pretrain.network import CONTEXT, STEPS, build
from horizoncast.models.chronos.pretrain.objective import losses
from horizoncast.models.chronos.pretrain.synthetic import Synthesiser

if TYPE_CHECKING:
    from torch import Tensor

STATE, PROGRESS = "state.safetensors", "progress.json"


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training.

    Parameters
    ----------
    until
        Step it ends before.
    rate, fall
        Learning rate of AdamW; steps between which it falls along a cosine to a hundredth, None for flat.
    pull
        Weight of the distance from the random walk on pure walks. A network this small tells prices from
        seasons slowly: with a weak pull its intervals are too narrow on the one and wide on the other.
    lengths
        Context lengths with their shares.
    kinds
        Kinds of series with their shares; the first are the pure random walks.
    two_cycles
        How much more often than in the table of calendars a series has two cycles, such as a day and a week.
    wander
        Share of the structured series whose level is a random walk besides its trend.
    """

    until: int
    pull: float
    lengths: tuple[tuple[int, float], ...]
    kinds: tuple[tuple[str, float], ...]
    rate: float = 1e-3
    fall: tuple[int, int] | None = None
    two_cycles: float = 1.0
    wander: float = 0.0


FIRST = Stage(
    until=2_500,
    pull=0.3,
    lengths=((48, 0.12), (96, 0.22), (144, 0.2), (192, 0.14), (264, 0.1), (384, 0.1), (528, 0.12)),
    kinds=(
        ("prices", 0.22),
        ("structured", 0.5),
        ("levels", 0.09),
        ("reverting", 0.05),
        ("oscillations", 0.04),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
)
SECOND = Stage(
    until=4_750,
    fall=(2_500, 9_000),
    pull=2.0,
    lengths=((48, 0.1), (96, 0.18), (144, 0.17), (192, 0.12), (264, 0.08), (384, 0.15), (528, 0.2)),
    kinds=(
        ("prices", 0.28),
        ("structured", 0.46),
        ("levels", 0.08),
        ("reverting", 0.04),
        ("oscillations", 0.04),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
    two_cycles=3.0,
)
THIRD = replace(
    SECOND,
    until=6_500,
    lengths=((48, 0.12), (96, 0.22), (144, 0.2), (192, 0.11), (264, 0.06), (384, 0.12), (528, 0.17)),
    wander=0.6,
)
FOURTH = replace(
    THIRD,
    until=10_750,
    rate=7e-4,
    fall=(6_500, 10_750),
    lengths=((48, 0.14), (96, 0.24), (144, 0.22), (192, 0.1), (264, 0.05), (384, 0.1), (528, 0.15)),
    kinds=(
        ("prices", 0.26),
        ("structured", 0.5),
        ("levels", 0.08),
        ("reverting", 0.03),
        ("oscillations", 0.03),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
    wander=0.85,
)
FIFTH = replace(
    FOURTH,
    until=13_250,
    rate=5e-4,
    fall=(10_750, 13_250),
    lengths=((48, 0.2), (96, 0.22), (144, 0.13), (192, 0.07), (264, 0.04), (384, 0.12), (528, 0.22)),
    two_cycles=5.0,
    wander=0.95,
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything a training is a function of.

    Parameters
    ----------
    batch
        Series per step.
    warmup
        Steps until the first learning rate is reached.
    clip
        Largest norm of a gradient.
    smoothing
        Of the running mean of the weights, which is what is kept.
    stages
        What is trained on, in order.
    seed
        Of weights and series.
    half
        Wide products in bfloat16.
    """

    batch: int = 128
    warmup: int = 100
    clip: float = 1.0
    smoothing: float = 0.998
    stages: tuple[Stage, ...] = (FIRST, SECOND, THIRD, FOURTH, FIFTH)
    seed: int = 0
    half: bool = True

    def __post_init__(self) -> None:
        ends = [stage.until for stage in self.stages]
        if self.batch < 1 or self.warmup < 1 or not ends or ends != sorted(set(ends)) or ends[0] < 1:
            raise ConfigError(
                "recipe",
                value=f"batch {self.batch}, warmup {self.warmup}, stages until {ends}",
                allowed="1 or more each, stages in increasing order",
            )

    @property
    def steps(self) -> int:
        """Optimiser steps in all."""
        return self.stages[-1].until

    def stage(self, step: int) -> Stage:
        """The stage a step belongs to."""
        return next(stage for stage in self.stages if step < stage.until)

    def learning_rate(self, step: int) -> float:
        """Rate at a step: that of its stage, after a linear warm-up."""
        stage = self.stage(step)
        rate = stage.rate * min(1.0, (step + 1) / self.warmup)
        if stage.fall is None:
            return rate
        part = (step - stage.fall[0]) / max(1, stage.fall[1] - stage.fall[0])
        return rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * part)))

    def shortened(self, steps: int) -> Recipe:
        """The same in another number of steps, stages in proportion; those without a step are left out."""

        def scaled(step: int) -> int:
            return round(steps * step / self.steps)

        stages = [
            replace(
                stage,
                until=scaled(stage.until),
                fall=None if stage.fall is None else (scaled(stage.fall[0]), scaled(stage.fall[1])),
            )
            for stage in self.stages
        ]
        befores = [0, *(stage.until for stage in stages)]
        kept = (stage for before, stage in zip(befores, stages, strict=False) if stage.until > before)
        return replace(self, stages=tuple(kept))


def batch_of(recipe: Recipe, step: int, device: str) -> tuple[Tensor, Tensor]:
    """Contexts and what follows them at a step. Shapes (B, T), (B, H)."""
    import torch

    stage = recipe.stage(step)
    source = Synthesiser(
        device, recipe.seed * 1_000_003 + step, two_cycles=stage.two_cycles, wander=stage.wander
    )
    shares = torch.tensor([share for _, share in stage.lengths])
    pick = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    length = stage.lengths[int(torch.multinomial(shares, 1, generator=pick))][0]
    values = source.disturbed(source.batch(recipe.batch, length + STEPS, stage.kinds))
    context = source.with_gaps(values[:, :length])
    context[:, : max(0, length - CONTEXT)] = torch.nan  # the library fills 512 sessions up to whole patches
    return context, values[:, length:].contiguous()


@dataclass(frozen=True, kw_only=True)
class Report:
    """Where a training stands."""

    step: int
    loss: float
    distance: float


class Training:
    """A training that can be stopped after any step.

    Parameters
    ----------
    recipe
        What to do.
    folder
        Where the state is kept; a state of the same recipe that lies there is continued.
    device
        ``cpu`` or ``cuda``.
    """

    def __init__(self, recipe: Recipe, folder: Path, *, device: str = "cpu") -> None:
        import torch

        self.recipe, self.folder, self.device = recipe, folder, device
        self.model = build(recipe.seed).to(device).train()
        self.mean = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        plain = [
            p for n, p in self.model.named_parameters() if p.ndim < 2 or "shared" in n or "relative" in n
        ]
        kept = {id(p) for p in plain}
        decayed = [p for p in self.model.parameters() if id(p) not in kept]
        self.optimiser = torch.optim.AdamW(
            [{"params": decayed, "weight_decay": 0.01}, {"params": plain, "weight_decay": 0.0}],
            lr=recipe.learning_rate(0),
            betas=(0.9, 0.98),
        )
        self.step = 0
        self._resume()

    def run(self, until: int | None = None) -> Iterator[Report]:
        """Train, yielding after every step, up to `until` steps in all (the recipe's by default)."""
        end = self.recipe.steps if until is None else min(until, self.recipe.steps)
        while self.step < end:
            yield self._one()

    def _one(self) -> Report:
        import torch

        recipe = self.recipe
        stage = recipe.stage(self.step)
        with torch.no_grad():
            context, target = batch_of(recipe, self.step, self.device)
        walks = round(recipe.batch * stage.kinds[0][1])
        loss, distance = losses(self.model, context, target, walks=walks, half=recipe.half)
        torch.autograd.backward(loss + stage.pull * distance)
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.learning_rate(self.step)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        with torch.no_grad():
            share = min(recipe.smoothing, (self.step + 1) / (self.step + 20))
            means = [self.mean[n] for n, _ in self.model.named_parameters()]
            torch._foreach_lerp_(means, list(self.model.parameters()), 1 - share)
        self.step += 1
        return Report(step=self.step, loss=float(loss.detach()), distance=float(distance.detach()))

    def smoothed(self) -> Any:
        """A copy of the model with the running mean of the weights."""
        import copy

        import torch

        found = copy.deepcopy(self.model).eval()
        with torch.no_grad():
            for name, parameter in found.named_parameters():
                parameter.copy_(self.mean[name])
        return found

    def save(self) -> None:
        """Write weights, running mean and optimiser."""
        from safetensors.torch import save_file

        tensors = {f"mean.{n}": t.contiguous() for n, t in self.mean.items()}
        for name, parameter in self.model.named_parameters():
            tensors[f"now.{name}"] = parameter.detach().contiguous()
            state = self.optimiser.state.get(parameter, {})
            tensors |= {
                f"{key}.{name}": state[key].clone() for key in ("exp_avg", "exp_avg_sq") if key in state
            }
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f"{STATE}.new"
        save_file(tensors, fresh)
        fresh.replace(self.folder / STATE)
        facts = {"step": self.step, "recipe": plain_recipe(self.recipe)}
        (self.folder / PROGRESS).write_text(json.dumps(facts, indent=1), encoding="utf-8")

    def _resume(self) -> None:
        place = self.folder / PROGRESS
        if not place.exists():
            return
        import torch
        from safetensors.torch import load_file

        facts = json.loads(place.read_text(encoding="utf-8"))
        if facts["recipe"] != plain_recipe(self.recipe):
            raise StoreError(
                f"{self.folder} holds a training of another recipe",
                value=json.dumps(facts["recipe"]),
                action="give another folder, or delete this one",
            )
        state = load_file(self.folder / STATE, device=self.device)
        self.step = int(facts["step"])
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                parameter.copy_(state[f"now.{name}"])
                self.mean[name].copy_(state[f"mean.{name}"])
                if f"exp_avg.{name}" in state:
                    self.optimiser.state[parameter] = {
                        "step": torch.tensor(float(self.step)),
                        "exp_avg": state[f"exp_avg.{name}"],
                        "exp_avg_sq": state[f"exp_avg_sq.{name}"],
                    }


def plain_recipe(recipe: Recipe) -> dict[str, Any]:
    """A recipe as JSON would give it back."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return found


def pretrain(
    recipe: Recipe,
    folder: Path,
    *,
    device: str = "cpu",
    every: int = 500,
    told: Callable[[Training, Report], None] | None = None,
    advance: Callable[[Report], None] | None = None,
) -> Any:
    """Train to the end of the recipe; returns the smoothed model.

    Parameters
    ----------
    folder
        Holds the state; given again, the training goes on.
    every
        Steps between two saves, and two calls of `told`.
    advance
        Called after every step.
    """
    training = Training(recipe, folder, device=device)
    for report in training.run():
        if advance is not None:
            advance(report)
        if report.step % every == 0 or report.step == recipe.steps:
            training.save()
            if told is not None:
                told(training, report)
    return training.smoothed()
