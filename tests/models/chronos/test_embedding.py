"""What the encoder sees of a context: from its own past alone, the same in any company, unlike when it is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.forecast import Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.chronos import embedding as module
from horizoncast.models.chronos import member
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.embedding import (
    FEWEST,
    LEAST,
    MOST,
    WINDOW,
    embeddings_of,
    novelty_of,
    past_rows,
)
from horizoncast.models.chronos.encoder import ChronosEncoder
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.registry import make_member
from horizoncast.series import Series
from horizoncast.store.bank_cache import BankCache
from support import make_series, market

pytest.importorskip("chronos")
from chronos_checkpoints import make_bolt, make_chronos2

FIVE = Horizon(steps=5)
LONG = market(2600)


@pytest.fixture(scope="module", params=["bolt", "chronos2"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / request.param
    if request.param == "bolt":
        make_bolt(folder, context=96, d_model=32, layers=2)
    else:
        make_chronos2(folder)
    return folder


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch):
    """Loading takes longer than answering."""
    monkeypatch.setattr(member, "release_pipeline", lambda: None)
    yield
    release_pipeline()


def seen(model: Path, series: Series, rows: list[int]) -> list:
    """Embeddings at some rows, from a process that has encoded nothing yet."""
    loaded = get_pipeline(model)
    loaded.vectors.clear()
    return embeddings_of(loaded, [series.until(series.dates[row]) for row in rows])


def test_the_vector_is_the_mean_state_of_the_newest_window(model: Path) -> None:
    (found,) = seen(model, LONG, [2000])
    z = np.asarray(LONG.until(LONG.dates[2000]).z)
    direct = ChronosEncoder(model).embed(z[None, -WINDOW:]).vectors[0]
    np.testing.assert_allclose(found.vector, direct, rtol=1e-4, atol=1e-5)
    assert (found.vector == found.vector.astype(np.float32)).all()
    assert 0.0 <= found.novelty <= 1.0


def test_company_never_moves_a_bit(model: Path) -> None:
    rows = [2500, 700, 2493, 2400, 1800, 40, 2486, 1000]
    together = seen(model, LONG, rows)
    for one, row in zip(together, rows, strict=True):
        assert one.same_numbers(seen(model, LONG, [row])[0])
    shuffled = seen(model, LONG, rows[::-1])[::-1]
    assert all(one.same_numbers(two) for one, two in zip(together, shuffled, strict=True))


def test_every_batch_has_one_shape(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A product of another shape sums in another order, on some machines and at some sizes."""
    plain, shapes = ChronosEncoder.embed, set()

    def watched(self: ChronosEncoder, windows: np.ndarray):
        shapes.add(windows.shape)
        return plain(self, windows)

    monkeypatch.setattr(ChronosEncoder, "embed", watched)
    seen(model, LONG, [2000])
    seen(model, LONG, [30, 40, 700])
    assert shapes == {(module.BATCH, WINDOW)}


def test_a_process_encodes_a_window_once(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = seen(model, LONG, [2000, 2007])
    monkeypatch.setattr(ChronosEncoder, "embed", None)
    again = embeddings_of(get_pipeline(model), [LONG.until(LONG.dates[row]) for row in (2000, 2007)])
    assert all(one.same_numbers(two) for one, two in zip(first, again, strict=True))


def test_where_places_matter_windows_go_one_by_one(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, sizes = ChronosEncoder.embed, []

    def by_place(self: ChronosEncoder, windows: np.ndarray):
        sizes.append(len(windows))
        found = plain(self, windows)
        return replace(found, vectors=found.vectors + 1e-3 * np.arange(len(windows))[:, None])

    monkeypatch.setattr(ChronosEncoder, "embed", by_place)
    get_pipeline(model).alike.clear()
    found = seen(model, LONG, [300, 310, 320])
    assert sizes == [module.BATCH, 1, 1, 1]
    assert found[1].same_numbers(seen(model, LONG, [310])[0])
    get_pipeline(model).alike.clear()


def test_leak_later_values_change_no_earlier_embedding(model: Path) -> None:
    later = LONG.values.copy()
    later[2001:] *= 3.0
    other = replace(LONG, values=later)
    rows = [500, 1200, 1990, 2000]
    for one, two in zip(seen(model, LONG, rows), seen(model, other, rows), strict=True):
        assert one.same_numbers(two)
    assert not seen(model, LONG, [2001])[0].same_numbers(seen(model, other, [2001])[0])


def test_an_earlier_start_of_the_data_moves_no_window_of_the_grid() -> None:
    """With more than enough windows on either side of the start."""
    short = replace(
        LONG,
        dates=LONG.dates[7:],
        values=LONG.values[7:],
        observed=None,
        covariates=tuple(replace(c, values=c.values[7:]) for c in LONG.covariates),
    )
    cutoff = LONG.dates[2590]
    one, two = (past_rows(s.until(cutoff).ordinals) for s in (LONG, short))
    for mine, other in zip(one, two, strict=True):
        np.testing.assert_array_equal(LONG.dates[mine], short.dates[other])


def test_past_windows_touch_neither_the_newest_nor_each_others_half() -> None:
    for stop in (560, 900, 2590, 9000):
        ordinals = np.arange(3, 3 + stop)
        reference, calibration = past_rows(ordinals)
        assert len(reference) + len(calibration) <= MOST
        assert reference[0] >= WINDOW - 1
        assert calibration[0] - WINDOW >= reference[-1]
        assert calibration[-1] <= stop - 1 - WINDOW
        assert ((ordinals[np.concatenate([reference, calibration])] + 1) % module.SPACING == 0).all()
    assert len(reference) + len(calibration) == MOST - 3  # what begins before the reference has ended


def test_short_histories_have_no_embedding_or_no_novelty(model: Path) -> None:
    needed = int(np.flatnonzero([len(past_rows(np.arange(n))[0]) > 0 for n in range(800)])[0])
    none, least, before, first = seen(model, LONG, [LEAST - 2, LEAST - 1, needed - 2, needed - 1])
    assert none is None
    assert least.novelty is before.novelty is None
    assert np.isfinite(least.vector).all()
    assert first.novelty is not None
    assert len(past_rows(LONG.until(LONG.dates[needed - 1]).ordinals)[1]) >= FEWEST[1]


def test_a_run_on_a_short_history_goes_on(model: Path) -> None:
    series = market(60)
    asked = [series.last, series.dates[21]]
    answers = list(make_member("chronos", {"model": str(model)}).forecast(series, asked, FIVE, LEVELS))
    assert all(isinstance(a, Forecast) and a.embedding.novelty is None for a in answers)


def test_states_that_overflow_are_no_embedding_and_no_failure(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = ChronosEncoder.embed

    def overflowing(self: ChronosEncoder, windows: np.ndarray):
        found = plain(self, windows)
        return replace(found, vectors=np.full_like(found.vectors, np.inf))

    monkeypatch.setattr(ChronosEncoder, "embed", overflowing)
    get_pipeline(model).vectors.clear()
    (answer,) = make_member("chronos", {"model": str(model)}).forecast(LONG, [LONG.last], FIVE, LEVELS)
    assert isinstance(answer, Forecast)
    assert answer.embedding is None
    get_pipeline(model).vectors.clear()
    get_pipeline(model).alike.clear()


def test_the_member_answers_with_it_and_the_cache_gives_it_back(model: Path, tmp_path: Path) -> None:
    asked = [LONG.last, *LONG.dates[[2500, 900, 30]]]
    answers = list(make_member("chronos", {"model": str(model)}).forecast(LONG, asked, FIVE, LEVELS))
    expected = seen(model, LONG, [len(LONG) - 1, 2500, 900, 30])
    BankCache(tmp_path).write("s", "v", "chronos", {str(a.cutoff): a for a in answers})
    cached = BankCache(tmp_path).read("s", "v", "chronos")
    for answer, one in zip(answers, expected, strict=True):
        assert answer.embedding.same_numbers(one)
        assert cached[str(answer.cutoff)].embedding.same_numbers(one)
    assert [a.embedding.novelty is None for a in answers] == [False, False, False, True]


def test_an_unlike_window_is_novel_and_ordinary_ones_are_as_novel_as_each_other() -> None:
    """By the checkpoint that ships, on noise around a level; then a sawtooth such as there never was."""
    rng = np.random.default_rng(1)
    values = 100.0 + rng.standard_normal(6000)
    strange = values.copy()
    strange[-WINDOW:] = 100.0 + 0.3 * (np.arange(WINDOW) % 16) + 0.01 * rng.standard_normal(WINDOW)
    folder = ChronosConfig(model="horizoncast-bolt-micro").folder()
    ordinary = seen(folder, make_series(values), list(range(2600, 6000, 70)))
    novelty = np.array([one.novelty for one in ordinary])
    assert 0.35 < novelty.mean() < 0.65
    assert novelty.min() < 0.15
    assert novelty.max() > 0.85
    (odd,) = seen(folder, make_series(strange), [5999])
    assert odd.novelty > 0.97


def test_novelty_is_a_share_with_ties_half() -> None:
    angle = np.deg2rad([0.0, 1.0, 2.0, 3.0, 4.0])
    reference = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    far = np.deg2rad([10.0, 20.0, 30.0, 40.0])
    calibration = np.stack([np.cos(far), np.sin(far)], axis=1)

    def at(degrees: float) -> float | None:
        own = 7.0 * np.array([np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))])
        return novelty_of(own, calibration, reference)

    assert [at(d) for d in (2.0, 15.0, 20.0, 60.0)] == [0.0, 0.25, 0.375, 1.0]
    assert novelty_of(reference[0], calibration[:0], reference) is None
    assert novelty_of(reference[0], calibration, reference[:0]) is None
