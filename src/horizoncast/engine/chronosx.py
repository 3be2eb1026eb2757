"""Chronos and the Bayesian Autoformer as one forecaster, without the rest of the ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from horizoncast.engine.core import ForecastEngine
from horizoncast.engine.result import EngineResult
from horizoncast.engine.settings import EngineConfig, HybridSetting, MemberSetting
from horizoncast.ensemble.records import BRANCHES, HYBRID, FusionRecord
from horizoncast.errors import ModelError
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import Horizon
from horizoncast.models.base import MemberConfig
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.policy.states import MemberState
from horizoncast.series import Series


@dataclass(frozen=True, kw_only=True, eq=False)
class HybridForecast:
    """A forecast of the hybrid, with what it was made of.

    Parameters
    ----------
    forecast
        Of the hybrid, in the unit.
    parts
        Live forecasts of its parts.
    fusion
        Weights, regime and parts of the uncertainty.
    result
        The run it comes from: the bank of past cutoffs, scores beside its parts and the naives.
    """

    forecast: Forecast
    parts: Mapping[str, Forecast]
    fusion: FusionRecord
    result: EngineResult


class ChronosXBayesianHybrid:
    """The hybrid on its own: its two parts validated on past cutoffs, weighed, and fused.

    The same code as in a service whose ``ENABLE_HYBRID`` is on; nothing of the classical members runs.

    Parameters
    ----------
    config
        How the parts are fused.
    members
        Settings of the parts by name, their own defaults where they are not named.
    engine
        Rules of the run; its members and hybrid are replaced.

    Examples
    --------
    ::

        hybrid = ChronosXBayesianHybrid(HybridConfig(deployment="full"))
        found = hybrid.forecast(series, "30d")
        found.fusion.uncertainty.shares
    """

    def __init__(
        self,
        config: HybridConfig | None = None,
        *,
        members: Mapping[str, MemberConfig] | None = None,
        engine: EngineConfig | None = None,
    ) -> None:
        given = dict(members or {})
        parts = tuple(
            MemberSetting(name=name, state=MemberState.ON, config=given.get(name)) for name in BRANCHES
        )
        self.config = replace(
            EngineConfig() if engine is None else engine,
            members=parts,
            hybrid=HybridSetting(state=MemberState.ON, config=config or HybridConfig()),
        )

    def forecast(self, series: Series, horizon: Horizon | str | int) -> HybridForecast:
        """Forecast the sessions after the series' last observation.

        Raises
        ------
        ModelError
            When there is no hybrid: a part gave no forecast, or too few cutoffs have matured.
        """
        result = ForecastEngine(self.config).forecast(series, horizon)
        live = {outcome.name: outcome.live for outcome in result.members}
        found, fusion = live[HYBRID], result.decision.fusion
        if isinstance(found, Failure) or fusion is None:
            reasons = [f"{n}: {a.reason}" for n, a in live.items() if isinstance(a, Failure)]
            raise ModelError(f"{series.name}: no hybrid", value="; ".join(reasons))
        parts = {name: a for name in BRANCHES if isinstance(a := live[name], Forecast)}
        return HybridForecast(forecast=found, parts=parts, fusion=fusion, result=result)
