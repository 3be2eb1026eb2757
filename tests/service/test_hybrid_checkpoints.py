"""Stages that move a checkpoint: components and joint fine-tuning, planted and with nothing to find."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.covariate import Covariate
from horizoncast.engine import MemberSetting
from horizoncast.forecast import Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.folder import read_manifest
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.hybrid.artefact import read_parts
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.models.registry import MEMBERS, NEEDS, make_member
from horizoncast.series import Series
from horizoncast.service.hybrid_subjects import Subject, Tuning
from horizoncast.service.hybrid_training import STAGES, Done, HybridTraining
from hybrid_toys import HORIZON, restless_series, toy_config, toy_subject

FAST = TrainingSettings(
    mode="full",
    learning_rate=0.003,
    decoder_rate=0.003,
    encoder_rate=0.003,
    encoder_blocks=1,
    steps=60,
    epochs=60,
    check_every=20,
    device="cpu",
)


@pytest.fixture(autouse=True)
def second_branch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A toy in the Autoformer's place; Chronos is the real one, with a checkpoint of random weights."""
    pytest.importorskip("chronos")
    monkeypatch.setitem(MEMBERS, "autoformer", "hybrid_toys:Second")
    monkeypatch.delitem(NEEDS, "autoformer")


def season(sessions: int = 1500) -> Series:
    rng = np.random.default_rng(5)
    values = 50 + 5 * np.sin(2 * np.pi * np.arange(sessions) / 8) + 0.5 * rng.standard_normal(sessions)
    dates = np.datetime64("2019-01-01", "s") + np.arange(sessions) * np.timedelta64(86400, "s")
    return Series(
        name="toy", unit="u", calendar=Calendar(kind=CalendarKind.DAILY), dates=dates, values=values
    )


def subject_with(folder: Path, series: Series, settings: TrainingSettings = FAST) -> Subject:
    """A subject whose Chronos branch is a small Bolt with random weights."""
    from chronos_checkpoints import make_bolt

    make_bolt(folder / "base")
    config = toy_config(folder / "models", error=0.5)
    chronos = ChronosConfig(
        model=str(folder / "base"), models=str(folder / "models"), context_length=32, chunk=64
    )
    members = tuple(
        MemberSetting(name="chronos", config=chronos) if m.name == "chronos" else m for m in config.members
    )
    subject = toy_subject(folder / "models", series, replace(config, members=members), windows=60)
    tuning = Tuning(settings=settings, models=folder / "models", output=folder / "output")
    return replace(subject, tuning=tuning)


def starting_from(subject: Subject, model: str, settings: TrainingSettings) -> Subject:
    """The same subject once a person has named a kept checkpoint in the settings."""
    members = tuple(
        replace(m, config=replace(m.config, model=model)) if isinstance(m.config, ChronosConfig) else m
        for m in subject.config.members
    )
    assert subject.tuning is not None
    return replace(
        subject,
        config=replace(subject.config, members=members),
        tuning=replace(subject.tuning, settings=settings),
    )


def carried_out(subject: Subject, *stages: str) -> list[Done]:
    training = HybridTraining([subject], stages or STAGES)
    with training.locked():
        return [training.run(stage, one, lambda *_: None) for stage, one in training.steps()]


def day(date: np.datetime64) -> str:
    return str(date)[:10].replace("-", "")


def ruling(done: Done, stage: str) -> Ruling:
    return next(r for r in done.record.rulings if r.stage == stage)


def test_a_checkpoint_that_learns_the_season_is_kept_and_seen_by_later_stages(tmp_path: Path) -> None:
    subject = subject_with(tmp_path, season())
    components, joint, ensemble = carried_out(subject)
    assert ruling(components, "tuning").kept, ruling(components, "tuning").reason
    name = f"toy-forecaster_5d-hybrid-tuning-{day(subject.cutoffs[0])}"
    assert components.record.model == name
    manifest = read_manifest(tmp_path / "models" / name)
    assert manifest.trained_until == subject.cutoffs[0]
    assert components.record.windows == len(subject.cutoffs)  # it may answer every training cutoff
    parts = read_parts(subject.folder)
    assert parts.model == ensemble.record.model == joint.record.model
    assert parts.branches == subject.branch_digests(parts.model)
    assert parts.differing(subject.branch_digests()) == ("chronos",)
    assert [r.stage for r in parts.stages] == ["tuning", "joint", "gate", "adaptation"]
    again = carried_out(subject)
    assert [d.resumed for d in again] == [True, True, True]
    (tmp_path / "models" / name / "manifest.json").rename(tmp_path / "gone")
    (tmp_path / "models" / name).rename(tmp_path / "elsewhere")
    assert HybridTraining([subject]).finished("components", subject) is None


def test_a_checkpoint_in_use_is_not_changed_by_the_next_training(tmp_path: Path) -> None:
    """Trained again from what it kept before, on the same rows with other settings."""
    subject = subject_with(tmp_path, season())
    (first,) = carried_out(subject, "components")
    name = first.record.model
    before = read_manifest(tmp_path / "models" / name).digest
    used = starting_from(subject, name, replace(FAST, significance=0.5, min_gain=0.0, seed=1))
    (second,) = carried_out(used, "components")
    assert second.anew
    assert second.record.model in {"", f"{name}-2"}
    assert read_manifest(tmp_path / "models" / name).digest == before
    (again,) = carried_out(used, "components")
    assert again.resumed


def test_a_checkpoint_that_finds_nothing_is_dropped(tmp_path: Path) -> None:
    """A random walk, from a checkpoint that knows it already."""
    subject = subject_with(tmp_path, restless_series(calm=2.0, sessions=1500))
    (first,) = carried_out(subject, "components")
    assert ruling(first, "tuning").kept  # from random weights there is much to learn
    (second,) = carried_out(starting_from(subject, first.record.model, FAST), "components")
    assert not ruling(second, "tuning").kept, ruling(second, "tuning").reason
    assert second.record.model == ""
    assert [path.name for path in (tmp_path / "models").glob("*hybrid-*")] == [first.record.model]
    assert second.record.windows == len(subject.cutoffs)


def test_an_adapter_is_tried_where_a_covariate_is_known_ahead(tmp_path: Path) -> None:
    """The covariate moves the outcome, and Bolt cannot see it."""
    base = restless_series(calm=2.0, sessions=1500)
    told = np.random.default_rng(1).standard_normal(1500 + HORIZON.steps)
    covariate = Covariate(name="told", values=told, known_future=True)
    series = replace(base, values=500 + 8.0 * told[:1500], covariates=(covariate,))
    subject = subject_with(tmp_path, series, replace(FAST, learning_rate=1e-5, adapter_rate=0.01, steps=200))
    components, joint = carried_out(subject, "components", "joint")
    assert not ruling(components, "tuning").kept
    assert ruling(components, "adapter").kept, ruling(components, "adapter").reason
    assert components.record.model == f"toy-forecaster_5d-hybrid-adapter-{day(subject.cutoffs[0])}"
    assert "has an adapter" in ruling(joint, "joint").reason
    assert joint.record.model == components.record.model


def test_a_joint_fine_tuning_that_wins_is_kept_with_its_dates(tmp_path: Path) -> None:
    subject = subject_with(tmp_path, season())
    joint, ensemble = carried_out(subject, "joint", "ensemble")
    assert ruling(joint, "joint").kept, ruling(joint, "joint").reason
    until = subject.cutoffs[36]  # three fifths of sixty
    name = f"toy-forecaster_5d-hybrid-joint-{day(until)}"
    manifest = read_manifest(tmp_path / "models" / name)
    assert manifest.trained_until == joint.record.first == until < subject.trained_until
    parts = read_parts(subject.folder)
    assert parts.omega == joint.record.omega != (0.0, 0.0)
    assert parts.model == name
    assert 0 < ensemble.record.windows <= 24  # the cutoffs after it alone
    member = make_member("chronos", {"model": parts.model, "models": str(tmp_path / "models")})
    (answer,) = member.forecast(subject.series, [subject.trained_until], HORIZON, LEVELS)
    assert isinstance(answer, Forecast)


def test_a_joint_fine_tuning_that_finds_nothing_gives_way_to_the_stage_before(tmp_path: Path) -> None:
    """A random walk at the same rates: the components have taken what there was."""
    subject = subject_with(tmp_path, restless_series(calm=2.0, sessions=1500))
    components, joint, ensemble = carried_out(subject)
    assert ruling(components, "tuning").kept
    assert not ruling(joint, "joint").kept, ruling(joint, "joint").reason
    assert joint.record.model == components.record.model != ""
    assert joint.record.omega == (0.0, 0.0)
    assert read_parts(subject.folder).model == components.record.model
    assert ensemble.record.windows > 24  # all cutoffs, as if it had never been tried


def test_steps_beyond_one_pass_are_told_not_tuned(tmp_path: Path) -> None:
    near = subject_with(tmp_path, season(3000))
    far = toy_subject(tmp_path / "models", near.series, near.config, windows=60, horizon=Horizon(steps=20))
    (joint,) = carried_out(replace(far, tuning=near.tuning), "joint")
    assert "read back as paths" in ruling(joint, "joint").reason
