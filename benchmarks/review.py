"""Cost of the weekly review of a simulated year: four services, about 220 runs, all leads and levels.

    python benchmarks/review.py --work FOLDER     # builds the year once, a run takes about two seconds
    python benchmarks/review.py --work FOLDER --build

The year is made by `backfill` on the embedded rates, with every run in this process instead of a child,
and short slices: what a review reads is as long as ever, what it says of skill is not the point here.
Then every service runs once, which scores what has matured. `--live` dates the commits back to the due
moments, as if the year had been lived: backfilled forecasts are made in hindsight, and no track record.

Limits: page, JSON and text 5 CPU seconds and 400 MB, from the ledger and from metrics.jsonl; last week on
the terminal 1 CPU second; a page 1 MB. See measure.py for what is counted.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

from horizoncast.cli import main as horizoncast
from horizoncast.service.backfill import backfill, unserved, whole_days
from horizoncast.service.folders import find_places
from horizoncast.service.light import read_light
from measure import measure

PROJECT = Path(__file__).resolve().parents[1]
DAYS = {
    "forecaster_7d": ["mon", "fri"],
    "forecaster_15d": ["thu"],
    "forecaster_30d": ["fri"],
    "forecaster_90d": ["tue"],
}
FIRST, LAST = datetime(2025, 10, 20, tzinfo=UTC), datetime(2026, 10, 31, tzinfo=UTC)
CHEAP = {
    "run.isolated": "false",
    "run.replays": "4",
    "decision.newest": "10",
    "members.random_forest.trees": "8",
}
LIMITS = {"page": 5.0, "page_from_file": 5.0, "json": 5.0, "terminal": 1.0}
MEMORY_MB, PAGE_MB = 400.0, 1.0


def lay_out(work: Path) -> None:
    """A root of its own: the shipped settings, cadences that give about 220 runs."""
    for folder in ("config", "services"):
        shutil.copytree(PROJECT / folder, work / folder, dirs_exist_ok=True)
    for service, days in DAYS.items():
        weeks = "first" if service == "forecaster_90d" else "every"
        text = f'horizon = "{service[11:]}"\n[cadence]\ndays = {json.dumps(days)}\nweeks = "{weeks}"\n'
        (work / "services" / service / "service.toml").write_text(text)


def in_process(arguments: Sequence[str], limit_s: float) -> int:
    """A run in this process; its exit code."""
    with redirect_stdout(io.StringIO()):
        try:
            horizoncast([*arguments])
        except SystemExit as ended:
            return int(ended.code or 0)
    return 0


def build(work: Path) -> None:
    """Backfill the year, and let every service score it; goes on where it was stopped."""
    lay_out(work)
    places, sets = find_places(work), [part for k, v in CHEAP.items() for part in ("--set", f"{k}={v}")]
    for service in sorted(DAYS):
        settings = read_light(service, places, overrides={"cadence.catch_up": "all"})
        runs = unserved(settings, *whole_days(settings, FIRST, LAST))
        passed = ["--root", str(work), *sets]
        done = backfill(runs, start=in_process, tell=lambda line: print(line, flush=True), passed=passed)
        failed = [one for one in done if one.exit_code]
        print(f"{service}: {len(done)} runs, {len(failed)} failed", flush=True)
    for service in sorted(DAYS):
        in_process(["run", service, "--quiet", "--root", str(work), *sets], 0.0)


def live(work: Path, copy: Path) -> None:
    """A copy whose runs were committed on the evening of their as-of, and their scores live."""
    copy.mkdir(parents=True, exist_ok=True)
    lay_out(copy)
    (copy / "runs").mkdir(exist_ok=True)
    shutil.copy(work / "runs" / "ledger.sqlite", copy / "runs" / "ledger.sqlite")
    with sqlite3.connect(copy / "runs" / "ledger.sqlite") as ledger:
        for run_id, as_of in ledger.execute("SELECT run_id, as_of FROM runs").fetchall():
            moment = datetime.fromisoformat(as_of).replace(tzinfo=UTC) + timedelta(hours=22)
            text = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            ledger.execute(
                "UPDATE runs SET started = ?, committed = ? WHERE run_id = ?", (text, text, run_id)
            )
            ledger.execute("UPDATE events SET at = ? WHERE run_id = ?", (text, run_id))
        ledger.execute("UPDATE scores SET live = 1, told = NULL")


def costs(work: Path) -> dict[str, dict[str, float]]:
    """CPU seconds and memory of every way to read the year."""
    program = [str(Path(sys.executable).with_name("horizoncast")), "review", "--root", str(work)]
    page, log = work / "page.html", work / "runs" / "metrics.jsonl"
    asked = {
        "terminal": ["--no-page"],
        "json": ["--json"],
        "page": ["--output", str(page)],
        "page_from_file": ["--from", str(log), "--output", str(page)],
    }
    found = {}
    for name, more in asked.items():
        if name != "page_from_file" or log.exists():
            cost = measure([*program, *more])
            found[name] = {"cpu_s": cost.cpu_s, "wall_s": cost.wall_s, "peak_mb": cost.peak_mb}
            if cost.exit_code:
                raise SystemExit(f"{name}: exit code {cost.exit_code}")
    found["page"]["page_mb"] = page.stat().st_size / 1e6
    return found


def missed(found: dict[str, dict[str, float]]) -> list[str]:
    """Limits that a figure exceeds."""
    out = [
        name for name, cost in found.items() if cost["cpu_s"] > LIMITS[name] or cost["peak_mb"] > MEMORY_MB
    ]
    return out + (["page size"] if found["page"]["page_mb"] > PAGE_MB else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=PROJECT / "benchmarks" / "work" / "review")
    parser.add_argument("--build", action="store_true", help="build the year and stop")
    parser.add_argument("--live", type=Path, metavar="FOLDER", help="write the lived year there and stop")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    if asked.live:
        live(asked.work, asked.live.absolute())
        return 0
    if asked.build or not (asked.work / "runs" / "ledger.sqlite").exists():
        build(asked.work.absolute())
    if asked.build:
        return 0
    found = costs(asked.work.absolute())
    print(json.dumps(found, indent=1))
    late = missed(found)
    print("all within the limits" if not late else f"beyond the limits: {', '.join(late)}")
    return 1 if late else 0


if __name__ == "__main__":
    sys.exit(main())
