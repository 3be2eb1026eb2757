"""The hybrid in a run's report: parts of its uncertainty and the branches' weights by lead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from horizoncast.ensemble.records import BRANCHES, SIGNALS
from horizoncast.report.hybrid_plot import BRANCH_COLOURS, PART_COLOURS, finding_of
from horizoncast.report.pages.parts import ShareRow, stacked_shares
from horizoncast.report.pages.rendering import Chart, Table, number, numbers
from horizoncast.report.review.rounding import percent, rounded
from horizoncast.report.texts import text
from horizoncast.store.hybrid_record import HybridRecord, Row
from horizoncast.store.records import RunRecord


@dataclass(frozen=True, kw_only=True)
class HybridPart:
    """What a page shows of a hybrid.

    Parameters
    ----------
    reason
        Why it could not be made; empty when it was.
    facts
        Names and values.
    charts
        Empty where the numbers are not known.
    table
        The same as numbers, by lead; None likewise.
    """

    reason: str
    facts: Sequence[tuple[str, str]]
    charts: Sequence[Chart]
    table: Table | None


def hybrid_part(record: RunRecord, language: str) -> HybridPart | None:
    """The part of a run's report that tells of its hybrid; None where none is configured."""
    hybrid = record.decision.hybrid
    if hybrid is None:
        return None
    charts = (_doubt(hybrid, language), _weights(hybrid, language))
    return HybridPart(
        reason=hybrid.reason,
        facts=_facts(hybrid, language),
        charts=[chart for chart in charts if chart is not None],
        table=_table(hybrid, record, language),
    )


def _doubt(hybrid: HybridRecord, language: str) -> Chart | None:
    """Shares of the variance by lead."""
    shares = shares_of(hybrid)
    if shares is None:
        return None
    rows = [
        ShareRow(label=text(f"chart.hybrid.{name}", language), colour=colour, shares=shares[name])
        for name, colour in PART_COLOURS.items()
        if any(shares[name])
    ]
    epistemic = shares["epistemic"][-1] if any(shares["epistemic"]) else None
    return Chart(
        title=finding_of(hybrid.leads[-1], epistemic, shares["between"][-1], language),
        picture=stacked_shares(
            rows,
            hybrid.leads,
            axis=text("chart.parts.axis", language),
            across=text("chart.step", language),
            name="hybrid-doubt",
            label=text("run.hybrid.doubt_label", language),
        ),
    )


def _weights(hybrid: HybridRecord, language: str) -> Chart | None:
    """Weights of the branches by lead."""
    found = dict(zip(BRANCHES, (hybrid.weight_chronos, hybrid.weight_autoformer), strict=True))
    rows = [
        ShareRow(label=name, colour=BRANCH_COLOURS[name], shares=row)
        for name, row in found.items()
        if row is not None
    ]
    if hybrid.weight_chronos is None:
        return None
    first, last = (percent(hybrid.weight_chronos[place]) for place in (0, -1))
    ends = {"first": first, "last": last, "step": hybrid.leads[-1]}
    return Chart(
        title=text("run.hybrid.weights_title", language, branch=BRANCHES[0], **ends),
        picture=stacked_shares(
            rows,
            hybrid.leads,
            axis=text("run.hybrid.weights_axis", language),
            across=text("chart.step", language),
            name="hybrid-weights",
            label=text("run.hybrid.weights_label", language),
        ),
    )


def shares_of(hybrid: HybridRecord) -> dict[str, Row] | None:
    """Parts of the variance relative to its total; None where they are not known, or nothing is in doubt."""
    rows = {name: getattr(hybrid, name) for name in PART_COLOURS}
    if hybrid.total is None or min(hybrid.total) <= 0:
        return None
    return {
        name: tuple(part / total for part, total in zip(row, hybrid.total, strict=True))
        for name, row in rows.items()
    }


def _facts(hybrid: HybridRecord, language: str) -> list[tuple[str, str]]:
    none = text("common.not_yet_known", language)

    def pair(values: Sequence[float | None], form: str) -> str:
        known = zip(BRANCHES, values, strict=True)
        return ", ".join(f"{name} {none if v is None else form.format(v)}" for name, v in known)

    signals = [(name, getattr(hybrid, name)) for name in SIGNALS]
    context = ", ".join(
        f"{text(f'run.hybrid.{name}', language)} {none if value is None else f'{value:.2f}'}"
        for name, value in signals
    )
    learnt = dict(hybrid.trained or {})
    until, _ = learnt.pop("trained_until", ""), learnt.pop("digest", "")
    trained = ": ".join(part for part in (until, ", ".join(learnt)) if part)
    values = {
        "deployment": text(f"run.hybrid.{hybrid.deployment}", language),
        "confidence": hybrid.confidence,
        "accuracy": pair((hybrid.accuracy_chronos, hybrid.accuracy_autoformer), "{:.2f}"),
        "widths": pair((hybrid.width_chronos, hybrid.width_autoformer), "{:.2f}"),
        "context": context,
        "trained": trained or text("common.none", language),
    }
    shown = ("deployment", "confidence", "trained") if hybrid.reason else tuple(values)
    return [(text(f"run.hybrid.fact_{name}", language), values[name]) for name in shown]


def _table(hybrid: HybridRecord, record: RunRecord, language: str) -> Table | None:
    """Weights, standard deviation and shares of the variance by lead."""
    shares = shares_of(hybrid)
    if shares is None or hybrid.weight_chronos is None or hybrid.weight_autoformer is None:
        return None
    log = record.scale == "log"
    unit = "%" if log else record.forecast.unit
    head = numbers(
        text("chart.step", language),
        *(f"#{name}" for name in BRANCHES),
        "#" + text("run.hybrid.sd", language, unit=unit),
        *("#" + text(f"chart.hybrid.{name}", language) for name in PART_COLOURS),
    )
    known = dict.fromkeys(PART_COLOURS, True) | {"epistemic": any(shares["epistemic"])}
    spread = (100.0 if log else 1.0) * np.sqrt(np.array(hybrid.total))
    rows = [
        [
            number(str(lead)),
            *(
                number(f"{percent(row[k])}\u00a0%")
                for row in (hybrid.weight_chronos, hybrid.weight_autoformer)
            ),
            number(rounded(float(spread[k]))),
            *(number(f"{percent(shares[name][k])}\u00a0%" if known[name] else "") for name in PART_COLOURS),
        ]
        for k, lead in enumerate(hybrid.leads)
    ]
    return Table(label=text("run.hybrid.label", language), head=head, rows=rows)
