"""Quantiles of a loaded checkpoint for windows of a series, in float64 and in the windows' own unit.

A cutoff's answer must not depend, to the last bit, on which cutoffs are computed with it. A matrix
product sums in an order that depends on the shape of the batch, so Bolt always gets batches of one
shape: a fixed number of rows, filled with copies, each of the context's length, filled with NaN on the
left. Whether a row's bits depend on its place in such a batch is looked at once, on a batch of copies;
if they do on this machine, cutoffs go one by one. Chronos-2 attends across the rows of a batch, where
places decide the order of sums: there one cutoff, with its covariates, is a batch.

Letters in shapes: T context, L steps in one pass, H steps, N own levels, P covariates.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from horizoncast.forecast import Flag
from horizoncast.horizon import DECILES
from horizoncast.models.chronos.adapter import window_inputs
from horizoncast.models.chronos.levels import at_levels, keep_widening, masses, weighted_quantiles
from horizoncast.models.chronos.pipeline import Loaded

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """What a checkpoint reads at one cutoff.

    Parameters
    ----------
    values
        (T,) in the series' scale, finite, oldest first.
    past
        (T,) per covariate, NaN where unknown; Chronos-2 only.
    future
        (H,) per covariate known in advance, a subset of those in `past`.
    inputs
        (H, F - 3) what the model's adapter reads of covariates; None where the backbone answers alone.
    """

    values: Floats
    past: Mapping[str, Floats] = field(default_factory=dict)
    future: Mapping[str, Floats] = field(default_factory=dict)
    inputs: Floats | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Raw:
    """A checkpoint's answer at one cutoff.

    Parameters
    ----------
    quantiles
        (H, N) in increasing order, at the checkpoint's own levels.
    crossed
        Whether they had to be sorted.
    flags
        What became of the adapter's inputs.
    """

    quantiles: Floats
    crossed: bool
    flags: tuple[Flag, ...] = ()


def answer_bolt(
    loaded: Loaded, windows: Sequence[Window], *, context: int, steps: int, chunk: int
) -> list[Raw]:
    """Answers of Bolt, one per window; windows beyond one chunk go in further batches.

    Parameters
    ----------
    context
        T of the batch: windows are cut, or filled on the left, to it.
    """
    out: list[Raw] = []
    for start in range(0, len(windows), chunk):
        batch = windows[start : start + chunk]
        units = [Unit.of(window.values[-context:]) for window in batch]
        firsts = _first_block(loaded, units, context, chunk)
        for window, unit, (first, state) in zip(batch, units, firsts, strict=True):
            rows, crossed = _ordered(loaded, _unrolled(loaded, unit, first, context, steps), steps)
            flags: tuple[Flag, ...] = ()
            if loaded.adapter is not None and window.inputs is not None:
                flags = loaded.adapter.flags(window.inputs)
                inputs = window_inputs(window.inputs, unit.spread, loaded.adapter.told.spread)
                rows = loaded.adapter.corrected(rows, loaded.manifest.quantiles, state, inputs)
            out.append(Raw(quantiles=unit.back(rows), crossed=crossed, flags=flags))
    return out


def answer_chronos2(loaded: Loaded, window: Window, *, context: int, steps: int) -> Raw:
    """The answer of Chronos-2 at one window, with its covariates."""
    unit = Unit.of(window.values[-context:])
    past, future = {}, {}
    for name, column in window.past.items():
        scaled = Unit.of(column[-context:])
        past[name] = scaled.values.astype(np.float32)
        if name in window.future:
            future[name] = scaled.into(window.future[name]).astype(np.float32)
    task = {"target": unit.values.astype(np.float32), "past_covariates": past, "future_covariates": future}
    own = loaded.manifest.quantiles
    paths = [level for level in own if any(abs(level - decile) < 1e-9 for decile in DECILES)] or list(own)
    with _unwarned():
        (found,) = loaded.pipeline.predict(
            [task], prediction_length=steps, context_length=context, unrolled_quantiles=paths
        )
    rows, crossed = _ordered(loaded, np.asarray(found[0].T, dtype=np.float64), steps)
    return Raw(quantiles=unit.back(rows), crossed=crossed)


@dataclass(frozen=True, kw_only=True, eq=False)
class Unit:
    """A window around its mean in units of its spread, taken in float64.

    The checkpoint does the same in float32, where a price of 1e6 that moves by 0.01 has lost its moves.

    Parameters
    ----------
    values
        (T,) scaled.
    middle, spread
        The window is ``middle + spread values``; a spread of zero counts as one.
    """

    values: Floats
    middle: float
    spread: float

    @classmethod
    def of(cls, window: Floats) -> Unit:
        """Scale a window; NaN stays NaN."""
        known = window[np.isfinite(window)]
        middle = float(known.mean()) if len(known) else 0.0
        spread = float(known.std()) if len(known) else 0.0
        spread = spread if spread > 0 else 1.0
        return cls(values=(window - middle) / spread, middle=middle, spread=spread)

    def into(self, values: Floats) -> Floats:
        """Other values of the same variable in these units."""
        return (values - self.middle) / self.spread

    def back(self, scaled: Floats) -> Floats:
        """Scaled values in the window's own unit."""
        return self.middle + self.spread * scaled


def _first_block(
    loaded: Loaded, units: Sequence[Unit], context: int, chunk: int
) -> list[tuple[Floats, Floats]]:
    """The L steps of one pass per window, each (L, N), scaled, and the decoder's state, (D,)."""
    rows = np.full((len(units), context), np.nan)
    for row, unit in zip(rows, units, strict=True):
        row[context - len(unit.values) :] = unit.values
    shape = (chunk, context)
    if shape not in loaded.alike:
        copies, states = _passed(loaded, np.repeat(rows[:1], chunk, axis=0))
        loaded.alike[shape] = bool((copies == copies[:1]).all() and (states == states[:1]).all())
        if loaded.alike[shape] and len(rows) == 1:
            return [(copies[0], states[0])]
    if not loaded.alike[shape]:
        singles = [_passed(loaded, row[None]) for row in rows]
        return [(found[0], states[0]) for found, states in singles]
    filled = np.concatenate([rows, np.repeat(rows[-1:], chunk - len(rows), axis=0)])
    return list(zip(*_passed(loaded, filled), strict=True))[: len(rows)]


def _unrolled(loaded: Loaded, unit: Unit, first: Floats, context: int, steps: int) -> Floats:
    """At least H steps, (>= H, N), scaled: further blocks from nine paths, the deciles of the last block.

    Every path is read back as if it had happened; each answers with N quantiles, weighted by the
    probability they stand for, and the quantiles of all of them are the next block.
    """
    own = loaded.manifest.quantiles
    blocks = [first]
    longest = loaded.manifest.context_length
    seen = np.full(context, np.nan)
    seen[context - len(unit.values) :] = unit.values
    paths = np.repeat(seen[None], len(DECILES), axis=0)
    while len(blocks) * len(first) < steps:
        ahead = at_levels(np.sort(blocks[-1], axis=1), own, DECILES)[0]
        paths = np.concatenate([paths, ahead.T], axis=1)[:, -longest:]
        answers = _forward(loaded, paths)
        samples = answers.transpose(0, 2, 1).reshape(-1, answers.shape[1])
        weights = np.tile(masses(own), len(DECILES))
        blocks.append(weighted_quantiles(samples, weights, own))
    return np.concatenate(blocks)


def _forward(loaded: Loaded, rows: Floats) -> Floats:
    """(B, T) to (B, L, N)."""
    import torch

    batch: torch.Tensor = torch.from_numpy(np.ascontiguousarray(rows, dtype=np.float32))
    with torch.inference_mode():
        found = loaded.pipeline.model(context=batch).quantile_preds
    return np.asarray(found.numpy().transpose(0, 2, 1), dtype=np.float64)


def _passed(loaded: Loaded, rows: Floats) -> tuple[Floats, Floats]:
    """(B, T) to (B, L, N), and the decoder's last states, (B, D)."""
    with decoder_states(loaded.pipeline.model) as states:
        found = _forward(loaded, rows)
    return found, states[-1]


@contextmanager
def decoder_states(network: Any) -> Iterator[list[npt.NDArray[Any]]]:
    """What a Bolt's decoder hands to its output layer, (B, D) per forward pass inside."""
    seen: list[npt.NDArray[Any]] = []

    def keep(_layer: Any, given: tuple[torch.Tensor, ...]) -> None:
        seen.append(given[0].detach()[:, 0].cpu().numpy())

    hook = network.output_patch_embedding.register_forward_pre_hook(keep)
    try:
        yield seen
    finally:
        hook.remove()


def _ordered(loaded: Loaded, scaled: Floats, steps: int) -> tuple[Floats, bool]:
    """(H, N) sorted and widening, and whether they had to be sorted."""
    own, length = loaded.manifest.quantiles, loaded.manifest.prediction_length
    ordered = np.sort(scaled[:steps], axis=1)
    crossed = bool((ordered != scaled[:steps]).any())
    return keep_widening(ordered, own, length), crossed


@contextmanager
def _unwarned() -> Iterator[None]:
    """Leave out the library's advice on long horizons: what is done about them is documented."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield
