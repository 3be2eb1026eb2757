"""Where a series is modelled: in logarithms or in its own unit.

Letters in shapes: n observations.
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np
import numpy.typing as npt

from horizoncast.errors import UnknownNameError

Floats = npt.NDArray[np.float64]


class Scale(StrEnum):
    """Where a series is modelled; models, bank and calibration work there, people see the unit."""

    LOG = "log"
    LEVEL = "level"

    @classmethod
    def parse(cls, value: str) -> Scale:
        """Read ``log`` or ``level``.

        >>> Scale.parse("log")
        <Scale.LOG: 'log'>
        """
        if value not in tuple(cls):
            raise UnknownNameError.of("scale", value, cls)
        return cls(value)

    def forward(self, values: Floats) -> Floats:
        """Unit to scale, any shape."""
        return np.log(values) if self is Scale.LOG else np.asarray(values, dtype=np.float64)

    def backward(self, values: Floats) -> Floats:
        """Scale to unit, any shape; monotone, so quantiles stay quantiles."""
        return np.exp(values) if self is Scale.LOG else np.asarray(values, dtype=np.float64)


def choose_scale(values: Floats) -> tuple[Scale, str]:
    """Log or level, with the reason in words.

    Compares how constant the local spread is in each scale (Guerrero, J. Forecasting 1993, with
    lambda 0 and 1 as the only candidates): the coefficient of variation over blocks of the spread
    of changes, relative to the block's mean (log) or absolute (level). A tie within 10 % goes to
    log, where forecasts stay positive.

    Parameters
    ----------
    values
        (n,) early observations in the unit; later ones must not be looked at.
    """
    if (values <= 0).any():
        return Scale.LEVEL, "values at or below zero"
    blocks = [b for b in np.array_split(values, max(2, min(20, len(values) // 12))) if len(b) > 3]
    spread = np.array([np.std(np.diff(b)) for b in blocks])
    centre = np.array([np.mean(b) for b in blocks])
    if not blocks or spread.mean() == 0:
        return Scale.LEVEL, "no movement to choose by"
    level = float(np.std(spread) / spread.mean())
    ratio = spread / centre
    log = float(np.std(ratio) / ratio.mean())
    text = f"variation of the local spread {log:.2f} in log, {level:.2f} in level"
    return (Scale.LOG, text) if log <= 1.1 * level else (Scale.LEVEL, text)
