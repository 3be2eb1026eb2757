"""A model folder: ``config.json``, ``model.safetensors`` and the ``manifest.json`` that makes them valid.

The first two are what Hugging Face writes, so that the stock `chronos` package loads the folder. The
manifest says which model it is, what it has seen, and the sha256 of each file. A folder whose files
differ from it, that holds a pickled file, or a file that nobody listed, is refused: whatever lies beside
the weights could change what is loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.errors import StoreError
from horizoncast.models.chronos.safetensors_header import parameter_count
from horizoncast.store.atomic import write_atomic

FORMAT = 1
CONFIG, WEIGHTS, MANIFEST = "config.json", "model.safetensors", "manifest.json"
BOLT, CHRONOS2 = "bolt", "chronos2"
ARCHITECTURES: dict[str, str] = {
    "ChronosBoltModelForForecasting": BOLT,
    "Chronos2Model": CHRONOS2,
}
"""Class of the network in config.json, and the class of model it is here."""
PIPELINES: dict[str, str] = {BOLT: "ChronosBoltPipeline", CHRONOS2: "Chronos2Pipeline"}
"""Pipeline that config.json has to name: without a name the library would take a T5 model's."""

PICKLED = frozenset(
    {".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".npy", ".npz", ".msgpack"}
)
"""Files that can run code when they are read, or that nobody here reads."""
_PROSE = frozenset({".md", ".txt", ".png", ".svg", ".csv"})
"""Files that may lie beside the weights without being listed: nothing loads them."""
_BLOCK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class ModelManifest:
    """What a model folder holds.

    Parameters
    ----------
    name
        The model's own name: its repository (``amazon/chronos-bolt-small``), or ours.
    revision
        Commit of the repository, or version of our own training.
    kind
        ``bolt`` or ``chronos2``, read from config.json.
    files
        sha256 by file name; config.json and model.safetensors at least.
    licence
        As its card states it.
    parameters
        Numbers in the weights.
    context_length, prediction_length
        Sessions it reads at most, and sessions it answers in one pass.
    quantiles
        Its own levels.
    trained_until
        Last date of real data it can have seen; None where it has seen none (synthetic series only).
        Cutoffs before it are refused.
    created_by
        Command or component that wrote the folder.
    facts
        Plain values that go with it: base model, recipe, seeds, scores.
    """

    name: str
    revision: str
    kind: str
    files: Mapping[str, str]
    licence: str
    parameters: int
    context_length: int
    prediction_length: int
    quantiles: tuple[float, ...]
    trained_until: np.datetime64 | None
    created_by: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """One digest over all files, 16 hexadecimal digits."""
        text = json.dumps(dict(sorted(self.files.items())))
        return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What config.json says of a network."""

    kind: str
    context_length: int
    prediction_length: int
    quantiles: tuple[float, ...]


def write_manifest(
    folder: Path,
    *,
    name: str,
    revision: str,
    licence: str,
    trained_until: np.datetime64 | str | None,
    created_by: str,
    more_files: Sequence[str] = (),
    facts: Mapping[str, Any] | None = None,
) -> ModelManifest:
    """Describe the files of a folder and write the manifest last, so that it makes them valid.

    Parameters
    ----------
    more_files
        Files to list beside config.json and model.safetensors.

    Raises
    ------
    StoreError
        When a file is missing, torn, or of a network that is neither Bolt nor Chronos-2.
    """
    network = read_architecture(folder)
    names = (CONFIG, WEIGHTS, *more_files)
    manifest = ModelManifest(
        name=name,
        revision=revision,
        kind=network.kind,
        files={file: sha256_of(folder / file) for file in names},
        licence=licence,
        parameters=parameter_count(folder / WEIGHTS),
        context_length=network.context_length,
        prediction_length=network.prediction_length,
        quantiles=network.quantiles,
        trained_until=None if trained_until is None else np.datetime64(str(trained_until), "s"),
        created_by=created_by,
        facts=dict(facts or {}),
    )
    values = asdict(manifest) | {
        "format": FORMAT,
        "trained_until": None if manifest.trained_until is None else str(manifest.trained_until),
    }
    text = (json.dumps(values, indent=1, sort_keys=True) + "\n").encode()
    write_atomic(folder / MANIFEST, lambda handle: handle.write(text))
    return manifest


def read_manifest(folder: Path) -> ModelManifest:
    """The manifest of a folder; its files are not looked at (`verify` does).

    Raises
    ------
    StoreError
        When there is none, or it cannot be read, or a field is missing or of the wrong type.
    """
    place = folder / MANIFEST
    try:
        values = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refused(folder, f"{MANIFEST}: {_why(error)}") from error
    wanted = {item.name for item in fields(ModelManifest)} | {"format"}
    if not isinstance(values, dict) or set(values) != wanted:
        raise refused(folder, f"{MANIFEST} lacks fields, or has others")
    if values.pop("format") != FORMAT:
        raise refused(folder, f"{MANIFEST} is of another format")
    try:
        return _typed(values)
    except (TypeError, ValueError) as error:
        raise refused(folder, f"{MANIFEST}: {error}") from error


def verify(folder: Path) -> ModelManifest:
    """Check every file of a folder against its manifest; weights are read once, nothing is loaded.

    Raises
    ------
    StoreError
        When a listed file is missing, torn or different, when there is a pickled file or one that
        nobody listed, or when config.json contradicts the manifest.
    """
    manifest = read_manifest(folder)
    _refuse_strangers(folder, manifest)
    for name, expected in manifest.files.items():
        if sha256_of(folder / name) != expected:
            raise refused(folder, f"{name} does not match its sha256")
    network = read_architecture(folder)
    said = (manifest.kind, manifest.context_length, manifest.prediction_length, manifest.quantiles)
    found = (network.kind, network.context_length, network.prediction_length, network.quantiles)
    if said != found:
        raise refused(folder, f"{MANIFEST} and {CONFIG} contradict each other")
    if parameter_count(folder / WEIGHTS) != manifest.parameters:
        raise refused(folder, f"{WEIGHTS} holds another number of parameters than {MANIFEST} says")
    return manifest


def read_architecture(folder: Path) -> Architecture:
    """Class, lengths and levels from config.json.

    Raises
    ------
    StoreError
        When it cannot be read, names another network, or wants code of its own to be run.
    """
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise refused(folder, f"{CONFIG}: {_why(error)}") from error
    try:
        if "auto_map" in config:
            raise refused(folder, f"{CONFIG} asks for code of the repository to be run")
        names = list(config["architectures"])
        kinds = [ARCHITECTURES[name] for name in names if name in ARCHITECTURES]
        if len(kinds) != 1:
            raise refused(folder, f"{CONFIG} names {', '.join(names) or 'no network'}")
        pipeline = config.get("chronos_pipeline_class")
        if pipeline != PIPELINES[kinds[0]]:
            raise refused(folder, f"{CONFIG} names {names[0]} and the pipeline {pipeline}, which do not fit")
        own = config["chronos_config"]
        steps = _steps_of(kinds[0], own)
        levels = tuple(float(level) for level in own["quantiles"])
        found = Architecture(
            kind=kinds[0],
            context_length=int(own["context_length"]),
            prediction_length=steps,
            quantiles=levels,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise refused(folder, f"{CONFIG} is no config of Chronos-Bolt or Chronos-2 ({error!r})") from error
    if list(levels) != sorted(set(levels)) or 0.5 not in levels or not 0 < levels[0] < levels[-1] < 1:
        raise refused(folder, f"{CONFIG}: quantile levels {levels}")
    return found


def sha256_of(path: Path) -> str:
    """Digest of a file, read in blocks.

    Raises
    ------
    StoreError
        When it cannot be read.
    """
    state = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while block := handle.read(_BLOCK):
                state.update(block)
    except OSError as error:
        raise refused(path.parent, f"{path.name}: {_why(error)}") from error
    return state.hexdigest()


def refused(folder: Path, why: str) -> StoreError:
    """The error for a folder that will not be loaded."""
    return StoreError(
        f"model folder {folder.name} is refused",
        value=why,
        action="fetch or train it again; horizoncast models verify names every damaged folder",
    )


def _steps_of(kind: str, own: Mapping[str, Any]) -> int:
    if kind == BOLT:
        return int(own["prediction_length"])
    return int(own["max_output_patches"]) * int(own["output_patch_size"])


def _refuse_strangers(folder: Path, manifest: ModelManifest) -> None:
    """Files that nobody listed, among them links and folders."""
    for name in manifest.files:
        if Path(name).name != name:
            raise refused(folder, f"{MANIFEST} lists {name!r}, which is not a plain name")
    if missing := {CONFIG, WEIGHTS} - set(manifest.files):
        raise refused(folder, f"{MANIFEST} does not list {', '.join(sorted(missing))}")
    for entry in sorted(os.scandir(folder), key=lambda item: item.name):
        suffix = Path(entry.name).suffix.lower()
        if suffix in PICKLED:
            raise refused(folder, f"{entry.name} is not safetensors; such files can run code when read")
        known = entry.name in manifest.files or entry.name == MANIFEST or suffix in _PROSE
        if not known and entry.name not in ("LICENSE", "LICENCE", "NOTICE"):
            raise refused(folder, f"{entry.name} is not in {MANIFEST}")


def _typed(values: dict[str, Any]) -> ModelManifest:
    until = values.pop("trained_until")
    numbers = {key: values.pop(key) for key in ("parameters", "context_length", "prediction_length")}
    if not all(type(number) is int and number > 0 for number in numbers.values()):
        raise ValueError("a count is not a positive whole number")
    levels, files, facts = (values.pop(key) for key in ("quantiles", "files", "facts"))
    if not isinstance(files, dict) or not isinstance(facts, dict):
        raise TypeError("files and facts are tables")
    texts = [*values.values(), *files, *files.values()]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError("a text is expected")
    date = None if until is None else np.datetime64(until, "s")
    if date is not None and np.isnat(date):
        raise ValueError("trained_until is no date")
    return ModelManifest(
        **values,
        **numbers,
        files=files,
        facts=facts,
        quantiles=tuple(float(level) for level in levels),
        trained_until=date,
    )


def _why(error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is none"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)
