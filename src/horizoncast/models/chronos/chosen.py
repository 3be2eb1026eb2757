"""What the member chose at each cutoff, left beside the traces for the record of the run.

Nothing of a forecast depends on them: they can be chosen again from the same rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from horizoncast.errors import StoreError
from horizoncast.series import Series
from horizoncast.store.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

CONTEXT, SEASON = "context", "season"
"""What is chosen: (sessions of context,), or (sessions of the heaviest season, how many of it, its weight,
the weight of the series as it is), weights in per cent."""


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Choices by cutoff.

    Parameters
    ----------
    kind
        `CONTEXT` or `SEASON`.
    choices
        Per cutoff; of those that were computed, not read back from the cache.
    default
        What a choice had to beat.
    source
        Name of the checkpoint.
    """

    kind: str
    choices: Mapping[np.datetime64, tuple[int, ...]]
    default: tuple[int, ...]
    source: str


def leave_chosen(
    folder: Path, series: Series, steps: int, digest: str, chosen: Chosen, *, service: str = ""
) -> None:
    """Write down what was chosen for these rows; choices for the same rows made before are kept.

    Parameters
    ----------
    digest
        Of the member: settings and weights.

    Raises
    ------
    StoreError
        When the folder cannot be written.
    """
    key = _key(chosen.kind, series, steps, service)
    facts = {
        "rows": _rows(series),
        "member": digest,
        "default": list(chosen.default),
        "source": chosen.source,
    }
    try:
        known = load_checkpoint(folder, key)
    except StoreError:
        known = None  # damaged: written again
    kept = dict(_read(known)) if known is not None and dict(known.facts) == facts else {}
    kept |= chosen.choices
    cutoffs = sorted(kept)
    arrays = {
        "cutoffs": np.array(cutoffs, dtype="datetime64[s]").astype(np.int64),
        "choices": np.array([kept[cutoff] for cutoff in cutoffs], dtype=np.int64),
    }
    save_checkpoint(folder, Checkpoint(key=key, trained_until=series.last, arrays=arrays, facts=facts))


def read_chosen(
    folder: Path, kind: str, series: Series, steps: int, digest: str, *, service: str = ""
) -> Chosen | None:
    """What the member of this digest chose for exactly these rows; None where nothing was left.

    Raises
    ------
    StoreError
        When it is damaged.
    """
    found = load_checkpoint(folder, _key(kind, series, steps, service))
    if found is None or found.facts.get("rows") != _rows(series) or found.facts.get("member") != digest:
        return None
    return Chosen(
        kind=kind,
        choices=_read(found),
        default=tuple(int(part) for part in found.facts["default"]),
        source=str(found.facts["source"]),
    )


def _read(found: Checkpoint) -> dict[np.datetime64, tuple[int, ...]]:
    cutoffs = found.arrays["cutoffs"].astype("datetime64[s]")
    choices = found.arrays["choices"]
    return {cutoff: tuple(map(int, choice)) for cutoff, choice in zip(cutoffs, choices, strict=True)}


def _key(kind: str, series: Series, steps: int, service: str) -> str:
    return f"{kind}-{series.name}-{service}-{steps}"


def _rows(series: Series) -> str:
    state = hashlib.sha256(np.ascontiguousarray(series.values).tobytes())
    state.update(np.ascontiguousarray(series.ordinals).tobytes())
    return state.hexdigest()
