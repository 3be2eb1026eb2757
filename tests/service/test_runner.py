"""A run from file to folder: naives only, in this process."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from horizoncast.errors import AlreadyPublishedError, CheckError, ConfigError, StoreError
from horizoncast.forecast import Forecast
from horizoncast.service.runner import CHART, METRICS, preview, run_service
from horizoncast.service.settings import Settings, load_settings
from horizoncast.service.summary import as_json, files_of, notes, rows_of, short_row
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.results import latest_run, read_run
from horizoncast.store.schema import RecordKind
from small_target import NAIVES_ONLY, write_target


def settings_for(root: Path, **more: str) -> Settings:
    overrides = {**NAIVES_ONLY, "target": "toy.toml", **{k.replace("__", "."): v for k, v in more.items()}}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


def test_a_run_leaves_folder_log_and_latest(tmp_path: Path) -> None:
    write_target(tmp_path)
    asked: list[tuple[str, int, int]] = []
    outcome = run_service(settings_for(tmp_path), progress=lambda *call: asked.append(call))
    assert outcome.folder.is_relative_to(tmp_path / "runs" / "toy" / "forecaster_7d")
    assert (outcome.folder / CHART).read_bytes()[:4] == b"\x89PNG"
    stored = read_run(outcome.folder)
    assert stored.forecast.same_numbers(outcome.result.forecast)
    assert stored.provenance.config_hash == outcome.settings.config_hash
    assert latest_run(tmp_path / "runs", "toy", "forecaster_7d") == outcome.folder
    log = MetricsLog(tmp_path / "runs" / METRICS).read()
    assert [r["run_id"] for r in log.of_kind(RecordKind.RUN)] == [outcome.record.run_id]
    assert log.problems == ()
    assert asked[-1][1] == asked[-1][2] > 1


def test_a_second_run_takes_its_rows_from_the_cache(tmp_path: Path) -> None:
    write_target(tmp_path)
    first = run_service(settings_for(tmp_path))
    second = run_service(settings_for(tmp_path))
    assert [m.cached for m in first.result.members] == [0]
    assert [m.cached for m in second.result.members] == [m.asked for m in second.result.members]
    assert second.result.forecast.same_numbers(first.result.forecast)


def test_as_of_hides_later_rows(tmp_path: Path) -> None:
    write_target(tmp_path)
    day = np.datetime64("2023-05-06")  # a Saturday
    outcome = run_service(settings_for(tmp_path), as_of=day)
    assert str(outcome.result.forecast.cutoff)[:10] == "2023-05-05"


def test_a_run_is_on_record_with_what_it_was_made_for(tmp_path: Path) -> None:
    write_target(tmp_path)
    day, due = np.datetime64("2023-05-05"), datetime(2023, 5, 8, 11, tzinfo=UTC)
    runs = [
        run_service(settings_for(tmp_path), due=due).run,
        run_service(settings_for(tmp_path), as_of=day, due=due).run,
        run_service(settings_for(tmp_path)).run,
    ]
    assert [(run.origin.value, run.due) for run in runs] == [
        ("live", "2023-05-08T11:00:00.000Z"),
        ("backfill", "2023-05-08T11:00:00.000Z"),
        ("reprocess", None),
    ]


def test_notes_and_data_findings_become_events(tmp_path: Path) -> None:
    write_target(tmp_path)
    outcome = run_service(settings_for(tmp_path, members__hybrid__state="shadow"))
    codes = {event.code for event in outcome.record.events}
    assert "HybridLimited" in codes
    assert {f.code for f in outcome.report.warnings} <= codes
    assert any("hybrid" in text for text in notes(outcome))


def test_a_blocked_run_leaves_an_event_and_nothing_else(tmp_path: Path) -> None:
    target = write_target(tmp_path)
    data = target.with_suffix(".csv")
    data.write_text(data.read_text() + "2031-01-01,18.0\n")
    with pytest.raises(CheckError):
        run_service(settings_for(tmp_path))
    log = MetricsLog(tmp_path / "runs" / METRICS).read()
    assert [(r["kind"], r["code"], r["severity"]) for r in log.records] == [("event", "CheckError", "error")]
    assert sorted(p.name for p in (tmp_path / "runs").iterdir() if not p.name.startswith(".")) == [
        "ledger.sqlite",
        METRICS,
    ]
    ledger = Ledger.at(tmp_path / "runs")
    assert ledger.runs.all() == ()
    assert [(e.code, e.severity, e.series) for e in ledger.events.all()] == [("CheckError", "error", "toy")]


def test_a_run_is_in_the_ledger_with_every_number(tmp_path: Path) -> None:
    write_target(tmp_path)
    outcome = run_service(settings_for(tmp_path))
    ledger = Ledger.at(tmp_path / "runs")
    (run,) = ledger.runs.all()
    assert run == replace(outcome.run, derived=run.derived) and run.derived is not None
    assert (run.run_id, run.revision, run.series) == (outcome.record.run_id, 1, "toy")
    by_name = {rows.subject: rows for rows in ledger.runs.forecasts(run.run_id)}
    assert list(by_name) == ["ensemble", *(member.name for member in outcome.result.members)]
    assert by_name["ensemble"].quantiles.tobytes() == outcome.result.forecast.quantiles.tobytes()
    for member in outcome.result.members:
        assert isinstance(member.live, Forecast)
        assert by_name[member.name].quantiles.tobytes() == member.live.quantiles.tobytes()
    snapshot = ledger.runs.snapshot(run.snapshot)
    assert snapshot is not None
    assert snapshot.last_rows[-1] == (run.as_of, float(outcome.result.series.values[-1]))
    assert len(snapshot.last_rows) == 60


def test_a_scheduled_run_of_a_published_as_of_computes_nothing(tmp_path: Path) -> None:
    write_target(tmp_path)
    run_service(settings_for(tmp_path), reprocess=False)
    asked: list[object] = []
    with pytest.raises(AlreadyPublishedError, match="toy as of"):
        run_service(settings_for(tmp_path), reprocess=False, progress=lambda *call: asked.append(call))
    assert asked == []
    ledger = Ledger.at(tmp_path / "runs")
    assert [run.revision for run in ledger.runs.all()] == [1]
    assert [e for e in ledger.events.all() if e.severity == "error"] == []
    assert run_service(settings_for(tmp_path)).run.revision == 2


def test_an_event_that_cannot_be_written_does_not_hide_the_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = write_target(tmp_path)
    target.with_suffix(".csv").write_text("date,value\n2024-01-01,abc\n")

    def refuse(*_: object) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(MetricsLog, "append", refuse)
    with pytest.raises(Exception, match="abc") as caught:
        run_service(settings_for(tmp_path))
    assert caught.value.exit_code == 3  # type: ignore[attr-defined]
    assert "the disk is full" in caught.value.__notes__[0]


def test_a_missing_target_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        run_service(settings_for(tmp_path))
    assert not (tmp_path / "runs").exists()


def test_preview_writes_nothing(tmp_path: Path) -> None:
    write_target(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    found = preview(settings_for(tmp_path))
    assert found.plan.horizon.steps == 7
    assert dict(found.members).keys() == {"random_walk", "seasonal_naive"}
    assert sorted(tmp_path.rglob("*")) == before


def test_the_table_says_what_was_promised(tmp_path: Path) -> None:
    write_target(tmp_path)
    outcome = run_service(settings_for(tmp_path))
    rows = dict(rows_of(outcome))
    assert {"point", "80 % interval", "95 % interval", "skill against the random walk", "verdict"} <= set(
        rows
    )
    assert {"weights", "skill factor kappa", "width factor", "status"} <= set(rows)
    assert rows["weights"] == "random_walk 100 %"
    assert Path(dict(files_of(outcome))["files"]) == outcome.folder
    assert all(Path(path).exists() for path in dict(files_of(outcome)).values())
    values = json.loads(json.dumps(as_json(outcome), allow_nan=False))
    assert values["weights"] == {"random_walk": 1.0}
    assert values["interval_80"][0] < values["point"] < values["interval_80"][1]
    assert short_row(outcome)[0] == "forecaster_7d"


def test_while_no_decision_can_be_replayed_skill_is_not_yet_known(tmp_path: Path) -> None:
    write_target(tmp_path, sessions=35)
    outcome = run_service(settings_for(tmp_path))
    rows = dict(rows_of(outcome))
    assert rows["skill against the random walk"] == "not yet known"
    assert as_json(outcome)["skill"] is None
