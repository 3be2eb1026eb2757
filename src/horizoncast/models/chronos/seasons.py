"""``season``: a checkpoint reads how far a series lies from its last seasons, and answers that.

A checkpoint carries a season that its context holds many times. One that comes back after a third of the
context (a week of hours in 512) or lies beyond it is lost. With a season of m sessions the series is
therefore read as its difference from the mean of the last K values of the same phase,
``x[t] = z[t] - mean(z[t - m], ..., z[t - K m])``, and the answer at step h is
``mean(z[t + h - m], ..., z[t + h - K m]) + x[t + h]``: the values subtracted are known up to h = m, so the
quantiles of x are those of z but for a shift. Steps of the j-th season ahead, ``(j - 1) m < h <= j m``, are
read from differences at lags ``j m`` to ``(j + K - 1) m`` instead, in one pass of their own. There the
subtracted values are known as well, no forecast is added to a forecast, and nothing has to be assumed of
how the errors of two seasons go together.

Differencing is as in seasonal ARIMA (Box & Jenkins 1976, chapter 9); the mean of K seasons adds 1/K of the
noise of one value instead of all of it.

Whether a series is better read as it is or as differences is not known, so both answer, each with the
weight that matured origins give it (`weigh`). How far their medians lie apart is doubt about the reading,
the checkpoint's epistemic part.

Letters in shapes: T context, H steps, P covariates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.contexts import FEWEST
from horizoncast.models.evidence import EVEN, LEAST_WEIGHT, odds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEASONS = (4, 2, 1)
"""K: the first that the history is long enough for."""
BLOCKS = 4
"""Seasons ahead at most: every one is a pass of its own."""
_SHORTEST = 24
"""Differences below which a checkpoint is far too sure: 80 % intervals from 12 of a walk cover 47 %."""


@dataclass(frozen=True, kw_only=True, order=True)
class Anchor:
    """What is subtracted before a checkpoint reads a series.

    Parameters
    ----------
    period
        m, sessions of a season.
    seasons
        K, values of the same phase whose mean is subtracted.
    """

    period: int
    seasons: int

    def blocks(self, steps: int) -> int:
        """Seasons that H steps reach into."""
        return -(-steps // self.period)

    def reach(self, block: int) -> int:
        """Sessions before the first difference of the j-th season ahead, 1-based."""
        return (block + self.seasons - 1) * self.period

    def fits(self, rows: int, steps: int) -> bool:
        """Whether a history leaves at least one season of differences for each of H steps."""
        return rows >= self.reach(self.blocks(steps)) + max(self.period, _SHORTEST)

    def differences(self, columns: Floats, block: int) -> Floats:
        """(T + reach,) or (T + reach, P) to (T,) or (T, P).

        >>> week = np.tile([1.0, 5.0, 2.0], 4) + np.repeat([0.0, 0.0, 0.0, 1.0], 3)
        >>> Anchor(period=3, seasons=2).differences(week, 1).tolist()
        [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]
        """
        length = len(columns) - self.reach(block)
        ends = [len(columns) - lag for lag in self._lags(block)]
        return np.asarray(columns[-length:] - np.mean([columns[end - length : end] for end in ends], axis=0))

    def ahead(self, columns: Floats, block: int, steps: int) -> Floats:
        """What is subtracted at steps 1 to `steps` <= j m after the last row, (steps,) or (steps, P)."""
        starts = [len(columns) - lag for lag in self._lags(block)]
        return np.asarray(np.mean([columns[start : start + steps] for start in starts], axis=0))

    def _lags(self, block: int) -> list[int]:
        return [(block + k) * self.period for k in range(self.seasons)]


@dataclass(frozen=True, kw_only=True, eq=False)
class Trial:
    """An anchor with the origins that judge it.

    Parameters
    ----------
    anchor
        Of one period, with as many seasons as the history allows.
    rows
        Rows of the matured origins at which it could have been used, oldest first.
    """

    anchor: Anchor
    rows: tuple[int, ...]


def trials(periods: Sequence[int], stop: int, rows: Ints, steps: int) -> tuple[Trial, ...]:
    """Anchors that fit a history of `stop` rows, the longest season first, each with its origins.

    Of each period the most seasons are taken with which enough origins remain to judge it, else the
    most that fit the history.

    >>> [t.anchor.seasons for t in trials((7,), 80, np.arange(19, 73, 5), 5)]
    [2]
    """
    found = []
    for period in reversed(periods):
        fitting = []
        for seasons in SEASONS:
            anchor = Anchor(period=period, seasons=seasons)
            if anchor.blocks(steps) <= BLOCKS and anchor.fits(stop, steps):
                kept = tuple(int(row) for row in rows if anchor.fits(int(row) + 1, steps))
                fitting.append(Trial(anchor=anchor, rows=kept))
        judged = [trial for trial in fitting if len(trial.rows) >= FEWEST]
        found += (judged or fitting)[:1]
    return tuple(found)


def needed(tried: Sequence[Trial], *, forced: bool) -> set[tuple[int, Anchor | None]]:
    """Origins and anchors (None: the series as it is) whose losses decide; none without a choice."""
    if forced and len(tried) == 1:
        return set()
    return {(row, anchor) for trial in tried for row in trial.rows for anchor in (None, trial.anchor)}


def weigh(
    tried: Sequence[Trial],
    losses: Mapping[tuple[int, Anchor | None], float],
    worth: float = 1.0,
    *,
    forced: bool,
    prior: float = EVEN,
) -> dict[Anchor | None, float]:
    """Weight of each reading (None: the series as it is), summing to 1; those below `LEAST_WEIGHT` left out.

    Odds against the series as it is by past losses (`models.evidence`), beforehand half for it, the other
    half shared by its seasons (`prior`). Quantiles are averaged with these weights.

    Parameters
    ----------
    losses
        Those that are `needed`.
    worth
        What one origin counts for.
    forced
        The series as it is takes no part, unless no season fits.
    prior
        Odds beforehand of all seasons together.
    """
    share = prior / len(tried) if tried else 0.0
    found: dict[Anchor | None, float] = {} if forced and tried else {None: 1.0}
    for trial in tried:
        rows = trial.rows if losses else ()
        plain, own = (float(np.mean([losses[row, a] for row in rows] or [1.0])) for a in (None, trial.anchor))
        found[trial.anchor] = odds(plain, own, worth * len(rows), share)
    total = sum(found.values())
    kept = {anchor: odd for anchor, odd in found.items() if odd >= LEAST_WEIGHT * total}
    total = sum(kept.values())
    return {anchor: odd / total for anchor, odd in kept.items()}
