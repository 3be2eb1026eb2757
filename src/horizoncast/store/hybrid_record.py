"""What a run records of its hybrid: plain numbers on the lead grid, rounded as people read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Row = tuple[float, ...]

HYBRID = "hybrid"
"""Name of the member that a fusion makes; `horizoncast.ensemble.hybrid` calls it the same."""


@dataclass(frozen=True, kw_only=True)
class HybridRecord:
    """The fusion of chronos and autoformer in one run, field by field as in `schema.HYBRID`.

    Parameters
    ----------
    deployment, confidence
        Names of how the branches were put to work and of the rule of their confidence.
    reason
        Why the hybrid could not be made; empty when it was.
    leads
        Steps that the rows are for.
    weight_chronos, weight_autoformer, log_odds
        At the live cutoff; None where they are not known.
    epistemic, aleatoric, between, total
        Variances in the scale squared; the parts add up to the total as written.
    accuracy_chronos, accuracy_autoformer, width_chronos, width_autoformer
        Weights by accuracy, and width factors; None where not known.
    season, trend, volatility, entropy, novelty
        Signals of the context; None where not known, novelty also in files of before it was recorded.
    trained
        Learned parts in use, by name; None without any.
    """

    deployment: str
    confidence: str
    reason: str
    leads: tuple[int, ...]
    weight_chronos: Row | None
    weight_autoformer: Row | None
    log_odds: Row | None
    epistemic: Row | None
    aleatoric: Row | None
    between: Row | None
    total: Row | None
    accuracy_chronos: float | None
    accuracy_autoformer: float | None
    width_chronos: float | None
    width_autoformer: float | None
    season: float | None
    trend: float | None
    volatility: float | None
    entropy: float | None
    novelty: float | None = None
    trained: Mapping[str, str] | None


def hybrid_of(row: Mapping[str, Any] | None) -> HybridRecord | None:
    """The record behind its JSON; None also in files of before there was one."""
    if row is None:
        return None
    values: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in row.items()}
    return HybridRecord(**values)
