"""The examples run offline, as a reader would run them, and say what they promise."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from chronos_checkpoints import make_bolt
from support import shared_data

FOLDER = Path(__file__).resolve().parents[2] / "examples"
slow = pytest.mark.slow


def said(name: str, needs: str | None = None, *words: str) -> str:
    """Output of an example, run in a process of its own."""
    if needs is not None:
        shared_data(needs)
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name}.py"), *words],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found.group(1))


def test_usdclp_from_a_server() -> None:
    out = said("usdclp_mindicador", "usdclp_panel_daily.csv")
    assert number(out, r"target +updated: (\d+) values") > 1400
    assert number(out, r"covariate:copper +updated: (\d+) values") > 1400
    assert "explained by dating_offset = 1" in out
    days = re.findall(r"^(\d{4}-\d\d-\d\d) +([\d.]+) +80 %: ([\d.]+) to ([\d.]+)$", out, re.MULTILINE)
    assert len(days) == 7
    assert days[0][0] == "2024-12-31"
    assert all(float(low) < float(point) < float(high) for _, point, low, high in days)


def test_retail() -> None:
    out = said("retail_weekly", "walmart_weekly.csv")
    assert out.count("holiday") == 1
    assert "2012-09-07" in next(line for line in out.splitlines() if "holiday" in line)
    assert number(out, r"mean error ([\d.]+)%") < 15
    assert number(out, r"(\d) of 8 weeks") >= 6


def test_intermittent_demand() -> None:
    out = said("intermittent_demand")
    assert number(out, r"lowest quantile of all: (-?[\d.]+)") >= 0
    assert number(out, r"90% quantile: +[\d.]+ pieces a day, (\d+)%") >= 80


@slow
def test_electricity() -> None:
    out = said("electricity_hourly", "vic_electricity_halfhourly.parquet")
    assert number(out, r"mean error (\d+) MW") < 250
    assert number(out, r"(\d+) of 24 hours inside") >= 20


@slow
def test_sensor() -> None:
    out = said("sensor_anomalies", "nab_anomaly.parquet")
    assert 1.0 <= number(out, r"beyond the windows: ([\d.]+)%") <= 3.5
    assert number(out, r"precision ([\d.]+)") > number(out, r"chance would give ([\d.]+)")
    assert "2 of 2 windows" in out


@slow
def test_structural_break() -> None:
    out = said("structural_break")
    rows = {m[0]: (float(m[1]), float(m[2])) for m in re.findall(r"break ([+\d]+) +([\d.]+) +([\d.]+)", out)}
    assert abs(rows["+0"][0] - 100) < 10, "nobody foresees a break"
    assert abs(rows["+41"][0] - rows["+41"][1]) < 10, "forty days later it is learnt"


def test_chronos(tmp_path: Path) -> None:
    """With a checkpoint made here: the weights are large enough to see them go beside what else moves."""
    make_bolt(tmp_path, context=96, steps=32, d_model=512, layers=4)
    out = said("chronos_integration", None, str(tmp_path))
    assert out.splitlines()[-1] == "3/3"
    assert "1 standalone: tests/bolt-tiny at 1" in out
    found = re.search(r"weights ([\d.]+) MiB; resident (\d+) MiB with them, (\d+) without", out)
    assert found is not None, out
    size, held, left = map(float, found.groups())
    assert size > 25
    assert held - left > size / 2


@slow
def test_hybrid() -> None:
    out = said("hybrid")
    rows = re.findall(
        r"^\d{4}-\d\d-\d\d +([\d.]+) +80 %: ([\d.]+) to ([\d.]+) +chronos (\d+)%", out, re.MULTILINE
    )
    assert len(rows) == 7
    assert all(float(low) < float(point) < float(high) for point, low, high, _ in rows)
    assert all(0 < int(share) < 100 for *_, share in rows)
    walk = number(out, r"random_walk +([\d.]+)")
    for name in ("chronos", "autoformer", "hybrid"):
        assert number(out, rf"  {name} +(0[\d.]+)") < 1.1 * walk


def test_every_example_is_described() -> None:
    text = (FOLDER.parent / "docs" / "examples.md").read_text(encoding="utf-8")
    assert [p.name for p in sorted(FOLDER.glob("*.py")) if f"examples/{p.name}" not in text] == []
