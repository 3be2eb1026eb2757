"""Kept weights: read back as written, refused when anything is wrong."""

import json

import numpy as np
import pytest

pytest.importorskip("safetensors")

from horizoncast.errors import StoreError
from horizoncast.store.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

UNTIL = np.datetime64("2024-05-03", "s")


@pytest.fixture
def kept(tmp_path):
    arrays = {"w": np.arange(6.0).reshape(2, 3), "b": np.array([np.inf, -1.5], dtype=np.float32)}
    save_checkpoint(tmp_path, Checkpoint(key="k", trained_until=UNTIL, arrays=arrays, facts={"a": [1, 2]}))
    return tmp_path, arrays


def test_it_comes_back_as_written(kept):
    folder, arrays = kept
    found = load_checkpoint(folder, "k")
    assert found is not None
    assert (found.key, found.trained_until, found.facts) == ("k", UNTIL, {"a": [1, 2]})
    for name, array in arrays.items():
        assert found.arrays[name].dtype == array.dtype
        assert np.array_equal(found.arrays[name], array)


def test_absent_is_none(tmp_path):
    assert load_checkpoint(tmp_path, "k") is None


def test_it_answers_only_cutoffs_it_has_not_seen_beyond(kept):
    found = load_checkpoint(kept[0], "k")
    assert found is not None
    found.check_cutoff(UNTIL)
    with pytest.raises(StoreError, match="later rows"):
        found.check_cutoff(UNTIL - np.timedelta64(1, "D"))


def test_a_changed_byte_is_refused(kept):
    path = kept[0] / "k.safetensors"
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))
    with pytest.raises(StoreError, match="digest"):
        load_checkpoint(kept[0], "k")


@pytest.mark.parametrize("text", ["", "{}", "[]", "not json", '{"format": 1}'])
def test_a_broken_manifest_is_refused(kept, text):
    (kept[0] / "k.json").write_text(text)
    with pytest.raises(StoreError):
        load_checkpoint(kept[0], "k")


@pytest.mark.parametrize(("field", "value"), [("format", 2), ("key", "other"), ("sha256", "0")])
def test_a_manifest_of_something_else_is_refused(kept, field, value):
    path = kept[0] / "k.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {field: value}))
    with pytest.raises(StoreError):
        load_checkpoint(kept[0], "k")


def test_missing_weights_are_refused(kept):
    (kept[0] / "k.safetensors").unlink()
    with pytest.raises(StoreError):
        load_checkpoint(kept[0], "k")


def test_a_pickle_in_its_place_is_refused(kept):
    import hashlib
    import pickle

    raw = pickle.dumps({"w": 1})
    (kept[0] / "k.safetensors").write_bytes(raw)
    path = kept[0] / "k.json"
    manifest = json.loads(path.read_text()) | {"sha256": hashlib.sha256(raw).hexdigest()}
    path.write_text(json.dumps(manifest))
    with pytest.raises(StoreError):
        load_checkpoint(kept[0], "k")
