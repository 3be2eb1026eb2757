"""The components by their known names, in Python and on their own."""

import csv
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from chronos_checkpoints import make_bolt, make_chronos2, repeater, save_network
from horizoncast.errors import ConfigError, HistoryTooShortError, ModelError, StoreError, UnknownNameError
from horizoncast.forecast import Forecast
from horizoncast.horizon import LEVELS
from horizoncast.models.chronos import base, load, pipeline, places
from horizoncast.models.chronos.base import ChronosBaseModel
from horizoncast.models.chronos.folder import verify
from horizoncast.models.chronos.load import ChronosLoader
from horizoncast.models.chronos.names import (
    forecast_chronos,
    get_chronos_pipeline,
    release_chronos_pipeline,
)
from horizoncast.models.chronos.places import place_of
from horizoncast.models.chronos.settings import ChronosSettings
from support import market


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_bolt(folder / "bolt")
    save_network(repeater(period=6), folder / "week")
    make_chronos2(folder / "two")
    return folder


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "absent")
    for name in ("bolt", "week", "two"):
        shutil.copytree(made / name, tmp_path / "models" / name)
    return tmp_path


def settings(**changes):
    plain = ChronosSettings()
    asked = replace(plain.base, prediction_length=12, context_length=64)
    return replace(plain, base=asked, dummy=replace(plain.dummy, series=3, length=120, **changes))


# Base


def test_a_folder_from_elsewhere_becomes_a_model(made, root):
    model = ChronosBaseModel(root=root, repo="me/own")
    found = model.convert_to_native_format(made / "bolt", licence="mit", trained_until="2024-05-01")
    assert verify(found).name == "me/own"
    place = model.save_base_model()
    assert place == place_of(root / "models", "me/own")
    info = model.get_model_info()
    assert (info["licence"], info["kind"], info["folder"]) == ("mit", "bolt", str(place))
    assert str(info["trained_until"])[:10] == "2024-05-01"
    assert (made / "bolt" / "model.safetensors").exists()


def test_what_a_model_has_seen_must_be_said(made, root):
    model = ChronosBaseModel(root=root, repo="me/own")
    with pytest.raises(ConfigError, match="what me/own was trained on is not known"):
        model.convert_to_native_format(made / "bolt", licence="mit")
    model.convert_to_native_format(made / "bolt", licence="mit", trained_until="none")
    model.save_base_model()
    assert model.get_model_info()["trained_until"] is None
    amazon = ChronosBaseModel(root=root, repo="amazon/chronos-bolt-mini")
    amazon.convert_to_native_format(made / "bolt", licence="apache-2.0")
    amazon.save_base_model()
    assert str(amazon.get_model_info()["trained_until"])[:10] == "2024-11-26"


def test_a_folder_without_safetensors_is_no_model(root, tmp_path):
    model = ChronosBaseModel(root=root)
    with pytest.raises(StoreError, match="cannot copy"):
        model.convert_to_native_format(tmp_path / "nothing", licence="mit")
    with pytest.raises(ModelError, match="nothing has been converted"):
        model.save_base_model()
    with pytest.raises(UnknownNameError):
        model.get_model_info()


def test_base_runs_on_its_own(made, root, capsys, monkeypatch):
    words = ["--root", str(root), "--repo", "me/own"]
    assert base.main([*words, "--folder", str(made / "bolt")]) != 0
    assert "--trained-until" in capsys.readouterr().err
    assert base.main([*words, "--folder", str(made / "bolt"), "--trained-until", "none"]) == 0
    assert "name: me/own" in capsys.readouterr().out
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert base.main([*words, "--repo", "me/other"]) == StoreError.exit_code
    assert "cannot be reached" in capsys.readouterr().err


# Load


def test_a_model_is_loaded_asked_scored_and_released(root):
    wave = [10 + np.sin(2 * np.pi * (np.arange(150) + k) / 6) for k in range(9)]
    with ChronosLoader(settings(), root=root) as loader:
        assert loader.load_trained_model("week").name == "tests/bolt-tiny"
        said = loader.predict(wave[:2], 7)
        assert said.shape == (2, 7, len(LEVELS))
        assert (np.diff(said, axis=2) >= 0).all()
        expected = [10 + np.sin(2 * np.pi * (np.arange(150, 157) + k) / 6) for k in range(2)]
        assert np.allclose(said[:, :, 9], expected, atol=0.02)
        found = loader.evaluate_on_test_data(wave)
        assert (found.series, found.steps) == (9, 12)
        assert found.mae < 0.05 < found.mae_repeated
        assert found.wql < found.wql_repeated
        assert found.coverage_80 == 1.0
    assert not pipeline._HELD


def test_predictions_are_written_as_they_were_made(root):
    with ChronosLoader(settings(), root=root) as loader:
        loader.load_trained_model("bolt")
        said = loader.predict([market(100).values, market(80).values])
        place = loader.save_predictions()
    assert place == root / "output/chronos/load/predictions.csv"
    head, *rows = list(csv.reader(place.open()))
    assert head[:3] == ["series", "step", "q0.01"]
    assert len(rows) == 24
    assert np.array_equal([[float(cell) for cell in row[2:]] for row in rows[:12]], said[0])


def test_chronos2_is_asked_alike(root):
    with ChronosLoader(settings(), root=root) as loader:
        loader.load_trained_model("two")
        said = loader.predict([market(100).values], 20)
    assert said.shape == (1, 20, len(LEVELS))
    assert np.isfinite(said).all()


def test_steps_are_asked_for_in_order(root):
    loader = ChronosLoader(settings(), root=root)
    with pytest.raises(ModelError, match="no model is loaded"):
        loader.predict([np.ones(50)])
    with pytest.raises(ModelError, match="nothing has been predicted"):
        loader.save_predictions()
    with loader:
        loader.load_trained_model("bolt")
        with pytest.raises(ModelError, match="series 1"):
            loader.predict([np.ones(50), np.array([1.0, np.nan])])
        with pytest.raises(HistoryTooShortError, match="nothing to forecast from"):
            loader.evaluate_on_test_data([np.ones(12)])


def test_load_runs_on_its_own(root, capsys):
    assert load.main(["--root", str(root), "--model", "bolt"]) == 0
    out = capsys.readouterr().out
    assert "tests/bolt-tiny at 1: 8 dummy series, 48 steps" in out
    assert load.main(["--root", str(root), "--model", "tests/bolt-tyni"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_components_are_listed_without_torch():
    """`--help` of each part imports nothing heavy."""
    for part in ("base", "load"):
        code = (
            f"import sys; from horizoncast.models.chronos import {part}\n"
            f"try: {part}.main(['--help'])\n"
            "except SystemExit: pass\n"
            "assert not {'torch', 'chronos', 'transformers', 'huggingface_hub'} & set(sys.modules)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


# Thin names


def test_without_any_model_it_says_what_to_do(root):
    with pytest.raises(StoreError, match="no Chronos model is on disk"):
        forecast_chronos(market(200), "7d", models=root / "models")


def test_forecast_by_name(root, made):
    series = market(200)
    shutil.copytree(made / "bolt", place_of(root / "models", places.PREFERRED))
    (found,) = forecast_chronos(series, "7d", models=root / "models")
    assert isinstance(found, Forecast)
    assert found.steps == 7
    two = forecast_chronos(series, 5, cutoffs=series.dates[[-1, -30]], models=root / "models")
    assert [f.cutoff for f in two] == list(series.dates[[-1, -30]])
    assert not pipeline._HELD


def test_pipeline_by_name(root):
    import torch

    found = get_chronos_pipeline("bolt", models=root / "models")
    assert type(found).__name__ == "ChronosBoltPipeline"
    assert next(found.model.parameters()).dtype is torch.float32
    assert get_chronos_pipeline("bolt", models=root / "models") is found
    release_chronos_pipeline()
    assert not pipeline._HELD
