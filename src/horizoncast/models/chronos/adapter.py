"""An output-injection adapter: what covariates add to the quantiles of a frozen Bolt.

ChronosX (Pineda Arango et al. 2025, arXiv 2503.12107) injects future covariates behind the decoder by a
small residual network whose last layer starts at zero, so that step 0 is the backbone. Here, for step h::

    a, b = W_2 relu(W_1 [decoder state; covariates known for h; lead; spread] + c_1) + c_2
    q_h <- q_h + w_h A tanh(a / A) + (exp(B tanh(b / B)) - 1) (q_h - median_h)

with w_h half the backbone's 80 % interval: a shift common to all levels and a factor of the half-widths,
both bounded. The training is in adapter_training.py.

Letters in shapes: H steps, N own levels, T context, D size of the state, F inputs, P covariates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import MissingCovariateError, StoreError
from horizoncast.forecast import Flag
from horizoncast.models.chronos.folder import ModelManifest, refused
from horizoncast.models.chronos.levels import at_levels
from horizoncast.series import History, Series
from horizoncast.store.atomic import write_atomic

Floats = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]

ADAPTER = "adapter.safetensors"
MOST_SHIFT = 6.0
"""Bound A of the shift, in halves of the backbone's 80 % interval."""
MOST_LOG = 1.0
"""Bound B of the factor's logarithm: widths by e at most, up or down."""
_CLIP = 8.0
"""Standard deviations from the training's mean beyond which an input says no more."""

ARRAYS = (
    "state_weight", "input_weight", "bias", "out_weight", "out_bias",
    "state_center", "state_spread", "input_center", "input_spread",
)  # fmt: skip
"""Names of the weights, and of what inputs are centred and scaled by."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """A covariate that an adapter reads.

    Parameters
    ----------
    name
        Column name.
    known_future
        Whether it is read at the step itself, or as of the cutoff.
    """

    name: str
    known_future: bool

    @property
    def inputs(self) -> int:
        """Inputs it makes."""
        return 3 if self.known_future else 2


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a manifest says of an adapter.

    Parameters
    ----------
    covariates
        In the order of the inputs.
    trained_until
        Last date it has seen; before it the backbone answers alone.
    steps
        H it was trained for; later steps are left alone.
    spread
        Median spread of a training context, the unit of the input that tells a window's own.
    """

    covariates: tuple[Reads, ...]
    trained_until: np.datetime64
    steps: int
    spread: float

    def facts(self) -> dict[str, Any]:
        """As plain values."""
        until = str(self.trained_until.astype("datetime64[s]"))
        return asdict(self) | {"trained_until": until, "covariates": [asdict(c) for c in self.covariates]}

    def lacking(self, series: Series) -> list[str]:
        """Names of covariates that a series has not, or knows at another time."""
        there = {c.name: c.known_future for c in series.covariates}
        return [one.name for one in self.covariates if there.get(one.name) is not one.known_future]

    def require(self, series: Series) -> None:
        """Refuse a series without the covariates.

        Raises
        ------
        MissingCovariateError
            With those it lacks.
        """
        if lacking := self.lacking(series):
            kinds = [
                f"{c.name} ({'known in advance' if c.known_future else 'as published'})"
                for c in self.covariates
            ]
            raise MissingCovariateError(
                f"{series.name} lacks covariates that the adapter of this model reads",
                value=", ".join(lacking),
                allowed=", ".join(kinds),
                action="name the model it was trained on, or train an adapter for this target",
            )


@dataclass(frozen=True, kw_only=True, eq=False)
class Adapter:
    """A trained adapter.

    Parameters
    ----------
    told
        What its model's manifest says of it.
    arrays
        float32: ``state_weight`` (D, K), ``input_weight`` (F, K), ``bias`` (K,), ``out_weight`` (K, 2),
        ``out_bias`` (2,), and mean and spread of states (D,) and inputs (F,).
    """

    told: Told
    arrays: Mapping[str, Singles]

    def inputs_at(self, history: History) -> Floats:
        """(H, F - 3) inputs at the end of a history, whose rows are the context; NaN where unknown.

        Raises
        ------
        MissingCovariateError
            When the series lacks a covariate.
        """
        self.told.require(history.series)
        at = [history.names.index(one.name) for one in self.told.covariates]
        ahead = history.future_covariates(self.told.steps)
        return covariate_inputs(self.told.covariates, history.covariates[:, at], ahead[:, at])

    def flags(self, inputs: Floats) -> tuple[Flag, ...]:
        """Which kind of covariate is unknown at some step, (H, F - 3); there the backbone answers alone."""
        gone, at = set(), 0
        for one in self.told.covariates:
            if not np.isfinite(inputs[:, at : at + one.inputs]).all():
                gone.add(Flag.NO_COVARIATES if one.known_future else Flag.STALE_INPUT)
            at += one.inputs
        return tuple(sorted(gone))

    def corrected(self, quantiles: Floats, own: Sequence[float], state: Floats, inputs: Floats) -> Floats:
        """Quantiles with the covariates' part, (H', N); those of steps with unknown inputs as they were.

        One window at a time: products of one shape, so that no window's company moves a bit.

        Parameters
        ----------
        quantiles
            (H', N) of the backbone, in increasing order, in units of the context's spread.
        state
            (D,) last hidden state of the decoder.
        inputs
            (H, F) covariates and the window's spread, as `window_inputs`.
        """
        steps = min(self.told.steps, len(quantiles))
        a = self.arrays
        seen = scaled(state[None], a["state_center"], a["state_spread"])
        read = scaled(inputs, a["input_center"], a["input_spread"])
        hidden = np.maximum(seen @ a["state_weight"] + read @ a["input_weight"] + a["bias"], np.float32(0.0))
        raw = (hidden @ a["out_weight"] + a["out_bias"]).astype(np.float64)[:steps]
        shift, log = (bounded(raw[:, k], most) for k, most in ((0, MOST_SHIFT), (1, MOST_LOG)))
        known = np.isfinite(inputs[:steps]).all(axis=1)
        head = quantiles[:steps]
        moved = apply_correction(head, own, np.where(known, shift, 0.0), np.where(known, log, 0.0))
        return np.concatenate([moved, quantiles[steps:]])


def bounded(raw: Floats, most: float) -> Floats:
    """``most tanh(raw / most)``: the identity around zero, never beyond the bound."""
    return most * np.tanh(raw / most)


def apply_correction(quantiles: Floats, own: Sequence[float], shift: Floats, log: Floats) -> Floats:
    """(H, N) shifted by half-widths of the 80 % interval and scaled around the median; 0 and 0 move no bit.

    Parameters
    ----------
    shift, log
        (H,) in half-widths, and the factor's natural logarithm.
    """
    edges = at_levels(quantiles, own, (0.1, 0.5, 0.9))[0]
    half = (edges[:, 2] - edges[:, 0]) / 2.0
    off = quantiles - edges[:, 1:2]
    return quantiles + (half * shift)[:, None] + np.expm1(log)[:, None] * off


def covariate_inputs(covariates: Sequence[Reads], past: Floats, ahead: Floats) -> Floats:
    """(H, F - 3) what is known of covariates for every step; NaN where a value is missing.

    One known in advance: its value at the step, less its mean over the context, and less its value at the
    cutoff. Any other, the same for all steps: its last value around the context's mean in the context's
    spread, and its last change in the spread of changes; 0 where nothing moved.

    Parameters
    ----------
    past
        (T, P) as usable at each session of the context.
    ahead
        (H, P) after the cutoff.
    """
    columns: list[Floats] = []
    for p, one in enumerate(covariates):
        column = past[:, p]
        known = column[np.isfinite(column)]
        mean = float(known.mean()) if len(known) else float("nan")
        if one.known_future:
            columns += [ahead[:, p], ahead[:, p] - mean, ahead[:, p] - column[-1]]
            continue
        changes = np.diff(column)
        moved = changes[np.isfinite(changes)]
        last = float(changes[-1]) if len(changes) and np.isfinite(changes[-1]) else 0.0
        level = _relative(float(column[-1]) - mean, float(known.std()) if len(known) else 0.0)
        columns += [
            np.full(len(ahead), level),
            np.full(len(ahead), _relative(last, float(moved.std()) if len(moved) else 0.0)),
        ]
    return np.stack(columns, axis=1)


def window_inputs(covariates: Floats, spread: float, usual: float) -> Floats:
    """(H, F) covariates, lead (share of H, logarithm) and logarithm of the window's spread over the usual.

    The spread is there because what a covariate moves in units of the context depends on it.
    """
    steps = np.arange(1, len(covariates) + 1)
    own = np.full(len(steps), np.log(max(spread, 1e-300) / usual))
    return np.concatenate([covariates, np.stack([steps / len(steps), np.log(steps), own], axis=1)], axis=1)


def scaled(values: Floats | Singles, center: Singles, spread: Singles) -> Singles:
    """Values around their training mean in their training spread, unknown ones 0, none beyond 8."""
    found = (values - center.astype(np.float64)) / spread.astype(np.float64)
    return np.clip(np.nan_to_num(found, nan=0.0), -_CLIP, _CLIP).astype(np.float32)


def write_adapter(folder: Path, adapter: Adapter) -> None:
    """Write the weights into a model folder; its manifest makes them valid."""
    from safetensors.numpy import save

    data = save({name: np.ascontiguousarray(array) for name, array in adapter.arrays.items()})
    write_atomic(folder / ADAPTER, lambda handle: handle.write(data))


def read_adapter(folder: Path, manifest: ModelManifest) -> Adapter | None:
    """The adapter of a model folder whose files were compared with the manifest; None where it has none.

    Raises
    ------
    StoreError
        When file and manifest do not belong together, or a field is missing or of the wrong type.
    """
    told = told_of(manifest)
    if (told is None) != (ADAPTER not in manifest.files):
        raise refused(folder, f"{ADAPTER} and the manifest's facts contradict each other")
    if told is None:
        return None
    arrays = _read_arrays(folder)
    if wrong := _wrong(told, arrays):
        raise refused(folder, f"{ADAPTER}: {wrong}")
    return Adapter(told=told, arrays=arrays)


def told_of(manifest: ModelManifest) -> Told | None:
    """What a manifest says of an adapter; None where it has none.

    Raises
    ------
    StoreError
        When a field is missing or of the wrong type.
    """
    facts = manifest.facts.get("adapter")
    if facts is None:
        return None
    try:
        covariates = tuple(Reads(name=c["name"], known_future=c["known_future"]) for c in facts["covariates"])
        until = np.datetime64(facts["trained_until"], "s")
        steps, spread = int(facts["steps"]), float(facts["spread"])
        plain = all(isinstance(c.name, str) and isinstance(c.known_future, bool) for c in covariates)
        if not covariates or not plain or np.isnat(until) or steps < 1 or not 0 < spread < np.inf:
            raise ValueError("a value out of range")
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{manifest.name}: the manifest's adapter is refused", value=repr(error)) from error
    return Told(covariates=covariates, trained_until=until, steps=steps, spread=spread)


def _read_arrays(folder: Path) -> dict[str, Singles]:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load((folder / ADAPTER).read_bytes()))
    except (OSError, SafetensorError) as error:
        raise refused(folder, f"{ADAPTER}: {error}") from error


def _wrong(told: Told, arrays: Mapping[str, Singles]) -> str:
    """What is wrong with the weights; empty when nothing is."""
    if set(arrays) != set(ARRAYS):
        return f"holds {', '.join(sorted(arrays)) or 'nothing'}"
    size, width = arrays["state_weight"].shape[0], arrays["bias"].shape[0]
    inputs = sum(one.inputs for one in told.covariates) + 3
    shapes = (
        (size, width), (inputs, width), (width,), (width, 2), (2,), (size,), (size,), (inputs,), (inputs,),
    )  # fmt: skip
    for name, shape in zip(ARRAYS, shapes, strict=True):
        array = arrays[name]
        if array.shape != shape or array.dtype != np.float32 or not np.isfinite(array).all():
            return f"{name} is of another shape or type, or not finite"
    return ""


def _relative(value: float, spread: float) -> float:
    return value / spread if spread > 0 else 0.0 * value
