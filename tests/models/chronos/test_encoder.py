"""Vectors of windows: pooling against the library's own states, invariances, the declared alternative."""

from pathlib import Path

import numpy as np
import pytest

from horizoncast.errors import ConfigError
from horizoncast.models.chronos.encoder import (
    STATISTICS,
    ChronosEncoder,
    EmbeddingFlag,
    downsample,
    statistical_features,
)
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline


@pytest.fixture(scope="module", params=["bolt", "chronos2"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("chronos")
    from chronos_checkpoints import make_bolt, make_chronos2

    place = tmp_path_factory.mktemp(request.param)
    (make_bolt if request.param == "bolt" else make_chronos2)(place)
    yield place
    release_pipeline()


def windows(count: int = 5, length: int = 40, channels: int | None = None) -> np.ndarray:
    shape = (count, length) if channels is None else (count, length, channels)
    return np.random.default_rng(1).standard_normal(shape)


def test_pooling_is_that_of_the_librarys_states(folder: Path) -> None:
    import torch

    rows = windows()
    pipeline = get_pipeline(folder).pipeline
    given = torch.from_numpy(rows).float()
    if type(pipeline).__name__ == "ChronosBoltPipeline":
        states = pipeline.embed(given)[0]
    else:
        states = torch.cat(pipeline.embed(given[:, None, :])[0])
    patches = 40 // 8
    expected = {
        "mean": states[:, :patches].mean(dim=1),
        "last": states[:, patches - 1],
        "reg": states[:, patches],
    }
    for pooling, vectors in expected.items():
        found = ChronosEncoder(folder, pooling=pooling).embed(rows)
        np.testing.assert_allclose(found.vectors, vectors.numpy(), rtol=1e-5, atol=1e-6)
        assert (found.pooling, found.flags) == (pooling, ())
        assert found.source.startswith("tests/")


def test_vectors_know_shapes_not_levels(folder: Path) -> None:
    encoder = ChronosEncoder(folder)
    plain, moved = encoder.embed(windows()), encoder.embed(1000.0 + 50.0 * windows())
    np.testing.assert_allclose(plain.vectors, moved.vectors, atol=2e-3)
    np.testing.assert_allclose(plain.vectors, encoder.embed(1e6 + 1e-3 * windows()).vectors, atol=2e-3)
    assert not np.allclose(plain.vectors[0], plain.vectors[1], atol=1e-2)


def test_a_window_does_not_depend_on_its_neighbours(folder: Path) -> None:
    encoder, rows = ChronosEncoder(folder), windows(130)
    np.testing.assert_allclose(
        encoder.embed(rows).vectors[100], encoder.embed(rows[100:101]).vectors[0], atol=1e-5
    )


def test_channels_are_joined(folder: Path) -> None:
    encoder, cube = ChronosEncoder(folder), windows(channels=3)
    joined = encoder.embed(cube).vectors
    assert joined.shape == (5, 3 * encoder.embed(cube[:, :, 0]).vectors.shape[1])
    kind = get_pipeline(folder).manifest.kind
    alone = encoder.embed(cube[:, :, 0]).vectors
    together = np.allclose(joined[:, : alone.shape[1]], alone, atol=1e-5)
    assert together == (kind == "bolt"), "Chronos-2 lets channels see each other, Bolt does not"


def test_missing_values_are_left_out_and_long_windows_cut(folder: Path) -> None:
    encoder, rows = ChronosEncoder(folder), windows(2, 40)
    padded = np.concatenate([np.full((2, 16), np.nan), rows], axis=1)
    if get_pipeline(folder).manifest.kind == "bolt":
        np.testing.assert_allclose(encoder.embed(padded).vectors, encoder.embed(rows).vectors, atol=1e-5)
    long = encoder.embed(windows(2, 100))
    assert EmbeddingFlag.TRUNCATED in long.flags
    np.testing.assert_allclose(long.vectors, encoder.embed(windows(2, 100)[:, -64:]).vectors, atol=1e-5)


def test_a_constant_channel_is_flagged(folder: Path) -> None:
    rows = windows(3)
    rows[1] = 7.0
    found = ChronosEncoder(folder).embed(rows)
    assert found.flags == (EmbeddingFlag.CONSTANT,)
    assert np.isfinite(found.vectors).all()


def test_reg_needs_the_token(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_pipeline(folder).pipeline.model.chronos_config, "use_reg_token", False)
    with pytest.raises(ConfigError, match="REG"):
        ChronosEncoder(folder, pooling="reg").embed(windows())


def test_unknown_pooling_and_shapes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="mean, last, reg"):
        ChronosEncoder(tmp_path, pooling="max")
    with pytest.raises(ConfigError, match="shape"):
        statistical_features(np.zeros(5))


def test_the_seventy_features_by_hand() -> None:
    cube = windows(3, 100, 5)
    found = statistical_features(cube)
    assert found.vectors.shape == (3, STATISTICS) == (3, 70)
    assert found.flags == (EmbeddingFlag.STATISTICAL,)
    for c in range(5):
        channel = cube[1, :, c]
        wanted = [channel.mean(), channel.std(), channel.max(), channel.min()]
        np.testing.assert_allclose(found.vectors[1, 4 * c : 4 * c + 4], wanted)
    np.testing.assert_allclose(found.vectors[1, 20:], cube[1, :, 0].reshape(50, 2).mean(axis=1))


def test_fewer_channels_are_zero_and_more_are_refused() -> None:
    found = statistical_features(windows(2, 60, 2)).vectors
    assert (found[:, 8:20] == 0).all()
    assert (found[:, :8] != 0).all()
    with pytest.raises(ConfigError, match="at most 5"):
        statistical_features(windows(2, 60, 6))


@pytest.mark.parametrize("length", [7, 50, 73, 400])
def test_downsampling_keeps_the_mean(length: int) -> None:
    values = np.random.default_rng(2).standard_normal(length)
    assert downsample(values, 50).mean() == pytest.approx(values.mean())
    values[3] = np.nan
    assert np.isfinite(downsample(values, 50)).all()
    assert (downsample(np.full(9, np.nan), 50) == 0).all()
