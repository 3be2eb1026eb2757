"""What changed between two published forecasts, and why: one ingredient replaced at a time.

The order is fixed: data, members, weights, skill, width. What one replacement moves depends on what was
replaced before it, so parts of another order would be others; in this one they add up, by construction,
to the new forecast minus the one before, on the same target dates (docs/methods.md, "What changed").

Letters in shapes: K members, H steps, Q levels, L leads that both forecasts have.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.ensemble.decision import apply
from horizoncast.ensemble.records import Decision, MemberWeight
from horizoncast.errors import BankError
from horizoncast.forecast import Flag
from horizoncast.frozen import sealed
from horizoncast.horizon import Horizon
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale

Floats = npt.NDArray[np.float64]

PARTS = ("data", "members", "weights", "skill", "width")
"""Ingredients in the order in which they are replaced."""

MEASURES = ("median", "half_width_80")
"""What is followed: the median, and half the width of the 80 % interval."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Ingredients:
    """Everything one published forecast was made from, in the scale.

    Parameters
    ----------
    decision
        As it was taken; see `as_applied` for a forecast that the output gate replaced.
    members
        Each member's live quantiles, (H, Q); members that failed are left out.
    published
        (H, Q).
    levels
        Q levels, 0.1, 0.5 and 0.9 among them.
    cutoff
        Absolute session index of the last observation it has seen.
    last
        That observation.
    """

    decision: Decision
    members: Mapping[str, Floats]
    published: Floats
    levels: tuple[float, ...]
    cutoff: int
    last: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ChangeTable:
    """How median and half-width moved on the dates that both forecasts have, in the unit.

    Parameters
    ----------
    steps, previous_steps
        (L,) leads in the new forecast and in the one before; the dates are the same.
    before, after
        (L, 2) the two `MEASURES`.
    parts
        (5, L, 2) one row per entry of `PARTS`; their sum is ``after - before``.
    """

    steps: npt.NDArray[np.int64]
    previous_steps: npt.NDArray[np.int64]
    before: Floats
    after: Floats
    parts: Floats


def what_changed(
    before: Ingredients, after: Ingredients, *, scale: Scale, nonnegative: bool = False
) -> ChangeTable | None:
    """Replace one ingredient at a time and see what it moves.

    With F(members, weights, skill, width) the forecast that a decision makes, and d the sessions between
    the two cutoffs::

        data     F(m*, w0, k0, c0) - before     m* = members' forecasts before, moved by what the new
                                                observations came out different from their own median,
                                                with the spread they had stated for the shorter lead
        members  F(m1, w0, k0, c0) - F(m*, w0, k0, c0)
        weights  F(m1, w1, k0, c0) - F(m1, w0, k0, c0)     fusion weights, and whom the median follows
        skill    F(m1, w1, k1, c0) - F(m1, w1, k0, c0)     how far, and away from which naive
        width    after - F(m1, w1, k1, c0)                 pooled and adaptive width factor

    In the median, ``m*_h = m0_(h+d) + (y - m0_d)``; every other quantile keeps its distance from the
    median at lead h. Where the cutoff is the same (d = 0) m0_d is the last observation as it was then.

    Parameters
    ----------
    scale
        In which everything is given; the table is in the unit.
    nonnegative
        True when the series cannot be negative.

    Returns
    -------
    table
        None where the two share no date, or have other quantile levels.

    Raises
    ------
    BankError
        When the forecast before is of a later cutoff.
    """
    apart = after.cutoff - before.cutoff
    if apart < 0:
        raise BankError("a forecast before cannot be of a later cutoff", value=apart)
    common = min(len(before.published) - apart, len(after.published))
    if common < 1 or before.levels != after.levels:
        return None
    names = tuple(
        sorted({*before.members, *after.members, *after.decision.weights, *before.decision.weights})
    )
    kitchen = _Kitchen(names=names, levels=after.levels, scale=scale, nonnegative=nonnegative, steps=common)
    moved = {name: _moved(rows, before, after, apart, common) for name, rows in before.members.items()}
    new = {name: rows[:common] for name, rows in after.members.items()}
    one, two = before.decision, after.decision
    weighed = _with_weights(one, two)
    states = [
        before.published[apart : apart + common],
        kitchen.cooked(moved, one),
        kitchen.cooked(new, one),
        kitchen.cooked(new, weighed),
        kitchen.cooked(new, replace(two, width=one.width, adaptive=one.adaptive)),
        after.published[:common],
    ]
    values = np.stack([_measured(rows, after.levels, scale) for rows in states])
    steps = np.arange(1, common + 1)
    return ChangeTable(
        steps=steps,
        previous_steps=steps + apart,
        before=values[0],
        after=values[-1],
        parts=np.diff(values, axis=0),
    )


def as_applied(decision: Decision, flags: tuple[str, ...], used: Mapping[str, float]) -> Decision:
    """The decision that a published forecast really followed.

    Where the output gate put a naive in place of an implausible ensemble, that is the naive alone, with
    neither skill nor width factor.

    Parameters
    ----------
    flags
        Of the published forecast.
    used
        Weight that each member really had.
    """
    if Flag.IMPLAUSIBLE not in flags:
        return decision
    naive = max(used, key=lambda name: used[name])
    rows = tuple(_row(name, weight=float(name == naive), slope=0.0) for name in used)
    rules = replace(decision.config, shrink=False)
    return replace(
        decision, members=rows, best_naive=naive, kappa=1.0, width=1.0, adaptive=1.0, config=rules, flags=()
    )


@dataclass(frozen=True, kw_only=True)
class _Kitchen:
    """Where a decision is applied to members' forecasts: one cutoff, L leads."""

    names: tuple[str, ...]
    levels: tuple[float, ...]
    scale: Scale
    nonnegative: bool
    steps: int

    def cooked(self, members: Mapping[str, Floats], decision: Decision) -> Floats:
        """(L, Q) the forecast that a decision makes of members' forecasts."""
        missing = np.full((self.steps, len(self.levels)), np.nan)
        rows = np.stack([members.get(name, missing) for name in self.names])[:, None]
        day = np.zeros(1, dtype="datetime64[s]")
        bank = Bank(
            members=self.names,
            cutoffs=day,
            ends=day,
            horizon=Horizon(steps=self.steps),
            stride=1,
            levels=self.levels,
            scale=self.scale,
            quantiles=sealed(rows),
            actuals=np.full((1, self.steps), np.nan),
            asked=np.ones((len(self.names), 1), dtype=np.bool_),
            nonnegative=self.nonnegative,
        )
        return apply(decision, bank).quantiles


def _moved(rows: Floats, before: Ingredients, after: Ingredients, apart: int, common: int) -> Floats:
    """A member's forecast before, given the new observations: (L, Q)."""
    middle = before.levels.index(0.5)
    expected = rows[apart - 1, middle] if apart else before.last
    median = rows[apart : apart + common, middle] + (after.last - expected)
    spread = rows[:common] - rows[:common, middle, None]
    return np.asarray(median[:, None] + spread)


def _with_weights(one: Decision, two: Decision) -> Decision:
    """The decision before with the new weights, and its skill factor along the new slopes' direction."""
    total = sum(two.slopes.values())
    old = one.slopes
    kappa = sum(old.values())
    slopes = {name: kappa * slope / total for name, slope in two.slopes.items()} if total > 0 else old
    rows = tuple(
        _row(name, weight=two.weights.get(name, 0.0), slope=slopes.get(name, 0.0))
        for name in dict.fromkeys((*two.weights, *old))
    )
    rules = replace(two.config, shrink=one.config.shrink)
    return replace(one, members=rows, config=rules)


def _row(name: str, *, weight: float, slope: float) -> MemberWeight:
    nan = float("nan")
    return MemberWeight(
        name=name,
        state=MemberState.ON,
        weight=weight,
        would_be_weight=weight,
        slope=slope,
        rmse=nan,
        relative=nan,
        windows=0,
    )


def _measured(rows: Floats, levels: tuple[float, ...], scale: Scale) -> Floats:
    """(L, 2) median and half-width of the 80 % interval, in the unit."""
    low, middle, high = (scale.backward(rows[:, levels.index(level)]) for level in (0.1, 0.5, 0.9))
    return np.stack([middle, (high - low) / 2.0], axis=1)
