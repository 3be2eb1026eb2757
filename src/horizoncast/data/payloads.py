"""Raw answers kept as they came, for audits and for reading them again after a parser was corrected.

``raw/TARGET/ab/abcd....gz`` holds the body, a ``.json`` beside it where and when it was first seen;
neither holds a secret.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from horizoncast.errors import StoreError
from horizoncast.store.atomic import write_atomic

FOLDER = "raw"


def payload_folder(store: Path, target: str) -> Path:
    """Where the raw answers of a target are kept."""
    return store / FOLDER / target


def keep_payload(folder: Path, body: bytes, *, url: str, at: str, headers: Mapping[str, str]) -> str:
    """Write an answer down under its SHA-256, once; returns it.

    Parameters
    ----------
    folder
        From `payload_folder`.
    body
        As received, decompressed.
    url
        With its secrets hidden.
    at
        ISO moment in UTC.
    headers
        Of the answer.

    Raises
    ------
    StoreError
        When it cannot be written.
    """
    digest = hashlib.sha256(body).hexdigest()
    path = _path(folder, digest)
    if not path.exists():
        about = {"url": url, "at": at, "bytes": len(body), "sha256": digest, "headers": dict(headers)}
        text = json.dumps(about, indent=1, sort_keys=True).encode()
        write_atomic(path.with_suffix(".json"), lambda handle: handle.write(text))
        packed = gzip.compress(body, compresslevel=6, mtime=0)
        write_atomic(path, lambda handle: handle.write(packed))
    return digest


def read_payload(folder: Path, digest: str) -> bytes:
    """An answer as it came.

    Raises
    ------
    StoreError
        When it is not there, or is not what its name says.
    """
    path = _path(folder, digest)
    try:
        body = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise StoreError("a raw payload cannot be read", value=path) from error
    if hashlib.sha256(body).hexdigest() != digest:
        raise StoreError("a raw payload is damaged", value=path, action="pull again")
    return body


def _path(folder: Path, digest: str) -> Path:
    return folder / digest[:2] / f"{digest}.gz"
