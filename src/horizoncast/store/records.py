"""What a run leaves behind, as records that files and the log are written from.

Letters in shapes: K subjects, W cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.errors import StoreError
from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.metrics import Score
from horizoncast.policy.states import MemberState
from horizoncast.resources import Usage
from horizoncast.store.hybrid_record import HybridRecord
from horizoncast.store.plain import Json

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberRecord:
    """One member in one run.

    Parameters
    ----------
    name, state
        The member and its rollout state.
    live
        Its forecast at the live cutoff, or the failure in its place.
    weight, decided_weight, would_be_weight
        The share it really had, the share the decision gave it, the share it would carry if on.
    slope
        How far the published median follows it away from the best naive.
    rmse, relative, windows
        Basis of the weight on the slice, in the scale and relative to the best naive; NaN if dropped.
    reason
        Why it carries no weight, empty when it does.
    asked, answered, cached
        Cutoffs asked for (the live one included), answered, and taken from the cache.
    usage
        Cost of its process; None when nothing was computed or it died.
    problems
        Failures of the member as a whole.
    """

    name: str
    state: MemberState
    live: Forecast | Failure
    weight: float
    decided_weight: float
    would_be_weight: float
    slope: float
    rmse: float
    relative: float
    windows: int
    reason: str
    asked: int
    answered: int
    cached: int
    usage: Usage | None
    problems: tuple[Failure, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """The dozen numbers of a decision, and the rules it followed (see methods.md 2-7)."""

    rule: str
    combination: str
    trim: float
    cap: float
    newest: int
    shrink: bool
    calibrate: bool
    prior: float | None
    best_naive: str
    kappa: float
    width: float
    windows: int
    n_eff: float
    first_cutoff: np.datetime64 | None
    last_cutoff: np.datetime64 | None
    adaptive: float = 1.0
    flags: tuple[Flag, ...] = ()
    hybrid: HybridRecord | None = None
    """None where no hybrid is configured."""


@dataclass(frozen=True, kw_only=True)
class VerdictRecord:
    """A comparison of one subject with a reference, and what may be said of it."""

    subject: str
    reference: str
    code: str
    statistic: float
    p_value: float
    windows: int
    n_eff: float
    text: str


@dataclass(frozen=True, kw_only=True)
class ChangeRecord:
    """How one number of the forecast moved since the run before, in parts that add up.

    Parameters
    ----------
    step, date
        Lead, and its date (ISO text).
    previous_step
        Lead of the same date in the run before.
    measure
        ``median`` or ``half_width_80``, as `before` and `after` are, in the unit.
    data, members, weights, skill, width
        Parts of ``after - before``; see `horizoncast.ensemble.change`.
    """

    step: int
    date: str
    previous_step: int
    measure: str
    before: float
    after: float
    data: float
    members: float
    weights: float
    skill: float
    width: float


@dataclass(frozen=True, kw_only=True)
class SinceBefore:
    """What changed since the run before: which one it was, and one record per lead and measure."""

    run_id: str
    as_of: str
    changes: tuple[ChangeRecord, ...]


@dataclass(frozen=True, kw_only=True)
class UncertaintyRecord:
    """One part of the uncertainty at one lead; see `horizoncast.ensemble.parts`."""

    step: int
    date: str
    part: str
    sd: float
    share: float


@dataclass(frozen=True, kw_only=True)
class EventRecord:
    """Something a reader of the log should know: `severity` is info, warning or error."""

    code: str
    message: str
    severity: str


@dataclass(frozen=True, kw_only=True)
class EmbeddingRecord:
    """How unlike its history the newest window is; see `horizoncast.policy.novelty`.

    Parameters
    ----------
    source
        Name of the checkpoint whose encoder compared them.
    distance
        Mean cosine distance to the nearest windows of the older history.
    percentile
        Share of ordinary windows that lie nearer.
    windows, years
        Ordinary windows, and the years they are from.
    """

    source: str
    distance: float
    percentile: float
    windows: int
    years: int


@dataclass(frozen=True, kw_only=True, eq=False)
class ValidationTable:
    """Pseudo out-of-sample forecasts with what then happened, in the unit.

    Parameters
    ----------
    series, unit
        What the numbers are.
    subjects
        K names: members, and ``ensemble`` for decisions replayed with slices of their own.
    cutoffs, dates
        (W,) and (W, H).
    levels
        Q quantile levels.
    actuals
        (W, H), NaN where unknown.
    quantiles
        (K, W, H, Q), NaN where a subject has no forecast.
    asked
        (K, W) False where the subject was not asked: such rows are not written.
    scored
        (W,) True where the cutoff is one that the scores are computed on.
    """

    series: str
    unit: str
    subjects: tuple[str, ...]
    cutoffs: Dates
    dates: Dates
    levels: tuple[float, ...]
    actuals: Floats
    quantiles: Floats
    asked: Bools
    scored: Bools

    def __post_init__(self) -> None:
        k, w, h, q = len(self.subjects), len(self.cutoffs), self.dates.shape[-1], len(self.levels)
        shapes = {
            "dates": (self.dates, (w, h)),
            "actuals": (self.actuals, (w, h)),
            "quantiles": (self.quantiles, (k, w, h, q)),
            "asked": (self.asked, (k, w)),
            "scored": (self.scored, (w,)),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise StoreError(f"validation table: shape of {name}", value=array.shape, allowed=str(shape))


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Where the numbers come from.

    Parameters
    ----------
    config, config_hash
        All settings of the run as plain JSON, and their digest.
    target, data_report
        Definition of the target and what its checks found, as plain JSON.
    data_hash
        Digest of everything visible at the cutoff.
    versions
        Package versions, `horizoncast` among them.
    python, machine
        Version of Python; processor and system: the machine type that bytes are compared on.
    seeds
        The rule that random numbers are seeded by.
    git_commit
        Commit of the checkout, None when installed from a package.
    """

    config: Json
    config_hash: str
    target: Json
    data_report: Json
    data_hash: str
    versions: Mapping[str, str]
    python: str
    machine: str
    seeds: str
    git_commit: str | None


class Origin(StrEnum):
    """What a run was made for.

    ``live``: from all data there were, at its moment; ``backfill``: as of a past date, in hindsight;
    ``reprocess``: another revision of an as-of that was published already.
    """

    LIVE = "live"
    BACKFILL = "backfill"
    REPROCESS = "reprocess"


@dataclass(frozen=True, kw_only=True, eq=False)
class RunRecord:
    """A run: everything its folder and its log records are written from.

    Parameters
    ----------
    run_id, service
        Names; see `horizoncast.store.results.make_run_id`.
    forecast
        The published forecast.
    scale, scale_reason
        Where the series is modelled, and why.
    as_of
        Date the run speaks of.
    started, duration_s
        Moment (with time zone) and seconds on the clock.
    status, reasons
        Published, degraded or blocked, and why.
    timings
        Seconds by part of the run.
    since
        What changed since the run before; None where there is none to compare with.
    uncertainty
        Parts of the uncertainty, per lead of the lead grid.
    origin, due
        Live or backfill (the ledger alone knows of other revisions), and the due moment it was made for;
        None when a person asked for it.
    embedding
        The drift figure; None where it is not known.
    """

    run_id: str
    service: str
    forecast: Forecast
    scale: str
    scale_reason: str
    as_of: np.datetime64
    started: datetime
    duration_s: float
    status: str
    reasons: tuple[str, ...]
    decision: DecisionRecord
    members: tuple[MemberRecord, ...]
    scores: tuple[Score, ...]
    verdicts: tuple[VerdictRecord, ...]
    validation: ValidationTable
    provenance: Provenance
    events: tuple[EventRecord, ...] = ()
    timings: Mapping[str, float] = field(default_factory=dict)
    since: SinceBefore | None = None
    uncertainty: tuple[UncertaintyRecord, ...] = ()
    origin: Origin = Origin.LIVE
    due: datetime | None = None
    embedding: EmbeddingRecord | None = None

    @property
    def version(self) -> str:
        """Version of horizoncast that made it."""
        return self.provenance.versions.get("horizoncast", "unknown")
