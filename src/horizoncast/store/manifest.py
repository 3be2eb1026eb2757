"""decision.json and manifest.json: from a run's record, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.metrics import Score
from horizoncast.policy.states import MemberState
from horizoncast.resources import Usage
from horizoncast.store.hybrid_record import hybrid_of
from horizoncast.store.plain import Json, json_file, parse_json, plain, time_text
from horizoncast.store.records import (
    ChangeRecord,
    DecisionRecord,
    EmbeddingRecord,
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
from horizoncast.store.schema import SCHEMA_VERSION

_WEIGHT_FIELDS = (
    "weight",
    "decided_weight",
    "would_be_weight",
    "slope",
    "rmse",
    "relative",
    "windows",
    "reason",
)


def decision_json(record: RunRecord) -> bytes:
    """Weights and their basis, the factors, the slice, status and verdicts; no times."""
    members = [
        {"member": m.name, "state": m.state, **{name: getattr(m, name) for name in _WEIGHT_FIELDS}}
        for m in record.members
    ]
    return json_file(
        {
            "schema": SCHEMA_VERSION,
            "status": record.status,
            "reasons": record.reasons,
            "flags": record.forecast.flags,
            "scale": record.scale,
            "scale_reason": record.scale_reason,
            "decision": plain_decision(record.decision),
            "members": members,
            "verdicts": record.verdicts,
        }
    )


def plain_decision(decision: DecisionRecord) -> dict[str, Json]:
    """A decision as JSON; without a hybrid it has no such field."""
    fields = {field.name: getattr(decision, field.name) for field in dataclasses.fields(decision)}
    return {name: plain(value) for name, value in fields.items() if name != "hybrid" or value is not None}


def manifest_json(record: RunRecord, digests: Mapping[str, str]) -> bytes:
    """Everything that may differ between two runs of the same input, and a digest of every file."""
    forecast, provenance = record.forecast, record.provenance
    members = [
        {
            "member": m.name,
            "asked": m.asked,
            "answered": m.answered,
            "cached": m.cached,
            "seconds": None if m.usage is None else m.usage.wall_s,
            "cpu_s": None if m.usage is None else m.usage.cpu_s,
            "peak_mb": None if m.usage is None else m.usage.peak_mb,
            "problems": m.problems,
        }
        for m in record.members
    ]
    return json_file(
        {
            "schema": SCHEMA_VERSION,
            "run_id": record.run_id,
            "service": record.service,
            "series": forecast.series,
            "unit": forecast.unit,
            "horizon": forecast.steps,
            "as_of": record.as_of,
            "cutoff": forecast.cutoff,
            "started": record.started,
            "duration_s": record.duration_s,
            "origin": record.origin,
            "due": None if record.due is None else time_text(record.due),
            "timings": record.timings,
            "members": members,
            "events": record.events,
            "since": record.since,
            "uncertainty": record.uncertainty,
            "embedding": record.embedding,
            "provenance": provenance,
            "files": dict(sorted(digests.items())),
        }
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Parts:
    """What a run folder's files hold, one by one.

    Parameters
    ----------
    forecast, live, validation, scores
        From their own files.
    decision, manifest
        Text of decision.json and manifest.json.
    """

    forecast: Forecast
    live: Mapping[str, Forecast | Failure]
    validation: ValidationTable
    scores: tuple[Score, ...]
    decision: bytes
    manifest: bytes


def assemble(parts: Parts) -> RunRecord:
    """The record behind a folder's files.

    Raises
    ------
    KeyError, TypeError, ValueError
        When a file lacks what the schema says it holds.
    """
    decided, manifest = parse_json(parts.decision), parse_json(parts.manifest)
    costs = {row["member"]: row for row in manifest["members"]}
    return RunRecord(
        run_id=manifest["run_id"],
        service=manifest["service"],
        forecast=parts.forecast,
        scale=decided["scale"],
        scale_reason=decided["scale_reason"],
        as_of=np.datetime64(manifest["as_of"], "s"),
        started=datetime.fromisoformat(manifest["started"]).astimezone(UTC),
        duration_s=_number(manifest["duration_s"]),
        status=decided["status"],
        reasons=tuple(decided["reasons"]),
        decision=_decision(decided["decision"]),
        members=tuple(_member(row, costs[row["member"]], parts.live) for row in decided["members"]),
        scores=parts.scores,
        verdicts=tuple(_verdict(row) for row in decided["verdicts"]),
        validation=parts.validation,
        provenance=Provenance(**manifest["provenance"]),
        events=tuple(EventRecord(**row) for row in manifest["events"]),
        timings=dict(manifest["timings"]),
        since=_since(manifest.get("since")),  # runs of before it was recorded lack both
        uncertainty=tuple(UncertaintyRecord(**row) for row in manifest.get("uncertainty", ())),
        origin=Origin(manifest.get("origin", Origin.LIVE)),  # manifests of 2026 and before have neither
        due=None if manifest.get("due") is None else datetime.fromisoformat(manifest["due"]),
        embedding=_embedding(manifest.get("embedding")),
    )


def _since(row: Mapping[str, Any] | None) -> SinceBefore | None:
    if row is None:
        return None
    return SinceBefore(**{**row, "changes": tuple(ChangeRecord(**change) for change in row["changes"])})


def _embedding(row: Mapping[str, Any] | None) -> EmbeddingRecord | None:
    """None also in a manifest from before the figure existed."""
    return None if row is None else EmbeddingRecord(**row)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _date(text: str | None) -> np.datetime64 | None:
    return None if text is None else np.datetime64(text, "s")


def _decision(row: Mapping[str, Any]) -> DecisionRecord:
    kept = dict(row)
    kept["first_cutoff"], kept["last_cutoff"] = _date(row["first_cutoff"]), _date(row["last_cutoff"])
    kept["flags"] = tuple(Flag(flag) for flag in row["flags"])
    kept["hybrid"] = hybrid_of(row.get("hybrid"))
    return DecisionRecord(**kept)


def _verdict(row: Mapping[str, Any]) -> VerdictRecord:
    numbers = {name: _number(row[name]) for name in ("statistic", "p_value", "n_eff")}
    return VerdictRecord(**{**row, **numbers})


def _member(
    row: Mapping[str, Any], cost: Mapping[str, Any], live: Mapping[str, Forecast | Failure]
) -> MemberRecord:
    return MemberRecord(
        name=row["member"],
        state=MemberState(row["state"]),
        live=live[row["member"]],
        weight=row["weight"],
        decided_weight=row["decided_weight"],
        would_be_weight=row["would_be_weight"],
        slope=row["slope"],
        rmse=_number(row["rmse"]),
        relative=_number(row["relative"]),
        windows=row["windows"],
        reason=row["reason"],
        asked=cost["asked"],
        answered=cost["answered"],
        cached=cost["cached"],
        usage=_usage(cost),
        problems=tuple(_failure(problem) for problem in cost["problems"]),
    )


def _usage(cost: Mapping[str, Any]) -> Usage | None:
    if cost["seconds"] is None:
        return None
    return Usage(wall_s=cost["seconds"], cpu_s=cost["cpu_s"], peak_mb=cost["peak_mb"])


def _failure(row: Mapping[str, Any]) -> Failure:
    return Failure(**{**row, "cutoff": _date(row["cutoff"])})
