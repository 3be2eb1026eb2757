"""The lines of metrics.jsonl that tell one run."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import Horizon
from horizoncast.store.plain import Json, date_text, date_texts, plain, time_text
from horizoncast.store.records import EventRecord, MemberRecord, RunRecord
from horizoncast.store.schema import SCHEMA_VERSION, RecordKind

LogRecord = dict[str, Json]


def log_records(run: RunRecord) -> list[LogRecord]:
    """All records of a run; the run record comes last and says that the others are complete."""
    return [
        *_forecast_records(run),
        *(_member_record(run, member) for member in run.members),
        *_score_records(run),
        *_verdict_records(run),
        *_change_records(run),
        *_uncertainty_records(run),
        *(_of_run(run, RecordKind.EVENT, plain_of(event)) for event in run.events),
        _run_record(run),
    ]


def event_record(event: EventRecord, *, at: datetime, service: str, series: str) -> LogRecord:
    """An event outside a run."""
    head = _head(RecordKind.EVENT, at, None, service, series)
    return head | plain_of(event)


def outcome_record(row: Mapping[str, Any]) -> LogRecord:
    """A score of the ledger, with its run's service, series and unit and its lead's date."""
    names = ("subject", "step", "date", "revision", "session")
    own = {name: row[name] for name in names}
    own |= {"live": bool(row["live"]), "unit": row["unit"], "actual": row["actual"], "error": row["error"]}
    own |= {"loss": row["wql"], "pit": row["pit"]}
    covered = {name: row[name] for name in ("covered_80", "covered_95")}
    own |= {name: None if value is None else bool(value) for name, value in covered.items()}
    head: LogRecord = {
        "schema": SCHEMA_VERSION,
        "kind": RecordKind.OUTCOME.value,
        "at": row["scored"],
        "run_id": row["run_id"],
        "service": row["service"],
        "series": row["series"],
    }
    return head | own


def plain_of(event: EventRecord) -> LogRecord:
    """An event's own fields."""
    return {"code": event.code, "message": event.message, "severity": event.severity}


def _head(kind: RecordKind, at: datetime, run_id: str | None, service: str, series: str) -> LogRecord:
    return {
        "schema": SCHEMA_VERSION,
        "kind": kind.value,
        "at": time_text(at),
        "run_id": run_id,
        "service": service,
        "series": series,
    }


def _of_run(run: RunRecord, kind: RecordKind, own: LogRecord) -> LogRecord:
    return _head(kind, run.started, run.run_id, run.service, run.forecast.series) | own


def _run_record(run: RunRecord) -> LogRecord:
    forecast, decision = run.forecast, run.decision
    own: dict[str, object] = {
        "unit": forecast.unit,
        "scale": run.scale,
        "horizon": forecast.steps,
        "as_of": run.as_of,
        "cutoff": forecast.cutoff,
        "last_date": forecast.dates[-1],
        "status": run.status,
        "reasons": run.reasons,
        "flags": forecast.flags,
        "kappa": decision.kappa,
        "width": decision.width,
        "adaptive": decision.adaptive,
        "best_naive": decision.best_naive,
        "rule": decision.rule,
        "windows": decision.windows,
        "n_eff": decision.n_eff,
        "slice_first": decision.first_cutoff,
        "slice_last": decision.last_cutoff,
        "origin": run.origin.value,
        "embedding_distance": None if run.embedding is None else run.embedding.distance,
        "embedding_percentile": None if run.embedding is None else run.embedding.percentile,
        **({} if decision.hybrid is None else {"hybrid": decision.hybrid}),
        "duration_s": run.duration_s,
        "config_hash": run.provenance.config_hash,
        "data_hash": run.provenance.data_hash,
        "version": run.version,
    }
    return _of_run(run, RecordKind.RUN, _plain(own))


def _member_record(run: RunRecord, member: MemberRecord) -> LogRecord:
    usage, live = member.usage, member.live
    own: dict[str, object] = {
        "member": member.name,
        "state": member.state,
        "weight": member.weight,
        "decided_weight": member.decided_weight,
        "would_be_weight": member.would_be_weight,
        "slope": member.slope,
        "rmse": member.rmse,
        "relative": member.relative,
        "windows": member.windows,
        "reason": member.reason,
        "asked": member.asked,
        "answered": member.answered,
        "cached": member.cached,
        "seconds": None if usage is None else usage.wall_s,
        "cpu_s": None if usage is None else usage.cpu_s,
        "peak_mb": None if usage is None else usage.peak_mb,
        **_answer_fields(live),
    }
    return _of_run(run, RecordKind.MEMBER, _plain(own))


def _answer_fields(live: Forecast | Failure) -> dict[str, object]:
    identity = None if isinstance(live, Failure) else live.identity
    until = None if identity is None else identity.trained_until
    return {
        "identity_id": None if identity is None else identity.id,
        "identity_revision": None if identity is None else identity.revision,
        "identity_digest": None if identity is None else identity.digest,
        "trained_until": None if until is None else date_text(until),
        "flags": () if isinstance(live, Failure) else live.flags,
        "failure_code": live.code if isinstance(live, Failure) else None,
        "failure_reason": live.reason if isinstance(live, Failure) else None,
    }


def _forecast_records(run: RunRecord) -> list[LogRecord]:
    """One record per lead of the lead grid, and the last step."""
    forecast = run.forecast
    steps = sorted({*Horizon(steps=forecast.steps).lead_grid, forecast.steps})
    dates = date_texts(forecast.dates)
    ends = {"lower_80": 0.1, "upper_80": 0.9, "lower_95": 0.025, "upper_95": 0.975}
    return [
        _of_run(
            run,
            RecordKind.FORECAST,
            {
                "step": step,
                "date": dates[step - 1],
                "unit": forecast.unit,
                "point": float(forecast.point[step - 1]),
                **{name: _quantile(forecast, level, step) for name, level in ends.items()},
            },
        )
        for step in steps
    ]


def _quantile(forecast: Forecast, level: float, step: int) -> float | None:
    return float(forecast.quantile(level)[step - 1]) if level in forecast.levels else None


def _score_records(run: RunRecord) -> list[LogRecord]:
    names = ("subject", "metric", "value", "unit", "sample", "leads", "windows", "n_eff")
    return [
        _of_run(run, RecordKind.SCORE, _plain({name: getattr(score, name) for name in names}))
        for score in run.scores
    ]


def _verdict_records(run: RunRecord) -> list[LogRecord]:
    names = ("subject", "reference", "code", "statistic", "p_value", "windows", "n_eff")
    return [
        _of_run(run, RecordKind.VERDICT, _plain({name: getattr(verdict, name) for name in names}))
        for verdict in run.verdicts
    ]


def _change_records(run: RunRecord) -> list[LogRecord]:
    since = run.since
    if since is None:
        return []
    head: LogRecord = {"previous_run_id": since.run_id, "previous_as_of": since.as_of}
    unit: LogRecord = {"unit": run.forecast.unit}
    return [
        _of_run(run, RecordKind.CHANGE, head | unit | _plain(dict(vars(change)))) for change in since.changes
    ]


def _uncertainty_records(run: RunRecord) -> list[LogRecord]:
    unit: LogRecord = {"unit": run.forecast.unit}
    return [_of_run(run, RecordKind.UNCERTAINTY, unit | _plain(dict(vars(part)))) for part in run.uncertainty]


def _plain(fields: dict[str, object]) -> LogRecord:
    return {name: plain(value) for name, value in fields.items()}
