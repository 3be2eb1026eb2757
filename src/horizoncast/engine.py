"""ForecastEngine: Series -> members -> Bank -> decision -> Forecast.

The public way in from Python::

    engine = ForecastEngine(EngineConfig())
    result = engine.forecast(series, "30d")
    result.forecast.interval(0.8)
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank, build_bank
from horizoncast.ensemble.decision import (
    Combined,
    Decision,
    DecisionConfig,
    Replay,
    apply,
    decide,
    replay,
)
from horizoncast.ensemble.gate import Status, implausible
from horizoncast.errors import ConfigError, NotInstalledError, PublicationError, UnknownNameError
from horizoncast.forecast import Failure, Flag, Forecast, ModelIdentity
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.metrics import Sample, Score
from horizoncast.models.base import MemberConfig
from horizoncast.models.child import Task
from horizoncast.models.registry import MEMBERS, NAIVES, PLANNED, make_config
from horizoncast.policy.states import MemberState
from horizoncast.resources import Usage
from horizoncast.series import Series
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.backtest import MemberRun, Progress, run_members
from horizoncast.validation.scoring import score_subject
from horizoncast.validation.significance import Verdict, compare
from horizoncast.validation.splitter import CutoffPlan, plan_cutoffs

Floats = npt.NDArray[np.float64]

ENSEMBLE = "ensemble"

_NEEDED_LEVELS = (0.025, *DECILES, 0.975)


@dataclass(frozen=True, kw_only=True)
class MemberSetting:
    """One member in one service.

    Parameters
    ----------
    name, state
        Registry name, and whether it is off, in shadow or on.
    config
        Its frozen settings, resolved for the horizon; None takes the member's own defaults.
    deadline_s, memory_mb
        Limits of its process.
    windows
        Cutoffs it is asked for besides the live one; None asks for all. A dear member may be asked
        for fewer, and is then scored by its ratio to the best naive; the naives answer all.
    """

    name: str
    state: MemberState = MemberState.ON
    config: MemberConfig | None = None
    deadline_s: float = 600.0
    memory_mb: int = 1500
    windows: int | None = None

    def __post_init__(self) -> None:
        if self.name not in MEMBERS and self.name not in PLANNED:
            raise UnknownNameError.of("member", self.name, [*MEMBERS, *PLANNED])
        if self.deadline_s <= 0 or self.memory_mb < 1 or (self.windows is not None and self.windows < 0):
            raise ConfigError(
                f"member {self.name}: deadline and memory must be positive, windows at least 0",
                value=(self.deadline_s, self.memory_mb, self.windows),
            )


def default_members() -> tuple[MemberSetting, ...]:
    """The naives and the classical members, all on, with their own defaults."""
    return tuple(MemberSetting(name=name) for name in MEMBERS)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Everything the engine needs to know besides the series.

    Parameters
    ----------
    service
        Name of the service; part of seeds and cache keys.
    members
        Members and their states; the naives run in any case.
    decision
        Rules of the decision.
    replays
        Decisions taken again at earlier cutoffs, to score the ensemble.
    min_train
        Sessions before the first cutoff; None derives it.
    workers
        Members that run at the same time.
    isolated
        Whether each member has a process of its own, with deadline and memory cap.
    """

    service: str = ""
    members: tuple[MemberSetting, ...] = field(default_factory=default_members)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    levels: tuple[float, ...] = LEVELS
    replays: int = 20
    min_train: int | None = None
    workers: int = 1
    isolated: bool = True

    def __post_init__(self) -> None:
        names = [m.name for m in self.members]
        if len(set(names)) != len(names):
            raise ConfigError("a member is listed twice", value=names)
        if self.replays < 0 or self.workers < 1:
            raise ConfigError("engine: replays at least 0, workers at least 1")
        if list(self.levels) != sorted({*self.levels, *_NEEDED_LEVELS}):
            raise ConfigError(
                "engine: levels must increase and hold those that scores and intervals need",
                value=self.levels,
                allowed=", ".join(str(level) for level in _NEEDED_LEVELS),
            )


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


class ForecastEngine:
    """Runs members over the past and the present and turns them into one calibrated forecast.

    Parameters
    ----------
    config
        See `EngineConfig`.
    cache
        Where bank rows are kept between runs; None computes all of them.
    """

    def __init__(self, config: EngineConfig | None = None, *, cache: BankCache | None = None) -> None:
        self.config = EngineConfig() if config is None else config
        self.cache = cache

    def forecast(
        self, series: Series, horizon: Horizon | str | int, *, progress: Progress | None = None
    ) -> EngineResult:
        """Forecast the sessions after the series' last observation.

        Parameters
        ----------
        series
            Ends at the cutoff to forecast from (`Series.truncated` for an earlier one).
        horizon
            ``Horizon``, ``"30d"`` or 30.
        progress
            Called as members answer.

        Raises
        ------
        PublicationError
            When neither the ensemble nor any naive gives a plausible forecast.
        """
        started = time.monotonic()
        span = horizon if isinstance(horizon, Horizon) else Horizon.parse(horizon)
        plan = plan_cutoffs(
            series,
            span,
            windows=self.config.decision.newest,
            replays=self.config.replays,
            min_train=self.config.min_train,
        )
        runs = self._run(series, plan, progress)
        bank, live = lay_out(series, plan, runs, self.config.levels)
        states = self._states()
        rules = self.config.decision
        decision = decide(bank.slice_at(series.last, rules.newest), states, rules)
        combined, reasons = self._gated(series, span, decision, live)
        reasons += self._absent(runs)
        replayed = replay(bank, states, rules, last=self.config.replays)
        scores, verdicts = evaluate(series, bank, replayed, decision.best_naive)
        return EngineResult(
            series=series,
            horizon=span,
            forecast=self._forecast(series, span, decision, combined),
            status=Status.DEGRADED if reasons else Status.PUBLISHED,
            status_reasons=tuple(reasons),
            decision=decision,
            members=self._outcomes(runs, combined),
            bank=bank,
            plan=plan,
            replay=replayed,
            scores=tuple(scores),
            verdicts=tuple(verdicts),
            config=self.config,
            wall_s=time.monotonic() - started,
        )

    def fill(
        self, series: Series, plan: CutoffPlan, *, progress: Progress | None = None
    ) -> tuple[Bank, Bank]:
        """Run the members over a plan: the bank of its matured cutoffs, and the live rows."""
        return lay_out(series, plan, self._run(series, plan, progress), self.config.levels)

    def _settings(self) -> list[MemberSetting]:
        """Members that run: the naives always, the others unless they are off."""
        listed = {m.name: m for m in self.config.members}
        naives = [listed.get(name, MemberSetting(name=name)) for name in NAIVES]
        others = [m for m in self.config.members if m.name not in NAIVES and m.state is not MemberState.OFF]
        return [*naives, *others]

    def _states(self) -> dict[str, MemberState]:
        return {m.name: MemberState.ON if m.name in NAIVES else m.state for m in self._settings()}

    def _run(self, series: Series, plan: CutoffPlan, progress: Progress | None) -> dict[str, MemberRun]:
        tasks = []
        for setting in self._settings():
            if setting.name == "seasonal_naive" and not series.periods:
                continue  # no season is no failure
            asked = plan.newest_first
            if setting.windows is not None and setting.name not in NAIVES:
                asked = asked[: setting.windows + 1]
            tasks.append(
                Task(
                    member=setting.name,
                    config=_resolved(setting),
                    service=self.config.service,
                    series=series,
                    cutoffs=asked,
                    horizon=plan.horizon,
                    levels=self.config.levels,
                    deadline_s=setting.deadline_s,
                    memory_mb=setting.memory_mb,
                )
            )
        runs = run_members(
            tasks,
            cache=self.cache,
            isolated=self.config.isolated,
            workers=self.config.workers,
            progress=progress,
        )
        return {**runs, **self._naives_again(tasks, runs)}

    def _naives_again(self, tasks: list[Task], runs: dict[str, MemberRun]) -> dict[str, MemberRun]:
        """Naives whose process failed, run here: every decision stands on them.

        They are a few sums over the history, and need neither a deadline nor a memory cap.
        """
        lost = [
            task
            for task in tasks
            if task.member in NAIVES and self.config.isolated and _broke(runs[task.member])
        ]
        again = run_members(lost, cache=self.cache, isolated=False, workers=1)
        return {
            name: replace(run, problems=(*runs[name].problems, *run.problems)) for name, run in again.items()
        }

    def _gated(
        self, series: Series, horizon: Horizon, decision: Decision, live: Bank
    ) -> tuple[Combined, list[str]]:
        """The combined forecast if it is plausible, else the naive's, else an error."""
        history = series.until(series.last)
        combined = apply(decision, live)
        reasons = [_FLAG_WORDS[flag] for flag in combined.flags if flag in _FLAG_WORDS]
        problem = implausible(history, horizon, combined.quantiles, live.levels)
        if not problem:
            return combined, reasons
        refused = []
        for name in dict.fromkeys((decision.best_naive, *NAIVES)):
            if name not in live.members or not live.answered[live.member_index(name), 0]:
                continue
            naive = live.quantiles[live.member_index(name), 0]
            second = implausible(history, horizon, naive, live.levels)
            if not second:
                flags = (*combined.flags, Flag.FALLBACK, Flag.IMPLAUSIBLE)
                used = {member: float(member == name) for member in live.members}
                return Combined(quantiles=naive, weights=used, flags=flags), [*reasons, f"gate: {problem}"]
            refused.append(f"{name}: {second}")
        raise PublicationError(
            f"{series.name} {horizon.name}: the output gate blocked the forecast",
            value="; ".join([f"ensemble: {problem}", *refused]),
            action="look at the last observations with `horizoncast data check`",
        )

    def _absent(self, runs: dict[str, MemberRun]) -> list[str]:
        """Members that are on and gave no live forecast: a person must hear of each."""
        states = self._states()
        return [
            f"{name} is on and gave no forecast ({run.live.code})"
            for name, run in runs.items()
            if states[name] is MemberState.ON and isinstance(run.live, Failure)
        ]

    def _forecast(self, series: Series, horizon: Horizon, decision: Decision, combined: Combined) -> Forecast:
        digest = hashlib.sha256(repr((decision.config, combined.weights)).encode()).hexdigest()[:16]
        return Forecast(
            series=series.name,
            unit=series.unit,
            member=ENSEMBLE,
            cutoff=series.last,
            dates=series.session_dates(series.last, horizon.steps),
            levels=self.config.levels,
            quantiles=series.scale.backward(combined.quantiles),
            identity=ModelIdentity(id=ENSEMBLE, revision="1", digest=digest),
            flags=combined.flags,
        )

    def _outcomes(self, runs: dict[str, MemberRun], combined: Combined) -> tuple[MemberOutcome, ...]:
        states = self._states()
        return tuple(
            MemberOutcome(
                name=name,
                state=states[name],
                live=run.live,
                weight=combined.weights.get(name, 0.0),
                asked=len(run.answers),
                answered=sum(isinstance(a, Forecast) for a in run.answers),
                cached=run.cached,
                usage=run.usage,
                problems=run.problems,
            )
            for name, run in runs.items()
        )


_FLAG_WORDS = {
    Flag.FALLBACK: "a naive stands in",
    Flag.FEW_WINDOWS: "too few matured cutoffs to decide from",
}


def lay_out(
    series: Series, plan: CutoffPlan, runs: dict[str, MemberRun], levels: tuple[float, ...]
) -> tuple[Bank, Bank]:
    """Answers as two banks: the matured cutoffs, and the live one alone."""
    rows = {name: run.answers for name, run in runs.items()}
    everything = build_bank(series, plan.horizon, plan.stride, levels, rows)
    live = everything.cutoffs == plan.live
    return everything.pick(~live), everything.pick(live)


def evaluate(
    series: Series, bank: Bank, replayed: Replay, reference: str
) -> tuple[list[Score], list[Verdict]]:
    """Scores over the replayed cutoffs, and each subject against a reference.

    The ensemble is scored on decisions taken with slices of their own, members on the same
    cutoffs. Without replays nothing is scored: "not yet known".
    """
    if not len(replayed.places):
        return [], []
    scored = bank.pick(replayed.places)
    subjects = {name: scored.quantiles[k] for k, name in enumerate(scored.members)}
    subjects[ENSEMBLE] = replayed.quantiles
    scores = [
        score
        for name, quantiles in subjects.items()
        for score in score_subject(name, quantiles, scored, series, Sample.PSEUDO_OUT_OF_SAMPLE)
    ]
    losses = {name: _losses(scored, quantiles) for name, quantiles in subjects.items()}
    verdicts = [
        compare(name, reference, loss, losses[reference], steps=bank.horizon.steps, stride=bank.stride)
        for name, loss in losses.items()
        if name != reference
    ]
    return scores, verdicts


def _losses(bank: Bank, quantiles: Floats) -> Floats:
    """(R,) mean quantile loss per cutoff over the lead grid, divided by sqrt(h), in the scale."""
    from horizoncast.metrics import pinball

    leads = bank.leads
    loss = pinball(bank.actuals[:, leads], quantiles[:, leads], bank.levels).mean(axis=2)
    return np.asarray((loss / np.sqrt(leads + 1.0)).mean(axis=1))


def _broke(run: MemberRun) -> bool:
    """Whether a member failed as a whole, as opposed to a cache that could not be written."""
    return any(problem.code != "CacheNotWritten" for problem in run.problems)


def _resolved(setting: MemberSetting) -> MemberConfig:
    """The member's settings; any will do for a member that is not installed, which its run records."""
    if setting.config is not None:
        return setting.config
    try:
        return make_config(setting.name)
    except NotInstalledError:
        return MemberConfig()
