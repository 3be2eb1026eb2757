"""What live forecasts and their outcomes add to a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from horizoncast.errors import BankError
from horizoncast.forecast import Forecast
from horizoncast.validation.backtest import MemberRun


@dataclass(frozen=True, kw_only=True, eq=False)
class LiveHistory:
    """Live forecasts that continue the bank, and the width that live outcomes ask for.

    Parameters
    ----------
    rows
        Published forecasts per member, in the unit.
    adaptive
        Factor for the half-widths beside the pooled one; 1 changes nothing.
    """

    rows: Mapping[str, tuple[Forecast, ...]] = field(default_factory=dict)
    adaptive: float = 1.0

    def __post_init__(self) -> None:
        if not self.adaptive > 0:
            raise BankError("the adaptive factor must be positive", value=self.adaptive)

    def of(self, runs: Mapping[str, MemberRun]) -> dict[str, tuple[Forecast, ...]]:
        """Rows made by the very model that runs now: weights belong to the procedure that is weighed."""
        kept: dict[str, tuple[Forecast, ...]] = {}
        for name, run in runs.items():
            if isinstance(run.live, Forecast):
                now = (run.live.identity.id, run.live.identity.revision, run.live.identity.digest)
                kept[name] = tuple(
                    f
                    for f in self.rows.get(name, ())
                    if (f.identity.id, f.identity.revision, f.identity.digest) == now
                )
        return kept


NOTHING_LIVE = LiveHistory()
