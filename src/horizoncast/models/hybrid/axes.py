"""Directions in which embeddings of windows differ most, as they were when a part was learned.

Letters in shapes: N windows, D size of an embedding, A axes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ModelError
from horizoncast.models.hybrid.judge import LEAST_WINDOWS
from horizoncast.policy.novelty import unit

Floats = npt.NDArray[np.float64]

AXES = 3
"""Principal components that a gate may read."""

_NOTHING = 1e-9
"""Share of the first singular value below which a direction is rounding."""


@dataclass(frozen=True, kw_only=True)
class Axes:
    """Principal components of embeddings made as long as one (Pearson 1901).

    Parameters
    ----------
    centre
        D numbers, the mean of those learned from; empty where none was.
    axes
        At most `AXES` of D numbers each, orthonormal, the largest entry of each positive.
    """

    centre: tuple[float, ...] = ()
    axes: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if len(self.axes) > AXES or any(len(axis) != len(self.centre) for axis in self.axes):
            raise ModelError(
                "axes of an embedding",
                value=[len(axis) for axis in self.axes],
                allowed=f"at most {AXES} of {len(self.centre)} numbers",
            )
        if not np.isfinite([number for row in (self.centre, *self.axes) for number in row]).all():
            raise ModelError("axes of an embedding are finite")

    @classmethod
    def of(cls, vectors: Floats) -> Axes:
        """Axes of (N, D) embeddings; rows that are not finite are left out.

        None from fewer than `LEAST_WINDOWS` rows, and none where rows do not differ.
        """
        known = unit(vectors[np.isfinite(vectors).all(axis=1)])
        if len(known) < LEAST_WINDOWS or not known.shape[1]:
            return NO_AXES
        centre = known.mean(axis=0)
        _, size, found = np.linalg.svd(known - centre, full_matrices=False)
        kept = found[:AXES][size[:AXES] > _NOTHING]
        largest = kept[np.arange(len(kept)), np.abs(kept).argmax(axis=1)]
        kept = kept * np.sign(largest)[:, None]
        return cls(centre=tuple(centre.tolist()), axes=tuple(tuple(axis) for axis in kept.tolist()))

    def require(self, size: int) -> None:
        """Refuse embeddings of another size; 0 says that there are none, and any will do without axes.

        Raises
        ------
        ModelError
            When they are of another encoder.
        """
        if size and self.axes and size != len(self.centre):
            raise ModelError(
                "embeddings are of another size than those that were learned from",
                value=size,
                allowed=str(len(self.centre)),
                action="train the hybrid again",
            )

    def along(self, vectors: Floats) -> Floats:
        """(N, D) embeddings along the axes, (N, `AXES`); NaN where one is unknown and where an axis is not.

        Raises
        ------
        ModelError
            For another D.
        """
        out = np.full((len(vectors), AXES), np.nan)
        self.require(vectors.shape[1])
        if self.axes and vectors.shape[1]:
            out[:, : len(self.axes)] = (unit(vectors) - np.array(self.centre)) @ np.array(self.axes).T
        return out


NO_AXES = Axes()
"""Where nothing is known of embeddings."""
