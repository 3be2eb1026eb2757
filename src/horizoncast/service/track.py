"""The track record: how published forecasts have done, with errors that respect their overlap."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from horizoncast.calendar import Calendar
from horizoncast.service.scoring import live_tables
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.validation.coverage import CoverageTest, christoffersen, thinned
from horizoncast.validation.live import (
    LiveTable,
    PeriodComparison,
    Running,
    compare_periods,
    running,
)
from horizoncast.validation.significance import MIN_EFFECTIVE

HALF_YEAR = np.timedelta64(182 * 86400, "s")


@dataclass(frozen=True, kw_only=True)
class SubjectTrack:
    """One member, or the ensemble, in one service.

    Parameters
    ----------
    running
        Over all steps of matured cutoffs first, then lead by lead over the lead grid.
    recent
        Loss relative to the naive's in the last half year and before, on the leads both have.
    test
        Christoffersen's tests of the 80 % interval at step H, on cutoffs whose horizons do not overlap;
        None while there are fewer than twenty of them.
    """

    service: str
    series: str
    subject: str
    running: tuple[Running, ...]
    recent: PeriodComparison
    test: CoverageTest | None


def track_record(ledger: Ledger, service: str, series: str, calendar: Calendar) -> tuple[SubjectTrack, ...]:
    """The ensemble first, then members; empty while no live forecast has been scored."""
    return tuple(
        SubjectTrack(
            service=service,
            series=series,
            subject=subject,
            running=tuple(running(table)),
            recent=compare_periods(table, table.cutoffs[-1] - HALF_YEAR),
            test=_tested(table),
        )
        for subject, table in live_tables(ledger, service, series, calendar).items()
    )


def _tested(table: LiveTable) -> CoverageTest | None:
    known = np.isfinite(table.covered_80[:, -1])
    hits, ordinals = table.covered_80[known, -1], table.ordinals[known]
    apart = thinned(ordinals, table.steps)
    if len(apart) < MIN_EFFECTIVE:
        return None
    return christoffersen(hits[apart] > 0, 0.8)
