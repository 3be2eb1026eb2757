"""How the member answers with a loaded checkpoint: every history by its readings, as one blend each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from horizoncast.horizon import Horizon
from horizoncast.models.chronos.asking import Reading, ask
from horizoncast.models.chronos.blending import Blend, blend
from horizoncast.models.chronos.choosing import Chooser
from horizoncast.models.chronos.config import OFF, ChronosConfig
from horizoncast.models.chronos.inference import Floats, Raw
from horizoncast.models.chronos.pipeline import Loaded
from horizoncast.models.chronos.windows import Windows
from horizoncast.series import History, Series

Usual = Callable[[Loaded, Windows, int], Floats]
"""Quantiles (N, H, Q) at a checkpoint's own levels, for windows and H steps."""


def blends_of(loaded: Loaded, chooser: Chooser, histories: Sequence[History]) -> list[Blend]:
    """The checkpoint's answer at the end of each history of one series.

    Histories that are read alike are asked in one batch.
    """
    steps, chunk = chooser.horizon.steps, chooser.config.chunk

    def asked(some: Sequence[History], reading: Reading) -> list[Raw]:
        return ask(loaded, some, reading, steps=steps, chunk=chunk)

    weighted = chooser.readings(histories, asked)
    raws: dict[tuple[np.datetime64, Reading], Raw] = {}
    for reading in dict.fromkeys(reading for own in weighted for reading, _ in own):
        alike = [h for h, own in zip(histories, weighted, strict=True) if reading in dict(own)]
        answers = asked(alike, reading)
        raws |= {(h.cutoff, reading): raw for h, raw in zip(alike, answers, strict=True)}
    return [
        blend(own, [raws[h.cutoff, reading] for reading, _ in own], loaded.manifest.quantiles)
        for h, own in zip(histories, weighted, strict=True)
    ]


def usual_of(series: Series, config: ChronosConfig) -> Usual | None:
    """What the member answers without a training, where that is more than the series read as it is.

    Parameters
    ----------
    series
        The one that windows are cut from, in the order of its rows.
    config
        The member's.

    Returns
    -------
    Usual or None
        None where the member reads the series as it is.
    """
    if config.season == OFF or not series.periods:
        return None

    def answer(loaded: Loaded, windows: Windows, steps: int) -> Floats:
        histories = [History(series=series, stop=int(end) + 1) for end in windows.ends]
        chooser = Chooser(config, loaded.manifest, Horizon(steps=steps))
        return np.stack([found.raw.quantiles for found in blends_of(loaded, chooser, histories)])

    return answer
