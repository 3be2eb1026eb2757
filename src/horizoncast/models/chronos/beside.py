"""Covariates in a training of Chronos-2: per session what was usable there, as the member reads them.

Letters in shapes: n sessions, T context, H steps, P covariates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.inference import Unit
from horizoncast.series import History

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Beside:
    """A covariate on the rows that are learnt from.

    Parameters
    ----------
    name
        Column name.
    values
        (n,) per session the value usable there, published late as in a run; NaN where there is none.
    known_future
        Whether a forecast sees the values of its H steps.
    """

    name: str
    values: Floats
    known_future: bool = False

    def __len__(self) -> int:
        return len(self.values)


def beside(history: History) -> tuple[Beside, ...]:
    """The covariates of a history, as its forecasts read them; one without a single value is left out."""
    columns = history.covariates
    return tuple(
        Beside(name=covariate.name, values=columns[:, p], known_future=covariate.known_future)
        for p, covariate in enumerate(history.series.covariates)
        if np.isfinite(columns[:, p]).any()
    )


def training_input(values: Floats, columns: Sequence[Beside], stop: int) -> dict[str, Any]:
    """An input of `fit`: rows before `stop`, each variable around its own mean in its own spread.

    `fit` reads the values of a named future from the same column, and hides those of the others.
    """
    return {
        "target": _single(values[:stop]),
        "past_covariates": {column.name: _single(column.values[:stop]) for column in columns},
        "future_covariates": {column.name: None for column in columns if column.known_future},
    }


def window_input(context: Floats, columns: Sequence[Beside], end: int, steps: int) -> dict[str, Any]:
    """An input of `predict`: the context up to row `end`, and what was known of the H steps after it.

    Parameters
    ----------
    context
        (T,) the target, NaN to the left where the series begins later.
    """
    past, future = {}, {}
    for column in columns:
        shown = column.values[max(end + 1 - len(context), 0) : end + 1]
        unit = Unit.of(np.concatenate([np.full(len(context) - len(shown), np.nan), shown]))
        past[column.name] = unit.values.astype(np.float32)
        if column.known_future:
            ahead = column.values[end + 1 : end + 1 + steps]
            future[column.name] = unit.into(ahead).astype(np.float32)
    return {"target": _single(context), "past_covariates": past, "future_covariates": future}


def _single(values: Floats) -> npt.NDArray[np.float32]:
    """Single precision would lose small moves at a high level: it is left after scaling."""
    return Unit.of(values).values.astype(np.float32)
