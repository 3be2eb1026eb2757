"""The four classical services through the engine alone, nothing cached: what each member costs.

    python benchmarks/engine_run.py [--services forecaster_30d ...]

Prints JSON: a row per service and member (CPU seconds and peak of the member's own process), and the
CPU seconds that this process spent besides (data, plan, decision, replays).
"""

from __future__ import annotations

import argparse
import json
import os
import time
from typing import Any

from beds import ROOT, target_series
from horizoncast.engine import EngineResult, ForecastEngine
from horizoncast.ensemble.records import HYBRID
from horizoncast.series import Series
from horizoncast.service.settings import load_settings

SERVICES = ("forecaster_7d", "forecaster_15d", "forecaster_30d", "forecaster_90d")
TARGET = "usdmxn"


def run(service: str, series: Series) -> EngineResult:
    """One service with its shipped settings, from cold."""
    settings = load_settings(service, root=ROOT, environ=dict(os.environ))
    return ForecastEngine(settings.engine_config()).forecast(series, settings.horizon)


def rows_of(service: str, result: EngineResult) -> list[dict[str, Any]]:
    """Cost of each member that ran.

    Raises
    ------
    RuntimeError
        When a member did not answer every cutoff: its cost would be that of less work.
    """
    rows = []
    for member in result.members:
        if member.name == HYBRID:
            continue  # made of others' rows in this process
        if member.usage is None or member.answered != member.asked:
            raise RuntimeError(f"{service}: {member.name} answered {member.answered} of {member.asked}")
        rows.append(
            {
                "service": service,
                "horizon": result.horizon.steps,
                "member": member.name,
                "cutoffs": member.asked,
                "cpu_s": member.usage.cpu_s,
                "peak_mb": member.usage.peak_mb,
                "wall_s": member.usage.wall_s,
            }
        )
    return rows


def main() -> None:
    """Run the services and print what they cost."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--services", nargs="*", default=list(SERVICES))
    options = parser.parse_args()
    imported = time.process_time()
    series = target_series(TARGET)
    loaded = time.process_time()
    rows = []
    for service in options.services:
        rows += rows_of(service, run(service, series))
    parts = {
        "imports": imported,
        "data": loaded - imported,
        "decisions": time.process_time() - loaded,
    }
    print(json.dumps({"members": rows, "own_cpu_s": parts}))


if __name__ == "__main__":
    main()
