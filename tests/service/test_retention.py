import gzip
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.payloads import keep_payload, payload_folder, read_payload
from horizoncast.data.sources import Rows
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.service.retention import Kept, PruneItem, apply_prune, plan_prune
from horizoncast.service.settings import Settings, load_settings
from horizoncast.store.log_records import event_record
from horizoncast.store.log_rotation import archives_of, rotate_log
from horizoncast.store.metrics_log import MetricsLog, parse_log
from horizoncast.store.records import EventRecord

NOW = datetime(2026, 6, 1, tzinfo=UTC)


def settings_at(root: Path, **retention: int) -> Settings:
    given = {f"retention.{key}": str(value) for key, value in retention.items()}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=given)


def prune(settings: Settings) -> tuple[PruneItem, ...]:
    items = plan_prune([settings], NOW)
    apply_prune(items, [settings], NOW)
    assert plan_prune([settings], NOW) == ()
    return items


def test_nothing_there_is_nothing_to_do(tmp_path: Path) -> None:
    assert prune(settings_at(tmp_path)) == ()


def test_payloads_go_by_the_day_they_were_first_seen(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, payload_days=100)
    folder = payload_folder(settings.store_folder, "t")
    days = {"old": 101, "new": 99}
    digests = {
        name: keep_payload(
            folder, name.encode(), url="u", at=f"{NOW - timedelta(days=age):%Y-%m-%dT%H:%M:%S}", headers={}
        )
        for name, age in days.items()
    }
    planned = plan_prune([settings], NOW)
    assert [item.path.stem for item in planned] == [digests["old"]] and "101" not in planned[0].reason
    assert len(list(folder.rglob("*.gz"))) == 2, "a plan deletes nothing"
    prune(settings)
    assert read_payload(folder, digests["new"]) == b"new"
    assert len([p for p in folder.rglob("*") if p.is_file()]) == 2
    assert plan_prune([settings_at(tmp_path, payload_days=0)], NOW) == ()


def test_compacting_keeps_what_was_known_since(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, vintage_days=100)
    path = store_path(settings.store_folder, "t")
    dates = np.array(["2026-01-01"], dtype="datetime64[s]")
    moments = [NOW - timedelta(days=d) for d in (150, 140, 130, 90, 80)]
    with VintageStore(path, create=True) as store:
        for i, moment in enumerate(moments):
            pull, _ = store.begin_pull(np.datetime64(moment.replace(tzinfo=None), "s"))
            rows = Rows(
                place="p", lines=np.array([1]), dates=dates, names=("v",), values=np.array([[float(i)]])
            )
            with store.writing():
                store.record(pull, "target", rows)
    (item,) = prune(settings)
    assert item.kind is Kept.VINTAGES and "1 values" in item.reason
    with VintageStore(path) as store:
        assert [(v.seq, v.value) for v in store.history("target", "v")] == [(0, 0), (2, 2), (3, 3), (4, 4)]
        for days, value in ((150, 0.0), (100, 2.0), (85, 3.0), (0, 4.0)):
            moment = np.datetime64((NOW - timedelta(days=days)).replace(tzinfo=None), "s")
            assert store.as_of("target", ["v"], moment, "t").values[0, 0] == value
        again = store.begin_pull(np.datetime64("2026-06-02", "s"))[0]
        with store.writing():
            assert store.record(again, "target", rows).unchanged == 1


def run_folder(root: Path, name: str, age_days: int) -> Path:
    folder = root / "usdmxn" / "forecaster_7d" / name
    folder.mkdir(parents=True)
    started = (NOW - timedelta(days=age_days)).isoformat().replace("+00:00", "Z")
    (folder / "manifest.json").write_text(json.dumps({"started": started}))
    return folder


def test_runs_go_by_age_but_the_newest_and_the_latest_stay(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, run_days=100, runs_kept=2)
    root = settings.output_folder
    folders = [run_folder(root, f"r{age}", age) for age in (500, 400, 300, 200, 50)]
    unreadable = run_folder(root, "torn", 900)
    (unreadable / "manifest.json").write_text("{")
    (root / "usdmxn" / "forecaster_7d" / "latest.json").write_text(json.dumps({"run_id": "r500"}))
    items = prune(settings)
    assert sorted(item.path.name for item in items) == ["r200", "r300", "r400"]
    assert [folder.exists() for folder in folders] == [True, False, False, False, True]
    assert unreadable.exists() and list((root / ".staging").iterdir()) == []
    assert plan_prune([settings_at(tmp_path, run_days=0)], NOW) == ()


def events(log: Path, count: int, at: datetime) -> None:
    for i in range(count):
        event = EventRecord(code="x", message=f"{at} {i}", severity="info")
        MetricsLog(log).append([event_record(event, at=at, service="s", series="t")])


def test_the_log_is_rotated_and_its_archive_compressed(tmp_path: Path) -> None:
    settings = settings_at(tmp_path, metrics_mb=1, metrics_days=30)
    log = settings.output_folder / "metrics.jsonl"
    events(log, 3, NOW - timedelta(days=40))
    events(log, 2, NOW - timedelta(days=20))
    assert plan_prune([settings], NOW) == ()
    filler = "\n" * (1 << 20)
    with log.open("a") as handle:
        handle.write(filler)
    (item,) = plan_prune([settings], NOW)
    assert item.kind is Kept.LOG
    apply_prune([item], [settings], NOW)
    assert len(MetricsLog(log).read().records) == 2
    (archive,) = archives_of(log)
    assert len(parse_log(archive.read_bytes()).records) == 5
    assert [item.kind for item in prune(settings)] == [Kept.ARCHIVE]
    packed = next(log.parent.glob("*.gz"))
    assert len(parse_log(gzip.decompress(packed.read_bytes())).records) == 5 and not archive.exists()


def test_a_kill_between_archive_and_log_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "metrics.jsonl"
    events(log, 2, NOW)
    before = log.read_bytes()

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("horizoncast.store.log_rotation.write_atomic", killed)
    with pytest.raises(KeyboardInterrupt):
        rotate_log(log, now=NOW, keep_from=NOW + timedelta(days=1))
    monkeypatch.undo()
    assert log.read_bytes() == before
    rotate_log(log, now=NOW + timedelta(seconds=1), keep_from=NOW + timedelta(days=1))
    assert log.read_bytes() == b"" and len(archives_of(log)) == 2
    assert all(path.read_bytes() == before for path in archives_of(log))


def test_a_writer_that_waited_writes_to_the_new_log(tmp_path: Path) -> None:
    """A rotation while a writer waits for the lock: its records end in the log, not in the archive."""
    log = tmp_path / "metrics.jsonl"
    events(log, 1, NOW)
    with MetricsLog(log).held():
        writer = threading.Thread(target=events, args=(log, 1, NOW + timedelta(days=2)))
        writer.start()
        writer.join(0.2)
        assert writer.is_alive()
        log.replace(tmp_path / "away.jsonl")
    writer.join(5)
    assert len(MetricsLog(log).read().records) == 1
    assert len(parse_log((tmp_path / "away.jsonl").read_bytes()).records) == 1


def test_the_ledger_knows_which_folders_went_and_forgets_them_in_the_end(tmp_path: Path) -> None:
    from horizoncast.store.ledger.invariants import check_invariants
    from horizoncast.store.ledger.ledger import Ledger
    from ledger_runs import START, a_record, commit

    root = tmp_path / "runs"
    ledger = Ledger.at(root)
    for hour in range(3):
        as_of = np.datetime64("2023-07-12") + np.timedelta64(hour, "D")
        commit(ledger, root, replace(a_record(hour), as_of=as_of))
    overrides = {"retention.runs_kept": "1", "retention.run_days": "1", "ledger.days": "30"}
    settings = [load_settings("forecaster_7d", root=tmp_path, environ={}, overrides=overrides)]
    later = START + timedelta(days=100)
    apply_prune(plan_prune(settings, later), settings, later)
    assert [run.pruned is not None for run in ledger.runs.all()] == [True, True, False]
    assert check_invariants(ledger, root, log=root / "metrics.jsonl") == ()
    apply_prune(plan_prune(settings, later), settings, later)
    assert [run.as_of for run in ledger.runs.all()] == ["2023-07-14"]
    assert plan_prune(settings, later) == ()
    assert check_invariants(ledger, root, log=root / "metrics.jsonl") == ()
