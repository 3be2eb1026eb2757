"""Fine-tune a checkpoint on a series, judge it on later windows, keep it only on proof, and write it down.

Everything the decision read, the test windows included, counts as seen: `trained_until` is the last date
of all of it, and the member answers no cutoff before.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, NotAdmittedError
from horizoncast.models.chronos.adapter import ADAPTER, write_adapter
from horizoncast.models.chronos.adapter_training import Injected, adapter_mb, train_adapter
from horizoncast.models.chronos.bolt_descent import Progress, Tuned
from horizoncast.models.chronos.bolt_training import levels_of, predict_quantiles, training_mb, tune_bolt
from horizoncast.models.chronos.chronos2_training import (
    batch_rows,
    losses_of,
    require_mode,
    training_mb_chronos2,
    tune_chronos2,
)
from horizoncast.models.chronos.folder import BOLT, CONFIG, WEIGHTS, ModelManifest, write_manifest
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline, quiet_transformers, release_pipeline
from horizoncast.models.chronos.places import place_of
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import (
    FineTuned,
    Job,
    Outcome,
    drawn_of,
    facts_of,
    key_of,
    record_of,
)
from horizoncast.models.chronos.verdict import Verdict, blocks_of, judge, window_losses
from horizoncast.models.chronos.windows import Split, Windows, split_windows
from horizoncast.resources import MIB, memory_available
from horizoncast.store.atomic import write_atomic
from horizoncast.store.plain import plain

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_BATCH_MB = 300.0
"""Activations of a batch, kept for the gradients."""

RECORD, PLOT, STATES = "finetune.json", "loss.png", "states"


def fine_tune(job: Job, progress: Progress | None = None) -> FineTuned:
    """Train, judge, keep or drop; the record and the loss plot are written either way.

    Raises
    ------
    ConfigError
        When the mode is not one of this kind of model.
    HistoryTooShortError
        When a part of the series has no window.
    NotInstalledError, StoreError, NotAdmittedError
        As `get_pipeline`; for LoRA without `peft`, and where the training does not fit in memory.
    """
    started = time.monotonic()
    loaded = get_pipeline(job.base)
    try:
        outcome = _trained(job, loaded, _split(job, loaded), progress)
        return conclude(job, loaded, outcome, time.monotonic() - started)
    finally:
        release_pipeline()  # its weights are no longer those of its folder


def conclude(
    job: Job, loaded: Loaded, outcome: Outcome, seconds: float, record_file: str = RECORD
) -> FineTuned:
    """Keep or drop what came of a training, and write record and plot."""
    folder = place_of(job.models, job.name)
    manifest = _keep(job, loaded, folder, outcome) if outcome.verdict.kept else None
    record = record_of(job, loaded.manifest, outcome)
    record["seconds"] = round(seconds, 1)
    record["model"] = None if manifest is None else {"name": job.name, "digest": manifest.digest}
    place, plot = job.output / record_file, job.output / PLOT
    text = (json.dumps(plain(record), indent=1, sort_keys=True) + "\n").encode()
    write_atomic(place, lambda handle: handle.write(text))
    drawn = drawn_of(job, outcome)
    write_atomic(plot, lambda handle: handle.write(drawn))
    return FineTuned(
        verdict=outcome.verdict,
        manifest=manifest,
        folder=folder if manifest is not None else None,
        record=place,
        plot=plot,
        tuned=outcome.tuned,
        windows=outcome.windows,
    )


def device_of(wanted: str) -> str:
    """``cpu`` or ``cuda``.

    Raises
    ------
    ConfigError
        When a GPU is asked for and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ConfigError("[training] device", value="'cuda'", allowed="auto or cpu: no GPU is visible here")
    return "cuda" if there and wanted != "cpu" else "cpu"


def check_room(name: str, needed: float, free: float) -> None:
    """Refuse a training that does not fit, before the system ends it half way.

    Parameters
    ----------
    needed, free
        MiB beyond the loaded weights, and what can be had.

    Raises
    ------
    NotAdmittedError
        With both numbers.
    """
    if free < needed + _BATCH_MB:
        raise NotAdmittedError(
            f"fine-tuning {name} does not fit in memory",
            value=f"{free:.0f} MiB free",
            allowed=f"at least {needed + _BATCH_MB:.0f} MiB",
            action="take mode head or gradual with fewer encoder_blocks, or a smaller model",
        )


def _split(job: Job, loaded: Loaded) -> Split:
    kind, mode = loaded.manifest.kind, job.settings.mode
    if kind != BOLT:
        require_mode(mode)
    elif mode == "lora":
        allowed = "full, head, gradual, adapter"
        raise ConfigError("fine-tuning mode for Chronos-Bolt", value="'lora'", allowed=allowed)
    if loaded.adapter is not None and mode != "adapter":
        raise ConfigError(
            f"{loaded.manifest.name} has an adapter, which would no longer fit other weights",
            value=repr(mode),
            allowed="adapter, which trains it anew",
            action="name the model it was trained on with --model",
        )
    return split_windows(
        job.values,
        context=min(job.context, loaded.manifest.context_length),
        steps=min(job.steps, loaded.manifest.prediction_length),
        settings=job.settings,
        observed=job.observed,
    )


def _trained(job: Job, loaded: Loaded, split: Split, progress: Progress | None) -> Outcome:
    """Train and compare."""
    settings = job.settings
    if settings.mode == "adapter":
        return _adapted(job, loaded, split, progress)
    device = device_of(settings.device)
    if device == "cpu":
        check_room(loaded.manifest.name, _needed_mb(job, loaded, split), memory_available() / MIB)
    network = loaded.pipeline.model.to(device)
    if loaded.manifest.kind == BOLT:
        before = _member_losses(job, loaded, split.test)
        key, states = key_of(job, loaded.manifest, split), job.output / STATES
        tuned = tune_bolt(network, split, settings, states=states, key=key, progress=progress)
        after = _member_losses(job, loaded, split.test)  # tuned in place
    else:
        before = losses_of(loaded.pipeline, split.test, job.columns)
        better, tuned = tune_chronos2(
            loaded.pipeline, job.values, split, settings, columns=job.columns, progress=progress
        )
        after = losses_of(better, split.test, job.columns)
    return Outcome(
        tuned=tuned,
        verdict=judged(before, after, tuned, split, settings),
        save=lambda folder: tuned.network.to("cpu").save_pretrained(folder),
        windows=(len(split.learn), len(split.held), len(split.test)),
        device=device,
    )


def _adapted(job: Job, loaded: Loaded, split: Split, progress: Progress | None) -> Outcome:
    """Train an adapter and compare it with what the member answers without it."""
    base, settings = loaded.manifest, job.settings
    needed = adapter_mb(len(split.learn), split.steps, len(base.quantiles))
    check_room(base.name, needed, memory_available() / MIB)
    seen = seen_until(job, base)
    found = train_adapter(
        loaded.pipeline.model, split, job.columns, settings, trained_until=seen, progress=progress
    )

    def save(folder: Path) -> None:
        folder.mkdir()
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(loaded.folder / name, folder / name)
        write_adapter(folder, found.adapter)

    return Outcome(
        tuned=found.tuned,
        verdict=judged(
            _without_adapter(job, loaded, split, found.before), found.after, found.tuned, split, settings
        ),
        save=save,
        windows=found.windows,
        facts={"adapter": {**found.adapter.told.facts(), "gain_by_covariates": _by_covariates(found)}},
    )


def _without_adapter(job: Job, loaded: Loaded, split: Split, plain: Floats) -> Floats:
    """(N,) losses on the test windows that an adapter has to beat: as the member reads, or as it is.

    A model with an adapter reads a series as it is, so what reading it by its seasons is worth is lost.
    """
    if job.usual is None or loaded.adapter is not None:
        return plain
    usual = _member_losses(job, loaded, split.test)
    return usual if np.nanmean(usual) < np.nanmean(plain) else plain


def _by_covariates(found: Injected) -> float:
    """Share of the loss that goes when the adapter's covariates come back from their training means."""
    return float(1.0 - np.nanmean(found.after) / np.nanmean(found.without))


def judged(before: Floats, after: Floats, tuned: Tuned, split: Split, settings: TrainingSettings) -> Verdict:
    """The verdict on the test windows; a training whose best look is its first has nothing to keep."""
    verdict = judge(
        before,
        after,
        blocks_of(split.test),
        min_gain=settings.min_gain,
        significance=settings.significance,
    )
    if tuned.chosen == 0:
        reason = "no step lowered the loss of the held-back windows: the base stays"
        verdict = replace(verdict, kept=False, reason=reason)
    return verdict


def seen_until(job: Job, base: ModelManifest) -> np.datetime64 | None:
    """Last date that the job or its base have seen."""
    return max([date for date in (job.trained_until, base.trained_until) if date is not None], default=None)


def _needed_mb(job: Job, loaded: Loaded, split: Split) -> float:
    """MiB a training takes beyond the loaded weights."""
    network, settings = loaded.pipeline.model, job.settings
    if loaded.manifest.kind == BOLT:
        return training_mb(network, settings)
    rows, context = batch_rows(settings, job.columns), split.learn.contexts.shape[1]
    return training_mb_chronos2(network, settings, rows, context, split.steps)


def losses_on(loaded: Loaded, windows: Windows) -> Floats:
    """(N,) losses of a loaded model on windows."""
    if loaded.manifest.kind == BOLT:
        return _bolt_losses(loaded.pipeline.model, windows)
    return losses_of(loaded.pipeline, windows)


def _member_losses(job: Job, loaded: Loaded, windows: Windows) -> Floats:
    """(N,) losses of what the member answers with the weights as they are, seasons read where it does."""
    if job.usual is None:
        return _bolt_losses(loaded.pipeline.model, windows)
    answers = job.usual(loaded, windows, windows.targets.shape[1])
    return window_losses(answers, windows, loaded.manifest.quantiles)


def _bolt_losses(network: Any, windows: Windows) -> Floats:
    return window_losses(predict_quantiles(network, windows), windows, levels_of(network))


def _keep(job: Job, loaded: Loaded, folder: Path, outcome: Outcome) -> ModelManifest:
    """Write the model folder beside its place and move it there whole."""
    base, adapted = loaded.manifest, "adapter" in outcome.facts
    listed = (ADAPTER,) if adapted else ()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging:
        staged = Path(staging) / folder.name
        with quiet_transformers():
            outcome.save(staged)
        for stray in staged.iterdir():
            if stray.name not in (CONFIG, WEIGHTS, *listed):
                stray.unlink()
        manifest = write_manifest(
            staged,
            name=job.name,
            revision=f"{base.revision.removesuffix('+adapter')}+{outcome.label or job.settings.mode}",
            licence=base.licence,
            trained_until=base.trained_until if adapted else seen_until(job, base),
            created_by=job.created_by,
            more_files=listed,
            facts=facts_of(job, base, outcome),
        )
        if folder.exists():
            folder.rename(Path(staging) / "replaced")
        staged.rename(folder)
    return manifest
