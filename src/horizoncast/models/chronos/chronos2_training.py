"""Fine-tuning of Chronos-2 through its own `fit`: all weights, or LoRA adapters that are merged afterwards.

`fit` answers a missing `peft` by training all weights instead; here LoRA is then refused. It keeps no
state to go on from, so a killed training of Chronos-2 begins anew. Covariates are shown to it, and to the
verdict, as the member reads them in a run.

Letters in shapes: N windows, T context length, H horizon steps, Q levels, n sessions.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, NotInstalledError
from horizoncast.models.chronos.beside import Beside, training_input, window_input
from horizoncast.models.chronos.bolt_descent import Look, Progress, Tuned, strict_torch
from horizoncast.models.chronos.pipeline import quiet_transformers
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.unfreezing import planned_steps
from horizoncast.models.chronos.verdict import window_losses
from horizoncast.models.chronos.windows import Split, Windows
from horizoncast.resources import MIB

Floats = npt.NDArray[np.float64]
Columns = Sequence[Sequence[Beside]]

_BATCH = 64
_MOST_STOPPING = 32
"""Windows per series that stop the training: `fit` takes one window of each input."""


def require_mode(mode: str) -> None:
    """Refuse what `fit` cannot do, or would do otherwise without a word.

    Raises
    ------
    ConfigError
        For a mode of Bolt.
    NotInstalledError
        For LoRA without `peft`.
    """
    if mode not in ("full", "lora"):
        raise ConfigError("fine-tuning mode for Chronos-2", value=repr(mode), allowed="full, lora")
    if mode == "lora" and find_spec("peft") is None:
        raise NotInstalledError(
            "LoRA needs a package that is not installed",
            value="peft",
            action="pip install 'horizoncast[lora]', or take mode full",
        )


def predict_chronos2(pipeline: Any, windows: Windows, columns: Columns = ()) -> Floats:
    """(N, H, Q) quantiles at the pipeline's own levels, in the series' scale.

    Parameters
    ----------
    columns
        Per series its covariates; none by default.
    """
    context, steps = windows.contexts.shape[1], windows.targets.shape[1]
    inputs = [
        window_input(windows.contexts[i], _of(columns, int(windows.series[i])), int(windows.ends[i]), steps)
        for i in range(len(windows))
    ]
    answers = pipeline.predict(
        inputs,
        prediction_length=steps,
        context_length=context,
        batch_size=_BATCH,
        limit_prediction_length=False,
    )
    return windows.restored(np.stack([answer[0].double().cpu().numpy().T for answer in answers]))


def tune_chronos2(
    pipeline: Any,
    values: Sequence[Floats],
    split: Split,
    settings: TrainingSettings,
    *,
    columns: Columns = (),
    progress: Progress | None = None,
) -> tuple[Any, Tuned]:
    """Fine-tune a copy; returns its pipeline and what happened. The pipeline given stays as it was.

    Parameters
    ----------
    values
        (n,) per series; each is cut before the outcomes of its held-back windows.
    split
        Where those begin; H of it.
    columns
        Per series its covariates; all series have the same ones.
    """
    require_mode(settings.mode)
    steps = planned_steps(settings, len(split.learn))
    context = split.learn.contexts.shape[1]
    watch = _watch(steps, progress)
    with strict_torch(), quiet_transformers(), tempfile.TemporaryDirectory() as folder:
        from transformers import EarlyStoppingCallback

        fitted = pipeline.fit(
            inputs=_until_held(values, split, columns),
            validation_inputs=_stopping(values, split, columns),
            prediction_length=split.steps,
            context_length=context,
            min_past=min(context, 16),
            finetune_mode="lora" if settings.mode == "lora" else "full",
            learning_rate=settings.learning_rate,
            num_steps=steps,
            batch_size=batch_rows(settings, columns),  # `fit` counts covariates too
            output_dir=Path(folder),
            callbacks=[watch, EarlyStoppingCallback(early_stopping_patience=settings.patience)],
            remove_printer_callback=True,
            disable_tqdm=True,
            weight_decay=settings.weight_decay,
            seed=settings.seed % 2**31,
            logging_steps=settings.check_every,
            eval_steps=settings.check_every,
            save_steps=settings.check_every,
            use_cpu=str(pipeline.model.device) == "cpu",
        )
    merged = _merged(fitted)
    chosen = min(watch.looks, key=lambda look: look.held).step if watch.looks else steps
    return merged, Tuned(network=merged.model, looks=tuple(watch.looks), chosen=chosen, steps=steps)


def losses_of(pipeline: Any, windows: Windows, columns: Columns = ()) -> Floats:
    """(N,) losses of a pipeline on windows, with the covariates of each series."""
    levels = tuple(float(level) for level in pipeline.quantiles)
    return window_losses(predict_chronos2(pipeline, windows, columns), windows, levels)


def batch_rows(settings: TrainingSettings, columns: Columns) -> int:
    """Rows of a batch: every window brings its covariates."""
    return settings.batch_size * (1 + max((len(own) for own in columns), default=0))


def training_mb_chronos2(
    network: Any, settings: TrainingSettings, rows: int, context: int, steps: int
) -> float:
    """MiB that `fit` holds beyond the loaded weights: a copy, gradients, moments, a batch's activations.

    Parameters
    ----------
    rows
        Of a batch, see `batch_rows`.
    context, steps
        T and H.

    Notes
    -----
    Per row, patch and block about 24 vectors of the model's width and a few of the attention's patches are
    kept for the gradients; adapters have gradients of their own only, which are few.
    """
    numbers = sum(parameter.numel() for parameter in network.parameters())
    config, patching = network.config, network.chronos_config
    patches = -(-context // patching.input_patch_size) + 1 + -(-steps // patching.output_patch_size)
    wide = 24 * config.d_model + 4 * config.d_ff + 4 * config.num_heads * patches
    kept = 4.0 * rows * patches * config.num_layers * wide
    return float((4 * numbers * (1 if settings.mode == "lora" else 4) + kept) / MIB)


def _merged(pipeline: Any) -> Any:
    """Adapters become part of the weights, so that the folder needs no `peft` to be loaded."""
    model = pipeline.model
    if hasattr(model, "merge_and_unload"):
        model = model.merge_and_unload()
    return type(pipeline)(model=model.eval())


def _of(columns: Columns, series: int) -> tuple[Beside, ...]:
    return tuple(columns[series]) if columns else ()


def _until_held(values: Sequence[Floats], split: Split, columns: Columns) -> list[dict[str, Any]]:
    """Each series up to the last target that is learnt from."""
    out = []
    for k, row in enumerate(values):
        ends = split.learn.ends[split.learn.series == k]
        if len(ends):
            out.append(training_input(row, _of(columns, k), int(ends.max()) + 1 + split.steps))
    return out


def _stopping(values: Sequence[Floats], split: Split, columns: Columns) -> list[dict[str, Any]]:
    """Each series up to the end of some held-back windows: `fit` looks at the last window of an input."""
    out = []
    for k, row in enumerate(values):
        ends = split.held.ends[split.held.series == k]
        chosen = ends[np.unique(np.linspace(0, len(ends) - 1, _MOST_STOPPING).round().astype(int))]
        out += [training_input(row, _of(columns, k), int(end) + 1 + split.steps) for end in chosen]
    return out


def _watch(steps: int, progress: Progress | None) -> Any:
    """A callback of the trainer that keeps the looks and tells the progress."""
    from transformers import TrainerCallback

    class Watch(TrainerCallback):  # type: ignore[misc, unused-ignore]
        """Losses of a training."""

        def __init__(self) -> None:
            self.looks: list[Look] = []
            self.last = float("nan")

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            """Keep the training loss, and a look where the held-back loss stands beside it."""
            logs = logs or {}
            self.last = float(logs.get("loss", self.last))
            seen = {look.step for look in self.looks}
            if "eval_loss" in logs and state.global_step not in seen:
                look = Look(step=state.global_step, train=self.last, held=float(logs["eval_loss"]))
                self.looks.append(look)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Tell a person."""
            if progress is not None:
                progress(state.global_step, steps, self.last)

    return Watch()
