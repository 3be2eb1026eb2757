"""Settings of `hybrid`, the fusion of Chronos and the Bayesian Autoformer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from horizoncast.errors import ConfigError, UnknownNameError


class Deployment(StrEnum):
    """How the two branches of `hybrid` become one forecast."""

    FULL = "full"
    """Fused at every lead by accuracy, confidence and context."""
    ENSEMBLE = "ensemble"
    """Fused by accuracy alone, the same at every lead."""
    SELECTION = "selection"
    """One of the two, chosen at each cutoff by the weights of ``full``."""


CONFIDENCES = ("inverse_variance", "inverse_shifted")
"""Rules by which the surer branch counts for more; `horizoncast.ensemble.fusion` has the formulas."""


@dataclass(frozen=True, kw_only=True)
class HybridConfig:
    """How `hybrid` is made of its branches.

    Parameters
    ----------
    deployment
        See `Deployment`.
    confidence
        One of `CONFIDENCES`.
    prior
        Strength of the known rule that favours a branch by context, 0 to 1, where no gate was learned.
    parts
        Folder with one folder per series and service that holds learned parts; empty has none.
    """

    deployment: str = Deployment.FULL.value
    confidence: str = "inverse_variance"
    prior: float = 0.0
    parts: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        allowed = tuple(d.value for d in Deployment)
        if self.deployment not in allowed:
            raise UnknownNameError.of("deployment of the hybrid", self.deployment, allowed)
        if self.confidence not in CONFIDENCES:
            raise UnknownNameError.of("confidence of the hybrid", self.confidence, CONFIDENCES)
        if not 0.0 <= self.prior <= 1.0:
            raise ConfigError("strength of the hybrid's prior", value=self.prior, allowed="0 to 1")
