"""Scores of published forecasts once their dates have come: by date, lead by lead, against the naive.

An outcome is looked up by the forecast's own date: a day that is no session has none, and is never given
the value of the day before. Subjects are compared with the naive on the same (cutoff, lead) cells, and
periods on the leads that both of them have, because recent cutoffs have matured at short leads only.

Letters in shapes: n leads, W cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.errors import BankError
from horizoncast.horizon import DECILES, Horizon, effective_windows
from horizoncast.metrics import pinball
from horizoncast.series import Series
from horizoncast.validation.coverage import CoverageEstimate, coverage_with_error
from horizoncast.validation.significance import MIN_EFFECTIVE, long_run_variance

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

PIT_BINS = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class LeadScores:
    """Scores of n leads, in the unit; NaN where the date has no observed value.

    Parameters
    ----------
    actual, error
        (n,) what happened, and the point forecast minus it.
    loss
        (n,) twice the pinball loss, averaged over the nine deciles.
    pit
        (n,) predictive distribution at the actual, in [0, 1].
    covered_80, covered_95
        (n,) 1 inside the prediction interval, 0 outside; NaN where the levels lack it.
    """

    actual: Floats
    error: Floats
    loss: Floats
    pit: Floats
    covered_80: Floats
    covered_95: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveTable:
    """One subject's scores beside those of the naive of the same cutoff, NaN where not matured.

    Parameters
    ----------
    subject
        Member or ensemble.
    cutoffs, ordinals
        (W,) increasing, and their absolute session indices.
    matured
        (W,) True where the date of step H has come.
    error, loss, pit, covered_80, covered_95
        (W, H) as in `LeadScores`.
    scaled_error
        (W, H) error in the series' scale.
    naive_loss, naive_scaled_error
        (W, H) of the naive at the same cutoff and lead.
    """

    subject: str
    cutoffs: Dates
    ordinals: npt.NDArray[np.int64]
    matured: Bools
    error: Floats
    scaled_error: Floats
    loss: Floats
    pit: Floats
    covered_80: Floats
    covered_95: Floats
    naive_loss: Floats
    naive_scaled_error: Floats

    @property
    def steps(self) -> int:
        """H."""
        return int(self.error.shape[1])

    @property
    def spacing(self) -> int:
        """Usual number of sessions between neighbouring cutoffs, at least 1."""
        gaps = np.diff(self.ordinals)
        return max(1, int(np.median(gaps))) if len(gaps) else 1


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over cutoffs with a standard error that respects their overlap."""

    value: float
    error: float
    windows: int
    n_eff: float

    @property
    def can_be_told(self) -> bool:
        """Whether there are enough independent windows for a verdict."""
        return self.n_eff >= MIN_EFFECTIVE and bool(np.isfinite(self.error))


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a subject has done live.

    Parameters
    ----------
    subject
        Member or ensemble.
    leads
        First and last step the figures are over.
    skill
        ``1 - loss / loss of the naive`` on the same cells, quantile loss in the unit.
    skill_rmse
        The same for path RMSE in the scale.
    bias
        Mean of point forecast minus actual, in the unit.
    coverage_80, coverage_95
        Share of outcomes inside the interval.
    pit
        Share of outcomes in each tenth of the predictive distribution.
    """

    subject: str
    leads: tuple[int, int]
    skill: Estimate
    skill_rmse: float
    bias: Estimate
    coverage_80: CoverageEstimate
    coverage_95: CoverageEstimate
    pit: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class PeriodComparison:
    """Mean loss relative to the naive's in two periods, over the leads that both have.

    Parameters
    ----------
    recent, earlier
        Ratio of losses; NaN where no lead is common.
    leads
        Steps that both periods have.
    """

    recent: float
    earlier: float
    leads: tuple[int, ...]


def score_leads(series: Series, dates: Dates, levels: Sequence[float], quantiles: Floats) -> LeadScores:
    """Score published quantiles against the observed values of their own dates.

    Parameters
    ----------
    series
        As it is now: unit and observations.
    dates
        (n,) of the leads; a date that is no session, was filled or has not come gives NaN.
    levels, quantiles
        Q levels with the median and the deciles among them, and (n, Q) in the unit.

    Raises
    ------
    BankError
        When the levels lack the deciles.
    """
    if not set(DECILES) <= set(levels):
        raise BankError("live scores need the deciles", value=tuple(levels), allowed=str(DECILES))
    if not len(dates):
        none = np.empty(0)
        return LeadScores(actual=none, error=none, loss=none, pit=none, covered_80=none, covered_95=none)
    actual = series.actuals(dates.min() - np.timedelta64(1, "s"), dates)
    at = [list(levels).index(level) for level in DECILES]
    return LeadScores(
        actual=actual,
        error=quantiles[:, list(levels).index(0.5)] - actual,
        loss=2.0 * pinball(actual, quantiles[:, at], DECILES).mean(axis=1),
        pit=probability_of(actual, levels, quantiles),
        covered_80=_covered(actual, levels, quantiles, 0.8),
        covered_95=_covered(actual, levels, quantiles, 0.95),
    )


def probability_of(actual: Floats, levels: Sequence[float], quantiles: Floats) -> Floats:
    """Predictive distribution at the actual: PIT of Dawid (1984), (n,) in [0, 1].

    Linear between quantiles in probit space, continued beyond the outermost pair; where neighbouring
    quantiles coincide with the actual, the middle of the levels they span.

    Parameters
    ----------
    actual, levels, quantiles
        (n,), Q and (n, Q).

    Examples
    --------
    >>> probability_of(np.array([2.0, 0.0]), [0.1, 0.5, 0.9], np.array([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0]]))
    array([0.5, 0.5])
    """
    from scipy.special import ndtr, ndtri

    z = ndtri(np.asarray(levels, dtype=np.float64))
    out = np.full(len(actual), np.nan)
    for i, (y, q) in enumerate(zip(actual, quantiles, strict=True)):
        if not np.isfinite(y) or not np.isfinite(q).all():
            continue
        same = np.flatnonzero(q == y)
        if len(same):
            out[i] = ndtr((z[same[0]] + z[same[-1]]) / 2.0)
            continue
        right = int(np.searchsorted(q, y))
        low = min(max(right - 1, 0), len(q) - 2)
        width = q[low + 1] - q[low]
        share = (y - q[low]) / width if width > 0 else (np.inf if y > q[low] else -np.inf)
        out[i] = ndtr(z[low] + share * (z[low + 1] - z[low]))
    return out


def running(table: LiveTable) -> list[Running]:
    """Figures over fully matured cutoffs, then lead by lead over the lead grid.

    The first entry is over all steps of cutoffs whose step H has come: a cutoff that has matured at
    short leads only would make the present look better than the past.
    """
    everything = headline(table)
    grid = Horizon(steps=table.steps).lead_grid
    anyone = np.ones(len(table.cutoffs), dtype=np.bool_)
    return [everything, *(_figures(table, slice(h - 1, h), anyone) for h in grid if table.steps > 1)]


def headline(table: LiveTable) -> Running:
    """Figures over all steps of fully matured cutoffs."""
    return _figures(table, slice(None), table.matured)


def per_cutoff(cells: Floats) -> Floats:
    """(W, H) to (W,): mean over the known leads of each cutoff; NaN where there is none."""
    known = np.isfinite(cells)
    count = known.sum(axis=1)
    total = np.where(known, cells, 0.0).sum(axis=1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def compare_periods(table: LiveTable, since: np.datetime64, *, least: int = 3) -> PeriodComparison:
    """Loss relative to the naive's before and since a date, over leads with `least` cutoffs in both.

    Each lead counts alike in both periods: the mean over leads of the ratio of losses.
    """
    ratio: list[tuple[float, float]] = []
    leads: list[int] = []
    recent = table.cutoffs >= since
    known = np.isfinite(table.loss) & np.isfinite(table.naive_loss)
    for h in range(table.steps):
        new, old = known[:, h] & recent, known[:, h] & ~recent
        if new.sum() >= least and old.sum() >= least:
            ratio.append((_ratio(table, new, h), _ratio(table, old, h)))
            leads.append(h + 1)
    if not leads:
        return PeriodComparison(recent=float("nan"), earlier=float("nan"), leads=())
    new_mean, old_mean = np.mean(ratio, axis=0)
    return PeriodComparison(recent=float(new_mean), earlier=float(old_mean), leads=tuple(leads))


def mean_with_error(values: Floats, *, steps: int, spacing: int) -> Estimate:
    """Mean of one value per cutoff, with the error of Newey & West (1987) over overlapping windows."""
    found = coverage_with_error(values, steps=steps, spacing=spacing)
    return Estimate(value=found.value, error=found.error, windows=found.windows, n_eff=found.n_eff)


def skill_with_error(loss: Floats, reference: Floats, *, steps: int, spacing: int) -> Estimate:
    """``1 - sum(loss) / sum(reference)`` over cutoffs, with its error by linearisation.

    The error of a ratio r of means is that of ``mean(loss - r reference) / mean(reference)``
    (Cochran 1977, section 6.4), here with autocovariances of overlapping windows.

    Parameters
    ----------
    loss, reference
        (W,) on the same cutoffs in order; a cutoff where either is NaN is left out.
    """
    both = np.isfinite(loss) & np.isfinite(reference)
    a, b = loss[both], reference[both]
    n, nan = len(a), float("nan")
    n_eff = effective_windows(n, spacing, Horizon(steps=steps))
    if not n or not b.sum() > 0:
        return Estimate(value=nan, error=nan, windows=n, n_eff=n_eff)
    ratio = float(a.sum() / b.sum())
    if n < 3:
        return Estimate(value=1.0 - ratio, error=nan, windows=n, n_eff=n_eff)
    lags = min(-(-steps // spacing) - 1, n - 2)
    variance = long_run_variance((a - ratio * b) / b.mean(), lags, "bartlett") / (n - 1)
    return Estimate(value=1.0 - ratio, error=float(np.sqrt(max(variance, 0.0))), windows=n, n_eff=n_eff)


def _figures(table: LiveTable, leads: slice, rows: Bools) -> Running:
    """Figures over some leads and cutoffs, each cutoff counting once."""
    first, last, _ = leads.indices(table.steps)
    span, spacing = last, table.spacing  # a window reaches from its cutoff to its last lead
    paired = np.isfinite(table.loss) & np.isfinite(table.naive_loss) & rows[:, None]
    loss, naive = (np.where(paired, x, np.nan)[:, leads] for x in (table.loss, table.naive_loss))
    root = np.sqrt(np.arange(first + 1, last + 1))
    error, base = (x[:, leads] / root for x in (table.scaled_error, table.naive_scaled_error))
    known = rows[:, None] & np.isfinite(error) & np.isfinite(base)
    mine, theirs = float((error[known] ** 2).sum()), float((base[known] ** 2).sum())
    pit = table.pit[rows][:, leads]
    counts = np.histogram(pit[np.isfinite(pit)], bins=PIT_BINS, range=(0.0, 1.0))[0]
    per = {name: per_cutoff(getattr(table, name)[rows][:, leads]) for name in ("covered_80", "covered_95")}
    return Running(
        subject=table.subject,
        leads=(first + 1, last),
        skill=skill_with_error(per_cutoff(loss), per_cutoff(naive), steps=span, spacing=spacing),
        skill_rmse=1.0 - float(np.sqrt(mine / theirs)) if theirs > 0 else float("nan"),
        bias=mean_with_error(per_cutoff(table.error[rows][:, leads]), steps=span, spacing=spacing),
        coverage_80=coverage_with_error(per["covered_80"], steps=span, spacing=spacing),
        coverage_95=coverage_with_error(per["covered_95"], steps=span, spacing=spacing),
        pit=tuple(float(c) for c in counts / max(1, counts.sum())),
    )


def _ratio(table: LiveTable, rows: Bools, h: int) -> float:
    base = float(table.naive_loss[rows, h].sum())
    return float(table.loss[rows, h].sum()) / base if base > 0 else float("nan")


def _covered(actual: Floats, levels: Sequence[float], quantiles: Floats, share: float) -> Floats:
    tail = round((1.0 - share) / 2.0, 6)
    ends = (tail, round(1.0 - tail, 6))
    if not set(ends) <= set(levels):
        return np.full(len(actual), np.nan)
    low, high = (quantiles[:, list(levels).index(end)] for end in ends)
    inside = ((actual >= low) & (actual <= high)).astype(np.float64)
    return np.where(np.isfinite(actual), inside, np.nan)
