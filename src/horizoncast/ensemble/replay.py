"""Decisions taken again at earlier cutoffs: the only honest score of the ensemble.

Letters in shapes: R replayed cutoffs, H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.calendar import Dates
from horizoncast.ensemble.decision import MIN_WINDOWS, apply, decide
from horizoncast.ensemble.hybrid import Fusion
from horizoncast.ensemble.records import HYBRID, Decision, DecisionConfig
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Replay:
    """Decisions taken again at earlier cutoffs, each with its own slice.

    Parameters
    ----------
    cutoffs
        (R,) where a decision was replayed.
    places
        (R,) their positions in the bank.
    quantiles
        (R, H, Q) what would have been published, in the scale.
    decisions
        R decisions.
    hybrid
        (R, H, Q) rows of `hybrid` at those cutoffs, each from a slice of its own, NaN where there was none;
        None without a hybrid.
    """

    cutoffs: Dates
    places: npt.NDArray[np.int64]
    quantiles: Floats
    decisions: tuple[Decision, ...]
    hybrid: Floats | None = None


def replay(
    bank: Bank,
    states: Mapping[str, MemberState],
    config: DecisionConfig,
    *,
    least: int = MIN_WINDOWS,
    last: int | None = None,
    fusion: Fusion | None = None,
) -> Replay:
    """Decide at every cutoff of the bank from what had matured there, and apply it there.

    A cutoff that no naive answered is left out: nothing could have been published there.

    Parameters
    ----------
    least
        Cutoffs whose slice is smaller are left out.
    last
        Replay only this many of the newest cutoffs; None replays all.
    fusion
        The hybrid, where there is one.
    """
    naives = bank.answered[[bank.member_index(name) for name in NAIVES if name in bank.members]].any(axis=0)
    matured = (bank.ends[None, :] <= bank.cutoffs[:, None]).sum(axis=1)
    places = [int(w) for w in np.flatnonzero(naives & (matured >= least))]
    places = places if last is None else places[max(0, len(places) - last) :]
    quantiles = np.full((len(places), bank.horizon.steps, len(bank.levels)), np.nan)
    hybrid = None if fusion is None else np.full_like(quantiles, np.nan)
    decisions = []
    for row, w in enumerate(places):
        past, live, now = bank.slice_at(bank.cutoffs[w], config.newest), bank.pick(np.array([w])), states
        if fusion is not None and hybrid is not None:
            joined = fusion.joined(past, live, states)
            past, live, now = joined.past, joined.live, joined.states
            if joined.made:
                hybrid[row] = live.quantiles[live.member_index(HYBRID), 0]
        decision = decide(past, now, config)
        decisions.append(decision)
        quantiles[row] = apply(decision, live).quantiles
    at = np.array(places, dtype=np.int64)
    return Replay(
        cutoffs=bank.cutoffs[at],
        places=at,
        quantiles=quantiles,
        decisions=tuple(decisions),
        hybrid=hybrid,
    )
