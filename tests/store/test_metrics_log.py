import errno
import fcntl
import json
import multiprocessing
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.errors import StoreError
from horizoncast.forecast import Failure
from horizoncast.metrics import Metric
from horizoncast.report.record import run_record
from horizoncast.store.log_records import event_record, log_records
from horizoncast.store.metrics_log import MetricsLog, parse_log
from horizoncast.store.records import EventRecord
from horizoncast.store.schema import RecordKind
from small_runs import small_result

START = datetime(2024, 6, 29, 11, 0, tzinfo=UTC)
RECORD = run_record(small_result(horizon=30), started=START)


def events(count: int, service: str = "s") -> list[dict[str, object]]:
    return [
        event_record(
            EventRecord(code="c", message=f"m{i}", severity="info"), at=START, service=service, series="x"
        )
        for i in range(count)
    ]


@pytest.fixture
def log(tmp_path) -> MetricsLog:
    return MetricsLog(tmp_path / "logs" / "metrics.jsonl", timeout_s=0.1)


def test_a_run_reads_back_record_by_record(log):
    written = log_records(RECORD)
    log.append(written)
    contents = log.read()
    assert contents.problems == () and contents.incomplete_runs == ()
    assert list(contents.records) == json.loads(json.dumps(written))
    kinds = {kind: len(contents.of_kind(kind)) for kind in RecordKind}
    expected = {"run": 1, "member": 2, "forecast": 9, "score": 3 * len(Metric), "event": 0, "verdict": 2}
    assert kinds == expected | {"change": 0, "uncertainty": 18, "outcome": 0}
    steps = [record["step"] for record in contents.of_kind(RecordKind.FORECAST)]
    assert steps == [1, 2, 3, 5, 7, 10, 15, 20, 30]
    last = contents.of_kind(RecordKind.FORECAST)[-1]
    low, high = RECORD.forecast.interval(0.95)
    assert (last["lower_95"], last["upper_95"]) == (float(low[-1]), float(high[-1]))
    assert last["date"] == str(RECORD.forecast.dates[-1])[:10]


def test_the_last_step_is_logged_past_the_lead_grid(log):
    log.append(log_records(run_record(small_result(horizon=95), started=START)))
    assert [r["step"] for r in log.read().of_kind(RecordKind.FORECAST)][-2:] == [90, 95]


def test_a_run_written_twice_counts_once_and_the_last_one_wins(log):
    log.append(log_records(RECORD))
    once = log.read().records
    log.append(log_records(replace(RECORD, duration_s=99.0)))
    contents = log.read()
    assert len(contents.records) == len(once)
    assert contents.of_kind(RecordKind.RUN)[0]["duration_s"] == 99.0


def test_not_a_number_is_written_as_null(log):
    failure = Failure(member="var", cutoff=None, code="ChildError", reason="killed")
    member = replace(RECORD.members[0], name="var", rmse=float("nan"), relative=float("inf"), live=failure)
    log.append(log_records(replace(RECORD, members=(member,))))
    text = log.path.read_text()
    assert "NaN" not in text and "Infinity" not in text
    found = log.read().of_kind(RecordKind.MEMBER)[0]
    assert found["rmse"] is None and found["relative"] is None
    assert (found["failure_code"], found["failure_reason"]) == ("ChildError", "killed")


def test_named_regression_a_torn_line_does_not_make_the_log_unreadable(log):
    """A crash in the middle of a line: what was there and what follows stays readable."""
    log.append(events(3))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole[:-20])
    log.append(events(3, service="after"))
    contents = log.read()
    assert [record["service"] for record in contents.records] == ["s", "s", "after", "after", "after"]
    assert [problem.line for problem in contents.problems] == [3]


def test_a_lost_newline_alone_costs_no_record(log):
    log.append(events(2))
    log.path.write_bytes(log.path.read_bytes()[:-1])
    log.append(events(1, service="after"))
    assert len(log.read().records) == 3 and log.read().problems == ()


LINES = [json.dumps(record) for record in events(5)]


@given(cut=st.integers(0, len("\n".join(LINES)) + 1), more=st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_truncation_costs_at_most_the_line_it_hits(tmp_path_factory, cut, more):
    log = MetricsLog(tmp_path_factory.mktemp("log") / "m.jsonl")
    whole = ("\n".join(LINES) + "\n").encode()
    log.path.write_bytes(whole[:cut])
    if more:
        log.append(events(2, service="after"))
    contents = log.read()
    complete = sum(1 for end in np.cumsum([len(line) + 1 for line in LINES]) if end - 1 <= cut)
    assert len(contents.records) == complete + 2 * more
    assert len(contents.problems) <= 1


@given(st.binary(max_size=300))
def test_any_bytes_can_be_read(data):
    contents = parse_log(data)
    assert contents.records == ()
    assert len(contents.problems) == sum(1 for line in data.split(b"\n") if line.strip())


@pytest.mark.parametrize(
    "line", ["[" * 50_000, '{"kind": NaN}', "\ufeff{}", "9" * 5000, '{"kind": "run"}', "1e999"]
)
def test_foreign_lines_are_reported_by_number(log, line):
    log.append(events(1))
    with log.path.open("a", encoding="utf-8") as handle:
        handle.write(line + "\n")
    log.append(events(1, service="after"))
    contents = log.read()
    assert len(contents.records) == 2
    assert [problem.line for problem in contents.problems] == [2]


def test_a_newer_schema_is_skipped_and_said(log):
    log.append(events(1))
    with log.path.open("a") as handle:
        handle.write(json.dumps(events(1)[0] | {"schema": 2}) + "\n")
    assert "schema version" in log.read().problems[0].reason


def test_a_record_that_breaks_the_schema_writes_nothing(log):
    bad = events(1)[0] | {"severity": "loud"}
    with pytest.raises(StoreError, match="field severity"):
        log.append([*events(2), bad])
    assert not log.path.exists()


def test_a_run_without_its_run_record_is_incomplete(log):
    log.append(log_records(RECORD)[:-1])
    assert log.read().incomplete_runs == (RECORD.run_id,)
    log.append(log_records(RECORD))
    assert log.read().incomplete_runs == ()


@pytest.mark.parametrize("written", [0, 1, 100])
def test_a_full_disk_takes_the_batch_back(log, monkeypatch, written):
    log.append(events(2))
    before = log.path.read_bytes()
    real = os.write

    def short(handle, data):
        if written == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(handle, data[:written])

    monkeypatch.setattr(os, "write", short)
    with pytest.raises(StoreError, match="cannot append"):
        log.append(events(3, service="lost"))
    assert log.path.read_bytes() == before


def test_a_failed_sync_takes_the_batch_back(log, monkeypatch):
    log.append(events(1))
    before = log.path.read_bytes()

    def broken(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", broken)
    with pytest.raises(StoreError, match="cannot append"):
        log.append(events(1, service="lost"))
    assert log.path.read_bytes() == before


def test_a_held_lock_is_waited_for_and_then_reported(log):
    log.append(events(1))
    with log.path.open("ab") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(StoreError, match="locked by another writer"):
            log.append(events(1))
    log.append(events(1, service="after"))
    assert len(log.read().records) == 2


def test_a_log_that_is_a_folder_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="cannot read"):
        MetricsLog(tmp_path).read()
    with pytest.raises(StoreError, match="cannot append"):
        MetricsLog(tmp_path).append(events(1))


def test_a_missing_log_is_empty(log):
    assert log.read().records == () and log.read().problems == ()
    log.append([])
    assert not log.path.exists()


def _write(path: Path, name: str) -> None:
    for i in range(20):
        MetricsLog(path).append(events(3, service=f"{name}{i}"))


def test_writers_in_several_processes_do_not_mix_their_lines(tmp_path):
    path = tmp_path / "m.jsonl"
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(30)
        assert writer.exitcode == 0
    contents = MetricsLog(path).read()
    assert len(contents.records) == 3 * 20 * 3 and contents.problems == ()
    services = [str(record["service"]) for record in contents.records]
    assert all(len(set(services[i : i + 3])) == 1 for i in range(0, len(services), 3))
