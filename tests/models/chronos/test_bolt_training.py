"""Fine-tuning of a small Bolt: what moves, what is kept, and going on after a kill."""

import copy
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtri

from horizoncast.models.chronos.bolt_training import levels_of, predict_quantiles, tune_bolt
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.unfreezing import group_of, groups_of, planned_steps, rate_at
from horizoncast.models.chronos.verdict import Verdict, blocks_of, judge, window_losses
from horizoncast.models.chronos.windows import Split, split_windows

torch = pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import bolt_network, sharpen  # noqa: E402

CONTEXT, STEPS = 48, 8
FAST = TrainingSettings(
    mode="full", learning_rate=3e-3, steps=120, epochs=50, batch_size=32, check_every=20, checkpoint_every=10
)


def walks(count: int, length: int, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return list(np.cumsum(rng.standard_normal((count, length)), axis=1))


def split_of(values: list[np.ndarray], settings: TrainingSettings = FAST) -> Split:
    return split_windows(values, context=CONTEXT, steps=STEPS, settings=settings)


@pytest.fixture(scope="module")
def base():
    """A small Bolt that is right about white noise: the context's mean and the normal quantiles."""
    network = bolt_network(context=CONTEXT, steps=STEPS)
    head = network.output_patch_embedding
    levels = torch.tensor(ndtri(levels_of(network)), dtype=torch.float32)
    with torch.no_grad():
        for layer in (head.output_layer, head.residual_layer):
            layer.weight.zero_()
            layer.bias.zero_()
        head.output_layer.bias.copy_(levels.repeat_interleave(STEPS))
    return network


def verdict_on(base, split: Split, settings: TrainingSettings) -> tuple[Verdict, int]:
    tuned = tune_bolt(copy.deepcopy(base), split, settings)
    before, after = (
        window_losses(predict_quantiles(network, split.test), split.test, levels_of(network))
        for network in (base, tuned.network)
    )
    return judge(before, after, blocks_of(split.test), min_gain=settings.min_gain), tuned.chosen


def test_a_planted_season_is_learnt_and_kept(base) -> None:
    rng = np.random.default_rng(5)
    season = 2 * np.sin(2 * np.pi * np.arange(700) / 8) + 0.2 * rng.standard_normal(700)
    verdict, chosen = verdict_on(base, split_of([season]), FAST)
    assert verdict.kept
    assert verdict.gain > 0.3
    assert verdict.p_value < 0.001
    assert chosen > 0


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_noise_teaches_nothing_and_is_dropped(base, seed: int) -> None:
    """The base knows all there is to know of white noise: whatever the windows suggest is chance."""
    noise = np.random.default_rng(seed).standard_normal(700)
    verdict, _ = verdict_on(base, split_of([noise]), replace(FAST, steps=60, seed=seed))
    assert not verdict.kept
    assert verdict.gain < 0.01


def test_only_the_head_moves_in_mode_head(base) -> None:
    settings = replace(FAST, mode="head", steps=4)
    tuned = tune_bolt(copy.deepcopy(base), split_of(walks(2, 300, 9)), replace(settings, check_every=1))
    moved = {
        name.split(".")[0]
        for (name, before), after in zip(base.named_parameters(), tuned.network.parameters(), strict=True)
        if not torch.equal(before, after)
    }
    assert tuned.chosen == 0 or moved == {"output_patch_embedding"}
    assert moved <= {"output_patch_embedding"}


def test_gradual_unfreezing_moves_deeper_parts_later() -> None:
    network = sharpen(bolt_network(context=CONTEXT, steps=STEPS, layers=3))
    before = {name: value.clone() for name, value in network.named_parameters()}
    settings = replace(FAST, mode="gradual", steps=9, check_every=1, encoder_blocks=1, patience=50)
    moved: dict[int, set[str]] = {}

    def watch(step: int, _steps: int, _loss: float) -> None:
        moved[step] = {
            group_of(name, encoder_layers=3, encoder_blocks=1)
            for name, value in network.named_parameters()
            if not torch.equal(before[name], value)
        }

    tune_bolt(network, split_of(walks(3, 300, 4)), settings, progress=watch)
    assert moved[3] == {"head"}
    assert moved[6] == {"head", "decoder"}
    assert moved[9] == {"head", "decoder", "encoder"}


class KilledError(Exception):
    """Stands for a kill: the training ends between two steps."""


def killed_at(last: int) -> Callable[[int, int, float], None]:
    def progress(step: int, _steps: int, _loss: float) -> None:
        if step == last:
            raise KilledError

    return progress


@pytest.mark.parametrize("mode", ["full", "gradual"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_killed_training_goes_on_to_the_same_weights(tmp_path: Path, mode: str, damaged: bool) -> None:
    split = split_of(walks(3, 200, 7))
    settings = replace(
        FAST,
        mode=mode,
        steps=24,
        patience=50,
        check_every=6,
        checkpoint_every=6,
        decoder_rate=1e-3,
        encoder_rate=1e-3,
    )
    fresh = sharpen(bolt_network(context=CONTEXT, steps=STEPS))
    whole = tune_bolt(copy.deepcopy(fresh), split, settings)
    assert whole.resumed_at is None

    with pytest.raises(KilledError):
        tune_bolt(copy.deepcopy(fresh), split, settings, states=tmp_path, key="k", progress=killed_at(20))
    if damaged:  # the newest state is torn: the one before it is taken
        newest = max(tmp_path.glob("*.json"), key=lambda p: '"step": 18' in p.read_text())
        newest.with_suffix(".safetensors").write_bytes(b"torn")
    resumed = tune_bolt(copy.deepcopy(fresh), split, settings, states=tmp_path, key="k")

    assert resumed.resumed_at == (12 if damaged else 18)
    assert repr(resumed.looks) == repr(whole.looks)
    for (name, one), other in zip(
        whole.network.named_parameters(), resumed.network.parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    assert list(tmp_path.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import numpy as np
from chronos_checkpoints import bolt_network, sharpen
from horizoncast.models.chronos.bolt_training import tune_bolt
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.windows import split_windows

settings = TrainingSettings(**eval(sys.argv[3]))
walks = list(np.cumsum(np.random.default_rng(7).standard_normal((3, 200)), axis=1))
split = split_windows(walks, context=48, steps=8, settings=settings)

def progress(step, steps, loss):
    if step == 15:
        os.kill(os.getpid(), signal.SIGKILL)

network = sharpen(bolt_network(context=48, steps=8))
tune_bolt(network, split, settings, states=Path(sys.argv[2]), key="k", progress=progress)
"""


def test_a_process_that_was_killed_is_taken_up_by_another_one(tmp_path: Path) -> None:
    settings = replace(FAST, steps=20, patience=50, check_every=6, checkpoint_every=6)
    tests = str(Path(__file__).resolve().parents[2])
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, tests, str(tmp_path), repr(asdict(settings))], check=False, timeout=600
    )
    assert killed.returncode == -signal.SIGKILL
    split = split_of(walks(3, 200, 7))
    fresh = sharpen(bolt_network(context=CONTEXT, steps=STEPS))
    whole = tune_bolt(copy.deepcopy(fresh), split, settings)
    resumed = tune_bolt(copy.deepcopy(fresh), split, settings, states=tmp_path, key="k")
    assert resumed.resumed_at == 12
    for (name, one), other in zip(
        whole.network.named_parameters(), resumed.network.parameters(), strict=True
    ):
        assert torch.equal(one, other), name


def test_a_state_of_another_training_is_left_alone(tmp_path: Path) -> None:
    split, settings = split_of(walks(3, 200, 7)), replace(FAST, steps=20)
    fresh = sharpen(bolt_network(context=CONTEXT, steps=STEPS))
    with pytest.raises(KilledError):
        tune_bolt(copy.deepcopy(fresh), split, settings, states=tmp_path, key="one", progress=killed_at(12))
    other = tune_bolt(copy.deepcopy(fresh), split, settings, states=tmp_path, key="two")
    assert other.resumed_at is None
    assert [p for p in tmp_path.iterdir() if p.name.startswith("one")]


def test_training_stops_early_when_nothing_is_gained(base) -> None:
    settings = replace(FAST, learning_rate=0.0, steps=100, check_every=5, patience=2)
    tuned = tune_bolt(copy.deepcopy(base), split_of(walks(2, 300, 3)), settings)
    assert tuned.chosen == 0
    assert tuned.looks[-1].step == 10


def test_the_global_random_state_is_left_alone(base) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    tune_bolt(copy.deepcopy(base), split_of(walks(2, 300, 3)), replace(FAST, steps=2))
    assert torch.equal(torch.rand(3), expected)


def test_plans() -> None:
    settings = TrainingSettings(mode="gradual", epochs=2, batch_size=10, steps=500)
    assert planned_steps(settings, 95) == 20
    assert planned_steps(settings, 10_000) == 500
    groups = groups_of(settings, 300)
    assert [(g.name, g.rate, g.start) for g in groups] == [
        ("head", 1e-5, 0), ("decoder", 3e-6, 100), ("encoder", 1e-6, 200)
    ]  # fmt: skip
    assert rate_at(groups[1], 99, 300, 0.1) == 0.0
    assert max(rate_at(groups[1], step, 300, 0.1) for step in range(300)) == pytest.approx(3e-6)
    assert 0 < rate_at(groups[1], 299, 300, 0.1) < 3e-8
