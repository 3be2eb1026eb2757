"""Rows of `hybrid`: two branches made one, from a slice of the bank, before members are weighed.

A decision fits the layer on its slice and applies it to the slice and to the live forecasts; the decision
then treats `hybrid` as one more member. What the slice teaches is four numbers: a width factor and a weight
per branch. Scores of `hybrid` come from replayed decisions only, each with a slice of its own.

Letters in shapes: W windows, H steps, Q levels; 2 branches, in the order of `BRANCHES`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from horizoncast.bank import Bank
from horizoncast.calendar import Dates
from horizoncast.ensemble.decision import MIN_WINDOWS, best_naive
from horizoncast.ensemble.fusion import fuse, fusion_weights
from horizoncast.ensemble.parts import hierarchical_uncertainty
from horizoncast.ensemble.records import BRANCHES, HYBRID, FusionRecord
from horizoncast.errors import BankError
from horizoncast.frozen import sealed
from horizoncast.metrics import pinball, stated_spread
from horizoncast.models.hybrid.config import Deployment, HybridConfig
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.scale import Scale
from horizoncast.validation.calibration import SHRINK_NEURAL, standardised_misses, widen, width_factor

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class FusionInputs:
    """What fusion knows of each cutoff besides the branches' rows.

    Parameters
    ----------
    cutoffs
        (C,) increasing, those of the bank and the live one.
    log_odds
        (C, H) in favour of the first branch, by context: prior or learned gate.
    adapted
        (C, H, Q) rows of the first branch after the domain adaptation, in the scale; None where there is
        none.
    regime
        Signals of the context at the last cutoff, by name, for the record.
    epistemic
        (2, H) share of each branch's live variance that is doubt about its parameters; 0 where a branch does
        not know it.
    trained
        Learned parts in use: name to ``trained_until`` and digest, for the record.
    """

    cutoffs: Dates
    log_odds: Floats
    adapted: Floats | None = None
    regime: Mapping[str, float]
    epistemic: Floats
    trained: Mapping[str, str]

    def at(self, cutoffs: Dates) -> npt.NDArray[np.int64]:
        """Places of some cutoffs, all of which must be known."""
        places = np.searchsorted(self.cutoffs, cutoffs)
        found = places < len(self.cutoffs)
        if not found.all() or not (self.cutoffs[places] == cutoffs).all():
            raise BankError("fusion has no context for a cutoff", value=cutoffs)
        return np.asarray(places)


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptiveFusionLayer:
    """Fusion of the branches as one slice of the bank taught it: four numbers.

    Parameters
    ----------
    config
        How the surer branch is found, and whether branches are fused or picked.
    accuracy
        (2,) weights by past loss, summing to 1.
    widths
        (2,) width factor of each branch.
    levels
        Q quantile levels.
    """

    config: HybridConfig
    accuracy: Floats
    widths: Floats
    levels: tuple[float, ...]

    @classmethod
    def fitted(cls, branches: Bank, config: HybridConfig, *, skill: float = 1.0) -> AdaptiveFusionLayer:
        """Width factors and weights from matured rows of the branches.

        The weight is the inverse square of a branch's mean quantile loss after its own width factor, leads
        divided by sqrt(h): Bates & Granger (1969) with a score that sees the intervals too. Sharper rules,
        stacking among them, did no better (docs/methods.md, "Fusion").

        Parameters
        ----------
        branches
            Matured cutoffs, the members in the order of `BRANCHES`.
        skill
            0 where nothing beats the random walk and stated widths deserve more belief, else 1
            (`calibration.width_factor`).
        """
        widths = np.array(
            [
                width_factor(
                    standardised_misses(branches.actuals, rows, branches.levels),
                    branches.n_eff,
                    skill,
                    SHRINK_NEURAL,
                )
                for rows in branches.quantiles
            ]
        )
        fitted = cls(config=config, accuracy=np.ones(len(widths)), widths=widths, levels=branches.levels)
        loss = path_losses(branches, fitted.widened(branches.quantiles))
        least = loss.min()
        raw = (least / loss) ** 2 if least > 0 else (loss == least).astype(np.float64)
        return replace(fitted, accuracy=raw / raw.sum())

    def widened(self, quantiles: Floats) -> Floats:
        """Rows of the branches after their width factors, (2, ..., H, Q) to the same."""
        rows = [widen(row, self.levels, c) for row, c in zip(quantiles, self.widths, strict=True)]
        return np.stack(rows)

    def weights(self, quantiles: Floats, log_odds: Floats) -> Floats:
        """Weights of widened rows at each lead, (2, ..., H) from (2, ..., H, Q) and (..., H)."""
        if self.config.deployment == Deployment.ENSEMBLE:
            even = np.ones(quantiles.shape[:-1])
            return even * self.accuracy.reshape(-1, *(1,) * (even.ndim - 1))
        preference = np.stack([log_odds, np.zeros_like(log_odds)])
        spreads = stated_spread(quantiles, self.levels)
        found = fusion_weights(spreads, self.accuracy, self.config.confidence, preference)
        if self.config.deployment == Deployment.SELECTION:
            first = found[:1].mean(axis=-1, keepdims=True) >= 0.5
            found = np.concatenate([first, ~first]) * np.ones_like(found)
        return found

    def fused(self, quantiles: Floats, log_odds: Floats) -> Floats:
        """Rows of the hybrid, (..., H, Q) from (2, ..., H, Q) and (..., H)."""
        rows = self.widened(quantiles)
        return fuse(rows, self.weights(rows, log_odds))

    def record(self, quantiles: Floats, inputs: FusionInputs) -> FusionRecord:
        """What the fusion at the live cutoff was made of, from (2, H, Q) rows before widening."""
        rows, log_odds = self.widened(quantiles), inputs.log_odds[-1]
        weights = self.weights(rows, log_odds)
        variance = stated_spread(rows, self.levels) ** 2
        parts = hierarchical_uncertainty(
            inputs.epistemic * variance,
            (1.0 - inputs.epistemic) * variance,
            rows[..., self.levels.index(0.5)],
            weights,
        )
        return FusionRecord(
            deployment=self.config.deployment,
            confidence=self.config.confidence,
            accuracy=self.accuracy,
            widths=self.widths,
            weights=weights,
            regime=dict(inputs.regime),
            log_odds=log_odds,
            uncertainty=parts,
            trained=dict(inputs.trained),
        )


def layer_on(past: Bank, config: HybridConfig) -> AdaptiveFusionLayer | None:
    """The layer of a decision with this slice, nothing adapted; None where too few cutoffs matured.

    Parameters
    ----------
    past
        Matured cutoffs of branches and naives.
    """
    branches = past.select(BRANCHES)
    usable = _usable(branches)
    if usable.sum() < MIN_WINDOWS:
        return None
    return AdaptiveFusionLayer.fitted(branches.pick(usable), config, skill=_skill(past))


def path_losses(branches: Bank, quantiles: Floats) -> Floats:
    """Mean quantile loss of each branch over cutoffs and the lead grid, (K,) from (K, W, H, Q).

    In the scale, leads divided by sqrt(h), over cutoffs that all branches answered.
    """
    leads = branches.leads
    loss = pinball(branches.actuals[:, leads], quantiles[:, :, leads], branches.levels).mean(axis=-1)
    scaled = loss / np.sqrt(leads + 1.0)
    known = np.isfinite(scaled).all(axis=0)
    if not known.any():
        raise BankError("no outcome is known at a cutoff that every branch answered")
    return np.asarray(scaled[:, known].mean(axis=1))


@dataclass(frozen=True, kw_only=True, eq=False)
class Fusion:
    """The hybrid of one run: its own state, its rules, and the context of every cutoff.

    Parameters
    ----------
    state
        Its own; what it comes to follows from its parts' as well (`state_of`).
    """

    state: MemberState
    config: HybridConfig
    inputs: FusionInputs

    def joined(self, past: Bank, live: Bank, states: Mapping[str, MemberState]) -> Joined:
        """A slice and the row to be forecast, with the hybrid as one more member where it can be made.

        Where it cannot, its parts stand for themselves.

        Parameters
        ----------
        past
            A slice: matured cutoffs only.
        live
            One cutoff.
        states
            Of the members; the hybrid's is added.
        """
        state = state_of(self.state, states)
        reason = "its parts are not both switched on" if state is MemberState.OFF else _missing(past, live)
        if reason:
            none = FusionRecord.unmade(self.config, live.horizon.steps, reason)
            return Joined(past=past, live=live, states=states, record=none)
        before, now = _branches(past, self.inputs), _branches(live, self.inputs)
        layer = AdaptiveFusionLayer.fitted(before.pick(_usable(before)), self.config, skill=_skill(past))
        return Joined(
            past=_appended(past, before, layer, self.inputs),
            live=_appended(live, now, layer, self.inputs),
            states={**states, HYBRID: state},
            record=layer.record(now.quantiles[:, 0], inputs_at(self.inputs, live.cutoffs)),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Joined:
    """A slice and its live row, with the hybrid among the members or the reason why not.

    Parameters
    ----------
    past, live, states
        As they came, the hybrid added where there is one.
    record
        The fusion at the live cutoff, or why there is none; None where none is wanted.
    """

    past: Bank
    live: Bank
    states: Mapping[str, MemberState]
    record: FusionRecord | None = None

    @property
    def reason(self) -> str:
        """Why there is no hybrid; empty where there is one, or none is wanted."""
        return "" if self.record is None else self.record.reason

    @property
    def made(self) -> bool:
        """Whether the hybrid is among the members."""
        return self.record is not None and not self.record.reason


def _missing(past: Bank, live: Bank) -> str:
    """Why no hybrid can be made here; empty when it can."""
    absent = [name for name in BRANCHES if name not in past.members]
    if absent:
        return f"{' and '.join(absent)} did not run"
    silent = [name for name in BRANCHES if not live.answered[live.member_index(name), 0]]
    if silent:
        return f"{' and '.join(silent)} gave no forecast"
    matured = int(_usable(past.select(BRANCHES)).sum())
    return "" if matured >= MIN_WINDOWS else f"{matured} matured cutoffs of both parts, {MIN_WINDOWS} needed"


def _usable(branches: Bank) -> Bools:
    """(W,) cutoffs that both branches answered and that have an outcome."""
    known = np.isfinite(branches.actuals[:, branches.leads]).any(axis=1)
    return np.asarray(branches.answered.all(axis=0) & known)


def _skill(past: Bank) -> float:
    """0 for prices whose best naive is the random walk, else 1 (`AdaptiveFusionLayer.fitted`)."""
    naives = [name for name in NAIVES if name in past.members]
    prices = past.scale is Scale.LOG and best_naive(past, naives) == "random_walk"
    return 0.0 if prices else 1.0


def inputs_at(inputs: FusionInputs, cutoffs: Dates) -> FusionInputs:
    """The context of some cutoffs; regime and epistemic shares are those of the last one of all."""
    places = inputs.at(cutoffs)
    adapted = None if inputs.adapted is None else inputs.adapted[places]
    return replace(inputs, cutoffs=cutoffs, log_odds=inputs.log_odds[places], adapted=adapted)


def state_of(own: MemberState, states: Mapping[str, MemberState]) -> MemberState:
    """State of the hybrid: the lowest of its own and its parts'.

    >>> state_of(MemberState.ON, {"chronos": MemberState.ON, "autoformer": MemberState.SHADOW})
    <MemberState.SHADOW: 'shadow'>
    """
    order = (MemberState.OFF, MemberState.SHADOW, MemberState.ON)
    return min((own, *(states.get(name, MemberState.OFF) for name in BRANCHES)), key=order.index)


def _branches(bank: Bank, inputs: FusionInputs) -> Bank:
    """The branches' rows, the first one adapted where it is."""
    found = bank.select(BRANCHES)
    if inputs.adapted is None:
        return found
    rows = np.where(
        found.answered[0][:, None, None], inputs.adapted[inputs.at(bank.cutoffs)], found.quantiles[0]
    )
    return replace(found, quantiles=sealed(np.stack([rows, found.quantiles[1]])))


def _appended(bank: Bank, branches: Bank, layer: AdaptiveFusionLayer, inputs: FusionInputs) -> Bank:
    """A bank with the hybrid's rows, NaN at cutoffs that a branch did not answer."""
    here = branches.answered.all(axis=0)
    rows = np.full(branches.quantiles.shape[1:], np.nan)
    log_odds = inputs.log_odds[inputs.at(bank.cutoffs)]
    rows[here] = layer.fused(branches.quantiles[:, here], log_odds[here])
    return bank.with_member(HYBRID, rows, np.asarray(branches.asked.all(axis=0)))
