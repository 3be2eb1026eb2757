"""Run folders: ``<root>/<series>/<service>/<run id>/``, whole or absent.

Files are staged in ``<root>/.staging/<run id>/``, each synced, and the folder is renamed into
place. Forecast, members, validation, scores and decision hold no times and are byte-identical for
the same input on one machine type; times and memory stand in manifest.json alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from horizoncast.errors import ForecastError, StoreError
from horizoncast.forecast import Forecast
from horizoncast.store import tables
from horizoncast.store.atomic import sync_folder, write_atomic
from horizoncast.store.manifest import Parts, assemble, decision_json, manifest_json
from horizoncast.store.names import safe_name
from horizoncast.store.plain import date_text, json_file, parse_json, time_text
from horizoncast.store.points import reach
from horizoncast.store.records import RunRecord
from horizoncast.store.schema import SCHEMA_VERSION

STAGING = ".staging"
MANIFEST = "manifest.json"
LATEST = "latest.json"
WITHDRAWN = "withdrawn-"
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, ForecastError)


def make_run_id(
    *, service: str, series: str, as_of: np.datetime64, inputs: str, config: str, started: datetime
) -> str:
    """Name of a run: service, series, as-of, digest of inputs and settings, moment of its start.

    Parameters
    ----------
    inputs, config
        Digests of the data and of the settings.
    """
    digest = hashlib.sha256(f"{inputs}\x1f{config}".encode()).hexdigest()[:8]
    day = date_text(as_of).replace("-", "").replace(":", "")
    moment = time_text(started).replace("-", "").replace(":", "").replace(".", "")
    return "-".join((safe_name(service), safe_name(series), day, digest, moment))


def series_folder(root: Path, series: str, service: str) -> Path:
    """Folder of one series in one service; no name can leave the root."""
    return root / safe_name(series) / safe_name(service)


def write_run(root: Path, record: RunRecord, *, extras: Mapping[str, bytes] | None = None) -> Path:
    """Write a run folder in one step and return it.

    Parameters
    ----------
    root
        Folder of all results.
    extras
        More files by name (charts); they are covered by the manifest.

    Raises
    ------
    StoreError
        When the disk is full, the folder cannot be written or the run is there already; nothing is
        visible then.
    """
    rendered = render(record)
    for name in extras or {}:
        if not is_plain_file(name) or name in (MANIFEST, *rendered):
            raise StoreError("a run folder cannot hold this file", value=repr(name))
    files = rendered | dict(extras or {})
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    files[MANIFEST] = manifest_json(record, digests)
    folder = series_folder(root, record.forecast.series, record.service) / plain_run_id(record.run_id)
    _publish(root, folder, files)
    return folder


def render(record: RunRecord) -> dict[str, bytes]:
    """The files that are byte-identical for the same input, by name."""
    return {
        "forecast.parquet": tables.forecast_parquet(record.forecast),
        "forecast.csv": tables.forecast_csv(record.forecast),
        "members.parquet": tables.members_parquet(record.members, record.forecast),
        "validation.parquet": tables.validation_parquet(record.validation),
        "scores.csv": tables.scores_csv(record.scores),
        "decision.json": decision_json(record),
    }


def is_plain_file(name: str) -> bool:
    """Whether a name is a plain file name: letters, digits, dash, dot, underscore; none hidden."""
    plain = all(c.isascii() and (c.isalnum() or c in "-_.") for c in name)
    return plain and name[:1] not in ("", ".", "-")


def plain_run_id(run_id: str) -> str:
    """The run id, once it is known to be a plain file name."""
    if not is_plain_file(run_id) or len(run_id) > 240:
        raise StoreError("a run id must be a plain name", value=repr(run_id), action="use make_run_id")
    return run_id


@dataclass(frozen=True, kw_only=True)
class Latest:
    """What latest.json of a series in a service says: the run that counts now.

    Parameters
    ----------
    folder
        Name of the run's folder, beside latest.json.
    manifest_sha256
        Digest of its manifest.
    """

    run_id: str
    as_of: str
    started: str
    status: str
    folder: str
    manifest_sha256: str


def write_latest(home: Path, latest: Latest) -> Path:
    """Replace latest.json in a service's folder, unless it says the same; it is derived from the ledger."""
    path = home / LATEST
    data = json_file({"schema": SCHEMA_VERSION, **vars(latest)})
    try:
        same = path.read_bytes() == data
    except OSError:  # derived: written anew
        same = False
    if not same:
        write_atomic(path, lambda handle: handle.write(data))
    return path


def latest_run(root: Path, series: str, service: str) -> Path | None:
    """Folder that latest.json points at; None when there is none."""
    home = series_folder(root, series, service)
    try:
        folder = home / plain_run_id(parse_json((home / LATEST).read_bytes())["folder"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"cannot read {home / LATEST}", value=error, action="run the service again"
        ) from error
    return folder


def run_folders(root: Path, series: str, service: str) -> tuple[Path, ...]:
    """All run folders of a series in a service, by name."""
    home = series_folder(root, series, service)
    return tuple(sorted(path.parent for path in home.glob(f"*/{MANIFEST}")))


def read_run(folder: Path) -> RunRecord:
    """Read a run folder back, after comparing every file with its digest.

    Raises
    ------
    StoreError
        When a file is missing, changed, added or cannot be read.
    """
    try:
        manifest = (folder / MANIFEST).read_bytes()
        _verify(folder, parse_json(manifest))
        return assemble(
            Parts(
                forecast=read_forecast(folder),
                live=tables.read_members_parquet((folder / "members.parquet").read_bytes()),
                validation=tables.read_validation_parquet((folder / "validation.parquet").read_bytes()),
                scores=tables.read_scores_csv((folder / "scores.csv").read_bytes()),
                decision=(folder / "decision.json").read_bytes(),
                manifest=manifest,
            )
        )
    except _UNREADABLE as error:
        raise StoreError(f"cannot read run {folder}", value=error, action="run the service again") from error


def read_forecast(folder: Path) -> Forecast:
    """The published forecast of a run folder.

    Raises
    ------
    StoreError
        When the file is missing or holds no valid forecast.
    """
    path = folder / "forecast.parquet"
    try:
        return tables.read_forecast_parquet(path.read_bytes())
    except _UNREADABLE as error:
        raise StoreError(f"cannot read {path}", value=error, action="run the service again") from error


def manifest_digest(folder: Path) -> str:
    """Digest of a run's manifest, which holds the digests of its other files."""
    return _digest(folder / MANIFEST)


def started_of(folder: Path) -> str:
    """When a run began, by its manifest.

    Raises
    ------
    StoreError
        When the manifest cannot be read.
    """
    try:
        return str(parse_json((folder / MANIFEST).read_bytes())["started"])
    except _UNREADABLE as error:
        raise StoreError(f"cannot read {folder / MANIFEST}", value=error) from error


def every_run_folder(root: Path) -> tuple[Path, ...]:
    """All run folders of all series and services, by path."""
    return tuple(sorted(path.parent for path in root.glob(f"*/*/*/{MANIFEST}") if _visible(path, root)))


def withdraw(root: Path, folder: Path) -> None:
    """Take a run folder that was never committed out of sight; staging's sweep deletes it a day later.

    Raises
    ------
    StoreError
        When it cannot be moved.
    """
    place = root / STAGING / f"{WITHDRAWN}{folder.name}"
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(place, ignore_errors=True)
        folder.replace(place)
        os.utime(place)
    except OSError as error:
        raise StoreError(f"cannot withdraw {folder}", value=error.strerror or str(error)) from error


def sweep_staging(root: Path, *, older_than_s: float = 86_400.0, alone: bool = False) -> tuple[Path, ...]:
    """Remove what interrupted runs left in staging, once it is old enough to belong to none alive.

    Parameters
    ----------
    alone
        No other run can be publishing: what is being staged goes whatever its age.
    """
    swept = []
    for folder in sorted((root / STAGING).glob("*")):
        if (alone and not folder.name.startswith(WITHDRAWN)) or _age_s(folder) >= older_than_s:
            shutil.rmtree(folder, ignore_errors=True)
            swept.append(folder)
    return tuple(swept)


def _age_s(folder: Path) -> float:
    try:
        return time.time() - folder.stat().st_mtime
    except FileNotFoundError:  # another run took it away
        return 0.0


def _visible(path: Path, root: Path) -> bool:
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def _publish(root: Path, folder: Path, files: Mapping[str, bytes]) -> None:
    """Stage, sync and rename; whatever goes wrong, no part of the folder stays visible."""
    staging = root / STAGING / folder.name
    if folder.exists():
        raise StoreError("this run is written already", value=folder, action="start a new run")
    try:
        reach("staging")
        staging.mkdir(parents=True)
        try:
            for name, data in files.items():
                _write_synced(staging / name, data)
            sync_folder(staging)
            reach("staged")
            folder.parent.mkdir(parents=True, exist_ok=True)
            os.replace(staging, folder)  # noqa: PTH105  (a folder, in one step)
            reach("renamed")
            _sync_or_withdraw(root, folder, staging)
            reach("synced")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"cannot write run {folder.name} below {root}",
            value=error.strerror or str(error),
            action="check space and permissions; nothing was published",
        ) from error


def _sync_or_withdraw(root: Path, folder: Path, staging: Path) -> None:
    """Make the rename durable; when that fails, take the folder out of sight again."""
    try:
        for parent in (folder.parent, folder.parent.parent, root):
            sync_folder(parent)
    except OSError:
        os.replace(folder, staging)  # noqa: PTH105
        raise


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as handle:
        handle.write(data)
        handle.flush()
        os.fsync(handle.fileno())


def _verify(folder: Path, manifest: Mapping[str, Mapping[str, str]]) -> None:
    expected = manifest["files"]
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    if present != set(expected):
        different = sorted(present ^ set(expected))
        raise StoreError(f"run {folder}: files were added or removed", value=different)
    for name, digest in expected.items():
        if _digest(folder / name) != digest:
            raise StoreError(f"run {folder}: a file was changed after it was written", value=name)


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreError(f"cannot read {path}", value=error.strerror) from error
