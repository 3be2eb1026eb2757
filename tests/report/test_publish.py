from datetime import UTC, datetime

import pytest

from horizoncast.errors import StoreError
from horizoncast.report.publish import publish
from horizoncast.report.record import run_record
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.results import latest_run, read_run
from horizoncast.store.schema import RecordKind
from small_runs import small_result

START = datetime(2024, 6, 29, 11, 0, tzinfo=UTC)


def test_a_run_is_published_with_charts_latest_and_log(tmp_path):
    result = small_result(horizon=30)
    record = run_record(result, started=START)
    done = publish(result, record, root=tmp_path / "results", log=tmp_path / "metrics.jsonl")
    names = {path.name for path in done.folder.iterdir()}
    assert {"fan_chart.png", "fan_chart_380.png", "fan_chart.svg", "manifest.json"} <= names
    assert read_run(done.folder).run_id == record.run_id
    assert latest_run(tmp_path / "results", "usd_mxn", "forecaster_30d") == done.folder
    runs = MetricsLog(done.log).read().of_kind(RecordKind.RUN)
    assert [run["run_id"] for run in runs] == [record.run_id]


def test_two_publications_of_one_result_are_equal_but_for_the_manifest(tmp_path):
    result = small_result(horizon=30)
    folders = [
        publish(
            result,
            run_record(result, started=START.replace(hour=hour)),
            root=tmp_path / "results",
            log=tmp_path / "metrics.jsonl",
        ).folder
        for hour in (1, 2)
    ]
    for path in folders[0].iterdir():
        same = path.read_bytes() == (folders[1] / path.name).read_bytes()
        assert same == (path.name != "manifest.json"), path.name


def test_a_log_that_cannot_be_written_is_an_error_and_the_run_stays(tmp_path):
    result = small_result()
    record = run_record(result, started=START)
    (tmp_path / "metrics.jsonl").mkdir()
    with pytest.raises(StoreError, match="cannot append"):
        publish(result, record, root=tmp_path / "results", log=tmp_path / "metrics.jsonl")
    folder = latest_run(tmp_path / "results", "usd_mxn", "forecaster_7d")
    assert folder is not None and read_run(folder).run_id == record.run_id
