"""What each stage of a hybrid's training came to, on disk, so that a later call goes on from there.

A stage's file is written whole when the stage is done, under a key of everything that it is a function
of; a file of another key is of no use, and said to be.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.models.hybrid.artefact import ruling_of
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.resources import Usage
from horizoncast.store.atomic import write_atomic
from horizoncast.store.plain import canonical, json_file, parse_json

FORMAT = 1
FOLDER = "stages"


@dataclass(frozen=True, kw_only=True)
class StageRecord:
    """A finished stage.

    Parameters
    ----------
    stage
        ``components``, ``joint`` or ``ensemble``.
    key
        Of everything it is a function of.
    rulings
        What the judge said of each part, kept or dropped.
    model
        Checkpoint of the Chronos branch from here on; empty for the member's own.
    omega
        Of the joint fine-tuning from here on.
    first
        First cutoff that comes after all that this and earlier stages learned from.
    windows
        Cutoffs with rows of both branches.
    cost
        Seconds and memory.
    """

    stage: str
    key: str
    rulings: tuple[Ruling, ...]
    model: str = ""
    omega: tuple[float, float] = (0.0, 0.0)
    first: np.datetime64
    windows: int = 0
    cost: Usage


def write_record(folder: Path, record: StageRecord) -> Path:
    """Write a stage's file below a subject's folder; returns its path."""
    place = folder / FOLDER / f"{record.stage}.json"
    digest = hashlib.sha256(canonical(record).encode()).hexdigest()
    text = json_file({"format": FORMAT, "sha256": digest, "record": record})
    write_atomic(place, lambda handle: handle.write(text))
    return place


def read_record(folder: Path, stage: str) -> StageRecord | None:
    """A stage's record; None where there is none or it is damaged: the stage then runs again."""
    place = folder / FOLDER / f"{stage}.json"
    try:
        whole = parse_json(place.read_bytes())
        if whole["format"] != FORMAT or _digest(whole["record"]) != whole["sha256"]:
            return None
        return _record(whole["record"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def has_record(folder: Path, stage: str) -> bool:
    """Whether a stage left a file, of whatever key."""
    return (folder / FOLDER / f"{stage}.json").exists()


def _digest(record: object) -> str:
    return hashlib.sha256(canonical(record).encode()).hexdigest()


def _record(item: Mapping[str, Any]) -> StageRecord:
    first, second = (float(value) for value in item["omega"])
    return StageRecord(
        stage=str(item["stage"]),
        key=str(item["key"]),
        rulings=tuple(ruling_of(ruling) for ruling in item["rulings"]),
        model=str(item["model"]),
        omega=(first, second),
        first=np.datetime64(item["first"], "s"),
        windows=int(item["windows"]),
        cost=Usage(**{name: float(item["cost"][name]) for name in ("wall_s", "cpu_s", "peak_mb")}),
    )
