"""Two members, the hybrid or the ensemble, over the same cutoffs: what a change from A to B would mean.

Letters in shapes: R scored cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.engine import ENSEMBLE, EngineConfig, ForecastEngine, cutoff_losses
from horizoncast.ensemble.hybrid import Fusion
from horizoncast.ensemble.records import BRANCHES, HYBRID
from horizoncast.ensemble.replay import replay
from horizoncast.errors import ConfigError, DataError, UnknownNameError
from horizoncast.forecast import Failure
from horizoncast.horizon import Horizon
from horizoncast.models.registry import MEMBERS, NAIVES, member_class
from horizoncast.policy.states import MemberState
from horizoncast.series import Series
from horizoncast.service.backtesting import (
    Span,
    SubjectScore,
    backtest_plan,
    first_scored,
    past_fusion,
    patient,
    score_against,
    since,
)
from horizoncast.service.settings import Settings
from horizoncast.service.stability import Rerun, Stability, stability_of
from horizoncast.store.bank_cache import BankCache
from horizoncast.validation.backtest import MemberRun, Progress
from horizoncast.validation.coverage import CoverageEstimate, coverage_with_error
from horizoncast.validation.live import per_cutoff
from horizoncast.validation.power import Power, power_of
from horizoncast.validation.significance import Verdict, compare
from horizoncast.validation.splitter import CutoffPlan

Floats = npt.NDArray[np.float64]

REPLAYED = {ENSEMBLE, HYBRID}
"""Names that are no members: decisions taken again at every cutoff."""

SHARES = (0.8, 0.95)
"""Prediction intervals whose coverage is compared."""

WORTH = 40
"""Independent cutoffs that the default span is worth, where the history is long enough: twice what a
verdict needs."""

TIMED = 10
"""Past cutoffs that are computed afresh, beside the live one, to measure seconds and memory."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What the subject takes, computed afresh with each member alone in a process of its own.

    Parameters
    ----------
    wall_s, cpu_s
        Seconds of all its members, one after the other.
    peak_mb
        Peak resident set of the largest, MiB.
    cutoffs
        Cutoffs each was asked for, the live one among them.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    cutoffs: int


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two.

    Parameters
    ----------
    score
        Its scores on the compared cutoffs; ratios are relative to A.
    coverage
        By share, with errors that respect the overlap of cutoffs.
    cost
        None where nothing could be measured: members do not run in processes of their own, or failed.
    stability
        How far its forecasts depend on the seed of its random numbers.
    """

    score: SubjectScore
    coverage: Mapping[float, CoverageEstimate]
    cost: Cost | None
    stability: Stability


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """What was found, all of it on cutoffs that both answered.

    Parameters
    ----------
    series, horizon, stride
        What was forecast, and how often.
    bank
        The compared cutoffs with what then happened, (R,).
    names
        A and B.
    quantiles, losses
        (R, H, Q) in the scale, and (R,) the losses that the test compares, of A and B.
    sides
        A and B.
    left_out
        Cutoffs of the span that one of them has no forecast at.
    verdict, power
        B against A, and what the test could have found.
    """

    series: Series
    horizon: Horizon
    stride: int
    bank: Bank
    names: tuple[str, str]
    quantiles: tuple[Floats, Floats]
    losses: tuple[Floats, Floats]
    sides: tuple[Side, Side]
    left_out: int
    verdict: Verdict
    power: Power


def run_comparison(
    settings: Settings,
    series: Series,
    names: tuple[str, str],
    span: Span,
    *,
    seeds: int = 3,
    progress: Progress | None = None,
) -> Comparison:
    """Forecast from past cutoffs with both, and compare.

    A member is asked whatever its state in the settings; the ensemble is what the settings make it, taken
    again at every cutoff from what had matured by then. Rows are cached apart from those of runs.

    Parameters
    ----------
    names
        A and B: names of members, ``hybrid``, or ``ensemble``.
    seeds
        Seeds in all; 1 does not look at stability.

    Raises
    ------
    ConfigError, NotInstalledError
        When a name is unknown, stands twice, or is that of a member that is not installed.
    DataError
        When no cutoff in the span has a forecast of both.
    """
    require_two(names)
    horizon = Horizon.parse(settings.horizon)
    config = _asked(settings.engine_config(horizon), names)
    whole = bool(REPLAYED & set(names))
    plan = _plan(series, horizon, span, config, whole=whole)
    config = patient(config, len(plan.cutoffs))
    cache = BankCache(settings.cache_folder / "compare")
    bank, live = ForecastEngine(config, cache=cache).fill(series, plan, progress=progress)
    first = first_scored(bank, span, config) if whole else plan.cutoffs[0]
    scored = bank.cutoffs >= first

    def rows_of(name: str, some: Bank) -> Floats:
        fusion = past_fusion(series, some, live, config) if name in REPLAYED else None
        return _rows(name, some, scored, config, fusion)

    rows = [rows_of(name, bank) for name in names]
    both = np.asarray(np.isfinite(np.stack(rows)).all(axis=(0, 2, 3)))
    timed = _timed(config, series, plan, progress)
    if not both.any():
        raise _nothing_to_compare(series, names, timed)
    at = np.flatnonzero(scored)[both]
    kept, quantiles = bank.pick(at), (rows[0][both], rows[1][both])
    reruns = Rerun(
        config=config, series=series, plan=plan, cache=cache, seeds=seeds, progress=progress
    ).banks(bank, live, _members(names, config))
    stability = [
        stability_of(
            quantiles[i],
            [rows_of(name, again)[both] for again in reruns.of(_members((name,), config))],
            kept,
            reruns.verdict(_members((name,), config)),
        )
        for i, name in enumerate(names)
    ]
    losses = (cutoff_losses(kept, quantiles[0]), cutoff_losses(kept, quantiles[1]))
    overlap = {"steps": horizon.steps, "stride": plan.stride}
    sides = [
        Side(
            score=score_against(name, quantiles[i], quantiles[0], kept, series),
            coverage={share: _coverage(quantiles[i], kept, share) for share in SHARES},
            cost=_cost(_members((name,), config), timed),
            stability=stability[i],
        )
        for i, name in enumerate(names)
    ]
    return Comparison(
        series=series,
        horizon=horizon,
        stride=plan.stride,
        bank=kept,
        names=names,
        quantiles=quantiles,
        losses=losses,
        sides=(sides[0], sides[1]),
        left_out=int(scored.sum()) - len(at),
        verdict=compare(names[1], names[0], losses[1], losses[0], **overlap),
        power=power_of(losses[1], losses[0], **overlap),
    )


def require_two(names: tuple[str, str]) -> None:
    """Refuse names that cannot be compared, before any data are read.

    Raises
    ------
    ConfigError, NotInstalledError
        As `run_comparison`.
    """
    known = (*MEMBERS, HYBRID, ENSEMBLE)
    for name in names:
        if name not in known:
            raise UnknownNameError.of("member", name, known)
        for member in BRANCHES if name == HYBRID else (name,) if name != ENSEMBLE else ():
            member_class(member)  # says what to install before anything is computed
    if names[0] == names[1]:
        raise ConfigError("a member is compared with itself", value=names[0], allowed=", ".join(known))


def _asked(config: EngineConfig, names: tuple[str, str]) -> EngineConfig:
    """Members that run: both, the hybrid's parts, and those of the ensemble where it is one of them."""
    whole = ENSEMBLE in names
    wanted = {*names, *(BRANCHES if HYBRID in names else ())}

    def state_of(name: str, own: MemberState) -> MemberState:
        state = own if whole else MemberState.OFF
        return MemberState.SHADOW if name in wanted and state is MemberState.OFF else state

    return replace(
        config,
        members=tuple(replace(m, state=state_of(m.name, m.state)) for m in config.members),
        hybrid=replace(config.hybrid, state=state_of(HYBRID, config.hybrid.state)),
    )


def _members(names: tuple[str, ...], config: EngineConfig) -> tuple[str, ...]:
    """The members behind names: those that may have weight, for the ensemble."""
    on = [m.name for m in config.members if m.state is MemberState.ON and m.name not in NAIVES]
    behind = {ENSEMBLE: [*NAIVES, *on], HYBRID: [*BRANCHES]}
    found = [member for name in names for member in behind.get(name, [name])]
    return tuple(dict.fromkeys(found))


def _plan(series: Series, horizon: Horizon, span: Span, config: EngineConfig, *, whole: bool) -> CutoffPlan:
    """Cutoffs of the backtest; members alone need none before the first scored one.

    Without a first date the newest ones are taken, as many as `WORTH` independent ones need.
    """
    plan = backtest_plan(series, horizon, span, config)
    ahead = config.decision.newest + horizon.cutoffs_per_horizon(plan.stride) if whole else 0
    if span.first is None:
        least = ceil(WORTH * max(1.0, horizon.steps / plan.stride))
        cutoffs = plan.cutoffs[-(least + ahead) :]
    else:
        cutoffs = plan.cutoffs if whole else plan.cutoffs[plan.cutoffs >= span.first]
    return replace(plan, cutoffs=cutoffs, wanted=len(cutoffs))


def _rows(
    name: str,
    bank: Bank,
    scored: npt.NDArray[np.bool_],
    config: EngineConfig,
    fusion: Fusion | None,
) -> Floats:
    """(R, H, Q) forecasts of one of the two at the scored cutoffs, NaN where there is none."""
    out = np.full(bank.quantiles.shape[1:], np.nan)
    if name not in REPLAYED:
        if name in bank.members:  # a seasonal naive without a season is not
            out = bank.quantiles[bank.member_index(name)]
        return np.asarray(out[scored])
    states = {m.name: m.state for m in config.members} | dict.fromkeys(NAIVES, MemberState.ON)
    taken = since(replay(bank, states, config.decision, fusion=fusion), bank.cutoffs[scored][0])
    rows = taken.quantiles if name == ENSEMBLE else taken.hybrid
    if rows is not None:
        out[taken.places] = rows
    return np.asarray(out[scored])


def _coverage(quantiles: Floats, bank: Bank, share: float) -> CoverageEstimate:
    tail = round((1.0 - share) / 2.0, 6)
    low = quantiles[..., bank.level_index(tail)]
    high = quantiles[..., bank.level_index(round(1.0 - tail, 6))]
    inside = (low <= bank.actuals) & (bank.actuals <= high)
    hits = per_cutoff(np.where(np.isfinite(bank.actuals), inside, np.nan))
    return coverage_with_error(hits, steps=bank.horizon.steps, spacing=bank.stride)


def _timed(
    config: EngineConfig, series: Series, plan: CutoffPlan, progress: Progress | None
) -> dict[str, MemberRun]:
    """The newest cutoffs afresh, one member after the other: what a cache answers costs nothing."""
    newest = replace(plan, cutoffs=plan.cutoffs[-TIMED:], wanted=TIMED)
    return ForecastEngine(replace(config, workers=1)).ask(series, newest, progress=progress)


def _cost(members: tuple[str, ...], timed: Mapping[str, MemberRun]) -> Cost | None:
    runs = [
        timed[name] for name in members if name in timed
    ]  # a seasonal naive without a season costs nothing
    usages = [run.usage for run in runs if run.usage is not None]
    if not runs or len(usages) < len(runs):
        return None
    return Cost(
        wall_s=sum(u.wall_s for u in usages),
        cpu_s=sum(u.cpu_s for u in usages),
        peak_mb=max(u.peak_mb for u in usages),
        cutoffs=max(len(run.answers) for run in runs),
    )


def _nothing_to_compare(series: Series, names: tuple[str, str], timed: Mapping[str, MemberRun]) -> DataError:
    """Say who did not answer, and why."""
    reasons = []
    for name in names:
        run = timed.get(name)
        failures = [a for a in run.answers if isinstance(a, Failure)] if run is not None else []
        if failures:
            reasons.append(f"{name}: {failures[0].code}, {failures[0].reason}")
        elif name not in REPLAYED and run is None:
            reasons.append(f"{name}: the series has no season")
    return DataError(
        f"{series.name}: no cutoff of the span has a forecast of both {names[0]} and {names[1]}",
        value="; ".join(reasons) or None,
        action="choose another span, or a longer history",
    )
