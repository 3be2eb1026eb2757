"""What changed since the run before, as runs record it: ledger, folder and log say the same."""

import json
from pathlib import Path

import numpy as np
import pytest

from horizoncast.service.changing import since_before
from horizoncast.service.runner import METRICS, run_service
from horizoncast.service.settings import Settings, load_settings
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.results import read_run
from horizoncast.store.schema import RecordKind
from small_target import NAIVES_ONLY, write_target

PARTS = ("data", "members", "weights", "skill", "width")


def settings_for(root: Path, **more: str) -> Settings:
    overrides = {**NAIVES_ONLY, "target": "toy.toml", **{k.replace("__", "."): v for k, v in more.items()}}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


@pytest.fixture
def weekly(tmp_path: Path):
    """Two runs a week apart."""
    write_target(tmp_path)
    first = run_service(settings_for(tmp_path), as_of=np.datetime64("2023-05-05"))
    second = run_service(settings_for(tmp_path), as_of=np.datetime64("2023-05-10"))
    return tmp_path, first, second


def test_the_first_run_has_nothing_to_compare_with(weekly) -> None:
    _, first, _ = weekly
    assert first.record.since is None
    assert first.record.events == () or all(e.code != "change_unknown" for e in first.record.events)


def test_parts_add_up_to_what_was_published_on_the_same_dates(weekly) -> None:
    _, first, second = weekly
    since = second.record.since
    assert since is not None and since.run_id == first.record.run_id and since.as_of == "2023-05-05"
    before, after = first.record.forecast, second.record.forecast
    assert {(c.step, c.measure) for c in since.changes} == {
        (step, measure) for step in (1, 2, 3, 4) for measure in ("median", "half_width_80")
    }
    for change in since.changes:
        old, new = change.previous_step - 1, change.step - 1
        assert str(before.dates[old])[:10] == str(after.dates[new])[:10] == change.date
        if change.measure == "median":
            values = before.point[old], after.point[new]
        else:
            values = tuple(
                (f.quantile(0.9)[h] - f.quantile(0.1)[h]) / 2 for f, h in ((before, old), (after, new))
            )
        assert (change.before, change.after) == pytest.approx(values, rel=1e-12)
        total = sum(getattr(change, part) for part in PARTS)
        assert total == pytest.approx(change.after - change.before, abs=1e-10)


def test_folder_ledger_and_log_say_the_same(weekly) -> None:
    root, first, second = weekly
    assert read_run(second.folder).since == second.record.since
    assert read_run(second.folder).uncertainty == second.record.uncertainty
    with Ledger.at(root / "runs").database.reading() as connection:
        from sqlalchemy import text

        query = text("SELECT document FROM documents WHERE run_id = :run")
        (found,) = connection.execute(query, {"run": second.record.run_id}).one()
    document = json.loads(found)
    assert document["since"]["run_id"] == first.record.run_id
    log = MetricsLog(root / "runs" / METRICS).read()
    assert log.problems == ()
    told = [r for r in log.of_kind(RecordKind.CHANGE) if r["run_id"] == second.record.run_id]
    names = ("step", "measure", "before", "after", *PARTS)
    assert [[r[name] for name in names] for r in told] == [
        [change[name] for name in names] for change in document["since"]["changes"]
    ]
    shares = [r["share"] for r in log.of_kind(RecordKind.UNCERTAINTY) if r["run_id"] == first.record.run_id]
    assert sum(shares) == pytest.approx(len(shares) / 2)
    assert len(document["verdicts"]) == len(second.record.verdicts)


def test_the_same_run_again_changes_nothing(weekly) -> None:
    root, _, second = weekly
    again = run_service(settings_for(root), as_of=np.datetime64("2023-05-10"))
    since = again.record.since
    assert since is not None and since.run_id == second.record.run_id
    for change in since.changes:
        assert [getattr(change, part) for part in PARTS] == pytest.approx([0.0] * 5, abs=1e-9)


def test_a_run_as_of_an_earlier_date_is_compared_with_what_was_before_it(weekly) -> None:
    root, first, _ = weekly
    between = run_service(settings_for(root), as_of=np.datetime64("2023-05-08"))
    assert between.record.since is not None
    assert between.record.since.run_id == first.record.run_id


def test_another_set_of_rules_falls_on_weights_skill_and_width_alone(weekly) -> None:
    root, _, second = weekly
    again = run_service(
        settings_for(root, decision__shrink="false", decision__calibrate="false"),
        as_of=np.datetime64("2023-05-10"),
    )
    since = again.record.since
    assert since is not None and since.run_id == second.record.run_id
    for change in since.changes:
        assert [change.data, change.members] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_a_record_that_cannot_be_read_is_an_event_and_stops_nothing(weekly, monkeypatch) -> None:
    from horizoncast.errors import StoreError
    from horizoncast.store.ledger.runs import RunBook

    def broken(self, run_id, *, subject=None):
        raise StoreError("the ledger holds a damaged forecast")

    root, _, second = weekly
    monkeypatch.setattr(RunBook, "forecasts", broken)
    found, events = since_before(Ledger.at(root / "runs"), "forecaster_7d", second.result)
    assert found is None
    assert [(e.code, e.severity) for e in events] == [("change_unknown", "warning")]
    assert "damaged" in events[0].message
