"""What a run says at its end: the short table's rows, and the same as plain JSON."""

from __future__ import annotations

from typing import Any

from horizoncast.forecast import Failure
from horizoncast.report.summary import RunSummary, summarise
from horizoncast.service.runner import CHART, RunOutcome
from horizoncast.store.plain import plain


def rows_of(outcome: RunOutcome) -> list[tuple[str, str]]:
    """Label and text of each line of the table."""
    rows = [*summarise(outcome.result).rows]
    shadow = [f"{name} {100 * weight:.0f} %" for name, weight in shadow_weights(outcome).items()]
    if shadow:
        rows.append(("would weigh if on", ", ".join(shadow)))
    rows += [("no forecast from", f"{name}: {why}") for name, why in failures(outcome).items()]
    rows += [("note", text) for text in notes(outcome)]
    return [*rows, ("seconds", f"{outcome.record.duration_s:.1f}")]


def files_of(outcome: RunOutcome) -> list[tuple[str, str]]:
    """Where the files are."""
    return [
        ("files", str(outcome.folder)),
        ("chart", str(outcome.folder / CHART)),
        ("metrics", str(outcome.metrics)),
    ]


def as_json(outcome: RunOutcome) -> dict[str, Any]:
    """Everything of the table as plain values, numbers unrounded."""
    values: Any = plain(summarise(outcome.result))
    return {
        **values,
        "weights": summarise_weights(outcome),
        "run_id": outcome.record.run_id,
        "best_naive": outcome.result.decision.best_naive,
        "shadow": shadow_weights(outcome),
        "flags": [str(flag) for flag in outcome.result.forecast.flags],
        "failures": failures(outcome),
        "notes": notes(outcome),
        "seconds": outcome.record.duration_s,
        "folder": str(outcome.folder),
        "chart": str(outcome.folder / CHART),
        "metrics": str(outcome.metrics),
    }


def short_row(outcome: RunOutcome) -> tuple[str, ...]:
    """One line of the table that `run-all` ends with; see `SHORT_HEAD`."""
    summary: RunSummary = summarise(outcome.result)
    return (
        outcome.settings.service,
        summary.last_date,
        summary.point_text,
        summary.interval_80_text,
        summary.interval_95_text,
        summary.skill_text,
        summary.weights_text,
        f"{summary.kappa:.2f}",
        f"{summary.width:.2f}",
        summary.status,
    )


SHORT_HEAD = (
    "service", "to", "point", "80 % interval", "95 % interval",
    "skill vs RW", "weights", "kappa", "width", "status",
)  # fmt: skip


def summarise_weights(outcome: RunOutcome) -> dict[str, float]:
    """Share of each member in the published forecast, heaviest first."""
    return dict(summarise(outcome.result).weights)


def shadow_weights(outcome: RunOutcome) -> dict[str, float]:
    """The share each member in shadow would carry if it were on."""
    return {m.name: m.would_be_weight for m in outcome.result.decision.members if m.state == "shadow"}


def failures(outcome: RunOutcome) -> dict[str, str]:
    """Members without a live forecast, and why."""
    return {m.name: m.live.reason for m in outcome.result.members if isinstance(m.live, Failure)}


def notes(outcome: RunOutcome) -> list[str]:
    """Settings that could not be honoured, and data findings that did not block."""
    return [*outcome.settings.notes(), *(finding.message for finding in outcome.report.warnings)]
