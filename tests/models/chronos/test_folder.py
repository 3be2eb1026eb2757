"""A model folder is read when it is whole, and refused when anything about it is wrong."""

import json
import shutil

import numpy as np
import pytest

from chronos_checkpoints import TEST_NAME, make_bolt, make_chronos2
from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.horizon import DECILES
from horizoncast.models.chronos import places
from horizoncast.models.chronos.folder import read_manifest, verify, write_manifest


@pytest.fixture(scope="module")
def bolt(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bolt"
    make_bolt(folder, trained_until="2024-11-26")
    return folder


@pytest.fixture
def copy(bolt, tmp_path):
    return shutil.copytree(bolt, tmp_path / "copy")


def edit(folder, **changes):
    values = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(values | changes))


def test_a_manifest_says_what_the_files_are(bolt):
    manifest = verify(bolt)
    assert manifest == read_manifest(bolt)
    assert (manifest.name, manifest.kind, manifest.licence) == (TEST_NAME, "bolt", "apache-2.0")
    assert (manifest.context_length, manifest.prediction_length) == (64, 16)
    assert manifest.quantiles == DECILES
    assert manifest.trained_until == np.datetime64("2024-11-26")
    assert sorted(manifest.files) == ["config.json", "model.safetensors"]
    assert len(manifest.digest) == 16


def test_parameters_are_those_of_the_network(bolt):
    from chronos import BaseChronosPipeline

    network = BaseChronosPipeline.from_pretrained(bolt).model
    assert read_manifest(bolt).parameters == sum(p.numel() for p in network.parameters())


def test_chronos2_is_read(tmp_path):
    manifest = make_chronos2(tmp_path)
    assert verify(tmp_path) == manifest
    assert (manifest.kind, manifest.prediction_length, manifest.trained_until) == ("chronos2", 16, None)


def test_prose_beside_the_weights_is_no_stranger(copy):
    (copy / "README.md").write_text("# card")
    (copy / "LICENSE").write_text("text")
    assert verify(copy)


@pytest.mark.parametrize(
    "name", ["pytorch_model.bin", "optimizer.pt", "x.PKL", "adapter_config.json", "code.py"]
)
def test_a_pickled_or_unlisted_file_is_refused(copy, name):
    (copy / name).write_bytes(b"x")
    with pytest.raises(StoreError, match=name):
        verify(copy)


def test_an_unlisted_folder_is_refused(copy):
    (copy / "adapter").mkdir()
    with pytest.raises(StoreError, match="adapter"):
        verify(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_one_changed_byte_is_refused(copy, name):
    content = bytearray((copy / name).read_bytes())
    content[-3] ^= 1
    (copy / name).write_bytes(content)
    with pytest.raises(StoreError, match=f"{name} does not match its sha256"):
        verify(copy)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "manifest.json"])
def test_a_missing_file_is_refused(copy, name):
    (copy / name).unlink()
    with pytest.raises(StoreError, match="there is none"):
        verify(copy)


def rewrite(folder):
    return write_manifest(
        folder, name="x", revision="1", licence="mit", trained_until=None, created_by="tests"
    )


@pytest.mark.parametrize("keep", [0, 6, 200, -1])
def test_torn_weights_get_no_manifest(copy, keep):
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:keep])
    with pytest.raises(StoreError, match="not a whole safetensors file"):
        rewrite(copy)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"architectures": ["T5ForConditionalGeneration"]}, "names T5ForConditionalGeneration"),
        ({"architectures": None}, "no config of Chronos"),
        ({"chronos_config": {}}, "no config of Chronos"),
        ({"auto_map": {"AutoModel": "evil.Model"}}, "code of the repository"),
    ],
)
def test_another_network_gets_no_manifest(copy, change, reason):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(StoreError, match=reason):
        rewrite(copy)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": 12},
        {"parameters": "many"},
        {"context_length": 128},
        {"quantiles": [0.1, 0.5, 0.9]},
        {"kind": "chronos2"},
        {"format": 2},
        {"files": {}},
        {"files": {"../config.json": "0"}},
        {"trained_until": "soon"},
        {"trained_until": "NaT"},
        {"unknown": 1},
        {"name": None},
    ],
)
def test_a_manifest_that_says_something_else_is_refused(copy, change):
    edit(copy, **change)
    with pytest.raises(StoreError, match=r"refused|not a whole"):
        verify(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"'])
def test_a_torn_manifest_is_refused(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(StoreError, match="refused"):
        read_manifest(copy)


def test_the_digest_follows_the_files(copy, bolt):
    before = read_manifest(bolt).digest
    (copy / "config.json").write_text((copy / "config.json").read_text() + "\n")
    assert rewrite(copy).digest != before


# Places


@pytest.fixture
def no_shipped(monkeypatch, tmp_path):
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "absent")


def test_a_model_is_found_by_name_by_path_and_by_default(bolt, tmp_path, no_shipped):
    models = tmp_path / "models"
    own = shutil.copytree(bolt, places.place_of(models, "me/own"))
    assert places.find_model("me/own", models) == own
    assert places.find_model(str(own), None) == own
    with pytest.raises(StoreError, match="models fetch amazon/chronos-bolt-small"):
        places.find_model("", models)
    preferred = shutil.copytree(bolt, places.place_of(models, places.PREFERRED))
    assert places.find_model("", models) == preferred


def test_an_unknown_model_is_told_with_what_there_is(bolt, tmp_path, no_shipped):
    shutil.copytree(bolt, tmp_path / "tests--bolt-tiny")
    with pytest.raises(UnknownNameError, match=r"did you mean tests/bolt-tiny\?"):
        places.find_model("tests/bolt-tyni", tmp_path)
    with pytest.raises(UnknownNameError, match="models fetch amazon/chronos-2"):
        places.find_model("amazon/chronos-2", tmp_path)


def test_the_shipped_model_runs_where_amazons_is_not(bolt, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SHIPPED", bolt)
    assert places.find_model("", tmp_path) == bolt
    assert places.find_model("", None) == bolt
    assert places.find_model(places.SHIPPED_NAME, tmp_path) == bolt
    assert list(places.read_all(tmp_path)) == [bolt]


def test_a_damaged_folder_is_listed_as_such(copy, no_shipped):
    (copy / "manifest.json").write_text("{")
    ((place, found),) = places.read_all(copy.parent).items()
    assert place == copy
    assert isinstance(found, StoreError)
