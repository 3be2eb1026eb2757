"""What a weekly review is made from, the same from the ledger and from metrics.jsonl.

Dates and moments are ISO text; a number that is not known is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import NamedTuple

OPEN = "9999"
"""A day after every other: outcomes without a last day."""


@dataclass(frozen=True, kw_only=True)
class HybridFact:
    """A run's hybrid, in a few numbers.

    Parameters
    ----------
    reason
        Why it could not be made; empty when it was.
    weight, doubt
        Mean over the lead grid of the weight of chronos, and of the share of the variance that is doubt
        about the models; None where not known.
    """

    reason: str
    weight: float | None
    doubt: float | None


@dataclass(frozen=True, kw_only=True)
class RunFact:
    """A published run; `started` orders runs of one as-of."""

    run_id: str
    service: str
    series: str
    started: str
    as_of: str
    cutoff: str
    horizon: int
    unit: str
    scale: str
    status: str
    reasons: tuple[str, ...]
    flags: tuple[str, ...]
    best_naive: str
    kappa: float
    width: float
    adaptive: float
    windows: int
    n_eff: float
    hindsight: bool = False
    """Made as of a past date, or again."""
    hybrid: HybridFact | None = None
    """None where none is configured."""

    @property
    def place(self) -> tuple[str, str]:
        """What orders the runs of one service and series: as-of, then the moment of the start."""
        return self.as_of, self.started


@dataclass(frozen=True, kw_only=True)
class MemberFact:
    """One member in one run."""

    run_id: str
    member: str
    state: str
    weight: float
    would_be_weight: float
    slope: float
    windows: int
    flags: tuple[str, ...]
    failure_code: str | None
    failure_reason: str | None
    wall_s: float | None
    cpu_s: float | None
    peak_mb: float | None


class PointFact(NamedTuple):
    """One lead of the lead grid of a published forecast."""

    step: int
    date: str
    point: float
    lower_80: float | None
    upper_80: float | None
    lower_95: float | None
    upper_95: float | None


class OutcomeFact(NamedTuple):
    """A matured lead of one subject of one run; `session` is that of the run's cutoff."""

    run_id: str
    subject: str
    step: int
    date: str
    session: int
    live: bool
    actual: float
    error: float
    loss: float
    pit: float
    covered_80: bool | None
    covered_95: bool | None


@dataclass(frozen=True, kw_only=True)
class EventFact:
    """An event of a run, or outside of any."""

    at: str
    run_id: str
    service: str
    series: str
    code: str
    message: str
    severity: str


@dataclass(frozen=True, kw_only=True)
class VerdictFact:
    """What a run's replays say of one subject against a naive."""

    subject: str
    reference: str
    code: str
    p_value: float | None
    windows: int
    n_eff: float


@dataclass(frozen=True, kw_only=True)
class ChangeFact:
    """How one number moved since the run before, at one lead; `parts` by name, in their order."""

    step: int
    date: str
    previous_step: int
    measure: str
    before: float
    after: float
    parts: tuple[tuple[str, float], ...]


@dataclass(frozen=True, kw_only=True)
class UncertaintyFact:
    """One part of the uncertainty at one lead."""

    step: int
    date: str
    part: str
    sd: float
    share: float


@dataclass(frozen=True, kw_only=True)
class RunDocument:
    """What is told of a run beside its rows.

    Parameters
    ----------
    verdicts
        Of its replays.
    scores
        (subject, metric) to (value, cutoffs, independent ones) of its replays.
    previous
        (run id, as-of) of the run that `changes` compare it with; empty texts without one.
    """

    verdicts: tuple[VerdictFact, ...] = ()
    scores: Mapping[tuple[str, str], tuple[float | None, int, float]] = field(default_factory=dict)
    previous: tuple[str, str] = ("", "")
    changes: tuple[ChangeFact, ...] = ()
    uncertainty: tuple[UncertaintyFact, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DecisionFact:
    """The newest decision of a person (or of the program) about a member."""

    service: str
    series: str
    member: str
    after: str
    who: str
    at: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Span:
    """Which runs are wanted.

    Parameters
    ----------
    days
        As-of dates from so many days before `until` on.
    until
        Last as-of; nothing dated later is looked at. None takes the newest on record, and every outcome.
    service, series
        Only these; None for any.
    """

    days: int
    until: str | None = None
    service: str | None = None
    series: str | None = None

    def ending(self, newest: str) -> Span:
        """The span with its end, given the newest as-of on record."""
        return replace(self, until=self.until or newest[:10])

    @property
    def since(self) -> str:
        """First as-of; empty while the end is open."""
        return str(date.fromisoformat(self.until) - timedelta(days=self.days)) if self.until else ""

    def matches(self, service: str, series: str) -> bool:
        """Whether a service and series are wanted."""
        return self.service in (None, service) and self.series in (None, series)

    def holds(self, service: str, series: str, as_of: str) -> bool:
        """Whether a run is wanted."""
        return self.matches(service, series) and self.since <= as_of[:10] <= (self.until or "")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything on record in a span.

    Parameters
    ----------
    runs
        All revisions, by service, series, as-of and start.
    members, points
        By run; points of the ensemble, in the order of their steps.
    outcomes
        Newest revision of each.
    documents
        Of the newest run of each service and series at least.
    decisions
        Newest per member; empty where they are not on record.
    problems
        What could not be read, in words.
    """

    runs: tuple[RunFact, ...] = ()
    members: Mapping[str, tuple[MemberFact, ...]] = field(default_factory=dict)
    points: Mapping[str, tuple[PointFact, ...]] = field(default_factory=dict)
    outcomes: tuple[OutcomeFact, ...] = ()
    events: tuple[EventFact, ...] = ()
    documents: Mapping[str, RunDocument] = field(default_factory=dict)
    decisions: tuple[DecisionFact, ...] = ()
    problems: tuple[str, ...] = ()


def heads(runs: tuple[RunFact, ...]) -> dict[tuple[str, str], RunFact]:
    """The run that counts now of every (service, series): newest as-of, started last."""
    return {(run.service, run.series): run for run in sorted(runs, key=lambda run: run.place)}
