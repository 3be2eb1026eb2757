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
from horizoncast.errors import AlreadyPublishedError, HorizoncastError, StoreError
from horizoncast.horizon import Horizon
from horizoncast.policy.states import MemberState
from horizoncast.report.publish import publish
from horizoncast.report.record import run_record
from horizoncast.service.admitting import measured_peaks
from horizoncast.service.changing import since_before
from horizoncast.service.chosen_context import choice_events
from horizoncast.service.inputs import Clock, mark, read_input
from horizoncast.service.ledgers import open_ledger
from horizoncast.service.notify import (
    failure_messages,
    ping_start,
    run_messages,
    send_directly,
    send_due,
)
from horizoncast.service.novelty import judge_embedding
from horizoncast.service.prometheus import write_textfile
from horizoncast.service.rollout import rolled_out
from horizoncast.service.scoring import live_history, score_live
from horizoncast.service.settings import Settings
from horizoncast.service.watching import drift_events
from horizoncast.store.bank_cache import BankCache
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import Repaired, repair
from horizoncast.store.ledger.rows import LedgerEvent, RunRow
from horizoncast.store.log_records import event_record
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.plain import date_text, time_text
from horizoncast.store.records import EventRecord, Origin, RunRecord
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
    run
        Its row in the ledger.
    problems
        What did not work after the run was committed: the next run completes it.
    """

    settings: Settings
    target: Target
    report: DataReport
    result: EngineResult
    record: RunRecord
    folder: Path
    metrics: Path
    run: RunRow
    problems: tuple[str, ...] = ()


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
    reprocess: bool = True,
    due: datetime | None = None,
) -> RunOutcome:
    """Forecast a service's target and publish the result: files, ledger, log, messages.

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
    reprocess
        Make another revision when the as-of is published already, as a person who starts a run
        expects; a schedule does not.
    due
        The due moment it is made for; on record.

    Raises
    ------
    AlreadyPublishedError
        When the as-of is published and `reprocess` is False.
    HorizoncastError
        Whatever stopped the run; an event in metrics.jsonl and in the ledger says so, too.
    """
    started = datetime.now(tz=UTC)
    target = read_target(settings.target_path)
    asked = _Asked(
        started=started,
        as_of=as_of,
        progress=progress,
        tell=tell or _silent,
        time_source=time_source,
        reprocess=reprocess,
        due=due,
    )
    try:
        return _run(settings, target, asked)
    except AlreadyPublishedError:
        raise
    except HorizoncastError as error:
        record_failure(settings, target.name, started, error)
        raise


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What `run_service` was asked; see there."""

    started: datetime
    as_of: np.datetime64 | None
    progress: Progress | None
    tell: Tell
    time_source: Clock | None
    reprocess: bool
    due: datetime | None

    @property
    def origin(self) -> Origin:
        """A date that was named hides what is known by now: hindsight, whatever it changes."""
        return Origin.LIVE if self.as_of is None else Origin.BACKFILL


def preview(settings: Settings, *, as_of: np.datetime64 | None = None) -> Preview:
    """Read and check the data and lay out the cutoffs, and stop there."""
    target = read_target(settings.target_path)
    loaded = read_input(settings, target, as_of=as_of, wait=False).loaded
    engine = ForecastEngine(settings.engine_config())
    plan = engine.plan(loaded.series, Horizon.parse(settings.horizon))
    members = tuple((name, m.state) for name, m in settings.members.items() if m.state is not MemberState.OFF)
    return Preview(settings=settings, target=target, report=loaded.report, plan=plan, members=members)


def _run(settings: Settings, target: Target, asked: _Asked) -> RunOutcome:
    clock, tell, root = time.monotonic(), asked.tell, settings.output_folder
    ledger = open_ledger(settings)
    mended = repair(ledger, root=root, log=root / METRICS)
    events = [
        EventRecord(code="ping_failed", message=text, severity="warning") for text in ping_start(settings)
    ]
    tell(f"{settings.service}: reading {target.name}")
    given = read_input(settings, target, as_of=asked.as_of, tell=tell, clock=asked.time_source)
    loaded = given.loaded
    read_s = time.monotonic() - clock
    if not asked.reprocess:
        _require_unpublished(ledger, settings, loaded)
    settings, learnt = _learn(settings, ledger, loaded, asked)
    tell(f"{settings.service}: {len(loaded.series)} sessions up to {_day(loaded)}, forecasting")
    peaks = measured_peaks(ledger, settings.service, loaded.series.name)
    engine = ForecastEngine(settings.engine_config(), cache=BankCache(settings.cache_folder), peaks=peaks)
    live = live_history(ledger, engine, loaded.series, settings.horizon)
    result = engine.forecast(loaded.series, settings.horizon, progress=asked.progress, live=live)
    result = mark(result, given)
    since, untold = since_before(ledger, settings.service, result)
    record = run_record(
        result,
        started=asked.started,
        service=settings.service,
        target=target,
        data_report=loaded.report,
        settings=settings.recorded(),
        timings={"read": read_s, "waited": given.waited_s},
        since=since,
        origin=asked.origin,
        due=asked.due,
    )
    seen = judge_embedding(settings.traces_folder, loaded.series, alarms=asked.as_of is None)
    events += [*untold, *given.events(), *_events(settings, loaded.report), *learnt, *mending_events(mended)]
    events += [*seen.events, *choice_events(settings.traces_folder, result, settings.service)]
    record = replace(
        record,
        events=(*record.events, *events),
        embedding=seen.record,
        duration_s=time.monotonic() - clock,
    )
    tell(f"{settings.service}: writing")
    done = publish(
        result,
        record,
        root=root,
        log=root / METRICS,
        ledger=ledger,
        messages=run_messages(settings, record),
        reprocess=asked.reprocess,
        language=settings.review.language,
    )
    return RunOutcome(
        settings=settings,
        target=target,
        report=loaded.report,
        result=result,
        record=record,
        folder=done.folder,
        metrics=root / METRICS,
        run=done.run,
        problems=(*done.problems, *_afterwards(settings, ledger)),
    )


def _learn(
    settings: Settings, ledger: Ledger, loaded: LoadedSeries, asked: _Asked
) -> tuple[Settings, list[EventRecord]]:
    """Score what has matured and take the states that hold now.

    A run as of a past date reads what was known then, which is no base for scores.
    """
    events: list[EventRecord] = []
    if asked.as_of is None:
        events += score_live(ledger, settings.service, loaded.series).events
        events += drift_events(ledger, settings.service, loaded.series)
    held, decided = rolled_out(settings, ledger, loaded.series)
    return held, [*events, *decided]


def _require_unpublished(ledger: Ledger, settings: Settings, loaded: LoadedSeries) -> None:
    """Stop before anything is computed; the commit asks again."""
    series, as_of = loaded.series.name, date_text(loaded.series.last)
    if ledger.runs.published(settings.service, series, as_of):
        raise AlreadyPublishedError(f"{settings.service} is published for {series} as of {as_of}")


def mending_events(mended: Repaired) -> list[EventRecord]:
    """What the last runs had left half done."""
    texts = {
        "run_withdrawn": (mended.withdrawn, "a run died before its commit; its folder was withdrawn"),
        "run_adopted": (mended.adopted, "the ledger had lost an acknowledged run; it was taken back"),
        "run_completed": (mended.completed, "a run died after its commit; its log records were written"),
        "repair_failed": (mended.problems, "could not be mended"),
    }
    return [
        EventRecord(code=code, message=f"{text}: {name}", severity="warning")
        for code, (names, text) in texts.items()
        for name in names
    ]


def _afterwards(settings: Settings, ledger: Ledger) -> tuple[str, ...]:
    """Send messages and write the metrics file; the run is published whatever happens here."""
    problems = list(send_due(ledger, settings).problems)
    try:
        if settings.notify.prometheus:
            write_textfile(ledger, settings.places.root / Path(settings.notify.prometheus).expanduser())
    except StoreError as error:
        problems.append(str(error))
    return tuple(problems)


def _events(settings: Settings, report: DataReport) -> list[EventRecord]:
    """Settings that could not be honoured, findings that did not block, corrections that were applied."""
    events = [EventRecord(code="HybridLimited", message=n, severity="warning") for n in settings.notes()]
    events += [EventRecord(code=f.code, message=f.message, severity="warning") for f in report.warnings]
    return events + [
        EventRecord(code="override_applied", message=override.text, severity="info")
        for override in report.overrides
    ]


def record_failure(settings: Settings, series: str, at: datetime, error: HorizoncastError) -> None:
    """Leave a failed run's event in the log and in the ledger, and tell people."""
    event = EventRecord(code=type(error).__name__, message=str(error), severity="error")
    line = event_record(event, at=at, service=settings.service, series=series)
    try:
        MetricsLog(settings.output_folder / METRICS).append([line])
    except StoreError as second:
        error.add_note(f"and this could not be recorded: {second}")
    messages = failure_messages(settings, series, at, error)
    try:
        ledger = open_ledger(settings)
        ledger.events.add(
            LedgerEvent(
                at=time_text(at),
                code=event.code,
                message=event.message,
                severity=event.severity,
                service=settings.service,
                series=series,
            )
        )
        ledger.outbox.add(messages)
        problems = _afterwards(settings, ledger)
    except HorizoncastError as second:
        error.add_note(f"and this is not in the ledger: {second}")
        problems = send_directly(messages, settings)
    for problem in problems:
        error.add_note(f"and nobody was told yet: {problem}")


def _day(loaded: LoadedSeries) -> str:
    return loaded.series.calendar.text(loaded.series.last)


def _silent(line: str) -> None:
    """Nobody listens."""
