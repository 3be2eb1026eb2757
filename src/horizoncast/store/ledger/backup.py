"""One file that holds the record: ledger, run folders, log, store of observations, configuration.

The ledger is copied from one consistent view into SQLite, wherever it lives; files are copied while
runs are kept from publishing. Secrets stay out: ``.env`` files and the secrets directory are not taken.
"""

from __future__ import annotations

import hashlib
import io
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from horizoncast.errors import StoreError
from horizoncast.store.atomic import write_atomic
from horizoncast.store.ledger.copying import copy_ledger
from horizoncast.store.ledger.database import FILE
from horizoncast.store.ledger.invariants import check_invariants
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.locks import publishing
from horizoncast.store.log_rotation import every_archive
from horizoncast.store.plain import json_file, parse_json, time_text
from horizoncast.store.results import LATEST, every_run_folder

CONTENTS = "backup.json"
RUNS = "runs"
LOG = "metrics.jsonl"
_SQLITE = (".sqlite", ".db")


@dataclass(frozen=True, kw_only=True)
class BackupReport:
    """What a backup holds.

    Parameters
    ----------
    created
        Moment it was made, UTC text.
    runs, files, size
        Runs in its ledger, files, and bytes before compression.
    problems
        What is wrong with it; empty when all of it was read back and holds.
    """

    created: str
    runs: int
    files: int
    size: int
    problems: tuple[str, ...] = ()


def create_backup(file: Path, ledger: Ledger, root: Path, others: Mapping[str, Path]) -> BackupReport:
    """Write a backup; the file is whole or absent.

    Parameters
    ----------
    file
        A ``.tar.gz``; must not exist.
    root
        Folder of results.
    others
        Folders to take along by the name they get in the backup; those that do not exist are left out.

    Raises
    ------
    StoreError
        When the file exists or cannot be written, or something cannot be read.
    """
    if file.exists():
        raise StoreError("the backup exists already", value=file, action="name another file")
    with tempfile.TemporaryDirectory(prefix="horizoncast-backup-") as folder, publishing(root):
        place = Path(folder)
        runs = len(copy_ledger(ledger, place / FILE).runs.all())
        taken = {f"{RUNS}/{FILE}": place / FILE}
        taken |= {f"{RUNS}/{p.relative_to(root).as_posix()}": p for p in _results(root)}
        for name, other in others.items():
            taken |= {f"{name}/{p.relative_to(other).as_posix()}": p for p in _files(other)}
        created = time_text(datetime.now(tz=UTC))
        try:
            return _write(file, taken, place, created, runs)
        except OSError as error:
            raise StoreError(f"cannot write {file}", value=error.strerror or str(error)) from error


def verify_backup(file: Path) -> BackupReport:
    """Read a backup back: every digest, every run, every invariant.

    Raises
    ------
    StoreError
        When the file is no backup or cannot be read.
    """
    with tempfile.TemporaryDirectory(prefix="horizoncast-verify-") as folder:
        place = Path(folder)
        try:
            with tarfile.open(file) as archive:
                archive.extractall(place, filter="data")
            contents = parse_json((place / CONTENTS).read_bytes())
            expected, created = dict(contents["files"]), str(contents["created"])
        except (OSError, EOFError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
            raise StoreError(f"cannot read the backup {file}", value=error) from error
        present = {p.relative_to(place).as_posix(): p for p in place.rglob("*") if p.is_file()}
        del present[CONTENTS]
        problems = [f"{name}: missing or added" for name in sorted(set(present) ^ set(expected))]
        sizes = sum(path.stat().st_size for path in present.values())
        problems += [
            f"{name}: changed"
            for name in set(present) & set(expected)
            if _sha(present[name]) != expected[name]
        ]
        runs, broken = _held(place / RUNS) if not problems else (0, [])
        return BackupReport(
            created=created,
            runs=runs,
            files=len(present),
            size=sizes,
            problems=(*problems, *broken),
        )


def _held(root: Path) -> tuple[int, list[str]]:
    ledger = Ledger.at(root)
    broken = check_invariants(ledger, root, log=root / LOG)
    return len(ledger.runs.all()), [f"invariant {b.invariant}: {b.text}" for b in broken if not b.derived]


def _write(file: Path, taken: Mapping[str, Path], place: Path, created: str, runs: int) -> BackupReport:
    digests: dict[str, str] = {}
    size = 0
    packed = place / "packed"
    with tarfile.open(packed, "w:gz", compresslevel=6) as archive:
        for name, path in sorted(taken.items()):
            data = _read(path, place)
            digests[name], size = hashlib.sha256(data).hexdigest(), size + len(data)
            _add(archive, name, data)
        _add(archive, CONTENTS, json_file({"created": created, "runs": runs, "files": digests}))
    with packed.open("rb") as handle:
        write_atomic(file, lambda out: _pour(handle, out))
    return BackupReport(created=created, runs=runs, files=len(digests), size=size)


def _pour(source: io.BufferedReader, out: io.IOBase | object) -> None:
    while chunk := source.read(1 << 20):
        out.write(chunk)  # type: ignore[union-attr]


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(data), 0o644
    archive.addfile(info, io.BytesIO(data))


def _read(path: Path, place: Path) -> bytes:
    """A file's bytes; a SQLite file through a consistent copy, since a pull may be writing it."""
    if path.suffix not in _SQLITE or path.parent == place:
        return path.read_bytes()
    copy = place / "copy.sqlite"
    copy.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(path, timeout=30.0)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except sqlite3.Error as error:
        raise StoreError(f"cannot copy {path}", value=error) from error
    return copy.read_bytes()


def _results(root: Path) -> Iterator[Path]:
    log = root / LOG
    yield from (path for path in (log, *every_archive(log)) if path.is_file())
    yield from sorted(root.glob(f"*/*/{LATEST}"))
    for folder in every_run_folder(root):
        yield from _files(folder)


def _files(folder: Path) -> Iterator[Path]:
    """Files below a folder, hidden ones (``.env``, locks, half-written files) left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path


def _sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
