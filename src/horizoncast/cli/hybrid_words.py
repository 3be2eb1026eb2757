"""What `hybrid train` and `hybrid show` say, in words and as plain values."""

from __future__ import annotations

from typing import Any

from horizoncast.models.hybrid.judge import Ruling
from horizoncast.service.hybrid_records import StageRecord
from horizoncast.service.hybrid_state import Learned
from horizoncast.service.hybrid_subjects import Subject
from horizoncast.service.hybrid_training import Done


def outlook(subject: Subject, todo: dict[str, bool]) -> list[tuple[str, str]]:
    """What a training would learn from, and which stages are left to do."""
    text = subject.series.calendar.text
    stages = ", ".join(f"{stage}: {'to do' if left else 'done'}" for stage, left in todo.items())
    return [
        ("trained until", f"{text(subject.trained_until)}, the oldest cutoff of the next run's bank"),
        (
            "training cutoffs",
            f"{len(subject.cutoffs)}, {text(subject.cutoffs[0])} to {text(subject.cutoffs[-1])}, every "
            f"{subject.stride} sessions",
        ),
        ("stages", stages),
        ("parts", str(subject.folder)),
    ]


def stage_rows(done: Done) -> list[tuple[str, str]]:
    """The outcome of one stage."""
    record = done.record
    rows = [(ruling.stage, ruling_words(ruling)) for ruling in record.rulings]
    rows.append(("rows", f"{record.windows} cutoffs with both branches"))
    if done.resumed:
        rows.append(("cost", f"none now, done by an earlier call ({cost_words(record)} then)"))
    else:
        rows.append(("cost", cost_words(record)))
    return rows


def ruling_words(ruling: Ruling) -> str:
    """Kept or dropped, and why.

    >>> ruling_words(Ruling(stage="gate", kept=False, reason="which may be luck: p 0.2"))
    'dropped: which may be luck: p 0.2'
    """
    return f"{'kept' if ruling.kept else 'dropped'}: {ruling.reason}"


def cost_words(record: StageRecord) -> str:
    """Seconds and memory of a stage."""
    cost = record.cost
    return f"{cost.wall_s:.1f} s, {cost.cpu_s:.1f} CPU s, peak {cost.peak_mb:.0f} MiB in one process"


def values_of(subject: Subject, done: list[Done]) -> dict[str, Any]:
    """A subject's stages as plain values."""
    return {
        "service": subject.service,
        "series": subject.series.name,
        "trained_until": subject.trained_until,
        "cutoffs": {
            "count": len(subject.cutoffs),
            "from": subject.cutoffs[0],
            "to": subject.cutoffs[-1],
            "stride": subject.stride,
        },
        "stages": [_stage_values(one) for one in done],
        "folder": subject.folder,
    }


def _stage_values(done: Done) -> dict[str, Any]:
    record = done.record
    return {
        "stage": record.stage,
        "resumed": done.resumed,
        "started_anew": done.anew or None,
        "rulings": record.rulings,
        "model": record.model or None,
        "omega": record.omega,
        "windows": record.windows,
        "cost": record.cost,
    }


def use_words(model: str) -> str:
    """How to use a checkpoint that a stage kept."""
    return (
        f'what was learned is for the checkpoint {model}; to use it: model = "{model}" under '
        f"[members.chronos], or --set members.chronos.model={model}"
    )


def learned_rows(found: Learned) -> list[tuple[str, str]]:
    """One service's learned parts in words."""
    rows = [("state", str(found.state)), ("in use", "yes" if found.in_use else f"no: {found.why}")]
    parts = found.parts
    if parts is None:
        return rows
    rows.append(("trained until", str(parts.trained_until)[:16].removesuffix("T00:00")))
    rows += [(ruling.stage, ruling_words(ruling)) for ruling in parts.stages]
    if parts.model:
        rows.append(("checkpoint", parts.model))
    return rows


def learned_values(found: Learned) -> dict[str, Any]:
    """The same as plain values."""
    parts = found.parts
    return {
        "service": found.service,
        "series": found.series,
        "state": found.state,
        "in_use": found.in_use,
        "why_not": found.why or None,
        "folder": found.folder,
        "trained_until": None if parts is None else parts.trained_until,
        "digest": None if parts is None else parts.digest,
        "model": None if parts is None else parts.model or None,
        "omega": None if parts is None else parts.omega,
        "branches": None if parts is None else parts.branches,
        "revision": None if parts is None else parts.revision,
        "kept": None if parts is None else [r.stage for r in parts.stages if r.kept],
        "rulings": None if parts is None else parts.stages,
    }
