"""Settings of the member `chronos`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from horizoncast.errors import ConfigError, HorizoncastError
from horizoncast.horizon import Horizon
from horizoncast.models.base import MemberConfig
from horizoncast.models.chronos.folder import ModelManifest, read_manifest
from horizoncast.models.chronos.places import find_model

ADAPTIVE: Literal["adaptive"] = "adaptive"
AUTO: Literal["auto"] = "auto"
OFF: Literal["off"] = "off"
ON: Literal["on"] = "on"


@dataclass(frozen=True, kw_only=True)
class ChronosConfig(MemberConfig):
    """Settings of `Chronos`.

    Parameters
    ----------
    window
        Sessions of context at this horizon, taken where `context_length` is ``adaptive``.
    model
        Name of a model folder (``amazon/chronos-2``) or a path; empty takes Amazon's Bolt small where it
        has been fetched, else the checkpoint that ships.
    context_length
        ``adaptive``, ``auto`` (chosen at each cutoff from what had matured by then), or sessions.
    season
        Where the series has periods: ``auto`` (at each cutoff, from what had matured by then, the series as
        it is or its difference from its last seasons), ``on`` (differences wherever they fit), ``off``.
    chunk
        Cutoffs computed together by Bolt; memory grows with it.
    unrolled_cutoffs
        Past cutoffs asked for where the horizon is longer than the checkpoint answers in one pass.
    num_samples
        Accepted because other Chronos checkpoints draw samples; Bolt and Chronos-2 state quantiles.
    models
        Folder of the models; empty has the shipped checkpoint only.
    traces
        Folder for vectors of past windows, the base of a run's drift figure; empty leaves none.
    """

    window: int = 512
    min_train: int = 20
    model: str = ""
    context_length: int | Literal["adaptive", "auto"] = ADAPTIVE
    season: Literal["off", "auto", "on"] = AUTO
    chunk: int = 8
    unrolled_cutoffs: int = 20
    num_samples: int = 100
    models: str = field(default="", repr=False)
    traces: str = field(default="", repr=False)

    windows_shipped: ClassVar[Mapping[str, int]] = {"7d": 180, "15d": 180, "30d": 90, "90d": 365}

    def __post_init__(self) -> None:
        if isinstance(self.context_length, int):
            _between("context_length", self.context_length, 16, 8192)
        elif self.context_length not in (ADAPTIVE, AUTO):
            raise ConfigError(
                "chronos context_length",
                value=repr(self.context_length),
                allowed="adaptive, auto, or 16 to 8192 sessions",
            )
        if self.season not in (OFF, AUTO, ON):
            raise ConfigError("chronos season", value=repr(self.season), allowed="off, auto or on")
        _between("chunk", self.chunk, 1, 64)
        _between("unrolled_cutoffs", self.unrolled_cutoffs, 1, 1000)
        _between("num_samples", self.num_samples, 1, 1000)

    @property
    def context(self) -> int:
        """Sessions of context, or those that ``auto`` starts from."""
        return self.context_length if isinstance(self.context_length, int) else self.window

    def folder(self) -> Path:
        """Folder of the model that runs.

        Raises
        ------
        UnknownNameError, StoreError
            When there is none.
        """
        return find_model(self.model, Path(self.models) if self.models else None)

    def asks(self, cutoffs: tuple[np.datetime64, ...], horizon: Horizon) -> tuple[np.datetime64, ...]:
        """The live cutoff, and those past ones that the checkpoint may answer, fewer where it unrolls."""
        try:
            manifest = read_manifest(self.folder())
        except HorizoncastError:
            return cutoffs  # the member itself says why it cannot run
        return cutoffs[:1] + self._past(cutoffs[1:], manifest, horizon)

    def _past(
        self, cutoffs: tuple[np.datetime64, ...], manifest: ModelManifest, horizon: Horizon
    ) -> tuple[np.datetime64, ...]:
        until = manifest.trained_until
        unseen = tuple(cutoff for cutoff in cutoffs if until is None or cutoff >= until)
        return unseen[: self.unrolled_cutoffs] if horizon.steps > manifest.prediction_length else unseen


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"chronos {name} is out of range", value=value, allowed=f"{low} to {high}")
