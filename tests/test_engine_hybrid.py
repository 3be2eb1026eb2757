"""The hybrid in a run: beside its parts or in their place, on record, never from the future."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from horizoncast.engine import EngineConfig, EngineResult, ForecastEngine, HybridSetting, MemberSetting
from horizoncast.engine.branches import branch_digests
from horizoncast.engine.chronosx import ChronosXBayesianHybrid
from horizoncast.engine.hybrid import contexts_of, learned_parts
from horizoncast.ensemble.gate import Status
from horizoncast.ensemble.records import BRANCHES, HYBRID
from horizoncast.errors import ModelError
from horizoncast.forecast import Failure, Forecast
from horizoncast.models.hybrid.adaptation import DomainAdaptationLayer
from horizoncast.models.hybrid.artefact import FILE, HybridParts, write_parts
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.hybrid.fitting import Units
from horizoncast.models.hybrid.gate import FEATURES, Gate
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.policy.states import MemberState
from horizoncast.series import Series
from support import market, weekly_season
from toys import enter

SERIES = market(500)
ON, SHADOW = MemberState.ON, MemberState.SHADOW


def parts_of(
    monkeypatch: pytest.MonkeyPatch, state: MemberState = ON, **autoformer: Any
) -> tuple[MemberSetting, ...]:
    """Two toys in the places of the neural members, one a little off."""
    settings = {"chronos": {"shift": 0.001, "sigma": 0.006}, "autoformer": {"sigma": 0.007} | autoformer}
    return tuple(
        MemberSetting(
            name=name,
            config=enter(monkeypatch, name, **settings[name]),
            state=state if name == "autoformer" else ON,
        )
        for name in BRANCHES
    )


def run(
    members: tuple[MemberSetting, ...], state: MemberState = ON, series: Series = SERIES, **hybrid: Any
) -> EngineResult:
    config = EngineConfig(
        members=members,
        isolated=False,
        service="t",
        hybrid=HybridSetting(state=state, config=HybridConfig(**hybrid)),
    )
    return ForecastEngine(config).forecast(series, "7d")


def outcome(result: EngineResult) -> Any:
    return next(m for m in result.members if m.name == HYBRID)


def test_on_it_stands_in_for_its_parts_and_is_scored_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(parts_of(monkeypatch))
    weights = {m.name: m.weight for m in result.members}
    assert result.status is Status.PUBLISHED
    assert weights[HYBRID] > 0.3
    assert weights["chronos"] == weights["autoformer"] == 0.0
    assert sum(weights.values()) == pytest.approx(1.0)
    assert np.isfinite([result.score(name, "wql") for name in (HYBRID, *BRANCHES)]).all()
    fusion = result.decision.fusion
    assert fusion is not None
    assert set(fusion.regime) == {"season", "trend", "volatility", "entropy"}
    live = outcome(result).live
    assert isinstance(live, Forecast)
    assert live.member == live.identity.id == HYBRID
    np.testing.assert_array_equal(live.dates, result.forecast.dates)


def test_its_live_forecast_is_the_fusion_of_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(parts_of(monkeypatch))
    live = {m.name: m.live for m in result.members}
    fusion = result.decision.fusion
    assert fusion is not None
    rows = np.stack([SERIES.scale.forward(live[name].point) for name in BRANCHES])  # type: ignore[union-attr]
    point = (fusion.weights * rows).sum(axis=0)
    found = live[HYBRID]
    assert isinstance(found, Forecast)
    np.testing.assert_allclose(SERIES.scale.forward(found.point), point, rtol=1e-12)


def test_in_shadow_the_published_forecast_is_the_one_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    members = parts_of(monkeypatch)
    without, beside = run(members, MemberState.OFF), run(members, SHADOW)
    assert beside.forecast.same_numbers(without.forecast)
    assert np.isfinite(beside.score(HYBRID, "wql"))
    assert np.isnan(without.score(HYBRID, "wql"))
    assert without.decision.fusion is None
    row = next(row for row in beside.decision.members if row.name == HYBRID)
    assert row.weight == 0.0
    assert row.would_be_weight > 0.3


def test_a_part_in_shadow_keeps_the_hybrid_there(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(parts_of(monkeypatch, SHADOW))
    assert outcome(result).state is SHADOW
    assert outcome(result).weight == 0.0
    assert {m.name: m.weight for m in result.members}["chronos"] > 0.3
    assert result.status is Status.PUBLISHED


def test_a_part_that_fails_now_is_told_and_the_other_goes_on_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    members = parts_of(monkeypatch, act="refuse")
    result = run(members)
    assert result.status is Status.DEGRADED
    assert "no hybrid: autoformer gave no forecast" in result.status_reasons
    failure = outcome(result).live
    assert isinstance(failure, Failure)
    assert failure.code == "NotFused"
    assert result.decision.fusion is not None
    assert result.decision.fusion.reason == failure.reason
    assert {m.name: m.weight for m in result.members}["chronos"] > 0.3


def test_a_part_that_is_off_leaves_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(parts_of(monkeypatch)[:1])
    assert "not both switched on" in outcome(result).live.reason
    assert result.status is Status.PUBLISHED  # an event of the service tells of the settings


def test_the_same_run_twice_gives_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    members = parts_of(monkeypatch)
    one, other = run(members), run(members)
    assert outcome(one).live.same_numbers(outcome(other).live)
    assert repr(one.decision) == repr(other.decision)


@pytest.mark.parametrize("series", [SERIES, weekly_season(500)], ids=["price", "season"])
def test_leak_the_context_of_a_cutoff_does_not_know_what_came_later(series: Series) -> None:
    cutoffs = series.dates[[200, 300, 400]]
    later = series.values.copy()
    later[401:] *= 1000.0
    assert contexts_of(series, cutoffs) == contexts_of(replace(series, values=later), cutoffs)


def test_a_history_too_short_for_a_context_has_a_neutral_one() -> None:
    (found,) = contexts_of(SERIES, SERIES.dates[[3]])
    assert (found.volatility, found.entropy) == (0.5, 1.0)


def gate(until: np.datetime64) -> Gate:
    """Two units of log-odds for chronos whatever the context."""
    size = len(FEATURES)
    return Gate(
        units=Units(names=FEATURES, centre=(0.0,) * size, spread=(1.0,) * size),
        intercept=1.0,
        slopes=(0.0,) * size,
        strength=0.0,
        trained_until=until,
        windows=100,
        ruling=Ruling(stage="gate", kept=True, reason="for a test"),
    )


def adaptation(until: np.datetime64, names: tuple[str, ...]) -> DomainAdaptationLayer:
    """A small shift whatever the features."""
    size = len(names)
    return DomainAdaptationLayer(
        units=Units(names=names, centre=(0.0,) * size, spread=(1.0,) * size),
        shift=(0.1,) + (0.0,) * size,
        log_scale=(0.0,) * (1 + size),
        trained_until=until,
        windows=100,
        ruling=Ruling(stage="adaptation", kept=True, reason="for a test"),
    )


def learned(
    folder: Path,
    until: np.datetime64,
    members: tuple[MemberSetting, ...] = (),
    adapted: tuple[str, ...] = (),
) -> None:
    """A gate on disk, learned beside these members, where a service of the name t looks for it.

    With features named, an adaptation to them besides.
    """
    found = gate(until)
    parts = HybridParts(
        series=SERIES.name,
        service="t",
        gate=found,
        adaptation=adaptation(until, adapted) if adapted else None,
        trained_until=until,
        branches=branch_digests(EngineConfig(members=members), "t") if members else {},
        stages=(found.ruling,),
    )
    write_parts(folder / SERIES.name / "t", parts)


def test_a_learned_gate_moves_the_weights_from_its_last_date_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    members = parts_of(monkeypatch)
    plain = run(members).decision.fusion
    learned(tmp_path, SERIES.dates[100], members)
    tilted = run(members, parts=str(tmp_path)).decision.fusion
    assert plain is not None
    assert tilted is not None
    assert (tilted.log_odds > 0.9).all()
    assert (tilted.weights[0] > plain.weights[0]).all()
    assert tilted.trained["gate"] == gate(SERIES.dates[100]).digest
    learned(tmp_path, SERIES.last + np.timedelta64(1, "D"), members)
    late = run(members, parts=str(tmp_path)).decision.fusion
    assert late is not None
    assert (late.log_odds == 0.0).all()


def test_damaged_parts_are_refused_told_and_not_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    learned(tmp_path, SERIES.dates[100])
    place = tmp_path / SERIES.name / "t" / FILE
    place.write_text(place.read_text().replace('"intercept": 1.0', '"intercept": 1.5'))
    result = run(parts_of(monkeypatch), parts=str(tmp_path))
    assert result.status is Status.DEGRADED
    assert any("without what it learned" in reason for reason in result.status_reasons)
    assert result.decision.fusion is not None
    assert (result.decision.fusion.log_odds == 0.0).all()
    setting = HybridSetting(config=HybridConfig(parts=str(tmp_path)))
    parts, problems = learned_parts(setting, SERIES.name, "t", {})
    assert parts is None
    assert len(problems) == 1


def test_parts_of_another_series_are_not_used(tmp_path: Path) -> None:
    learned(tmp_path, SERIES.dates[100])
    (tmp_path / SERIES.name).rename(tmp_path / "other")
    setting = HybridSetting(config=HybridConfig(parts=str(tmp_path)))
    parts, problems = learned_parts(setting, "other", "t", {})
    assert parts is None
    assert f"learned for {SERIES.name} t" in problems[0]


def test_an_adaptation_to_covariates_that_are_gone_is_told_and_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    members = parts_of(monkeypatch)
    learned(tmp_path, SERIES.dates[100], members, adapted=("momentum_1", "copper.change_1"))
    result = run(members, parts=str(tmp_path))
    fusion = result.decision.fusion
    assert fusion is not None
    assert any("copper.change_1" in reason for reason in result.status_reasons)
    assert (fusion.log_odds > 0.9).all()  # the gate stays
    assert "adaptation" not in fusion.trained


def test_on_its_own_from_python(monkeypatch: pytest.MonkeyPatch) -> None:
    members = {m.name: m.config for m in parts_of(monkeypatch) if m.config is not None}
    engine = EngineConfig(isolated=False)
    found = ChronosXBayesianHybrid(members=members, engine=engine).forecast(SERIES, "7d")
    assert set(found.parts) == set(BRANCHES)
    np.testing.assert_allclose(found.fusion.weights.sum(axis=0), 1.0)
    assert found.forecast.member == HYBRID
    broken = {
        setting.name: setting.config for setting in parts_of(monkeypatch, act="refuse") if setting.config
    }
    with pytest.raises(ModelError, match="autoformer gave no forecast"):
        ChronosXBayesianHybrid(members=broken, engine=engine).forecast(SERIES, "7d")
