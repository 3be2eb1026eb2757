"""A folder that files are dropped into: each is read once, none is moved or deleted.

A file is known by its name and content: one that is written again under its name is read again, as a
later word on the same dates.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from horizoncast.data.json_rows import parse_json_rows
from horizoncast.data.sources import Rows, parse_csv, read_rows
from horizoncast.data.target import Source, SourceType
from horizoncast.errors import SourceError

_UNFINISHED = (".part", ".tmp", ".partial", ".crdownload")


def unread(
    source: Source, columns: Sequence[str], known: Collection[tuple[str, str]], *, utc: bool
) -> Iterator[tuple[tuple[str, str], Rows]]:
    """Files not yet read, oldest first, so that the newest has the last word.

    Hidden and unfinished files (``.part``, ``.tmp``) are left alone: write under such a name, then
    rename.

    Yields
    ------
    file, rows
        (name, SHA-256), and its rows.

    Raises
    ------
    SourceError
        When the folder is missing, or, after all good files, for the bad ones; they are tried again
        by the next pull.
    """
    assert source.path is not None
    bad: list[SourceError] = []
    for file in _listed(source, source.path):
        content = file.read_bytes()
        mark = (file.name, hashlib.sha256(content).hexdigest())
        if mark in known:
            continue
        try:
            rows = _parsed(source, file, content, tuple(columns), utc=utc)
        except SourceError as error:
            bad.append(error)
            continue
        yield mark, rows
    if bad:
        more = f" (and {len(bad) - 1} more files)" if len(bad) > 1 else ""
        raise SourceError(
            f"{bad[0].what}{more}", value=bad[0].value, allowed=bad[0].allowed, action=bad[0].action
        )


def _listed(source: Source, folder: Path) -> list[Path]:
    assert source.feed is not None
    if not folder.is_dir():
        raise SourceError("the drop folder does not exist", value=folder, action="make it, or correct path")
    files = [
        file
        for file in folder.glob(source.feed.pattern)
        if file.is_file() and not file.name.startswith(".") and file.suffix not in _UNFINISHED
    ]
    return sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name))


def _parsed(source: Source, file: Path, content: bytes, columns: tuple[str, ...], *, utc: bool) -> Rows:
    if not content:
        raise SourceError("a dropped file is empty", value=file, action="write it again")
    match file.suffix.lower():
        case ".parquet" | ".pq":
            return read_rows(replace(source, type=SourceType.PARQUET, path=file, feed=None), columns, utc=utc)
        case ".json":
            return parse_json_rows(source, content, str(file), columns, utc=utc)
        case _:
            return parse_csv(source, content, str(file), columns, utc=utc)
