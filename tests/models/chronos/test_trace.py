"""Vectors of past windows: which windows, once per data, and only of exactly these rows."""

from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.errors import StoreError
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.chronos.embedding import WINDOW
from horizoncast.models.chronos.encoder import ChronosEncoder
from horizoncast.models.chronos.folder import read_manifest
from horizoncast.models.chronos.likeness import windows_at
from horizoncast.models.chronos.pipeline import release_pipeline
from horizoncast.models.chronos.trace import leave_trace, read_trace, trace_rows
from horizoncast.models.registry import make_member
from horizoncast.series import Series

pytest.importorskip("chronos")
from chronos_checkpoints import make_bolt


def walk(sessions: int = 900, seed: int = 1) -> Series:
    values = 100 + np.cumsum(np.random.default_rng(seed).standard_normal(sessions))
    dates = np.datetime64("2015-01-01", "s") + np.arange(sessions) * np.timedelta64(86400, "s")
    return Series(
        name="walk", unit="u", calendar=Calendar(kind=CalendarKind.DAILY), dates=dates, values=values
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bolt"
    make_bolt(folder)
    return folder


def answer(model: Path, series: Series, traces: Path | str, cutoffs: list | None = None) -> list:
    member = make_member("chronos", {"model": str(model), "traces": str(traces), "window": 64})
    asked = [series.last, series.dates[-20]] if cutoffs is None else cutoffs
    return list(member.forecast(series, asked, Horizon(steps=5), LEVELS))


def test_windows_stay_on_the_grid_as_time_goes_on() -> None:
    ordinals = np.arange(5000, 6000)
    now, later = ordinals[trace_rows(ordinals)], ordinals[trace_rows(ordinals[:-33])]
    assert set(later[:-1]) < set(now)
    assert (now[-1], later[-1]) == (5999, 5966)
    assert (np.diff(now)[:-1] == 10).all()
    assert trace_rows(ordinals)[0] >= WINDOW - 1


def test_the_member_leaves_the_vectors_of_its_own_encoder(model: Path, tmp_path: Path) -> None:
    series = walk()
    answers = answer(model, series, tmp_path)
    trace = read_trace(tmp_path, series)
    assert trace.source == "tests/bolt-tiny"
    assert trace.ordinals[-1] == series.ordinals[-1]
    rows = trace_rows(series.ordinals)
    direct = ChronosEncoder(model).embed(windows_at(series.values, rows, WINDOW)).vectors
    release_pipeline()
    np.testing.assert_allclose(trace.vectors, direct, atol=1e-5)
    without = answer(model, series, "")
    assert all(np.array_equal(a.quantiles, b.quantiles) for a, b in zip(answers, without, strict=True))


def test_other_rows_or_a_past_cutoff_have_no_trace(model: Path, tmp_path: Path) -> None:
    series = walk()
    answer(model, series, tmp_path, cutoffs=[series.dates[-20]])
    assert not list(tmp_path.iterdir())
    answer(model, series, tmp_path)
    assert read_trace(tmp_path, walk(seed=2)) is None
    assert read_trace(tmp_path, series.truncated(series.dates[-2])) is None


def test_it_is_made_once_for_the_same_rows_and_again_for_another_checkpoint(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series, made = walk(), []
    embed = ChronosEncoder.embed

    def counted(self: ChronosEncoder, windows: np.ndarray):
        made.append(len(windows))
        return embed(self, windows)

    monkeypatch.setattr(ChronosEncoder, "embed", counted)
    manifest = read_manifest(model)
    leave_trace(tmp_path, series, model, manifest)
    leave_trace(tmp_path, series, model, manifest)
    assert len(made) == 1
    other = tmp_path / "other"
    leave_trace(tmp_path, series, other, make_bolt(other, seed=4))
    release_pipeline()
    assert len(made) == 2


def test_short_histories_leave_none_and_damage_is_named(model: Path, tmp_path: Path) -> None:
    answer(model, walk(400), tmp_path)
    assert not list(tmp_path.iterdir())
    answer(model, walk(), tmp_path)
    next(tmp_path.glob("*.safetensors")).write_bytes(b"torn")
    with pytest.raises(StoreError, match="digest"):
        read_trace(tmp_path, walk())
    answer(model, walk(), tmp_path)
    assert read_trace(tmp_path, walk()) is not None
