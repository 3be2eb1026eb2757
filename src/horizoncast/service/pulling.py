"""`data pull`: the targets of the services, one after the other, each on its own.

What failed and what was revised is left in metrics.jsonl, too, so that silence never looks like success.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from horizoncast.data.http import HttpClient
from horizoncast.data.http_limits import HttpLimits
from horizoncast.data.pull import PullReport, pull_target
from horizoncast.data.secrets import Secrets
from horizoncast.data.target_file import read_target
from horizoncast.errors import HorizoncastError
from horizoncast.service.settings import KeepingSettings
from horizoncast.store.log_records import event_record
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.records import EventRecord

METRICS = "metrics.jsonl"
ACTOR = "data_pull"
"""Stands in records where a run names its service."""


@dataclass(frozen=True, kw_only=True)
class PullResult:
    """One target's pull.

    Parameters
    ----------
    path
        The target's file.
    report
        None when nothing could be pulled at all.
    error
        What stopped it.
    """

    path: Path
    report: PullReport | None = None
    error: HorizoncastError | None = None

    @property
    def exit_code(self) -> int:
        """0, that of the error, or 3 when a source brought less than it should."""
        if self.error is not None:
            return self.error.exit_code
        assert self.report is not None
        return 3 if self.report.failed else 0


@dataclass(frozen=True, kw_only=True)
class PullClock:
    """Time as a pull sees it: the moment, seconds and waiting; tests bring their own."""

    now: np.datetime64 | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    def moment(self) -> np.datetime64:
        """Now, UTC."""
        return np.datetime64("now", "s") if self.now is None else self.now


def pull_all(
    targets: Sequence[tuple[Path, KeepingSettings]],
    environ: Mapping[str, str],
    *,
    at_once: bool = False,
    clock: PullClock | None = None,
) -> list[PullResult]:
    """Pull targets one after the other; one that fails leaves the others alone.

    Parameters
    ----------
    targets
        Files with the settings that say where the store is and what asking may cost.
    environ
        Variables that secrets may be in.
    at_once
        Ask sources again that answered only a moment ago (see ``data.pull_minutes``).
    clock
        The system's by default.
    """
    return [_pull_one(path, settings, environ, at_once, clock or PullClock()) for path, settings in targets]


def targets_of(services: Sequence[KeepingSettings]) -> list[tuple[Path, KeepingSettings]]:
    """The targets of services, each once per store."""
    found = {(s.target_path.resolve(), s.store_folder.resolve()): s for s in reversed(services)}
    return [(path, settings) for (path, _), settings in reversed(found.items())]


def _pull_one(
    path: Path, settings: KeepingSettings, environ: Mapping[str, str], at_once: bool, clock: PullClock
) -> PullResult:
    wanted = settings.data
    limits = HttpLimits(
        connect_s=wanted.connect_s,
        read_s=wanted.read_s,
        budget_s=wanted.budget_s,
        tries=wanted.tries,
        max_bytes=wanted.max_mb << 20,
    )
    secrets = Secrets(variables(settings, environ), settings.secrets_folder)
    now = clock.moment()
    try:
        target = read_target(path)
        with HttpClient(secrets, limits, clock=clock.clock, sleep=clock.sleep) as client:
            report = pull_target(
                target,
                settings.store_folder,
                client=client,
                now=now,
                min_age_s=0.0 if at_once else 60.0 * wanted.pull_minutes,
            )
    except HorizoncastError as error:
        result = PullResult(path=path, error=error)
    else:
        result = PullResult(path=path, report=report)
    _note(settings, result, now)
    return result


def variables(settings: KeepingSettings, environ: Mapping[str, str]) -> dict[str, str]:
    """Where secrets are looked up: the environment, then the global ``.env``."""
    from dotenv import dotenv_values

    file = settings.places.global_env()
    found = {} if file is None else dotenv_values(file, interpolate=False)
    return {key: value for key, value in found.items() if value} | dict(environ)


def _note(settings: KeepingSettings, result: PullResult, now: np.datetime64) -> None:
    """Leave failures and revisions in the log of all services."""
    name = result.path.stem if result.report is None else result.report.target
    at = datetime.fromtimestamp(int(now.astype("datetime64[s]").astype(np.int64)), tz=UTC)
    records = [event_record(event, at=at, service=ACTOR, series=name) for event in events_of(result)]
    if records:
        MetricsLog(settings.output_folder / METRICS).append(records)


def events_of(result: PullResult) -> list[EventRecord]:
    """What the log should know of a pull: nothing when all went well and nothing was revised."""
    if result.report is None:
        return [EventRecord(code="pull_failed", message=str(result.error), severity="error")]
    events = [
        EventRecord(code="pull_failed", message=f"{source.key}: {source.reason}", severity="warning")
        for source in result.report.failed
    ]
    for source in result.report.sources:
        if source.revised:
            first = source.revised[0]
            text = f"{source.key}: {len(source.revised)} values revised, first {first.date}: " + (
                f"{first.before:g} became {first.after:g}"
            )
            events.append(EventRecord(code="history_revised", message=text, severity="info"))
    return events
