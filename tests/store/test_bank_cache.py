"""The bank's cache: bit-identical, keyed by everything that matters, and never in the way."""

import errno
import io
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from horizoncast.forecast import Embedding, Failure, Flag, Forecast, ModelIdentity
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.child import Task
from horizoncast.models.naive import RandomWalk, RandomWalkConfig
from horizoncast.series import Covariate, Scale, Series
from horizoncast.store.bank_cache import BankCache, row_key
from horizoncast.validation.backtest import run_members
from support import make_series, market

H = Horizon(steps=7)
SERIES = market(200)
CUTOFFS = tuple(SERIES.dates[[-1, -10, -20, -40]])


def rows() -> dict[str, Forecast]:
    answers = RandomWalk(RandomWalkConfig()).forecast(SERIES, CUTOFFS, H, LEVELS)
    return {f"key{i}": a for i, a in enumerate(answers) if isinstance(a, Forecast)}


def test_a_round_trip_is_bit_identical(tmp_path: Path) -> None:
    cache, given_rows = BankCache(tmp_path), rows()
    given_rows["key1"] = replace(
        given_rows["key1"],
        flags=(Flag.SORTED, Flag.FALLBACK),
        identity=ModelIdentity(id="m", revision="2", digest="d", trained_until=np.datetime64("2015-02-03")),
    )
    cache.write("s", "v", "random_walk", given_rows)
    back = cache.read("s", "v", "random_walk")
    assert list(back) == list(given_rows)
    for key, forecast in given_rows.items():
        assert back[key].same_numbers(forecast)
        assert back[key].quantiles.tobytes() == forecast.quantiles.tobytes()
        assert back[key].identity == forecast.identity
        assert (back[key].series, back[key].unit, back[key].member) == ("sample", "unit", "random_walk")


def test_an_epistemic_share_is_kept_where_a_row_knows_it(tmp_path: Path) -> None:
    cache, given_rows = BankCache(tmp_path), rows()
    share = np.linspace(0.0, 1.0, 7)
    given_rows["key1"] = replace(given_rows["key1"], epistemic=share)
    cache.write("s", "v", "m", given_rows)
    back = cache.read("s", "v", "m")
    assert list(back) == list(given_rows)
    known = back["key1"].epistemic
    assert known is not None and known.tobytes() == share.tobytes()
    assert [key for key, row in back.items() if row.epistemic is None] == ["key0", "key2", "key3"]


def test_a_file_of_before_the_share_was_recorded_stays_readable(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    cache.write("s", "v", "m", rows())
    with np.load(cache.path("s", "v", "m")) as stored:
        assert "epistemic" not in stored.files
    assert all(row.epistemic is None for row in cache.read("s", "v", "m").values())


def test_embeddings_are_kept_where_a_row_has_one_and_older_files_have_none(tmp_path: Path) -> None:
    cache, given_rows = BankCache(tmp_path), rows()
    cache.write("s", "v", "m", given_rows)
    with np.load(cache.path("s", "v", "m")) as stored:
        assert not {"embedding", "novelty"} & set(stored.files)
    assert all(row.embedding is None for row in cache.read("s", "v", "m").values())
    vector = np.random.default_rng(0).normal(size=5)
    made = [Embedding(vector=vector, novelty=0.3), Embedding(vector=-vector), None, None]
    given_rows = {
        key: replace(row, embedding=one) for (key, row), one in zip(given_rows.items(), made, strict=True)
    }
    cache.write("s", "v", "m", given_rows)
    back = [row.embedding for row in cache.read("s", "v", "m").values()]
    assert back[0] is not None and back[0].same_numbers(made[0])
    assert back[1] is not None and back[1].same_numbers(made[1]) and back[1].novelty is None
    assert back[2:] == [None, None]
    with np.load(cache.path("s", "v", "m")) as stored:
        assert stored["embedding"].dtype == np.float32


@pytest.mark.parametrize(
    "damage",
    [{"embedding": np.full((4, 2), np.inf)}, {"novelty": np.full(4, 2.0)}, {"novelty": np.full(2, 0.5)}],
    ids=["infinite", "no share", "short"],
)
def test_a_file_with_an_embedding_that_is_none_counts_as_empty(
    tmp_path: Path, damage: dict[str, np.ndarray]
) -> None:
    cache = BankCache(tmp_path)
    cache.write("s", "v", "m", rows())
    with np.load(cache.path("s", "v", "m")) as stored:
        arrays = {name: stored[name] for name in stored.files}
    whole = {"embedding": np.ones((4, 2)), "novelty": np.full(4, 0.5)}
    np.savez(cache.path("s", "v", "m"), **arrays, **whole)
    assert len(cache.read("s", "v", "m")) == 4
    np.savez(cache.path("s", "v", "m"), **arrays, **whole | damage)
    assert cache.read("s", "v", "m") == {}


@pytest.mark.parametrize("share", [np.full((4, 7), 1.5), np.full((4, 3), 0.5), np.full(2, 0.5)])
def test_a_file_with_a_share_that_is_none_counts_as_empty(tmp_path: Path, share: np.ndarray) -> None:
    cache = BankCache(tmp_path)
    cache.write("s", "v", "m", rows())
    with np.load(cache.path("s", "v", "m")) as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(cache.path("s", "v", "m"), **arrays, epistemic=share)
    assert cache.read("s", "v", "m") == {}


def test_what_was_never_written_is_empty(tmp_path: Path) -> None:
    assert BankCache(tmp_path).read("s", "v", "m") == {}


def npz(compression: int = zipfile.ZIP_STORED, **arrays: Any) -> bytes:
    """The file of two rows with some arrays replaced."""
    cache_file = io.BytesIO()
    from horizoncast.store.bank_cache import _pack

    packed = {**_pack(rows()), **arrays}
    with zipfile.ZipFile(cache_file, "w", compression) as archive:
        for name, array in packed.items():
            if array is not None:
                part = io.BytesIO()
                np.save(part, array, allow_pickle=True)
                archive.writestr(f"{name}.npy", part.getvalue())
    return cache_file.getvalue()


def bare_npy() -> bytes:
    part = io.BytesIO()
    np.save(part, np.arange(3))
    return part.getvalue()


def giant_header() -> bytes:
    """An array that claims 8 EB."""
    part = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        part, {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**9)}
    )
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("format.npy", part.getvalue())
    return out.getvalue()


def bomb() -> bytes:
    """256 MB of zeros in 256 kB."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("format.npy", "w") as part:
        np.lib.format.write_array_header_1_0(
            part, {"descr": "<f8", "fortran_order": False, "shape": (2**25,)}
        )
        block = bytes(2**20)
        for _ in range(256):
            part.write(block)
    return out.getvalue()


DAMAGED = {
    "nothing": lambda: b"",
    "text": lambda: b"not a cache file",
    "pickle": lambda: pickle.dumps({"a": 1}),
    "bare npy": bare_npy,
    "truncated": lambda: npz()[:-200],
    "half": lambda: npz()[: len(npz()) // 2],
    "other format": lambda: npz(format=np.array([99])),
    "format without axis": lambda: npz(format=np.array(1)),
    "format empty": lambda: npz(format=np.array([], dtype=int)),
    "array missing": lambda: npz(quantiles=None),
    "pickled objects": lambda: npz(heads=np.array([{"a": 1}, None], dtype=object)),
    "fewer heads": lambda: npz(heads=np.array(["{}"])),
    "heads of another type": lambda: npz(heads=np.array(["[]", "3", "null", '"x"'])),
    "names of another type": lambda: npz(names=np.array(["[1, 2]"])),
    "deep nesting": lambda: npz(names=np.array(["[" * 100_000])),
    "unknown flag": lambda: npz(
        heads=np.array(['{"flags":["x"],"id":"","revision":"","digest":"","trained_until":null}'] * 4)
    ),
    "bad date": lambda: npz(
        heads=np.array(['{"flags":[],"id":"","revision":"","digest":"","trained_until":"x"}'] * 4)
    ),
    "crossing quantiles": lambda: npz(quantiles=np.zeros((4, 7, 19)) - np.arange(19)),
    "quantiles of NaN": lambda: npz(quantiles=np.full((4, 7, 19), np.nan)),
    "flat quantiles": lambda: npz(quantiles=np.zeros(4)),
    "text for quantiles": lambda: npz(quantiles=np.full((4, 7, 19), "x")),
    "complex dates": lambda: npz(dates=np.zeros((4, 7), dtype=complex)),
    "giant header": giant_header,
    "bomb": bomb,
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_counts_as_empty_and_is_read_quickly(tmp_path: Path, kind: str) -> None:
    import resource

    cache = BankCache(tmp_path)
    path = cache.path("s", "v", "m")
    path.parent.mkdir(parents=True)
    path.write_bytes(DAMAGED[kind]())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert cache.read("s", "v", "m") == {}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024
    cache.write("s", "v", "m", rows())
    assert len(cache.read("s", "v", "m")) == 4


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bits_never_change_a_number(tmp_path: Path, data: st.DataObject) -> None:
    """Headers, names and sizes included: what is read is what was written, or nothing."""
    cache, whole = BankCache(tmp_path), rows()
    cache.write("s", "v", "m", whole)
    path = cache.path("s", "v", "m")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(content))
    for key, forecast in cache.read("s", "v", "m").items():
        assert forecast.same_numbers(whole[key])


def test_a_folder_in_place_of_the_file_counts_as_empty(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    cache.path("s", "v", "m").mkdir(parents=True)
    assert cache.read("s", "v", "m") == {}


HOSTILE = [
    "", ".", "..", "../../etc/passwd", "/etc/passwd", "a/b", "a_b", "a\\b", "a b", "a\x00b", "a\nb", "ä",
    "a" * 300, "a" * 299 + "b", "\ud800", "default", "-rf", "~", "%2e%2e", "CON", "a.b", "a:b", "日本",
]  # fmt: skip


def test_hostile_names_stay_inside_and_do_not_collide(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    for position in range(3):
        places = []
        for name in HOSTILE:
            parts = ["s", "v", "m"]
            parts[position] = name
            path = cache.path(*parts)
            assert path.resolve().is_relative_to(tmp_path.resolve())
            assert len(path.resolve().relative_to(tmp_path.resolve()).parts) == 3
            assert all(len(part.encode()) < 200 for part in path.relative_to(tmp_path).parts)
            places.append(str(path))
        assert len(set(places)) == len(HOSTILE)
        for name in HOSTILE[:6]:
            parts = ["s", "v", "m"]
            parts[position] = name
            cache.write(*parts, rows())
            assert len(cache.read(*parts)) == 4


def task(series: Series = SERIES, **changes: Any) -> Task:
    given_task = Task(
        member="random_walk",
        config=RandomWalkConfig(),
        service="v",
        series=series,
        cutoffs=CUTOFFS,
        horizon=H,
        levels=LEVELS,
    )
    return replace(given_task, **changes)


def cached(cache: BankCache, given_task: Task) -> int:
    runs = run_members([given_task], cache=cache, isolated=False, workers=1)
    return runs["random_walk"].cached


def test_the_same_task_is_answered_from_the_cache(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    first = run_members([task()], cache=cache, isolated=False, workers=1)["random_walk"]
    again = run_members([task()], cache=cache, isolated=False, workers=1)["random_walk"]
    assert (first.cached, first.computed) == (0, 4)
    assert (again.cached, again.computed, again.usage) == (4, 0, None)
    for one, other in zip(first.answers, again.answers, strict=True):
        assert isinstance(one, Forecast)
        assert isinstance(other, Forecast)
        assert one.same_numbers(other)


@pytest.mark.parametrize(
    "change",
    [
        {"config": RandomWalkConfig(decay=0.97)},
        {"config": RandomWalkConfig(window=400)},
        {"levels": (0.1, 0.5, 0.9)},
        {"horizon": Horizon(steps=8)},
    ],
)
def test_other_settings_are_computed_again(tmp_path: Path, change: dict[str, Any]) -> None:
    cache = BankCache(tmp_path)
    cached(cache, task())
    assert cached(cache, task(**change)) == 0


def test_the_service_is_part_of_the_key() -> None:
    parts: dict[str, Any] = {
        "member_digest": "m",
        "data_digest": "d",
        "dates": SERIES.dates[:7],
        "levels": LEVELS,
    }
    keys = {row_key(**parts, service=name) for name in ("", "default", "7d", "30d")}
    assert len(keys) == 4


def test_a_new_code_revision_is_computed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = BankCache(tmp_path)
    cached(cache, task())
    monkeypatch.setattr(RandomWalk, "revision", "next")
    assert cached(cache, task()) == 0


@pytest.mark.parametrize(("row", "kept"), [(0, 0), (160, 0), (161, 1), (170, 1), (185, 2), (199, 3)])
def test_a_changed_value_invalidates_the_cutoffs_from_its_date_on(
    tmp_path: Path, row: int, kept: int
) -> None:
    cache = BankCache(tmp_path)
    cached(cache, task())
    values = SERIES.values.copy()
    values[row] *= 1.001
    changed = make_series(values, scale=Scale.LOG, covariates=SERIES.covariates)
    assert cached(cache, task(changed)) == kept == sum(SERIES.index_of(c) < row for c in CUTOFFS)


def test_a_changed_covariate_invalidates_from_its_publication_on(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    cached(cache, task())
    values = SERIES.covariates[0].values.copy()
    values[180] += 1.0  # published one session later; a cutoff lies on row 180 and does not see it
    changed = Covariate(name="x0", values=values, publication_lag=1)
    series = make_series(SERIES.values, scale=Scale.LOG, covariates=(changed, *SERIES.covariates[1:]))
    assert SERIES.index_of(CUTOFFS[2]) == 180
    assert cached(cache, task(series)) == 2


def test_new_sessions_leave_the_past_in_the_cache(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    longer = market(205)
    cached(cache, task(longer.truncated(SERIES.last)))
    assert cached(cache, task(longer, cutoffs=(longer.last, *CUTOFFS))) == 4


def test_a_full_disk_is_reported_and_the_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    run = run_members([task()], cache=BankCache(tmp_path), isolated=False, workers=1)["random_walk"]
    assert [p.code for p in run.problems] == ["CacheNotWritten"]
    assert "No space left" in run.problems[0].reason
    assert all(isinstance(a, Forecast) for a in run.answers)


def test_a_cache_folder_that_is_a_file_is_reported_and_the_run_goes_on(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("in the way")
    run = run_members([task()], cache=BankCache(tmp_path / "cache"), isolated=False, workers=1)["random_walk"]
    assert [p.code for p in run.problems] == ["CacheNotWritten"]
    assert not any(isinstance(a, Failure) for a in run.answers)


def test_the_file_holds_this_run_and_does_not_grow(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    cached(cache, task())
    cached(cache, task(cutoffs=tuple(SERIES.dates[[-1, -5, -10]])))
    assert len(cache.read("sample", "v", "random_walk")) == 3
