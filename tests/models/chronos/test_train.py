"""ChronosTrainer and its command."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.errors import ModelError, StoreError
from horizoncast.models.chronos.dummy import dummy_series
from horizoncast.models.chronos.folder import verify
from horizoncast.models.chronos.settings import (
    BaseSettings,
    ChronosSettings,
    DummySettings,
    TrainingSettings,
)
from horizoncast.models.chronos.train import ChronosTrainer, main

CONFIG = """
[base]
prediction_length = 8
context_length = 48
[training]
mode = "full"
learning_rate = 0.003
steps = 60
epochs = 50
stride = 4
check_every = 20
[dummy]
series = 3
length = 300
period = 8
"""


def test_dummy_series_are_the_sum_of_their_patterns() -> None:
    asked = DummySettings(series=2, length=400, period=10)
    whole = dummy_series(asked)
    parts = [dummy_series(replace(asked, patterns=(name,))) for name in ("trend", "seasonal", "noise")]
    for k in range(2):
        np.testing.assert_allclose(whole[k], sum(part[k] for part in parts) - 2 * 10.0)
    season, trend, noise = parts[1][0], parts[0][0], parts[2][0]
    np.testing.assert_allclose(season[10:], season[:-10])
    assert np.ptp(np.diff(trend)) < 1e-9 < np.diff(trend)[0]
    assert abs(np.std(noise) - 0.2) < 0.03
    assert not np.array_equal(whole[0], whole[1])


def test_windows_need_no_torch() -> None:
    settings = ChronosSettings(base=BaseSettings(context_length=32, prediction_length=6))
    split = ChronosTrainer(settings).prepare_training_data([np.arange(300.0)])
    assert (split.learn.contexts.shape[1], split.steps) == (32, 6)


def test_nothing_is_saved_before_a_training() -> None:
    with pytest.raises(ModelError, match="train_model first"):
        ChronosTrainer().save_trained_model()


def test_the_command_trains_judges_and_saves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt

    make_bolt(tmp_path / "base")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "chronos.toml").write_text(CONFIG)
    capsys.readouterr()
    assert main(["--root", str(tmp_path), "--base", str(tmp_path / "base")]) == 0
    out = capsys.readouterr()
    assert "kept" in out.out
    assert "step 60 of 60" in out.err
    assert "model shards" not in out.err
    assert "chronos.load --model tuned/dummy" in out.out
    manifest = verify(tmp_path / "models" / "tuned--dummy")
    assert manifest.trained_until is None
    assert (tmp_path / "output/chronos/train/loss.png").is_file()


def test_a_trained_model_is_evaluated_from_its_files(tmp_path: Path) -> None:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt

    make_bolt(tmp_path / "base")
    settings = ChronosSettings(
        base=BaseSettings(prediction_length=8, context_length=48),
        training=TrainingSettings(mode="full", learning_rate=3e-3, steps=60, epochs=50, check_every=20),
    )
    trainer = ChronosTrainer(settings, base=tmp_path / "base", root=tmp_path, name="tuned/mine")
    rng = np.random.default_rng(1)
    season = np.sin(2 * np.pi * np.arange(500) / 8) + 0.1 * rng.standard_normal(500)
    until = np.datetime64("2023-01-31", "s")
    trainer.prepare_training_data([season], trained_until=until)
    done = trainer.train_model()
    again = trainer.evaluate_model()
    assert done.verdict.kept
    assert again.tuned_loss == pytest.approx(done.verdict.tuned_loss, rel=1e-6)
    assert again.base_loss == pytest.approx(done.verdict.base_loss, rel=1e-6)
    assert verify(trainer.save_trained_model()).trained_until == until
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="exists"):
        trainer.save_trained_model(tmp_path / "there")


def test_a_base_that_is_not_there_ends_with_its_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--root", str(tmp_path), "--base", "nobody/nothing"]) == 2
    assert "nobody/nothing" in capsys.readouterr().err
