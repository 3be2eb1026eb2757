"""What a weekly review says, as plain data: no text for people, no number that is not known.

Renderers (terminal, JSON, HTML) show it; `horizoncast.report.review.build` makes it. Dates and moments are
ISO text, a number that is not known is None, and codes are the words of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

REVIEW_SCHEMA = 1
"""Version of the JSON form; raised when a field is removed or changes its meaning."""


class Sample(StrEnum):
    """Where the forecasts behind a figure come from."""

    LIVE = "live"
    """Published before the outcome was known: the track record."""
    HINDSIGHT = "hindsight"
    """Published, but after the outcome was known: backfilled or reprocessed."""
    BACKTEST = "pseudo_out_of_sample"
    """Replayed from past cutoffs by the newest run."""


class Part(StrEnum):
    """Parts of a change, in the order in which ingredients are replaced (docs/methods.md)."""

    DATA = "data"
    MEMBERS = "members"
    WEIGHTS = "weights"
    SKILL = "skill"
    WIDTH = "width"


class Measure(StrEnum):
    """What of a forecast a change is told of."""

    MEDIAN = "median"
    HALF_WIDTH_80 = "half_width_80"


class Trouble(StrEnum):
    """What kept a member, or the ensemble, from its usual answer."""

    FAILURE = "failure"
    """It was asked and gave no forecast."""
    SKIPPED = "skipped"
    """It was not started: no memory, not installed."""
    FALLBACK = "fallback"
    """Something simpler stood in."""
    FLAG = "flag"
    """It answered, with something a reader must know."""


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
        ``live`` or ``hindsight``, by whether step H was still open when it was published.
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
        Steps that the figures are means over; each cutoff counts once.
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
    leads: tuple[int, ...]
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


@dataclass(frozen=True, kw_only=True)
class CriterionLine:
    """One rollout criterion held against the evidence.

    Parameters
    ----------
    criterion
        Its name in the settings (`[rollout]`), as ``skill``.
    answer
        met, not_met or cannot_be_told.
    value, error
        What was measured; None when nothing was.
    low, high
        Bounds that it must keep; None where there is none on that side.
    behind, needed
        Runs or independent windows behind it, and how many are asked for; None where any will do.
    """

    criterion: str
    answer: str
    value: float | None
    error: float | None
    low: float | None
    high: float | None
    behind: float | None
    needed: float | None


@dataclass(frozen=True, kw_only=True)
class RolloutLine:
    """One member that has a rollout state.

    Parameters
    ----------
    state
        off, shadow or on.
    source
        Who or what set it, as recorded; empty where that is not known.
    answer
        All criteria together: met, not_met or cannot_be_told.
    promote, rollback
        The exact command that takes it one step up or down; empty where there is no such step.
    """

    member: str
    state: str
    source: str
    answer: str
    criteria: tuple[CriterionLine, ...]
    promote: str
    rollback: str


@dataclass(frozen=True, kw_only=True)
class LeadChange:
    """How one number moved since the forecast before, at one lead; the parts add up to ``after - before``.

    Parameters
    ----------
    step, date
        Lead in the new forecast, and its date.
    previous_step
        Lead of the same date in the forecast before.
    measure
        Median, or half-width of the 80 % interval.
    before, after
        In the unit.
    parts
        Data, members, weights, skill, width, always in this order.
    """

    step: int
    date: str
    previous_step: int
    measure: Measure
    before: float
    after: float
    parts: tuple[tuple[Part, float], ...]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What changed in the newest forecast since the one before, and why.

    Parameters
    ----------
    run_id, as_of
        The newest run.
    previous_run_id, previous_as_of
        The one it is compared with; empty when there is none.
    leads
        Per lead and measure; empty when the two cannot be compared.
    """

    run_id: str
    as_of: str
    previous_run_id: str
    previous_as_of: str
    leads: tuple[LeadChange, ...]


@dataclass(frozen=True, kw_only=True)
class EventLine:
    """Something on record: code, message as recorded, severity (info, warning, error)."""

    at: str
    run_id: str
    code: str
    severity: str
    message: str


@dataclass(frozen=True, kw_only=True)
class TroubleLine:
    """A failure, a skipped member, a fallback or a flag in one run of the review's weeks.

    Parameters
    ----------
    subject
        A member, or ``ensemble``.
    kind, code
        Which of the four, and the stable code: class of the error, or the flag.
    reason
        As recorded; empty for a flag.
    """

    run_id: str
    as_of: str
    subject: str
    kind: Trouble
    code: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """What one member cost in one run; None when everything came from the cache."""

    as_of: str
    run_id: str
    member: str
    seconds: float | None
    cpu_s: float | None
    peak_mb: float | None


@dataclass(frozen=True, kw_only=True)
class ServiceReview:
    """One service on one series.

    Parameters
    ----------
    runs
        Runs published with an as-of in the review's weeks.
    latest
        The newest forecast; None where there is none.
    matured
        Forecasts whose step H came in the review's weeks, oldest first; without any the newest matured
        one; empty while none has.
    actuals
        Observed values, oldest first, from the first cutoff of `matured` (of `latest` without one) on.
    scores
        The ensemble first, then members; live, hindsight and backtest are different samples.
    decisions
        Oldest first, over the last year.
    uncertainty
        Of the newest run; empty where nothing was recorded.
    rollout, change
        Criteria of members, and what changed since the last forecast; None before the first run.
    data, drift
        Problems and corrections of the data, and drift alarms, of the review's weeks.
    troubles, events
        What went wrong, and all other events, of the review's weeks.
    costs
        Oldest first, over the last year.
    """

    service: str
    series: str
    unit: str
    scale: str
    horizon: int
    runs: int
    latest: ForecastPath | None
    matured: tuple[ForecastPath, ...]
    actuals: tuple[Actual, ...]
    scores: tuple[ScoreLine, ...]
    decisions: tuple[DecisionPoint, ...]
    uncertainty: tuple[UncertaintyPart, ...]
    rollout: tuple[RolloutLine, ...]
    change: Change | None
    data: tuple[EventLine, ...]
    drift: tuple[EventLine, ...]
    troubles: tuple[TroubleLine, ...]
    events: tuple[EventLine, ...]
    costs: tuple[CostPoint, ...]


@dataclass(frozen=True, kw_only=True)
class Review:
    """A weekly review.

    Parameters
    ----------
    made
        Moment it was made, UTC text.
    since, until
        First and last as-of of its weeks; nothing dated after `until` is in it.
    weeks
        Their number.
    source
        ``ledger``, or the name of the metrics file.
    status
        One line per service.
    services
        One entry per service and series that anything is on record of.
    problems
        What could not be read, in words: torn lines and the like.
    """

    made: str
    since: str
    until: str
    weeks: int
    source: str
    status: tuple[StatusLine, ...]
    services: tuple[ServiceReview, ...]
    problems: tuple[str, ...] = ()
    schema: int = REVIEW_SCHEMA
