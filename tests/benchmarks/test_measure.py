"""The meter: does it count what it says, and only that?"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


@pytest.fixture(scope="module")
def meter() -> ModuleType:
    spec = importlib.util.spec_from_file_location("measure", BENCHMARKS / "measure.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["measure"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_cpu_seconds_of_children_that_outlive_the_command_are_counted(meter: ModuleType) -> None:
    """The command ends at once; the process it leaves behind burns half a second."""
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {BURN.format(seconds=0.5)!r}])"
    cost = meter.measure(python(code))
    assert 0.5 <= cost.cpu_s < 1.5


def test_sleep_costs_no_cpu_and_sampling_is_not_counted(meter: ModuleType) -> None:
    cost = meter.measure(python("import time; time.sleep(0.6)"))
    assert cost.wall_s >= 0.6
    assert cost.samples > 3
    assert cost.cpu_s < 0.3


def test_shared_pages_count_once_in_the_proportional_sum(meter: ModuleType) -> None:
    """Forked children that only look at 100 MB of their parent add nothing to it."""
    code = (
        "import os, time\nblock = b'x' * (100 << 20)\n"
        "for _ in range(3):\n    if not os.fork():\n        time.sleep(0.5); os._exit(0)\n"
        "time.sleep(0.5)\nfor _ in range(3): os.wait()\n"
    )
    cost = meter.measure(python(code))
    assert cost.processes == 4
    assert 100 < cost.peak_mb < 160
    assert cost.peak_rss_mb > 350


def test_a_failing_command_has_no_cost(meter: ModuleType) -> None:
    with pytest.raises(meter.MeasureError, match="no such thing"):
        meter.measure(python("raise SystemExit('no such thing')"))
