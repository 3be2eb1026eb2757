"""`data prune`: what is kept for how long, laid out first and deleted only then.

Raw payloads, intermediate vintages, run folders and the metrics log grow for ever otherwise. Nothing
that a later run or a forecast on record needs is touched: the newest runs and the one that latest.json
names stay, and the first and the last value of each date stay in the store.
"""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import numpy as np

from horizoncast.data.payloads import FOLDER as PAYLOADS
from horizoncast.data.vintages import VintageStore
from horizoncast.errors import StoreError
from horizoncast.service.ledgers import has_ledger, open_ledger
from horizoncast.service.pulling import METRICS
from horizoncast.service.settings import KeepingSettings
from horizoncast.store.atomic import write_atomic
from horizoncast.store.log_rotation import archives_of, log_archive, rotate_log
from horizoncast.store.results import LATEST, MANIFEST, STAGING


class Kept(StrEnum):
    """What is kept for a time."""

    PAYLOAD = "payload"
    VINTAGES = "vintages"
    RUN = "run"
    LOG = "log"
    ARCHIVE = "archive"
    LEDGER = "ledger"


@dataclass(frozen=True, kw_only=True)
class PruneItem:
    """Something that has been kept long enough.

    Parameters
    ----------
    kind, path
        What and where.
    size
        Bytes it frees; 0 where that is not known before.
    reason
        Why it goes.
    """

    kind: Kept
    path: Path
    size: int
    reason: str


def plan_prune(services: Sequence[KeepingSettings], now: datetime) -> tuple[PruneItem, ...]:
    """Everything that the settings' retention lets go; nothing is changed.

    Parameters
    ----------
    services
        Settings of all services; folders that they share are looked at once, with the first one's
        retention.
    now
        UTC.
    """
    stores = {s.store_folder.resolve(): s for s in reversed(services)}
    outputs = {s.output_folder.resolve(): s for s in reversed(services)}
    items: list[PruneItem] = []
    for folder, settings in stores.items():
        items += _payloads(folder, settings.retention.payload_days, now)
        items += _vintages(folder, settings.retention.vintage_days, now)
    for folder, settings in outputs.items():
        items += _runs(folder, settings.retention.run_days, settings.retention.runs_kept, now)
        items += _logs(folder / METRICS, settings.retention.metrics_mb, now)
        items += _ledger(settings, now)
    return tuple(items)


def apply_prune(items: Sequence[PruneItem], services: Sequence[KeepingSettings], now: datetime) -> None:
    """Delete what was planned.

    Raises
    ------
    StoreError
        When something cannot be deleted; what was before it is gone.
    """
    outputs = {s.output_folder.resolve(): s for s in reversed(services)}
    days = {s.store_folder.resolve(): s.retention.vintage_days for s in reversed(services)}
    for item in items:
        try:
            match item.kind:
                case Kept.PAYLOAD:
                    item.path.with_suffix(".json").unlink(missing_ok=True)
                    item.path.unlink(missing_ok=True)
                case Kept.VINTAGES:
                    _compact(item.path, now - timedelta(days=days[item.path.parent]))
                case Kept.RUN:
                    _tell_ledger(outputs[item.path.parents[2].resolve()], item.path.name)
                    _drop_run(item.path)
                case Kept.LOG:
                    keep = outputs[item.path.parent].retention.metrics_days
                    rotate_log(item.path, now=now, keep_from=now - timedelta(days=keep))
                case Kept.ARCHIVE:
                    _pack(item.path)
                case Kept.LEDGER:
                    settings = outputs[item.path.resolve()]
                    open_ledger(settings).prune(_ledger_start(settings, now))
        except OSError as error:
            raise StoreError(f"cannot delete {item.path}", value=error.strerror or str(error)) from error


def _payloads(store: Path, days: int, now: datetime) -> Iterator[PruneItem]:
    if not days:
        return
    for path in sorted((store / PAYLOADS).glob("*/*/*.gz")):
        seen = _first_seen(path)
        if now - seen > timedelta(days=days):
            reason = f"first seen {seen:%Y-%m-%d}, kept {days} days"
            yield PruneItem(kind=Kept.PAYLOAD, path=path, size=path.stat().st_size, reason=reason)


def _first_seen(path: Path) -> datetime:
    """When a payload came, by the note beside it; by its file's time when there is none."""
    try:
        text = json.loads(path.with_suffix(".json").read_text())["at"]
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except (OSError, ValueError, KeyError, TypeError):
        return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC)


def _vintages(store: Path, days: int, now: datetime) -> Iterator[PruneItem]:
    if not days:
        return
    for path in sorted(store.glob("*.sqlite")):
        with VintageStore(path) as opened:
            count = opened.between(_moment(now - timedelta(days=days)))
        if count:
            reason = f"{count} values between the first and the last of their date, older than {days} days"
            yield PruneItem(kind=Kept.VINTAGES, path=path, size=0, reason=reason)


def _compact(path: Path, before: datetime) -> None:
    with VintageStore(path) as store, store.locked():
        store.compact(_moment(before))


def _runs(output: Path, days: int, kept: int, now: datetime) -> Iterator[PruneItem]:
    if not days:
        return
    for service in sorted(p for p in output.glob("*/*") if p.is_dir() and p.parent.name != STAGING):
        runs = sorted(((_started(p.parent), p.parent) for p in service.glob(f"*/{MANIFEST}")), reverse=True)
        latest = _latest(service)
        for started, folder in runs[kept:]:
            if now - started > timedelta(days=days) and folder.name != latest:
                size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
                reason = f"started {started:%Y-%m-%d}, kept {days} days"
                yield PruneItem(kind=Kept.RUN, path=folder, size=size, reason=reason)


def _tell_ledger(settings: KeepingSettings, run_id: str) -> None:
    """Say first that the folder goes: a kill in between leaves a folder that the next prune takes."""
    if has_ledger(settings):
        open_ledger(settings).runs.mark_pruned(run_id)


def _ledger(settings: KeepingSettings, now: datetime) -> Iterator[PruneItem]:
    if not settings.ledger.days or not has_ledger(settings):
        return
    before = _ledger_start(settings, now)
    old = [run for run in open_ledger(settings).runs.all() if run.pruned and run.as_of < before]
    if old:
        reason = f"{len(old)} runs without a folder, as of before {before}"
        yield PruneItem(kind=Kept.LEDGER, path=settings.output_folder, size=0, reason=reason)


def _ledger_start(settings: KeepingSettings, now: datetime) -> str:
    return (now - timedelta(days=settings.ledger.days)).date().isoformat()


def _started(run: Path) -> datetime:
    """When a run began, by its manifest; an unreadable one counts as new and stays."""
    try:
        text = json.loads((run / MANIFEST).read_text())["started"]
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except (OSError, ValueError, KeyError, TypeError):
        return datetime.max.replace(tzinfo=UTC)


def _latest(service: Path) -> str | None:
    try:
        return str(json.loads((service / LATEST).read_text())["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _drop_run(folder: Path) -> None:
    """Out of sight in one step, then deleted; a kill leaves it in staging, which runs sweep."""
    staging = folder.parents[2] / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    gone = folder.replace(staging / f"pruned-{folder.name}")
    shutil.rmtree(gone)


def _logs(log: Path, most_mb: int, now: datetime) -> Iterator[PruneItem]:
    if most_mb and log.is_file() and log.stat().st_size > most_mb << 20:
        reason = f"larger than {most_mb} MB: older records go to {log_archive(log, now).name}"
        yield PruneItem(kind=Kept.LOG, path=log, size=0, reason=reason)
    for path in archives_of(log):
        yield PruneItem(kind=Kept.ARCHIVE, path=path, size=path.stat().st_size, reason="to be compressed")


def _pack(path: Path) -> None:
    """Compress an archived log; the plain file goes only after the packed one is whole."""
    with path.open("rb") as plain:
        packed = gzip.compress(plain.read(), mtime=0)
    write_atomic(path.with_suffix(path.suffix + ".gz"), lambda handle: handle.write(packed))
    path.unlink()


def _moment(at: datetime) -> np.datetime64:
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "s")
