"""The stage between components and ensemble: the checkpoint moved for the sake of the fusion.

It learns from the older part of the training cutoffs and is judged on the newest of that part; what comes
after is left for the ensemble stage, so that nothing is learned twice from the same outcome.

Letters in shapes: N training cutoffs, D cutoffs to learn from, H steps.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from horizoncast.bank import Bank
from horizoncast.calendar import Dates, as_stamp
from horizoncast.engine.hybrid_rows import LearningRows, learning_rows
from horizoncast.ensemble.records import BRANCHES
from horizoncast.models.chronos.adapter import told_of
from horizoncast.models.chronos.folder import BOLT, read_manifest
from horizoncast.models.chronos.tuning_job import Job
from horizoncast.models.hybrid.joint_rows import Rows
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.service.hybrid_stages import (
    Came,
    Carried,
    Meter,
    job_of,
    named,
    rows_of,
    ruling_from,
    steps_told,
    too_little,
    unfit,
)
from horizoncast.service.hybrid_subjects import Subject
from horizoncast.validation.backtest import Progress

STAGE = "joint"

SHARE = 0.6
"""Of the training cutoffs, the oldest: the ensemble stage needs the rest."""

MOST = 600
"""Cutoffs to learn from at most, every session or every few: neighbours share most of their outcomes."""

TEST = 0.3
"""Share of their sessions on which the stage is judged: the stretch is short, and four blocks of two
horizons are needed."""


def joint(subject: Subject, carried: Carried, meter: Meter, progress: Progress) -> Came:
    """Tune the checkpoint on the fused loss beside the Autoformer's rows, and keep it only if it wins."""
    why = _refusal(subject, carried)
    found: list[str] = [why] if why else []
    if not found:
        with too_little(found):
            ruling, after, windows = _tuned(subject, carried, meter, progress)
            return Came(carried=after, rulings=(ruling,), windows=windows)
    return Came(carried=carried, rulings=(unfit(STAGE, found[0]),), windows=0)


def _tuned(
    subject: Subject, carried: Carried, meter: Meter, progress: Progress
) -> tuple[Ruling, Carried, int]:
    from horizoncast.models.hybrid.joint import tune_jointly

    assert subject.tuning is not None
    until = _until(subject)
    rows = _rows(subject, carried, until, meter, progress)
    if rows is None:
        return unfit(STAGE, "no cutoff has a slice of matured cutoffs before it"), carried, 0
    settings = replace(
        subject.tuning.settings, mode="gradual", test_split=max(TEST, subject.tuning.settings.test_split)
    )
    job = job_of(subject, carried.model, until, settings, STAGE)
    found = tune_jointly(
        job, _beside(subject, rows, job), progress=steps_told(f"{subject.service} {STAGE}", progress)
    )
    ruling = ruling_from(STAGE, found.done.verdict)
    if ruling.kept:
        carried = Carried(model=job.name, omega=found.omega, first=until)
    return ruling, carried, len(rows.cutoffs)


def _until(subject: Subject) -> np.datetime64:
    """Last date that the stage may see: the first cutoff of those left for the ensemble."""
    return as_stamp(subject.cutoffs[round(SHARE * len(subject.cutoffs))])


def _rows(
    subject: Subject, carried: Carried, until: np.datetime64, meter: Meter, progress: Progress
) -> LearningRows | None:
    """Rows at close cutoffs, each with the widths and weights that its own decision would have had."""
    bank = rows_of(subject, carried, meter, progress).bank
    begin = _first_decided(bank)
    dates, stride = _close_cutoffs(subject, begin, until)
    if not len(dates):
        return None
    filled = subject.fill(
        dates, model=carried.model, cache=STAGE, stride=stride, progress=named(subject, progress)
    )
    meter.add(filled.usage)
    return learning_rows(
        subject.series,
        filled.bank,
        subject.config.hybrid.config,
        subject.config.decision.newest,
        past=bank,
    )


def _first_decided(bank: Bank) -> np.datetime64:
    """First date by which a slice of the training's bank had matured at all."""
    return as_stamp(bank.ends[0])


def _close_cutoffs(subject: Subject, begin: np.datetime64, until: np.datetime64) -> tuple[Dates, int]:
    """(D,) cutoffs from a date on whose outcome is known by another, and the sessions between them."""
    first, last = subject.series.index_of(begin), subject.series.index_of(until) - subject.horizon.steps
    stride = max(1, -(-(last - first + 1) // MOST))
    return subject.series.dates[first : last + 1 : stride], stride


def _beside(subject: Subject, rows: LearningRows, job: Job) -> Rows:
    """What `tune_jointly` reads: the Autoformer's rows, and the fusion before."""
    assert len(job.values[0]) == subject.series.index_of(_until(subject)) + 1
    places = np.array([subject.series.index_of(as_stamp(cutoff)) for cutoff in rows.cutoffs])
    return Rows(
        ends=places,
        quantiles=np.sort(rows.quantiles[BRANCHES.index("autoformer")], axis=-1),
        levels=rows.levels,
        log_odds=np.clip(rows.log_odds, -_FARTHEST, _FARTHEST),
    )


_FARTHEST = 20.0
"""Log-odds of a branch that weighs nothing."""


def _refusal(subject: Subject, carried: Carried) -> str:
    """Why the stage is not for this checkpoint; empty where it is."""
    config = subject.chronos()
    if subject.tuning is None or config is None:
        return "the Chronos branch has no checkpoint of ours to tune"
    manifest = read_manifest(replace(config, model=carried.model or config.model).folder())
    if manifest.kind != BOLT:
        return f"{manifest.name} is no Chronos-Bolt"
    if told_of(manifest) is not None:
        return f"{manifest.name} has an adapter, which would no longer fit other weights"
    if subject.horizon.steps > manifest.prediction_length:
        return (
            f"{subject.horizon.steps} steps are read back as paths, which have no gradient: "
            f"{manifest.name} answers {manifest.prediction_length} in one pass"
        )
    return ""
