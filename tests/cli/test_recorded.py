"""show, replay, backup and ledger, from the command line."""

import json
import shutil
import sqlite3
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from horizoncast.cli.app import app
from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.service.runner import run_service
from horizoncast.service.settings import load_settings
from horizoncast.store.ledger.invariants import check_invariants
from horizoncast.store.ledger.ledger import Ledger
from small_target import NAIVES_ONLY, write_target


def run_once(root: Path, service: str = "forecaster_7d") -> str:
    overrides = {**NAIVES_ONLY, "target": "toy.toml"}
    return run_service(load_settings(service, root=root, environ={}, overrides=overrides)).run.run_id


def call(root: Path, *arguments: str) -> str:
    options = [] if arguments[:2] == ("backup", "verify") else ["--root", str(root)]
    done = CliRunner().invoke(app, [*arguments, *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def published(tmp_path: Path) -> tuple[Path, str]:
    write_target(tmp_path)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "base.toml").write_text('target = "toy.toml"\n')
    (tmp_path / ".env").write_text("TOKEN=hush\n")
    return tmp_path, run_once(tmp_path)


def test_show_prints_the_latest_forecast(published: tuple[Path, str]) -> None:
    root, run_id = published
    text = call(root, "show", "forecaster_7d")
    rows = [line.split() for line in text.splitlines() if line[:1].isdigit()]
    assert (
        len({len(cell.partition(".")[2]) for row in rows for cell in row[2:]}) == 1
    )  # one column, one rounding
    assert run_id in text and "random_walk 100 %" in text
    ledger = Ledger.at(root / "runs")
    (forecast,) = ledger.runs.forecasts(run_id, subject="ensemble")
    assert all(date in text for date in forecast.dates)
    (found,) = json.loads(call(root, "show", "--json"))
    assert found["quantiles"] == forecast.quantiles.tolist()
    second = run_once(root)
    assert json.loads(call(root, "show", "--json"))[0]["run_id"] == second
    assert json.loads(call(root, "show", "--run", run_id, "--json"))[0]["run_id"] == run_id
    assert [r["revision"] for r in json.loads(call(root, "show", "--runs", "--json"))] == [1, 2]
    with pytest.raises(UnknownNameError):
        call(root, "show", "--run", run_id[:-1])


def test_show_before_the_first_run_says_so_and_makes_nothing(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="nothing was published"):
        call(tmp_path, "show")
    assert list(tmp_path.iterdir()) == []


def test_replay_says_the_same_or_exits_with_7(published: tuple[Path, str]) -> None:
    root, run_id = published
    assert "bit for bit" in call(root, "replay", run_id)
    found = json.loads(call(root, "replay", run_id, "--json"))
    assert found["same"] is True and found["largest"] == 0.0
    file = root / "toy.csv"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:-1], lines[-1] + "1"]) + "\n")  # one more digit
    done = CliRunner().invoke(app, ["replay", run_id, "--root", str(root)])
    assert done.exit_code == 7 and "not the same" in done.stdout
    assert "the data have changed since" in done.stdout


def test_a_backup_is_read_back_and_restores_everything(published: tuple[Path, str], tmp_path: Path) -> None:
    root, run_id = published
    review = root / "runs" / "reviews" / "2026-01-02.html"
    review.parent.mkdir()
    review.write_text("<!doctype html>")
    file = tmp_path / "backup.tar.gz"
    made = json.loads(call(root, "backup", "create", str(file), "--json"))
    assert made["runs"] == 1 and made["problems"] == []
    found = json.loads(call(root, "backup", "verify", str(file), "--json"))
    assert (found["files"], found["size"], found["problems"]) == (made["files"], made["size"], [])
    with tarfile.open(file) as archive:
        names = archive.getnames()
        assert "config/base.toml" in names and not any(".env" in name for name in names)
        shutil.rmtree(root / "runs")
        archive.extractall(root, filter="data")
    runs = root / "runs"
    assert review.read_text() == "<!doctype html>"
    assert check_invariants(Ledger.at(runs), runs, log=runs / "metrics.jsonl") == ()
    assert json.loads(call(root, "show", "--json"))[0]["run_id"] == run_id
    with pytest.raises(StoreError, match="exists already"):
        call(root, "backup", "create", str(file))


def test_a_damaged_backup_is_found(published: tuple[Path, str], tmp_path: Path) -> None:
    root, run_id = published
    file = tmp_path / "backup.tar.gz"
    call(root, "backup", "create", str(file))
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match="cannot read the backup"):
        call(root, "backup", "verify", str(file))
    with sqlite3.connect(root / "runs" / "ledger.sqlite") as db:
        db.execute("DELETE FROM forecasts WHERE step = 3")
    db.close()
    file.unlink()
    call(root, "backup", "create", str(file))
    done = CliRunner().invoke(app, ["backup", "verify", str(file)])
    assert done.exit_code == 7 and run_id in done.stderr + done.stdout


def test_ledger_check_import_and_repair(published: tuple[Path, str]) -> None:
    root, run_id = published
    assert "all invariants hold" in call(root, "ledger", "check", "forecaster_7d")
    (root / "runs" / "metrics.jsonl").write_text("")
    assert "the next run mends it" in call(root, "ledger", "check", "forecaster_7d")
    done = json.loads(call(root, "ledger", "repair", "forecaster_7d", "--json"))
    assert done["completed"] == [run_id]
    assert "all invariants hold" in call(root, "ledger", "check", "forecaster_7d")
    (root / "runs" / "ledger.sqlite").unlink()
    done = json.loads(call(root, "ledger", "import", "forecaster_7d", "--json"))
    assert done["adopted"] == [run_id]
    assert "all invariants hold" in call(root, "ledger", "check", "forecaster_7d")
    manifest = next((root / "runs").glob("*/*/*/manifest.json"))
    manifest.write_text("{}")
    done = CliRunner().invoke(app, ["ledger", "check", "forecaster_7d", "--root", str(root)])
    assert done.exit_code == 7
