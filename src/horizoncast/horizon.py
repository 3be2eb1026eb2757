"""Horizons, leads and quantile levels: what a forecast is asked for.

A horizon counts sessions of the series' calendar: ``30d`` is 30 steps, six weeks on a trading
calendar. Letters in shapes: H horizon steps, Q quantile levels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil
from numbers import Integral

from horizoncast.errors import ConfigError

LEVELS: tuple[float, ...] = (
    0.01, 0.025, 0.05, 0.1, 0.16, 0.2, 0.25, 0.3, 0.4, 0.5,
    0.6, 0.7, 0.75, 0.8, 0.84, 0.9, 0.95, 0.975, 0.99,
)  # fmt: skip
"""The product's quantile levels (Q = 19); the 68, 80, 95 and 98 % intervals are pairs of them."""

DECILES: tuple[float, ...] = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""The levels over which WQL is reported, so that models with nine quantiles compare."""

LEAD_GRID: tuple[int, ...] = (1, 2, 3, 5, 7, 10, 15, 20, 30, 45, 60, 75, 90)
"""Leads that weighting and skill look at: dense early, sparse late."""

_STRIDES: dict[int, int] = {7: 5, 15: 5, 30: 5, 90: 10}


@dataclass(frozen=True, kw_only=True, order=True)
class Horizon:
    """How many sessions ahead a service forecasts.

    Parameters
    ----------
    steps
        H, the number of sessions, 1 to 1000.
    """

    steps: int

    def __post_init__(self) -> None:
        whole = isinstance(self.steps, Integral) and not isinstance(self.steps, bool)
        if not whole or not 1 <= self.steps <= 1000:
            raise ConfigError("horizon steps out of range", value=self.steps, allowed="1 to 1000, whole")
        object.__setattr__(self, "steps", int(self.steps))

    @classmethod
    def parse(cls, text: str | int) -> Horizon:
        """Read ``30``, ``"30"`` or ``"30d"``.

        >>> Horizon.parse("30d").steps
        30
        """
        found = re.fullmatch(r"\s*([0-9]{1,9})\s*d?\s*", str(text))
        if found is None:
            raise ConfigError("a horizon cannot be read", value=repr(text), allowed="30 or 30d")
        return cls(steps=int(found.group(1)))

    @property
    def name(self) -> str:
        """The horizon's name, as in ``30d``."""
        return f"{self.steps}d"

    @property
    def lead_grid(self) -> tuple[int, ...]:
        """Leads (1-based) of `LEAD_GRID` up to H, every 30th beyond 90, closed by H itself.

        >>> Horizon(steps=8).lead_grid
        (1, 2, 3, 5, 7, 8)
        >>> Horizon(steps=168).lead_grid[-4:]
        (90, 120, 150, 168)
        """
        leads = tuple(lead for lead in LEAD_GRID if lead <= self.steps)
        leads += tuple(range(LEAD_GRID[-1] + 30, self.steps + 1, 30))
        return leads if leads[-1] == self.steps else (*leads, self.steps)

    @property
    def stride(self) -> int | None:
        """Sessions between validation cutoffs where the horizon fixes it, else None (see splitter)."""
        return _STRIDES.get(self.steps)

    def cutoffs_per_horizon(self, stride: int) -> int:
        """Cutoffs that one horizon spans, ``ceil(H / stride)``."""
        return ceil(self.steps / stride)


def effective_windows(windows: int, stride: int, horizon: Horizon) -> float:
    """Effective number of independent windows, ``n_eff = W min(1, stride / H)``.

    Overlapping windows share most of their outcomes; this discount replaces throwing cutoffs away.

    >>> effective_windows(40, 5, Horizon(steps=30))
    6.666666666666666
    """
    return windows * min(1.0, stride / horizon.steps)
