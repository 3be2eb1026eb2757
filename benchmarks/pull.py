"""CPU and memory of `horizoncast data pull`: ten series of ten years, from a server on this machine.

    python benchmarks/pull.py

The server runs in this process and is not counted; see measure.py for what is. The first pull brings
everything, the second finds nothing new. Limits: 1 CPU second and 220 MB for the first one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from measure import Measured, measure

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from loopback import Asked, Loopback, Reply

SERIES, YEARS = 10, 10
CPU_S, MEMORY_MB = 1.0, 220.0
FIRST = np.datetime64("2014-01-01")


def body_of(series: int) -> bytes:
    """A CSV of ten years of business days."""
    days = np.arange(FIRST, FIRST + 365 * YEARS)
    days = days[np.is_busday(days)]
    values = 900 * np.exp(np.cumsum(np.random.default_rng(series).normal(0, 0.006, len(days))))
    lines = [f"{day},{value:.4f}" for day, value in zip(days, values, strict=True)]
    return "\n".join(["date,v", *lines, ""]).encode()


def target_text(url: str) -> str:
    source = 'type = "http_csv", url = "{url}/{i}?from={{from}}", value_column = "v"'
    head = f'name = "bench"\nunit = "u"\nstart = "{FIRST}"\nsource = {{ {source.format(url=url, i=0)} }}\n'
    covariates = "".join(
        f'[[covariates]]\nname = "c{i}"\nsource = {{ {source.format(url=url, i=i)} }}\n'
        for i in range(1, SERIES)
    )
    return f'{head}{covariates}[calendar]\nkind = "business"\n'


def figures(rounds: int) -> list[dict[str, float]]:
    bodies = [body_of(series) for series in range(SERIES)]

    def answer(asked: Asked) -> Reply:
        return Reply(bodies[int(asked.path[1:])], zipped=True)

    found = []
    with Loopback(answer) as server:
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                target = Path(folder) / "bench.toml"
                target.write_text(target_text(server.url))
                command = [
                    sys.executable,
                    "-m",
                    "horizoncast.cli",
                    "data",
                    "pull",
                    str(target),
                    "--now",
                    "--json",
                ]
                fresh = measure(command, folder=Path(folder))
                again = measure(command, folder=Path(folder))
            found.append(_row(fresh, again))
            print(json.dumps(found[-1]))
    return found


def _row(fresh: Measured, again: Measured) -> dict[str, float]:
    return {
        "cpu_s": round(fresh.cpu_s, 3),
        "peak_mb": round(fresh.peak_mb, 1),
        "peak_rss_mb": round(fresh.peak_rss_mb, 1),
        "wall_s": round(fresh.wall_s, 2),
        "again_cpu_s": round(again.cpu_s, 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rows = figures(parser.parse_args().rounds)
    cpu = min(row["cpu_s"] for row in rows)
    memory = max(row["peak_rss_mb"] for row in rows)
    good = cpu < CPU_S and memory < MEMORY_MB
    print(f"best {cpu:.2f} CPU s (limit {CPU_S:g}), most {memory:.0f} MB (limit {MEMORY_MB:g})")
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
