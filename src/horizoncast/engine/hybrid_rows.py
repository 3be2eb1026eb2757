"""What gate and adaptation learn from: past cutoffs, each as its own decision would have seen it.

Letters in shapes: W cutoffs, H steps, Q levels; 2 branches, in the order of `BRANCHES`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank, Embeddings
from horizoncast.calendar import Dates
from horizoncast.engine.hybrid import contexts_of, season_of
from horizoncast.ensemble.decision import MIN_WINDOWS, best_naive
from horizoncast.ensemble.fusion import fusion_weights
from horizoncast.ensemble.hybrid import AdaptiveFusionLayer, layer_on
from horizoncast.ensemble.records import BRANCHES
from horizoncast.metrics import stated_spread
from horizoncast.models.hybrid.adaptation import AdaptationRows
from horizoncast.models.hybrid.artefact import joint_log_odds
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.hybrid.context import Context
from horizoncast.models.hybrid.features import feature_names, feature_rows
from horizoncast.models.hybrid.fitting import window_losses
from horizoncast.models.hybrid.gate_rows import GateRows
from horizoncast.models.registry import NAIVES
from horizoncast.series import Series

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class LearningRows:
    """Cutoffs of one series at one horizon, as their decisions would have seen them.

    Parameters
    ----------
    series, period
        Where they come from, and the season that features read.
    cutoffs, ends
        (W,) those at which a decision would have had a hybrid, with their step H.
    levels
        Q levels.
    quantiles
        (2, W, H, Q) of the branches, each after the width factor of its cutoff's own slice, in the scale.
    confidence
        (2, W, H) weights by confidence, clipped as in the fusion.
    accuracy
        (2, W) weights by the past loss that each cutoff's slice shows.
    actuals
        (W, H) in the scale.
    naive_loss
        Mean loss of the best naive over these cutoffs.
    embeddings
        What Chronos' encoder saw at each cutoff; None where it saw none.
    """

    series: Series
    period: int | None
    cutoffs: Dates
    ends: Dates
    levels: tuple[float, ...]
    quantiles: Floats
    confidence: Floats
    accuracy: Floats
    actuals: Floats
    naive_loss: float
    embeddings: Embeddings | None = None

    @property
    def log_odds(self) -> Floats:
        """(W, H) in favour of the first branch by confidence and accuracy alone."""
        weights = self.confidence * self.accuracy[:, :, None]
        return np.asarray(np.log(weights[0]) - np.log(weights[1]))

    def ended(self, until: np.datetime64) -> LearningRows:
        """Those whose outcome was known by a date."""
        keep = self.ends <= until
        return LearningRows(
            series=self.series,
            period=self.period,
            cutoffs=self.cutoffs[keep],
            ends=self.ends[keep],
            levels=self.levels,
            quantiles=self.quantiles[:, keep],
            confidence=self.confidence[:, keep],
            accuracy=self.accuracy[:, keep],
            actuals=self.actuals[keep],
            naive_loss=self.naive_loss,
            embeddings=None if self.embeddings is None else self.embeddings.pick(keep),
        )

    def contexts(self) -> tuple[Context, ...]:
        """Signals at each cutoff."""
        return tuple(contexts_of(self.series, self.cutoffs, self.embeddings))

    def gate_rows(self, omega: tuple[float, float] = (0.0, 0.0)) -> GateRows:
        """What a gate learns from; a joint fine-tuning's log-odds stand before it as they will."""
        joint = np.exp(joint_log_odds(omega, np.arange(1, self.actuals.shape[1] + 1)))
        return GateRows(
            series=self.series.name,
            cutoffs=self.cutoffs,
            ends=self.ends,
            levels=self.levels,
            quantiles=self.quantiles,
            confidence=self.confidence * np.stack([joint, np.ones_like(joint)])[:, None, :],
            accuracy=self.accuracy,
            actuals=self.actuals,
            contexts=self.contexts(),
            naive_loss=self.naive_loss,
        )

    def adaptation_rows(self) -> AdaptationRows:
        """What an adaptation learns from.

        Chronos after its width factor: a width that the factor mends already is no gain of the adaptation.
        """
        return AdaptationRows(
            series=self.series.name,
            cutoffs=self.cutoffs,
            ends=self.ends,
            levels=self.levels,
            quantiles=self.quantiles[0],
            actuals=self.actuals,
            names=feature_names(self.series, self.period),
            features=feature_rows(self.series, self.cutoffs, self.period, self.actuals.shape[1]),
            naive_loss=self.naive_loss,
        )


def learning_rows(
    series: Series, bank: Bank, config: HybridConfig, newest: int, *, past: Bank | None = None
) -> LearningRows | None:
    """Rows to learn from of a bank of branches and naives; None where no cutoff has a slice before it.

    Parameters
    ----------
    bank
        Matured cutoffs.
    newest
        Cutoffs of a decision's slice.
    past
        Bank that slices are taken from, where `bank` has other cutoffs than decisions would.
    """
    slices = bank if past is None else past
    answered = bank.select(BRANCHES).answered.all(axis=0)
    found = [
        (w, layer)
        for w in np.flatnonzero(answered)
        if (layer := layer_on(slices.slice_at(bank.cutoffs[w], newest), config)) is not None
    ]
    if not found:
        return None
    at = np.array([w for w, _ in found])
    rows = bank.select(BRANCHES).quantiles
    widened = np.stack([layer.widened(rows[:, w]) for w, layer in found], axis=1)
    confidence = np.stack([_confidence(layer, widened[:, k]) for k, (_, layer) in enumerate(found)], axis=1)
    naives = [name for name in NAIVES if name in bank.members]
    here = bank.pick(at)
    naive = here.quantiles[here.member_index(best_naive(here, naives))]
    loss = float(np.nanmean(window_losses(here.actuals, naive, bank.levels)))
    if not loss > 0:
        return None  # a series that stood still has nothing to teach
    return LearningRows(
        series=series,
        period=season_of(series.periods, len(series)),
        cutoffs=here.cutoffs,
        ends=here.ends,
        levels=bank.levels,
        quantiles=widened,
        confidence=confidence,
        accuracy=np.stack([layer.accuracy for _, layer in found], axis=1),
        actuals=here.actuals,
        naive_loss=loss,
        embeddings=here.embeddings,
    )


def fewest_cutoffs(steps: int, stride: int) -> int:
    """Training cutoffs below which not even one learning step has rows: a slice, and as many after it."""
    return 2 * MIN_WINDOWS + -(-steps // stride)


def _confidence(layer: AdaptiveFusionLayer, quantiles: Floats) -> Floats:
    """(2, H) clipped weights by confidence of widened rows, without accuracy."""
    spreads = stated_spread(quantiles, layer.levels)
    return fusion_weights(spreads, np.ones(len(quantiles)), layer.config.confidence)
