"""The training of the hybrid from beginning to end on branches with known faults."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.engine import ForecastEngine
from horizoncast.engine.hybrid_rows import learning_rows
from horizoncast.ensemble.hybrid import layer_on
from horizoncast.ensemble.records import SIGNALS
from horizoncast.errors import ConfigError, HistoryTooShortError, ModelError, StoreError, UnknownNameError
from horizoncast.forecast import Forecast
from horizoncast.horizon import Horizon
from horizoncast.models.hybrid.artefact import FILE, HybridParts, read_parts
from horizoncast.models.hybrid.context import Context
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.service import hybrid_records
from horizoncast.service.hybrid_subjects import Subject, training_cutoffs
from horizoncast.service.hybrid_training import STAGES, Done, HybridTraining
from hybrid_toys import HORIZON, enter_branches, restless_series, toy_config, toy_subject

DAY = np.timedelta64(86400, "s")


@pytest.fixture(autouse=True)
def branches(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_branches(monkeypatch)


def silent(_member: str, _done: int, _total: int) -> None:
    """Nobody watches."""


def carried_out(*subjects: Subject, stages: tuple[str, ...] = STAGES) -> list[Done]:
    training = HybridTraining(subjects, stages)
    with training.locked():
        return [training.run(stage, subject, silent) for stage, subject in training.steps()]


def ruling(parts: HybridParts, stage: str) -> Ruling:
    return next(r for r in parts.stages if r.stage == stage)


def test_training_ends_where_the_next_runs_bank_begins(tmp_path: Path) -> None:
    series, config = restless_series(), toy_config(tmp_path)
    until, stride, cutoffs = training_cutoffs(series, HORIZON, config, 30)
    plan = ForecastEngine(config).plan(series, HORIZON)
    assert until == plan.cutoffs[0]
    assert stride == plan.stride
    assert len(cutoffs) == 30
    assert cutoffs[-1] + HORIZON.steps * DAY <= until < cutoffs[-1] + (HORIZON.steps + stride) * DAY
    assert set(np.diff(cutoffs)) == {stride * DAY}


def test_too_little_history_is_refused_and_nothing_written(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    for sessions in (60, 260):
        with pytest.raises(HistoryTooShortError, match="too little history to train") as refused:
            toy_subject(tmp_path, restless_series(sessions=sessions), config)
        assert refused.value.exit_code == 4
    assert list(tmp_path.iterdir()) == []


def test_rows_are_what_each_cutoffs_own_decision_saw(tmp_path: Path) -> None:
    """Width factors and weights come from the slice that had matured, not from the whole bank."""
    subject = toy_subject(tmp_path, restless_series(), toy_config(tmp_path, error=0.6, tilt=0.5), windows=60)
    bank = subject.fill(subject.cutoffs).bank
    hybrid, newest = subject.config.hybrid.config, subject.config.decision.newest
    rows = learning_rows(subject.series, bank, hybrid, newest)
    assert rows is not None
    assert rows.cutoffs[0] >= bank.ends[9]  # ten matured cutoffs stand before the first
    w = int(np.searchsorted(bank.cutoffs, rows.cutoffs[20]))
    layer = layer_on(bank.slice_at(bank.cutoffs[w], newest), hybrid)
    assert layer is not None
    np.testing.assert_array_equal(rows.accuracy[:, 20], layer.accuracy)
    widened = layer.widened(bank.select(("chronos", "autoformer")).quantiles[:, w])
    np.testing.assert_array_equal(rows.quantiles[:, 20], widened)
    np.testing.assert_allclose(
        1 / (1 + np.exp(-rows.log_odds[20])),
        layer.weights(widened, np.zeros(HORIZON.steps))[0],
        rtol=1e-12,
    )
    changed = bank.quantiles.copy()
    changed[:, w + 1 :] += 3.0  # what comes later moves nothing
    again = learning_rows(subject.series, replace(bank, quantiles=changed), hybrid, newest)
    assert again is not None
    np.testing.assert_array_equal(again.quantiles[:, :21], rows.quantiles[:, :21])
    np.testing.assert_array_equal(again.accuracy[:, :21], rows.accuracy[:, :21])


def test_a_planted_gate_is_kept_and_used(tmp_path: Path) -> None:
    series, config = restless_series(), toy_config(tmp_path, error=1.2, tilt=0.9)
    subject = toy_subject(tmp_path, series, config)
    carried_out(subject)
    parts = read_parts(subject.folder)
    assert ruling(parts, "gate").kept, ruling(parts, "gate").reason
    assert parts.gate is not None
    assert parts.gate.slopes[2] < 0  # restless: away from chronos, whose error is larger there
    assert parts.trained_until == subject.trained_until
    assert parts.gate.trained_until <= subject.trained_until
    result = ForecastEngine(config).forecast(series, HORIZON)
    assert result.decision.fusion is not None
    assert result.decision.fusion.trained["gate"] == parts.gate.digest
    assert not [reason for reason in result.status_reasons if "learned" in reason]


def test_a_gate_that_only_the_embedding_shows_is_kept_and_used(tmp_path: Path) -> None:
    """Each training cutoff with its own embedding, and the live one with the live embedding."""
    series, config = restless_series(calm=2.0), toy_config(tmp_path, error=1.2, tilt=0.9, rising=True)
    subject = toy_subject(tmp_path, series, config)
    carried_out(subject)
    gate = read_parts(subject.folder).gate
    assert gate is not None, ruling(read_parts(subject.folder), "gate").reason
    assert len(gate.axes.centre) == 4
    leads = np.arange(1, HORIZON.steps + 1)
    odds = []
    for stop in range(len(series) - 60, len(series) + 1, 20):
        seen = series.truncated(series.dates[stop - 1])
        result = ForecastEngine(config).forecast(seen, HORIZON)
        fusion, live = result.decision.fusion, result.members[-3].live
        assert fusion is not None
        assert isinstance(live, Forecast) and live.member == "chronos" and live.embedding is not None
        assert fusion.regime["novelty"] == live.embedding.novelty
        context = Context(
            **{name: fusion.regime[name] for name in SIGNALS}, embedding=tuple(live.embedding.vector.tolist())
        )
        np.testing.assert_array_equal(fusion.log_odds, gate.log_odds(context, leads))
        odds.append((np.diff(seen.values)[-30:].sum() > 0, fusion.log_odds[0]))
    assert {rises for rises, _ in odds} == {True, False}
    assert all((found < 0) == rises for rises, found in odds)


def test_rows_keep_their_embeddings_when_later_ones_are_left_out(tmp_path: Path) -> None:
    config = toy_config(tmp_path, error=1.2, tilt=0.9, rising=True)
    subject = toy_subject(tmp_path, restless_series(), config, windows=60)
    bank = subject.fill(subject.cutoffs).bank
    rows = learning_rows(subject.series, bank, config.hybrid.config, config.decision.newest)
    assert rows is not None
    contexts = rows.contexts()
    for cutoff, context in zip(rows.cutoffs, contexts, strict=True):
        seen = bank.embeddings.at(int(np.searchsorted(bank.cutoffs, cutoff)))
        assert context.embedding == tuple(seen.vector.tolist())
        assert context.novelty == seen.novelty
    early = rows.ended(rows.ends[9])
    assert early.contexts() == contexts[:10]


def test_branches_alike_in_every_context_get_no_gate(tmp_path: Path) -> None:
    subject = toy_subject(tmp_path, restless_series(), toy_config(tmp_path, error=1.2))
    carried_out(subject)
    parts = read_parts(subject.folder)
    assert not ruling(parts, "gate").kept
    assert parts.gate is None
    assert ruling(parts, "gate").windows > 50


def test_a_planted_correction_is_kept(tmp_path: Path) -> None:
    """Changes that go on, which the branch in Chronos' place does not know."""
    subject = toy_subject(tmp_path, restless_series(memory=0.7), toy_config(tmp_path))
    carried_out(subject)
    parts = read_parts(subject.folder)
    assert ruling(parts, "adaptation").kept, ruling(parts, "adaptation").reason
    assert parts.adaptation is not None
    assert parts.adaptation.shift[1 + parts.adaptation.names.index("momentum_1")] > 0


def test_a_random_walk_gets_no_correction(tmp_path: Path) -> None:
    subject = toy_subject(tmp_path, restless_series(calm=2.0), toy_config(tmp_path))
    carried_out(subject)
    parts = read_parts(subject.folder)
    assert not ruling(parts, "adaptation").kept
    assert parts.adaptation is None
    assert parts.neutral


def test_a_deployment_that_reads_no_gate_learns_none(tmp_path: Path) -> None:
    config = toy_config(tmp_path, error=1.2, tilt=0.9, deployment="ensemble")
    subject = toy_subject(tmp_path, restless_series(), config)
    carried_out(subject)
    assert "reads no gate" in ruling(read_parts(subject.folder), "gate").reason


def test_other_horizons_are_pooled_up_to_the_same_date(tmp_path: Path) -> None:
    series, config = restless_series(), toy_config(tmp_path, error=1.2, tilt=0.9)
    near = toy_subject(tmp_path, series, config, windows=90)
    far_config = replace(config, service="forecaster_10d")
    far = toy_subject(tmp_path, series, far_config, windows=90, horizon=Horizon(steps=10))
    carried_out(near)
    alone = read_parts(near.folder)
    done = carried_out(near, far)
    pooled = read_parts(near.folder)
    assert [d.resumed for d in done] == [True, False, True, False, False, False]  # near, far by stage
    assert [d.resumed for d in carried_out(far, near)] == [True] * 6
    assert ruling(alone, "gate").kept
    assert ruling(pooled, "gate").kept
    assert alone.gate is not None
    assert pooled.gate is not None
    assert pooled.gate.windows > alone.gate.windows
    assert pooled.gate.trained_until <= near.trained_until
    assert ruling(pooled, "gate").windows <= alone.gate.windows  # judged on its own alone
    assert read_parts(far.folder).trained_until == far.trained_until


def test_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    subject = toy_subject(tmp_path, restless_series(), toy_config(tmp_path, error=0.5), windows=40)
    first = carried_out(subject)
    before = (subject.folder / FILE).stat().st_mtime_ns
    second = carried_out(subject)
    assert [d.resumed for d in first] == [False] * len(STAGES)
    assert [d.resumed for d in second] == [True] * len(STAGES)
    assert [repr(d.record) for d in second] == [repr(d.record) for d in first]  # NaN equals nothing
    assert (subject.folder / FILE).stat().st_mtime_ns == before


@pytest.mark.parametrize("change", ["data", "settings", "windows", "record"])
def test_other_inputs_start_anew_and_say_so(tmp_path: Path, change: str) -> None:
    series, config = restless_series(), toy_config(tmp_path, error=0.5)
    subject = toy_subject(tmp_path, series, config, windows=40)
    carried_out(subject)
    windows = 40
    if change == "data":
        values = series.values.copy()
        values[series.index_of(subject.cutoffs[3])] += 0.5
        series = replace(series, values=values)
    elif change == "settings":
        config = toy_config(tmp_path, error=0.6)
    elif change == "windows":
        windows = 41
    else:
        place = subject.folder / hybrid_records.FOLDER / "components.json"
        place.write_text(place.read_text().replace('"windows": 40', '"windows": 39'))
    done = carried_out(toy_subject(tmp_path, series, config, windows=windows))
    assert not done[0].resumed
    assert "anew" in done[0].anew
    # a damaged record of the same inputs costs its own stage alone
    assert done[-1].resumed == (change == "record")


def test_data_after_the_training_change_nothing(tmp_path: Path) -> None:
    series, config = restless_series(), toy_config(tmp_path, error=0.5)
    subject = toy_subject(tmp_path, series, config, windows=40)
    carried_out(subject)
    values = series.values.copy()
    values[-1] += 5.0
    done = carried_out(toy_subject(tmp_path, replace(series, values=values), config, windows=40))
    assert all(d.resumed for d in done)


def killed(act: Callable[[], object]) -> None:
    """Run in a process of its own that is killed by `act`."""
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == signal.SIGKILL


def test_a_kill_between_stages_leaves_what_was_done_and_nothing_half(tmp_path: Path) -> None:
    series, config = restless_series(), toy_config(tmp_path / "a", error=1.2, tilt=0.9)
    subject = toy_subject(tmp_path / "a", series, config, windows=60)

    def begin() -> None:
        training = HybridTraining([subject])
        with training.locked():
            training.run("components", subject, silent)
            os.kill(os.getpid(), signal.SIGKILL)

    killed(begin)
    assert not (subject.folder / FILE).exists()
    done = carried_out(subject)  # the lock of the killed one holds nobody up
    assert [d.resumed for d in done] == [True] + [False] * (len(STAGES) - 1)
    undisturbed = toy_subject(tmp_path / "b", series, config, windows=60)
    carried_out(undisturbed)
    assert read_parts(subject.folder).digest == read_parts(undisturbed.folder).digest


def test_a_kill_while_parts_are_written_leaves_the_parts_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = restless_series()
    old = toy_subject(tmp_path, series, toy_config(tmp_path, error=0.5), windows=40)
    carried_out(old)
    before = read_parts(old.folder).digest
    new = toy_subject(tmp_path, series, toy_config(tmp_path, error=1.2, tilt=0.9), windows=60)
    rename = Path.replace

    def ended(self: Path, target: Path) -> Path:
        if Path(target).name == FILE:
            os.kill(os.getpid(), signal.SIGKILL)
        return rename(self, target)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", ended)
        killed(lambda: carried_out(new))
    assert read_parts(old.folder).digest == before
    done = carried_out(new)
    assert [d.resumed for d in done] == [True] * (len(STAGES) - 1) + [False]
    assert read_parts(old.folder).digest != before


def test_parts_learned_beside_other_branches_stay_unused(tmp_path: Path) -> None:
    series, config = restless_series(), toy_config(tmp_path, error=1.2, tilt=0.9)
    subject = toy_subject(tmp_path, series, config)
    carried_out(subject)
    assert read_parts(subject.folder).gate is not None
    other = toy_config(tmp_path, error=1.1, tilt=0.9)
    result = ForecastEngine(other).forecast(series, HORIZON)
    assert result.decision.fusion is not None
    assert not result.decision.fusion.trained
    reasons = [reason for reason in result.status_reasons if "without what it learned" in reason]
    assert len(reasons) == 1
    assert "chronos and autoformer changed" in reasons[0]
    assert "hybrid train" in reasons[0]


def test_only_the_last_stage_takes_what_the_members_are(tmp_path: Path) -> None:
    subject = toy_subject(tmp_path, restless_series(), toy_config(tmp_path, error=0.5), windows=40)
    (done,) = carried_out(subject, stages=("ensemble",))
    assert done.record.model == ""
    assert [r.stage for r in read_parts(subject.folder).stages] == ["gate", "adaptation"]


def test_trainings_that_cannot_be(tmp_path: Path) -> None:
    subject = toy_subject(tmp_path, restless_series(), toy_config(tmp_path), windows=40)
    with pytest.raises(UnknownNameError, match="ensemble"):
        HybridTraining([subject], ["ensembel"])
    with pytest.raises(ConfigError, match="each once"):
        HybridTraining([subject, subject])
    training = HybridTraining([subject])
    with training.locked(), pytest.raises(StoreError, match="at work"), training.locked():
        raise AssertionError


def test_a_branch_that_answers_nowhere_ends_the_training(tmp_path: Path) -> None:
    config = toy_config(tmp_path)
    mute = tuple(
        replace(m, config=replace(m.config, min_train=10_000)) if m.name == "autoformer" and m.config else m
        for m in config.members
    )
    subject = toy_subject(tmp_path, restless_series(), replace(config, members=mute), windows=40)
    with pytest.raises(ModelError, match="the branch autoformer answered at no training cutoff"):
        carried_out(subject)
    assert not (subject.folder / FILE).exists()
