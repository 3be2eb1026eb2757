"""`models`: what people see of checkpoints on disk."""

import json
import shutil

import pytest
from typer.testing import CliRunner

from chronos_checkpoints import make_bolt, make_chronos2
from horizoncast.cli import app
from horizoncast.models.chronos import places
from horizoncast.models.chronos.places import place_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    make_bolt(folder / "a", name="amazon/chronos-bolt-small", trained_until="2024-11-26")
    make_chronos2(folder / "b", name="me/two")
    return folder


@pytest.fixture
def root(made, tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "absent")
    models = tmp_path / "models"
    shutil.copytree(made / "a", place_of(models, "amazon/chronos-bolt-small"))
    shutil.copytree(made / "b", place_of(models, "me/two"))
    return tmp_path


def run(root, *words):
    return CliRunner().invoke(app, ["models", *words, "--root", str(root)])


def test_list_names_each_and_marks_the_default(root):
    out = run(root, "list").stdout
    assert "amazon/chronos-bolt-small (default)" in out
    assert "2024-11-26" in out
    assert "me/two" in out
    assert "no real series" in out
    found = {item["name"]: item for item in json.loads(run(root, "list", "--json").stdout)}
    assert [found[name]["default"] for name in ("amazon/chronos-bolt-small", "me/two")] == [True, False]


def test_list_without_models_says_how_to_get_one(tmp_path, monkeypatch):
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "absent")
    assert "models fetch amazon/chronos-bolt-small" in run(tmp_path, "list").stdout


def test_show_is_the_manifest(root):
    out = run(root, "show", "me/two").stdout
    assert "chronos2" in out
    assert "apache-2.0" in out
    assert json.loads(run(root, "show", "me/two", "--json").stdout)["kind"] == "chronos2"
    assert run(root, "show", "me/three").exception is not None


def test_show_writes_scores_and_recipes_as_text_and_not_as_code(tmp_path):
    out = run(tmp_path, "show", "horizoncast-bolt-micro").stdout
    assert not set("{}[]'") & set(out)
    assert "bed ecb14" in out


def test_verify_finds_the_damaged_one(root):
    assert run(root, "verify").exit_code == 0
    weights = place_of(root / "models", "me/two") / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    found = run(root, "verify")
    assert found.exit_code == 7
    assert "does not match its sha256" in found.stdout
    assert run(root, "verify", "amazon/chronos-bolt-small").exit_code == 0
    by_folder = json.loads(run(root, "verify", "--json").stdout)
    assert [item["whole"] for item in by_folder] == [True, False]


def test_an_unreadable_manifest_is_listed(root):
    (place_of(root / "models", "me/two") / "manifest.json").write_text("{")
    assert "refused" in run(root, "list").stdout
    assert any("problem" in item for item in json.loads(run(root, "list", "--json").stdout))


def test_fetch_without_a_network_ends_with_seven(root, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    found = run(root, "fetch", "amazon/chronos-2", "--quiet")
    assert getattr(found.exception, "exit_code", None) == 7
    assert "cannot be reached" in str(found.exception)


def test_the_folder_is_a_setting(root):
    out = run(root, "list", "--set", "models.folder=elsewhere").stdout
    assert "me/two" not in out
