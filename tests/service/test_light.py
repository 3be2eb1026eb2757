"""The settings of a tick: the same as those of a run, at a fraction of the cost."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from due_services import light, write_services
from horizoncast.errors import ConfigError
from horizoncast.policy.retry import TickLimits
from horizoncast.service.attempts import Memory, write_memory
from horizoncast.service.due import LEDGER_FILE
from horizoncast.service.folders import BUILT_IN, find_places
from horizoncast.service.light import read_light
from horizoncast.service.settings import load_settings
from horizoncast.store.ledger.database import FILE
from horizoncast.store.ledger.ledger import Ledger

ROOT = Path(__file__).resolve().parents[2]
HEAVY = (
    "pandas", "scipy", "statsmodels", "arch", "sklearn", "torch", "matplotlib", "pyarrow", "sqlalchemy",
    "pydantic", "pydantic_settings", "apscheduler", "horizoncast.models.registry", "horizoncast.engine",
    "horizoncast.service.settings", "horizoncast.service.member_settings",
)  # fmt: skip


@pytest.mark.parametrize("service", BUILT_IN)
@pytest.mark.parametrize("shipped", [True, False])
def test_a_tick_reads_what_a_run_reads(service: str, shipped: bool, tmp_path: Path) -> None:
    places = find_places(ROOT if shipped else tmp_path)
    environ = {"HORIZONCAST_CADENCE__LATE_HOURS": "12.5", "HORIZONCAST_RUN__OUTPUT": "elsewhere"}
    overrides = {"tick.retry_minutes": "7", "inputs.ready_minutes": "15"}
    few = read_light(service, places, environ=environ, overrides=overrides)
    whole = load_settings(service, root=places.root, environ=environ, overrides=overrides)
    assert few.cadence == whole.cadence.as_cadence()
    assert few.limits == TickLimits(**whole.tick.model_dump())
    assert (few.target_path, few.output_folder, few.store_folder) == (
        whole.target_path, whole.output_folder, whole.store_folder,
    )  # fmt: skip
    assert few.ready_s == 60 * whole.inputs.ready_minutes == 900
    assert few.ledger_url == whole.ledger.url
    assert few.cadence.late_hours == 12.5
    assert few.review is whole.review.as_cadence() is None


def test_a_tick_knows_when_the_review_is_sent(tmp_path: Path) -> None:
    overrides = {"review.send": "tue", "review.time": "09:30", "review.timezone": "UTC"}
    few = read_light("forecaster_7d", find_places(tmp_path), environ={}, overrides=overrides)
    whole = load_settings("forecaster_7d", root=tmp_path, environ={}, overrides=overrides)
    assert few.review is not None and few.review == whole.review.as_cadence()
    with pytest.raises(ConfigError, match="23:59"):
        load_settings("forecaster_7d", root=tmp_path, environ={}, overrides={"review.time": "9 am"})


def test_the_embedded_ledger_has_one_name() -> None:
    assert LEDGER_FILE == FILE


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("cadence.time", "7 am", "23:59"),
        ("tick.run_minutes", "0", "run_minutes"),
        ("tick.run_minute", "5", "unknown"),
        ("inputs.ready_minutes", "soon", "number"),
        ("cadence", "fri", "table"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, key: str, value: str, word: str) -> None:
    with pytest.raises(ConfigError, match=word):
        read_light("forecaster_7d", find_places(tmp_path), environ={}, overrides={key: value})


def test_a_service_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="forecaster_7d"):
        read_light("forecaster_7", find_places(tmp_path), environ={})


def modules_after(arguments: list[str], folder: Path) -> set[str]:
    """Modules that a command has imported when it ends."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('MODULES', *sys.modules))\n"
        "from horizoncast.cli import main\n"
        f"main({arguments!r})\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split("MODULES", 1)[1].split())


def test_a_tick_with_nothing_due_imports_nothing_heavy(tmp_path: Path) -> None:
    """Neither when no moment is near, nor when there is one and the ledger says it was served."""
    write_services(tmp_path, more="late_hours = 0.001")
    found = modules_after(["tick", "--quiet"], tmp_path)
    assert "horizoncast.service.tick" in found
    assert found & {*HEAVY, "numpy"} == set()


def test_nor_does_one_that_looks_for_messages_and_finds_none(tmp_path: Path) -> None:
    """Channels are configured and the outbox is empty, as on nearly every tick."""
    channels = "[notify]\nwebhooks = ['json://127.0.0.1:9/x']\nping = 'http://127.0.0.1:9/x'"
    write_services(tmp_path, more=f"late_hours = 0.001\n{channels}")
    Ledger.at(tmp_path / "runs")
    write_memory(tmp_path / "runs", Memory().seen(datetime.now(tz=UTC)))  # the very first tick has more to do
    found = modules_after(["tick", "--quiet"], tmp_path)
    assert "sqlite3" in found
    assert found & {*HEAVY, "numpy", "sqlalchemy", "apprise", "pydantic"} == set()


def test_nor_does_one_that_has_to_ask_the_ledger(tmp_path: Path) -> None:
    """A moment is young, and the embedded ledger says that it was served."""
    _served(tmp_path)
    found = modules_after(["tick", "--quiet", "--set", "cadence.late_hours=1400"], tmp_path)
    assert {"numpy", "sqlite3"} <= found
    assert found & set(HEAVY) == set()


def _served(folder: Path) -> None:
    """A root whose newest moment is served already, as far as an embedded ledger can say."""
    import sqlite3

    write_services(folder, days=("mon", "tue", "wed", "thu", "fri", "sat", "sun"))
    (folder / "runs").mkdir()
    with sqlite3.connect(folder / "runs" / LEDGER_FILE) as connection:
        connection.execute("CREATE TABLE runs (service, series, as_of, revision, started, committed)")
        connection.execute(
            "INSERT INTO runs VALUES ('one', 'toy', '2100-01-01', 1, ?, ?)",
            ("2020-01-01T00:00:00.000Z", "2100-01-01T00:00:00.000Z"),
        )
    (settings,) = light(folder)
    from horizoncast.service.attempts import Memory, write_memory
    from horizoncast.service.tick import system_now

    write_memory(settings.output_folder, Memory().seen(system_now()))
