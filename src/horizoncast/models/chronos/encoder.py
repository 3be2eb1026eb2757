"""`ChronosEncoder`: a window of one or more channels as one vector.

A checkpoint's encoder turns a window into one state per patch (and one for the [REG] token); pooled, they
say what the window looks like. Chronos normalises every window by its own mean and standard deviation,
so the vectors know shapes, not levels. The 70 statistical features are the declared alternative where no
checkpoint is at hand: they do know levels, and say of themselves that they are no neural embedding.

Letters in shapes: N windows, T window length, C channels, L patches, D size of a vector.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError
from horizoncast.models.chronos.folder import BOLT
from horizoncast.models.chronos.pipeline import Loaded, get_pipeline

Floats = npt.NDArray[np.float64]

CHANNELS = 5
SEQUENCE = 50
STATISTICS = 4 * CHANNELS + SEQUENCE
"""Mean, standard deviation, largest and smallest of five channels, and fifty points of the first one."""

_CHUNK = 64


class Pooling(StrEnum):
    """How the states of a window become one vector."""

    MEAN = "mean"
    LAST = "last"
    REG = "reg"


class EmbeddingFlag(StrEnum):
    """What a reader of vectors must know."""

    STATISTICAL = "statistical_features"
    """Declared features of the values, no neural embedding."""
    TRUNCATED = "truncated_window"
    """The window is longer than the checkpoint's context: its beginning was left out."""
    CONSTANT = "constant_channel"
    """A channel of some window never moves: its part of the vector says nothing."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedded:
    """Vectors and what made them.

    Parameters
    ----------
    vectors
        (N, D)
    source
        Name of the checkpoint, or ``statistics``.
    digest
        Of its files; empty for statistics.
    pooling
        ``mean``, ``last``, ``reg``; empty for statistics.
    flags
        See `EmbeddingFlag`.
    """

    vectors: Floats
    source: str
    digest: str = ""
    pooling: str = ""
    flags: tuple[EmbeddingFlag, ...] = ()


class ChronosEncoder:
    """Pooled encoder states of a Bolt or Chronos-2 checkpoint.

    Parameters
    ----------
    folder
        Model folder; loaded with the first window, one pipeline per process.
    pooling
        ``mean`` over the patches that hold a value, the ``last`` patch, or the ``reg`` token.

    Notes
    -----
    Channels of Bolt are encoded apart and their vectors joined, (N, C D); Chronos-2 reads the channels
    of a window together, and the vectors of its channels are joined likewise.
    """

    def __init__(self, folder: Path, *, pooling: Pooling | str = Pooling.MEAN) -> None:
        if str(pooling) not in list(Pooling):
            raise ConfigError("pooling", value=repr(str(pooling)), allowed=", ".join(Pooling))
        self.folder = folder
        self.pooling = Pooling(str(pooling))

    def embed(self, windows: Floats) -> Embedded:
        """Vectors of windows.

        Parameters
        ----------
        windows
            (N, T) or (N, T, C); NaN where a value is missing.

        Raises
        ------
        ConfigError
            For an array of another shape, and for ``reg`` where the checkpoint has no such token.
        StoreError, NotAdmittedError, NotInstalledError
            As `get_pipeline`.
        """
        cube = as_cube(windows)
        loaded = get_pipeline(self.folder)
        if self.pooling is Pooling.REG and not loaded.pipeline.model.chronos_config.use_reg_token:
            raise ConfigError(
                "pooling", value="reg", allowed="mean, last: this checkpoint has no [REG] token"
            )
        flags = [EmbeddingFlag.CONSTANT] if (_spread(cube) == 0).any() else []
        if cube.shape[1] > loaded.manifest.context_length:
            flags.append(EmbeddingFlag.TRUNCATED)
            cube = cube[:, -loaded.manifest.context_length :]
        cube = _centred(cube)
        parts = [
            self._pooled(loaded, cube[at : at + _CHUNK]) for at in range(0, len(cube), _CHUNK)
        ]  # chunks bound the memory
        return Embedded(
            vectors=np.concatenate(parts) if parts else np.empty((0, 0)),
            source=loaded.manifest.name,
            digest=loaded.manifest.digest,
            pooling=str(self.pooling),
            flags=tuple(flags),
        )

    def _pooled(self, loaded: Loaded, cube: Floats) -> Floats:
        """(N, C D) of some windows."""
        count, _, channels = cube.shape
        states, patch = _states(loaded, cube)  # (N, C, tokens, D)
        known = _known_patches(cube, patch)  # (N, C, L)
        patches = known.shape[-1]
        if self.pooling is Pooling.REG:
            pooled = states[:, :, patches]
        elif self.pooling is Pooling.LAST:
            pooled = states[:, :, patches - 1]
        else:
            weight = known / np.maximum(known.sum(axis=-1, keepdims=True), 1)
            pooled = np.einsum("nclf,ncl->ncf", states[:, :, :patches], weight)
        return np.asarray(pooled.reshape(count, channels * pooled.shape[-1]), dtype=np.float64)


def statistical_features(windows: Floats) -> Embedded:
    """The 70 features: statistics of up to five channels, and the first channel at fifty points.

    A channel that is not there counts as zero; missing values are left out of the statistics and
    bridged linearly in the sequence. Fifty points are means of fifty equal stretches of time
    (piecewise aggregate approximation, Keogh et al. 2001), interpolated where the window is shorter.

    Parameters
    ----------
    windows
        (N, T) or (N, T, C), C at most five.

    Returns
    -------
    Embedded
        (N, 70), flagged as statistical.
    """
    cube = as_cube(windows)
    count, _, channels = cube.shape
    if channels > CHANNELS:
        raise ConfigError("statistical features", value=f"{channels} channels", allowed=f"at most {CHANNELS}")
    out = np.zeros((count, STATISTICS))
    for n in range(count):
        for c in range(channels):
            seen = cube[n, np.isfinite(cube[n, :, c]), c]
            if len(seen):
                out[n, 4 * c : 4 * c + 4] = seen.mean(), seen.std(), seen.max(), seen.min()
        out[n, 4 * CHANNELS :] = downsample(cube[n, :, 0], SEQUENCE)
    return Embedded(vectors=out, source="statistics", flags=(EmbeddingFlag.STATISTICAL,))


def downsample(values: Floats, points: int) -> Floats:
    """Means of `points` equal stretches of a line through the values, (T,) to (points,).

    >>> downsample(np.arange(6.0), 3).tolist()
    [0.5, 2.5, 4.5]
    """
    seen = np.flatnonzero(np.isfinite(values))
    if not len(seen):
        return np.zeros(points)
    filled = np.interp(np.arange(len(values)), seen, values[seen])
    edges = np.linspace(0.0, len(filled), points + 1)
    area = np.concatenate([[0.0], np.cumsum(filled)])
    at_edges = np.interp(edges, np.arange(len(area)), area)
    return np.asarray(np.diff(at_edges) / np.diff(edges))


def as_cube(windows: Floats) -> Floats:
    """(N, T) or (N, T, C) as (N, T, C).

    Raises
    ------
    ConfigError
        For any other shape.
    """
    array = np.asarray(windows, dtype=np.float64)
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim != 3 or array.shape[1] < 2 or array.shape[2] < 1:
        raise ConfigError("windows to embed", value=f"shape {array.shape}", allowed="(N, T) or (N, T, C)")
    return array


def _states(loaded: Loaded, cube: Floats) -> tuple[Any, int]:
    """Encoder states (N, C, tokens, D), and sessions of a patch."""
    import torch

    count, length, channels = cube.shape
    rows = torch.from_numpy(np.ascontiguousarray(cube.transpose(0, 2, 1), dtype=np.float32))
    patch = int(loaded.pipeline.model.chronos_config.input_patch_size)
    if loaded.manifest.kind == BOLT:
        states = loaded.pipeline.embed(rows.reshape(count * channels, length))[0]
        return states.reshape(count, channels, *states.shape[1:]).numpy(), patch
    found = loaded.pipeline.embed(rows, batch_size=_CHUNK * channels)[0]
    return torch.stack(found).numpy(), patch


def _known_patches(cube: Floats, patch: int) -> Any:
    """(N, C, L) 1 where a patch holds a value; the first one is padded on the left."""
    count, length, channels = cube.shape
    lacking = -length % patch
    known = np.isfinite(cube).transpose(0, 2, 1)
    known = np.concatenate([np.zeros((count, channels, lacking), dtype=np.bool_), known], axis=-1)
    return known.reshape(count, channels, -1, patch).any(axis=-1).astype(np.float64)


def _centred(cube: Floats) -> Floats:
    """Every channel of a window less its mean, in its standard deviations, while the numbers are still exact.

    The checkpoint does the same in single precision, where small moves at a high level are lost.
    """
    known = np.isfinite(cube)
    count = np.maximum(known.sum(axis=1, keepdims=True), 1)
    mean = np.where(known, cube, 0.0).sum(axis=1, keepdims=True) / count
    moves = np.where(known, cube - mean, 0.0)
    spread = np.sqrt((moves**2).sum(axis=1, keepdims=True) / count)
    return np.asarray((cube - mean) / np.where(spread > 0, spread, 1.0))


def _spread(cube: Floats) -> Floats:
    """(N, C) largest less smallest value; 0 for a channel without any."""
    high = np.where(np.isfinite(cube), cube, -np.inf).max(axis=1)
    low = np.where(np.isfinite(cube), cube, np.inf).min(axis=1)
    return np.where(np.isfinite(high), high - low, 0.0)
