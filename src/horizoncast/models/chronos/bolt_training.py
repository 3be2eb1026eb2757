"""Fine-tuning of Chronos-Bolt towards its own loss, and its quantiles on windows.

Letters in shapes: N windows, T context length, H steps, Q levels.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.bolt_descent import Goal, Progress, Tuned, tune_towards
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.unfreezing import group_of, groups_of
from horizoncast.models.chronos.verdict import window_losses
from horizoncast.models.chronos.windows import Ints, Split, Windows
from horizoncast.resources import MIB

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]

_CHUNK = 128
"""Windows per forward pass where nothing is learnt."""


def predict_quantiles(network: Any, windows: Windows) -> Floats:
    """(N, H, Q) quantiles at the network's own levels; H at most what it answers in one pass."""
    import torch

    out, steps = [], windows.targets.shape[1]
    contexts, _ = windows.centred()
    device = next(network.parameters()).device
    network.eval()
    with torch.no_grad():
        for at in range(0, len(windows), _CHUNK):
            context = torch.from_numpy(contexts[at : at + _CHUNK]).to(device)
            answer = network(context=context).quantile_preds[:, :, :steps]
            out.append(answer.transpose(1, 2).double().cpu().numpy())
    return windows.restored(np.concatenate(out))


def levels_of(network: Any) -> tuple[float, ...]:
    """Quantile levels of a network."""
    return tuple(float(level) for level in network.chronos_config.quantiles)


def mean_loss(network: Any, windows: Windows) -> float:
    """Mean of `window_losses` over windows that moved."""
    losses = window_losses(predict_quantiles(network, windows), windows, levels_of(network))
    return float(np.nanmean(losses)) if np.isfinite(losses).any() else float("nan")


def tune_bolt(
    network: Any,
    split: Split,
    settings: TrainingSettings,
    *,
    states: Path | None = None,
    key: str = "",
    progress: Progress | None = None,
) -> Tuned:
    """Fine-tune a copy held by the caller; `network` is changed and returned.

    Parameters
    ----------
    network
        A ``ChronosBoltModelForForecasting`` on the device to train on.
    split
        Windows in the series' scale; H at most the network's prediction length.
    states
        Folder of saved states; None saves none.
    key
        What the training is a function of: a state of another key is left alone.
    progress
        See `Progress`.
    """

    def batch_loss(network: Any, rows: Ints) -> torch.Tensor:
        import torch

        device = next(network.parameters()).device
        contexts, targets = (torch.from_numpy(part).to(device) for part in split.learn.pick(rows).centred())
        loss: torch.Tensor = network(context=contexts, target=targets).loss
        return loss

    goal = Goal(
        windows=len(split.learn),
        batch_loss=batch_loss,
        held_loss=lambda network: mean_loss(network, split.held),
    )
    return tune_towards(network, goal, settings, states=states, key=key, progress=progress)


def training_mb(network: Any, settings: TrainingSettings) -> float:
    """MiB that a training holds beyond the loaded weights: gradients, two moments, and the best weights."""
    layers = int(network.config.num_layers)
    trained = {group.name for group in groups_of(settings, settings.steps)}
    numbers = sum(
        parameter.numel()
        for name, parameter in network.named_parameters()
        if group_of(name, encoder_layers=layers, encoder_blocks=settings.encoder_blocks) in trained
    )
    return float(4 * 4 * numbers / MIB)
