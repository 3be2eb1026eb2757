"""`horizoncast hybrid train`: the stages of all subjects in order, each once, each on record.

A stage that is done leaves a record under a key of everything it is a function of: data up to
`trained_until`, settings, code, training cutoffs, and what earlier stages came to. A later call goes on
after the last record whose key still holds. Learned parts are written whole, by the last stage alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from horizoncast.calendar import as_stamp
from horizoncast.engine.hybrid_rows import LearningRows
from horizoncast.errors import ConfigError, StoreError, UnknownNameError
from horizoncast.models.chronos.places import place_of
from horizoncast.models.hybrid.artefact import write_parts
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.service.hybrid_joint import joint
from horizoncast.service.hybrid_records import StageRecord, has_record, read_record, write_record
from horizoncast.service.hybrid_stages import Came, Carried, Meter, components, ensemble, learnt_from, rows_of
from horizoncast.service.hybrid_subjects import Subject, digest_of
from horizoncast.store.locks import alone
from horizoncast.store.plain import date_text
from horizoncast.validation.backtest import Progress

STAGES = ("components", "joint", "ensemble")
LOCK = ".train.lock"


@dataclass(frozen=True, kw_only=True)
class Done:
    """A stage of a subject that is done.

    Parameters
    ----------
    record
        What it came to.
    resumed
        Whether an earlier call had done it.
    anew
        Why an earlier record was of no use; empty where there was none.
    """

    record: StageRecord
    resumed: bool
    anew: str = ""


class HybridTraining:
    """One training: some stages for some subjects.

    Parameters
    ----------
    subjects
        Services and series that are trained together: gate and adaptation pool their rows.
    stages
        Some of `STAGES`, in any order.

    Raises
    ------
    UnknownNameError
        For a stage that nobody knows.
    ConfigError
        Without a subject, or when one stands twice.
    """

    def __init__(self, subjects: Sequence[Subject], stages: Sequence[str] = STAGES) -> None:
        for stage in stages:
            if stage not in STAGES:
                raise UnknownNameError.of("stage of the hybrid's training", stage, STAGES)
        folders = [subject.folder for subject in subjects]
        if not subjects or len(set(folders)) < len(folders):
            raise ConfigError("a training needs services and series, each once", value=len(subjects))
        self.subjects = tuple(subjects)
        self.stages = tuple(stage for stage in STAGES if stage in stages)
        self._rows: dict[tuple[Path, str], LearningRows | None] = {}

    def steps(self) -> Iterator[tuple[str, Subject]]:
        """Stages and subjects in order: a stage of all subjects before the next one."""
        return ((stage, subject) for stage in self.stages for subject in self.subjects)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other trainings of these subjects out while the body runs.

        Raises
        ------
        StoreError
            When another one is at work.
        """
        with ExitStack() as held:
            for subject in self.subjects:
                if not held.enter_context(alone(subject.folder / LOCK)):
                    raise StoreError(
                        f"{subject.label}: another training of this hybrid is at work",
                        value=subject.folder,
                        action="wait until it has ended",
                    )
            yield

    def finished(self, stage: str, subject: Subject) -> StageRecord | None:
        """The record of a stage whose key still holds; None where it has to run."""
        record = read_record(subject.folder, stage)
        if record is None or record.key != self._key(stage, subject):
            return None
        return record if _model_there(subject, record.model) else None

    def run(self, stage: str, subject: Subject, progress: Progress) -> Done:
        """Do a stage, or take what an earlier call has done; the record is written when it is whole.

        Raises
        ------
        ModelError
            When a branch answers nowhere.
        StoreError
            When something cannot be written.
        """
        record = self.finished(stage, subject)
        if record is not None:
            return Done(record=record, resumed=True)
        anew = _ANEW if has_record(subject.folder, stage) else ""
        meter, key = Meter(), self._key(stage, subject)
        came = self._do(stage, subject, meter, progress)
        record = StageRecord(
            stage=stage,
            key=key,
            rulings=came.rulings,
            model=came.carried.model,
            omega=came.carried.omega,
            first=came.carried.first,
            windows=came.windows,
            cost=meter.read(),
        )
        write_record(subject.folder, record)
        return Done(record=record, resumed=False, anew=anew)

    def _do(self, stage: str, subject: Subject, meter: Meter, progress: Progress) -> Came:
        carried = self._carried(stage, subject)
        if stage == "components":
            return components(subject, carried, meter, progress)
        if stage == "joint":
            return joint(subject, carried, meter, progress)
        own = self._learnt(subject, carried, meter, progress)
        pool = [
            rows
            for other in _first(subject, self.subjects)[1:]
            if (rows := self._learnt(other, self._carried(stage, other), meter, progress)) is not None
        ]
        parts, came = ensemble(subject, carried, pool, own)
        write_parts(subject.folder, replace(parts, stages=(*self._earlier(subject), *came.rulings)))
        return came

    def _learnt(
        self, subject: Subject, carried: Carried, meter: Meter, progress: Progress
    ) -> LearningRows | None:
        """Rows to learn from; computed once for all that pool them."""
        key = (subject.folder, repr(carried))
        if key not in self._rows:
            self._rows[key] = learnt_from(subject, rows_of(subject, carried, meter, progress))
        return self._rows[key]

    def _carried(self, stage: str, subject: Subject) -> Carried:
        """What the stages before one hand on; a stage that was never run hands on nothing."""
        carried = Carried.nothing(subject)
        for before in STAGES[: STAGES.index(stage)]:
            record = self.finished(before, subject)
            if record is not None:
                carried = Carried(model=record.model, omega=record.omega, first=as_stamp(record.first))
        return carried

    def _earlier(self, subject: Subject) -> tuple[Ruling, ...]:
        """Rulings of the stages before the last."""
        records = [self.finished(stage, subject) for stage in STAGES[:-1]]
        return tuple(ruling for record in records if record is not None for ruling in record.rulings)

    def _key(self, stage: str, subject: Subject) -> str:
        pooled = self.subjects if stage == STAGES[-1] else (subject,)
        return digest_of(stage, [self._inputs(s, self._carried(stage, s)) for s in _first(subject, pooled)])

    def _inputs(self, subject: Subject, carried: Carried) -> tuple[object, ...]:
        """What a stage is a function of, for one of the subjects whose rows it reads."""
        tuning = None if subject.tuning is None else subject.tuning.settings
        return (
            subject.service,
            subject.series.name,
            subject.horizon.steps,
            subject.data_digest,
            [date_text(cutoff) for cutoff in subject.cutoffs],
            date_text(subject.trained_until),
            subject.branch_digests(carried.model),
            subject.config.hybrid.config,
            subject.config.decision.newest,
            subject.config.levels,
            tuning,
            carried,
            decision_code(),
        )


_ANEW = "data, settings or code changed since the last training: it starts anew"


@cache
def decision_code() -> str:
    """Digest of the code between members' rows and learned parts; the members' own is in their digests."""
    package = Path(__file__).resolve().parent.parent
    state = hashlib.sha256()
    for folder in ("engine", "ensemble", "validation"):
        for file in sorted((package / folder).glob("*.py")):
            state.update(file.read_bytes())
    for file in sorted((package / "service").glob("hybrid_*.py")):
        state.update(file.read_bytes())
    return state.hexdigest()[:16]


def _first(subject: Subject, pooled: Sequence[Subject]) -> list[Subject]:
    """A subject before those it is pooled with, which stand in the same order however they were named."""
    return [subject, *sorted((o for o in pooled if o is not subject), key=lambda other: str(other.folder))]


def _model_there(subject: Subject, model: str) -> bool:
    """Whether the checkpoint that a stage kept still lies where it was put."""
    if not model:
        return True
    return subject.tuning is not None and place_of(subject.tuning.models, model).is_dir()
