"""Chronos on its own, in the ensemble, and gone again: three checks, the last line says how many held.

    python examples/chronos_integration.py             # the model that would run by default
    python examples/chronos_integration.py MODEL       # a name below models/, or a folder

The series is the embedded USD/MXN, 600 sessions of it.
"""

import gc
import os
import sys
import weakref
from pathlib import Path

import psutil

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine import EngineConfig, ForecastEngine, MemberSetting
from horizoncast.errors import HorizoncastError
from horizoncast.forecast import Failure, Forecast
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.names import (
    forecast_chronos,
    get_chronos_pipeline,
    release_chronos_pipeline,
)
from horizoncast.policy.states import MemberState
from horizoncast.resources import MIB
from horizoncast.series import Series

ROOT = Path(__file__).resolve().parents[1]
TARGET = ROOT / "config" / "targets" / "usdmxn.toml"


def standalone(series: Series, config: ChronosConfig) -> bool:
    """The member alone, in this process."""
    (found,) = forecast_chronos(series, "15d", config=config)
    if isinstance(found, Failure):
        print(f"1 standalone: {found.code}: {found.reason}")
        return False
    low, high = found.interval(0.8)
    identity, day = found.identity, str(found.cutoff)[:10]
    print(
        f"1 standalone: {identity.id} at {identity.revision[:12]}, from {day}: "
        f"{found.point[-1]:.3f} in 15 sessions, 80 % {low[-1]:.3f} to {high[-1]:.3f}"
    )
    return True


def in_the_ensemble(series: Series, config: ChronosConfig) -> bool:
    """A member among others, in a process of its own, weighted by what it did at past cutoffs."""
    members = tuple(MemberSetting(name=name) for name in ("random_walk", "arima_garch"))
    chronos = MemberSetting(name="chronos", state=MemberState.ON, config=config)
    engine = ForecastEngine(EngineConfig(service="example", members=(*members, chronos), replays=2))
    result = engine.forecast(series, "15d")
    mine = next(m for m in result.members if m.name == "chronos")
    if not isinstance(mine.live, Forecast):
        print(f"2 in the ensemble: {mine.live.code}: {mine.live.reason}")
        return False
    cost = (
        f", {mine.usage.cpu_s:.1f} s of processor time, peak {mine.usage.peak_mb:.0f} MiB"
        if mine.usage
        else ""
    )
    weights = ", ".join(f"{m.name} {m.weight:.2f}" for m in result.members)
    print(f"2 in the ensemble: {mine.answered} of {mine.asked} cutoffs{cost}; weights: {weights}")
    return mine.answered == mine.asked


def memory_released(model: str, models: Path) -> bool:
    """Loaded in this process, then let go: the network is gone, and so is its memory."""
    process = psutil.Process(os.getpid())
    pipeline = get_chronos_pipeline(model, models=models)
    size = sum(p.numel() * p.element_size() for p in pipeline.model.parameters()) / MIB
    sum(
        float(p.detach().sum()) for p in pipeline.model.parameters()
    )  # mapped from the file: resident once read
    network = weakref.ref(pipeline.model)
    held = process.memory_info().rss / MIB
    del pipeline
    release_chronos_pipeline()
    gc.collect()
    left = process.memory_info().rss / MIB
    print(f"3 memory released: weights {size:.1f} MiB; resident {held:.0f} MiB with them, {left:.0f} without")
    return network() is None and held - left > 0.5 * size - 2.0  # below 2 MiB nothing can be told


def main() -> int:
    model, models = (sys.argv[1] if len(sys.argv) > 1 else ""), ROOT / "models"
    whole = load_series(read_target(TARGET)).series
    series = whole.truncated(whole.dates[599])
    config = ChronosConfig(model=model, models=str(models), window=180)
    held = [standalone(series, config), in_the_ensemble(series, config), memory_released(model, models)]
    print(f"{sum(held)}/3")
    return 0 if all(held) else 1


if __name__ == "__main__":
    try:
        code = main()
    except HorizoncastError as error:  # no checkpoint on disk, or a damaged one
        code = error.exit_code
        print(f"error: {error}", file=sys.stderr)
    sys.exit(code)
