"""Outcomes in metrics.jsonl: every scored lead once, whatever stops a run in between."""

from pathlib import Path

import pytest
from sqlalchemy import update

from horizoncast.errors import StoreError
from horizoncast.service.scoring import score_live
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.outcomes import OutcomeBook, tell_outcomes
from horizoncast.store.ledger.publication import repair
from horizoncast.store.ledger.schema import SCORES
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.schema import RecordKind
from live_runs import SERVICE, publish_at, revised
from small_runs import small_series

AT = "2030-01-01T00:00:00.000Z"
CELLS = 3 * (7 + 3)


@pytest.fixture
def scored(tmp_path: Path) -> Ledger:
    """Two runs: the first matured, the second at three of seven steps."""
    ledger = Ledger.at(tmp_path)
    publish_at(ledger, tmp_path, (386, 396))
    score_live(ledger, SERVICE, small_series())
    return ledger


def outcomes(log: Path) -> list[dict]:
    return [dict(r) for r in MetricsLog(log).read().of_kind(RecordKind.OUTCOME)]


def test_every_score_is_told_once_with_its_date_session_and_unit(scored: Ledger, tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    assert tell_outcomes(scored, log, at=AT) == CELLS
    assert tell_outcomes(scored, log, at=AT) == 0
    series = small_series()
    found = outcomes(log)
    assert len(found) == CELLS
    rows = {(r.run_id, r.subject, r.step): r for r in scored.scores.all(SERVICE, series.name)}
    for record in found:
        row = rows[record["run_id"], record["subject"], record["step"]]
        assert (record["actual"], record["error"], record["loss"]) == (row.actual, row.error, row.wql)
        assert (record["live"], record["session"]) == (row.live, row.session)
        assert record["unit"] == series.unit and record["series"] == series.name
        at = list(series.dates.astype("datetime64[D]").astype(str)).index(record["date"])
        assert series.values[at] == record["actual"]
        assert series.ordinals[at] == record["session"] + record["step"]


def test_a_crash_between_log_and_mark_tells_twice_and_counts_once(scored: Ledger, tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    records = OutcomeBook(database=scored.database).untold(10)
    MetricsLog(log).append(records)  # and nobody marks them
    assert tell_outcomes(scored, log, at=AT) == CELLS
    assert len(outcomes(log)) == CELLS


def test_a_lost_log_is_written_again_by_the_next_run(scored: Ledger, tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    tell_outcomes(scored, log, at=AT)
    log.unlink()
    repair(scored, root=tmp_path, log=log)
    assert len(outcomes(log)) == CELLS
    assert MetricsLog(log).read().incomplete_runs == ()


def test_a_log_that_cannot_be_written_leaves_it_to_the_next_run(scored: Ledger, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError):
        tell_outcomes(scored, tmp_path / "folder", at=AT)
    assert tell_outcomes(scored, tmp_path / "metrics.jsonl", at=AT) == CELLS


def test_a_revised_actual_is_another_record(scored: Ledger, tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    tell_outcomes(scored, log, at=AT)
    series = revised(small_series(), 388, 21.0)
    score_live(scored, SERVICE, series)
    assert tell_outcomes(scored, log, at=AT) == 3
    again = [record for record in outcomes(log) if record["revision"] == 1]
    assert {record["actual"] for record in again} == {21.0}
    assert len(outcomes(log)) == CELLS + 3


def test_scores_of_before_are_filled_in_and_told(scored: Ledger, tmp_path: Path) -> None:
    before = {(r.run_id, r.step): (r.session, r.live) for r in scored.scores.all(SERVICE, "usd_mxn")}
    with scored.database.writing() as connection:
        connection.execute(update(SCORES).values(session=None, live=None))
    assert tell_outcomes(scored, tmp_path / "metrics.jsonl", at=AT) == 0
    score_live(scored, SERVICE, small_series())
    after = {(r.run_id, r.step): (r.session, r.live) for r in scored.scores.all(SERVICE, "usd_mxn")}
    assert after == before
    assert tell_outcomes(scored, tmp_path / "metrics.jsonl", at=AT) == CELLS


def test_a_run_made_in_hindsight_is_not_live(tmp_path: Path) -> None:
    from datetime import timedelta

    ledger = Ledger.at(tmp_path)
    publish_at(ledger, tmp_path, (386,), later=timedelta(days=4))
    score_live(ledger, SERVICE, small_series())
    live = {row.step: row.live for row in ledger.scores.all(SERVICE, "usd_mxn")}
    assert not live[1] and live[7]
    assert sorted(live.values()) == [live[step] for step in sorted(live)]
