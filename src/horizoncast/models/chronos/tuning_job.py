"""What a fine-tuning is asked for, what came of it, and how that is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.answering import Usual
from horizoncast.models.chronos.beside import Beside
from horizoncast.models.chronos.bolt_descent import Tuned
from horizoncast.models.chronos.folder import ModelManifest
from horizoncast.models.chronos.loss_plot import loss_plot
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.unfreezing import groups_of
from horizoncast.models.chronos.verdict import Verdict
from horizoncast.models.chronos.windows import Split
from horizoncast.store.plain import plain

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


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
        Covariates of each series, the same for all; Chronos-2 and mode ``adapter`` read them.
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
    usual
        What the member answers where it does not read the series as it is: a training is judged by that, and
        an adapter, which does, has to be better than that as well. None where it does.
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
    usual: Usual | None = None


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
class Outcome:
    """A finished training.

    Parameters
    ----------
    tuned, verdict, windows
        As in `FineTuned`.
    save
        Writes its weights into a folder.
    device
        Where it ran.
    label
        What the revision of a kept model ends with; the mode by default.
    facts
        What record and manifest say besides: ``adapter`` or ``joint``.
    """

    tuned: Tuned
    verdict: Verdict
    save: Callable[[Path], None]
    windows: tuple[int, int, int]
    device: str = "cpu"
    label: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)


def facts_of(job: Job, base: ModelManifest, outcome: Outcome) -> dict[str, Any]:
    """What goes into the manifest of a kept model, as plain values."""
    facts = plain(
        {
            **job.facts,
            **outcome.facts,
            "base": _named(base),
            "training": asdict(job.settings),
            "step": outcome.tuned.chosen,
            "verdict": asdict(outcome.verdict),
        }
    )
    assert isinstance(facts, dict)
    return facts


def _named(base: ModelManifest) -> dict[str, Any]:
    """The model that was started from; an adapter's is the one below the adapter before it."""
    if "adapter" in base.facts and "base" in base.facts:
        return dict(base.facts["base"])
    return {"name": base.name, "revision": base.revision, "digest": base.digest}


def key_of(job: Job, base: ModelManifest, split: Split) -> str:
    """What a training is a function of."""
    state = hashlib.sha256(repr((base.digest, job.settings, split.steps)).encode())
    for part in (split.learn, split.held):
        state.update(part.digest().encode())
    return state.hexdigest()[:24]


def record_of(job: Job, base: ModelManifest, outcome: Outcome) -> dict[str, Any]:
    """What happened, for ``finetune.json``."""
    import torch

    tuned = outcome.tuned
    return {
        "base": _named(base),
        **outcome.facts,
        "data": {**job.facts, "trained_until": job.trained_until, "context": job.context},
        "training": asdict(job.settings),
        "windows": dict(zip(("learn", "held_back", "test"), outcome.windows, strict=True)),
        "steps": {"planned": tuned.steps, "chosen": tuned.chosen, "resumed_at": tuned.resumed_at},
        "losses": [asdict(look) for look in tuned.looks],
        "verdict": asdict(outcome.verdict),
        "torch": torch.__version__,
        "device": outcome.device,
    }


def drawn_of(job: Job, outcome: Outcome) -> bytes:
    """The loss curve as a PNG."""
    groups = groups_of(job.settings, outcome.tuned.steps)
    later = [group.start for group in groups if group.start > 0]
    return loss_plot(
        outcome.tuned.looks,
        title=f"{job.name}: {'kept' if outcome.verdict.kept else 'dropped'}",
        subtitle=outcome.verdict.reason,
        chosen=outcome.tuned.chosen,
        unfrozen=later if job.settings.mode == "gradual" else [],
    )
