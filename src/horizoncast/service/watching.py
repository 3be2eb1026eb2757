"""Drift alarms of a run: on the series' changes and on live residuals, as events for people.

Nothing follows from an alarm by itself: weights and widths adapt by their own rules, and a person looks.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Calendar
from horizoncast.models.registry import NAIVES
from horizoncast.policy.drift import Drift, Watch, reference_length, session_changes, watch
from horizoncast.series import Series
from horizoncast.service.scoring import live_tables
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import ENSEMBLE
from horizoncast.store.records import EventRecord

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RECENT = 30
"""Values for which an alarm is told again: later it is history."""

_WORDS = {Drift.VARIANCE: "vary more than", Drift.MEAN: "have another mean than"}
_LIMIT = 4.0


def drift_events(ledger: Ledger, service: str, series: Series) -> tuple[EventRecord, ...]:
    """What has changed lately; empty where nothing has, or too little is known to tell.

    Parameters
    ----------
    series
        As read now; its changes are those of a session, or of a season where that was the best naive.
    """
    lag = _lag(ledger, service, series)
    scaled = series.scale.forward(series.values)
    found = _told(
        f"changes of {series.name}", session_changes(scaled, lag), series.ordinals[lag:], series.calendar
    )
    residuals, ordinals = live_residuals(ledger, service, series)
    found += _told(f"live residuals of {service}", residuals, ordinals, series.calendar)
    return tuple(found)


def live_residuals(ledger: Ledger, service: str, series: Series) -> tuple[Floats, Ints]:
    """One-step forecasts against what happened, as normal scores of the PIT, and their cutoffs, (n,) each.

    Standardised by the forecast's own spread: their variance grows when intervals become too narrow.
    """
    from scipy.special import ndtri

    table = live_tables(ledger, service, series.name, series.calendar).get(ENSEMBLE)
    if table is None:
        return np.empty(0), np.empty(0, dtype=np.int64)
    pit = table.pit[:, 0]
    known = np.isfinite(pit)
    return np.clip(ndtri(pit[known]), -_LIMIT, _LIMIT), table.ordinals[known]


def _lag(ledger: Ledger, service: str, series: Series) -> int:
    """A season where the newest run's best naive was the seasonal one, else one session."""
    latest = ledger.runs.latest(service, series.name)
    seasonal = latest is not None and latest.decision.get("best_naive") == NAIVES[-1] != NAIVES[0]
    return series.periods[0] if seasonal and series.periods else 1


def _told(name: str, values: Floats, ordinals: Ints, calendar: Calendar) -> list[EventRecord]:
    if not len(values):
        return []
    reference = reference_length(ordinals)
    return [
        EventRecord(
            code=f"drift_{found.drift}",
            message=_words(name, found, len(values) - reference),
            severity="warning",
        )
        for found in watch(values, reference)
        if found.alarm is not None and len(values) - reference - found.alarm <= RECENT
    ]


def _words(name: str, found: Watch, watched: int) -> str:
    assert found.alarm is not None
    ago = watched - 1 - found.alarm
    return (
        f"{name} {_WORDS[found.drift]} before, since {ago} values: "
        f"{found.statistic[found.alarm]:.1f} over {found.threshold:.1f}"
    )
