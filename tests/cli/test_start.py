"""The command line as a process: fast to start, installed as a program, light."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from small_target import NAIVES_ONLY, write_target

HEAVY = ("pandas", "torch", "statsmodels", "sklearn", "arch", "matplotlib", "scipy", "numpy", "pyarrow")
MODULES = ("horizoncast.cli", "horizoncast.cli.app")


def python(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environ,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize("module", MODULES)
def test_importing_the_command_line_imports_nothing_heavy(module: str) -> None:
    shown = ("rich.console", "pydantic", "sqlalchemy", "horizoncast.cli.screen")
    code = f"import sys, {module}; print([m for m in {(*HEAVY, *shown)} if m in sys.modules])"
    assert python("-c", code).stdout.strip() == "[]"


@pytest.mark.parametrize("command", [[], ["backtest"]])
def test_help_takes_less_than_half_a_second(command: list[str]) -> None:
    """Processor time, which other programs on a busy machine do not lengthen; the best of three."""
    spent = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = python("-m", "horizoncast.cli", *command, "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert "Usage" in result.stdout, result.stderr
        spent.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    assert min(spent) < 0.5


def test_settings_need_no_pandas_and_no_model_package() -> None:
    heavy = tuple(m for m in HEAVY if m not in ("numpy", "scipy"))
    code = (
        "import sys, horizoncast.service.settings as s; s.load_settings('forecaster_7d'); "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    assert python("-c", code).stdout.strip() == "[]"


def test_a_run_in_a_process_of_its_own(tmp_path: Path) -> None:
    """Members in children, as shipped."""
    write_target(tmp_path)
    sets = [p for k, v in NAIVES_ONLY.items() if k != "run.isolated" for p in ("--set", f"{k}={v}")]
    arguments = ["run", "forecaster_7d", "--target", "toy.toml", "--quiet", *sets]
    result = python("-m", "horizoncast.cli", *arguments, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "published" in result.stdout
    assert result.stderr == ""


def test_exit_code_and_message_of_a_process(tmp_path: Path) -> None:
    result = python("-m", "horizoncast.cli", "run", "forecaster_30", cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.startswith("error: unknown service")
    assert result.stdout == ""
