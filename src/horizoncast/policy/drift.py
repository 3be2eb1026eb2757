"""Has the series changed its ways? Alarms on changes and residuals, never on price levels.

A level of prices wanders by itself: a test for drift on it flags nearly every random walk. What is
watched here are changes of a session (or forecast residuals), standardised by a GARCH(1,1) filter fitted
to a reference period, with two cumulative sums (Page 1954): log-likelihood ratios for a scale half as
large again, and standardised values for a shifted mean. Each threshold is the value that bootstrapped
years of the reference's own standardised values exceed with a stated probability, so that fat tails and
clustered volatility, which are no drift, do not alarm.

Letters in shapes: n values, r of them the reference, m = n - r watched; B bootstrapped years.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError

Floats = npt.NDArray[np.float64]

YEAR = 252
"""Sessions of one watch: thresholds promise a rate of false alarms per so many sessions."""

REFERENCE = (250, 1000)
"""Fewest and most values that a reference is made of."""

FALSE_ALARMS = {"variance": 0.015, "mean": 0.005}
"""Probability of a false alarm per year that each threshold is set to; far below the tenth that is promised,
because a filter fitted to a finite reference errs (docs/rollout.md has the measured rates)."""

_RATIO = 1.5
_TAIL = 6.0
_ALLOWANCE = 0.4
_CLIP = 4.0
_BOOTSTRAPS = 1000
_SEED = 20230728


class Drift(StrEnum):
    """What may have changed."""

    VARIANCE = "variance"
    MEAN = "mean"


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """One cumulative sum over the watched values.

    Parameters
    ----------
    drift
        What it looks for.
    statistic
        (m,) the sum after each watched value; it starts at zero.
    threshold
        Above it there is an alarm.
    alarm
        Position of the first alarm among the watched values, None when there is none.
    """

    drift: Drift
    statistic: Floats
    threshold: float
    alarm: int | None


@dataclass(frozen=True, kw_only=True)
class VolatilityFilter:
    """GARCH(1,1) with variance targeting: ``s2' = (1 - a - b) s0 + a x^2 + b s2`` (Bollerslev 1986)."""

    variance: float
    a: float
    b: float

    def standardise(self, values: Floats) -> Floats:
        """Values over the volatility expected from those before, (n,)."""
        out = np.zeros(len(values))
        now = self.variance
        for t, value in enumerate(values):
            out[t] = value / np.sqrt(now)
            now = (1.0 - self.a - self.b) * self.variance + self.a * value**2 + self.b * now
        return out


def session_changes(scaled: Floats, lag: int = 1) -> Floats:
    """``x_t - x_{t-lag}`` of a series in its scale, (n,) to (n - lag,): the only way in for prices."""
    return np.asarray(scaled[lag:] - scaled[:-lag])


def reference_length(ordinals: npt.NDArray[np.int64]) -> int:
    """How many of n values come before the year that is watched now.

    Years lie on an absolute grid of session indices, so that a run of next week watches from the same
    session on, and an alarm does not come and go with the window.

    Parameters
    ----------
    ordinals
        (n,) absolute session indices.
    """
    start = (int(ordinals[-1]) // YEAR) * YEAR
    return int(np.searchsorted(ordinals, start))


def watch(changes: Floats, reference: int) -> tuple[Watch, ...]:
    """Look for a change of variance and of mean after the reference.

    Parameters
    ----------
    changes
        (n,) changes or residuals, finite; not levels.
    reference
        r, how many of them are known to be from before; at most the newest 1,000 are used.

    Returns
    -------
    tuple of Watch
        Empty where the reference is shorter than 250 values or never moved: cannot be told.

    Raises
    ------
    BankError
        When a value is not finite, or the reference is longer than the values.
    """
    if not np.isfinite(changes).all() or not 0 <= reference <= len(changes):
        raise BankError("drift: values must be finite and the reference a part of them", value=reference)
    used = changes[max(0, reference - REFERENCE[1]) :]
    r = min(reference, REFERENCE[1])
    if r < REFERENCE[0] or not np.ptp(used[:r]) > 0:
        return ()
    centred = used - used[:r].mean()
    z = fit_filter(centred[:r]).standardise(centred)
    return tuple(_watch(drift, z[:r], z[r:]) for drift in Drift)


def fit_filter(reference: Floats) -> VolatilityFilter:
    """The filter under which a reference is most likely, by Student-t likelihood over a coarse grid.

    The grid holds the constant variance and persistences of 0.9 to 0.99; finer ones changed no rate of
    alarms by more than their sampling error.

    Parameters
    ----------
    reference
        (r,) centred values.
    """
    grid = [(0.0, 0.0)]
    grid += [(a, p - a) for a in (0.02, 0.04, 0.06, 0.08, 0.10, 0.14) for p in (0.9, 0.95, 0.98, 0.99)]
    a, b = (np.array(column) for column in zip(*grid, strict=True))
    target = float((reference**2).mean())
    now, likelihood = np.full(len(grid), target), np.zeros(len(grid))
    for value in reference:
        likelihood -= 0.5 * np.log(now) + (_TAIL + 1) / 2 * np.log1p(value**2 / (now * (_TAIL - 2)))
        now = (1.0 - a - b) * target + a * value**2 + b * now
    best = int(likelihood.argmax())
    return VolatilityFilter(variance=target, a=float(a[best]), b=float(b[best]))


def scale_scores(z: Floats, ratio: float = _RATIO) -> Floats:
    """Log-likelihood ratio of a scale `ratio` times as large, unit Student-t with 6 degrees, any shape.

    Bounded, so that one outlier alone is no alarm.
    """
    wider = np.log1p(z**2 / (ratio**2 * (_TAIL - 2)))
    return np.asarray(-np.log(ratio) + (_TAIL + 1) / 2 * (np.log1p(z**2 / (_TAIL - 2)) - wider))


def cumulative_sum(scores: Floats) -> Floats:
    """Page's one-sided sum ``c_t = max(0, c_{t-1} + x_t)``, along the last axis (Biometrika 1954).

    >>> cumulative_sum(np.array([1.0, -3.0, 2.0, 2.0]))
    array([1., 0., 2., 4.])
    """
    out = np.zeros_like(scores)
    now = np.zeros(scores.shape[:-1])
    for t in range(scores.shape[-1]):
        now = np.maximum(0.0, now + scores[..., t])
        out[..., t] = now
    return out


def _watch(drift: Drift, before: Floats, after: Floats) -> Watch:
    rng = np.random.default_rng(_SEED)
    years = _statistic(drift, rng.choice(before, size=(_BOOTSTRAPS, YEAR))).max(axis=1)
    threshold = float(np.quantile(years, 1.0 - FALSE_ALARMS[drift]))
    statistic = _statistic(drift, after)
    over = np.flatnonzero(statistic > threshold)
    alarm = int(over[0]) if len(over) else None
    return Watch(drift=drift, statistic=statistic, threshold=threshold, alarm=alarm)


def _statistic(drift: Drift, z: Floats) -> Floats:
    if drift is Drift.VARIANCE:
        return cumulative_sum(scale_scores(z))
    held = np.clip(z, -_CLIP, _CLIP)
    up, down = cumulative_sum(held - _ALLOWANCE), cumulative_sum(-held - _ALLOWANCE)
    return np.maximum(up, down)
