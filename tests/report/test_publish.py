import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fusions import a_fusion, with_fusion
from horizoncast.engine import MemberSetting
from horizoncast.errors import AlreadyPublishedError
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.report.publish import publish, trainings
from horizoncast.report.record import run_record
from horizoncast.store.checkpoints import Checkpoint, save_checkpoint
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import repair
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.results import latest_run, read_run
from horizoncast.store.schema import RecordKind
from small_runs import small_result

START = datetime(2024, 6, 29, 11, 0, tzinfo=UTC)


def test_a_run_is_published_with_charts_latest_and_log(tmp_path):
    result = small_result(horizon=30)
    record = run_record(result, started=START)
    ledger = Ledger.at(tmp_path / "results")
    done = publish(result, record, root=tmp_path / "results", log=tmp_path / "metrics.jsonl", ledger=ledger)
    names = {path.name for path in done.folder.iterdir()}
    assert {"fan_chart.png", "fan_chart_380.png", "fan_chart.svg", "report.html", "manifest.json"} <= names
    assert read_run(done.folder).run_id == record.run_id
    assert latest_run(tmp_path / "results", "usd_mxn", "forecaster_30d") == done.folder
    runs = MetricsLog(done.log).read().of_kind(RecordKind.RUN)
    assert [run["run_id"] for run in runs] == [record.run_id]


def test_two_publications_of_one_result_are_equal_but_for_manifest_and_report(tmp_path):
    result = small_result(horizon=30)
    folders = [
        publish(
            result,
            run_record(result, started=START.replace(hour=hour)),
            root=tmp_path / "results",
            log=tmp_path / "metrics.jsonl",
            ledger=Ledger.at(tmp_path / "results"),
            reprocess=True,
        ).folder
        for hour in (1, 2)
    ]
    for path in folders[0].iterdir():
        same = path.read_bytes() == (folders[1] / path.name).read_bytes()
        assert same == (path.name not in ("manifest.json", "report.html")), path.name


def test_a_run_with_a_hybrid_has_its_chart_beside_the_others(tmp_path):
    result = with_fusion(a_fusion(7))
    record = run_record(result, started=START)
    root = tmp_path / "results"
    done = publish(
        result, record, root=root, log=tmp_path / "metrics.jsonl", ledger=Ledger.at(root), language="es"
    )
    assert {path.name for path in done.folder.glob("hybrid*.png")} == {"hybrid.png", "hybrid_380.png"}
    assert "El híbrido de chronos y autoformer" in (done.folder / "report.html").read_text(encoding="utf-8")
    (run,) = MetricsLog(done.log).read().of_kind(RecordKind.RUN)
    assert run["hybrid"]["deployment"] == "full"
    assert read_run(done.folder).decision.hybrid == record.decision.hybrid


def test_a_run_tells_how_its_network_was_trained(tmp_path):
    result = small_result(horizon=30)
    kept = AutoformerConfig(checkpoints=str(tmp_path / "kept"))
    result = replace(
        result,
        members=(*result.members, replace(result.members[0], name="autoformer")),
        config=replace(
            result.config, members=(*result.config.members, MemberSetting(name="autoformer", config=kept))
        ),
    )
    facts = {
        "member": "autoformer",
        "series": result.series.name,
        "service": "forecaster_30d",
        "steps": 30,
        "chosen": [25],
        "share": 0.5,
        "curves": [[[0, None, 0.3], [25, 0.3, 0.2]]],
    }
    save_checkpoint(
        tmp_path / "kept",
        Checkpoint(key="k", trained_until=result.series.dates[-50], arrays={}, facts=facts),
    )
    files = trainings(result, "forecaster_30d")
    assert json.loads(files["training_autoformer.json"])["key"] == "k"
    assert trainings(result, "forecaster_7d") == {}
    assert trainings(replace(result, members=result.members[:-1]), "forecaster_30d") == {}


def test_a_log_that_cannot_be_written_leaves_a_published_run_that_the_next_one_completes(tmp_path):
    result, root, log = small_result(), tmp_path / "results", tmp_path / "metrics.jsonl"
    record = run_record(result, started=START)
    ledger = Ledger.at(root)
    log.mkdir()
    done = publish(result, record, root=root, log=log, ledger=ledger)
    assert "cannot append" in done.problems[0]
    assert [run.run_id for run in ledger.runs.underived()] == [record.run_id]
    log.rmdir()
    assert repair(ledger, root=root, log=log).completed == (record.run_id,)
    assert latest_run(root, "usd_mxn", "forecaster_7d") == done.folder
    assert [run["run_id"] for run in MetricsLog(log).read().of_kind(RecordKind.RUN)] == [record.run_id]


def test_an_as_of_is_published_once_unless_asked(tmp_path):
    result, root, log = small_result(), tmp_path / "results", tmp_path / "metrics.jsonl"
    ledger = Ledger.at(root)
    first = publish(result, run_record(result, started=START), root=root, log=log, ledger=ledger)
    again = run_record(result, started=START.replace(hour=12))
    with pytest.raises(AlreadyPublishedError, match="2023-07-14"):
        publish(result, again, root=root, log=log, ledger=ledger)
    assert [run.run_id for run in ledger.runs.all()] == [first.run.run_id]
    assert list((root / "usd_mxn" / "forecaster_7d").glob("*/manifest.json")) == [
        first.folder / "manifest.json"
    ]
    second = publish(result, again, root=root, log=log, ledger=ledger, reprocess=True)
    assert (first.run.revision, second.run.revision) == (1, 2)
    assert latest_run(root, "usd_mxn", "forecaster_7d") == second.folder
