import itertools
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.data.sources import Rows
from horizoncast.data.vintage_records import Recorded
from horizoncast.data.vintage_schema import VERSION
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.errors import SourceError, StoreError

DAY = np.timedelta64(86400, "s")
T0 = np.datetime64("2024-03-01T20:00:00")


def rows_of(values: dict[str, float], name: str = "v") -> Rows:
    dates = np.array(list(values), dtype="datetime64[s]")
    return Rows(
        place="test",
        lines=np.arange(1, len(dates) + 1),
        dates=dates,
        names=(name,),
        values=np.array(list(values.values()), dtype=float).reshape(-1, 1),
    )


def put(store: VintageStore, at: np.datetime64, values: dict[str, float], key: str = "target") -> Recorded:
    pull, _ = store.begin_pull(at)
    with store.writing():
        return store.record(pull, key, rows_of(values))


def known(store: VintageStore, moment: np.datetime64 | None = None) -> dict[str, float]:
    rows = store.as_of("target", ["v"], moment, "test")
    return {str(d)[:10]: v for d, v in zip(rows.dates, rows.column("v"), strict=True)}


@pytest.fixture
def store(tmp_path: Path) -> VintageStore:
    return VintageStore(store_path(tmp_path, "t"), create=True)


def test_new_late_revised_unchanged(store: VintageStore) -> None:
    first = put(store, T0, {"2024-02-27": 1.0, "2024-02-29": 3.0})
    assert (first.new, first.late, first.unchanged, first.revised) == (2, 0, 0, ())
    again = put(store, T0 + DAY, {"2024-02-27": 1.0, "2024-02-28": 2.0, "2024-02-29": 3.5, "2024-03-01": 4.0})
    assert (again.new, again.late, again.unchanged) == (1, 1, 1)
    (revision,) = again.revised
    assert (str(revision.date)[:10], revision.before, revision.after) == ("2024-02-29", 3.0, 3.5)
    same = put(store, T0 + 2 * DAY, {"2024-02-29": 3.5})
    assert same == Recorded(unchanged=1)


def test_as_of_is_what_was_known_then(store: VintageStore) -> None:
    put(store, T0, {"2024-02-29": 3.0})
    put(store, T0 + DAY, {"2024-02-29": 3.5, "2024-03-01": 4.0})
    put(store, T0 + 2 * DAY, {"2024-02-29": 3.0})
    second = np.timedelta64(1, "s")
    assert known(store, T0 + DAY - second) == {"2024-02-29": 3.0}
    assert known(store, T0 + DAY) == {"2024-02-29": 3.5, "2024-03-01": 4.0}
    assert known(store) == {"2024-02-29": 3.0, "2024-03-01": 4.0}
    assert [v.value for v in store.history("target", "v")] == [3.0, 3.5, 3.0, 4.0]
    assert [(v.seq, v.pull) for v in store.revisions("target", "v")] == [(1, 2), (2, 3)]
    assert known(store, T0 - 100 * DAY) == {"2024-02-29": 3.0}  # nothing was recorded before
    assert store.first_known("target") == T0 and store.first_known("covariate:x") is None


def test_values_that_a_source_no_longer_shows_stay(store: VintageStore) -> None:
    put(store, T0, {"2024-02-28": 1.0, "2024-02-29": 2.0})
    put(store, T0 + DAY, {"2024-02-29": float("nan"), "2024-03-01": 3.0})
    assert known(store) == {"2024-02-28": 1.0, "2024-02-29": 2.0, "2024-03-01": 3.0}


def test_one_date_with_two_values_is_left_out(store: VintageStore) -> None:
    pull, _ = store.begin_pull(T0)
    rows = rows_of({"2024-02-28": 1.0, "2024-02-29": 2.0})
    twice = rows.take(np.array([0, 1, 0, 1]))
    twice.values[2] = 9.0
    with store.writing():
        done = store.record(pull, "target", twice)
    assert [str(d)[:10] for d in done.conflicts] == ["2024-02-28"] and done.new == 1
    assert known(store) == {"2024-02-29": 2.0}


def test_the_moment_never_runs_backward(store: VintageStore) -> None:
    put(store, T0, {"2024-02-29": 1.0})
    _, moment = store.begin_pull(T0 - 10 * DAY)
    assert moment == T0


def test_a_date_far_ahead_does_not_hide_what_is_missing(store: VintageStore) -> None:
    put(store, T0, {"2024-02-29": 1.0, "2042-02-28": 2.0})
    assert store.newest("target", ["v"], T0) == np.datetime64("2024-02-29", "s")
    assert store.newest("target", ["v", "w"], T0) is None


def test_a_vintage_is_never_changed(store: VintageStore) -> None:
    put(store, T0, {"2024-02-29": 1.0})
    with pytest.raises(StoreError, match="never changed"), store.writing() as db:
        db.execute("UPDATE vintage SET value = 2")
    assert known(store) == {"2024-02-29": 1.0}


def test_a_failure_inside_a_transaction_leaves_nothing(store: VintageStore) -> None:
    put(store, T0, {"2024-02-29": 1.0})
    pull, _ = store.begin_pull(T0 + DAY)
    with pytest.raises(ZeroDivisionError), store.writing():
        store.record(pull, "target", rows_of({"2024-02-29": 5.0, "2024-03-01": 6.0}))
        raise ZeroDivisionError
    assert known(store) == {"2024-02-29": 1.0}


def test_two_pulls_at_once(store: VintageStore) -> None:
    other = VintageStore(store.path)
    with (
        store.locked(),
        pytest.raises(StoreError, match="another pull of this target is running"),
        other.locked(0.1),
    ):
        raise AssertionError("the lock was given twice")
    with other.locked(), VintageStore(store.path) as third:
        assert third.attempts() == []


def test_reading_needs_a_pull_first(tmp_path: Path, store: VintageStore) -> None:
    with pytest.raises(SourceError, match="nothing has been pulled"):
        VintageStore(tmp_path / "other.sqlite")
    assert not (tmp_path / "other.sqlite").exists()
    with pytest.raises(SourceError, match="for this column"):
        store.as_of("target", ["v"], None, "test")


def test_damaged_and_newer_files(tmp_path: Path, store: VintageStore) -> None:
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"SQLite format 3\x00" + b"garbage" * 1000)
    with pytest.raises(StoreError, match="cannot be used"):
        VintageStore(bad)
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    with pytest.raises(StoreError, match="later release"):
        VintageStore(store.path)


def test_a_kill_at_any_point_leaves_whole_pulls(tmp_path: Path) -> None:
    """A process is killed at growing delays while it records; each pull is there whole or not at all."""
    code = textwrap.dedent("""
        import sys, itertools
        from pathlib import Path
        import numpy as np
        from horizoncast.data.sources import Rows
        from horizoncast.data.vintages import VintageStore
        store = VintageStore(Path(sys.argv[1]), create=True)
        dates = np.arange("2020-01-01", "2021-01-01", dtype="datetime64[D]").astype("datetime64[s]")
        print("ready", flush=True)
        for n in itertools.count(1):
            pull, _ = store.begin_pull(np.datetime64("2024-01-01", "s") + n)
            values = np.full((len(dates), 1), float(pull))
            rows = Rows(place="p", lines=np.arange(len(dates)), dates=dates, names=("v",), values=values)
            with store.writing():
                store.record(pull, "target", rows)
    """)
    path = tmp_path / "t.sqlite"
    deepest = 0
    for i in itertools.count():  # longer and longer, until a kill has hit a later pull
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None and process.stdout.readline() == b"ready\n"
        try:
            process.wait(0.03 + 0.037 * i)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        with VintageStore(path) as store:
            history = store.history("target", "v")
            counts = np.unique([v.pull for v in history], return_counts=True)[1]
            assert set(counts) <= {366}
            assert all(v.value == v.pull for v in history)
            deepest = max(deepest, len(counts))
            with store.locked():
                pass
        if i >= 3 and deepest > 1:
            return
        assert i < 60


OFFER = st.dictionaries(st.integers(0, 9), st.floats(-5, 5), max_size=8)


@settings(max_examples=40, deadline=None)
@given(offers=st.lists(OFFER, min_size=1, max_size=6))
def test_property_the_store_replays_every_moment(
    tmp_path_factory: pytest.TempPathFactory, offers: list[dict[int, float]]
) -> None:
    """As of each pull the store equals the union of the answers so far, the later word winning."""
    path = tmp_path_factory.mktemp("s") / "t.sqlite"
    days = [f"2024-01-{10 + d}" for d in range(10)]
    expected: dict[str, float] = {}
    states = []
    with VintageStore(path, create=True) as store:
        for i, offer in enumerate(offers):
            named = {days[d]: value for d, value in offer.items()}
            done = put(store, T0 + i * DAY, named)
            changed = sum(d in expected and expected[d] != v for d, v in named.items())
            fresh = sum(d not in expected for d in named)
            assert (len(done.revised), done.new + done.late) == (changed, fresh)
            expected |= named
            states.append(dict(expected))
        first = store.first_known("target")
        for i, state in enumerate(states):
            if first is not None and first <= T0 + i * DAY:
                assert known(store, T0 + i * DAY) == dict(sorted(state.items()))
