"""What the member chose, a context or a season, stands in the record of the run, and only there."""

from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import make_bolt
from horizoncast.service.runner import run_service
from horizoncast.service.settings import load_settings
from small_target import NAIVES_ONLY, write_target


def run(root: Path, context: str = "adaptive", *, season: str = "auto", periods: str = "[]"):
    target = write_target(root)
    target.write_text(target.read_text().replace("periods = []", f"periods = {periods}"))
    overrides = {
        **NAIVES_ONLY,
        "target": str(target),
        "members.chronos.state": "on",
        "members.chronos.model": str(root / "bolt"),
        "members.chronos.context_length": context,
        "members.chronos.season": season,
    }
    return run_service(
        load_settings("forecaster_7d", root=root, environ={}, overrides=overrides), reprocess=True
    )


def told(outcome, code: str = "chronos_context") -> list[str]:
    return [event.message for event in outcome.record.events if event.code == code]


def test_what_auto_chose_is_told_with_its_counts_and_again_from_the_cache(tmp_path: Path) -> None:
    make_bolt(tmp_path / "bolt", context=96)
    first = run(tmp_path, "auto")
    (text,) = told(first)
    assert "tests/bolt-tiny read " in text
    assert "96 unless another does better" in text
    assert "past cutoffs" in text
    (again,) = told(run(tmp_path, "auto"))
    assert again == text
    assert told(run(tmp_path, "adaptive")) == []


def test_a_damaged_file_is_told_and_the_run_goes_on(tmp_path: Path) -> None:
    make_bolt(tmp_path / "bolt", context=96)
    run(tmp_path, "auto")
    (left,) = (tmp_path / "cache" / "traces").glob("context-*.safetensors")
    left.write_bytes(b"torn")
    outcome = run(tmp_path, "auto")
    assert told(outcome) == []
    assert "context_refused" in [event.code for event in outcome.record.events]


def test_the_season_is_told_where_there_is_one(tmp_path: Path) -> None:
    make_bolt(tmp_path / "bolt", context=96)
    first = run(tmp_path, season="on", periods="[5]")
    (text,) = told(first, "chronos_season")
    assert "read the difference from the mean of the last 4 seasons of 5 sessions at " in text
    assert text.endswith("past cutoffs of these runs the series as it is had 0 % on average")
    assert told(run(tmp_path, season="on", periods="[5]"), "chronos_season") == [text]
    (text,) = told(run(tmp_path, periods="[5]"), "chronos_season")
    assert "season: tests/bolt-tiny read the " in text
    assert told(run(tmp_path, season="off", periods="[5]"), "chronos_season") == []


def test_of_a_price_no_season_is_told(tmp_path: Path) -> None:
    make_bolt(tmp_path / "bolt", context=96)
    assert told(run(tmp_path), "chronos_season") == []
    assert not list((tmp_path / "cache" / "traces").glob("season-*"))
