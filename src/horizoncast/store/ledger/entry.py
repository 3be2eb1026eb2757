"""From a run's record to what the ledger commits."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from horizoncast.calendar import Dates
from horizoncast.forecast import Failure, Forecast
from horizoncast.metrics import Metric
from horizoncast.store.ledger.codec import storable
from horizoncast.store.ledger.rows import (
    ENSEMBLE,
    Floats,
    ForecastRows,
    LedgerEvent,
    MemberRow,
    Message,
    RunEntry,
    RunRow,
    Snapshot,
)
from horizoncast.store.manifest import plain_decision
from horizoncast.store.plain import Json, date_text, date_texts, plain, time_text
from horizoncast.store.records import MemberRecord, RunRecord, ValidationTable
from horizoncast.store.results import manifest_digest

REVIEWED_METRICS = (Metric.WQL, Metric.COVERAGE_80, Metric.COVERAGE_95)
"""Scores of a run's replays that the ledger keeps; all of them are in its folder and in metrics.jsonl."""

LAST_ROWS = 60
"""Observations kept of what a run saw: a quarter of trading days, in which revisions happen."""


def run_entry(
    record: RunRecord,
    folder: Path,
    *,
    root: Path,
    seen: tuple[Dates, Floats] | None = None,
    messages: tuple[Message, ...] = (),
    imported: bool = False,
) -> RunEntry:
    """Everything one transaction commits for a run.

    Parameters
    ----------
    record, folder
        The run and its folder, below `root`.
    seen
        Observed dates and values of the series, (n,) each, in the unit; taken from the record's
        validation table by default, which lacks the newest few.
    imported
        Whether it was published before there was a ledger.

    Raises
    ------
    StoreError
        When the folder's manifest cannot be read.
    """
    run_id = record.run_id
    answered = [member.live for member in record.members if isinstance(member.live, Forecast)]
    forecasts = (_forecast(run_id, ENSEMBLE, record.forecast),)
    return RunEntry(
        run=_run(record, folder, root, imported=imported),
        snapshot=_snapshot(record, seen or observed(record.validation)),
        members=tuple(_member(run_id, member) for member in record.members),
        forecasts=(*forecasts, *(_forecast(run_id, live.member, live) for live in answered)),
        events=tuple(
            LedgerEvent(
                at=time_text(record.started),
                code=event.code,
                message=event.message,
                severity=event.severity,
                run_id=run_id,
                service=storable(record.service),
                series=storable(record.forecast.series),
            )
            for event in record.events
        ),
        messages=messages,
        document=_document(record),
    )


def _document(record: RunRecord) -> dict[str, Json]:
    """What a review tells of a run beside its rows."""
    verdict = ("subject", "reference", "code", "statistic", "p_value", "windows", "n_eff")
    score = ("subject", "metric", "value", "windows", "n_eff")
    return {
        "verdicts": [{name: plain(getattr(v, name)) for name in verdict} for v in record.verdicts],
        "scores": [
            {name: plain(getattr(s, name)) for name in score}
            for s in record.scores
            if s.metric in REVIEWED_METRICS
        ],
        "since": plain(record.since),
        "uncertainty": plain(record.uncertainty),
    }


def observed(table: ValidationTable) -> tuple[Dates, Floats]:
    """Dates and values that a validation table holds as actuals, each once, in order."""
    known = np.isfinite(table.actuals)
    dates, places = np.unique(table.dates[known], return_index=True)
    return dates, table.actuals[known][places]


def _run(record: RunRecord, folder: Path, root: Path, *, imported: bool) -> RunRow:
    forecast = record.forecast
    return RunRow(
        run_id=record.run_id,
        service=storable(record.service),
        series=storable(forecast.series),
        as_of=date_text(record.as_of),
        revision=0,
        cutoff=date_text(forecast.cutoff),
        horizon=forecast.steps,
        unit=forecast.unit,
        scale=record.scale,
        levels=forecast.levels,
        status=record.status,
        reasons=record.reasons,
        flags=tuple(str(flag) for flag in forecast.flags),
        decision=plain_decision(record.decision),
        started=time_text(record.started),
        duration_s=record.duration_s,
        committed="",
        snapshot=record.provenance.data_hash,
        config_hash=record.provenance.config_hash,
        version=record.version,
        machine=record.provenance.machine,
        folder=folder.relative_to(root).as_posix(),
        manifest_sha256=manifest_digest(folder),
        imported=imported,
        derived=None,
        pruned=None,
        origin=record.origin,
        due=None if record.due is None else time_text(record.due),
    )


def _snapshot(record: RunRecord, seen: tuple[Dates, Floats]) -> Snapshot:
    dates, values = seen
    last = zip(date_texts(dates[-LAST_ROWS:]), values[-LAST_ROWS:], strict=True)
    return Snapshot(
        digest=record.provenance.data_hash,
        series=record.forecast.series,
        as_of=date_text(record.as_of),
        rows=len(dates),
        last_rows=tuple((date, float(value)) for date, value in last),
    )


def _member(run_id: str, member: MemberRecord) -> MemberRow:
    live, usage = member.live, member.usage
    failed = live if isinstance(live, Failure) else None
    identity = None if isinstance(live, Failure) else live.identity
    until = None if identity is None else identity.trained_until
    problems = plain(member.problems)
    assert isinstance(problems, list)
    return MemberRow(
        run_id=run_id,
        member=member.name,
        state=str(member.state),
        failure_code=None if failed is None else failed.code,
        failure_reason=None if failed is None else failed.reason,
        flags=() if isinstance(live, Failure) else tuple(str(flag) for flag in live.flags),
        weight=member.weight,
        decided_weight=member.decided_weight,
        would_be_weight=member.would_be_weight,
        slope=member.slope,
        rmse=member.rmse,
        relative=member.relative,
        windows=member.windows,
        reason=member.reason,
        asked=member.asked,
        answered=member.answered,
        cached=member.cached,
        wall_s=None if usage is None else usage.wall_s,
        cpu_s=None if usage is None else usage.cpu_s,
        peak_mb=None if usage is None else usage.peak_mb,
        identity_id=None if identity is None else identity.id,
        identity_revision=None if identity is None else identity.revision,
        identity_digest=None if identity is None else identity.digest,
        trained_until=None if until is None else date_text(until),
        problems=tuple(problems),
    )


def _forecast(run_id: str, subject: str, forecast: Forecast) -> ForecastRows:
    return ForecastRows(
        run_id=run_id,
        subject=subject,
        steps=tuple(range(1, forecast.steps + 1)),
        dates=tuple(date_texts(forecast.dates)),
        quantiles=forecast.quantiles,
    )
