"""What the member promises beyond the contract of all members."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from chronos_checkpoints import bolt_network, make_bolt, repeater, save_network, sharpen
from horizoncast.errors import NotAdmittedError, StoreError, UnknownNameError
from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.models.child import Task, run_in_child
from horizoncast.models.chronos import contexts, inference, member, pipeline
from horizoncast.models.chronos.chosen import CONTEXT, read_chosen
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.inference import Window, answer_bolt
from horizoncast.models.chronos.pipeline import check_memory, get_pipeline, needed_mb, release_pipeline
from horizoncast.models.registry import make_member
from horizoncast.resources import MIB
from support import make_series, market, weekly_season

FIVE = Horizon(steps=5)


@pytest.fixture(scope="module")
def bolt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bolt"
    make_bolt(folder, context=96, d_model=32, layers=2)
    return folder


@pytest.fixture(scope="module")
def week(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "week"
    save_network(repeater(), folder)
    return folder


@pytest.fixture(autouse=True)
def released():
    yield
    assert not pipeline._HELD, "a pipeline was left loaded"


def answers(folder, series, cutoffs, horizon=FIVE, **settings):
    return list(
        make_member("chronos", {"model": str(folder), **settings}).forecast(series, cutoffs, horizon, LEVELS)
    )


# Exactness


@pytest.fixture
def kept(monkeypatch):
    """Loading takes longer than answering: tests that ask often keep the pipeline."""
    monkeypatch.setattr(member, "release_pipeline", lambda: None)
    yield
    release_pipeline()


@pytest.mark.parametrize(("context", "steps"), [("adaptive", 5), ("auto", 5), (50, 40)])
def test_company_never_moves_a_bit(bolt, kept, steps, context):
    """Batches of another shape sum in another order: 1 and 8 rows of one Bolt differ in the last bits."""
    series = market(300)
    cutoffs = [series.dates[row] for row in (*range(290, 220, -7), 25, 60)]
    horizon = Horizon(steps=steps)
    together = answers(bolt, series, cutoffs, horizon, context_length=context)
    alone = [answers(bolt, series, [c], horizon, context_length=context)[0] for c in cutoffs]
    shuffled = answers(bolt, series, cutoffs[::-1], horizon, context_length=context)[::-1]
    for one, two, three in zip(together, alone, shuffled, strict=True):
        assert one.same_numbers(two)
        assert one.same_numbers(three)


def test_where_places_matter_cutoffs_go_one_by_one(bolt, kept, monkeypatch):
    """On a machine whose products depend on the row, no batch is trusted."""
    plain = inference._forward
    sizes = []

    def by_place(loaded, rows):
        sizes.append(len(rows))
        return plain(loaded, rows) + 1e-7 * np.arange(len(rows))[:, None, None]

    monkeypatch.setattr(inference, "_forward", by_place)
    series = market(300)
    cutoffs = [series.dates[row] for row in range(290, 230, -6)]
    together = answers(bolt, series, cutoffs, season="off")
    assert sizes == [8, *[1] * len(cutoffs)]
    assert all(
        a.same_numbers(answers(bolt, series, [c], season="off")[0])
        for a, c in zip(together, cutoffs, strict=True)
    )


def test_numbers_are_those_of_the_stock_pipeline(bolt):
    import torch
    from chronos import BaseChronosPipeline

    series = market(300)
    z = series.until(series.last).tail(96).z
    (found,) = answers(bolt, series, [series.last], context_length=96, season="off")
    stock = BaseChronosPipeline.from_pretrained(bolt)
    expected, _ = stock.predict_quantiles(torch.tensor(z), prediction_length=5, quantile_levels=list(DECILES))
    mine = np.log(found.quantiles[:, [LEVELS.index(level) for level in DECILES]])
    assert np.allclose(mine, np.sort(expected[0].numpy(), axis=1), atol=1e-4 * z.std())


def test_small_moves_of_a_large_number_are_kept(week):
    """In float32 alone, moves of 0.01 around 1e6 are lost."""
    base = weekly_season(300)
    shifted = make_series(1e6 + 0.01 * base.values, kind=base.calendar.kind, periods=(7,))
    (small,), (large,) = (answers(week, s, [s.last], Horizon(steps=14)) for s in (base, shifted))
    assert np.allclose((large.point - 1e6) / 0.01, small.point, atol=0.05)


# Levels and steps


def test_tails_of_deciles_are_flagged_and_own_levels_are_not(bolt, tmp_path):
    series = market(200)
    (deciles,) = answers(bolt, series, [series.last])
    make_bolt(tmp_path / "full", quantiles=LEVELS)
    (full,) = answers(tmp_path / "full", series, [series.last])
    assert Flag.EXTRAPOLATED_TAIL in deciles.flags
    assert Flag.EXTRAPOLATED_TAIL not in full.flags


def test_levels_that_cross_are_sorted_and_flagged(tmp_path):
    network = bolt_network()
    save_network(network, tmp_path)
    (found,) = answers(tmp_path, market(200), [market(200).last])
    assert Flag.SORTED in found.flags


def test_intervals_widen_past_the_checkpoints_own_steps(tmp_path):
    """Regression: intervals that stopped widening at step 64. Here the checkpoint answers 16."""
    save_network(repeater(steps=16, period=1), tmp_path)
    rng = np.random.default_rng(1)
    series = make_series(100 + np.cumsum(rng.standard_normal(300)))
    (found,) = answers(tmp_path, series, [series.last], Horizon(steps=160))
    low, high = found.interval(0.8)
    width = high - low
    assert (np.diff(width) > -1e-6 * width[:-1]).all()
    assert width[159] / width[15] == pytest.approx(np.sqrt(160 / 16), rel=0.35)


def test_a_season_goes_on_past_the_checkpoints_own_steps(week):
    series = weekly_season(400, noise=0.01)
    (found,) = answers(week, series, [series.dates[340]], Horizon(steps=50))
    assert np.abs(found.point - series.values[341:391]).max() < 0.5


def test_unrolling_follows_the_stock_one_where_levels_are_even(bolt):
    """Nine even levels: the library takes plain quantiles of 81 values, here they are weighted alike."""
    import torch

    rng = np.random.default_rng(0)
    window = np.cumsum(rng.standard_normal(96))
    loaded = get_pipeline(bolt)
    (mine,) = answer_bolt(loaded, [Window(values=window)], context=96, steps=24, chunk=1)
    with pytest.warns(UserWarning, match="prediction length"):
        stock = loaded.pipeline.predict(torch.tensor(window)[None], prediction_length=24)[0].numpy().T
    release_pipeline()
    assert np.allclose(mine.quantiles[:, 4], stock[:, 4], atol=0.1 * window.std())


# Contexts


@pytest.mark.parametrize(("service", "expected"), [("7d", 180), ("15d", 180), ("30d", 90), ("90d", 365)])
def test_contexts_that_ship(service, expected):
    from horizoncast.service.settings import load_settings

    settings = load_settings(f"forecaster_{service}", environ={})
    (chronos,) = [m for m in settings.engine_config().members if m.name == "chronos"]
    assert chronos.config.context == expected
    assert chronos.config.models == str(settings.models_folder)


@pytest.mark.parametrize("length", [24, 90])
def test_rows_before_the_context_do_not_matter(bolt, length):
    """Not for quantiles; the embedding has a window of its own."""
    series = market(300)
    values = series.values.copy()
    values[: 300 - length] *= 1.5
    (one,), (two,) = (
        answers(bolt, s, [series.last], context_length=length, season="off")
        for s in (series, replace(series, values=values))
    )
    assert one.same_numbers(replace(two, embedding=None))
    values[300 - length] *= 1.01
    moved = replace(series, values=values)
    (three,) = answers(bolt, moved, [series.last], context_length=length, season="off")
    assert not one.same_numbers(replace(three, embedding=None))


def test_auto_chooses_what_had_matured(week):
    """The week repeater needs eight values; a context of few patches serves it as well as a long one."""
    series = weekly_season(300)
    at = 200
    later = series.values.copy()
    later[at + 1 :] = 1000.0
    (one,), (two,) = (
        answers(week, s, [series.dates[at]], Horizon(steps=7), context_length="auto")
        for s in (series, replace(series, values=later))
    )
    assert one.same_numbers(two)


def test_what_auto_chose_is_left_for_the_record(week, tmp_path):
    """Per cutoff, for exactly these rows and this member; later calls add; without auto nothing."""
    series = weekly_season(300)
    member = make_member("chronos", {"model": str(week), "context_length": "auto", "traces": str(tmp_path)})
    horizon, cutoffs = Horizon(steps=7), [series.last, series.dates[250], series.dates[200]]
    for asked in (cutoffs[:2], cutoffs[2:]):
        list(member.forecast(series, asked, horizon, LEVELS))
    left = read_chosen(tmp_path, CONTEXT, series, 7, member.digest())
    assert set(left.choices) == set(cutoffs)
    assert {context for (context,) in left.choices.values()} <= set(contexts.candidates(512, 64))
    assert (left.default, left.source) == ((64,), "tests/bolt-tiny")
    assert read_chosen(tmp_path, CONTEXT, series.truncated(series.dates[-2]), 7, member.digest()) is None
    assert read_chosen(tmp_path, CONTEXT, series, 7, "another") is None
    assert read_chosen(tmp_path, CONTEXT, series, 8, member.digest()) is None
    plain = make_member("chronos", {"model": str(week), "traces": str(tmp_path / "plain")})
    list(plain.forecast(series, cutoffs, horizon, LEVELS))
    assert not list(tmp_path.glob("plain/context-*"))


def test_origins_that_choose_have_matured():
    ordinals = np.arange(1000, 1300)
    assert len(contexts.matured_origins(ordinals, 40, 30, 20).rows) == 0
    for stop, steps, apart in ((250, 12, 12), (250, 30, 7), (60, 12, 1)):
        found = contexts.matured_origins(ordinals, stop, steps, 20)
        assert found.rows.max() + steps < stop
        assert (np.diff(found.rows) == apart).all()
        assert (ordinals[found.rows] % apart == 0).all()
        assert found.worth == apart / steps


def test_overlapping_origins_count_for_less():
    """A gain that convinces at 16 origins apart does not at 16 that overlap tenfold."""
    losses = {180: np.ones(16), 90: np.tile([1.1, 0.7], 8)}
    assert contexts.choose(losses) == 90
    assert contexts.choose(losses, worth=0.1) == 180


def test_a_context_wins_by_more_than_its_error_only():
    even = np.tile([1.0, 1.2], 4)
    assert contexts.choose({180: even, 90: 0.9 * even}) == 90
    assert contexts.choose({180: even, 90: even * np.tile([0.5, 1.9], 4)}) == 180
    assert contexts.choose({180: even, 90: even}) == 180


def test_a_context_in_which_nothing_moves_is_lengthened(bolt):
    values = market(300).values.copy()
    values[-50:] = values[-50]
    series = make_series(values)
    (found,) = answers(bolt, series, [series.last], context_length=40)
    assert Flag.DEGENERATE_WIDTH not in found.flags
    assert (found.quantile(0.9) > found.quantile(0.1)).all()


# What it has seen


def test_cutoffs_that_the_checkpoint_may_have_seen_are_refused(tmp_path):
    series = market(300)
    make_bolt(tmp_path, trained_until=str(series.dates[250].astype("datetime64[D]")))
    cutoffs = [series.last, series.dates[250], series.dates[249], series.dates[100]]
    found = answers(tmp_path, series, cutoffs)
    assert [type(a) for a in found] == [Forecast, Forecast, Failure, Failure]
    assert found[0].identity.trained_until == series.dates[250]
    assert "may have seen rows after the cutoff" in found[2].reason


def test_it_is_asked_for_what_it_may_answer(tmp_path):
    series = market(300)
    make_bolt(tmp_path, trained_until=str(series.dates[200].astype("datetime64[D]")))
    newest_first = tuple(series.dates[[299, 280, 240, 200, 199, 150]])
    config = ChronosConfig(model=str(tmp_path))
    assert config.asks(newest_first, FIVE) == newest_first[:4]
    few = replace(config, unrolled_cutoffs=2)
    assert few.asks(newest_first, Horizon(steps=17)) == newest_first[:3]
    assert few.asks(newest_first, Horizon(steps=16)) == newest_first[:4]
    old = replace(config, model="nothing/there")
    assert old.asks(newest_first, FIVE) == newest_first


def test_the_record_names_the_checkpoint_that_ran(bolt, week):
    series = market(200)
    (one,), (two,) = (answers(folder, series, [series.last]) for folder in (bolt, week))
    assert (one.member, one.identity.id, one.identity.revision) == ("chronos", "tests/bolt-tiny", "1")
    assert one.identity.digest != two.identity.digest


# What is refused


def damage(kind, folder):
    weights = folder / "model.safetensors"
    if kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "corrupt":
        content = bytearray(weights.read_bytes())
        content[-40] ^= 255
        weights.write_bytes(content)
    elif kind == "pickled":
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    else:
        (folder / "manifest.json").unlink()


@pytest.mark.parametrize("kind", ["truncated", "corrupt", "pickled", "without manifest"])
def test_a_damaged_checkpoint_is_a_recorded_failure(bolt, tmp_path, kind):
    folder = shutil.copytree(bolt, tmp_path / "copy")
    damage(kind, folder)
    with pytest.raises((StoreError, UnknownNameError)):
        answers(folder, market(200), [market(200).last])


def test_a_failing_child_says_why(bolt, tmp_path):
    folder = shutil.copytree(bolt, tmp_path / "copy")
    damage("corrupt", folder)
    series = market(200)
    task = Task(
        member="chronos", config=ChronosConfig(model=str(folder)), service="s", series=series,
        cutoffs=(series.last,), horizon=FIVE, levels=LEVELS,
    )  # fmt: skip
    (failure, _) = list(run_in_child(task))
    assert isinstance(failure, Failure)
    assert failure.code == "StoreError"
    assert "does not match its sha256" in failure.reason


def test_weights_that_leave_a_part_random_are_refused(bolt, tmp_path):
    """The library loads a Bolt without its patch embedding and says nothing."""
    from safetensors.numpy import load_file, save_file

    folder = shutil.copytree(bolt, tmp_path / "copy")
    weights = load_file(folder / "model.safetensors")
    kept = {name: array for name, array in weights.items() if not name.startswith("input_patch_embedding")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    from horizoncast.models.chronos.folder import write_manifest

    write_manifest(folder, name="x", revision="1", licence="mit", trained_until=None, created_by="tests")
    with pytest.raises(StoreError, match="weights are missing"):
        answers(folder, market(200), [market(200).last])


def test_a_pipeline_of_another_class_is_refused(bolt, tmp_path):
    """Regression: a Bolt that failed to load, replaced by a T5 model under its name."""
    folder = shutil.copytree(bolt, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    config["chronos_pipeline_class"] = "Chronos2Pipeline"
    (folder / "config.json").write_text(json.dumps(config))
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["config.json"] = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StoreError, match="which do not fit"):
        answers(folder, market(200), [market(200).last])


def test_memory_is_looked_at_before_loading(bolt, monkeypatch):
    manifest = get_pipeline(bolt).manifest
    release_pipeline()
    large = replace(manifest, parameters=205_000_000)
    assert needed_mb(large) > 1200
    check_memory(large, free=2000 * MIB)
    with pytest.raises(NotAdmittedError, match="does not fit in memory; got 900 MiB free"):
        check_memory(large, free=900 * MIB)
    monkeypatch.setattr(pipeline, "memory_available", lambda: 100 * MIB)
    monkeypatch.setattr(pipeline, "_load", lambda *_: pytest.fail("it was loaded all the same"))
    with pytest.raises(NotAdmittedError, match="100 MiB free"):
        answers(bolt, market(200), [market(200).last])


def test_a_childs_own_cap_counts(bolt, monkeypatch):
    manifest = get_pipeline(bolt).manifest
    release_pipeline()
    monkeypatch.setattr(pipeline, "memory_available", lambda: 64_000 * MIB)
    monkeypatch.setattr(pipeline, "data_left", lambda: 300 * MIB)
    with pytest.raises(NotAdmittedError, match="300 MiB free"):
        check_memory(manifest)


# The process


def test_one_pipeline_at_a_time(bolt, week):
    first = get_pipeline(bolt)
    assert get_pipeline(bolt) is first
    second = get_pipeline(week)
    assert [second] == pipeline._HELD
    release_pipeline()
    assert pipeline._HELD == []


def test_an_abandoned_forecast_releases_too(bolt):
    series = market(200)
    member = make_member("chronos", {"model": str(bolt)})
    stream = member.forecast(series, [series.last, series.dates[150]], FIVE, LEVELS)
    assert isinstance(next(stream), Forecast)
    assert pipeline._HELD
    stream.close()


def test_nothing_is_written_to_the_terminal(bolt, capfd):
    answers(bolt, market(200), [market(200).last], Horizon(steps=40))
    assert capfd.readouterr() == ("", "")


def test_the_global_random_state_of_torch_is_left_alone(bolt):
    import torch

    before = torch.random.get_rng_state()
    answers(bolt, market(200), [market(200).last])
    assert torch.equal(before, torch.random.get_rng_state())


def test_samples_mean_nothing_here(bolt):
    series = market(200)
    (one,), (two,) = (answers(bolt, series, [series.last], num_samples=n) for n in (1, 1000))
    assert np.array_equal(one.quantiles, two.quantiles)


def test_sharpened_answers_depend_on_every_value(tmp_path):
    """The helper must leave the network alive, or the tests above would prove nothing."""
    save_network(sharpen(bolt_network(context=48)), tmp_path)
    series = make_series(market(200).values)
    values = series.values.copy()
    (base,) = answers(tmp_path, series, [series.last])
    values[-30] *= 1.02
    (moved,) = answers(tmp_path, replace(series, values=values), [series.last])
    assert not np.allclose(base.quantiles, moved.quantiles, rtol=1e-7)
