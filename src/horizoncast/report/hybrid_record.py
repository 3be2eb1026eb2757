"""From the fusion of a decision to what files and the log record of it."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.ensemble.records import SIGNALS, FusionRecord
from horizoncast.horizon import Horizon
from horizoncast.store.hybrid_record import HybridRecord, Row
from horizoncast.store.plain import date_text

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_DIGITS = 4
"""After the point, of weights, factors and signals."""
_SIGNIFICANT = 6
"""Digits of a variance, counted from its total's first."""
_LEAST = 1e-200
"""A smaller variance is written as 0."""


def hybrid_record(fusion: FusionRecord | None) -> HybridRecord | None:
    """The lead grid of a fusion, rounded so that weights and variances add up as they are written."""
    if fusion is None:
        return None
    leads = Horizon(steps=fusion.steps).lead_grid
    places = np.array(leads) - 1
    first = _row(fusion.weights[0, places])
    epistemic, aleatoric, between, total = _variances(fusion.uncertainty, places)
    signals = {name: _known(fusion.regime.get(name, math.nan)) for name in SIGNALS}
    return HybridRecord(
        deployment=fusion.deployment,
        confidence=fusion.confidence,
        reason=fusion.reason,
        leads=leads,
        weight_chronos=first,
        weight_autoformer=None if first is None else tuple(round(1.0 - w, _DIGITS) for w in first),
        log_odds=_row(fusion.log_odds[places]),
        epistemic=epistemic,
        aleatoric=aleatoric,
        between=between,
        total=total,
        accuracy_chronos=_known(fusion.accuracy[0]),
        accuracy_autoformer=_known(fusion.accuracy[1]),
        width_chronos=_known(fusion.widths[0]),
        width_autoformer=_known(fusion.widths[1]),
        trained=_trained(fusion.trained) or None,
        **signals,
    )


def _trained(parts: Mapping[str, str]) -> dict[str, str]:
    """Learned parts, their date as the record writes dates."""
    dates = {name: date_text(np.datetime64(parts[name], "s")) for name in parts if name == "trained_until"}
    return dict(parts) | dates


def _known(value: float) -> float | None:
    return round(float(value), _DIGITS) if math.isfinite(value) else None


def _row(values: Floats) -> Row | None:
    """All of them, or none: half a row says nothing."""
    return tuple(round(float(v), _DIGITS) + 0.0 for v in values) if np.isfinite(values).all() else None


def _variances(parts: HierarchicalUncertainty, places: Ints) -> tuple[Row | None, ...]:
    """Epistemic, aleatoric, between and their total as decimal numbers that add up exactly."""
    rows = np.stack([parts.epistemic, parts.aleatoric, parts.between])[:, places]
    if not np.isfinite(rows).all():
        return (None,) * 4
    written = np.array([_decimals(lead) for lead in rows.T])
    return tuple(tuple(row) for row in written.T.tolist())


def _decimals(values: Floats) -> list[float]:
    """Three variances in units of the last digit that is kept, and their sum."""
    total = float(values.sum())
    last = 0 if total < _LEAST else math.floor(math.log10(total)) + 1 - _SIGNIFICANT
    units = [round(float(v) / 10.0**last) for v in values]
    return [float(f"{n}e{last}") for n in (*units, sum(units))]
