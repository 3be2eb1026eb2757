"""Joint fine-tuning: kept where the fusion gains by it, dropped where not, and going on after a kill."""

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from horizoncast.errors import BankError, ConfigError, HistoryTooShortError
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.models.chronos.bolt_training import predict_quantiles
from horizoncast.models.chronos.folder import verify
from horizoncast.models.chronos.levels import at_levels
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import Job
from horizoncast.models.chronos.verdict import pinball
from horizoncast.models.hybrid.joint import Joint, _Stage, tune_jointly
from horizoncast.models.hybrid.joint_rows import Rows, parts_of
from horizoncast.models.registry import make_member
from support import make_series

torch = pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import bolt_network, make_bolt, make_chronos2, repeater, save_network  # noqa: E402

CONTEXT, STEPS = 48, 8
Z = ndtri(LEVELS)
UNTIL = np.datetime64("2017-09-08", "s")
"""Of row 699 on a business calendar that begins on 2015-01-05."""
FAST = TrainingSettings(
    mode="gradual", learning_rate=1e-2, decoder_rate=3e-3, encoder_rate=3e-3, steps=180, epochs=50,
    check_every=20, checkpoint_every=90, device="cpu",
)  # fmt: skip
SHORT = replace(FAST, steps=24, check_every=4, checkpoint_every=5)
LITTLE = 1e-5
"""A penalty for networks of a few thousand random weights, that have to move far to learn anything."""


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


def season(length: int = 700) -> np.ndarray:
    rng = np.random.default_rng(5)
    return 2 * np.sin(2 * np.pi * np.arange(length) / 8) + 0.2 * rng.standard_normal(length)


def climate(ends: np.ndarray, levels=LEVELS) -> np.ndarray:
    """A model that knows mean and spread of `season`, and nothing of its phase."""
    return np.broadcast_to(1.43 * ndtri(levels), (len(ends), STEPS, len(levels))).copy()


def walk(seed: int, length: int = 700) -> np.ndarray:
    return np.cumsum(np.random.default_rng(seed).standard_normal(length))


def true_walk(values: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """The model that knows all there is to know of a random walk."""
    return values[ends][:, None, None] + np.sqrt(np.arange(1, STEPS + 1))[None, :, None] * Z


def job_of(folder: Path, values: np.ndarray, **changes: object) -> Job:
    given = {
        "base": folder / "base",
        "name": "tuned/joint",
        "values": (values,),
        "trained_until": UNTIL,
        "context": CONTEXT,
        "steps": STEPS,
        "models": folder / "models",
        "output": folder / "out",
        "settings": FAST,
    }
    return Job(**(given | changes))


def ends_of(values: np.ndarray) -> np.ndarray:
    return np.arange(CONTEXT - 1, len(values))


def climate_rows(values: np.ndarray) -> Rows:
    ends = ends_of(values)
    return Rows(ends=ends, quantiles=climate(ends), levels=LEVELS)


@pytest.fixture(scope="module")
def kept(tmp_path_factory) -> tuple[Path, Joint]:
    folder = tmp_path_factory.mktemp("joint")
    save_network(noise_network(), folder / "base")
    values = season()
    return folder, tune_jointly(job_of(folder, values), climate_rows(values), penalty=LITTLE)


def test_a_pattern_the_checkpoint_does_not_know_is_learnt_and_kept(kept) -> None:
    folder, found = kept
    assert found.done.verdict.kept, found.done.verdict
    assert found.done.verdict.gain > 0.1
    manifest = verify(found.done.folder)
    assert manifest.trained_until == UNTIL
    assert manifest.revision == "1+joint"
    assert manifest.facts["joint"]["omega"] == list(found.omega)
    record = json.loads((folder / "out" / "joint.json").read_text())
    losses = record["joint"]["losses"]
    assert losses["joint"] < min(losses["fusion alone"], losses["stage before"])
    assert record["joint"]["drift"] > 0


def test_the_fusion_is_better_on_windows_that_nothing_saw(kept) -> None:
    """As the member answers, weighted by what was learnt: against an even share of the base."""
    folder, found = kept
    values = season(1000)
    series = make_series(values)
    rows = np.arange(720, 980, 13)
    actual = np.stack([values[row + 1 : row + 1 + STEPS] for row in rows])

    def fused_loss(place: Path, log_odds: np.ndarray) -> float:
        member = make_member("chronos", {"model": str(place), "context_length": CONTEXT})
        asked = [series.dates[row] for row in rows]
        found = member.forecast(series, asked, Horizon(steps=STEPS), LEVELS)
        chronos = np.stack([one.quantiles for one in found])
        weight = 1 / (1 + np.exp(-log_odds))[None, :, None]
        return float(pinball(weight * chronos + (1 - weight) * climate(rows), actual, LEVELS).mean())

    after, before = (
        fused_loss(found.done.folder, found.log_odds(STEPS)),
        fused_loss(folder / "base", np.zeros(STEPS)),
    )
    assert after < 0.9 * before


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_random_walk_teaches_nothing_and_is_dropped(tmp_path: Path, seed: int) -> None:
    save_network(repeater(period=1, context=CONTEXT), tmp_path / "base")
    values = walk(seed)
    ends = ends_of(values)
    rows = Rows(ends=ends, quantiles=true_walk(values, ends), levels=LEVELS)
    settings = replace(FAST, steps=60, seed=seed)
    found = tune_jointly(job_of(tmp_path, values, settings=settings), rows)
    assert not found.done.verdict.kept, found.done.verdict
    assert found.omega == (0.0, 0.0)
    assert found.done.folder is None
    assert not (tmp_path / "models").exists()
    assert json.loads(found.done.record.read_text())["verdict"]["kept"] is False


def test_where_nothing_moves_the_stage_before_stands(tmp_path: Path) -> None:
    save_network(noise_network(), tmp_path / "base")
    values = season()
    still = replace(SHORT, learning_rate=0.0, decoder_rate=0.0, encoder_rate=0.0)
    found = tune_jointly(job_of(tmp_path, values, settings=still), climate_rows(values), fusion_rate=0.0)
    assert not found.done.verdict.kept
    assert "no step" in found.done.verdict.reason
    assert found.log_odds(3).tolist() == [0.0, 0.0, 0.0]


class KilledError(Exception):
    """Stands for a kill: the training ends between two steps."""


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    save_network(noise_network(), tmp_path / "base")
    values = season()
    whole = job_of(tmp_path, values, settings=SHORT, output=tmp_path / "whole")
    torn = replace(whole, output=tmp_path / "torn")

    def killed(step: int, _steps: int, _loss: float) -> None:
        if step == 18:
            raise KilledError

    straight = tune_jointly(whole, climate_rows(values), penalty=LITTLE)
    with pytest.raises(KilledError):
        tune_jointly(torn, climate_rows(values), penalty=LITTLE, progress=killed)
    resumed = tune_jointly(torn, climate_rows(values), penalty=LITTLE)
    assert resumed.done.tuned.resumed_at == 15
    assert straight.done.tuned.chosen == resumed.done.tuned.chosen > 15
    first, second = (json.loads(one.done.record.read_text()) for one in (straight, resumed))
    assert first["joint"] == second["joint"]
    assert first["losses"] == second["losses"]
    assert not list((tmp_path / "torn" / "states").iterdir())


def test_the_penalty_keeps_the_weights_where_they_were(tmp_path: Path) -> None:
    save_network(noise_network(), tmp_path / "base")
    values = season()
    drifts = []
    for penalty in (0.0, 1.0):
        job = job_of(tmp_path, values, settings=replace(SHORT, steps=30))
        found = tune_jointly(job, climate_rows(values), penalty=penalty)
        drifts.append(json.loads(found.done.record.read_text())["joint"]["drift"])
    assert drifts[0] > 3 * drifts[1] > 0


# What is computed


def stage_of(folder: Path, rows: Rows, values: np.ndarray) -> _Stage:
    loaded = get_pipeline(folder / "base")
    job = job_of(folder, values)
    return _Stage(job, loaded, parts_of(job, rows, CONTEXT), rows.levels, penalty=0.0, rate=0.01)


@pytest.mark.parametrize("log_odds", [30.0, -30.0])
def test_the_fusion_before_is_where_it_begins(tmp_path: Path, log_odds: float) -> None:
    """All the weight on one side is that side: Bolt's own rows, or the other model's."""
    make_bolt(tmp_path / "base", context=CONTEXT)
    values = season(300)
    ends = ends_of(values)
    odds = np.full((len(ends), STEPS), log_odds)
    stage = stage_of(tmp_path, Rows(ends=ends, quantiles=climate(ends), levels=LEVELS, log_odds=odds), values)
    part = stage.parts[2]
    own = np.sort(predict_quantiles(stage.network, part.windows), axis=2)
    expected = at_levels(own, DECILES, LEVELS)[0] if log_odds > 0 else climate(part.windows.ends)
    with torch.no_grad():
        fused = part.windows.restored(stage._fused(stage._answers(part), part).double().numpy())
    release_pipeline()
    assert np.allclose(fused, expected, atol=1e-4)


def test_later_parts_have_no_outcome_in_earlier_ones_and_nothing_beyond_the_end(tmp_path: Path) -> None:
    values = season(300)
    shuffled = np.random.default_rng(0).permutation(np.arange(0, 300, 2))
    rows = Rows(ends=shuffled, quantiles=climate(shuffled), levels=LEVELS)
    parts = parts_of(job_of(tmp_path, values), rows, CONTEXT)
    for before, after in pairwise(parts):
        assert before.windows.ends.max() + STEPS < after.windows.ends.min() + 1
    assert parts[2].windows.ends.max() + STEPS < 300
    assert parts[0].windows.ends.min() >= 15
    for part in parts:
        scaled = part.windows.restored(part.other.astype(np.float64))
        assert np.allclose(scaled, climate(part.windows.ends), atol=1e-5)
        assert np.allclose(part.windows.targets[:, 0], values[part.windows.ends + 1])


# What is refused


def test_what_cannot_be_tuned_jointly_is_refused(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base", context=CONTEXT)
    make_chronos2(tmp_path / "two")
    values = season(300)
    rows, job = climate_rows(values), job_of(tmp_path, values)
    few = replace(rows, ends=rows.ends[:9], quantiles=rows.quantiles[:9])
    refused = [
        (replace(job, settings=replace(FAST, mode="full")), rows, ConfigError, "gradual"),
        (replace(job, base=tmp_path / "two"), rows, ConfigError, "Chronos-Bolt"),
        (replace(job, steps=17), rows, ConfigError, "at most 16"),
        (replace(job, steps=7), rows, BankError, "do not fit"),
        (replace(job, values=(values, values)), rows, BankError, "do not fit"),
        (job, replace(rows, ends=np.zeros_like(rows.ends)), BankError, "once"),
        (job, replace(rows, quantiles=rows.quantiles * np.nan), BankError, "not finite"),
        (job, few, HistoryTooShortError, "matured"),
    ]
    for one, given, kind, words in refused:
        with pytest.raises(kind, match=words):
            tune_jointly(one, given)
    with pytest.raises(ConfigError, match="at least 0"):
        tune_jointly(job, rows, penalty=-1.0)
    assert not (tmp_path / "out").exists()
