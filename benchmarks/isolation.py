"""What isolation costs: the same members in this process and in children of their own.

    python benchmarks/isolation.py --rounds 5

One member at a time in both cases, no cache, the classical members with their shipped defaults over
the embedded USD/MXN rates. Rounds alternate, the first of each kind is a warm-up (imports, the fork
server) and is not counted. Two ratios of medians are reported: wall time, which only a quiet machine gives
truly, and processor time of this process and the members' processes together (the fork server's own
share, a few milliseconds a child, is not in it).
"""

from __future__ import annotations

import os

for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine import EngineConfig, ForecastEngine

TARGET = Path(__file__).resolve().parents[1] / "config" / "targets" / "usdmxn.toml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--horizon", default="30d")
    options = parser.parse_args()
    series = load_series(read_target(TARGET)).series
    config = EngineConfig(service="isolation")
    engines = {
        kind: ForecastEngine(replace(config, isolated=kind == "isolated")) for kind in ("here", "isolated")
    }
    seconds: dict[str, list[float]] = {kind: [] for kind in engines}
    cpu: dict[str, list[float]] = {kind: [] for kind in engines}
    same = []
    for number in range(options.rounds + 1):
        forecasts = []
        for kind, engine in engines.items():
            began, spent = time.monotonic(), time.process_time()
            result = engine.forecast(series, options.horizon)
            forecasts.append(result.forecast)
            if number:
                seconds[kind].append(time.monotonic() - began)
                children = sum(m.usage.cpu_s for m in result.members if m.usage is not None)
                cpu[kind].append(time.process_time() - spent + children)
        same.append(forecasts[0].same_numbers(forecasts[1]))
    cpu_medians = {kind: statistics.median(values) for kind, values in cpu.items()}
    medians = {kind: statistics.median(values) for kind, values in seconds.items()}
    print(
        json.dumps(
            {
                "here_s": [round(s, 2) for s in seconds["here"]],
                "isolated_s": [round(s, 2) for s in seconds["isolated"]],
                "median_here_s": round(medians["here"], 2),
                "median_isolated_s": round(medians["isolated"], 2),
                "overhead_percent": round(100 * (medians["isolated"] / medians["here"] - 1), 1),
                "here_cpu_s": [round(s, 2) for s in cpu["here"]],
                "isolated_cpu_s": [round(s, 2) for s in cpu["isolated"]],
                "overhead_cpu_percent": round(100 * (cpu_medians["isolated"] / cpu_medians["here"] - 1), 1),
                "load_1min": round(os.getloadavg()[0], 1),
                "same_numbers": all(same),
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
