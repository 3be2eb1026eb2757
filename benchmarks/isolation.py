"""What isolation costs: the same members in this process and in children of their own.

    python benchmarks/isolation.py --rounds 5

One member at a time in both cases, no cache, the classical members with their shipped defaults over
the embedded USD/MXN rates. The first round is a warm-up (imports, the fork server) and is not counted;
the order changes from round to round (here first, isolated first, ...), so that neither kind always
runs on the caches and the processor frequency that the other one left.

Two ratios of medians are reported. Wall time is what a person waits, and only a quiet machine gives it
truly. Processor time is that of this process, the fork server and every member's process, ended ones
included: a busy machine changes it by a few per cent only. Exit code 1 where the numbers of the two
differ, or the overhead in processor time is not below the limit.
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

import psutil

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine import EngineConfig, ForecastEngine

TARGET = Path(__file__).resolve().parents[1] / "config" / "targets" / "usdmxn.toml"
KINDS = ("here", "isolated")


def family_cpu() -> float:
    """Processor seconds of this process, of its children, and of all that those have waited for."""
    mine = psutil.Process()
    found = [mine.cpu_times(), *(child.cpu_times() for child in mine.children(recursive=True))]
    return sum(t.user + t.system + t.children_user + t.children_system for t in found)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--horizon", default="30d")
    parser.add_argument("--limit", type=float, default=15.0, help="percent of processor time")
    options = parser.parse_args()
    series = load_series(read_target(TARGET)).series
    config = EngineConfig(service="isolation")
    engines = {kind: ForecastEngine(replace(config, isolated=kind == "isolated")) for kind in KINDS}
    wall: dict[str, list[float]] = {kind: [] for kind in KINDS}
    cpu: dict[str, list[float]] = {kind: [] for kind in KINDS}
    same = []
    for number in range(options.rounds + 1):
        forecasts = {}
        for kind in KINDS if number % 2 else reversed(KINDS):
            began, spent = time.monotonic(), family_cpu()
            forecasts[kind] = engines[kind].forecast(series, options.horizon).forecast
            if number:
                wall[kind].append(time.monotonic() - began)
                cpu[kind].append(family_cpu() - spent)
        same.append(forecasts["here"].same_numbers(forecasts["isolated"]))
    overhead = {
        what: 100 * (statistics.median(taken["isolated"]) / statistics.median(taken["here"]) - 1)
        for what, taken in (("cpu", cpu), ("wall", wall))
    }
    found: dict[str, object] = {"rounds": options.rounds, "horizon": options.horizon}
    for what, taken in (("cpu", cpu), ("wall", wall)):
        for kind in KINDS:
            found[f"{kind}_{what}_s"] = [round(s, 2) for s in taken[kind]]
            found[f"median_{kind}_{what}_s"] = round(statistics.median(taken[kind]), 2)
        found[f"overhead_{what}_percent"] = round(overhead[what], 1)
    found |= {"load_1min": round(os.getloadavg()[0], 1), "same_numbers": all(same)}
    print(json.dumps(found, indent=1))
    return 0 if all(same) and overhead["cpu"] < options.limit else 1


if __name__ == "__main__":
    raise SystemExit(main())
