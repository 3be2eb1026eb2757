"""A training that is killed goes on where it was, bit for bit; devices; progress."""

import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from horizoncast.errors import ModelError  # noqa: E402
from horizoncast.horizon import LEVELS, Horizon  # noqa: E402
from horizoncast.models.autoformer.artefacts import KeptDescents  # noqa: E402
from horizoncast.models.autoformer.blocks import Dropout  # noqa: E402
from horizoncast.models.autoformer.config import AutoformerConfig  # noqa: E402
from horizoncast.models.autoformer.descent import Descent, chosen_device, learning_rate  # noqa: E402
from horizoncast.models.autoformer.member import Autoformer  # noqa: E402
from horizoncast.models.autoformer.trained import answer  # noqa: E402
from horizoncast.models.progress import TrainingStep, listening  # noqa: E402
from support import weekly_season  # noqa: E402

SMALL = AutoformerConfig(
    context=16, label=4, d_model=8, feed_forward=16, kernel=5, steps=30, check_every=5, origins=100,
    batch=16, patience=9, warm=False, learning_rate=0.01,
)  # fmt: skip
SEVEN = Horizon(steps=7)
LENGTH = 300


def quantiles(config: AutoformerConfig) -> np.ndarray:
    series = weekly_season(LENGTH, noise=1.0)
    (found,) = Autoformer(config, service="test").forecast(series, [series.last], SEVEN, LEVELS)
    return found.quantiles


KILLED = """
import os, signal, sys
sys.path.insert(0, sys.argv[2])
from dataclasses import replace
from horizoncast.models.autoformer.artefacts import KeptDescents
from test_descent import SMALL, quantiles

write, count = KeptDescents.write, [0]

def dying(self, place, halfway):
    write(self, place, halfway)
    count[0] += 1
    if count[0] == 3:
        os.kill(os.getpid(), signal.SIGKILL)

KeptDescents.write = dying
quantiles(replace(SMALL, checkpoints=sys.argv[1]))
"""


def watched(monkeypatch) -> list[int]:
    """Steps taken from now on."""
    taken: list[int] = []
    descend = Descent._descend
    monkeypatch.setattr(
        Descent, "_descend", lambda self, step, *more: (taken.append(step), descend(self, step, *more))[1]
    )
    return taken


def test_a_killed_training_goes_on_and_ends_bit_for_bit_alike(tmp_path, monkeypatch):
    here = str(Path(__file__).parent)
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([here, *sys.path])}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), here], env=environ, check=False, timeout=300
    )
    assert done.returncode == -signal.SIGKILL
    assert {p.suffix for p in tmp_path.glob("*-part*")} == {".json", ".safetensors"}
    taken = watched(monkeypatch)
    resumed = quantiles(replace(SMALL, checkpoints=str(tmp_path)))
    assert taken == list(range(16, 31))  # the third look was kept
    assert np.array_equal(resumed, quantiles(SMALL))
    assert not list(tmp_path.glob("*-part*"))
    assert len(list(tmp_path.glob("*.safetensors"))) == 1


def test_an_interrupted_ensemble_keeps_the_networks_that_were_done(tmp_path, monkeypatch):
    config = replace(SMALL, uncertainty="ensemble", seeds=2)
    write = KeptDescents.write

    def interrupted(self, place, halfway):
        write(self, place, halfway)
        if (place, halfway.step) == (1, 10):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(KeptDescents, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            quantiles(replace(config, checkpoints=str(tmp_path)))
    taken = watched(monkeypatch)
    resumed = quantiles(replace(config, checkpoints=str(tmp_path)))
    assert taken == list(range(11, 31))
    assert np.array_equal(resumed, quantiles(config))


def test_a_half_written_state_costs_its_steps_and_nothing_else(tmp_path):
    kept = KeptDescents(tmp_path, "key", np.datetime64("2020-01-01"))
    assert kept.read(0) is None
    (tmp_path / "key-part0.json").write_text("{")
    assert kept.read(0) is None


def test_the_rate_rises_and_falls():
    rates = [learning_rate(step, 100, 0.5) for step in range(1, 101)]
    top = int(np.argmax(rates))
    assert rates[top] == 0.5
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert math.isclose(rates[-1], 0.005)


# Devices


def test_an_accelerator_is_taken_where_there_is_one(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert [chosen_device(name).type for name in ("auto", "cuda", "cpu")] == ["cuda", "cuda", "cpu"]


def test_an_accelerator_that_is_not_there_is_refused_in_words(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert chosen_device("auto").type == "cpu"
    with pytest.raises(ModelError, match="no accelerator"):
        chosen_device("cuda")


def network_answer(config: AutoformerConfig) -> np.ndarray:
    """(1, H, Q) of the network itself, in units of the naive's spread."""
    series = weekly_season(LENGTH, noise=1.0)
    member, history = Autoformer(config, service="test"), series.until(series.last)
    state = member.fit(history, SEVEN)
    assert state.trained.chosen[0] > 1
    return answer(state.trained, member.inputs(state, history, SEVEN)).quantiles


def test_devices_answer_alike_within_tolerance(monkeypatch):
    """Every device there is; and arithmetic that rounds otherwise, as another device's does."""
    base = network_answer(replace(SMALL, device="cpu"))
    for name in ("auto", *(["cuda"] if torch.cuda.is_available() else [])):
        assert np.abs(network_answer(replace(SMALL, device=name)) - base).max() < 0.02
    plain = torch.nn.functional.gelu
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: plain(x.double()).to(x.dtype) * (1 + 1e-7))
    rounded = network_answer(replace(SMALL, device="cpu"))
    assert 0 < np.abs(rounded - base).max() < 0.02


def test_masks_of_dropout_do_not_depend_on_the_device():
    layer = Dropout(0.25)
    torch.manual_seed(1)
    here = layer(torch.ones(40, 50))
    torch.manual_seed(1)
    kept = torch.rand(40, 50) >= 0.25
    assert torch.equal(here > 0, kept)
    assert here.mean().item() == pytest.approx(1.0, abs=0.05)
    assert torch.equal(layer.eval()(torch.ones(3)), torch.ones(3))


# Progress


def test_training_is_heard_of():
    heard: list[TrainingStep] = []
    with listening(heard.append):
        quantiles(SMALL)
    done = [step.done for step in heard]
    assert done == sorted(done)
    assert done[0] == 5
    assert {(step.name, step.total) for step in heard} == {("autoformer training", 30)}
    assert done[-1] == 30
    quantiles(SMALL)
    assert len(heard) == len(done)
