"""Does a learned part beat what stood before it? One judge for gate, adaptation and stages.

A part is proven by learning it again and again as time goes on: each time on the windows matured by then,
judged on the stretch that follows (prequential validation, Dawid 1984). The losses of all stretches
together go to the verdict that fine-tuning uses, a t-test on means of blocks of two horizons at least
(`models.chronos.verdict`). Blocks are stretches of time across all series and horizons: series of one
panel share their shocks, and a block per series would count one shock many times.

Letters in shapes: N windows of all series and horizons together, B blocks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates, as_stamp
from horizoncast.errors import BankError
from horizoncast.models.chronos.verdict import LEAST_BLOCKS, MOST_BLOCKS, judge

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
PartT = TypeVar("PartT")

FIRST_SHARE = 0.4
"""Share of the cutoffs that the first learning sees; the rest is judged."""

STRETCHES = 4
"""Times that a part is learnt again while it is judged."""

LEAST_WINDOWS = 10
"""Matured windows below which nothing is learnt, as in the decision."""

LEAST_GAIN = 0.001
"""Gain below which a proven part is not worth having: what the benchmark counts as a tie."""

CORRELATION = 0.5
"""Assumed between series of a panel that are pooled: K of them are worth K / (1 + (K - 1) / 2) series."""


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """What the judge said of one stage.

    Parameters
    ----------
    stage
        ``gate``, ``adaptation`` or the name of a stage of the training.
    kept
        Whether the part takes the place of what stood before it.
    reason
        In words.
    gain, standard_error
        1 - loss / loss of what stood before, on later windows, and its standard error by blocks; NaN
        where unknown.
    p_value
        One-sided; NaN where there were too few blocks.
    windows, blocks
        Windows judged, and the stretches of two horizons that they fill.
    """

    stage: str
    kept: bool
    reason: str
    gain: float = float("nan")
    standard_error: float = float("nan")
    p_value: float = float("nan")
    windows: int = 0
    blocks: int = 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Origins:
    """When windows began and were known to their end, over all series and horizons.

    Parameters
    ----------
    cutoffs, ends
        (N,) datetime64[s]; the outcome of a window is known from its end on.
    group
        (N,) set of rows (one series at one horizon) that a window is of, from 0.
    series
        Name of the series of each set.
    """

    cutoffs: Dates
    ends: Dates
    group: Ints
    series: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.cutoffs.shape == self.ends.shape == self.group.shape:
            raise BankError("windows need a cutoff, an end and a set each", value=self.cutoffs.shape)
        if not len(self.cutoffs):
            raise BankError("there is no window to learn from")
        if (self.ends <= self.cutoffs).any():
            raise BankError("a window ends after its cutoff")

    @property
    def newest(self) -> np.datetime64:
        """Last date that any window has seen."""
        return as_stamp(self.ends.max())

    def n_eff(self, among: Bools) -> float:
        """Independent windows that a part of them is worth.

        Within a set the windows that fit end to end into its time; horizons of one series overlap, so the
        best of them counts; series are taken for correlated (`CORRELATION`).
        """
        worth: dict[str, float] = {}
        for k, name in enumerate(self.series):
            here = among & (self.group == k)
            if here.any():
                worth[name] = max(worth.get(name, 0.0), self._end_to_end(here))
        count = len(worth)
        return sum(worth.values()) / (1.0 + CORRELATION * (count - 1)) if count else 0.0

    def _end_to_end(self, here: Bools) -> float:
        span = float(np.ptp(self.cutoffs[here].astype(np.int64)))
        length = float(np.median((self.ends - self.cutoffs)[here].astype(np.int64)))
        return min(float(here.sum()), 1.0 + span / length)


def losses_of(origins: Origins, losses: Floats, own: int | None) -> Floats:
    """(N,) losses, NaN for windows of other sets than the one a ruling is about; None is about all of them.

    A part learned from several sets is used for one: on that one it must win, in stretches of its own
    horizon, which a longer one pooled with it would make too few.
    """
    return losses if own is None else np.where(origins.group == own, losses, np.nan)


def joined(sets: list[tuple[str, Dates, Dates]]) -> Origins:
    """Origins of sets of rows: name of the series, (W,) cutoffs and (W,) ends of each."""
    return Origins(
        cutoffs=np.concatenate([cutoffs for _, cutoffs, _ in sets]).astype("datetime64[s]"),
        ends=np.concatenate([ends for _, _, ends in sets]).astype("datetime64[s]"),
        group=np.repeat(np.arange(len(sets)), [len(cutoffs) for _, cutoffs, _ in sets]),
        series=tuple(name for name, _, _ in sets),
    )


def stretches(origins: Origins) -> list[tuple[Bools, Bools]]:
    """Pairs of (N,) masks: what is learnt from, and the later stretch that is judged.

    Learnt from is what had ended by the first cutoff of the stretch (purge: ``u + h <= t``).
    """
    moments = np.unique(origins.cutoffs)
    places = np.linspace(FIRST_SHARE * len(moments), len(moments), STRETCHES + 1).round().astype(int)
    pairs = []
    for first, stop in pairwise(places):
        if first == stop:
            continue
        begin = moments[first]
        later = origins.cutoffs >= moments[stop] if stop < len(moments) else np.zeros(len(origins.ends), bool)
        pairs.append((origins.ends <= begin, (origins.cutoffs >= begin) & ~later))
    return pairs


def time_blocks(cutoffs: Dates, ends: Dates) -> Ints:
    """(N,) block of each window: equal stretches of time of two of the longest windows at least.

    See `chronos.verdict.blocks_of`; these run across series and horizons.
    """
    begin = cutoffs.astype("datetime64[s]").astype(np.int64)
    length = int((ends - cutoffs).astype("timedelta64[s]").astype(np.int64).max())
    since = begin - begin.min()
    span = int(since.max()) + 1
    count = int(np.clip(span // (2 * length), 1, MOST_BLOCKS))
    return np.asarray(since * count // span)


def rule(
    stage: str, base: Floats, tuned: Floats, cutoffs: Dates, ends: Dates, *, significance: float = 0.05
) -> Ruling:
    """Compare losses of the same later windows, (N,) each, before and with the part; NaN is left out.

    Kept when the gain is `LEAST_GAIN` at least and the t-test on the blocks' mean gains says at
    `significance` that it is no chance: with four blocks that is a gain of 2.4 standard errors, with twenty
    one of 1.7.
    """
    known = np.isfinite(base) & np.isfinite(tuned)
    if not known.any():
        return Ruling(stage=stage, kept=False, reason=_too_few(0))
    blocks = time_blocks(cutoffs[known], ends[known])
    verdict = judge(base[known], tuned[known], blocks, min_gain=LEAST_GAIN, significance=significance)
    gains = (base - tuned)[known]
    means = np.array([gains[blocks == block].mean() for block in np.unique(blocks)])
    error = means.std(ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.nan
    return Ruling(
        stage=stage,
        kept=verdict.kept,
        reason=verdict.reason if verdict.blocks >= LEAST_BLOCKS else _too_short(verdict.blocks, verdict.gain),
        gain=verdict.gain,
        standard_error=float(error / verdict.base_loss) if verdict.base_loss > 0 else float("nan"),
        p_value=verdict.p_value,
        windows=verdict.windows,
        blocks=verdict.blocks,
    )


def prove(
    stage: str,
    origins: Origins,
    learn: Callable[[Bools], PartT],
    losses: Callable[[PartT | None], Floats],
    *,
    significance: float = 0.05,
) -> Ruling:
    """Learn a part on what had matured, again for each later stretch, and rule on all stretches together.

    Parameters
    ----------
    learn
        Learns a part from the windows of a mask, (N,), and from nothing else.
    losses
        (N,) loss of each window with a part, or without any (None): what stood before it.
    """
    base, tuned = losses(None), np.full(len(origins.cutoffs), np.nan)
    for past, later in stretches(origins):
        if past.sum() >= LEAST_WINDOWS:
            tuned[later] = losses(learn(past))[later]
    judged = np.isfinite(tuned)
    if not judged.any():
        return Ruling(stage=stage, kept=False, reason=_too_few(len(tuned)))
    return rule(
        stage,
        base[judged],
        tuned[judged],
        origins.cutoffs[judged],
        origins.ends[judged],
        significance=significance,
    )


def _too_short(blocks: int, gain: float) -> str:
    return (
        f"cannot be told: {100 * gain:+.2f} % in {blocks} stretches of two horizons, "
        f"{LEAST_BLOCKS} are needed"
    )


def _too_few(windows: int) -> str:
    return (
        f"cannot be told: of {windows} windows no stretch is left to judge after {LEAST_WINDOWS} to learn "
        f"from; {LEAST_BLOCKS} stretches of two horizons are needed"
    )
