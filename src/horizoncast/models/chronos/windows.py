"""Training windows: contexts with what followed, split by time, so that no part sees another's outcomes.

::

    sessions   |------------- learn -------------|-- held back --|---- test ----|  end of the training data
                targets of its windows lie inside each part; contexts may reach back into the part before

Letters in shapes: N windows, T context length, H horizon steps, n sessions.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ConfigError, HistoryTooShortError
from horizoncast.models.chronos.settings import TrainingSettings

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

LEAST_CONTEXT = 16
_MOST_HELD = 256
_MOST_TEST = 512
"""Windows that a look, or the verdict, is taken on at most; evenly drawn when there are more."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Contexts with what followed.

    Parameters
    ----------
    contexts
        (N, T), NaN to the left where the series begins later.
    targets
        (N, H), NaN where a value is unknown or was filled.
    series
        (N,) which series a window is of.
    ends
        (N,) row of its last context value.
    """

    contexts: Floats
    targets: Floats
    series: Ints
    ends: Ints

    def __len__(self) -> int:
        return len(self.ends)

    def pick(self, at: Ints) -> Windows:
        """Some of the windows."""
        return Windows(
            contexts=self.contexts[at],
            targets=self.targets[at],
            series=self.series[at],
            ends=self.ends[at],
        )

    def centred(self) -> tuple[Singles, Singles]:
        """Contexts and targets less the context's mean, in its standard deviations.

        A checkpoint does the same, but in single precision: a price of 1e6 that moves by 0.01 would have
        lost its moves on the way there.
        """
        mean, spread = self._location()
        return (
            ((self.contexts - mean) / spread).astype(np.float32),
            ((self.targets - mean) / spread).astype(np.float32),
        )

    def restored(self, quantiles: Floats) -> Floats:
        """(N, H, Q) quantiles of centred windows, back in the series' scale."""
        mean, spread = self._location()
        return quantiles * spread[:, :, None] + mean[:, :, None]

    def scaled(self, quantiles: Floats) -> npt.NDArray[np.float32]:
        """(N, H, Q) quantiles in the series' scale, in the units of `centred`."""
        mean, spread = self._location()
        return ((quantiles - mean[:, :, None]) / spread[:, :, None]).astype(np.float32)

    def _location(self) -> tuple[Floats, Floats]:
        """(N, 1) each."""
        known = np.isfinite(self.contexts)
        total = np.where(known, self.contexts, 0.0).sum(axis=1)
        mean = total / np.maximum(known.sum(axis=1), 1)
        spread = context_spread(self.contexts)
        return mean[:, None], np.where(np.isfinite(spread), spread, 1.0)[:, None]

    def digest(self) -> str:
        """Digest of every number."""
        state = hashlib.sha256()
        for array in (self.contexts, self.targets, self.series, self.ends):
            state.update(repr(array.shape).encode())
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Windows to learn from, to stop by, and to judge on; later parts never feed earlier ones."""

    learn: Windows
    held: Windows
    test: Windows

    @property
    def steps(self) -> int:
        """H."""
        return int(self.learn.targets.shape[1])


def split_windows(
    values: Sequence[Floats],
    *,
    context: int,
    steps: int,
    settings: TrainingSettings,
    observed: Sequence[npt.NDArray[np.bool_]] | None = None,
) -> Split:
    """Cut every series into windows of its three parts.

    Parameters
    ----------
    values
        (n,) per series, in its scale; all of it counts as seen. A context that never moves makes no
        window: Chronos would divide by nothing.
    context, steps
        T and H.
    observed
        (n,) per series: False where a value was filled; such a value is no target.

    Raises
    ------
    HistoryTooShortError
        When a part has no window.
    """
    if context < LEAST_CONTEXT or steps < 1:
        raise ConfigError("windows", value=f"context {context}, steps {steps}", allowed="at least 16 and 1")
    masks = [np.ones(len(v), np.bool_) for v in values] if observed is None else list(observed)
    parts: tuple[list[Windows], ...] = ([], [], [])
    for k, (row, mask) in enumerate(zip(values, masks, strict=True)):
        test = len(row) - round(settings.test_split * len(row))
        held = test - round(settings.validation_split * test)
        bounds = ((0, held), (held, test), (test, len(row)))
        for part, (first, stop) in zip(parts, bounds, strict=True):
            ends = _ends(first, stop, context, steps, settings.stride)
            part.append(cut_windows(row, mask, ends, k, shape=(context, steps)))
    learn, held_back, test_part = (_joined(chunk) for chunk in parts)
    for name, windows in (("learn from", learn), ("hold back", held_back), ("test on", test_part)):
        if not len(windows):
            raise HistoryTooShortError(
                f"the training data have no window to {name}",
                value=f"{max(len(v) for v in values)} sessions",
                allowed=f"windows of up to {context} + {steps} sessions in each of the three parts",
                action="take a shorter context or horizon, or let the training data end later",
            )
    return Split(learn=learn, held=thinned(held_back, _MOST_HELD), test=thinned(test_part, _MOST_TEST))


def context_spread(contexts: Floats) -> Floats:
    """Standard deviation of each context, (N,), NaN where it never moved: the unit of losses.

    Chronos normalises a window by the same number.
    """
    known = np.isfinite(contexts)
    count = np.maximum(known.sum(axis=1), 1)
    filled = np.where(known, contexts, 0.0)
    mean = filled.sum(axis=1) / count
    square = (np.where(known, contexts - mean[:, None], 0.0) ** 2).sum(axis=1) / count
    spread = np.sqrt(square)
    return np.where(spread > 1e-14 * np.maximum(1.0, np.abs(mean)), spread, np.nan)


def _ends(first: int, stop: int, context: int, steps: int, stride: int) -> Ints:
    """Rows of last context values whose targets lie in [first, stop): stride from the newest back."""
    least = max(LEAST_CONTEXT, context // 4)
    lowest, newest = max(first - 1, least - 1), stop - steps - 1
    return np.arange(newest, lowest - 1, -stride, dtype=np.int64)[::-1]


def cut_windows(
    values: Floats, observed: npt.NDArray[np.bool_], ends: Ints, series: int, *, shape: tuple[int, int]
) -> Windows:
    """Windows of one series that end at the rows given; those that never moved are left out.

    Parameters
    ----------
    ends
        (N,) rows of last context values, each followed by H rows.
    shape
        T and H.
    """
    context, steps = shape
    padded = np.concatenate([np.full(context, np.nan), values])
    known = np.where(observed, values, np.nan)
    contexts = padded[ends[:, None] + 1 + np.arange(context)]
    targets = known[ends[:, None] + 1 + np.arange(steps)]
    windows = Windows(
        contexts=contexts,
        targets=targets,
        series=np.full(len(ends), series, dtype=np.int64),
        ends=ends,
    )
    usable = np.isfinite(targets).any(axis=1) & np.isfinite(context_spread(windows.contexts))
    return windows.pick(np.flatnonzero(usable))


def _joined(parts: Sequence[Windows]) -> Windows:
    return Windows(
        contexts=np.concatenate([p.contexts for p in parts]),
        targets=np.concatenate([p.targets for p in parts]),
        series=np.concatenate([p.series for p in parts]),
        ends=np.concatenate([p.ends for p in parts]),
    )


def thinned(windows: Windows, most: int) -> Windows:
    """At most so many of them, evenly drawn."""
    if len(windows) <= most:
        return windows
    return windows.pick(np.linspace(0, len(windows) - 1, most).round().astype(np.int64))
