"""ForecastEngine: Series -> members -> Bank -> decision -> Forecast.

The public way in from Python::

    engine = ForecastEngine(EngineConfig())
    result = engine.forecast(series, "30d")
    result.forecast.interval(0.8)
"""

from horizoncast.engine.core import ForecastEngine, lay_out
from horizoncast.engine.evaluation import cutoff_losses, evaluate
from horizoncast.engine.live import NOTHING_LIVE, LiveHistory
from horizoncast.engine.result import ENSEMBLE, EngineResult, MemberOutcome
from horizoncast.engine.settings import EngineConfig, HybridSetting, MemberSetting, default_members

__all__ = [
    "ENSEMBLE",
    "NOTHING_LIVE",
    "EngineConfig",
    "EngineResult",
    "ForecastEngine",
    "HybridSetting",
    "LiveHistory",
    "MemberOutcome",
    "MemberSetting",
    "cutoff_losses",
    "default_members",
    "evaluate",
    "lay_out",
]
