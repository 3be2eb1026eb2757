"""The engine: the same answer every time, honest about who took part, never from the future."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from horizoncast.engine import (
    ENSEMBLE,
    EngineConfig,
    EngineResult,
    ForecastEngine,
    MemberSetting,
    default_members,
)
from horizoncast.ensemble.decision import MIN_WINDOWS, apply, decide
from horizoncast.ensemble.gate import Status
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.errors import ConfigError, PublicationError, UnknownNameError
from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.naive import RandomWalkConfig
from horizoncast.models.registry import MEMBERS, NAIVES, NEEDS
from horizoncast.policy.quorum import BelowQuorum
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale, Series
from horizoncast.store.bank_cache import BankCache
from support import make_series, market, weekly_season
from toys import enter

NAIVE_ONLY = tuple(MemberSetting(name=name) for name in NAIVES)
SERIES = market(500)


def run(series: Series = SERIES, *, cache: BankCache | None = None, **changes: Any) -> EngineResult:
    config = EngineConfig(**{"members": NAIVE_ONLY, "isolated": False, "service": "t", **changes})
    return ForecastEngine(config, cache=cache).forecast(series, "7d")


def same(one: EngineResult, other: EngineResult) -> bool:
    return (
        one.forecast.same_numbers(other.forecast)
        and one.forecast.identity == other.forecast.identity
        and repr(one.decision) == repr(other.decision)
        and repr(one.scores) == repr(other.scores)
        and repr(one.verdicts) == repr(other.verdicts)
        and one.bank.quantiles.tobytes() == other.bank.quantiles.tobytes()
    )


def toy_setting(monkeypatch: pytest.MonkeyPatch, entry: str = "toy", **settings: Any) -> MemberSetting:
    return MemberSetting(name=entry, config=enter(monkeypatch, entry, **settings), deadline_s=30.0)


def test_the_same_inputs_give_the_same_bits_however_they_are_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    members = (*NAIVE_ONLY, toy_setting(monkeypatch, shift=0.002, sigma=0.006))
    cache = BankCache(tmp_path)
    first = run(members=members)
    assert same(first, run(members=members))
    assert same(first, run(members=members, isolated=True))
    assert same(first, run(members=members, isolated=True, workers=2))
    assert same(first, run(members=members, cache=cache))
    cached = run(members=members, cache=cache)
    assert same(first, cached)
    assert [m.cached for m in cached.members] == [m.asked for m in cached.members]
    assert all(m.usage is None for m in cached.members)


def test_the_live_cutoff_is_the_last_observation() -> None:
    result = run()
    assert result.forecast.cutoff == SERIES.last == result.plan.live
    assert result.forecast.member == ENSEMBLE
    np.testing.assert_array_equal(result.forecast.dates, SERIES.session_dates(SERIES.last, 7))
    assert SERIES.last not in result.bank.cutoffs
    assert (result.bank.ends <= SERIES.last).all()
    assert result.status is Status.PUBLISHED
    assert result.status_reasons == ()


def test_weights_reported_are_those_of_the_published_forecast(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(members=(*NAIVE_ONLY, toy_setting(monkeypatch)))
    used = {m.name: m.weight for m in result.members}
    assert sum(used.values()) == pytest.approx(1.0)
    assert used == pytest.approx(result.decision.weights)
    assert used["toy"] > 0.0


@pytest.mark.parametrize("back", [1, 7])
def test_leak_a_run_at_an_earlier_cutoff_is_the_replayed_decision(
    monkeypatch: pytest.MonkeyPatch, back: int
) -> None:
    """An earlier last observation gives what the bank of today replays there: no later row had a say."""
    series = market(2000)
    members = (*NAIVE_ONLY, toy_setting(monkeypatch, shift=0.001))
    whole = run(series, members=members)
    cutoff = whole.replay.cutoffs[-back]
    then = run(series.truncated(cutoff), members=members)
    assert repr(then.decision) == repr(whole.replay.decisions[-back])
    published = series.scale.backward(whole.replay.quantiles[-back])
    np.testing.assert_array_equal(then.forecast.quantiles, published)


@pytest.mark.parametrize("factor", [0.5, 1000.0])
def test_leak_replayed_decisions_do_not_see_the_newest_values(factor: float) -> None:
    values = SERIES.values.copy()
    values[-3:] *= factor
    changed = make_series(values, scale=Scale.LOG)
    plain = make_series(SERIES.values, scale=Scale.LOG)
    config = EngineConfig(members=NAIVE_ONLY, isolated=False)
    from horizoncast.engine import lay_out
    from horizoncast.ensemble.replay import replay
    from horizoncast.validation.splitter import plan_cutoffs

    out = []
    for series in (plain, changed):
        engine = ForecastEngine(config)
        plan = plan_cutoffs(series, Horizon(steps=7))
        bank, _ = lay_out(series, plan, engine.ask(series, plan), LEVELS)
        out.append(replay(bank, {}, config.decision))
    early = out[0].cutoffs < plain.dates[-3]
    assert early.all()
    for row in range(len(out[0].places)):
        assert repr(out[0].decisions[row]) == repr(out[1].decisions[row])
    np.testing.assert_array_equal(out[0].quantiles, out[1].quantiles)


def test_scores_come_from_replays_only() -> None:
    result = run()
    assert len(result.replay.places) == 20
    for decision, cutoff in zip(result.replay.decisions, result.replay.cutoffs, strict=True):
        assert decision.last_cutoff is not None
        ends = SERIES.session_dates(decision.last_cutoff, 7)[-1]
        assert ends <= cutoff
    assert {s.subject for s in result.scores} == {*NAIVES, ENSEMBLE}
    assert {s.windows for s in result.scores} == {20}
    assert np.isfinite(result.score(ENSEMBLE, "rmse"))
    for member in result.decision.members:
        assert member.rmse != result.score(member.name, "path_rmse")  # the slice's figure is no score


def test_without_replays_the_ensemble_has_no_score() -> None:
    """Nothing computed on a slice is reported as a score: "not yet known"."""
    result = run(replays=0)
    assert result.decision.windows == 40
    assert len(result.replay.places) == 0
    assert result.scores == result.verdicts == ()
    assert np.isnan(result.score(ENSEMBLE, "rmse"))


def test_with_too_short_a_history_the_ensemble_has_no_score_and_decides_nothing() -> None:
    result = run(market(33))
    assert result.decision.windows < MIN_WINDOWS
    assert result.scores == ()
    assert (result.decision.kappa, result.decision.width) == (0.0, 1.0)
    assert Flag.FEW_WINDOWS in result.forecast.flags
    assert result.status is Status.DEGRADED
    assert "too few matured cutoffs" in result.status_reasons[0]


@pytest.mark.parametrize("length", [21, 24, 40, 70])
def test_short_series_are_forecast(length: int) -> None:
    assert run(market(length)).forecast.steps == 7


def test_a_member_that_fails_wholly_is_recorded_and_degrades_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(members=(*NAIVE_ONLY, toy_setting(monkeypatch, act="bug")))
    toy = result.members[-1]
    assert isinstance(toy.live, Failure)
    assert (toy.answered, toy.weight) == (0, 0.0)
    assert toy.problems[0].code == "ZeroDivisionError"
    assert result.status is Status.DEGRADED
    assert result.status_reasons == (
        "below the quorum: 0 of 1 members answered, 1 are needed",
        "toy is on and gave no forecast (ZeroDivisionError)",
    )
    np.testing.assert_array_equal(result.forecast.quantiles, run().forecast.quantiles)


def test_a_member_in_shadow_that_fails_degrades_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(toy_setting(monkeypatch, act="bug"), state=MemberState.SHADOW)
    result = run(members=(*NAIVE_ONLY, setting))
    assert isinstance(result.members[-1].live, Failure)
    assert result.status is Status.PUBLISHED


def test_a_member_that_is_off_does_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(toy_setting(monkeypatch, act="bug"), state=MemberState.OFF)
    assert [m.name for m in run(members=(*NAIVE_ONLY, setting)).members] == list(NAIVES)


def test_naives_run_even_when_they_are_off_or_not_listed() -> None:
    off = (MemberSetting(name="random_walk", state=MemberState.OFF),)
    for members in (off, ()):
        result = run(members=members)
        assert [m.name for m in result.members] == list(NAIVES)
        assert result.members[0].state is MemberState.ON


def test_naives_are_asked_for_every_cutoff() -> None:
    """They are what the ratio of a member asked for fewer is taken to."""
    few = (MemberSetting(name="random_walk", windows=3),)
    assert run(members=few).members[0].asked == run().members[0].asked


def test_a_member_whose_package_is_missing_is_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings cannot be made either, as their class is not there."""
    monkeypatch.setitem(MEMBERS, "toy", "no_such_package.module:Class")
    for config in (None, RandomWalkConfig()):
        result = run(members=(*NAIVE_ONLY, MemberSetting(name="toy", config=config)))
        assert result.members[-1].live.code == "NotInstalledError"  # type: ignore[union-attr]
        assert result.status is Status.DEGRADED


def test_a_dear_member_is_asked_for_its_own_number_of_cutoffs(monkeypatch: pytest.MonkeyPatch) -> None:
    setting = replace(toy_setting(monkeypatch), windows=15)
    result = run(members=(*NAIVE_ONLY, setting))
    assert result.members[-1].asked == 16
    row = {m.name: m for m in result.decision.members}["toy"]
    assert row.windows == 15
    assert row.weight > 0.0
    assert isinstance(run(members=(*NAIVE_ONLY, replace(setting, windows=0))).members[-1].live, Forecast)


@pytest.mark.parametrize("factor", [1000.0, 0.001])
def test_a_last_value_in_another_unit_is_blocked(factor: float) -> None:
    values = SERIES.values.copy()
    values[-1] *= factor
    with pytest.raises(PublicationError, match="data check"):
        run(make_series(values, scale=Scale.LOG))


def test_an_implausible_ensemble_falls_back_to_the_naive(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right in the past, a thousandfold off today: the call at the live cutoff is the first."""
    from toys import Toy

    plain = Toy.predict

    def slip(self: Toy, state: None, history: Any, *rest: Any) -> Any:
        made = plain(self, state, history, *rest)
        live = history.cutoff == SERIES.last
        return replace(made, quantiles=made.quantiles + np.log(1000.0)) if live else made

    monkeypatch.setattr(Toy, "predict", slip)
    config = DecisionConfig(rule="equal", shrink=False)
    result = run(members=(*NAIVE_ONLY, toy_setting(monkeypatch)), decision=config)
    assert {Flag.FALLBACK, Flag.IMPLAUSIBLE} <= set(result.forecast.flags)
    assert result.status is Status.DEGRADED
    assert any("median" in reason for reason in result.status_reasons)
    naive = result.members[0].live
    assert isinstance(naive, Forecast)
    assert result.members[0].weight == 1.0
    np.testing.assert_allclose(result.forecast.quantiles, naive.quantiles, rtol=1e-12)


def test_the_fallback_is_a_naive_that_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    from horizoncast.bank import Bank

    result = run(weekly_season(200))
    assert result.decision.best_naive == "seasonal_naive"
    engine = ForecastEngine(EngineConfig(members=NAIVE_ONLY, isolated=False))
    live: Bank = ForecastEngine(result.config).fill(result.series, result.plan)[1]
    quantiles = live.quantiles.copy()
    quantiles[live.member_index("seasonal_naive")] = np.nan
    decision = replace(result.decision, width=1e6)  # implausibly wide
    combined, reasons = engine._gated(
        result.series, Horizon(steps=7), decision, replace(live, quantiles=quantiles)
    )
    assert combined.weights["random_walk"] == 1.0
    assert any(reason.startswith("gate:") for reason in reasons)


def test_the_published_forecast_is_the_decision_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(members=(*NAIVE_ONLY, toy_setting(monkeypatch)))
    states = {"toy": MemberState.ON}
    decision = decide(result.bank.slice_at(SERIES.last, 40), states, DecisionConfig())
    assert repr(decision) == repr(result.decision)
    live = ForecastEngine(result.config).fill(SERIES, result.plan)[1]
    combined = apply(decision, live)
    np.testing.assert_array_equal(SERIES.scale.backward(combined.quantiles), result.forecast.quantiles)


def test_a_constant_series_gives_a_constant_forecast() -> None:
    """Regression: a constant series whose zero width becomes NaN."""
    result = run(make_series(np.full(300, 12.5)))
    np.testing.assert_allclose(result.forecast.quantiles, 12.5)
    assert Flag.DEGENERATE_WIDTH in result.forecast.flags


def test_demand_is_never_negative() -> None:
    rng = np.random.default_rng(0)
    series = make_series(rng.poisson(0.4, 400) * 1.0, nonnegative=True)
    result = run(series)
    assert result.forecast.quantiles.min() == 0.0


def test_a_series_without_a_season_runs_without_the_seasonal_naive() -> None:
    result = run(make_series(SERIES.values, scale=Scale.LOG, periods=()))
    assert [m.name for m in result.members] == ["random_walk"]
    assert result.status is Status.PUBLISHED


def test_progress_reaches_every_member() -> None:
    seen: dict[str, tuple[int, int]] = {}
    config = EngineConfig(members=NAIVE_ONLY, isolated=False)
    ForecastEngine(config).forecast(SERIES, 7, progress=lambda name, n, of: seen.update({name: (n, of)}))
    assert set(seen) == set(NAIVES)
    assert all(n == of for n, of in seen.values())


def test_the_classical_members_are_the_default() -> None:
    assert [m.name for m in default_members()] == [name for name in MEMBERS if name not in NEEDS]


@pytest.mark.parametrize(
    "bad",
    [
        {"members": (MemberSetting(name="random_walk"), MemberSetting(name="random_walk"))},
        {"replays": -1},
        {"workers": 0},
        {"levels": (0.1, 0.5, 0.9)},
        {"levels": LEVELS[::-1]},
    ],
)
def test_settings_that_cannot_work_are_refused_before_anything_runs(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        EngineConfig(**bad)


@pytest.mark.parametrize("bad", [{"windows": -1}, {"deadline_s": 0.0}, {"memory_mb": 0}])
def test_member_limits_that_cannot_work_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        MemberSetting(name="var", **bad)


def test_an_unknown_member_comes_with_a_hint() -> None:
    with pytest.raises(UnknownNameError, match="did you mean random_forest"):
        MemberSetting(name="random_forrest")


def test_the_shipped_members_together_run_after_run(tmp_path: Path) -> None:
    """All members with their own defaults in their own processes, then from the cache, then here.

    Children have one thread each; GARCH sums in another order with two, so that the run in this
    process is held to one as well.
    """
    from threadpoolctl import threadpool_limits

    engine = ForecastEngine(EngineConfig(workers=2, replays=3), cache=BankCache(tmp_path))
    first, again = (engine.forecast(SERIES, "7d") for _ in range(2))
    assert first.status is Status.PUBLISHED
    assert [m.name for m in first.members] == [name for name in MEMBERS if name not in NEEDS]
    assert all(m.answered == m.asked for m in first.members)
    assert same(first, again)
    assert all(m.cached == m.asked for m in again.members)
    with threadpool_limits(1):
        in_process = ForecastEngine(EngineConfig(isolated=False, replays=3)).forecast(SERIES, "7d")
    assert same(first, in_process)


def below(monkeypatch: pytest.MonkeyPatch, quorum: int, **changes: Any) -> EngineResult:
    """One of two members answers."""
    bad = toy_setting(monkeypatch, "bad", act="bug")
    return run(members=(*NAIVE_ONLY, toy_setting(monkeypatch), bad), quorum=quorum, **changes)


def test_enough_members_make_a_quorum(monkeypatch: pytest.MonkeyPatch) -> None:
    result = below(monkeypatch, 1)
    assert {m.name: m.weight for m in result.members}["toy"] > 0.0
    assert result.status_reasons == ("bad is on and gave no forecast (ZeroDivisionError)",)


def test_below_the_quorum_the_best_naive_is_published_degraded(monkeypatch: pytest.MonkeyPatch) -> None:
    result = below(monkeypatch, 2)
    np.testing.assert_array_equal(
        result.forecast.quantiles, run().forecast.quantiles
    )  # calibrated as a run of the naives alone
    assert {m.name: m.weight for m in result.members if m.name not in NAIVES} == {"toy": 0.0, "bad": 0.0}
    assert Flag.FALLBACK in result.forecast.flags
    assert result.status is Status.DEGRADED
    assert "below the quorum: 1 of 2 members answered, 2 are needed" in result.status_reasons


def test_below_the_quorum_nothing_is_published_where_the_policy_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(PublicationError, match="below the quorum: 1 of 2"):
        below(monkeypatch, 2, below_quorum=BelowQuorum.BLOCKED)


def test_a_quorum_never_asks_for_more_members_than_are_on(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(quorum=5).status is Status.PUBLISHED
    assert run(members=(*NAIVE_ONLY, toy_setting(monkeypatch)), quorum=5).status is Status.PUBLISHED
