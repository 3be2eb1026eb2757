"""The report of one run: what is expected, how sure, by whom, on which data, from which program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from horizoncast.report.fan import Dates, Floats
from horizoncast.report.pages.changes import change_chart, change_table, moves_of
from horizoncast.report.pages.hybrid import hybrid_part
from horizoncast.report.pages.parts import parts_chart
from horizoncast.report.pages.rendering import Cell, Note, Pill, Table, number, numbers, render
from horizoncast.report.pages.run_charts import fan_pictures, replay_chart, width_chart
from horizoncast.report.pages.run_tables import (
    cost_table,
    member_table,
    path_table,
    score_table,
    step_tables,
)
from horizoncast.report.summary import rounded
from horizoncast.report.texts import ENGLISH, counted, day, text
from horizoncast.store.ledger.rows import ENSEMBLE
from horizoncast.store.plain import Json, date_text, time_text
from horizoncast.store.records import RunRecord

STATUS_KINDS = {"published": "good", "degraded": "warn", "blocked": "bad"}
_SEVERITIES = {"warning": "warn", "error": "bad"}


def render_run(
    record: RunRecord,
    history: tuple[Dates, Floats],
    *,
    language: str = ENGLISH,
    crumbs: Sequence[tuple[str, str]] = (),
) -> str:
    """The report as one HTML page.

    Parameters
    ----------
    history
        (n,) dates and observed values up to the cutoff; see `history_of`.
    crumbs
        Names and relative addresses of pages above it; only on a site.
    """
    forecast = record.forecast
    finding, sub, point = finding_of_run(record, language)
    steps, whole = step_tables(forecast, language)
    values = {
        "title": finding,
        "crumbs": [*crumbs],
        "made": text(
            "run.made", language, version=record.version, started=_minute(time_text(record.started))
        ),
        "finding": finding,
        "sub": sub,
        "status": Pill(
            text=text(f"common.status.{record.status}", language), kind=STATUS_KINDS[record.status]
        ),
        "reasons": record.reasons,
        "tiles": _tiles(record, language),
        "fan": fan_pictures(record, history, point, language),
        "steps": steps,
        "whole": whole,
        "members": member_table(record, language),
        "paths": path_table(record, language),
        "hybrid": hybrid_part(record, language),
        "pictures": [
            chart
            for chart in (
                width_chart(record, language),
                replay_chart(record, language),
                parts_chart(record.uncertainty, language),
            )
            if chart is not None
        ],
        "change": change_table(moves_of(record.since.changes), language) if record.since else None,
        "change_chart": None
        if record.since is None
        else change_chart(moves_of(record.since.changes), forecast.unit, language),
        "before": "" if record.since is None else text("change.since", language, as_of=record.since.as_of),
        "scores": score_table(record, language),
        "scored": _scored(record, language),
        **_data(record, language),
        "events": [
            Note(head=e.code, text=e.message, kind=_SEVERITIES.get(e.severity, ""))
            for e in record.events
            if (e.code, e.message) not in _found(record)
        ],
        "facts": _facts(record, language),
        "versions": ", ".join(f"{name} {version}" for name, version in record.provenance.versions.items()),
        "costs": cost_table(record, language),
        "replay": f"horizoncast replay {record.run_id}",
    }
    return render("run.jinja", language, values)


def history_of(record: RunRecord, newest: Sequence[tuple[str, float]] = ()) -> tuple[Dates, Floats]:
    """Observed values up to the cutoff, as far as a run folder knows them.

    The validation table ends where the last matured cutoff does, up to a stride before the live one.

    Parameters
    ----------
    newest
        The last (date, value) pairs as the ledger keeps them; they have the last word.

    Returns
    -------
    tuple
        (n,) dates and values, the cutoff last; its value is NaN where nobody knows it.
    """
    table, cutoff = record.validation, record.forecast.cutoff
    known = np.isfinite(table.actuals) & (table.dates <= cutoff)
    found = {int(cutoff.astype(np.int64)): float("nan")}
    found |= dict(
        zip(table.dates[known].astype(np.int64).tolist(), table.actuals[known].tolist(), strict=True)
    )
    found |= {int(np.datetime64(date, "s").astype(np.int64)): value for date, value in newest}
    seconds = sorted(found)
    return np.array(seconds).astype("datetime64[s]"), np.array([found[s] for s in seconds])


def finding_of_run(record: RunRecord, language: str) -> tuple[str, str, str]:
    """Title, the line below it, and the last median as text."""
    forecast = record.forecast
    values = {
        "series": forecast.series,
        "sessions": counted("common.sessions", forecast.steps, language),
        "date": day(forecast.dates[-1], language),
        "unit": forecast.unit,
    }
    point = float(forecast.point[-1])
    if not {0.1, 0.9} <= set(forecast.levels):
        shown = rounded(point, float("nan"))
        return text("run.finding_point", language, point=shown, **values), "", shown
    low, high = (float(forecast.quantile(level)[-1]) for level in (0.1, 0.9))
    shown = rounded(point, high - low, extra=1)
    ends = {"low": rounded(low, high - low), "high": rounded(high, high - low)}
    sub = text("run.sub", language, point=shown, cutoff=day(forecast.cutoff, language), unit=forecast.unit)
    return text("run.finding", language, **ends, **values), sub, shown


def _tiles(record: RunRecord, language: str) -> list[tuple[str, str, str]]:
    decision = record.decision
    verdict = next((v.code for v in record.verdicts if v.subject == ENSEMBLE), "")
    slice_note = text("run.tiles.windows_note", language, n_eff=f"{decision.n_eff:.1f}")
    return [
        (text("run.tiles.service", language), record.service, ""),
        (
            text("run.tiles.verdict", language, naive=decision.best_naive),
            text(f"common.verdict.{verdict}", language)
            if verdict
            else text("common.not_yet_known", language),
            "",
        ),
        (text("run.tiles.kappa", language), f"{decision.kappa:.2f}", text("run.tiles.kappa_note", language)),
        (text("run.tiles.width", language), f"{decision.width * decision.adaptive:.2f}", ""),
        (text("run.tiles.windows", language), str(decision.windows), slice_note),
        (text("run.tiles.seconds", language), f"{record.duration_s:.1f} s", ""),
    ]


def _scored(record: RunRecord, language: str) -> str:
    if not record.scores:
        return ""
    score = record.scores[0]
    return text("run.scores.basis", language, windows=score.windows, n_eff=f"{score.n_eff:.1f}")


def _data(record: RunRecord, language: str) -> dict[str, Any]:
    """What the checks found, as far as the manifest has it."""
    report = _mapping(record.provenance.data_report)
    findings = [_mapping(f) for f in _list(report.get("findings"))]
    return {
        "data_tiles": _data_tiles(report, language),
        "data_place": str(report.get("place") or ""),
        "findings": [
            Note(
                head=str(f.get("code") or ""),
                text=str(f.get("message") or ""),
                kind=_SEVERITIES.get(str(f.get("severity")), ""),
            )
            for f in findings
        ],
        "overrides": _overrides(report, language),
        "covariates": _covariates(report, language),
        "scale_reason": record.scale_reason,
        "scale": record.scale,
    }


def _found(record: RunRecord) -> set[tuple[str, str]]:
    """Findings of the data's checks, which are told once."""
    findings = map(_mapping, _list(_mapping(record.provenance.data_report).get("findings")))
    return {(str(f.get("code")), str(f.get("message"))) for f in findings}


def _data_tiles(report: Mapping[str, Json], language: str) -> list[tuple[str, str, str]]:
    keys = ("observed", "filled", "absent", "first", "last", "stale")
    return [
        (text(f"run.data.{key}", language), str(report[key]), "")
        for key in keys
        if report.get(key) is not None
    ]


def _overrides(report: Mapping[str, Json], language: str) -> Table:
    keys = ("column", "date", "#before", "#value", "by", "why")
    names = ["#" * key.startswith("#") + text(f"run.overrides.{key.lstrip('#')}", language) for key in keys]
    rows = []
    for item in map(_mapping, _list(report.get("overrides"))):
        cells = [
            number(_plain_number(item.get(key[1:]), language))
            if key[0] == "#"
            else Cell(text=str(item.get(key)))
            for key in keys
        ]
        rows.append(cells)
    label, empty = text("run.overrides.label", language), text("run.overrides.empty", language)
    return Table(label=label, head=numbers(*names), rows=rows, empty=empty, stacked=True)


def _covariates(report: Mapping[str, Json], language: str) -> Table:
    names = [
        text("run.covariates.name", language),
        *("#" + text(f"run.covariates.{k}", language) for k in ("behind", "carry")),
    ]
    rows = []
    for item in map(_mapping, _list(report.get("covariates"))):
        kind = "bad" if item.get("exhausted") else ("warn" if item.get("behind") else "")
        behind = number(str(item.get("behind")), kind=kind)
        rows.append([Cell(text=str(item.get("name"))), behind, number(str(item.get("max_carry")))])
    return Table(label=text("run.covariates.label", language), head=numbers(*names), rows=rows)


def _facts(record: RunRecord, language: str) -> list[tuple[str, str]]:
    source = record.provenance
    values = {
        "run_id": record.run_id,
        "as_of": date_text(record.as_of),
        "cutoff": date_text(record.forecast.cutoff),
        "started": _minute(time_text(record.started)),
        "rule": f"{record.decision.rule}, {record.decision.combination}",
        "data_hash": source.data_hash,
        "config_hash": source.config_hash,
        "machine": source.machine,
        "commit": source.git_commit or text("common.none", language),
        "seeds": source.seeds,
    }
    return [(text(f"run.facts.{key}", language), value) for key, value in values.items()]


def _minute(moment: str) -> str:
    """A moment of the record, to the second, as people read it."""
    return f"{moment[:19].replace('T', ' ')} UTC"


def _plain_number(value: Json, language: str) -> str:
    return f"{value:g}" if isinstance(value, int | float) else text("common.none", language)


def _mapping(value: Json | object) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Json | object) -> Sequence[Json]:
    return value if isinstance(value, list | tuple) else ()
