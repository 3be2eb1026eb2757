"""Doctor: each finding has a level and says what to do."""

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chronos_checkpoints import make_bolt
from horizoncast.service import doctor
from horizoncast.service.doctor import Finding, Level, examine, worst
from horizoncast.service.folders import Places
from small_target import write_target


@pytest.fixture
def places(tmp_path: Path) -> Places:
    write_target(tmp_path / "config" / "targets", name="usdmxn")
    return Places(root=tmp_path)


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    return {f.check: f for f in findings}


def test_a_healthy_place_has_nothing_in_the_way(places: Places) -> None:
    findings = examine(places, {})
    assert worst(findings) is not Level.FAIL
    found = by_check(findings)
    assert found["python"].level is Level.OK
    assert found["time zones"].level is Level.OK
    assert found["member random_walk"].level is Level.OK
    assert found["settings of forecaster_90d"].level is Level.OK
    assert found["output folder"].level is Level.OK
    assert all(f.action for f in findings if f.level is not Level.OK)


def test_every_service_is_parsed(places: Places) -> None:
    for name, text in (("good", 'horizon = "7d"\n'), ("bad", "[decison]\n")):
        folder = places.root / "services" / name
        folder.mkdir(parents=True)
        (folder / "service.toml").write_text(text)
    found = by_check(examine(places, {}))
    assert found["settings of good"].level is Level.OK
    assert found["settings of bad"].level is Level.FAIL
    assert "decison" in found["settings of bad"].text


def test_no_service_at_all_is_in_the_way(places: Places) -> None:
    (places.root / "services").mkdir()
    assert by_check(examine(places, {}))["services"].level is Level.FAIL


def test_a_near_miss_in_the_environment_is_found(places: Places) -> None:
    found = by_check(examine(places, {"ENABLE_CRONOS": "on"}))
    assert "ENABLE_CHRONOS" in found["settings of forecaster_7d"].text


def test_an_unreadable_target_is_in_the_way(places: Places) -> None:
    (places.root / "config/targets/usdmxn.csv").unlink()
    assert by_check(examine(places, {}))["target config/targets/usdmxn.toml"].level is Level.FAIL


def test_a_stale_target_is_worth_knowing(places: Places) -> None:
    found = by_check(examine(places, {}))["target config/targets/usdmxn.toml"]
    assert found.level is Level.WARN
    assert "sessions old" in found.text


def test_a_folder_that_cannot_be_written_is_in_the_way(places: Places) -> None:
    (places.root / "blocked").write_text("a file, no folder")
    found = by_check(examine(places, {"HORIZONCAST_RUN__OUTPUT": "blocked"}))
    assert found["output folder"].level is Level.FAIL


def test_leftovers_are_found_when_old(places: Places) -> None:
    stale = places.root / "runs" / ".staging" / "run"
    stale.mkdir(parents=True)
    assert by_check(examine(places, {}))["leftovers"].level is Level.OK
    past = time.time() - 2 * doctor.STALE_S
    os.utime(stale, (past, past))
    found = by_check(examine(places, {}))["leftovers"]
    assert found.level is Level.WARN
    assert str(stale) in found.text


def test_little_memory_is_worth_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "memory_available", lambda: 100 * 2**20)
    assert by_check(list(doctor.machine()))["memory"].level is Level.WARN


def test_several_threads_are_worth_knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert by_check(list(doctor.machine()))["threads"].level is Level.WARN


def test_a_missing_package_is_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package-at-all"))
    found = list(doctor.python_and_packages())
    assert any(f.level is Level.FAIL and "no-such-package-at-all" in f.text for f in found)


def test_missing_time_zones_are_in_the_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.zoneinfo, "available_timezones", set)
    assert next(doctor.clock()).level is Level.FAIL


def test_a_ledger_that_is_damaged_or_breaks_an_invariant_is_named(tmp_path: Path) -> None:
    from horizoncast.service.doctor import ledger
    from horizoncast.service.settings import load_settings
    from horizoncast.store.ledger.ledger import Ledger
    from horizoncast.store.ledger.rows import Message
    from ledger_runs import a_record, commit

    settings = load_settings("forecaster_7d", root=tmp_path, environ={})
    assert [f.level for f in ledger(settings)] == [Level.OK]
    assert not settings.output_folder.exists()
    found = Ledger.at(settings.output_folder)
    done = commit(found, settings.output_folder, a_record())
    assert [f.level for f in ledger(settings)] == [Level.OK]
    found.outbox.add([Message(key="k", channel="mail", payload={})])
    found.outbox.mark_failed(found.outbox.all()[0], "mail: timed out", datetime.now(tz=UTC))
    assert [(f.check, f.level) for f in ledger(settings)][1] == ("messages", Level.WARN)
    (done.folder.parent / "latest.json").unlink()
    assert next(ledger(settings)).level is Level.WARN
    (done.folder / "forecast.csv").write_text("")
    assert next(ledger(settings)).level is Level.FAIL
    (settings.output_folder / "ledger.sqlite").write_bytes(b"damage" * 500)
    assert [f.level for f in ledger(settings)] == [Level.FAIL]


def test_the_checkpoint_that_would_run_is_named(places: Places) -> None:
    make_bolt(places.root / "models" / "own", name="me/own")
    environ = {"HORIZONCAST_MEMBERS__CHRONOS__MODEL": "me/own"}
    found = by_check(examine(places, environ))["chronos model"]
    assert found.level is Level.OK
    assert "me/own at 1" in found.text
    wanted = {"HORIZONCAST_MEMBERS__CHRONOS__MODEL": "me/other", "ENABLE_CHRONOS": "shadow"}
    missing = by_check(examine(places, wanted))["chronos model"]
    assert missing.level is Level.WARN
    assert missing.action
    assert by_check(examine(places, {**wanted, "ENABLE_CHRONOS": "off"}))["chronos model"].level is Level.OK
