"""A job from base to verdict: what is written, what is kept, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import CalendarKind
from horizoncast.errors import ConfigError, HistoryTooShortError, NotAdmittedError, NotInstalledError
from horizoncast.models.chronos import chronos2_training, finetuning
from horizoncast.models.chronos.answering import usual_of
from horizoncast.models.chronos.bolt_training import training_mb
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.finetuning import device_of, fine_tune
from horizoncast.models.chronos.folder import verify
from horizoncast.models.chronos.pipeline import get_pipeline, release_pipeline
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.tuning_job import Job
from support import make_series

torch = pytest.importorskip("torch")
pytest.importorskip("chronos")
from chronos_checkpoints import bolt_network, make_bolt, make_chronos2  # noqa: E402

FAST = TrainingSettings(
    mode="full", learning_rate=3e-3, steps=80, epochs=50, check_every=20, checkpoint_every=40, device="cpu"
)
UNTIL = np.datetime64("2024-06-28", "s")


def season(length: int = 600) -> np.ndarray:
    rng = np.random.default_rng(5)
    return 2 * np.sin(2 * np.pi * np.arange(length) / 8) + 0.2 * rng.standard_normal(length)


def job_of(folder: Path, **changes: object) -> Job:
    given = {
        "base": folder / "base",
        "name": "tuned/test-8d",
        "values": (season(),),
        "trained_until": UNTIL,
        "context": 48,
        "steps": 8,
        "models": folder / "models",
        "output": folder / "out",
        "settings": FAST,
        "facts": {"series": "test", "unit": "u", "scale": "level"},
    }
    return Job(**(given | changes))


def test_a_kept_model_is_a_folder_that_loads_and_knows_what_it_has_seen(tmp_path: Path) -> None:
    base = make_bolt(tmp_path / "base")
    done = fine_tune(job_of(tmp_path))
    assert done.verdict.kept
    assert done.folder == tmp_path / "models" / "tuned--test-8d"
    manifest = verify(done.folder)
    assert manifest.name == "tuned/test-8d"
    assert manifest.trained_until == UNTIL
    assert manifest.facts["base"]["digest"] == base.digest
    assert manifest.digest != base.digest
    assert get_pipeline(done.folder).manifest == manifest
    release_pipeline()
    record = json.loads(done.record.read_text())
    assert record["verdict"]["kept"] is True
    assert record["model"]["digest"] == manifest.digest
    assert record["steps"]["chosen"] == done.tuned.chosen > 0
    assert done.plot.read_bytes().startswith(b"\x89PNG")
    assert list((tmp_path / "models").iterdir()) == [done.folder]


def test_a_dropped_model_leaves_a_record_and_no_folder(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base")
    done = fine_tune(job_of(tmp_path, settings=replace(FAST, learning_rate=0.0, steps=20)))
    assert not done.verdict.kept
    assert (done.folder, done.manifest) == (None, None)
    record = json.loads(done.record.read_text())
    assert record["verdict"]["kept"] is False
    assert record["model"] is None
    assert "held-back" in record["verdict"]["reason"]
    assert not (tmp_path / "models").exists()


def test_a_second_training_is_the_same_one_and_takes_its_place(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base")
    first = fine_tune(job_of(tmp_path))
    second = fine_tune(job_of(tmp_path))
    assert first.folder == second.folder
    assert verify(second.folder).digest == first.manifest.digest


def test_what_the_base_has_seen_counts_too(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base", trained_until="2025-01-31")
    done = fine_tune(job_of(tmp_path))
    assert done.manifest.trained_until == np.datetime64("2025-01-31", "s")


def test_the_process_does_not_go_on_with_changed_weights(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base")
    kept = get_pipeline(tmp_path / "base").pipeline.model.state_dict()
    before = {name: value.clone() for name, value in kept.items()}
    release_pipeline()
    fine_tune(job_of(tmp_path))
    after = get_pipeline(tmp_path / "base").pipeline.model.state_dict()
    release_pipeline()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("mode", ["full", "lora"])
def test_chronos2_is_trained_by_its_own_fit(tmp_path: Path, mode: str) -> None:
    if mode == "lora":
        pytest.importorskip("peft")
    make_chronos2(tmp_path / "base")
    settings = replace(FAST, mode=mode, learning_rate=1e-2, steps=60)
    done = fine_tune(job_of(tmp_path, settings=settings))
    assert done.verdict.kept, done.verdict
    assert verify(done.folder).kind == "chronos2"
    assert not any("lora" in name for name in weights_of(done.folder))
    assert [look.step for look in done.tuned.looks] == [20, 40, 60]
    assert get_pipeline(done.folder).manifest.digest == done.manifest.digest
    release_pipeline()


def weights_of(folder: Path) -> list[str]:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", framework="numpy") as weights:
        return list(weights.keys())


def test_lora_without_peft_is_refused_and_never_silently_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_chronos2(tmp_path / "base")
    monkeypatch.setattr(chronos2_training, "find_spec", lambda name: None)
    with pytest.raises(NotInstalledError, match="peft"):
        fine_tune(job_of(tmp_path, settings=replace(FAST, mode="lora")))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("make", "mode"), [(make_bolt, "lora"), (make_chronos2, "head"), (make_chronos2, "gradual")]
)
def test_a_mode_of_the_other_kind_is_refused(tmp_path: Path, make, mode: str) -> None:
    make(tmp_path / "base")
    with pytest.raises(ConfigError, match="full"):
        fine_tune(job_of(tmp_path, settings=replace(FAST, mode=mode)))


def test_a_training_that_does_not_fit_is_refused_before_it_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_bolt(tmp_path / "base")
    monkeypatch.setattr(finetuning, "memory_available", lambda: 200 * 2**20)
    with pytest.raises(NotAdmittedError, match="200 MiB free"):
        fine_tune(job_of(tmp_path))
    network = bolt_network()
    everything = sum(p.numel() for p in network.parameters())
    assert training_mb(network, FAST) == pytest.approx(16 * everything / 2**20)
    assert training_mb(network, replace(FAST, mode="head")) < training_mb(network, FAST)


def test_too_short_a_series_is_refused(tmp_path: Path) -> None:
    make_bolt(tmp_path / "base")
    with pytest.raises(HistoryTooShortError, match="no window"):
        fine_tune(job_of(tmp_path, values=(season(40),)))


def test_a_gpu_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        assert device_of("auto") == "cuda"
    else:
        with pytest.raises(ConfigError, match="no GPU"):
            device_of("cuda")
        assert device_of("auto") == "cpu"


def test_it_is_judged_by_what_the_member_makes_of_it(tmp_path: Path) -> None:
    """A season that the member reads anyhow is no gain of the weights."""
    make_bolt(tmp_path / "base")
    series = make_series(season(), kind=CalendarKind.DAILY, periods=(8,))
    usual = usual_of(series, ChronosConfig(model=str(tmp_path / "base"), context_length=48))
    plain, read = fine_tune(job_of(tmp_path)), fine_tune(job_of(tmp_path, usual=usual))
    assert read.verdict.base_loss < 0.5 * plain.verdict.base_loss
    assert read.verdict.gain < 0.5 * plain.verdict.gain
    still = replace(FAST, learning_rate=0.0, steps=20)
    same = fine_tune(job_of(tmp_path, usual=usual, settings=still)).verdict
    assert same.tuned_loss == same.base_loss == read.verdict.base_loss
