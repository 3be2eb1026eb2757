"""A loaded checkpoint asked at the ends of histories: with a context, and with or without an anchor.

Letters in shapes: T context, H steps, P covariates, N own levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from horizoncast.models.chronos.adapter import Adapter
from horizoncast.models.chronos.folder import BOLT
from horizoncast.models.chronos.inference import Floats, Raw, Window, answer_bolt, answer_chronos2
from horizoncast.models.chronos.pipeline import Loaded
from horizoncast.models.chronos.seasons import Anchor
from horizoncast.series import History

_FEW_PATCHES = 4
"""Patches from which on a padded one does no harm."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a checkpoint reads the end of a history.

    Parameters
    ----------
    context
        T
    anchor
        What is subtracted before; None: nothing.
    """

    context: int
    anchor: Anchor | None = None


def ask(
    loaded: Loaded, histories: Sequence[History], reading: Reading, *, steps: int, chunk: int
) -> list[Raw]:
    """Answers (H, N) in the series' scale, one per history, all read alike.

    Parameters
    ----------
    chunk
        Rows of a batch of Bolt.
    """
    anchor = reading.anchor
    if anchor is None:
        return _pass(loaded, histories, reading, steps=steps, chunk=chunk)
    parts: list[list[Raw]] = [[] for _ in histories]
    for block in range(1, anchor.blocks(steps) + 1):
        start, stop = (block - 1) * anchor.period, min(block * anchor.period, steps)
        answers = _pass(loaded, histories, reading, block=block, steps=stop, chunk=chunk)
        for part, history, answer in zip(parts, histories, answers, strict=True):
            known = anchor.ahead(np.asarray(history.tail(anchor.reach(block)).z), block, stop)
            quantiles = (known[:, None] + answer.quantiles)[start:stop]
            part.append(replace(answer, quantiles=quantiles))
    return [
        Raw(quantiles=np.concatenate([p.quantiles for p in part]), crossed=any(p.crossed for p in part))
        for part in parts
    ]


def _pass(
    loaded: Loaded,
    histories: Sequence[History],
    reading: Reading,
    *,
    block: int = 1,
    steps: int,
    chunk: int,
) -> list[Raw]:
    kind, context = loaded.manifest.kind, reading.context
    windows = [window_of(history, reading, steps, kind, block) for history in histories]
    if kind == BOLT:
        if loaded.adapter is None:
            patch = int(loaded.pipeline.model.chronos_config.input_patch_size)
            windows = [replace(window, values=filled(window.values, patch)) for window in windows]
        elif reading.anchor is None:
            inputs = (adapter_inputs(loaded.adapter, h.tail(context)) for h in histories)
            windows = [replace(w, inputs=found) for w, found in zip(windows, inputs, strict=True)]
        return answer_bolt(loaded, windows, context=context, steps=steps, chunk=chunk)
    return [answer_chronos2(loaded, window, context=context, steps=steps) for window in windows]


def filled(values: Floats, patch: int) -> Floats:
    """(T,) without the oldest values where they fill less than half of a patch and there are few patches.

    Bolt pads its first patch. With three more or fewer a first patch that is mostly padding makes it too
    sure: 80 % intervals of the shipped checkpoint for random walks cover 69 % at 26 values and 79 % at 24,
    74 % at 50 and 80 % at 48; from 72 on they cover what they say.

    >>> [len(filled(np.zeros(n), 24)) for n in (20, 26, 36, 50, 90, 97)]
    [20, 24, 36, 48, 90, 97]
    """
    rest = len(values) % patch
    if patch <= len(values) < _FEW_PATCHES * patch and rest < patch / 2:
        return values[rest:]
    return values


def adapter_inputs(adapter: Adapter, recent: History) -> Floats | None:
    """What an adapter reads at the end of a context; None where it may not answer."""
    return adapter.inputs_at(recent) if recent.cutoff >= adapter.told.trained_until else None


def window_of(history: History, reading: Reading, steps: int, kind: str, block: int = 1) -> Window:
    """What a checkpoint reads at the end of a history: the target, and for Chronos-2 its covariates.

    With an anchor, covariates too are differences, over the same seasons as the target's.
    """
    anchor = reading.anchor
    values = np.asarray(_recent(history, reading, block).z)
    values = anchor.differences(values, block) if anchor else values
    if kind == BOLT:
        return Window(values=values)
    ahead = history.future_covariates(steps)
    if anchor:
        known = np.asarray(history.tail(anchor.reach(block)).covariates, dtype=np.float64)
        ahead = ahead - anchor.ahead(known, block, steps)
    columns = covariates_of(history, reading, block)
    past: dict[str, Floats] = {}
    future: dict[str, Floats] = {}
    for p, covariate in enumerate(history.series.covariates):
        if np.isnan(columns[:, p]).all():
            continue
        past[covariate.name] = columns[:, p]
        if covariate.known_future and np.isfinite(ahead[:, p]).any():
            future[covariate.name] = np.asarray(ahead[:, p])
    return Window(values=values, past=past, future=future)


def covariates_of(history: History, reading: Reading, block: int = 1) -> Floats:
    """(T, P) covariates as a checkpoint that knows any reads them, NaN where unknown."""
    columns = np.asarray(_recent(history, reading, block).covariates, dtype=np.float64)
    return reading.anchor.differences(columns, block) if reading.anchor else columns


def _recent(history: History, reading: Reading, block: int) -> History:
    return history.tail(reading.context + (reading.anchor.reach(block) if reading.anchor else 0))
