"""Scores and verdicts of members and ensemble, from replayed decisions only."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.engine.result import ENSEMBLE
from horizoncast.ensemble.records import HYBRID
from horizoncast.ensemble.replay import Replay
from horizoncast.metrics import Sample, Score, pinball
from horizoncast.series import Series
from horizoncast.validation.scoring import score_subject
from horizoncast.validation.significance import Verdict, compare

Floats = npt.NDArray[np.float64]


def evaluate(
    series: Series, bank: Bank, replayed: Replay, reference: str
) -> tuple[list[Score], list[Verdict]]:
    """Scores over the replayed cutoffs, and each subject against a reference.

    The ensemble and the hybrid are scored on decisions taken with slices of their own, members on the same
    cutoffs. Without replays nothing is scored: "not yet known".
    """
    if not len(replayed.places):
        return [], []
    scored = bank.pick(replayed.places)
    subjects = {name: scored.quantiles[k] for k, name in enumerate(scored.members)}
    if replayed.hybrid is not None and np.isfinite(replayed.hybrid).any():
        subjects[HYBRID] = replayed.hybrid
    subjects[ENSEMBLE] = replayed.quantiles
    scores = [
        score
        for name, quantiles in subjects.items()
        for score in score_subject(name, quantiles, scored, series, Sample.PSEUDO_OUT_OF_SAMPLE)
    ]
    losses = {name: cutoff_losses(scored, quantiles) for name, quantiles in subjects.items()}
    verdicts = [
        compare(name, reference, loss, losses[reference], steps=bank.horizon.steps, stride=bank.stride)
        for name, loss in losses.items()
        if name != reference
    ]
    return scores, verdicts


def cutoff_losses(bank: Bank, quantiles: Floats) -> Floats:
    """(R,) mean quantile loss per cutoff over the lead grid, divided by sqrt(h), in the scale."""
    leads = bank.leads
    loss = pinball(bank.actuals[:, leads], quantiles[:, leads], bank.levels).mean(axis=2)
    return np.asarray((loss / np.sqrt(leads + 1.0)).mean(axis=1))
