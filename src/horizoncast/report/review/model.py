"""What a weekly review says, as plain data: no text for people, no number that is not known.

Renderers (terminal, JSON, HTML) show it; `horizoncast.report.review.build` makes it. Dates and moments are
ISO text, a number that is not known is None, and codes are the words of the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from horizoncast.report.review.lines import (
    Actual,
    DecisionPoint,
    Figure,
    ForecastPath,
    HybridPoint,
    MemberShare,
    PitBin,
    Point,
    Sample,
    ScoreLine,
    StatusLine,
    UncertaintyPart,
)

__all__ = [
    "REVIEW_SCHEMA",
    "Actual",
    "Change",
    "CostPoint",
    "CriterionLine",
    "DecisionPoint",
    "EventLine",
    "Figure",
    "ForecastPath",
    "HybridPoint",
    "LeadChange",
    "Measure",
    "MemberShare",
    "Part",
    "PitBin",
    "Point",
    "Review",
    "RolloutLine",
    "Sample",
    "ScoreLine",
    "ServiceReview",
    "StatusLine",
    "Trouble",
    "TroubleLine",
    "UncertaintyPart",
]

REVIEW_SCHEMA = 1
"""Version of the JSON form; raised when a field is removed or changes its meaning."""


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
        Forecasts whose step H came in the review's weeks, oldest first, the newest twelve of them; without
        any the newest matured one; empty while none has.
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
        First and last day of its weeks, by as-of date: `until` is the newest as-of on record unless
        another day was asked for. Empty where nothing is on record.
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
