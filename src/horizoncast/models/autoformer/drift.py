"""How fast a series with a season grows, as far as its own past says that this helps a forecast.

The naive forecast of a growing series lags behind it. Its drift is the mean change over a season, of the
last few seasons, carried on ("random walk with drift", "seasonal naive with drift": Hyndman & Athanasopoulos
2021, 5.2). Series without a season have none, and of prices much proof is asked: there the random walk stays
as it is.

Letters in shapes: n sessions, N origins, H steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from horizoncast.models.evidence import EVEN, LEAST_WEIGHT, odds
from horizoncast.models.lag_features import Design, anchor_row, mean_square_difference

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SEASONS = 4
"""Newest seasons whose growth is averaged."""
_ORIGINS, _PER_HORIZON = 16, 4
"""Independent origins that decide, and how many overlapping ones stand for one of them."""
_FEWEST_ROWS = 20
_BELIEF = 10.0
"""Origins' worth of belief that what is left spreads as the naive's errors do: weight and anchor are chosen
on the same origins, and growth changes."""
_LEAST_SPREAD = 0.1

CLEAR = 20.0
"""Odds from which another anchor takes the place of the design's."""


@dataclass(frozen=True, kw_only=True)
class Drift:
    """Growth that is added to the naive forecast.

    Parameters
    ----------
    period
        P, sessions over which growth is measured.
    weight
        Part of it that is added, 0 to 1.
    spread
        Spread of the errors that are left, relative to the naive's, at most 1.
    """

    period: int
    weight: float
    spread: float


def anchored(
    z: Floats, design: Design, periods: Sequence[int], steps: int, *, prior: float = EVEN
) -> tuple[Design, Drift | None]:
    """The design of a training window with its drift; None, and the design as it is, without a season.

    A trend hides a season from the naive forecast: after one year of growth the same quarter is far away.
    Another anchor takes the place of the design's where, each with its own drift, it did better at past
    origins by odds of `CLEAR`.

    Parameters
    ----------
    z
        (n,) in the scale.
    periods
        Of the calendar; the longest that the window holds twice before H steps measures the drift.
    prior
        Odds of a drift beforehand.
    """
    held = [p for p in periods if 2 * p + steps < len(z)]
    rows, worth = _origins(len(z), max(held, default=0), steps)
    if not held or design.spread <= 0:
        return design, None
    if not len(rows):
        return design, _told(Drift(period=max(held), weight=prior / (1.0 + prior), spread=1.0))
    judge = partial(_judged, z, max(held), rows, steps=steps, worth=worth, prior=prior)
    tried = {m: judge(m) for m in {1, design.anchor, *held}}
    best = min(tried, key=lambda m: tried[m][0])
    own, found = tried[design.anchor][0], tried[best][0]
    if odds(own, found, worth * len(rows)) <= CLEAR:
        return design, _told(tried[design.anchor][1])
    spread = float(np.sqrt(mean_square_difference(z, best)))
    return replace(design, anchor=best, spread=spread), _told(tried[best][1])


def _told(drift: Drift) -> Drift | None:
    return drift if drift.weight >= LEAST_WEIGHT else None


def _origins(length: int, period: int, steps: int) -> tuple[Ints, float]:
    """Newest origins whose outcome is known and that have growth to look back on, and what one is worth."""
    apart = max(1, steps // _PER_HORIZON)
    first = max(2 * period, _FEWEST_ROWS)
    rows = np.arange(length - 1 - steps, first - 1, -apart)[: _ORIGINS * steps // apart]
    return rows, apart / steps


def _judged(
    z: Floats, period: int, rows: Ints, anchor: int, *, steps: int, worth: float, prior: float
) -> tuple[float, Drift]:
    """Loss of an anchor with its drift at past origins, and that drift.

    Its weight is the odds for it by past absolute errors (`models.evidence`), as a probability.
    Nothing but the past of an origin enters its drift.
    """
    lead = np.arange(1, steps + 1)
    origins, leads = np.repeat(rows, steps), np.tile(lead, len(rows))
    off = (z[origins + leads] - z[anchor_row(origins, leads, anchor)]).reshape(len(rows), steps)
    step = growth(z, period, anchor, rows, steps)
    without, having = (float(np.abs(error / np.sqrt(lead)).mean()) for error in (off, off - step))
    independent = worth * len(rows)
    chance = odds(without, having, independent, prior)
    weight = chance / (1.0 + chance)
    left = off - weight * step
    before, after = (float(np.mean(error**2 / lead)) for error in (off, left))
    share = 0.5 * independent / (independent + _BELIEF)
    spread = float(np.clip((after / before) ** share, _LEAST_SPREAD, 1.0)) if before > 0 else 1.0
    return float(np.abs(left / np.sqrt(lead)).mean()), Drift(period=period, weight=weight, spread=spread)


def growth(z: Floats, period: int, anchor: int, rows: Ints, steps: int) -> Floats:
    """(N, H) growth from the anchor of each step to the step, as known at (N,) origins.

    The mean change over P sessions, of the last `SEASONS` P sessions, times the distance to the anchor over
    P; 0 where an origin has no whole season before it.

    >>> growth(np.arange(30.0), 4, 4, np.array([20]), 6).tolist()
    [[4.0, 4.0, 4.0, 4.0, 8.0, 8.0]]
    """
    total = np.concatenate([[0.0], np.cumsum(z[period:] - z[:-period])])
    stop = rows - period + 1
    start = np.maximum(stop - SEASONS * period, 0)
    known = stop > 0
    count = np.where(known, stop - start, 1)
    mean = np.where(known, total[np.maximum(stop, 0)] - total[np.minimum(start, len(total) - 1)], 0.0) / count
    lead = np.arange(1, steps + 1)
    distance = anchor * -(-lead // anchor)
    return np.asarray(mean[:, None] * distance / period)
