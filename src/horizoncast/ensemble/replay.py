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
from horizoncast.ensemble.records import Decision, DecisionConfig
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
    """

    cutoffs: Dates
    places: npt.NDArray[np.int64]
    quantiles: Floats
    decisions: tuple[Decision, ...]


def replay(
    bank: Bank,
    states: Mapping[str, MemberState],
    config: DecisionConfig,
    *,
    least: int = MIN_WINDOWS,
    last: int | None = None,
) -> Replay:
    """Decide at every cutoff of the bank from what had matured there, and apply it there.

    A cutoff that no naive answered is left out: nothing could have been published there.

    Parameters
    ----------
    least
        Cutoffs whose slice is smaller are left out.
    last
        Replay only this many of the newest cutoffs; None replays all.
    """
    naives = bank.answered[[bank.member_index(name) for name in NAIVES if name in bank.members]].any(axis=0)
    matured = (bank.ends[None, :] <= bank.cutoffs[:, None]).sum(axis=1)
    places = [int(w) for w in np.flatnonzero(naives & (matured >= least))]
    places = places if last is None else places[max(0, len(places) - last) :]
    quantiles = np.full((len(places), bank.horizon.steps, len(bank.levels)), np.nan)
    decisions = []
    for row, w in enumerate(places):
        decision = decide(bank.slice_at(bank.cutoffs[w], config.newest), states, config)
        decisions.append(decision)
        quantiles[row] = apply(decision, bank, w).quantiles
    at = np.array(places, dtype=np.int64)
    return Replay(cutoffs=bank.cutoffs[at], places=at, quantiles=quantiles, decisions=tuple(decisions))
