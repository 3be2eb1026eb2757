"""The stages of a hybrid's training: components, joint fine-tuning, ensemble.

Each returns what it came to; none writes a record. What a stage learns from lies before what the next one
is judged on: the checkpoint sees rows up to the first training cutoff, gate and adaptation the rows after.

Letters in shapes: N training cutoffs, H steps, Q levels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np

from horizoncast.calendar import as_stamp
from horizoncast.engine.hybrid_rows import LearningRows, learning_rows
from horizoncast.ensemble.records import BRANCHES
from horizoncast.errors import HistoryTooShortError, NotAdmittedError
from horizoncast.models.base import code_digest
from horizoncast.models.chronos.adapter import told_of
from horizoncast.models.chronos.answering import usual_of
from horizoncast.models.chronos.beside import beside
from horizoncast.models.chronos.folder import BOLT, read_manifest
from horizoncast.models.chronos.places import find_model, place_of
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import Job
from horizoncast.models.chronos.verdict import Verdict
from horizoncast.models.hybrid.adaptation import DomainAdaptationLayer, train_adaptation
from horizoncast.models.hybrid.artefact import HybridParts
from horizoncast.models.hybrid.config import Deployment
from horizoncast.models.hybrid.gate import Gate, train_gate
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.models.progress import TRAINING
from horizoncast.resources import Usage, usage_now
from horizoncast.service.hybrid_subjects import Filled, Subject
from horizoncast.store.names import safe_name
from horizoncast.validation.backtest import Progress

ADAPTER = "adapter"
OTHER_MODES = ("full", "lora")
"""Of a checkpoint that is no Bolt."""


def _silent(_member: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, kw_only=True)
class Carried:
    """What earlier stages hand on; their absence is the member as it is.

    Parameters
    ----------
    model, omega, first
        As in `StageRecord`.
    """

    model: str = ""
    omega: tuple[float, float] = (0.0, 0.0)
    first: np.datetime64

    @classmethod
    def nothing(cls, subject: Subject) -> Carried:
        """Before any stage."""
        return cls(first=as_stamp(subject.cutoffs[0]))


@dataclass(kw_only=True)
class Meter:
    """Seconds and memory of a stage: of this process and of its children."""

    started: float = field(default_factory=time.monotonic)
    before: float = field(default_factory=lambda: usage_now(0.0, 0.0).cpu_s)
    children: list[Usage] = field(default_factory=list)

    def add(self, usage: Usage | None) -> None:
        """Count a child."""
        self.children += [] if usage is None else [usage]

    def read(self) -> Usage:
        """What it has cost so far; the peak is that of the largest process."""
        own = usage_now(self.started, time.monotonic())
        return Usage(
            wall_s=own.wall_s,
            cpu_s=own.cpu_s - self.before + sum(u.cpu_s for u in self.children),
            peak_mb=max([own.peak_mb, *(u.peak_mb for u in self.children)]),
        )


@dataclass(frozen=True, kw_only=True)
class Came:
    """What a stage came to."""

    carried: Carried
    rulings: tuple[Ruling, ...]
    windows: int


def components(subject: Subject, carried: Carried, meter: Meter, progress: Progress = _silent) -> Came:
    """Tune the checkpoint before the first training cutoff, then fill the banks of both branches.

    The Autoformer fits itself at its own re-fit points; filling trains and keeps its networks.
    """
    model, rulings = "", []
    for mode in _modes(subject):
        refusal = _refusal(subject, model, mode)
        ruling, kept = (unfit(_part(mode), refusal), "") if refusal else _tune(subject, model, mode, progress)
        rulings.append(ruling)
        model = kept or model
    if not rulings:
        rulings = [unfit("tuning", "the Chronos branch has no checkpoint of ours to tune")]
    carried = replace(carried, model=model)
    filled = rows_of(subject, carried, meter, progress)
    both = filled.bank.select(BRANCHES).answered.all(axis=0)
    return Came(carried=carried, rulings=tuple(rulings), windows=int(both.sum()))


def ensemble(
    subject: Subject, carried: Carried, pool: Sequence[LearningRows], own: LearningRows | None
) -> tuple[HybridParts, Came]:
    """Learn gate and adaptation from rows that had matured, and keep what the judge keeps.

    Parameters
    ----------
    pool
        Rows of the other subjects named, learned from besides and not judged on; those that end later than
        this one's `trained_until` are left out.
    own
        Rows of this subject; None where its banks hold too few.
    """
    setting = subject.config.hybrid.config
    if own is None or not len(own.cutoffs):
        return _parts(subject, carried, (unfit("gate", _NO_ROWS), unfit("adaptation", _NO_ROWS)))
    sets = [own, *(kept for rows in pool if len((kept := rows.ended(subject.trained_until)).cutoffs))]
    mine = own.adaptation_rows()
    alike = [mine, *(a for a in (rows.adaptation_rows() for rows in sets[1:]) if a.names == mine.names)]
    adaptation, second = train_adaptation(alike, own=0)
    if setting.deployment == Deployment.ENSEMBLE:
        gate, first = None, unfit("gate", "deployment ensemble fuses by accuracy alone and reads no gate")
    else:
        gate_sets = [own.gate_rows(carried.omega), *(rows.gate_rows() for rows in sets[1:])]
        gate, first = train_gate(gate_sets, strength=setting.prior, own=0)
    return _parts(
        subject, carried, (first, second), gate=gate, adaptation=adaptation, windows=len(own.cutoffs)
    )


def rows_of(subject: Subject, carried: Carried, meter: Meter, progress: Progress = _silent) -> Filled:
    """Banks of the branches at the training cutoffs that the tuned checkpoint may answer."""
    filled = subject.fill(
        subject.cutoffs[subject.cutoffs >= carried.first],
        model=carried.model,
        progress=named(subject, progress),
    )
    meter.add(filled.usage)
    return filled


def learnt_from(subject: Subject, filled: Filled) -> LearningRows | None:
    """Rows as their decisions would have seen them."""
    return learning_rows(
        subject.series, filled.bank, subject.config.hybrid.config, subject.config.decision.newest
    )


def job_of(subject: Subject, model: str, until: np.datetime64, settings: TrainingSettings, part: str) -> Job:
    """A training of the Chronos branch on the rows up to a date.

    Parameters
    ----------
    model
        Checkpoint to start from; empty takes the member's own.
    part
        End of the result's name.
    """
    config, tuning, series = subject.chronos(), subject.tuning, subject.series
    assert config is not None
    assert tuning is not None
    history = series.until(until)
    base = find_model(model or config.model, tuning.models)
    name = model_name(subject, part, until)
    while place_of(tuning.models, name) == base:
        name += "-2"  # a checkpoint in use never changes under its name
    return Job(
        base=base,
        name=name,
        values=(np.asarray(history.z),),
        observed=(series.observed_mask[: history.stop],),
        columns=(beside(history),),
        trained_until=until,
        context=config.context,
        steps=subject.horizon.steps,
        models=tuning.models,
        output=tuning.output / name,
        settings=settings,
        facts={
            "series": series.name,
            "unit": series.unit,
            "scale": str(series.scale),
            "service": subject.service,
            "horizon": subject.horizon.steps,
            "first": as_stamp(series.dates[0]),
        },
        created_by="horizoncast hybrid train",
        usual=usual_of(series, config),
    )


def model_name(subject: Subject, part: str, until: np.datetime64) -> str:
    """Name of a checkpoint that a stage keeps: another one for every date up to which it learned."""
    day = str(until)[:10].replace("-", "")
    return f"{safe_name(subject.series.name)}-{safe_name(subject.service)}-hybrid-{part}-{day}"


def ruling_from(stage: str, verdict: Verdict) -> Ruling:
    """The verdict of a tuning as a ruling."""
    return Ruling(
        stage=stage,
        kept=verdict.kept,
        reason=verdict.reason,
        gain=verdict.gain,
        p_value=verdict.p_value,
        windows=verdict.windows,
        blocks=verdict.blocks,
    )


@contextmanager
def too_little(found: list[str]) -> Iterator[None]:
    """Turn what only means that a part cannot be had here into a reason."""
    try:
        yield
    except (HistoryTooShortError, NotAdmittedError) as error:
        found.append(str(error))


_NO_ROWS = "no training cutoff has a slice of matured cutoffs of both branches before it"


def unfit(stage: str, reason: str) -> Ruling:
    """A part that could not be tried."""
    return Ruling(stage=stage, kept=False, reason=reason)


def _parts(
    subject: Subject,
    carried: Carried,
    rulings: tuple[Ruling, ...],
    *,
    gate: Gate | None = None,
    adaptation: DomainAdaptationLayer | None = None,
    windows: int = 0,
) -> tuple[HybridParts, Came]:
    parts = HybridParts(
        series=subject.series.name,
        service=subject.service,
        gate=gate,
        adaptation=adaptation,
        trained_until=subject.trained_until,
        branches=subject.branch_digests(carried.model),
        model=carried.model,
        omega=carried.omega,
        revision=code_digest(),
        stages=rulings,
    )
    return parts, Came(carried=carried, rulings=rulings, windows=windows)


def _modes(subject: Subject) -> tuple[str, ...]:
    """Modes of tuning in order: the one that is set, and the adapter where covariates are known ahead."""
    if subject.tuning is None or subject.chronos() is None:
        return ()
    mode = subject.tuning.settings.mode
    known = any(covariate.known_future for covariate in subject.series.covariates)
    return (mode, ADAPTER) if known and mode != ADAPTER else (mode,)


def _part(mode: str) -> str:
    return ADAPTER if mode == ADAPTER else "tuning"


def _refusal(subject: Subject, model: str, mode: str) -> str:
    """Why a mode is not for this checkpoint; empty where it is."""
    config = subject.chronos()
    assert config is not None
    assert subject.tuning is not None
    manifest = read_manifest(find_model(model or config.model, subject.tuning.models))
    if manifest.kind != BOLT and mode not in OTHER_MODES:
        reads = "reads covariates itself" if mode == ADAPTER else f"has no mode {mode}"
        return f"{manifest.name} is no Bolt and {reads}; set [training] mode to {' or '.join(OTHER_MODES)}"
    if mode != ADAPTER and told_of(manifest) is not None:
        return f"{manifest.name} has an adapter, which would no longer fit other weights"
    return ""


def _tune(subject: Subject, model: str, mode: str, progress: Progress) -> tuple[Ruling, str]:
    """One training of the checkpoint; the name of the result where it is kept."""
    from horizoncast.models.chronos.finetuning import fine_tune

    assert subject.tuning is not None
    part, why = _part(mode), list[str]()
    job = job_of(
        subject, model, as_stamp(subject.cutoffs[0]), replace(subject.tuning.settings, mode=mode), part
    )
    with too_little(why):
        done = fine_tune(job, steps_told(f"{subject.service} {part}", progress))
        return ruling_from(part, done.verdict), job.name if done.verdict.kept else ""
    return unfit(part, why[0]), ""


def steps_told(name: str, progress: Progress) -> Callable[[int, int, float], None]:
    """Steps of a training as progress."""
    return lambda step, steps, _loss: progress(f"{name} {TRAINING}", step, steps)


def named(subject: Subject, progress: Progress) -> Progress:
    """Progress that says whose members answer."""
    return lambda member, done, total: progress(f"{subject.service} {member}", done, total)
