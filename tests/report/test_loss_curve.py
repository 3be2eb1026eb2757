"""The loss curve in a run's folder: which training is told, and what of it."""

import json

import numpy as np

from horizoncast.report.loss_curve import newest_trainings, training_files
from horizoncast.store.checkpoints import Checkpoint, save_checkpoint

FACTS = {
    "member": "autoformer",
    "series": "demand",
    "service": "forecaster_7d",
    "steps": 7,
    "chosen": [50],
    "share": 0.8,
    "curves": [[[0, None, 0.3], [1, None, 0.27], [25, 0.29, 0.26], [50, 0.25, 0.24]]],
}


def keep(folder, key, until, **changes):
    checkpoint = Checkpoint(
        key=key,
        trained_until=np.datetime64(until, "s"),
        arrays={"w": np.zeros(2)},
        facts=FACTS | changes,
    )
    save_checkpoint(folder, checkpoint)


def newest(folder, cutoff="2024-06-30"):
    return newest_trainings(
        folder, series="demand", service="forecaster_7d", steps=7, cutoff=np.datetime64(cutoff, "s")
    )


def test_the_latest_training_before_the_cutoff_is_told(tmp_path):
    for key, until in (("a", "2023-01-01"), ("b", "2024-01-01"), ("c", "2025-01-01")):
        keep(tmp_path, key, until)
    assert [training.key for training in newest(tmp_path)] == ["b"]
    assert [training.key for training in newest(tmp_path, "2023-06-01")] == ["a"]
    assert newest(tmp_path, "2022-01-01") == []


def test_trainings_of_others_and_unfinished_or_damaged_ones_are_not(tmp_path):
    keep(tmp_path, "x", "2024-01-01", series="other")
    keep(tmp_path, "y", "2024-01-01", service="forecaster_30d")
    keep(tmp_path, "z", "2024-01-01", steps=30)
    save_checkpoint(
        tmp_path,
        Checkpoint(key="k-part0", trained_until=np.datetime64("2024-01-01"), arrays={}, facts={"step": 5}),
    )
    (tmp_path / "torn.json").write_text("{")
    assert newest(tmp_path) == []
    assert newest(tmp_path / "absent") == []


def test_files_tell_steps_and_losses_and_are_equal_for_equal_input(tmp_path):
    keep(tmp_path, "a", "2024-01-01")
    files = training_files(newest(tmp_path))
    assert sorted(files) == ["training_autoformer.json", "training_autoformer.png"]
    told = json.loads(files["training_autoformer.json"])
    assert told["chosen"] == [50]
    assert told["share"] == 0.8
    assert told["curves"][0][-1] == [50, 0.25, 0.24]
    assert told["trained_until"] == "2024-01-01"
    assert files["training_autoformer.png"].startswith(b"\x89PNG")
    assert files == training_files(newest(tmp_path))


def test_an_ensemble_is_drawn_too(tmp_path):
    curve = FACTS["curves"][0]
    keep(tmp_path, "a", "2024-01-01", curves=[curve, curve[:2]], chosen=[50, 1])
    assert training_files(newest(tmp_path))["training_autoformer.png"].startswith(b"\x89PNG")
