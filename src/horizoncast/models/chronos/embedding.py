"""What a checkpoint's encoder sees of the context before a cutoff, and how unlike the past that is.

A function of the history up to the cutoff and of the checkpoint, to the last bit: windows are encoded in
batches of one shape, filled with copies, as `inference` answers them. In a batch of Chronos-2 every window
is a group of its own, so that no sum runs over more than one row. Windows of the past lie on an absolute
grid: cutoffs share them, and a process encodes each once.

Letters in shapes: n sessions, N windows, T window length, D size of a vector.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.forecast import Embedding
from horizoncast.models.chronos.encoder import ChronosEncoder
from horizoncast.models.chronos.likeness import windows_at
from horizoncast.models.chronos.pipeline import Loaded
from horizoncast.policy.novelty import nearest_distance
from horizoncast.series import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WINDOW = 64
"""Sessions of a window: four patches of Bolt."""
LEAST = 16
"""Sessions below which a history has no embedding."""
SPACING = 20
"""Sessions between two past windows, on an absolute grid."""
MOST = 120
"""Newest past windows that novelty is told from: nine years of trading days."""
FEWEST = (20, 8)
"""Past windows, and among them calibration windows, below which no novelty is told."""
BATCH = 16
"""Windows encoded together."""
_DIGITS = 9
"""Of a distance: equal windows at two places of a product may differ in the last ones."""


def embeddings_of(loaded: Loaded, histories: Iterable[History]) -> list[Embedding | None]:
    """One embedding per history, of its last `WINDOW` sessions; None where it is too short to have one.

    Parameters
    ----------
    histories
        Each from its first session up to a cutoff.
    """
    asked = [_Windows.of(history) for history in histories]
    _encode(loaded, [window for one in asked if one is not None for window in one.all])
    return [None if one is None else _embedding(loaded, one) for one in asked]


def grid_rows(ordinals: Ints, spacing: int) -> Ints:
    """Rows of the last sessions before each point of an absolute grid that has passed.

    >>> grid_rows(np.arange(15, 42), 10).tolist()
    [4, 14, 24]
    """
    return np.flatnonzero(np.diff(ordinals // spacing) > 0)


def past_rows(ordinals: Ints) -> tuple[Ints, Ints]:
    """Rows of the last sessions of reference and calibration windows; none where they are too few.

    None of these windows touches the newest one, nor does a calibration window touch the reference.

    Parameters
    ----------
    ordinals
        (n,) absolute session indices up to the cutoff.
    """
    none = np.array([], dtype=np.int64)
    rows = grid_rows(ordinals, SPACING)
    rows = rows[(rows >= WINDOW - 1) & (rows + WINDOW < len(ordinals))][-MOST:]
    if len(rows) < FEWEST[0]:
        return none, none
    reference, later = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    calibration = later[later - WINDOW >= reference[-1]]
    return (reference, calibration) if len(calibration) >= FEWEST[1] else (none, none)


def novelty_of(own: Floats, calibration: Floats, reference: Floats) -> float | None:
    """Share of calibration vectors that lie nearer to the reference than one of them, ties half.

    Parameters
    ----------
    own
        (D,)
    calibration, reference
        (N, D) each; None is known without any.
    """
    if not len(reference) or not len(calibration):
        return None
    *usual, now = nearest_distance(np.vstack([calibration, own]), reference).round(_DIGITS)
    nearer, same = np.less(usual, now).sum(), np.equal(usual, now).sum()
    return float((nearer + 0.5 * same) / len(usual))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Windows:
    """A history's newest window (T,), and those of its past, (N, T) each."""

    own: Floats
    reference: Floats
    calibration: Floats

    @classmethod
    def of(cls, history: History) -> _Windows | None:
        """None for a history below `LEAST` sessions."""
        z = np.asarray(history.z)
        if len(z) < LEAST:
            return None
        own = np.full(WINDOW, np.nan)
        own[-min(len(z), WINDOW) :] = z[-WINDOW:]
        reference, calibration = (windows_at(z, rows, WINDOW) for rows in past_rows(history.ordinals))
        return cls(own=own, reference=reference, calibration=calibration)

    @property
    def all(self) -> list[Floats]:
        """Every window."""
        return [self.own, *self.reference, *self.calibration]


def _embedding(loaded: Loaded, windows: _Windows) -> Embedding | None:
    own, *past = (loaded.vectors[window.tobytes()] for window in windows.all)
    vectors = np.array(past).reshape(len(past), len(own))
    if not (np.isfinite(own).all() and np.isfinite(vectors).all()):
        return None  # a checkpoint whose states overflow says nothing
    split = len(windows.reference)
    return Embedding(vector=own, novelty=novelty_of(own, vectors[split:], vectors[:split]))


def _encode(loaded: Loaded, windows: Sequence[Floats]) -> None:
    """Remember the vector of every window that has none yet."""
    lacking = {key: window for window in windows if (key := window.tobytes()) not in loaded.vectors}
    keys, rows = list(lacking), list(lacking.values())
    for start in range(0, len(rows), BATCH):
        found = _vectors(loaded, np.stack(rows[start : start + BATCH]))
        loaded.vectors.update(zip(keys[start : start + BATCH], found, strict=True))


def _vectors(loaded: Loaded, rows: Floats) -> Floats:
    """(N, T) to (N, D), N at most `BATCH`: in a batch of one shape, or one by one where places matter."""
    shape = ("encoder", *rows.shape[1:], BATCH)
    if shape not in loaded.alike:
        copies = _pooled(loaded, np.repeat(rows[:1], BATCH, axis=0))
        loaded.alike[shape] = bool((copies == copies[:1]).all())
    if not loaded.alike[shape]:
        return np.concatenate([_pooled(loaded, row[None]) for row in rows])
    filled = np.concatenate([rows, np.repeat(rows[-1:], BATCH - len(rows), axis=0)])
    return _pooled(loaded, filled)[: len(rows)]


def _pooled(loaded: Loaded, rows: Floats) -> Floats:
    """(N, T) to (N, D), rounded to single precision, in which they are kept."""
    vectors = ChronosEncoder(loaded.folder).embed(rows).vectors
    return vectors.astype(np.float32).astype(np.float64)
