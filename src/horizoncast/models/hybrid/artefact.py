"""Learned parts of the hybrid of one series and service, kept in a folder as plain numbers.

One file, ``hybrid.json``: the format, a sha256 of everything else, and the parts. It is written whole or
not at all, nothing in it is code, and a file that is damaged, cut short or of another format is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HorizoncastError, StoreError
from horizoncast.models.hybrid.adaptation import DomainAdaptationLayer
from horizoncast.models.hybrid.axes import Axes
from horizoncast.models.hybrid.context import Context
from horizoncast.models.hybrid.fitting import Units
from horizoncast.models.hybrid.gate import Gate, prior_log_odds
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.store.atomic import write_atomic
from horizoncast.store.plain import canonical, json_file, parse_json

Floats = npt.NDArray[np.float64]

FORMAT = 3
FILE = "hybrid.json"


@dataclass(frozen=True, kw_only=True)
class HybridParts:
    """What was learned for the hybrid, and what the judge said of each stage.

    Parameters
    ----------
    series, service
        Whose parts they are.
    gate
        None where the known rule stays.
    adaptation
        None where Chronos stays as it is.
    trained_until
        Last date that any of the training saw; the parts answer cutoffs from then on.
    branches
        Digest of each branch whose rows they were learned from, by name: beside other rows they mean
        nothing (`differing`).
    model
        Checkpoint of the Chronos branch that the training made and kept; empty for the member's own.
    omega
        Of the joint fine-tuning: ``omega_0 + omega_1 log h`` more in favour of chronos; 0 without one.
    revision
        Of the code that learned them.
    stages
        Rulings in the order of the stages, of parts that were dropped as well.
    """

    series: str
    service: str
    gate: Gate | None
    adaptation: DomainAdaptationLayer | None
    trained_until: np.datetime64
    branches: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    omega: tuple[float, float] = (0.0, 0.0)
    revision: str = ""
    stages: tuple[Ruling, ...] = ()

    def __post_init__(self) -> None:
        if not np.isfinite(self.omega).all():
            raise StoreError("a joint fine-tuning's omega is finite", value=self.omega)
        for part in (self.gate, self.adaptation):
            if part is not None and part.trained_until > self.trained_until:
                raise StoreError(
                    "a part of the hybrid has seen later rows than the whole says",
                    value=part.trained_until,
                    allowed=f"up to {self.trained_until}",
                )

    @property
    def digest(self) -> str:
        """sha256 of all of it, as it stands in the file."""
        return hashlib.sha256(canonical(self).encode()).hexdigest()

    @property
    def neutral(self) -> bool:
        """Whether nothing learned is in use."""
        return self.gate is None and self.adaptation is None and not any(self.omega)

    def differing(self, running: Mapping[str, str]) -> tuple[str, ...]:
        """Branches, of those in `running` by name and digest, that are not the ones learned from."""
        return tuple(name for name, digest in running.items() if self.branches.get(name) != digest)

    def unused(self) -> HybridParts:
        """The same record with nothing learned in it."""
        return replace(self, gate=None, adaptation=None, omega=(0.0, 0.0))

    def at(self, cutoff: np.datetime64) -> HybridParts:
        """The parts that may answer a cutoff: themselves from `trained_until` on, neutral ones before."""
        return self if cutoff >= self.trained_until else self.unused()

    def log_odds(self, context: Context, leads: npt.ArrayLike, *, strength: float = 1.0) -> Floats:
        """(H,) log-odds for chronos: of the gate, or of the known rule at a strength where there is none.

        What the joint fine-tuning found is added to either.
        """
        joint = joint_log_odds(self.omega, leads)
        if self.gate is not None:
            return self.gate.log_odds(context, leads) + joint
        return prior_log_odds(context, strength=strength) + joint


def joint_log_odds(omega: tuple[float, float], leads: npt.ArrayLike) -> Floats:
    """(H,) ``omega_0 + omega_1 log h`` at leads (1-based)."""
    return np.asarray(omega[0] + omega[1] * np.log(np.asarray(leads, dtype=np.float64)))


def write_parts(folder: Path, parts: HybridParts) -> Path:
    """Write ``hybrid.json`` into a folder, in place of an older one; returns its path.

    Raises
    ------
    StoreError
        When the folder cannot be written.
    """
    place = folder / FILE
    text = json_file({"format": FORMAT, "sha256": parts.digest, "parts": parts})
    write_atomic(place, lambda handle: handle.write(text))
    return place


def read_parts(folder: Path) -> HybridParts:
    """The parts of a folder.

    Raises
    ------
    StoreError
        When the file is missing, cannot be read, is of another format, does not match its digest, or holds
        parts that cannot be.
    """
    place = folder / FILE
    try:
        whole = parse_json(place.read_bytes())
    except (OSError, ValueError) as error:
        raise _refused(place, str(error)) from error
    if not isinstance(whole, dict) or not {"format", "sha256", "parts"} <= set(whole):
        raise _refused(place, "fields are missing")
    if whole["format"] != FORMAT:
        raise _refused(place, f"format {whole['format']!r}, this release reads {FORMAT}")
    if hashlib.sha256(canonical(whole["parts"]).encode()).hexdigest() != whole["sha256"]:
        raise _refused(place, "the content does not match its digest")
    try:
        return _parts(whole["parts"])
    except (KeyError, TypeError, ValueError, AttributeError, HorizoncastError) as error:
        raise _refused(place, f"{type(error).__name__}: {error}") from error


def _parts(item: Mapping[str, Any]) -> HybridParts:
    gate, adaptation = item["gate"], item["adaptation"]
    return HybridParts(
        series=str(item["series"]),
        service=str(item["service"]),
        gate=None if gate is None else _gate(gate),
        adaptation=None if adaptation is None else _adaptation(adaptation),
        trained_until=_stamp(item["trained_until"]),
        branches={str(name): str(digest) for name, digest in item["branches"].items()},
        model=str(item["model"]),
        omega=_omega(item["omega"]),
        revision=str(item["revision"]),
        stages=tuple(ruling_of(stage) for stage in item["stages"]),
    )


def _gate(item: Mapping[str, Any]) -> Gate:
    return Gate(
        units=_units(item["units"]),
        axes=Axes(
            centre=_numbers(item["axes"]["centre"]),
            axes=tuple(_numbers(axis) for axis in item["axes"]["axes"]),
        ),
        intercept=float(item["intercept"]),
        slopes=_numbers(item["slopes"]),
        strength=float(item["strength"]),
        trained_until=_stamp(item["trained_until"]),
        windows=int(item["windows"]),
        ruling=ruling_of(item["ruling"]),
    )


def _adaptation(item: Mapping[str, Any]) -> DomainAdaptationLayer:
    return DomainAdaptationLayer(
        units=_units(item["units"]),
        shift=_numbers(item["shift"]),
        log_scale=_numbers(item["log_scale"]),
        trained_until=_stamp(item["trained_until"]),
        windows=int(item["windows"]),
        ruling=ruling_of(item["ruling"]),
    )


def _units(item: Mapping[str, Any]) -> Units:
    return Units(
        names=tuple(str(name) for name in item["names"]),
        centre=_numbers(item["centre"]),
        spread=_numbers(item["spread"]),
    )


def ruling_of(item: Mapping[str, Any]) -> Ruling:
    """A ruling from its plain values."""
    gain, error, p_value = (
        float("nan") if item[name] is None else float(item[name])
        for name in ("gain", "standard_error", "p_value")
    )
    return Ruling(
        stage=str(item["stage"]),
        kept=bool(item["kept"]),
        reason=str(item["reason"]),
        gain=gain,
        standard_error=error,
        p_value=p_value,
        windows=int(item["windows"]),
        blocks=int(item["blocks"]),
    )


def _omega(items: Any) -> tuple[float, float]:
    first, second = _numbers(items)
    return first, second


def _numbers(items: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in items)


def _stamp(text: str) -> np.datetime64:
    stamp = np.datetime64(text, "s")
    if np.isnat(stamp):
        raise ValueError(f"no date: {text}")
    return stamp


def _refused(place: Path, why: str) -> StoreError:
    return StoreError(
        f"learned parts of the hybrid are refused: {place}",
        value=why,
        action="train them again, or remove the folder to go on without",
    )
