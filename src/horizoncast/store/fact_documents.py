"""A run's document as facts; see `horizoncast.store.ledger.schema.DOCUMENTS`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from horizoncast.store.facts import ChangeFact, HybridFact, RunDocument, UncertaintyFact, VerdictFact

PARTS = ("data", "members", "weights", "skill", "width")
"""Parts of a change in their order; `horizoncast.ensemble.change` makes them."""


def document_of(document: Mapping[str, Any]) -> RunDocument:
    """The document behind its JSON."""
    since = document.get("since") or {}
    return RunDocument(
        verdicts=tuple(verdict_of(row) for row in document.get("verdicts", ())),
        scores={
            (row["subject"], row["metric"]): (row["value"], row["windows"], row["n_eff"])
            for row in document.get("scores", ())
        },
        previous=(since.get("run_id", ""), since.get("as_of", "")),
        changes=tuple(change_of(row) for row in since.get("changes", ())),
        uncertainty=tuple(uncertainty_of(row) for row in document.get("uncertainty", ())),
    )


def hybrid_fact(row: Mapping[str, Any] | None) -> HybridFact | None:
    """A run's hybrid behind its JSON; None where there is none."""
    if row is None:
        return None
    weights, parts, totals = (row[name] for name in ("weight_chronos", "epistemic", "total"))
    known = totals is not None and min(totals) > 0 and any(parts)  # 0 throughout: no branch knows
    shares = [part / total for part, total in zip(parts, totals, strict=True)] if known else []
    return HybridFact(reason=row["reason"], weight=_mean(weights or ()), doubt=_mean(shares))


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def verdict_of(row: Mapping[str, Any]) -> VerdictFact:
    """A verdict behind its JSON."""
    names = ("subject", "reference", "code", "p_value", "windows", "n_eff")
    return VerdictFact(**{name: row[name] for name in names})


def change_of(row: Mapping[str, Any]) -> ChangeFact:
    """A change behind its JSON."""
    names = ("step", "date", "previous_step", "measure", "before", "after")
    parts = tuple((part, float(row[part])) for part in PARTS)
    return ChangeFact(**{name: row[name] for name in names}, parts=parts)


def uncertainty_of(row: Mapping[str, Any]) -> UncertaintyFact:
    """A part of the uncertainty behind its JSON."""
    return UncertaintyFact(**{name: row[name] for name in ("step", "date", "part", "sd", "share")})
