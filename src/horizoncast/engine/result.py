"""What a run of the engine returns: the forecast with everything it was derived from."""

from __future__ import annotations

from dataclasses import dataclass

from horizoncast.bank import Bank
from horizoncast.engine.settings import EngineConfig
from horizoncast.ensemble.gate import Status
from horizoncast.ensemble.records import Decision
from horizoncast.ensemble.replay import Replay
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import Horizon
from horizoncast.metrics import Score
from horizoncast.policy.states import MemberState
from horizoncast.resources import Usage
from horizoncast.series import Series
from horizoncast.validation.significance import Verdict
from horizoncast.validation.splitter import CutoffPlan

ENSEMBLE = "ensemble"


@dataclass(frozen=True, kw_only=True, eq=False)
class MemberOutcome:
    """What became of one member in one run.

    Parameters
    ----------
    name, state
        The member.
    live
        Its forecast at the live cutoff, or the failure in its place.
    weight
        The share it really had in the published forecast.
    asked, answered, cached
        Cutoffs asked for (the live one included), answered, and taken from the cache.
    usage
        Seconds and memory of its process; None when all rows were cached or it died.
    problems
        Failures of the member as a whole.
    """

    name: str
    state: MemberState
    live: Forecast | Failure
    weight: float
    asked: int
    answered: int
    cached: int
    usage: Usage | None
    problems: tuple[Failure, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class EngineResult:
    """A run: the calibrated forecast with everything it was derived from.

    Parameters
    ----------
    series, horizon
        What was forecast.
    forecast
        The published quantiles, in the unit.
    status, status_reasons
        Published, or published degraded, and why.
    decision
        Weights, skill factor, width factor.
    members
        Every member's outcome.
    bank
        The validation bank, matured cutoffs only, in the scale.
    plan
        Its cutoffs.
    replay
        Decisions at earlier cutoffs; what the ensemble is scored on.
    scores
        Scores of members and ensemble over the replayed cutoffs, in the unit.
    verdicts
        Each subject against the best naive.
    """

    series: Series
    horizon: Horizon
    forecast: Forecast
    status: Status
    status_reasons: tuple[str, ...]
    decision: Decision
    members: tuple[MemberOutcome, ...]
    bank: Bank
    plan: CutoffPlan
    replay: Replay
    scores: tuple[Score, ...]
    verdicts: tuple[Verdict, ...]
    config: EngineConfig
    wall_s: float

    def score(self, subject: str, metric: str) -> float:
        """One score's value; NaN when it is not yet known."""
        found = (s.value for s in self.scores if s.subject == subject and s.metric == metric)
        return next(found, float("nan"))
