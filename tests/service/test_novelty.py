"""The drift figure of a run: from the member's vectors into the record, the log and an event."""

from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.models.chronos import trace as traces
from horizoncast.models.chronos.trace import trace_rows
from horizoncast.policy.drift import YEAR
from horizoncast.series import Series
from horizoncast.service.novelty import judge_embedding
from horizoncast.service.runner import run_service
from horizoncast.service.settings import load_settings
from horizoncast.store.checkpoints import Checkpoint, save_checkpoint
from horizoncast.store.log_records import log_records
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.results import read_run
from horizoncast.store.schema import validate
from small_target import NAIVES_ONLY, write_target


def series_of(years: int = 9) -> Series:
    """Daily values whose last session ends a year of the absolute grid."""
    calendar = Calendar(kind=CalendarKind.DAILY)
    start = np.datetime64("2000-01-01", "s")
    first = -int(calendar.ordinal(np.array([start]))[0]) % YEAR
    dates = start + (first + np.arange(years * YEAR)) * np.timedelta64(86400, "s")
    values = 100 + np.cumsum(np.random.default_rng(1).standard_normal(len(dates)))
    return Series(name="daily", unit="u", calendar=calendar, dates=dates, values=values)


def leave(folder: Path, series: Series, *, changed: int = 0) -> None:
    """A trace of random vectors, the newest `changed` sessions of another kind."""
    rows = trace_rows(series.ordinals)
    vectors = np.random.default_rng(2).standard_normal((len(rows), 8)).astype(np.float32)
    vectors[:, -1] = 0.0
    vectors[rows >= len(series) - changed, -1] = 50.0
    arrays = {"vectors": vectors, "ordinals": series.ordinals[rows]}
    facts = traces._facts(series, "tests") | {"digest": "x"}
    save_checkpoint(
        folder,
        Checkpoint(key=traces.key_of(series), trained_until=series.last, arrays=arrays, facts=facts),
    )


def test_an_ordinary_window_has_a_figure_and_no_alarm(tmp_path: Path) -> None:
    series = series_of()
    leave(tmp_path, series)
    judged = judge_embedding(tmp_path, series)
    assert 0 <= judged.record.percentile <= 1
    assert judged.record.source == "tests"
    assert judged.events == ()


def test_a_lasting_change_is_told_while_it_is_news(tmp_path: Path) -> None:
    series = series_of()
    leave(tmp_path, series, changed=80)
    judged = judge_embedding(tmp_path, series)
    assert judged.record.percentile == 1.0
    assert [event.code for event in judged.events] == ["drift_embedding"]
    assert judge_embedding(tmp_path, series, alarms=False).events == ()
    leave(tmp_path, series, changed=160)
    assert judge_embedding(tmp_path, series).events == ()


def test_without_vectors_there_is_no_figure_and_damage_is_told(tmp_path: Path) -> None:
    series = series_of()
    assert judge_embedding(tmp_path, series).record is None
    leave(tmp_path, series)
    assert judge_embedding(tmp_path, series.truncated(series.dates[-2])).record is None
    next(tmp_path.glob("*.safetensors")).write_bytes(b"torn")
    judged = judge_embedding(tmp_path, series)
    assert judged.record is None
    assert [event.code for event in judged.events] == ["embedding_refused"]


def test_a_run_writes_the_figure_down(tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt

    make_bolt(tmp_path / "bolt")
    target = write_target(tmp_path / "data", sessions=1000)
    settings = load_settings(
        "forecaster_7d",
        root=tmp_path,
        environ={},
        overrides={
            **NAIVES_ONLY,
            "target": str(target),
            "members.chronos.state": "shadow",
            "members.chronos.model": str(tmp_path / "bolt"),
            "members.chronos.cutoffs": "{ 7d = 1 }",
        },
    )
    done = run_service(settings)
    found = done.record.embedding
    assert found.source == "tests/bolt-tiny"
    assert 0 <= found.percentile <= 1
    assert read_run(done.folder).embedding == found
    (logged,) = [r for r in MetricsLog(done.metrics).read().records if r["kind"] == "run"]
    assert logged["embedding_distance"] == pytest.approx(found.distance)
    assert logged["embedding_percentile"] == pytest.approx(found.percentile)


def test_records_of_earlier_releases_are_still_read(tmp_path: Path) -> None:
    target = write_target(tmp_path / "data")
    settings = load_settings(
        "forecaster_7d", root=tmp_path, environ={}, overrides={**NAIVES_ONLY, "target": str(target)}
    )
    run = next(r for r in log_records(run_service(settings).record) if r["kind"] == "run")
    assert run["embedding_distance"] is None
    validate({key: value for key, value in run.items() if not key.startswith("embedding_")})
