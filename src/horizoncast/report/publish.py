"""Writing a run down: folder with charts, latest.json, log records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from horizoncast.engine import EngineResult
from horizoncast.report.plots import PHONE, fan_chart
from horizoncast.store.log_records import log_records
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.records import RunRecord
from horizoncast.store.results import update_latest, write_run

SVG_LARGEST = 200_000
"""An SVG larger than this many bytes is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """Where a run went: its folder, the log, and the record behind both."""

    folder: Path
    log: Path
    record: RunRecord


def publish(result: EngineResult, record: RunRecord, *, root: Path, log: Path) -> Published:
    """Write the run folder in one step, then what is derived from it.

    Parameters
    ----------
    record
        Of the result, see `horizoncast.report.record.run_record`.
    root, log
        Folder of all results, and the metrics log of all services.

    Raises
    ------
    StoreError
        When the folder cannot be written: nothing is visible then. When latest.json or the log
        cannot be written: the run is published, and publishing again repairs them.
    """
    folder = write_run(root, record, extras=charts(result))
    update_latest(root, record, folder)
    MetricsLog(log).append(log_records(record))
    return Published(folder=folder, log=log, record=record)


def charts(result: EngineResult) -> dict[str, bytes]:
    """Fan chart for a screen and for a phone, and as SVG where that is small."""
    files = {"fan_chart.png": fan_chart(result), f"fan_chart_{PHONE}.png": fan_chart(result, width=PHONE)}
    svg = fan_chart(result, file_format="svg")
    return files | ({"fan_chart.svg": svg} if len(svg) <= SVG_LARGEST else {})
