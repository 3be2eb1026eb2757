"""Facts for a review from metrics.jsonl alone, its archives included."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from horizoncast.errors import StoreError
from horizoncast.store.fact_documents import change_of, hybrid_fact, uncertainty_of, verdict_of
from horizoncast.store.facts import (
    OPEN,
    EventFact,
    Facts,
    MemberFact,
    OutcomeFact,
    PointFact,
    RunDocument,
    RunFact,
    Span,
    heads,
)
from horizoncast.store.log_rotation import every_archive, read_log
from horizoncast.store.schema import RecordKind, identity_of

Record = Mapping[str, Any]
_NAMED = 5


def log_facts(log: Path, span: Span) -> Facts:
    """Everything a log and its archives hold of a span.

    Lines that are torn, corrupt or foreign are skipped, and told among the problems.

    Raises
    ------
    StoreError
        When the log is not there or cannot be opened.
    """
    if not log.exists():
        raise StoreError("the metrics file does not exist", value=log, action="name an existing file")
    records, problems = _read(log)
    wanted = [row["as_of"] for row in records[RecordKind.RUN] if span.matches(row["service"], row["series"])]
    last, span = span.until or OPEN, span.ending(max(wanted, default=""))
    runs = _runs(records[RecordKind.RUN], span)
    known = {run.run_id for run in runs}
    newest = {run.run_id for run in heads(runs).values()}
    return Facts(
        runs=runs,
        members=_grouped(_member(row) for row in records[RecordKind.MEMBER] if row["run_id"] in known),
        points=_points(records[RecordKind.FORECAST], known),
        outcomes=_outcomes(records[RecordKind.OUTCOME], known, last),
        events=_events(records[RecordKind.EVENT], span),
        documents={run_id: _document(run_id, records) for run_id in newest},
        problems=problems,
    )


def _read(log: Path) -> tuple[dict[RecordKind, list[Record]], tuple[str, ...]]:
    """Records by kind, each once, the last one written; and what was skipped."""
    logs = [(path, read_log(path)) for path in (*every_archive(log), log)]
    problems = []
    for path, contents in logs:
        if contents.problems:
            named = "; ".join(f"line {p.line}: {p.reason}" for p in contents.problems[:_NAMED])
            more = f" and {len(contents.problems) - _NAMED} more" if len(contents.problems) > _NAMED else ""
            problems.append(f"{path.name}: {len(contents.problems)} lines were skipped ({named}{more})")
    found: dict[RecordKind, list[Record]] = {kind: [] for kind in RecordKind}
    for record in _once([contents.records for _, contents in logs]):
        found[RecordKind(str(record["kind"]))].append(record)
    return found, tuple(problems)


def _once(logs: Sequence[Sequence[Record]]) -> Iterable[Record]:
    """Records of several logs, each once; one log holds each of them once."""
    if len(logs) == 1:
        return logs[0]
    return {identity_of(record): record for records in logs for record in records}.values()


def _runs(records: Iterable[Record], span: Span) -> tuple[RunFact, ...]:
    found = [_run(row) for row in records if span.holds(row["service"], row["series"], row["as_of"])]
    return tuple(sorted(found, key=lambda run: (run.service, run.series, *run.place)))


def _run(row: Record) -> RunFact:
    names = ("run_id", "service", "series", "as_of", "cutoff", "horizon", "unit", "scale", "status")
    numbers = ("best_naive", "kappa", "width", "adaptive", "windows", "n_eff")
    return RunFact(
        started=row["at"],
        hindsight=row.get("origin") == "backfill",
        reasons=tuple(row["reasons"]),
        flags=tuple(row["flags"]),
        hybrid=hybrid_fact(row.get("hybrid")),
        **{name: row[name] for name in (*names, *numbers)},
    )


def _member(row: Record) -> MemberFact:
    names = ("run_id", "member", "state", "weight", "would_be_weight", "slope", "windows")
    costs = ("failure_code", "failure_reason", "cpu_s", "peak_mb")
    return MemberFact(
        flags=tuple(row["flags"]), wall_s=row["seconds"], **{name: row[name] for name in (*names, *costs)}
    )


def _grouped(members: Iterable[MemberFact]) -> dict[str, tuple[MemberFact, ...]]:
    found: dict[str, list[MemberFact]] = {}
    for member in members:
        found.setdefault(member.run_id, []).append(member)
    return {run_id: tuple(sorted(rows, key=lambda row: row.member)) for run_id, rows in found.items()}


def _points(records: Iterable[Record], known: set[str]) -> dict[str, tuple[PointFact, ...]]:
    found: dict[str, list[PointFact]] = {}
    for row in records:
        if row["run_id"] in known:
            found.setdefault(row["run_id"], []).append(PointFact(*(row[name] for name in PointFact._fields)))
    return {run_id: tuple(sorted(points)) for run_id, points in found.items()}


def _outcomes(records: Iterable[Record], known: set[str], until: str) -> tuple[OutcomeFact, ...]:
    found: dict[tuple[str, str, int], OutcomeFact] = {}
    for row in sorted(records, key=lambda row: int(row["revision"])):
        if row["run_id"] in known and row["date"][:10] <= until:
            outcome = OutcomeFact(*(row[name] for name in OutcomeFact._fields))
            found[outcome.run_id, outcome.subject, outcome.step] = outcome
    return tuple(found.values())


def _events(records: Iterable[Record], span: Span) -> tuple[EventFact, ...]:
    found = [
        EventFact(
            run_id=row["run_id"] or "",
            **{name: row[name] for name in ("at", "service", "series", "code", "message", "severity")},
        )
        for row in records
        if row["at"] >= span.since and span.service in (None, row["service"])
    ]
    return tuple(sorted(found, key=lambda event: event.at))


def _document(run_id: str, records: Mapping[RecordKind, list[Record]]) -> RunDocument:
    def own(kind: RecordKind) -> list[Record]:
        return [row for row in records[kind] if row["run_id"] == run_id]

    changes = own(RecordKind.CHANGE)
    return RunDocument(
        verdicts=tuple(verdict_of(row) for row in own(RecordKind.VERDICT)),
        scores={
            (row["subject"], row["metric"]): (row["value"], row["windows"], row["n_eff"])
            for row in own(RecordKind.SCORE)
        },
        previous=(changes[0]["previous_run_id"], changes[0]["previous_as_of"]) if changes else ("", ""),
        changes=tuple(change_of(row) for row in changes),
        uncertainty=tuple(uncertainty_of(row) for row in own(RecordKind.UNCERTAINTY)),
    )
