"""What a decision is made by, what it says of each member, and what it comes to.

Letters in shapes: H steps, Q levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.ensemble.combine import COMBINATIONS
from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.ensemble.weights import RULE_NAMES
from horizoncast.errors import BankError, ConfigError, UnknownNameError
from horizoncast.forecast import Flag
from horizoncast.frozen import readonly, reduced
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.policy.states import MemberState

Floats = npt.NDArray[np.float64]

HYBRID = "hybrid"
BRANCHES = ("chronos", "autoformer")
"""The hybrid's parts; it takes their place when it is on."""

SIGNALS = ("season", "trend", "volatility", "entropy", "novelty")
"""Names of a context's signals that are one number, see `horizoncast.models.hybrid.context`."""


@dataclass(frozen=True, kw_only=True, eq=False)
class FusionRecord:
    """What `hybrid` was made of at the live cutoff, or why it could not be made (`unmade`).

    A number that is not known is NaN.

    Parameters
    ----------
    deployment, confidence
        The rules in use.
    accuracy, widths
        (2,) weights by past loss, and width factors, of the branches.
    weights
        (2, H) weights of the branches at each lead, summing to 1.
    regime
        Context at the cutoff: strength of season and trend, volatility's percentile, spectral entropy,
        novelty, by the names in `SIGNALS`; those that are not known may be left out.
    log_odds
        (H,) in favour of the first branch, by context.
    uncertainty
        Parts of the variance, in the scale squared.
    trained
        Learned parts in use, with the date they have seen at most.
    reason
        Why the hybrid could not be made; empty when it was.

    Raises
    ------
    BankError
        When shapes differ, a signal is unknown, weights do not sum to 1, or a part of the variance is
        negative.
    """

    deployment: str
    confidence: str
    accuracy: Floats
    widths: Floats
    weights: Floats
    regime: Mapping[str, float]
    log_odds: Floats
    uncertainty: HierarchicalUncertainty
    trained: Mapping[str, str]
    reason: str = ""

    def __post_init__(self) -> None:
        for name in ("accuracy", "widths", "weights", "log_odds"):
            object.__setattr__(self, name, readonly(getattr(self, name)))
        _check_fusion(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor, so that the arrays are read-only again."""
        return reduced(self)

    @classmethod
    def unmade(cls, config: HybridConfig, steps: int, reason: str) -> FusionRecord:
        """The record of a hybrid that could not be made: no number of it is known."""
        pair, row = np.full(2, np.nan), np.full(steps, np.nan)
        return cls(
            deployment=config.deployment,
            confidence=config.confidence,
            accuracy=pair,
            widths=pair,
            weights=np.full((2, steps), np.nan),
            regime={},
            log_odds=row,
            uncertainty=HierarchicalUncertainty(epistemic=row, aleatoric=row, between=row),
            trained={},
            reason=reason,
        )

    @property
    def steps(self) -> int:
        """H, the number of steps."""
        return len(self.log_odds)


def _check_fusion(f: FusionRecord) -> None:
    parts = [f.uncertainty.epistemic, f.uncertainty.aleatoric, f.uncertainty.between]
    found = [a.shape for a in (f.accuracy, f.widths, f.weights, f.log_odds, *parts)]
    steps = max(1, f.log_odds.size)
    if found != [(2,), (2,), (2, steps), *[(steps,)] * 4]:
        allowed = "accuracy and widths (2,); weights (2, H); log_odds and parts of the uncertainty (H,)"
        raise BankError("fusion record: shapes", value=found, allowed=allowed)
    if unknown := set(f.regime) - set(SIGNALS):
        raise BankError("fusion record: signals", value=sorted(unknown), allowed=", ".join(SIGNALS))
    total = f.weights.sum(axis=0)
    if (f.weights < 0).any() or (np.abs(total - 1.0) > 1e-6).any():
        raise BankError("fusion record: weights are not negative and sum to 1 at every lead", value=total)
    if any((part < 0).any() for part in parts):
        raise BankError("fusion record: a part of the variance is negative")


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """How members become one forecast.

    Parameters
    ----------
    rule
        Weighting rule: trimmed_inverse_square, inverse_rmse, equal, best or greedy.
    combination
        quantile_average or linear_pool.
    trim
        Members with more than this multiple of the smallest error get no weight.
    cap
        Largest weight when three or more members carry one.
    newest
        Matured cutoffs in the slice.
    shrink
        Whether the median is shrunk toward the best naive.
    calibrate
        Whether the pooled width factor is applied.
    prior
        Prior standard deviation of the skill's slope; None takes it from the horizon.
    """

    rule: str = "trimmed_inverse_square"
    combination: str = "quantile_average"
    trim: float = 1.25
    cap: float = 0.6
    newest: int = 40
    shrink: bool = True
    calibrate: bool = True
    prior: float | None = None

    def __post_init__(self) -> None:
        if self.rule not in RULE_NAMES:
            raise UnknownNameError.of("weighting rule", self.rule, RULE_NAMES)
        if self.combination not in COMBINATIONS:
            raise UnknownNameError.of("combination", self.combination, COMBINATIONS)
        if self.trim < 1.0 or not 0.0 < self.cap <= 1.0 or self.newest < 1:
            raise ConfigError(
                "decision: trim at least 1, cap in (0, 1], newest at least 1",
                value=(self.trim, self.cap, self.newest),
            )
        if self.prior is not None and not self.prior > 0:
            raise ConfigError("decision: the skill's prior must be positive", value=self.prior)


@dataclass(frozen=True, kw_only=True)
class MemberWeight:
    """What the slice says of one member.

    Parameters
    ----------
    name, state
        The member and its rollout state.
    weight
        Its share of the ensemble; 0 in shadow.
    would_be_weight
        The share it would carry if it were on (its own weight when it is).
    slope
        How far the published median follows it away from the best naive, 0 to 1.
    rmse
        Path RMSE on the slice, in the scale; NaN when dropped. Basis of the weight, not a score.
    relative
        The same as a ratio to the best naive's.
    windows
        Cutoffs behind the figure.
    reason
        Why it carries no weight, empty when it does.
    """

    name: str
    state: MemberState
    weight: float
    would_be_weight: float
    slope: float = 0.0
    rmse: float
    relative: float
    windows: int
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """About a dozen numbers that turn members' forecasts into the published one.

    Parameters
    ----------
    members
        One row per member of the slice.
    best_naive
        The reference the median is shrunk toward.
    kappa
        Skill factor, the sum of the slopes: 0 ships the naive's median, 1 the members'.
    width
        Pooled width factor.
    windows, n_eff
        Cutoffs of the slice, and how many independent ones they are worth.
    first_cutoff, last_cutoff
        Range of the slice; None when it is empty.
    adaptive
        Factor beside the pooled one, from live outcomes; 1 until enough of them have matured.
    flags
        ``few_windows`` when the slice was too small to decide anything.
    fusion
        What `hybrid` was made of, or why it could not be made; None where none is configured.
    """

    members: tuple[MemberWeight, ...]
    best_naive: str
    kappa: float
    width: float
    windows: int
    n_eff: float
    first_cutoff: np.datetime64 | None
    last_cutoff: np.datetime64 | None
    config: DecisionConfig
    adaptive: float = 1.0
    flags: tuple[Flag, ...] = field(default=())
    fusion: FusionRecord | None = None

    @property
    def weights(self) -> dict[str, float]:
        """Weight by member, zeros included."""
        return {m.name: m.weight for m in self.members}

    @property
    def slopes(self) -> dict[str, float]:
        """Slope by member, zeros included."""
        return {m.name: m.slope for m in self.members}


@dataclass(frozen=True, kw_only=True, eq=False)
class Combined:
    """A decision applied to one cutoff: (H, Q) quantiles in the scale, the weights really used."""

    quantiles: Floats
    weights: dict[str, float]
    flags: tuple[Flag, ...]
