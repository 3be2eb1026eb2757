"""States of a training that a killed one goes on from: two in turn, so that one is always whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from horizoncast.errors import StoreError
from horizoncast.store.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

Arrays = Mapping[str, npt.NDArray[np.float32]]

_SLOTS = ("a", "b")
_TABLES = ("now", "best", "first", "second")
_NEVER = np.datetime64("1970-01-01", "s")


@dataclass(frozen=True, kw_only=True, eq=False)
class SavedState:
    """Everything that the next step depends on.

    Parameters
    ----------
    step, best_step
        Steps done, and the one with the smallest held-back loss.
    now, best
        Trained weights by name: as they are, and at the best step.
    first, second, counts
        Moments of AdamW and its count of steps, by name; weights that never moved have none.
    looks
        Step, training loss and held-back loss of every look.
    recent
        Losses of the batches since the last look.
    """

    step: int
    best_step: int
    now: Arrays
    best: Arrays
    first: Arrays
    second: Arrays
    counts: Mapping[str, float]
    looks: tuple[tuple[int, float, float], ...]
    recent: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class States:
    """Saved states of one training.

    Parameters
    ----------
    folder
        Where they lie; None saves nothing.
    key
        What the training is a function of: states of another key are left alone.
    """

    folder: Path | None
    key: str

    def save(self, state: SavedState) -> None:
        """Write over the older of the two.

        Raises
        ------
        StoreError
            When the folder cannot be written.
        """
        if self.folder is None:
            return
        held = {slot: saved.step for slot, saved in self._readable().items()}
        slot = min(_SLOTS, key=lambda name: held.get(name, -1))
        arrays = {
            f"{table}/{name}": array for table in _TABLES for name, array in getattr(state, table).items()
        }
        facts = {
            "step": state.step,
            "best_step": state.best_step,
            "counts": dict(state.counts),
            "looks": [[s, _plain(t), _plain(h)] for s, t, h in state.looks],
            "recent": list(state.recent),
        }
        name = f"{self.key}-{slot}"
        save_checkpoint(self.folder, Checkpoint(key=name, trained_until=_NEVER, arrays=arrays, facts=facts))

    def newest(self) -> SavedState | None:
        """The newest readable state; a torn or damaged one is passed over."""
        found = self._readable().values()
        return max(found, key=lambda state: state.step, default=None)

    def clear(self) -> None:
        """Delete both."""
        if self.folder is None:
            return
        for slot in _SLOTS:
            for suffix in (".json", ".safetensors"):
                (self.folder / f"{self.key}-{slot}{suffix}").unlink(missing_ok=True)

    def _readable(self) -> dict[str, SavedState]:
        if self.folder is None:
            return {}
        out = {}
        for slot in _SLOTS:
            try:
                found = load_checkpoint(self.folder, f"{self.key}-{slot}")
            except StoreError:  # killed between the weights and the manifest: the other slot is whole
                continue
            if found is not None:
                out[slot] = _state_of(found)
        return out


def _state_of(checkpoint: Checkpoint) -> SavedState:
    tables: dict[str, dict[str, npt.NDArray[np.float32]]] = {table: {} for table in _TABLES}
    for place, array in checkpoint.arrays.items():
        table, name = place.split("/", 1)
        tables[table][name] = array
    facts = checkpoint.facts
    return SavedState(
        step=facts["step"],
        best_step=facts["best_step"],
        now=tables["now"],
        best=tables["best"],
        first=tables["first"],
        second=tables["second"],
        counts=facts["counts"],
        looks=tuple((s, _number(t), _number(h)) for s, t, h in facts["looks"]),
        recent=tuple(facts["recent"]),
    )


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
