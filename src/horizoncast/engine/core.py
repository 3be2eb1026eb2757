"""ForecastEngine: Series -> members -> Bank -> decision -> Forecast.

The public way in from Python::

    engine = ForecastEngine(EngineConfig())
    result = engine.forecast(series, "30d")
    result.forecast.interval(0.8)
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace

from horizoncast.bank import Bank, build_bank, continue_bank
from horizoncast.engine.evaluation import evaluate
from horizoncast.engine.hybrid import fusion_of, hybrid_outcome, joined_by
from horizoncast.engine.live import NOTHING_LIVE, LiveHistory
from horizoncast.engine.result import ENSEMBLE, EngineResult, MemberOutcome
from horizoncast.engine.settings import EngineConfig, MemberSetting
from horizoncast.ensemble.decision import apply, decide
from horizoncast.ensemble.gate import Status, implausible
from horizoncast.ensemble.hybrid import Joined, state_of
from horizoncast.ensemble.records import Combined, Decision
from horizoncast.ensemble.replay import replay
from horizoncast.errors import NotInstalledError, PublicationError
from horizoncast.forecast import Failure, Flag, Forecast, ModelIdentity
from horizoncast.horizon import Horizon
from horizoncast.models.base import MemberConfig
from horizoncast.models.child import Task
from horizoncast.models.registry import NAIVES, make_config
from horizoncast.policy.admission import MemoryPlan
from horizoncast.policy.quorum import BelowQuorum, falls_short
from horizoncast.policy.states import MemberState
from horizoncast.resources import MIB, memory_available
from horizoncast.series import Series
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.backtest import MemberRun, Progress, run_members
from horizoncast.validation.splitter import CutoffPlan, minimum_training, plan_cutoffs


class ForecastEngine:
    """Runs members over the past and the present and turns them into one calibrated forecast.

    Parameters
    ----------
    config
        See `EngineConfig`.
    cache
        Where bank rows are kept between runs; None computes all of them.
    peaks
        Measured peak memory of members, MiB; those that never fit in what is free do not start.
    """

    def __init__(
        self,
        config: EngineConfig | None = None,
        *,
        cache: BankCache | None = None,
        peaks: Mapping[str, float] | None = None,
    ) -> None:
        self.config = EngineConfig() if config is None else config
        self.cache = cache
        self.peaks = dict(peaks or {})

    def forecast(
        self,
        series: Series,
        horizon: Horizon | str | int,
        *,
        progress: Progress | None = None,
        live: LiveHistory = NOTHING_LIVE,
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
        live
            Published forecasts that continue the bank, and the width that their outcomes ask for.

        Raises
        ------
        PublicationError
            When neither the ensemble nor any naive gives a plausible forecast.
        """
        started = time.monotonic()
        span = horizon if isinstance(horizon, Horizon) else Horizon.parse(horizon)
        plan = self.plan(series, span)
        runs = self.ask(series, plan, progress=progress)
        bank, now = lay_out(series, plan, runs, self.config.levels)
        bank = continue_bank(bank, series, live.of(runs))
        states = self._states()
        rules = self.config.decision
        few = self._below_quorum(series, now)
        decided = {name: MemberState.SHADOW for name in states if name not in NAIVES} if few else {}
        fusion, problem = fusion_of(series, bank, now, self.config, {n: r.live for n, r in runs.items()})
        joined = joined_by(fusion, bank.slice_at(series.last, rules.newest), now, states | decided)
        decision = decide(joined.past, joined.states, rules)
        decision = replace(decision, adaptive=live.adaptive, fusion=joined.record)
        combined, reasons = self._gated(series, span, decision, joined.live)
        if few:
            combined = replace(combined, flags=tuple(dict.fromkeys((*combined.flags, Flag.FALLBACK))))
        reasons = [*few, *reasons, *self._absent(runs), *problem, *self._no_hybrid(joined)]
        replayed = replay(bank, states, rules, last=self.config.replays, fusion=fusion)
        scores, verdicts = evaluate(series, bank, replayed, decision.best_naive)
        return EngineResult(
            series=series,
            horizon=span,
            forecast=self._forecast(series, span, decision, combined),
            status=Status.DEGRADED if reasons else Status.PUBLISHED,
            status_reasons=tuple(reasons),
            decision=decision,
            members=self._outcomes(runs, combined, hybrid_outcome(series, joined, self.config)),
            bank=bank,
            plan=plan,
            replay=replayed,
            scores=tuple(scores),
            verdicts=tuple(verdicts),
            config=self.config,
            wall_s=time.monotonic() - started,
        )

    def plan(self, series: Series, horizon: Horizon) -> CutoffPlan:
        """Stride and cutoffs of a run."""
        return plan_cutoffs(
            series,
            horizon,
            windows=self.config.decision.newest,
            replays=self.config.replays,
            min_train=self.min_train(series, horizon),
        )

    def min_train(self, series: Series, horizon: Horizon) -> int:
        """Sessions before the first validation cutoff: the setting, or enough for every member."""
        if self.config.min_train is not None:
            return self.config.min_train
        needed = max(_resolved(setting).min_train for setting in self._settings())
        return minimum_training(series, horizon, needed)

    def fill(
        self, series: Series, plan: CutoffPlan, *, progress: Progress | None = None
    ) -> tuple[Bank, Bank]:
        """Run the members over a plan: the bank of its matured cutoffs, and the live rows."""
        return lay_out(series, plan, self.ask(series, plan, progress=progress), self.config.levels)

    def _settings(self) -> list[MemberSetting]:
        """Members that run: the naives always, the others unless they are off."""
        listed = {m.name: m for m in self.config.members}
        naives = [listed.get(name, MemberSetting(name=name)) for name in NAIVES]
        others = [m for m in self.config.members if m.name not in NAIVES and m.state is not MemberState.OFF]
        return [*naives, *others]

    def _states(self) -> dict[str, MemberState]:
        return {m.name: MemberState.ON if m.name in NAIVES else m.state for m in self._settings()}

    def ask(
        self, series: Series, plan: CutoffPlan, *, progress: Progress | None = None
    ) -> dict[str, MemberRun]:
        """Run the members over a plan: what each answered, the live cutoff first, and what it cost."""
        tasks = []
        for setting in self._settings():
            if setting.name == "seasonal_naive" and not series.periods:
                continue  # no season is no failure
            config = _resolved(setting)
            asked = config.asks(plan.newest_first, plan.horizon)
            if setting.windows is not None and setting.name not in NAIVES:
                asked = asked[: setting.windows + 1]
            tasks.append(
                Task(
                    member=setting.name,
                    config=config,
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
            memory=self._memory(),
        )
        return {**runs, **self._naives_again(tasks, runs)}

    def _memory(self) -> MemoryPlan | None:
        """Memory to share out; in this process nobody is capped, and nothing can be."""
        if not self.config.isolated:
            return None
        return MemoryPlan(free_mb=memory_available() / MIB, peaks=self.peaks, needed=NAIVES)

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

    def _below_quorum(self, series: Series, live: Bank) -> list[str]:
        """Why too few members answered: the naives alone decide then, or nobody does.

        Raises
        ------
        PublicationError
            When the policy says that nothing is published below the quorum.
        """
        on = [n for n, s in self._states().items() if s is MemberState.ON and n not in NAIVES]
        there = [n for n in on if n in live.members and live.answered[live.member_index(n), 0]]
        if not falls_short(len(on), len(there), self.config.quorum):
            return []
        needed = min(self.config.quorum, len(on))
        few = f"below the quorum: {len(there)} of {len(on)} members answered, {needed} are needed"
        if self.config.below_quorum is BelowQuorum.BLOCKED:
            raise PublicationError(
                f"{series.name}: {few}",
                action="look at why they failed, or set run.below_quorum = baseline",
            )
        return [few]

    def _absent(self, runs: dict[str, MemberRun]) -> list[str]:
        """Members that are on and gave no live forecast: a person must hear of each."""
        states = self._states()
        return [
            f"{name} is on and gave no forecast ({run.live.code})"
            for name, run in runs.items()
            if states[name] is MemberState.ON and isinstance(run.live, Failure)
        ]

    def _no_hybrid(self, joined: Joined) -> list[str]:
        """Why a hybrid that is on did not stand in for its parts."""
        asked = state_of(self.config.hybrid.state, self._states())
        return [f"no hybrid: {joined.reason}"] if asked is MemberState.ON and joined.reason else []

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

    def _outcomes(
        self, runs: dict[str, MemberRun], combined: Combined, hybrid: MemberOutcome | None
    ) -> tuple[MemberOutcome, ...]:
        states = self._states()
        found = [
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
        ]
        if hybrid is not None:
            found.append(replace(hybrid, weight=combined.weights.get(hybrid.name, 0.0)))
        return tuple(found)


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
