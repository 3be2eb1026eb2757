"""CPU seconds and memory of members, of a cold run of all services, and of a weekly re-run.

    python benchmarks/speed.py [--quick] [--repeat 5] [--classical | --everything]

Every figure is the median of five repetitions (one with --quick); each repetition stands in
benchmarks/results/speed.json. The services run by the real command with fresh output and cache
folders; all processes are counted together (measure.py). With --classical the neural members are off, with
--everything the Autoformer and the hybrid are on as well.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from beds import RESULTS, ROOT, WORK, target_series
from engine_run import TARGET
from horizoncast.resources import memory_limit
from measure import Measured, measure

LIMITS = {
    "shipped": (240.0, 1536.0, 80.0),
    "classical": (100.0, 700.0, 25.0),
    "everything": (240.0, 1536.0, 80.0),
}
"""To stay below: CPU seconds and MB of four services from cold, CPU seconds of a re-run one week later."""
SWITCHES = {
    "shipped": {},
    "classical": {"ENABLE_CHRONOS": "off"},
    "everything": {"ENABLE_CHRONOS": "on", "ENABLE_AUTOFORMER": "on", "ENABLE_HYBRID": "on"},
}
MEMBERS = next((name for name in ("classical", "everything") if f"--{name}" in sys.argv), "shipped")
COLD_CPU_S, COLD_MB, WEEKLY_CPU_S = LIMITS[MEMBERS]

PACKAGES = ("numpy", "scipy", "pandas", "statsmodels", "arch", "scikit-learn", "pyarrow", "matplotlib")
HERE = Path(__file__).resolve().parent
_OWN = ("HORIZONCAST_", "ENABLE_", "CHRONOS_", "OMP_", "OPENBLAS_", "MKL_", "NUMEXPR_")


def clean_environment() -> dict[str, str]:
    """The environment without settings and thread counts: the command as a new user runs it."""
    found = {key: value for key, value in os.environ.items() if not key.startswith(_OWN)}
    return found | SWITCHES[MEMBERS]


def command(folder: Path, *more: str) -> list[str]:
    """The four services on the shipped target, output and cache below `folder`."""
    script = Path(sys.executable).with_name("horizoncast")
    target = ROOT / "config" / "targets" / f"{TARGET}.toml"
    places = ["--out", str(folder / "runs"), "--set", f"run.cache={folder / 'cache'}"]
    return [str(script), "run-all", "--quiet", "--root", str(ROOT), "--target", str(target), *places, *more]


def services(folder: Path, *more: str) -> Measured:
    """Cost of one run of all services."""
    return measure(command(folder, *more), folder=folder, environment=clean_environment())


def engine_alone(scratch: Path) -> dict[str, Any]:
    """One cold pass through the engine in a new process: rows per member, and its own seconds."""
    done = subprocess.run(
        [sys.executable, str(HERE / "engine_run.py")],
        cwd=scratch,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def member_table(passes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over passes, one row per member and horizon, with each repetition."""
    table = []
    for rows in zip(*(p["members"] for p in passes), strict=True):
        head = {key: rows[0][key] for key in ("member", "horizon", "cutoffs")}
        cpu, peak = [r["cpu_s"] for r in rows], [r["peak_mb"] for r in rows]
        table.append(
            head | {"cpu_s": median(cpu), "peak_mb": median(peak), "each_cpu_s": cpu, "each_peak_mb": peak}
        )
    return sorted(table, key=lambda row: (row["member"], row["horizon"]))


def summary(runs: list[Measured]) -> dict[str, Any]:
    """Medians of a command's repetitions, and each of them."""
    figures = ("cpu_s", "peak_mb", "peak_rss_mb", "wall_s")
    return {name: median(getattr(r, name) for r in runs) for name in figures} | {
        "each": [asdict(r) for r in runs]
    }


def cold_runs(scratch: Path, repeat: int) -> list[Measured]:
    """All services with nothing cached."""
    runs = []
    for k in range(repeat):
        folder = fresh(scratch / f"cold-{k}")
        runs.append(services(folder))
        say(f"cold run {k + 1}/{repeat}", runs[-1])
    return runs


def weekly_runs(scratch: Path, repeat: int) -> list[Measured]:
    """All services one week after a run that filled the cache: its copy is the start of each."""
    earlier = str(target_series(TARGET).dates[-6].astype("datetime64[D]"))
    first = fresh(scratch / "week-before")
    services(first, "--as-of", earlier)
    runs = []
    for k in range(repeat):
        folder = scratch / f"weekly-{k}"
        shutil.copytree(first, folder)
        runs.append(services(folder))
        say(f"weekly run {k + 1}/{repeat}", runs[-1])
    return runs


def fresh(folder: Path) -> Path:
    """An empty folder."""
    folder.mkdir(parents=True)
    return folder


def parts(passes: list[dict[str, Any]], cold: dict[str, Any], scratch: Path) -> dict[str, float]:
    """Where the CPU seconds of a cold run go.

    ``rest`` is what the command spends beyond the engine: its own imports, records, tables, charts.
    """
    preload = measure(
        [sys.executable, "-c", "import horizoncast.models.preload"],
        folder=scratch,
        environment=clean_environment(),
    )
    own = [p["own_cpu_s"] for p in passes]
    found = {f"engine_{key}": median(o[key] for o in own) for key in own[0]}
    found["fork_server_imports"] = preload.cpu_s
    for name in dict.fromkeys(r["member"] for r in passes[0]["members"]):
        found[name] = median(sum(r["cpu_s"] for r in p["members"] if r["member"] == name) for p in passes)
    found["rest"] = cold["cpu_s"] - sum(found.values())
    return found


def machine() -> dict[str, Any]:
    """What the figures were taken on; the load says whether it was quiet."""
    names = [
        line.split(":", 1)[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mb": memory_limit() // 2**20,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load_1min_before": os.getloadavg()[0],
    }


def git_state() -> dict[str, Any]:
    """Commit, and whether the tree differs from it."""
    words = {"git": ("rev-parse", "HEAD"), "dirty": ("status", "--porcelain", "--untracked-files=no")}
    found = {
        name: subprocess.run(
            ["git", *w], cwd=ROOT, capture_output=True, text=True, check=False
        ).stdout.strip()
        for name, w in words.items()
    }
    return {"git": found["git"], "dirty": bool(found["dirty"])}


def versions(names: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Installed versions of the packages that do the work."""
    return {name: version(name) for name in names}


def say(what: str, run: Measured) -> None:
    """Progress on stderr."""
    print(f"{what}: {run.cpu_s:.1f} CPU s, {run.peak_mb:.0f} MB, {run.wall_s:.1f} s", file=sys.stderr)


def show(result: dict[str, Any]) -> None:
    """The tables for a person."""
    print(f"{'member':16}{'horizon':>8}{'cutoffs':>9}{'CPU s':>9}{'peak MB':>9}")
    for row in result["members"]:
        print(
            f"{row['member']:16}{row['horizon']:>8}{row['cutoffs']:>9}{row['cpu_s']:>9.2f}{row['peak_mb']:>9.0f}"
        )
    print(f"\n{'services':16}{'CPU s':>8}{'at most':>9}{'PSS MB':>9}{'at most':>9}{'RSS MB':>9}{'wall s':>9}")
    for name, limit_s, limit_mb in (("cold", COLD_CPU_S, COLD_MB), ("weekly", WEEKLY_CPU_S, COLD_MB)):
        r = result[name]
        print(
            f"{name:16}{r['cpu_s']:>8.1f}{limit_s:>9.0f}{r['peak_mb']:>9.0f}{limit_mb:>9.0f}"
            f"{r['peak_rss_mb']:>9.0f}{r['wall_s']:>9.1f}"
        )
    print("\nCPU seconds of a cold run by part")
    for name, seconds in result["parts"].items():
        print(f"{name:24}{seconds:>8.2f}")


def main() -> int:
    """Measure, print and write; exit code 1 when a figure is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one repetition, written below benchmarks/work")
    parser.add_argument("--repeat", type=int, default=5)
    switch = parser.add_mutually_exclusive_group()
    switch.add_argument("--classical", action="store_true", help="the neural members off")
    switch.add_argument("--everything", action="store_true", help="every member on, and the hybrid")
    options = parser.parse_args()
    repeat = 1 if options.quick else options.repeat
    about = machine()
    WORK.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="speed-") as name:
        scratch = Path(name)
        cold = summary(cold_runs(scratch, repeat))
        weekly = summary(weekly_runs(scratch, repeat))
        passes = [engine_alone(scratch) for _ in range(repeat)]
        result = {
            **git_state(),
            "machine": about,
            "versions": versions(),
            "repeat": repeat,
            "members": member_table(passes),
            "cold": cold | {"at_most_cpu_s": COLD_CPU_S, "at_most_mb": COLD_MB},
            "weekly": weekly | {"at_most_cpu_s": WEEKLY_CPU_S},
            "parts": parts(passes, cold, scratch),
        }
    show(result)
    name = "speed" if MEMBERS == "shipped" else f"speed-{MEMBERS}"
    path = WORK / f"{name}-quick.json" if options.quick else RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n")
    met = cold["cpu_s"] <= COLD_CPU_S and cold["peak_mb"] <= COLD_MB and weekly["cpu_s"] <= WEEKLY_CPU_S
    print(f"\nwritten to {path.relative_to(ROOT)}" + ("" if met else "; a figure is missed"))
    return 0 if met else 1


if __name__ == "__main__":
    raise SystemExit(main())
