"""Training of an output-injection adapter: the backbone answers every window once, a small network learns.

Nothing of the backbone moves, so its states and quantiles are arrays, and a step is a product of small
matrices. The held-back windows stop the training; the verdict is taken on windows after those.

Letters in shapes: N windows, B batch, T context, H steps, Q own levels, D state, F inputs, K hidden units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError
from horizoncast.models.chronos.adapter import (
    ARRAYS,
    MOST_LOG,
    MOST_SHIFT,
    Adapter,
    Reads,
    Told,
    covariate_inputs,
    scaled,
    window_inputs,
)
from horizoncast.models.chronos.beside import Beside
from horizoncast.models.chronos.bolt_descent import (
    Look,
    Progress,
    Tuned,
    batch_at,
    mean_pinball,
    strict_torch,
)
from horizoncast.models.chronos.bolt_training import levels_of
from horizoncast.models.chronos.inference import decoder_states
from horizoncast.models.chronos.levels import at_levels
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.unfreezing import Group, planned_steps, rate_at
from horizoncast.models.chronos.verdict import window_losses
from horizoncast.models.chronos.windows import Split, Windows, context_spread, thinned

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Columns = Sequence[Sequence[Beside]]

MOST_LEARN = 4096
"""Windows learnt from at most, evenly drawn: a network this small gains nothing from neighbours."""
_CHUNK = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """The frozen backbone on windows.

    Parameters
    ----------
    windows
        Them.
    states
        (N, D) last hidden states of the decoder.
    quantiles
        (N, H, Q) in increasing order, in units of the context.
    inputs
        (N, H, F) what the adapter reads, NaN where unknown.
    """

    windows: Windows
    states: Singles
    quantiles: Singles
    inputs: Floats

    def __len__(self) -> int:
        return len(self.windows)


@dataclass(frozen=True, kw_only=True, eq=False)
class Injected:
    """A trained adapter and its losses on the test windows, (N,) each.

    Parameters
    ----------
    adapter, tuned
        With the weights of the best look; looks and steps.
    before, after
        Losses of the backbone alone and with the adapter.
    without
        Losses of the adapter with every covariate at its training mean: what it does besides them.
    windows
        Windows learnt from, held back, tested on.
    """

    adapter: Adapter
    tuned: Tuned
    before: Floats
    after: Floats
    without: Floats
    windows: tuple[int, int, int]


def train_adapter(
    network: Any,
    split: Split,
    columns: Columns,
    settings: TrainingSettings,
    *,
    trained_until: np.datetime64 | None,
    progress: Progress | None = None,
) -> Injected:
    """Train an adapter on what a frozen Bolt left open.

    Parameters
    ----------
    network
        A ``ChronosBoltModelForForecasting`` on the processor; it is not changed.
    columns
        Covariates of each series, the same for all.
    trained_until
        Last date of everything that the training and its verdict read.

    Raises
    ------
    ConfigError
        Without covariates, or without a date.
    """
    if not columns or not columns[0]:
        raise ConfigError(
            "fine-tuning mode adapter reads covariates, and the series has none",
            value="'adapter'",
            allowed="full, head, gradual",
        )
    if trained_until is None:
        raise ConfigError("an adapter needs the last date that it learns from", value=None)
    covariates = tuple(Reads(name=c.name, known_future=c.known_future) for c in columns[0])
    learn = thinned(split.learn, MOST_LEARN)
    usual = float(np.median(context_spread(learn.contexts)))
    told = Told(covariates=covariates, trained_until=trained_until, steps=split.steps, spread=usual)
    parts = [answered(network, part, columns, told) for part in (learn, split.held, split.test)]
    with strict_torch():
        run = _Run(told, parts[0], parts[1], settings, levels_of(network))
        tuned = run.train(progress)
    test = parts[2]
    return Injected(
        adapter=run.adapter(),
        tuned=tuned,
        before=window_losses(_restored(test, test.quantiles), test.windows, levels_of(network)),
        after=run.losses(test),
        without=run.losses(test, covariates=False),
        windows=(len(learn), len(split.held), len(split.test)),
    )


def answered(network: Any, windows: Windows, columns: Columns, told: Told) -> Answered:
    """Ask the backbone once for every window."""
    import torch

    states, quantiles = [], []
    contexts, _ = windows.centred()
    network.eval()
    with torch.inference_mode(), decoder_states(network) as seen:
        for at in range(0, len(windows), _CHUNK):
            found = network(context=torch.from_numpy(contexts[at : at + _CHUNK])).quantile_preds
            quantiles.append(np.sort(found[:, :, : told.steps].numpy().transpose(0, 2, 1), axis=2))
            states.append(seen.pop())
    return Answered(
        windows=windows,
        states=np.concatenate(states),
        quantiles=np.concatenate(quantiles),
        inputs=_inputs(windows, columns, told),
    )


def adapter_mb(windows: int, steps: int, levels: int) -> float:
    """MiB that the arrays of a training take."""
    return min(windows, MOST_LEARN) * steps * levels * 4 * 4 / 2**20


def _inputs(windows: Windows, columns: Columns, told: Told) -> Floats:
    """(N, H, F) as the member reads them at the end of each window."""
    context, steps = windows.contexts.shape[1], told.steps
    tables = [np.stack([column.values for column in beside], axis=1) for beside in columns]
    spreads, out = context_spread(windows.contexts), []
    for series, end, spread in zip(windows.series, windows.ends, spreads, strict=True):
        table = tables[series]
        ahead = table[end + 1 : end + 1 + steps]
        covariates = covariate_inputs(told.covariates, table[max(end + 1 - context, 0) : end + 1], ahead)
        out.append(window_inputs(covariates, float(spread), told.spread))
    return np.stack(out)


def _restored(part: Answered, quantiles: npt.NDArray[Any]) -> Floats:
    return part.windows.restored(quantiles.astype(np.float64))


class _Run:
    """One training: weights, optimiser, looks."""

    def __init__(
        self,
        told: Told,
        learn: Answered,
        held: Answered,
        settings: TrainingSettings,
        levels: Sequence[float],
    ) -> None:
        import torch

        self.told, self.learn, self.held, self.settings = told, learn, held, settings
        self.levels = tuple(levels)
        self.units = _units(learn)
        torch.manual_seed(settings.seed)
        self.weights = _initial(learn.states.shape[1], learn.inputs.shape[2], settings.adapter_hidden)
        self.optimiser = torch.optim.AdamW(
            list(self.weights.values()), lr=settings.adapter_rate, weight_decay=settings.weight_decay
        )
        self.looks = [Look(step=0, train=float("nan"), held=float(np.nanmean(self.losses(held))))]
        self.best_step, self.best = 0, self._copy()

    def train(self, progress: Progress | None) -> Tuned:
        """Step until the steps are done or the held-back loss has stopped to fall."""
        settings, batches = self.settings, _Batches(self.learn, self.units, self.levels)
        total, recent = planned_steps(settings, len(self.learn)), []
        group = Group(name="adapter", rate=settings.adapter_rate, start=0)
        for step in range(1, total + 1):
            self.optimiser.param_groups[0]["lr"] = rate_at(group, step - 1, total, settings.warmup)
            batch = batches.at(batch_at(step - 1, len(self.learn), settings))
            loss = mean_pinball(_moved(self.weights, batch), batch["targets"], self.levels)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            recent.append(float(loss.detach()))
            if progress is not None:
                progress(step, total, recent[-1])
            if step % settings.check_every == 0 or step == total:
                self._look(step, float(np.mean(recent)))
                recent = []
                if step - self.best_step >= settings.patience * settings.check_every:
                    break
        self.weights = self.best
        return Tuned(network=None, looks=tuple(self.looks), chosen=self.best_step, steps=total)

    def losses(self, part: Answered, *, covariates: bool = True) -> Floats:
        """(N,) losses of windows with the weights as they are."""
        import torch

        batches, found = _Batches(part, self.units, self.levels), []
        for at in range(0, len(part), _CHUNK):
            batch = batches.at(np.arange(at, min(at + _CHUNK, len(part))))
            if not covariates:
                batch["inputs"][:, :, :-3] = 0.0
            with torch.no_grad():
                found.append(_moved(self.weights, batch).numpy())
        return window_losses(_restored(part, np.concatenate(found)), part.windows, self.levels)

    def adapter(self) -> Adapter:
        """The weights of the best look."""
        arrays = {name: value.detach().numpy().copy() for name, value in self.best.items()} | self.units
        return Adapter(told=self.told, arrays={name: arrays[name] for name in ARRAYS})

    def _look(self, step: int, train: float) -> None:
        held = float(np.nanmean(self.losses(self.held)))
        self.looks.append(Look(step=step, train=train, held=held))
        if held < min(look.held for look in self.looks[:-1]):
            self.best_step, self.best = step, self._copy()

    def _copy(self) -> dict[str, torch.Tensor]:
        return {name: value.detach().clone() for name, value in self.weights.items()}


class _Batches:
    """Tensors of windows, and batches of them."""

    def __init__(self, part: Answered, units: Mapping[str, Singles], levels: Sequence[float]) -> None:
        import torch

        _, targets = part.windows.centred()
        edges = at_levels(part.quantiles.astype(np.float64), levels, (0.1, 0.5, 0.9))[0]
        self.tensors = {
            "states": torch.from_numpy(scaled(part.states, units["state_center"], units["state_spread"])),
            "inputs": torch.from_numpy(scaled(part.inputs, units["input_center"], units["input_spread"])),
            "known": torch.from_numpy(np.isfinite(part.inputs).all(axis=2)),
            "quantiles": torch.from_numpy(part.quantiles),
            "half": torch.from_numpy(((edges[..., 2] - edges[..., 0]) / 2.0).astype(np.float32)),
            "off": torch.from_numpy((part.quantiles - edges[..., 1:2]).astype(np.float32)),
            "targets": torch.from_numpy(targets),
        }

    def at(self, rows: npt.NDArray[np.int64]) -> dict[str, torch.Tensor]:
        return {name: tensor[rows] for name, tensor in self.tensors.items()}


def _units(learn: Answered) -> dict[str, Singles]:
    """Mean and spread of states and inputs over the windows learnt from; 1 where one never moves.

    A state that moves by less than single precision can tell from its size is left at zero.
    """
    states = learn.states.astype(np.float64)
    center, spread = states.mean(axis=0), states.std(axis=0)
    flat = learn.inputs.reshape(-1, learn.inputs.shape[2])
    known = np.isfinite(flat)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, flat, 0.0).sum(axis=0) / count
    deviation = np.sqrt((np.where(known, flat - mean, 0.0) ** 2).sum(axis=0) / count)
    return {
        "state_center": center.astype(np.float32),
        "state_spread": np.where(spread > 1e-5 * np.abs(center), spread, 1e30).astype(np.float32),
        "input_center": mean.astype(np.float32),
        "input_spread": np.where(deviation > 1e-9 * np.abs(mean), deviation, 1.0).astype(np.float32),
    }


def _initial(states: int, inputs: int, hidden: int) -> dict[str, torch.Tensor]:
    """He's normal weights, state and inputs with half the variance each; the last layer at zero."""
    import torch

    weights = {
        "state_weight": torch.randn(states, hidden) / states**0.5,
        "input_weight": torch.randn(inputs, hidden) / inputs**0.5,
        "bias": torch.zeros(hidden),
        "out_weight": torch.zeros(hidden, 2),
        "out_bias": torch.zeros(2),
    }
    return {name: value.requires_grad_() for name, value in weights.items()}


def _moved(weights: Mapping[str, torch.Tensor], batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """(B, H, Q) the backbone's quantiles with the adapter's part: `Adapter.corrected` for a batch."""
    import torch

    seen = batch["states"] @ weights["state_weight"]
    hidden = torch.relu(seen[:, None] + batch["inputs"] @ weights["input_weight"] + weights["bias"])
    raw = (hidden @ weights["out_weight"] + weights["out_bias"]) * batch["known"][:, :, None]
    shift = MOST_SHIFT * torch.tanh(raw[..., 0] / MOST_SHIFT)
    log = MOST_LOG * torch.tanh(raw[..., 1] / MOST_LOG)
    widened = torch.expm1(log)[..., None] * batch["off"]
    return batch["quantiles"] + (batch["half"] * shift)[..., None] + widened
