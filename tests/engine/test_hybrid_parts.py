"""Learned parts in a run: used beside the branches they were learned from, and said when not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.engine import ForecastEngine, HybridSetting
from horizoncast.engine.branches import branch_digests
from horizoncast.engine.hybrid import learned_parts, words_of_differing
from horizoncast.models.hybrid.artefact import FILE, HybridParts, write_parts
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.policy.states import MemberState
from hybrid_toys import HORIZON, SERVICE, enter_branches, gate_of, restless_series, toy_config

LONG_AGO = np.datetime64("2015-06-01", "s")


def made(branches: dict[str, str], omega: tuple[float, float] = (1.0, 0.5), model: str = "") -> HybridParts:
    return HybridParts(
        series="toy",
        service=SERVICE,
        gate=None,
        adaptation=None,
        trained_until=LONG_AGO,
        branches=branches,
        omega=omega,
        model=model,
    )


def test_a_joint_fine_tuning_moves_the_weights_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_branches(monkeypatch)
    series, config = restless_series(sessions=700), toy_config(tmp_path, error=0.5)
    plain = ForecastEngine(config).forecast(series, HORIZON).decision.fusion
    parts = made(branch_digests(config, SERVICE), model="tuned")
    write_parts(tmp_path / "hybrid" / "toy" / SERVICE, parts)
    result = ForecastEngine(config).forecast(series, HORIZON)
    fusion = result.decision.fusion
    assert plain is not None
    assert fusion is not None
    leads = np.arange(1, HORIZON.steps + 1)
    np.testing.assert_allclose(fusion.log_odds - plain.log_odds, 1.0 + 0.5 * np.log(leads))
    assert (fusion.weights[0] > plain.weights[0]).all()
    assert fusion.trained["joint"] == "tuned"
    assert fusion.trained["digest"] == parts.digest


def test_a_gate_that_knows_another_encoders_vectors_is_told_and_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_branches(monkeypatch)
    series, config = restless_series(sessions=700), toy_config(tmp_path, error=0.5, rising=True)
    for size, used in ((4, True), (5, False)):
        parts = replace(made(branch_digests(config, SERVICE), omega=(0.0, 0.0)), gate=gate_of(size, LONG_AGO))
        write_parts(tmp_path / "hybrid" / "toy" / SERVICE, parts)
        result = ForecastEngine(config).forecast(series, HORIZON)
        assert result.decision.fusion is not None
        assert (result.decision.fusion.log_odds != 0.0).all() == used
        assert any("another size" in reason for reason in result.status_reasons) != used
        assert ("gate" in result.decision.fusion.trained) == used


def test_parts_that_learned_nothing_are_not_said_to_be_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_branches(monkeypatch)
    series, config = restless_series(sessions=700), toy_config(tmp_path, error=0.5)
    write_parts(tmp_path / "hybrid" / "toy" / SERVICE, made({}, omega=(0.0, 0.0)))
    result = ForecastEngine(config).forecast(series, HORIZON)
    assert result.decision.fusion is not None
    assert not result.decision.fusion.trained
    assert not [reason for reason in result.status_reasons if "learned" in reason]


def test_changed_branches_damage_and_absence(tmp_path: Path) -> None:
    setting = HybridSetting(state=MemberState.ON, config=HybridConfig(parts=str(tmp_path)))
    now = {"chronos": "aa", "autoformer": "bb"}
    assert learned_parts(setting, "toy", SERVICE, now) == (None, [])
    folder = tmp_path / "toy" / SERVICE
    write_parts(folder, made(now))
    assert learned_parts(setting, "toy", SERVICE, now)[0] == made(now)
    assert learned_parts(setting, "toy", SERVICE, {"chronos": "aa"})[0] == made(now)  # one gave no forecast
    parts, problems = learned_parts(setting, "toy", SERVICE, now | {"autoformer": "bc"})
    assert parts is None
    assert "autoformer changed since" in problems[0]
    (folder / FILE).write_text("{")
    parts, problems = learned_parts(setting, "toy", SERVICE, now)
    assert parts is None
    assert "refused" in problems[0]


def test_the_checkpoint_that_was_learned_beside_is_named() -> None:
    parts = made({"chronos": "aa", "autoformer": "bb"}, model="toy-hybrid-joint")
    assert "members.chronos.model=toy-hybrid-joint" in words_of_differing(parts, ["chronos"])
    assert "members.chronos.model" not in words_of_differing(parts, ["autoformer"])
