"""An adapter for covariates: kept where they say something, dropped where not, refused without them."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from horizoncast.errors import ConfigError, MissingCovariateError, ModelError, StoreError
from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.models.chronos import adapter_training
from horizoncast.models.chronos.adapter import (
    ADAPTER,
    ARRAYS,
    MOST_LOG,
    MOST_SHIFT,
    Adapter,
    Reads,
    Told,
    apply_correction,
    covariate_inputs,
    write_adapter,
)
from horizoncast.models.chronos.answering import usual_of
from horizoncast.models.chronos.beside import beside
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.finetuning import fine_tune
from horizoncast.models.chronos.folder import read_manifest, verify, write_manifest
from horizoncast.models.chronos.load import ChronosLoader
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import FineTuned, Job
from horizoncast.models.chronos.verdict import pinball
from horizoncast.models.chronos.windows import split_windows
from horizoncast.models.registry import make_member
from horizoncast.series import Covariate, Series
from support import make_series

torch = pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import bolt_network, make_bolt, make_chronos2, save_network  # noqa: E402

CONTEXT, EIGHT, LEARNT = 48, Horizon(steps=8), 800
FAST = TrainingSettings(mode="adapter", adapter_rate=3e-3, steps=300, check_every=20)


def noise_network():
    """A small Bolt that is right about white noise: the context's mean and the normal quantiles."""
    network = bolt_network(context=CONTEXT, steps=16)
    head = network.output_patch_embedding
    levels = torch.tensor(ndtri(DECILES), dtype=torch.float32)
    with torch.no_grad():
        for layer in (head.output_layer, head.residual_layer):
            layer.weight.zero_()
            layer.bias.zero_()
        head.output_layer.bias.copy_(levels.repeat_interleave(16))
    return network


def shop(effect: float = 4.0, *, known_future: bool = True, seed: int = 3, length: int = 1100) -> Series:
    """White noise around 50 that a holiday moves: that day, or, known a day late, the session after."""
    rng = np.random.default_rng(seed)
    holiday = (rng.random(length + 40) < 0.2).astype(float)
    values = 50.0 + rng.standard_normal(length)
    if known_future:
        values += effect * holiday[:length]
        return make_series(values, covariates=(Covariate(name="holiday", values=holiday, known_future=True),))
    values[2:] += effect * holiday[: length - 2]  # known after one day, it moves the next
    late = Covariate(name="holiday", values=holiday[:length], publication_lag=1)
    return make_series(values, covariates=(late,))


def trained(folder: Path, series: Series, **changes: object) -> FineTuned:
    """The adapter of a series, learnt up to row `LEARNT`."""
    until = series.dates[LEARNT - 1]
    history = series.until(until)
    given = {
        "base": folder / "base",
        "name": "tuned/shop-8d",
        "values": (np.asarray(history.z),),
        "columns": (beside(history),),
        "trained_until": until,
        "context": CONTEXT,
        "steps": 8,
        "models": folder / "models",
        "output": folder / "out",
        "settings": FAST,
    }
    return fine_tune(Job(**(given | changes)))


def answers(folder: Path, series: Series, rows, horizon: Horizon = EIGHT, **settings: object):
    member = make_member(
        "chronos", {"model": str(folder), "context_length": CONTEXT, "season": "off", **settings}
    )
    return list(member.forecast(series, [series.dates[row] for row in rows], horizon, LEVELS))


def loss(found: list[Forecast], series: Series, rows) -> float:
    actual = np.stack([series.values[row + 1 : row + 9] for row in rows])
    return float(pinball(np.stack([one.quantiles for one in found]), actual, LEVELS).mean())


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """A folder with a base and the adapter that a planted holiday was worth."""
    folder = tmp_path_factory.mktemp("shop")
    save_network(noise_network(), folder / "base")
    return folder, trained(folder, shop())


FRESH = range(LEARNT + 50, 1090, 9)


def test_a_planted_holiday_is_learnt_kept_and_better_on_fresh_windows(kept) -> None:
    folder, done = kept
    assert done.verdict.kept, done.verdict
    series = shop()
    with_it, without = (answers(place, series, FRESH) for place in (done.folder, folder / "base"))
    assert loss(with_it, series, FRESH) < 0.75 * loss(without, series, FRESH)
    record = json.loads(done.record.read_text())
    assert record["adapter"]["gain_by_covariates"] > 0.2
    assert record["training"]["mode"] == "adapter"


def test_a_covariate_as_published_is_read_too(tmp_path: Path) -> None:
    """It says nothing of later steps, so it is judged on one."""
    save_network(noise_network(), tmp_path / "base")
    done = trained(tmp_path, shop(known_future=False), steps=1)
    assert done.verdict.kept, done.verdict
    assert done.manifest.facts["adapter"]["covariates"] == [{"name": "holiday", "known_future": False}]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_holiday_without_effect_is_dropped(tmp_path: Path, seed: int) -> None:
    save_network(noise_network(), tmp_path / "base")
    done = trained(tmp_path, shop(0.0, seed=seed), settings=replace(FAST, seed=seed))
    assert not done.verdict.kept
    assert (done.folder, done.manifest) == (None, None)
    assert json.loads(done.record.read_text())["verdict"]["kept"] is False


def test_the_folder_says_what_it_is(kept) -> None:
    _, done = kept
    manifest = verify(done.folder)
    told = manifest.facts["adapter"]
    assert set(manifest.files) == {"config.json", "model.safetensors", ADAPTER}
    assert told["covariates"] == [{"name": "holiday", "known_future": True}]
    assert told["trained_until"] == str(shop().dates[LEARNT - 1])
    assert manifest.trained_until is None
    (found,) = answers(done.folder, shop(), [1000])
    assert found.identity.trained_until == shop().dates[LEARNT - 1]


def test_before_its_training_ended_the_backbone_answers_alone(kept) -> None:
    folder, done = kept
    rows = [LEARNT - 2, LEARNT - 1]
    mine, base = (answers(place, shop(), rows) for place in (done.folder, folder / "base"))
    assert np.array_equal(mine[0].quantiles, base[0].quantiles)
    assert not np.array_equal(mine[1].quantiles, base[1].quantiles)


def zeroed(found: Adapter) -> Adapter:
    at_zero = {name: np.zeros_like(found.arrays[name]) for name in ("out_weight", "out_bias")}
    return replace(found, arrays={**found.arrays, **at_zero})


def rewritten(source: Path, place: Path, adapter: Adapter, **facts: object) -> Path:
    """The folder of an adapter with other weights, or other facts, under a manifest of its own."""
    place.mkdir()
    for name in ("config.json", "model.safetensors"):
        (place / name).write_bytes((source / name).read_bytes())
    write_adapter(place, adapter)
    write_manifest(
        place, name="tests/rewritten", revision="1", licence="apache-2.0", trained_until=None,
        created_by="tests", more_files=(ADAPTER,), facts={"adapter": {**adapter.told.facts(), **facts}},
    )  # fmt: skip
    return place


def adapter_of(folder: Path) -> Adapter:
    found = get_pipeline(folder).adapter
    release_pipeline()
    return found


def test_step_0_is_the_backbone_bit_for_bit(kept, tmp_path: Path) -> None:
    folder, done = kept
    zero = rewritten(done.folder, tmp_path / "zero", zeroed(adapter_of(done.folder)))
    mine, base = (answers(place, shop(), range(900, 1000, 11)) for place in (zero, folder / "base"))
    assert all(np.array_equal(a.quantiles, b.quantiles) for a, b in zip(mine, base, strict=True))
    settings = replace(FAST, adapter_rate=0.0)
    untouched = trained(tmp_path, shop(), base=folder / "base", settings=settings)
    assert len({look.held for look in untouched.tuned.looks}) == 1
    assert not untouched.verdict.kept


@pytest.mark.parametrize("steps", [8, 40])
def test_company_never_moves_a_bit(kept, steps: int) -> None:
    _, done = kept
    rows = [*range(1050, 900, -13), 60]
    together = answers(done.folder, shop(), rows, Horizon(steps=steps))
    for row, one in zip(rows, together, strict=True):
        assert one.same_numbers(answers(done.folder, shop(), [row], Horizon(steps=steps))[0])


def test_later_steps_than_it_was_trained_for_are_the_backbones(kept) -> None:
    folder, done = kept
    mine, base = (
        answers(place, shop(), [1000], Horizon(steps=12))[0] for place in (done.folder, folder / "base")
    )
    assert np.array_equal(mine.quantiles[8:], base.quantiles[8:])
    assert not np.array_equal(mine.quantiles[:8], base.quantiles[:8])


def test_training_and_member_compute_the_same(kept) -> None:
    """The batch of the training in torch, and one window of the member in numpy."""
    _, done = kept
    series = shop()
    history = series.until(series.last)
    windows = split_windows([np.asarray(history.z)], context=CONTEXT, steps=8, settings=FAST).test
    loaded = get_pipeline(done.folder)
    part = adapter_training.answered(loaded.pipeline.model, windows, (beside(history),), loaded.adapter.told)
    batches = adapter_training._Batches(part, loaded.adapter.arrays, DECILES)
    weights = {name: torch.from_numpy(array) for name, array in loaded.adapter.arrays.items()}
    moved = adapter_training._moved(weights, batches.at(np.arange(len(part)))).numpy()
    in_batch = windows.restored(moved.astype(np.float64))
    release_pipeline()
    assert windows.ends.min() >= LEARNT
    rows = [0, 5, len(part) - 1]
    columns = [LEVELS.index(level) for level in DECILES]
    for row, one in zip(rows, answers(done.folder, series, windows.ends[rows]), strict=True):
        assert np.allclose(one.quantiles[:, columns], in_batch[row], atol=1e-4)


# What it reads


def with_holiday(series: Series, values: np.ndarray, **changes: object) -> Series:
    given = {"name": "holiday", "known_future": True, **changes}
    return make_series(series.values, covariates=(Covariate(values=values, **given),))


def test_a_series_without_its_covariates_is_refused_and_recorded(kept) -> None:
    folder, done = kept
    series = shop()
    plain = make_series(series.values)
    published = with_holiday(series, series.covariates[0].values[: len(series)], known_future=False)
    for other in (plain, published):
        found = answers(done.folder, other, [1000, 990, 500])
        assert [type(one) for one in found] == [Failure] * 3
        assert {one.code for one in found} == {MissingCovariateError.__name__}
        assert "holiday" in found[0].reason
    assert isinstance(answers(folder / "base", plain, [1000])[0], Forecast)


def test_an_unknown_future_leaves_its_steps_to_the_backbone(kept) -> None:
    folder, done = kept
    series = shop()
    values = series.covariates[0].values.copy()
    values[1004] = np.nan  # step 4 after row 1000
    gap = with_holiday(series, values)
    (found,), (whole,), (base,) = (
        answers(place, one, [1000])
        for place, one in ((done.folder, gap), (done.folder, series), (folder / "base", series))
    )
    assert Flag.NO_COVARIATES in found.flags
    assert Flag.NO_COVARIATES not in whole.flags
    assert np.array_equal(found.quantiles[3], base.quantiles[3])
    kept_steps = [0, 1, 2, 4, 5, 6, 7]
    assert np.array_equal(found.quantiles[kept_steps], whole.quantiles[kept_steps])


def test_only_what_was_known_at_the_cutoff_is_read(tmp_path: Path) -> None:
    save_network(noise_network(), tmp_path / "base")
    series = shop(known_future=False)
    folder = trained(tmp_path, series, steps=1).folder
    values, one = series.covariates[0].values.copy(), Horizon(steps=1)
    (before,) = answers(folder, series, [1000], one)
    values[1000:] = 9.0  # the value of the cutoff itself is published a day later
    hidden = with_holiday(series, values, known_future=False, publication_lag=1)
    assert np.array_equal(answers(folder, hidden, [1000], one)[0].quantiles, before.quantiles)
    values[999] = 1.0 - values[999]
    seen = with_holiday(series, values, known_future=False, publication_lag=1)
    assert not np.array_equal(answers(folder, seen, [1000], one)[0].quantiles, before.quantiles)
    values[980:1000] = np.nan
    stale = with_holiday(series, values, known_future=False, publication_lag=1)
    (found,) = answers(folder, stale, [1000], one)
    assert Flag.STALE_INPUT in found.flags
    assert np.array_equal(found.quantiles, answers(tmp_path / "base", series, [1000], one)[0].quantiles)


def test_inputs_are_relative_to_the_context() -> None:
    past = np.array([[1.0, 4.0], [2.0, 6.0], [3.0, 8.0]])
    ahead = np.array([[5.0, np.nan], [7.0, np.nan]])
    covariates = (Reads(name="a", known_future=True), Reads(name="b", known_future=False))
    found = covariate_inputs(covariates, past, ahead)
    spread = np.sqrt(8.0 / 3.0)
    assert np.allclose(found[:, :4], [[5.0, 3.0, 2.0, 2.0 / spread], [7.0, 5.0, 4.0, 2.0 / spread]])
    assert (found[:, 4] == 0).all(), "changes that are all alike have no spread"


def test_the_correction_is_bounded_and_keeps_the_order() -> None:
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.standard_normal((2, len(DECILES))), axis=1)
    told = Told(
        covariates=(Reads(name="a", known_future=True),), trained_until=np.datetime64("2020-01-01", "s"),
        steps=2, spread=1.0,
    )  # fmt: skip
    shapes = ((4, 3), (6, 3), (3,), (3, 2), (2,), (4,), (4,), (6,), (6,))
    arrays = {name: np.ones(shape, np.float32) for name, shape in zip(ARRAYS, shapes, strict=True)}
    arrays["out_weight"] *= 1e6
    found = Adapter(told=told, arrays=arrays).corrected(quantiles, DECILES, np.ones(4), np.ones((2, 6)))
    most = apply_correction(quantiles, DECILES, np.full(2, MOST_SHIFT), np.full(2, MOST_LOG))
    assert np.allclose(found, most)
    assert (np.diff(found, axis=1) >= 0).all()


# What is refused


def test_a_changed_or_contradicted_adapter_is_refused(kept, tmp_path: Path) -> None:
    _, done = kept
    found = adapter_of(done.folder)
    torn = rewritten(done.folder, tmp_path / "torn", found)
    (torn / ADAPTER).write_bytes((torn / ADAPTER).read_bytes()[:-1])
    with pytest.raises(StoreError, match="sha256"):
        get_pipeline(torn)
    other = {**found.arrays, "bias": np.zeros(3, np.float32)}
    with pytest.raises(StoreError, match="another shape"):
        get_pipeline(rewritten(done.folder, tmp_path / "shape", replace(found, arrays=other)))
    with pytest.raises(StoreError, match="adapter is refused"):
        get_pipeline(rewritten(done.folder, tmp_path / "facts", found, trained_until="someday"))
    bare = tmp_path / "bare"
    rewritten(done.folder, bare, found)
    names = {"name": "tests/bare", "revision": "1", "licence": "x", "created_by": "tests"}
    write_manifest(bare, **names, trained_until=None, more_files=(ADAPTER,))
    with pytest.raises(StoreError, match="contradict"):
        get_pipeline(bare)


def test_what_it_cannot_be_trained_on_is_refused(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base", context=CONTEXT)
    with pytest.raises(ConfigError, match="has none"):
        trained(tmp_path, shop(), columns=((),))
    with pytest.raises(ConfigError, match="last date"):
        trained(tmp_path, shop(), trained_until=None)
    make_chronos2(tmp_path / "two")
    with pytest.raises(ConfigError, match="full, lora"):
        trained(tmp_path, shop(), base=tmp_path / "two")


def test_an_adapter_is_trained_anew_but_never_left_on_other_weights(kept, tmp_path: Path) -> None:
    folder, done = kept
    again = trained(tmp_path, shop(), base=done.folder)
    assert verify(again.folder).files == done.manifest.files
    assert again.manifest.facts["base"]["digest"] == read_manifest(folder / "base").digest
    assert again.manifest.revision == done.manifest.revision == "1+adapter"
    with pytest.raises(ConfigError, match="other weights"):
        trained(tmp_path, shop(), base=done.folder, settings=replace(FAST, mode="head"))


def test_the_loader_has_no_covariates_and_says_so(kept, tmp_path: Path) -> None:
    _, done = kept
    with ChronosLoader(root=tmp_path) as loader, pytest.raises(ModelError, match="adapter"):
        loader.load_trained_model(done.folder)


def test_it_has_to_beat_what_the_member_makes_of_a_season(tmp_path) -> None:
    """A holiday is worth something to a reading that misses the week; reading the week is worth more."""
    save_network(noise_network(), tmp_path / "base")
    plain = shop(2.0)
    week = np.resize([6.0, -4.0, 0.0, -3.0, 1.0], len(plain))
    series = replace(plain, values=plain.values + week)
    config = ChronosConfig(model=str(tmp_path / "base"), context_length=CONTEXT)
    alone = trained(tmp_path, series)
    assert alone.verdict.kept
    beside_season = trained(tmp_path, series, usual=usual_of(series, config))
    assert not beside_season.verdict.kept
    assert beside_season.verdict.base_loss < 0.8 * alone.verdict.base_loss
    assert beside_season.verdict.tuned_loss == alone.verdict.tuned_loss


def test_without_a_season_there_is_nothing_but_the_series_as_it_is() -> None:
    config = ChronosConfig()
    assert usual_of(replace(shop(), periods=()), config) is None
    assert usual_of(shop(), replace(config, season="off")) is None
    assert usual_of(shop(), config) is not None
