"""Where to cut: the past cutoffs that validation forecasts from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.horizon import Horizon, effective_windows
from horizoncast.series import Series

STRIDES = (10, 5, 2, 1)


@dataclass(frozen=True, kw_only=True, eq=False)
class CutoffPlan:
    """The cutoffs of one bank.

    Parameters
    ----------
    cutoffs
        (W,) matured cutoffs, increasing.
    live
        The last observation: the cutoff that is published.
    stride
        Sessions between neighbours.
    wanted
        Cutoffs a full bank has; W is smaller when history is short.
    horizon
        H.
    """

    cutoffs: Dates
    live: np.datetime64
    stride: int
    wanted: int
    horizon: Horizon

    @property
    def newest_first(self) -> tuple[np.datetime64, ...]:
        """The live cutoff, then the others from new to old: the order members are asked in."""
        return (self.live, *self.cutoffs[::-1])

    @property
    def n_eff(self) -> float:
        """Effective number of independent windows of the whole bank."""
        return effective_windows(len(self.cutoffs), self.stride, self.horizon)


def plan_cutoffs(
    series: Series, horizon: Horizon, *, windows: int = 40, replays: int = 20, min_train: int | None = None
) -> CutoffPlan:
    """Choose stride and cutoffs for a series and a horizon.

    A full bank holds ``windows + ceil(H / stride) + replays`` matured cutoffs: the slice of the live
    decision, and enough before it to take `replays` decisions again with slices of their own.
    Cutoffs lie on an absolute grid, so that a run one week later shares all but one of them.

    Parameters
    ----------
    min_train
        Sessions before the first cutoff; None derives it from the length and the seasons.
    """
    least = minimum_training(series, horizon) if min_train is None else min_train
    stride = _stride(series, horizon, windows, least)
    wanted = windows + horizon.cutoffs_per_horizon(stride) + replays
    at = matured_rows(series, horizon, stride, least)[-wanted:]
    return CutoffPlan(
        cutoffs=series.dates[at], live=series.last, stride=stride, wanted=wanted, horizon=horizon
    )


def matured_rows(series: Series, horizon: Horizon, stride: int, min_train: int) -> npt.NDArray[np.int64]:
    """Rows on the absolute grid with at least `min_train` rows before and H sessions after them.

    A grid point is the last session before the absolute index passes a multiple of `stride`, so a
    holiday moves it back by a session instead of losing it.
    """
    group = series.ordinals // stride
    last_of_group = np.flatnonzero(np.diff(group) > 0)
    keep = (last_of_group >= min_train - 1) & (last_of_group + horizon.steps < len(series))
    return last_of_group[keep]


def minimum_training(series: Series, horizon: Horizon, needed: int = 0) -> int:
    """Sessions before the first cutoff: a third of the history, at most 500, two seasons if they fit.

    Parameters
    ----------
    needed
        Sessions the most demanding member needs; honoured where it leaves ten cutoffs, because a
        member asked at cutoffs it cannot answer would be dropped for failing there.
    """
    third = min(500, len(series) // 3)
    room = len(series) - horizon.steps - 10
    wishes = [wish for wish in (needed, *(2 * p + 1 for p in series.periods)) if wish <= room]
    return max([20, third, *wishes])


def _stride(series: Series, horizon: Horizon, windows: int, min_train: int) -> int:
    """The horizon's own stride, else the largest of 10, 5, 2, 1 that leaves enough cutoffs."""
    fixed = horizon.stride
    order = STRIDES if fixed is None else (fixed, *(s for s in STRIDES if s < fixed))
    for stride in order:
        if len(matured_rows(series, horizon, stride, min_train)) >= windows:
            return stride
    return 1
