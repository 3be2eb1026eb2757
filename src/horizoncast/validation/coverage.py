"""Coverage of intervals and the independence of their misses, tested.

Christoffersen's tests want one outcome per independent forecast: `thinned` keeps cutoffs whose
horizons do not overlap. Where too few are left, `coverage_with_error` gives the coverage of all cutoffs
with an error that respects their overlap.

Letters in shapes: n cutoffs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import erfc, exp, sqrt

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError
from horizoncast.horizon import Horizon, effective_windows
from horizoncast.validation.significance import MIN_EFFECTIVE, long_run_variance

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class CoverageTest:
    """Christoffersen's three likelihood ratios for one interval.

    Parameters
    ----------
    expected, observed
        Nominal coverage, and the share of hits.
    windows
        Outcomes behind it.
    unconditional, independence, conditional
        Likelihood ratios, chi-squared with 1, 1 and 2 degrees of freedom; NaN where not defined.
    p_unconditional, p_independence, p_conditional
        Their p-values.
    """

    expected: float
    observed: float
    windows: int
    unconditional: float
    independence: float
    conditional: float
    p_unconditional: float
    p_independence: float
    p_conditional: float


@dataclass(frozen=True, kw_only=True)
class CoverageEstimate:
    """A coverage with its standard error.

    Parameters
    ----------
    value, error
        Share of hits, and its standard error; NaN where it cannot be computed.
    windows, n_eff
        Cutoffs behind it, and how many independent ones they are worth.
    """

    value: float
    error: float
    windows: int
    n_eff: float

    @property
    def can_be_told(self) -> bool:
        """Whether there are enough independent windows for a verdict."""
        return self.n_eff >= MIN_EFFECTIVE and bool(np.isfinite(self.error))


def christoffersen(hits: Bools, expected: float) -> CoverageTest:
    """Tests of coverage, of independence, and of both (Christoffersen 1998, eq. 4, 6 and 8).

    With n_ij the number of times state j followed state i (1 is a miss)::

        LR_uc  = -2 log( p^n1 (1-p)^n0 / (m^n1 (1-m)^n0) )              m = n1 / n
        LR_ind = -2 log( L(m2) / L(m01, m11) )                         m2 of the n - 1 transitions
        LR_cc  = LR_uc + LR_ind

    Parameters
    ----------
    hits
        (n,) whether each outcome lay inside, in order, of forecasts whose horizons do not overlap.
    expected
        Nominal coverage, in (0, 1).

    Raises
    ------
    BankError
        For a nominal coverage outside (0, 1).

    Examples
    --------
    >>> round(christoffersen(np.arange(20) % 5 != 0, 0.8).unconditional, 6)
    0.0
    """
    if not 0.0 < expected < 1.0:
        raise BankError("a nominal coverage lies strictly between 0 and 1", value=expected)
    misses = ~np.asarray(hits, dtype=np.bool_)
    n, n1 = len(misses), int(misses.sum())
    nan = float("nan")
    if n < 2:
        empty = dict.fromkeys(("unconditional", "independence", "conditional"), nan)
        tails = dict.fromkeys(("p_unconditional", "p_independence", "p_conditional"), nan)
        observed = float(1 - n1 / n) if n else nan
        return CoverageTest(expected=expected, observed=observed, windows=n, **empty, **tails)
    unconditional = 2.0 * (_log_likelihood(n - n1, n1, n1 / n) - _log_likelihood(n - n1, n1, 1.0 - expected))
    independence = _independence(misses)
    both = unconditional + independence
    return CoverageTest(
        expected=expected,
        observed=1.0 - n1 / n,
        windows=n,
        unconditional=unconditional,
        independence=independence,
        conditional=both,
        p_unconditional=_tail_1(unconditional),
        p_independence=_tail_1(independence),
        p_conditional=exp(-max(both, 0.0) / 2.0),
    )


def coverage_with_error(hits: Floats, *, steps: int, spacing: int) -> CoverageEstimate:
    """Mean of hits over cutoffs, with a standard error for overlapping horizons.

    The error is that of Newey & West (1987), Bartlett weights over the neighbours a window overlaps
    with, inflated by ``n / (n - 1)``.

    Parameters
    ----------
    hits
        (n,) share of hits per cutoff (0 or 1 for one lead), in order; NaN is left out.
    steps, spacing
        Steps a window spans; sessions between neighbouring cutoffs.
    """
    known = hits[np.isfinite(hits)]
    n = len(known)
    n_eff = effective_windows(n, spacing, Horizon(steps=steps))
    if n < 3:
        value = float(known.mean()) if n else float("nan")
        return CoverageEstimate(value=value, error=float("nan"), windows=n, n_eff=n_eff)
    lags = min(-(-steps // spacing) - 1, n - 2)
    variance = long_run_variance(known, lags, "bartlett") / (n - 1)
    return CoverageEstimate(value=float(known.mean()), error=sqrt(max(variance, 0.0)), windows=n, n_eff=n_eff)


def thinned(ordinals: npt.NDArray[np.int64], steps: int) -> npt.NDArray[np.int64]:
    """Positions of cutoffs whose horizons do not overlap, the newest kept, (m,) increasing.

    Parameters
    ----------
    ordinals
        (n,) absolute session indices of the cutoffs, increasing.
    steps
        Sessions that a window spans.

    Examples
    --------
    >>> thinned(np.array([0, 5, 10, 15, 20]), 10)
    array([0, 2, 4])
    """
    kept: list[int] = []
    for at in range(len(ordinals) - 1, -1, -1):
        if not kept or ordinals[kept[-1]] - ordinals[at] >= steps:
            kept.append(at)
    return np.array(kept[::-1], dtype=np.int64)


def _independence(misses: Bools) -> float:
    """Likelihood ratio of a first-order Markov chain against independence."""
    before, after = misses[:-1], misses[1:]
    n00, n01 = int((~before & ~after).sum()), int((~before & after).sum())
    n10, n11 = int((before & ~after).sum()), int((before & after).sum())
    chain = _log_likelihood(n00, n01, _share(n01, n00)) + _log_likelihood(n10, n11, _share(n11, n10))
    alone = _log_likelihood(n00 + n10, n01 + n11, _share(n01 + n11, n00 + n10))
    return 2.0 * (chain - alone)


def _log_likelihood(zeros: int, ones: int, share: float) -> float:
    """``zeros log(1 - p) + ones log p`` with 0 log 0 = 0."""
    first = zeros * float(np.log1p(-share)) if zeros else 0.0
    return first + (ones * float(np.log(share)) if ones else 0.0)


def _share(ones: int, zeros: int) -> float:
    return ones / (ones + zeros) if ones + zeros else 0.0


def _tail_1(statistic: float) -> float:
    """Upper tail of chi-squared with one degree of freedom."""
    return erfc(sqrt(max(statistic, 0.0) / 2.0))
