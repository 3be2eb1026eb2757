"""Fusions of a hybrid made by hand, until a run has one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from horizoncast.engine import EngineResult
from horizoncast.ensemble.parts import HierarchicalUncertainty, hierarchical_uncertainty
from horizoncast.ensemble.records import FusionRecord
from horizoncast.models.hybrid.config import Deployment, HybridConfig
from small_runs import small_result


def parts_of(steps: int, *, scale: float = 1.0) -> HierarchicalUncertainty:
    """Two branches whose spread grows with the root of the lead; the second knows its doubt."""
    lead = np.arange(1, steps + 1)
    noise = (0.006 * scale) ** 2 * np.stack([lead, 1.3 * lead])
    doubt = np.stack([np.zeros(steps), np.linspace(0.15, 0.35, steps)])
    medians = scale * np.stack([0.001 * lead, -0.0004 * lead])
    weights = np.stack([np.linspace(0.7, 0.45, steps), np.linspace(0.3, 0.55, steps)])
    return hierarchical_uncertainty(doubt * noise, (1 - doubt) * noise, medians, weights)


def a_fusion(steps: int = 7, **changes: Any) -> FusionRecord:
    """A fusion with every number known."""
    first = np.linspace(0.7, 0.45, steps)
    values: dict[str, Any] = {
        "deployment": Deployment.FULL,
        "confidence": "inverse_variance",
        "accuracy": np.array([0.56, 0.44]),
        "widths": np.array([1.05, 0.93]),
        "weights": np.stack([first, 1.0 - first]),
        "regime": {"season": 0.31, "trend": 0.12, "volatility": 0.84, "entropy": 0.97, "novelty": 0.62},
        "log_odds": np.linspace(0.2, -0.3, steps),
        "uncertainty": parts_of(steps),
        "trained": {"trained_until": "2024-01-05T00:00:00", "digest": "ab12", "gate": "cd34"},
    }
    return FusionRecord(**{**values, **changes})


def unmade(steps: int = 7) -> FusionRecord:
    """A hybrid that could not be made."""
    return FusionRecord.unmade(HybridConfig(), steps, "its part autoformer did not run")


def with_fusion(fusion: FusionRecord | None, horizon: int = 7) -> EngineResult:
    """A small run whose decision carries a fusion."""
    result = small_result(horizon=horizon)
    return replace(result, decision=replace(result.decision, fusion=fusion))
