"""Has the series changed its ways? Alarms on changes and residuals, never on price levels.

A level of prices wanders by itself: a test for drift on it flags nearly every random walk. What is
watched here are changes of a session (or forecast residuals). Their volatility clusters and their tails
are fat, and neither is drift, so both are modelled first: GARCH(1,1) with Student-t values, known from a
reference period only up to a posterior over a grid.

*A doubled volatility* is looked for by the sum of Shiryaev and Roberts (Pollak 1985, Annals of Statistics
13): over the sessions of the last weeks, the likelihood that the break came then, over that of no break.
Under a break the filter has to go on from the halved values: a filter that is fed the doubled ones takes
the break for one more cluster within a dozen sessions, and what it standardises shows nothing any more
(Lai 1998, IEEE Transactions on Information Theory 44, on windows and dependent observations). *A shifted
mean* is looked for by Page's cumulative sums (Biometrika 1954) of standardised values.

A threshold is what simulated years without any break exceed with a stated probability. Their parameters
are drawn from the posterior, their shocks from the reference's own, so that what a finite reference leaves
open does not turn into alarms.

Letters in shapes: n values, r of them the reference, m = n - r watched; B simulated years, G grid, K breaks.
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

REFERENCE = (250, 2000)
"""Fewest and most values that a reference is made of."""

FALSE_ALARMS = (0.02, 0.04)
"""Probability of a false alarm of variance per year, for references of up to 1,000 and of 2,000 values: what
a shorter one leaves open makes more than was asked for (docs/rollout.md has the measured rates, below the
tenth that is promised)."""

FALSE_ALARMS_MEAN = 0.005

RATIO = 2.0
"""Volatility after the break that is looked for, over that before."""
WINDOW = 30
"""Sessions back to which a break may have come: an older one has been taken for a cluster by the filter."""

_EVERY = 2
"""Breaks are supposed at every second session: half the work, and no measurable difference."""
_TAIL = 6.0
_ALLOWANCE = 0.4
_CLIP = 4.0
_YEARS = 1000
_SEED = 20230728
_GRID = [(0.0, 0.0)] + [
    (a, p - a) for a in (0.02, 0.04, 0.06, 0.08, 0.10, 0.14) for p in (0.85, 0.90, 0.95, 0.97, 0.98, 0.99)
]
"""Reaction and persistence of volatility; the first is a constant one."""


class Drift(StrEnum):
    """What may have changed."""

    VARIANCE = "variance"
    MEAN = "mean"


@dataclass(frozen=True, kw_only=True, eq=False)
class Watch:
    """The evidence for one kind of change over the watched values.

    Parameters
    ----------
    drift
        What it looks for.
    statistic
        (m,) evidence after each watched value.
    threshold
        Above it there is an alarm.
    alarm
        Position of the first alarm among the watched values, None when there is none.
    """

    drift: Drift
    statistic: Floats
    threshold: float
    alarm: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Volatility:
    """What a reference says of its GARCH(1,1): ``s2' = (1 - a - b) s0 + a x^2 + b s2`` (Bollerslev 1986).

    Parameters
    ----------
    variance
        s0, that of the reference (variance targeting).
    a, b
        (G,) the grid.
    weights
        (G,) posterior probabilities of its points, from equal ones before.
    ahead
        (G,) variance expected of the first value after the reference.
    """

    variance: float
    a: Floats
    b: Floats
    weights: Floats
    ahead: Floats

    @property
    def best(self) -> int:
        """The most probable point of the grid."""
        return int(self.weights.argmax())

    @property
    def floor(self) -> Floats:
        """(G,) the constant part of the variance."""
        return np.asarray((1.0 - self.a - self.b) * self.variance)

    def standardise(self, values: Floats) -> Floats:
        """Values over the volatility expected from those before, (n,); the first one over the mean one."""
        out, now, k = np.zeros(len(values)), self.variance, self.best
        floor, a, b = float(self.floor[k]), float(self.a[k]), float(self.b[k])
        for t, value in enumerate(values):
            out[t] = value / np.sqrt(now)
            now = floor + a * value**2 + b * now
        return out

    def years(self, shocks: Floats, rng: np.random.Generator) -> Floats:
        """(YEAR, B) years that may follow the reference without any break; shocks (n,) of unit variance."""
        at = rng.choice(len(self.a), size=_YEARS, p=self.weights)
        floor, a, b, now = self.floor[at], self.a[at], self.b[at], self.ahead[at]
        out = rng.choice(shocks, size=(YEAR, _YEARS))
        for t in range(YEAR):
            out[t] *= np.sqrt(now)
            now = floor + a * out[t] ** 2 + b * now
        return out

    def break_evidence(self, values: Floats) -> Floats:
        """Logarithm of the sum of Shiryaev and Roberts after each value that follows the reference.

        Parameters
        ----------
        values
            (m, B) changes of B years.
        """
        k = self.best
        floor, a, b = self.floor[k], self.a[k], self.b[k]
        out = np.empty(values.shape)
        breaks = (WINDOW // _EVERY, values.shape[1])
        ratios, inside = np.full(breaks, -np.inf), np.full(breaks, self.variance)
        now = np.full(values.shape[1], self.ahead[k])
        for t, squares in enumerate(values**2):
            if t % _EVERY == 0:  # one more supposed break, in the place of the oldest
                ratios[t // _EVERY % len(ratios)], inside[t // _EVERY % len(ratios)] = 0.0, now
            ratios += log_density(squares, RATIO**2 * inside) - log_density(squares, now)
            inside = floor + a * squares / RATIO**2 + b * inside
            now = floor + a * squares + b * now
            top = ratios.max(axis=0)
            out[t] = top + np.log(np.exp(ratios - top).sum(axis=0))
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
        r, how many of them are known to be from before; at most the newest 2,000 are used.

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
    found = fit_volatility(centred[:r])
    z = found.standardise(centred)
    return (_variance_watch(found, z[:r], centred[r:]), _mean_watch(z[:r], z[r:]))


def fit_volatility(reference: Floats) -> Volatility:
    """What a reference says of its volatility: Student-t likelihoods over a grid of persistences.

    Parameters
    ----------
    reference
        (r,) centred values.
    """
    a, b = (np.array(column) for column in zip(*_GRID, strict=True))
    variance = float((reference**2).mean())
    floor, now, likelihood = (1.0 - a - b) * variance, np.full(len(a), variance), np.zeros(len(a))
    for square in reference**2:
        likelihood += log_density(square, now)
        now = floor + a * square + b * now
    weights = np.exp(likelihood - likelihood.max())
    return Volatility(variance=variance, a=a, b=b, weights=weights / weights.sum(), ahead=now)


def log_density(squares: Floats | float, variance: Floats) -> Floats:
    """Logarithm of the density of a Student-t value of 6 degrees, by its square, but for a constant.

    Heavy tails bound what one wild value can say: at most ``3.5 log(variance ratio)``.
    """
    return np.asarray(
        -0.5 * np.log(variance) - (_TAIL + 1) / 2 * np.log1p(squares / (variance * (_TAIL - 2)))
    )


def asked_rate(reference: int) -> float:
    """Probability per year that the threshold of variance is set to, for a reference of r values.

    >>> asked_rate(400), asked_rate(1500), asked_rate(2000)
    (0.02, 0.03, 0.04)
    """
    low, high = FALSE_ALARMS
    return low + (high - low) * min(max(reference - 1000, 0), 1000) / 1000


def cumulative_sum(scores: Floats) -> Floats:
    """Page's one-sided sum ``c_t = max(0, c_{t-1} + x_t)``, along the first axis (Biometrika 1954).

    >>> cumulative_sum(np.array([1.0, -3.0, 2.0, 2.0]))
    array([1., 0., 2., 4.])
    """
    out = np.zeros_like(scores)
    now = np.zeros(scores.shape[1:])
    for t, score in enumerate(scores):
        now = out[t] = np.maximum(0.0, now + score)
    return out


def mean_evidence(z: Floats) -> Floats:
    """The larger of two cumulative sums, for a mean above and below; standardised values (m,) or (m, B)."""
    held = np.clip(z, -_CLIP, _CLIP)
    up, down = cumulative_sum(held - _ALLOWANCE), cumulative_sum(-held - _ALLOWANCE)
    return np.maximum(up, down)


def _variance_watch(found: Volatility, before: Floats, after: Floats) -> Watch:
    """Shocks before, standardised; changes after, as they are."""
    shocks = before / np.sqrt((before**2).mean())
    years = found.break_evidence(found.years(shocks, np.random.default_rng(_SEED)))
    statistic = found.break_evidence(after[:, np.newaxis])[:, 0]
    return _watched(Drift.VARIANCE, statistic, years, asked_rate(len(before)))


def _mean_watch(before: Floats, after: Floats) -> Watch:
    years = mean_evidence(np.random.default_rng(_SEED).choice(before, size=(YEAR, _YEARS)))
    return _watched(Drift.MEAN, mean_evidence(after), years, FALSE_ALARMS_MEAN)


def _watched(drift: Drift, statistic: Floats, years: Floats, rate: float) -> Watch:
    threshold = float(np.quantile(years.max(axis=0), 1.0 - rate))
    over = np.flatnonzero(statistic > threshold)
    alarm = int(over[0]) if len(over) else None
    return Watch(drift=drift, statistic=statistic, threshold=threshold, alarm=alarm)
