"""The pipeline of a process: one at a time, checked before it is loaded, released afterwards.

Nothing here reaches for the network: a folder is loaded, and a folder only.
"""

from __future__ import annotations

import gc
import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import ModelError, NotAdmittedError, NotInstalledError, StoreError
from horizoncast.models.chronos.adapter import Adapter, read_adapter
from horizoncast.models.chronos.folder import PIPELINES, WEIGHTS, ModelManifest, verify
from horizoncast.resources import MIB, data_left, memory_available

LIBRARIES_MB = 420.0
"""Private memory that torch, transformers and chronos take once imported."""
WORKING_MB = 120.0
"""Activations of one chunk at the longest context, and what loading holds for a moment."""
_BYTES = 4


@dataclass(kw_only=True, eq=False)
class Loaded:
    """A pipeline with what it was loaded from.

    Parameters
    ----------
    folder, manifest
        As verified before loading.
    pipeline
        The stock pipeline, in float32 on the processor, in evaluation mode.
    adapter
        What the folder holds beside the checkpoint, if anything.
    alike
        By shape of a batch, whether equal rows were answered alike, to the last bit, at every place.
    vectors
        (D,) of every window that was encoded, by its bytes.
    """

    folder: Path
    manifest: ModelManifest
    pipeline: Any
    adapter: Adapter | None = None
    alike: dict[tuple[str | int, ...], bool] = field(default_factory=dict)
    vectors: dict[bytes, npt.NDArray[np.float64]] = field(default_factory=dict, repr=False)


_HELD: list[Loaded] = []
"""The pipeline of this process, at most one."""


def get_pipeline(folder: Path) -> Loaded:
    """The pipeline of a model folder; another one held by this process is released first.

    Raises
    ------
    StoreError
        When the folder is damaged, pickled, or not what its manifest says.
    NotAdmittedError
        When it does not fit in the memory there is.
    NotInstalledError
        Without the extra ``[neural]``.
    ModelError
        When it loads as another class, or without some of its weights.
    """
    if _HELD and _HELD[0].folder == folder:
        return _HELD[0]
    release_pipeline()
    manifest = verify(folder)
    check_memory(manifest)
    adapter = read_adapter(folder, manifest)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
    pipeline = _load(folder, manifest)
    _HELD.append(Loaded(folder=folder, manifest=manifest, pipeline=pipeline, adapter=adapter))
    return _HELD[0]


def release_pipeline() -> None:
    """Let go of the pipeline and give its memory back."""
    if not _HELD:
        return
    network = weakref.ref(_HELD.pop().pipeline.model)
    if network() is not None:  # held by a cycle of references, which a full collection finds
        gc.collect()
    _trim()


def needed_mb(manifest: ModelManifest) -> float:
    """MiB that loading and running a model takes in a process that has imported nothing yet."""
    return LIBRARIES_MB + WORKING_MB + manifest.parameters * _BYTES / MIB


def check_memory(manifest: ModelManifest, free: int | None = None) -> None:
    """Refuse a model that does not fit; looked at before torch is imported.

    Parameters
    ----------
    free
        Bytes that can be had; what is free in the machine, the container and this process by default.

    Raises
    ------
    NotAdmittedError
        With what it needs and what is there.
    """
    left = data_left()
    there = memory_available() if free is None else free
    there = there if left is None or free is not None else min(there, left)
    needed = needed_mb(manifest)
    if there / MIB < needed:
        raise NotAdmittedError(
            f"{manifest.name} does not fit in memory",
            value=f"{there / MIB:.0f} MiB free",
            allowed=f"at least {needed:.0f} MiB",
            action="choose a smaller model, or raise members.chronos.memory_mb",
        )


def _load(folder: Path, manifest: ModelManifest) -> Any:
    try:
        import torch
        from chronos import BaseChronosPipeline
        from safetensors import safe_open
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            "chronos needs a package that is not installed",
            value=error.name,
            action="pip install 'horizoncast[neural]'",
        ) from error
    try:
        with quiet_transformers(), torch.random.fork_rng(devices=[]):
            pipeline = BaseChronosPipeline.from_pretrained(
                folder, device_map="cpu", dtype=torch.float32, local_files_only=True, use_safetensors=True
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
        raise StoreError(f"model folder {folder.name} cannot be loaded", value=error) from error
    if type(pipeline).__name__ != PIPELINES[manifest.kind]:
        raise ModelError(
            f"{manifest.name} loads as another class",
            value=type(pipeline).__name__,
            allowed=PIPELINES[manifest.kind],
        )
    with safe_open(folder / WEIGHTS, framework="numpy") as weights:
        shapes = {name: tuple(weights.get_slice(name).get_shape()) for name in weights.keys()}  # noqa: SIM118
    _check_weights(manifest.name, pipeline.model, shapes)
    pipeline.model.eval()
    return pipeline


def _check_weights(name: str, network: Any, shapes: dict[str, tuple[int, ...]]) -> None:
    """Refuse weights that leave a part of the network at random numbers.

    The library ignores some missing names; tied ones (`embed_tokens`) are stored once.
    """
    wanted = {key: tuple(p.shape) for key, p in network.named_parameters() if "embed_tokens" not in key}
    lacking = sorted(key for key, shape in wanted.items() if shapes.get(key) != shape)
    if lacking:
        raise StoreError(f"{name}: weights are missing or of another shape", value=", ".join(lacking[:3]))


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bar or advice of the library on standard error, while it loads or saves."""
    from transformers.utils import logging

    shown, level = logging.is_progress_bar_enabled(), logging.get_verbosity()
    logging.disable_progress_bar()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if shown:
            logging.enable_progress_bar()


def _trim() -> None:
    """Return freed pages to the system, where the C library can."""
    import ctypes

    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
