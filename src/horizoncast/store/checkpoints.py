"""Trained networks as safetensors with a manifest; refused when anything about them is wrong.

A checkpoint is two files of one stem: ``<key>.safetensors`` and ``<key>.json``. Weights are never
unpickled. The manifest names the digest of the weights and the last date they have seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import StoreError
from horizoncast.store.atomic import write_atomic
from horizoncast.store.names import safe_name

Arrays = Mapping[str, npt.NDArray[Any]]

FORMAT = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Checkpoint:
    """Weights and what they are.

    Parameters
    ----------
    key
        What they are a function of: a digest of settings, code and training window.
    trained_until
        Last date they have seen; they answer only cutoffs at or after it.
    arrays
        Weights by name.
    facts
        Plain values that go with them.
    """

    key: str
    trained_until: np.datetime64
    arrays: Arrays
    facts: Mapping[str, Any]

    def check_cutoff(self, cutoff: np.datetime64) -> None:
        """Refuse a cutoff that the weights have seen beyond.

        Raises
        ------
        StoreError
            When `cutoff` is before `trained_until`.
        """
        if cutoff < self.trained_until:
            raise StoreError(
                f"checkpoint {self.key} has seen later rows than the cutoff",
                value=cutoff,
                allowed=f"{self.trained_until} or later",
            )


def save_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write weights, then the manifest that makes them valid; returns the manifest's path.

    Raises
    ------
    StoreError
        When the folder cannot be written.
    """
    from safetensors.numpy import save

    weights = save({name: np.ascontiguousarray(array) for name, array in checkpoint.arrays.items()})
    place = folder / f"{safe_name(checkpoint.key)}.json"
    manifest = {
        "format": FORMAT,
        "key": checkpoint.key,
        "trained_until": str(checkpoint.trained_until.astype("datetime64[s]")),
        "sha256": hashlib.sha256(weights).hexdigest(),
        "facts": dict(checkpoint.facts),
    }
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    write_atomic(place.with_suffix(".safetensors"), lambda handle: handle.write(weights))
    write_atomic(place, lambda handle: handle.write(text))
    return place


def load_checkpoint(folder: Path, key: str) -> Checkpoint | None:
    """The checkpoint of a key; None where there is none.

    Raises
    ------
    StoreError
        When the manifest cannot be read, is of another format or key, or does not match the weights.
    """
    place = folder / f"{safe_name(key)}.json"
    if not place.exists():
        return None
    manifest = _read_manifest(place, key)
    try:
        weights = place.with_suffix(".safetensors").read_bytes()
    except OSError as error:
        raise _refused(place, error.strerror or str(error)) from error
    if hashlib.sha256(weights).hexdigest() != manifest["sha256"]:
        raise _refused(place, "the weights do not match their digest")
    return Checkpoint(
        key=key,
        trained_until=np.datetime64(manifest["trained_until"], "s"),
        arrays=_read_weights(place, weights),
        facts=manifest["facts"],
    )


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself, without its weights.

    Parameters
    ----------
    key, trained_until, facts
        As in `Checkpoint`.
    """

    key: str
    trained_until: np.datetime64
    facts: Mapping[str, Any]


def manifests(folder: Path) -> list[Manifest]:
    """Of every checkpoint in a folder, oldest file first; those that cannot be read are left out.

    Whoever needs the weights of one of those is told why by `load_checkpoint`.
    """
    found = []
    for place in sorted(folder.glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        try:
            manifest = _read_manifest(place, place.stem)
        except StoreError:
            continue
        until = np.datetime64(manifest["trained_until"], "s")
        found.append(Manifest(key=manifest["key"], trained_until=until, facts=manifest["facts"]))
    return found


def _read_manifest(place: Path, key: str) -> dict[str, Any]:
    try:
        manifest = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _refused(place, str(error)) from error
    wanted = {"format", "key", "trained_until", "sha256", "facts"}
    if not isinstance(manifest, dict) or not wanted <= set(manifest):
        raise _refused(place, "the manifest lacks fields")
    if manifest["format"] != FORMAT or manifest["key"] != key:
        raise _refused(place, f"format {manifest['format']}, key {manifest['key']}")
    return manifest


def _read_weights(place: Path, weights: bytes) -> Arrays:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        loaded: Arrays = load(weights)
    except SafetensorError as error:
        raise _refused(place, str(error)) from error
    return loaded


def _refused(place: Path, why: str) -> StoreError:
    return StoreError(
        f"checkpoint {place.name} is refused", value=why, action="delete it; it is trained again"
    )
