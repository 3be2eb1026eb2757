"""Vectors of past windows that the member leaves behind: what the drift figure of a run is computed from.

They cost a second while the checkpoint is loaded anyway, and lie in the cache until the next run. Nothing
of a forecast depends on them.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import StoreError
from horizoncast.models.chronos.embedding import WINDOW, grid_rows
from horizoncast.models.chronos.encoder import ChronosEncoder
from horizoncast.models.chronos.folder import ModelManifest
from horizoncast.models.chronos.likeness import windows_at
from horizoncast.policy.drift import YEAR
from horizoncast.series import Series
from horizoncast.store.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STRIDE = 10
"""Sessions between two windows, on an absolute grid."""
_MOST = 600
"""Newest windows that are looked at: 24 years of trading days."""
_LEAST = 3 * YEAR
"""Sessions below which no figure could be told."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """Embedded windows of one series, the newest one ending at its last session.

    Parameters
    ----------
    vectors
        (N, D)
    ordinals
        (N,) absolute session index of each window's last session.
    source
        Name of the checkpoint.
    """

    vectors: Floats
    ordinals: Ints
    source: str


def trace_rows(ordinals: Ints) -> Ints:
    """Rows of windows' last sessions: one on each grid point that has passed, and the last session.

    >>> trace_rows(np.arange(80, 105)).tolist()
    []
    >>> trace_rows(np.arange(80, 168)).tolist()
    [69, 79, 87]
    """
    rows = np.append(grid_rows(ordinals, STRIDE), len(ordinals) - 1)
    return np.asarray(rows[rows >= WINDOW - 1][-_MOST:])


def leave_trace(folder: Path, series: Series, model: Path, manifest: ModelManifest) -> None:
    """Embed the windows of a series up to its last session, unless that has been done.

    Parameters
    ----------
    folder
        Where traces lie.
    model, manifest
        The checkpoint, loaded in this process.

    Raises
    ------
    StoreError
        When the folder cannot be written.
    """
    if len(series) < _LEAST:
        return
    facts = _facts(series, manifest.name) | {"digest": manifest.digest}
    try:
        known = load_checkpoint(folder, key_of(series))
    except StoreError:
        known = None  # damaged: written again
    if known is not None and dict(known.facts) == facts:
        return
    rows = trace_rows(series.ordinals)
    made = ChronosEncoder(model).embed(windows_at(np.asarray(series.until(series.last).z), rows, WINDOW))
    arrays: dict[str, npt.NDArray[Any]] = {
        "vectors": made.vectors.astype(np.float32),
        "ordinals": series.ordinals[rows],
    }
    save_checkpoint(
        folder, Checkpoint(key=key_of(series), trained_until=series.last, arrays=arrays, facts=facts)
    )


def read_trace(folder: Path, series: Series) -> Trace | None:
    """The trace of exactly these rows; None where there is none.

    Raises
    ------
    StoreError
        When it is damaged.
    """
    found = load_checkpoint(folder, key_of(series))
    if found is None or any(found.facts.get(k) != v for k, v in _facts(series).items()):
        return None
    return Trace(
        vectors=found.arrays["vectors"].astype(np.float64),
        ordinals=found.arrays["ordinals"],
        source=str(found.facts["source"]),
    )


def key_of(series: Series) -> str:
    """Name of a series' trace."""
    return f"trace-{series.name}"


def _facts(series: Series, source: str | None = None) -> dict[str, object]:
    """What a trace is a function of."""
    state = hashlib.sha256(np.ascontiguousarray(series.values).tobytes())
    state.update(np.ascontiguousarray(series.ordinals).tobytes())
    own: dict[str, object] = {"rows": state.hexdigest(), "window": WINDOW, "scale": str(series.scale)}
    return own if source is None else own | {"source": source}
