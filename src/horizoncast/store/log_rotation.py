"""Rotate metrics.jsonl: all of it goes to an archive, recent records stay in the log as well.

Of equal records a reader keeps one, so that a log and its archives can be read together.
"""

from __future__ import annotations

import gzip
import os
import re
import zlib
from datetime import UTC, datetime
from pathlib import Path

from horizoncast.errors import StoreError
from horizoncast.store.atomic import sync_folder, write_atomic
from horizoncast.store.metrics_log import LogContents, MetricsLog, parse_log
from horizoncast.store.plain import json_line


def log_archive(log: Path, now: datetime) -> Path:
    """Name of the archive of a log: ``metrics-20260101T000000Z.jsonl``."""
    return log.with_name(f"{log.stem}-{now:%Y%m%dT%H%M%SZ}{log.suffix}")


def archives_of(log: Path) -> list[Path]:
    """Archives of a log that are not compressed yet, oldest first."""
    name = re.compile(rf"{re.escape(log.stem)}-\d{{8}}T\d{{6}}Z{re.escape(log.suffix)}")
    folder = log.parent
    return (
        sorted(p for p in folder.glob(f"{log.stem}-*") if name.fullmatch(p.name)) if folder.is_dir() else []
    )


def every_archive(log: Path) -> list[Path]:
    """Archives of a log, compressed ones too, oldest first."""
    name = re.compile(rf"{re.escape(log.stem)}-\d{{8}}T\d{{6}}Z{re.escape(log.suffix)}(\.gz)?")
    folder = log.parent
    return (
        sorted(p for p in folder.glob(f"{log.stem}-*") if name.fullmatch(p.name)) if folder.is_dir() else []
    )


def read_log(path: Path) -> LogContents:
    """A log or an archive of it, compressed or not.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    if path.suffix != ".gz":
        return MetricsLog(path).read()
    try:
        return parse_log(gzip.decompress(path.read_bytes()))
    except (OSError, EOFError, zlib.error) as error:
        raise StoreError(f"cannot read {path}", value=error) from error


def rotate_log(log: Path, *, now: datetime, keep_from: datetime) -> Path:
    """Archive a log and start it again with its records since `keep_from`; returns the archive.

    The archive is a second name of the old file, made before the log is replaced in one step: a kill
    in between leaves the log as it was. Writers are kept out meanwhile.

    Raises
    ------
    StoreError
        When the folder cannot be written, or a writer holds the log for too long.
    """
    archive = log_archive(log, now)
    with MetricsLog(log).held():
        kept = [r for r in parse_log(log.read_bytes()).records if _at(str(r["at"])) >= keep_from]
        text = "".join(json_line(record) + "\n" for record in kept).encode("ascii")
        try:
            os.link(log, archive)
            sync_folder(log.parent)
        except OSError as error:
            raise StoreError(f"cannot write {archive}", value=error.strerror or str(error)) from error
        write_atomic(log, lambda handle: handle.write(text))
    return archive


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)
