"""Corrections: recorded, reversible, applied before any check, never to a replay of an earlier moment."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.data.load import check_target, load_series
from horizoncast.data.overrides import Override, OverrideLog, overrides_path
from horizoncast.data.target_file import read_target
from horizoncast.errors import CheckError, ConfigError, StoreError, UnknownNameError
from small_target import write_target

NOW = np.datetime64("2024-07-01T12:00:00")
DAY = np.datetime64("2023-05-05", "s")


def log_of(folder: Path) -> OverrideLog:
    return OverrideLog(overrides_path(folder, "toy"))


def add(
    log: OverrideLog, date: np.datetime64 = DAY, value: float | None = 17.5, at: str = "2024-06-01"
) -> Override:
    now = np.datetime64(at, "s")
    return log.add(column="target", date=date, value=value, before=None, why="typo", by="ana", now=now)


def test_a_correction_stands_in_the_series_and_in_the_report(tmp_path: Path) -> None:
    target = read_target(write_target(tmp_path))
    plain = load_series(target, now=NOW, store=tmp_path).series
    log = log_of(tmp_path)
    before = float(plain.values[plain.index_of(DAY)])
    made = log.add(column="target", date=DAY, value=17.5, before=before, why="typo", by="ana", now=NOW)
    loaded = load_series(target, now=NOW, store=tmp_path)
    at = loaded.series.index_of(DAY)
    assert loaded.series.values[at] == 17.5
    assert np.array_equal(np.delete(loaded.series.values, at), np.delete(plain.values, at))
    assert loaded.report.overrides == (made,)
    (finding,) = [f for f in loaded.report.findings if f.code == "override"]
    assert "ana" in finding.message and "typo" in finding.message and "17.5" in finding.message
    assert loaded.report.digest != load_series(target, now=NOW).report.digest


def test_drop_leaves_the_session_out_and_revert_brings_it_back(tmp_path: Path) -> None:
    target = read_target(write_target(tmp_path))
    plain = load_series(target, now=NOW).series
    log = log_of(tmp_path)
    made = add(log, value=None)
    assert DAY not in load_series(target, now=NOW, store=tmp_path).series.dates
    log.revert(made.id, why="it was right", by="bob", now=NOW)
    again = load_series(target, now=NOW, store=tmp_path)
    assert np.array_equal(again.series.values, plain.values)
    assert again.report.overrides == ()
    (kept,) = log.all()
    assert (kept.reverted_by, kept.reverted_why) == ("bob", "it was right")


def test_a_value_for_a_missing_day_adds_it(tmp_path: Path) -> None:
    path = write_target(tmp_path)
    data = path.with_suffix(".csv")
    lines = data.read_text().splitlines()
    gone = next(line for line in lines if line.startswith("2023-05-05"))
    data.write_text("\n".join(line for line in lines if line != gone) + "\n")
    target = read_target(path)
    assert DAY not in load_series(target, now=NOW).series.dates
    add(log_of(tmp_path), value=17.25)
    series = load_series(target, now=NOW, store=tmp_path).series
    assert series.values[series.index_of(DAY)] == 17.25


def test_a_correction_unblocks_a_run(tmp_path: Path) -> None:
    path = write_target(tmp_path)
    data = path.with_suffix(".csv")
    last = data.read_text().splitlines()[-1]
    day, value = last.split(",")
    data.write_text(data.read_text().replace(last, f"{day},{100 * float(value)}"))
    target = read_target(path)
    with pytest.raises(CheckError, match="unit_slip"):
        load_series(target, now=NOW, store=tmp_path)
    add(log_of(tmp_path), date=np.datetime64(day, "s"), value=float(value))
    assert not check_target(target, now=NOW, store=tmp_path).errors


def test_a_replay_sees_only_what_was_corrected_by_then(tmp_path: Path) -> None:
    target = read_target(write_target(tmp_path))
    log = log_of(tmp_path)
    made = add(log, at="2023-05-20T10:00")
    log.revert(made.id, why="wrong", by="bob", now=np.datetime64("2023-06-10T10:00"))

    def applied(day: str, *, later: bool = False) -> bool:
        series = load_series(
            target, as_of=np.datetime64(day), now=NOW, store=tmp_path, later_overrides=later
        ).series
        return bool(series.values[series.index_of(DAY)] == 17.5)

    assert not applied("2023-05-19")
    assert applied("2023-05-20"), "the end of the as-of day counts"
    assert applied("2023-06-09")
    assert not applied("2023-06-10")
    assert not applied("2023-05-19", later=True), "asked for later ones, the latest word is the revert"
    add(log, at="2024-06-01")
    assert not applied("2023-06-10")
    assert applied("2023-06-10", later=True)


def test_a_source_that_changes_its_mind_is_pointed_out(tmp_path: Path) -> None:
    path = write_target(tmp_path)
    target = read_target(path)
    series = load_series(target, now=NOW).series
    was = float(series.values[series.index_of(DAY)])
    log_of(tmp_path).add(column="target", date=DAY, value=17.5, before=was, why="typo", by="ana", now=NOW)

    def codes() -> set[str]:
        return {f.code for f in check_target(target, now=NOW, store=tmp_path).findings}

    assert "override" in codes()
    data = path.with_suffix(".csv")
    text = data.read_text()
    data.write_text(text.replace(f"2023-05-05,{was:.6f}", "2023-05-05,17.5"))
    assert "override_redundant" in codes()
    data.write_text(text.replace(f"2023-05-05,{was:.6f}", "2023-05-05,17.9"))
    assert "override_outdated" in codes()


def test_one_correction_per_observation_and_words_are_needed(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    add(log)
    with pytest.raises(ConfigError, match="corrected already"):
        add(log)
    for words in ({"why": " ", "by": "ana"}, {"why": "x", "by": ""}):
        with pytest.raises(ConfigError, match="is empty"):
            log.add(column="target", date=NOW, value=1.0, before=None, now=NOW, **words)
    with pytest.raises(ConfigError, match="finite"):
        add(log, date=NOW, value=float("nan"))
    with pytest.raises(UnknownNameError):
        log.revert(9, why="x", by="y", now=NOW)
    log.revert(1, why="x", by="y", now=NOW)
    with pytest.raises(ConfigError, match="reverted already"):
        log.revert(1, why="x", by="y", now=NOW)
    assert add(log).id == 2


def test_lines_are_only_added_and_a_torn_one_is_cut(tmp_path: Path) -> None:
    log = log_of(tmp_path)
    add(log)
    first = log.path.read_bytes()
    log.path.write_bytes(first + b'{"kind": "override", "id"')
    assert [o.id for o in log.all()] == [1]
    add(log, date=NOW)
    assert log.path.read_bytes().startswith(first)
    assert [json.loads(line)["id"] for line in log.path.read_text().splitlines()] == [1, 2]
    log.path.write_bytes(b"rubbish\n" + first)
    with pytest.raises(StoreError, match="line 1"):
        log.all()


@given(st.lists(st.tuples(st.integers(0, 20), st.none() | st.floats(-1e9, 1e9), st.booleans()), max_size=12))
def test_the_log_gives_back_what_was_recorded(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, float | None, bool]]
) -> None:
    log = OverrideLog(tmp_path_factory.mktemp("log") / "x.jsonl")
    want: dict[int, tuple[np.datetime64, float | None, bool]] = {}
    for day, value, revert in steps:
        date = NOW + np.timedelta64(day, "D")
        if any(d == date and holds for d, _, holds in want.values()):
            continue
        made = add(log, date=date, value=value)
        want[made.id] = (date, value, not revert)
        if revert:
            log.revert(made.id, why="w", by="b", now=NOW)
    assert {o.id: (o.date, o.value, o.holds_at(None)) for o in log.all()} == want
