"""Thin names for the parts of the member: forecast, get the pipeline, release it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.member import Chronos
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.places import find_model
from horizoncast.series import Series


def forecast_chronos(
    series: Series,
    horizon: Horizon | str | int,
    *,
    cutoffs: Sequence[np.datetime64] | None = None,
    config: ChronosConfig | None = None,
    models: Path | None = None,
    levels: Sequence[float] = LEVELS,
) -> list[Forecast | Failure]:
    """Forecast from the end of a series, or from the cutoffs given, with the member and nothing else.

    Parameters
    ----------
    horizon
        ``Horizon``, ``"30d"`` or 30.
    config
        Settings of the member; its defaults otherwise, with the context of this horizon.
    models
        Folder of the models; without one the checkpoint that ships.

    Raises
    ------
    UnknownNameError, StoreError, ModelError
        When no checkpoint is on disk, or it is damaged, or does not fit in memory. It is released in
        any case.
    """
    span = horizon if isinstance(horizon, Horizon) else Horizon.parse(horizon)
    if config is None:
        config = ChronosConfig()
        config = replace(config, window=config.windows_shipped.get(span.name, config.window))
    if models is not None:
        config = replace(config, models=str(models))
    asked = [series.last] if cutoffs is None else list(cutoffs)
    return list(Chronos(config).forecast(series, asked, span, levels))


def get_chronos_pipeline(model: str | Path = "", *, models: Path | None = None) -> Any:
    """The stock pipeline of a model on disk, checked, in float32; this process holds one at a time.

    Raises
    ------
    UnknownNameError, StoreError, ModelError
        As `forecast_chronos`.
    """
    return get_pipeline(find_model(str(model), models)).pipeline


def release_chronos_pipeline() -> None:
    """Let go of the pipeline and give its memory back to the system."""
    release_pipeline()
