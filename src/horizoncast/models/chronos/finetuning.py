"""Fine-tune a checkpoint on a series, judge it on later windows, keep it only on proof, and write it down.

Everything the decision read, the test windows included, counts as seen: `trained_until` is the last date
of all of it, and the member answers no cutoff before.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, NotAdmittedError
from horizoncast.models.chronos.beside import Beside
from horizoncast.models.chronos.bolt_training import (
    Progress,
    Tuned,
    levels_of,
    predict_quantiles,
    training_mb,
    tune_bolt,
)
from horizoncast.models.chronos.chronos2_training import (
    batch_rows,
    losses_of,
    require_mode,
    training_mb_chronos2,
    tune_chronos2,
)
from horizoncast.models.chronos.folder import BOLT, CONFIG, WEIGHTS, ModelManifest, write_manifest
from horizoncast.models.chronos.loss_plot import loss_plot
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline, quiet_transformers, release_pipeline
from horizoncast.models.chronos.places import place_of
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.unfreezing import groups_of
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


@dataclass(frozen=True, kw_only=True, eq=False)
class Job:
    """What to fine-tune, on what.

    Parameters
    ----------
    base
        Model folder to start from.
    name
        Of the result, as ``tuned/usdmxn-30d``.
    values, observed
        (n,) per series, in the scale; False where a value was filled.
    columns
        Covariates of each series, the same for all; Chronos-2 alone reads them.
    trained_until
        Date of the last of these values; None for series that were made up.
    context, steps
        T and H; H is cut to what the checkpoint answers in one pass.
    models, output
        Folders: where a kept model goes, and where the record, the plot and saved states go.
    settings
        Of the training.
    facts
        Plain values for the record: series, unit, scale.
    created_by
        Command, for the manifest.
    """

    base: Path
    name: str
    values: tuple[Floats, ...]
    trained_until: np.datetime64 | None
    context: int
    steps: int
    models: Path
    output: Path
    observed: tuple[Bools, ...] | None = None
    columns: tuple[tuple[Beside, ...], ...] = ()
    settings: TrainingSettings = field(default_factory=TrainingSettings)
    facts: Mapping[str, Any] = field(default_factory=dict)
    created_by: str = "horizoncast models finetune"


@dataclass(frozen=True, kw_only=True, eq=False)
class FineTuned:
    """What came of a job.

    Parameters
    ----------
    verdict
        Kept or dropped, and why.
    manifest, folder
        Of the new model; None where it was dropped.
    record, plot
        Files that say what happened, whichever way it went.
    tuned
        Looks and steps.
    windows
        Windows learnt from, held back, tested on.
    """

    verdict: Verdict
    manifest: ModelManifest | None
    folder: Path | None
    record: Path
    plot: Path
    tuned: Tuned
    windows: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outcome:
    """A finished training: `save` writes its weights into a folder."""

    tuned: Tuned
    verdict: Verdict
    save: Callable[[Path], None]
    windows: tuple[int, int, int]


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
    folder = place_of(job.models, job.name)
    try:
        outcome = _trained(job, loaded, _split(job, loaded), progress)
        manifest = _keep(job, loaded, folder, outcome) if outcome.verdict.kept else None
    finally:
        release_pipeline()  # its weights are no longer those of its folder
    record = _record(job, loaded.manifest, outcome)
    record["seconds"] = round(time.monotonic() - started, 1)
    record["model"] = None if manifest is None else {"name": job.name, "digest": manifest.digest}
    place, plot = job.output / RECORD, job.output / PLOT
    text = (json.dumps(plain(record), indent=1, sort_keys=True) + "\n").encode()
    write_atomic(place, lambda handle: handle.write(text))
    drawn = _drawn(job, outcome)
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
        raise ConfigError("fine-tuning mode for Chronos-Bolt", value="'lora'", allowed="full, head, gradual")
    return split_windows(
        job.values,
        context=min(job.context, loaded.manifest.context_length),
        steps=min(job.steps, loaded.manifest.prediction_length),
        settings=job.settings,
        observed=job.observed,
    )


def _trained(job: Job, loaded: Loaded, split: Split, progress: Progress | None) -> _Outcome:
    """Train and compare."""
    settings = job.settings
    device = device_of(settings.device)
    if device == "cpu":
        check_room(loaded.manifest.name, _needed_mb(job, loaded, split), memory_available() / MIB)
    network = loaded.pipeline.model.to(device)
    if loaded.manifest.kind == BOLT:
        before = _bolt_losses(network, split.test)
        key, states = _key(job, loaded.manifest, split), job.output / STATES
        tuned = tune_bolt(network, split, settings, states=states, key=key, progress=progress)
        after = _bolt_losses(tuned.network, split.test)
    else:
        before = losses_of(loaded.pipeline, split.test, job.columns)
        better, tuned = tune_chronos2(
            loaded.pipeline, job.values, split, settings, columns=job.columns, progress=progress
        )
        after = losses_of(better, split.test, job.columns)
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
    return _Outcome(
        tuned=tuned,
        verdict=verdict,
        save=lambda folder: tuned.network.to("cpu").save_pretrained(folder),
        windows=(len(split.learn), len(split.held), len(split.test)),
    )


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


def _bolt_losses(network: Any, windows: Windows) -> Floats:
    return window_losses(predict_quantiles(network, windows), windows, levels_of(network))


def _keep(job: Job, loaded: Loaded, folder: Path, outcome: _Outcome) -> ModelManifest:
    """Write the model folder beside its place and move it there whole."""
    base = loaded.manifest
    seen = [date for date in (job.trained_until, base.trained_until) if date is not None]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as staging:
        staged = Path(staging) / folder.name
        with quiet_transformers():
            outcome.save(staged)
        for stray in staged.iterdir():
            if stray.name not in (CONFIG, WEIGHTS):
                stray.unlink()
        manifest = write_manifest(
            staged,
            name=job.name,
            revision=f"{base.revision}+{job.settings.mode}",
            licence=base.licence,
            trained_until=max(seen, default=None),
            created_by=job.created_by,
            facts=_facts(job, base, outcome),
        )
        if folder.exists():
            folder.rename(Path(staging) / "replaced")
        staged.rename(folder)
    return manifest


def _facts(job: Job, base: ModelManifest, outcome: _Outcome) -> dict[str, Any]:
    """What goes into the manifest of a kept model, as plain values."""
    facts = plain(
        {
            **job.facts,
            "base": {"name": base.name, "revision": base.revision, "digest": base.digest},
            "training": asdict(job.settings),
            "step": outcome.tuned.chosen,
            "verdict": asdict(outcome.verdict),
        }
    )
    assert isinstance(facts, dict)
    return facts


def _key(job: Job, base: ModelManifest, split: Split) -> str:
    """What a training is a function of."""
    state = hashlib.sha256(repr((base.digest, job.settings, split.steps)).encode())
    for part in (split.learn, split.held):
        state.update(part.digest().encode())
    return state.hexdigest()[:24]


def _record(job: Job, base: ModelManifest, outcome: _Outcome) -> dict[str, Any]:
    import torch

    tuned = outcome.tuned
    return {
        "base": {"name": base.name, "revision": base.revision, "digest": base.digest},
        "data": {**job.facts, "trained_until": job.trained_until, "context": job.context},
        "training": asdict(job.settings),
        "windows": dict(zip(("learn", "held_back", "test"), outcome.windows, strict=True)),
        "steps": {"planned": tuned.steps, "chosen": tuned.chosen, "resumed_at": tuned.resumed_at},
        "losses": [asdict(look) for look in tuned.looks],
        "verdict": asdict(outcome.verdict),
        "torch": torch.__version__,
        "device": device_of(job.settings.device),
    }


def _drawn(job: Job, outcome: _Outcome) -> bytes:
    groups = groups_of(job.settings, outcome.tuned.steps)
    later = [group.start for group in groups if group.start > 0]
    return loss_plot(
        outcome.tuned.looks,
        title=f"{job.name}: {'kept' if outcome.verdict.kept else 'dropped'}",
        subtitle=outcome.verdict.reason,
        chosen=outcome.tuned.chosen,
        unfrozen=later if job.settings.mode == "gradual" else [],
    )
