"""One run of one service: read and check the data, forecast, write everything down.

A run that ends in an error leaves an event in metrics.jsonl, so that silence never looks like success.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from horizoncast.data.load import LoadedSeries
from horizoncast.data.report import DataReport
from horizoncast.data.target import Target
from horizoncast.data.target_file import read_target
from horizoncast.engine import EngineResult, ForecastEngine
from horizoncast.errors import HorizoncastError, StoreError
from horizoncast.horizon import Horizon
from horizoncast.policy.states import MemberState
from horizoncast.report.publish import publish
from horizoncast.report.record import run_record
from horizoncast.service.inputs import Clock, mark, read_input
from horizoncast.service.settings import Settings
from horizoncast.store.bank_cache import BankCache
from horizoncast.store.log_records import event_record
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.records import EventRecord, RunRecord
from horizoncast.store.results import sweep_staging
from horizoncast.validation.backtest import Progress
from horizoncast.validation.splitter import CutoffPlan

METRICS = "metrics.jsonl"
CHART = "fan_chart.png"

Tell = Callable[[str], None]
"""Called with one line for people as parts of a run begin."""


@dataclass(frozen=True, kw_only=True, eq=False)
class RunOutcome:
    """A finished run.

    Parameters
    ----------
    settings, target, report
        What it was told, and what the data's checks found.
    result, record
        What the engine found, and what was written.
    folder, metrics
        The run's folder, and the log of all services.
    """

    settings: Settings
    target: Target
    report: DataReport
    result: EngineResult
    record: RunRecord
    folder: Path
    metrics: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Preview:
    """What a run would do: the data were read and checked, nothing was computed or written."""

    settings: Settings
    target: Target
    report: DataReport
    plan: CutoffPlan
    members: tuple[tuple[str, MemberState], ...]


def run_service(
    settings: Settings,
    *,
    as_of: np.datetime64 | None = None,
    progress: Progress | None = None,
    tell: Tell | None = None,
    time_source: Clock | None = None,
) -> RunOutcome:
    """Forecast a service's target and publish the result as files.

    Parameters
    ----------
    settings
        See `load_settings`; target and folders are theirs.
    as_of
        Rows dated later are hidden.
    progress
        Called as members answer, from any thread.
    tell
        Called as parts of the run begin.
    time_source
        What lateness is judged by and waited with; the system's by default.

    Raises
    ------
    HorizoncastError
        Whatever stopped the run; an event in metrics.jsonl says so, too.
    """
    started = datetime.now(tz=UTC)
    target = read_target(settings.target_path)
    try:
        return _run(
            settings,
            target,
            started,
            as_of=as_of,
            progress=progress,
            tell=tell or _silent,
            time_source=time_source,
        )
    except HorizoncastError as error:
        _record_failure(settings, target, started, error)
        raise


def preview(settings: Settings, *, as_of: np.datetime64 | None = None) -> Preview:
    """Read and check the data and lay out the cutoffs, and stop there."""
    target = read_target(settings.target_path)
    loaded = read_input(settings, target, as_of=as_of, wait=False).loaded
    engine = ForecastEngine(settings.engine_config())
    plan = engine.plan(loaded.series, Horizon.parse(settings.horizon))
    members = tuple((name, m.state) for name, m in settings.members.items() if m.state is not MemberState.OFF)
    return Preview(settings=settings, target=target, report=loaded.report, plan=plan, members=members)


def _run(
    settings: Settings,
    target: Target,
    started: datetime,
    *,
    as_of: np.datetime64 | None,
    progress: Progress | None,
    tell: Tell,
    time_source: Clock | None,
) -> RunOutcome:
    clock = time.monotonic()
    sweep_staging(settings.output_folder)
    tell(f"{settings.service}: reading {target.name}")
    given = read_input(settings, target, as_of=as_of, tell=tell, clock=time_source)
    loaded = given.loaded
    read_s = time.monotonic() - clock
    tell(f"{settings.service}: {len(loaded.series)} sessions up to {_day(loaded)}, forecasting")
    engine = ForecastEngine(settings.engine_config(), cache=BankCache(settings.cache_folder))
    result = mark(engine.forecast(loaded.series, settings.horizon, progress=progress), given)
    record = run_record(
        result,
        started=started,
        service=settings.service,
        target=target,
        data_report=loaded.report,
        settings=settings.recorded(),
        timings={"read": read_s, "waited": given.waited_s},
    )
    record = replace(
        record,
        events=(*record.events, *given.events(), *_events(settings, loaded.report)),
        duration_s=time.monotonic() - clock,
    )
    tell(f"{settings.service}: writing")
    root = settings.output_folder
    folder = publish(result, record, root=root, log=root / METRICS).folder
    return RunOutcome(
        settings=settings,
        target=target,
        report=loaded.report,
        result=result,
        record=record,
        folder=folder,
        metrics=settings.output_folder / METRICS,
    )


def _events(settings: Settings, report: DataReport) -> list[EventRecord]:
    """Settings that could not be honoured, and findings that did not block."""
    events = [EventRecord(code="NotPartOfRelease", message=n, severity="warning") for n in settings.notes()]
    return events + [EventRecord(code=f.code, message=f.message, severity="warning") for f in report.warnings]


def _record_failure(settings: Settings, target: Target, at: datetime, error: HorizoncastError) -> None:
    event = EventRecord(code=type(error).__name__, message=str(error), severity="error")
    line = event_record(event, at=at, service=settings.service, series=target.name)
    try:
        MetricsLog(settings.output_folder / METRICS).append([line])
    except StoreError as second:
        error.add_note(f"and this could not be recorded: {second}")


def _day(loaded: LoadedSeries) -> str:
    return loaded.series.calendar.text(loaded.series.last)


def _silent(line: str) -> None:
    """Nobody listens."""
