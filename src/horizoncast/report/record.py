"""From the engine's result to the record that files and the log are written from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import numpy as np

from horizoncast.bank import Bank
from horizoncast.engine import ENSEMBLE, EngineResult, MemberOutcome
from horizoncast.ensemble.gate import Status
from horizoncast.ensemble.parts import UNCERTAINTY_PARTS, uncertainty_parts
from horizoncast.ensemble.records import Decision, MemberWeight
from horizoncast.ensemble.replay import Replay
from horizoncast.forecast import Forecast
from horizoncast.policy.states import MemberState
from horizoncast.report.hybrid_record import hybrid_record
from horizoncast.report.provenance import (
    SEEDS,
    digest_of_settings,
    git_commit,
    machine_type,
    package_versions,
)
from horizoncast.series import Series
from horizoncast.store.plain import date_texts, plain
from horizoncast.store.records import (
    DecisionRecord,
    EventRecord,
    MemberRecord,
    Origin,
    Provenance,
    RunRecord,
    SinceBefore,
    UncertaintyRecord,
    ValidationTable,
    VerdictRecord,
)
from horizoncast.store.results import make_run_id
from horizoncast.validation.significance import Verdict


def run_record(
    result: EngineResult,
    *,
    started: datetime,
    as_of: np.datetime64 | None = None,
    run_id: str | None = None,
    service: str | None = None,
    target: object = None,
    data_report: object = None,
    settings: object = None,
    timings: Mapping[str, float] | None = None,
    since: SinceBefore | None = None,
    origin: Origin = Origin.LIVE,
    due: datetime | None = None,
) -> RunRecord:
    """Everything that a run leaves behind.

    Parameters
    ----------
    result
        Of `ForecastEngine.forecast`.
    started
        Moment the run started, with a time zone.
    as_of
        Date the run speaks of; the last observation by default.
    run_id
        Made from the content by default.
    service
        The engine's by default, else ``default``.
    target, data_report, settings
        Definition of the target, findings of its checks, and the service's resolved settings
        (the engine's configuration by default): dataclasses or plain JSON, without secrets.
    timings
        Seconds by part of the run, the engine's own added.
    since
        What changed since the run before.
    origin, due
        See `RunRecord`.
    """
    name = service or result.config.service or "default"
    config = plain(result.config if settings is None else settings)
    config_hash, data_hash = digest_of_settings(config), result.series.digests()[-1]
    day = result.series.last if as_of is None else as_of.astype("datetime64[s]")
    return RunRecord(
        run_id=run_id
        or make_run_id(
            service=name,
            series=result.series.name,
            as_of=day,
            inputs=data_hash,
            config=config_hash,
            started=started,
        ),
        service=name,
        forecast=result.forecast,
        scale=str(result.series.scale),
        scale_reason=result.series.scale_reason,
        as_of=day,
        started=started,
        duration_s=result.wall_s,
        status=str(result.status),
        reasons=result.status_reasons,
        decision=decision_record(result.decision),
        members=member_records(result),
        scores=result.scores,
        verdicts=tuple(_verdict(verdict) for verdict in result.verdicts),
        validation=validation_table(result.series, result.bank, result.replay),
        provenance=Provenance(
            config=config,
            config_hash=config_hash,
            target=plain(target),
            data_report=plain(data_report),
            data_hash=data_hash,
            versions=package_versions(),
            python=_python(),
            machine=machine_type(),
            seeds=SEEDS,
            git_commit=git_commit(),
        ),
        events=tuple(_events(result)),
        timings={**(timings or {}), "engine": result.wall_s},
        since=since,
        uncertainty=uncertainty_records(result),
        origin=origin,
        due=due,
    )


def uncertainty_records(result: EngineResult) -> tuple[UncertaintyRecord, ...]:
    """Parts of the uncertainty of the members that carry weight, over the lead grid, in the unit."""
    live = [(m.live, m.weight) for m in result.members if isinstance(m.live, Forecast) and m.weight > 0]
    quantiles, weights = np.array([forecast.quantiles for forecast, _ in live]), [w for _, w in live]
    if not live or not {0.1, 0.5, 0.9} <= set(result.forecast.levels):
        return ()
    variance = uncertainty_parts(quantiles, np.array(weights), result.forecast.levels)
    dates, total = date_texts(result.forecast.dates), variance.sum(axis=0)
    return tuple(
        UncertaintyRecord(
            step=step,
            date=dates[step - 1],
            part=part,
            sd=float(np.sqrt(variance[k, step - 1])),
            share=float(variance[k, step - 1] / total[step - 1]),
        )
        for step in result.horizon.lead_grid
        for k, part in enumerate(UNCERTAINTY_PARTS)
        if total[step - 1] > 0
    )


def decision_record(decision: Decision) -> DecisionRecord:
    """A decision's numbers and rules."""
    config = decision.config
    return DecisionRecord(
        rule=config.rule,
        combination=config.combination,
        trim=config.trim,
        cap=config.cap,
        newest=config.newest,
        shrink=config.shrink,
        calibrate=config.calibrate,
        prior=config.prior,
        best_naive=decision.best_naive,
        kappa=decision.kappa,
        width=decision.width,
        windows=decision.windows,
        n_eff=decision.n_eff,
        first_cutoff=decision.first_cutoff,
        last_cutoff=decision.last_cutoff,
        adaptive=decision.adaptive,
        flags=decision.flags,
        hybrid=hybrid_record(decision.fusion),
    )


def member_records(result: EngineResult) -> tuple[MemberRecord, ...]:
    """One record per member that ran."""
    decided = {row.name: row for row in result.decision.members}
    return tuple(_member(outcome, decided.get(outcome.name)) for outcome in result.members)


def validation_table(series: Series, bank: Bank, replayed: Replay | None = None) -> ValidationTable:
    """The bank in the unit, with what happened, and the ensemble where its decision was replayed.

    Parameters
    ----------
    bank
        Matured cutoffs, in the scale.
    replayed
        Decisions at earlier cutoffs; the subject ``ensemble`` and the mark `scored` come from them.
    """
    steps, levels = bank.horizon.steps, len(bank.levels)
    dates = np.array([series.session_dates(c, steps) for c in bank.cutoffs], dtype="datetime64[s]")
    dates = dates.reshape(bank.windows, steps)
    actuals = np.array([series.actuals(c, row) for c, row in zip(bank.cutoffs, dates, strict=True)])
    own = np.full((1, bank.windows, steps, levels), np.nan)
    scored = np.zeros(bank.windows, dtype=np.bool_)
    if replayed is not None:
        own[0, replayed.places] = replayed.quantiles
        scored[replayed.places] = True
    with np.errstate(over="ignore"):
        quantiles = bank.scale.backward(np.concatenate([bank.quantiles, own]))
    return ValidationTable(
        series=series.name,
        unit=series.unit,
        subjects=(*bank.members, ENSEMBLE),
        cutoffs=bank.cutoffs,
        dates=dates,
        levels=bank.levels,
        actuals=actuals.reshape(bank.windows, steps),
        quantiles=quantiles,
        asked=np.concatenate([bank.asked, scored[None]]),
        scored=scored,
    )


def _member(outcome: MemberOutcome, row: MemberWeight | None) -> MemberRecord:
    nan = float("nan")
    return MemberRecord(
        name=outcome.name,
        state=outcome.state,
        live=outcome.live,
        weight=outcome.weight,
        decided_weight=row.weight if row else 0.0,
        would_be_weight=row.would_be_weight if row else 0.0,
        slope=row.slope if row else 0.0,
        rmse=row.rmse if row else nan,
        relative=row.relative if row else nan,
        windows=row.windows if row else 0,
        reason=row.reason if row else "not in the slice",
        asked=outcome.asked,
        answered=outcome.answered,
        cached=outcome.cached,
        usage=outcome.usage,
        problems=outcome.problems,
    )


def _verdict(verdict: Verdict) -> VerdictRecord:
    return VerdictRecord(
        subject=verdict.subject,
        reference=verdict.reference,
        code=str(verdict.code),
        statistic=verdict.statistic,
        p_value=verdict.p_value,
        windows=verdict.windows,
        n_eff=verdict.n_eff,
        text=verdict.text,
    )


def _events(result: EngineResult) -> list[EventRecord]:
    """Why a run is not plainly published, and what went wrong with members as a whole."""
    events = []
    if result.status is not Status.PUBLISHED:
        text = "; ".join(result.status_reasons)
        events.append(EventRecord(code=f"run_{result.status}", message=text, severity="warning"))
    for outcome in result.members:
        severity = "warning" if outcome.state is MemberState.ON else "info"
        events += [
            EventRecord(code=problem.code, message=f"{outcome.name}: {problem.reason}", severity=severity)
            for problem in outcome.problems
        ]
    return events


def _python() -> str:
    import platform

    return platform.python_version()
