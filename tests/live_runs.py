"""Published runs of the naives at past cutoffs, as if each had run the morning after its cutoff."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import numpy as np

from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.report.record import run_record
from horizoncast.series import Series
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import RunRow
from horizoncast.store.records import RunRecord
from horizoncast.store.results import write_run
from small_runs import small_series

SERVICE = "forecaster_7d"
STEPS = 7


def engine() -> ForecastEngine:
    return ForecastEngine(EngineConfig(service=SERVICE, members=(), isolated=False))


@lru_cache(maxsize=64)
def record_at(row: int) -> RunRecord:
    """The run whose last observation is row `row` of `small_series`, started at noon of the day after."""
    series = small_series().truncated(small_series().dates[row])
    started = datetime.fromisoformat(str(series.last)).replace(tzinfo=UTC) + timedelta(hours=36)
    return run_record(engine().forecast(series, STEPS), started=started, service=SERVICE)


def publish_at(
    ledger: Ledger, root: Path, rows: Sequence[int], *, later: timedelta | None = None
) -> list[RunRow]:
    """Commit runs; `later` delays their start, as of runs made in hindsight."""
    done = []
    for row in rows:
        record = record_at(row)
        if later is not None:
            record = replace(record, started=record.started + later, run_id=f"{record.run_id}-later")
        entry = run_entry(record, write_run(root, record), root=root, imported=True)
        done.append(ledger.runs.commit(entry, reprocess=True))
    return done


def revised(series: Series, row: int, value: float) -> Series:
    """The series with another value in one row."""
    values = series.values.copy()
    values[row] = value
    return replace(series, values=values)


def unobserved(series: Series, row: int) -> Series:
    """The series with one row filled instead of observed."""
    observed = np.ones(len(series), dtype=bool)
    observed[row] = False
    return replace(series, observed=observed)
