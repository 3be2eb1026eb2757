"""Lines of a review about forecasts and their scores: what was forecast, what happened, what was decided.

Dates are ISO text, a number that is not known is None, and codes are the words of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sample(StrEnum):
    """Where the forecasts behind a figure come from."""

    LIVE = "live"
    """Published before the outcome was known: the track record."""
    HINDSIGHT = "hindsight"
    """Published, but after the outcome was known: backfilled or reprocessed."""
    BACKTEST = "pseudo_out_of_sample"
    """Replayed from past cutoffs by the newest run."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A mean over cutoffs with a standard error that respects their overlap.

    Parameters
    ----------
    value, error
        None where it is not known.
    windows, n_eff
        Cutoffs behind it, and how many independent ones they are worth.
    can_be_told
        Whether that is enough for a verdict (20 independent windows, and an error).
    """

    value: float | None
    error: float | None
    windows: int
    n_eff: float
    can_be_told: bool


@dataclass(frozen=True, kw_only=True)
class StatusLine:
    """How one service stands, by as-of dates against its cadence.

    Parameters
    ----------
    service, series
        Its name and its target's; the target is empty where it could not be read.
    health
        fresh, degraded, blocked, missed or unknown; only fresh may be green.
    as_of, expected
        As-of of the newest forecast, and the one that the last due moment asks for; empty without one.
    due
        That moment, on the service's clock.
    reason
        Why it is not plainly fresh, as recorded.
    """

    service: str
    series: str
    health: str
    as_of: str = ""
    expected: str = ""
    due: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Point:
    """One lead of a forecast in the unit, with what happened.

    Parameters
    ----------
    actual
        None while its date has not come, or where the date has no observed value.
    covered_80, covered_95
        Whether the interval held it; None where that is not known.
    """

    step: int
    date: str
    point: float
    lower_80: float | None
    upper_80: float | None
    lower_95: float | None
    upper_95: float | None
    actual: float | None
    covered_80: bool | None
    covered_95: bool | None


@dataclass(frozen=True, kw_only=True)
class ForecastPath:
    """A published forecast over the lead grid.

    Parameters
    ----------
    as_of, cutoff, last_date
        Date it speaks of, last observation it has seen, date of step H.
    status, reasons, flags
        What became of it: published, degraded; why; and codes a reader must know.
    sample
        ``hindsight`` where step H was known when it was published, else ``live``.
    points
        The lead grid in order, closed by step H.
    """

    run_id: str
    as_of: str
    cutoff: str
    last_date: str
    status: str
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    sample: Sample
    points: tuple[Point, ...]


@dataclass(frozen=True, kw_only=True)
class Actual:
    """An observed value, in the unit."""

    date: str
    value: float


@dataclass(frozen=True, kw_only=True)
class PitBin:
    """One tenth of the predictive distribution.

    Parameters
    ----------
    low, high
        Its ends.
    share, error
        Share of outcomes that fell into it, and the standard error of that; a calibrated forecast has
        ``high - low``.
    """

    low: float
    high: float
    share: float
    error: float | None


@dataclass(frozen=True, kw_only=True)
class ScoreLine:
    """One subject against the naive of the same cutoffs.

    Parameters
    ----------
    subject, reference
        ``ensemble`` or a member, and the naive. ``best_naive`` stands for the best naive of each run.
    sample
        Lines of different samples are never compared.
    state, weight
        Rollout state and weight in the newest run; empty and None for the ensemble.
    leads
        First and last of the steps that the figures are means over; each cutoff counts once.
    skill
        1 - loss / loss of the naive, quantile loss in the unit.
    verdict
        better, no_different, worse or cannot_be_told.
    p_value
        Of the Diebold-Mariano test behind it; None where it cannot be computed.
    windows, n_eff
        Cutoffs compared, and how many independent ones they are worth.
    bias
        Mean of point forecast minus actual, in the unit.
    coverage_80, coverage_95
        Share of outcomes inside the interval.
    pit
        Ten bins; empty where nothing is known.
    recent, earlier
        Loss over the naive's in the last half year and before, on the leads that both have.
    """

    subject: str
    reference: str
    sample: Sample
    state: str
    weight: float | None
    leads: tuple[int, int]
    skill: Figure
    verdict: str
    p_value: float | None
    windows: int
    n_eff: float
    bias: Figure
    coverage_80: Figure
    coverage_95: Figure
    pit: tuple[PitBin, ...] = ()
    recent: float | None = None
    earlier: float | None = None


@dataclass(frozen=True, kw_only=True)
class MemberShare:
    """One member in one run: its weight, what it would carry if on, and its slope in the median."""

    member: str
    state: str
    weight: float
    would_be_weight: float
    slope: float


@dataclass(frozen=True, kw_only=True)
class HybridPoint:
    """The hybrid of chronos and autoformer in one run.

    Parameters
    ----------
    state
        Rollout state of the member; empty where it did not run as one.
    reason
        Why it could not be made, as recorded; empty when it was.
    weight, doubt
        Mean weight of chronos over the leads, and mean share of the variance that is doubt about
        parameters; None where not known.
    """

    state: str
    reason: str
    weight: float | None
    doubt: float | None


@dataclass(frozen=True, kw_only=True)
class DecisionPoint:
    """The decision of one run; a series of them shows weights and factors over time.

    Parameters
    ----------
    kappa
        Skill factor: 0 ships the naive's median, 1 the members'.
    width, adaptive
        Pooled width factor, and the factor beside it from live outcomes.
    windows, n_eff
        Cutoffs of the slice, and how many independent ones they are worth.
    hybrid
        None where none is configured.
    """

    run_id: str
    as_of: str
    status: str
    best_naive: str
    kappa: float
    width: float
    adaptive: float
    windows: int
    n_eff: float
    members: tuple[MemberShare, ...]
    hybrid: HybridPoint | None = None


@dataclass(frozen=True, kw_only=True)
class UncertaintyPart:
    """Part of the predictive variance at one lead of the newest run.

    Parameters
    ----------
    part
        Code of the part, in the order to be shown.
    sd
        Its standard deviation, in the unit; parts add up in variance.
    share
        Of the variance, 0 to 1.
    """

    step: int
    date: str
    part: str
    sd: float
    share: float
