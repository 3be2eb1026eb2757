"""Comparisons: the same cutoffs for both, scores by somebody else's loop, seeds found out, costs measured."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.errors import ConfigError, DataError, UnknownNameError
from horizoncast.metrics import Metric
from horizoncast.series import Series
from horizoncast.service.backtesting import Span, run_backtest
from horizoncast.service.comparing import WORTH, Comparison, run_comparison
from horizoncast.service.settings import Settings, load_settings
from hybrid_toys import enter_branches
from small_target import NAIVES_ONLY, write_target

SPAN = Span(first=np.datetime64("2023-09-01", "s"), last=np.datetime64("2023-10-31", "s"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("compare")
    target = write_target(folder, sessions=500)
    target.write_text(target.read_text().replace("periods = []", "periods = [5]"))
    return folder


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    overrides = {**NAIVES_ONLY, "target": "toy.toml"}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


@pytest.fixture(scope="module")
def series(root: Path) -> Series:
    return load_series(read_target(root / "toy.toml")).series


@pytest.fixture(scope="module")
def naives(settings: Settings, series: Series) -> Comparison:
    return run_comparison(settings, series, ("random_walk", "seasonal_naive"), SPAN)


def test_scores_and_coverage_against_a_plain_loop(naives: Comparison, series: Series) -> None:
    bank = naives.bank
    assert np.isfinite(bank.actuals).all()
    actual = bank.scale.backward(bank.actuals)
    for side, quantiles in zip(naives.sides, naives.quantiles, strict=True):
        unit = bank.scale.backward(quantiles)
        error = unit[..., bank.level_index(0.5)] - actual
        low, high = unit[..., bank.level_index(0.1)], unit[..., bank.level_index(0.9)]
        below, above = np.maximum(low - actual, 0), np.maximum(actual - high, 0)
        score = (high - low + 10.0 * (below + above)).mean()
        assert side.score.values[Metric.RMSE] == pytest.approx(np.sqrt((error**2).mean()))
        assert side.score.values[Metric.INTERVAL_SCORE_80] == pytest.approx(score)
        inside = ((low <= actual) & (actual <= high)).mean()
        assert side.coverage[0.8].value == pytest.approx(inside)
        assert 0 < side.coverage[0.8].error < 0.5
    a, b = naives.sides
    for metric, ratio in b.score.ratios.items():
        assert ratio == pytest.approx(b.score.values[metric] / a.score.values[metric])
    assert set(a.score.ratios.values()) == {1.0}


def test_verdict_and_power_are_of_the_same_losses(naives: Comparison) -> None:
    a, b = naives.losses
    assert naives.verdict.subject == "seasonal_naive"
    assert naives.power.difference == pytest.approx(b.mean() / a.mean() - 1.0)
    assert np.sign(naives.verdict.statistic) == np.sign(naives.power.difference)
    assert naives.verdict.n_eff == naives.power.n_eff == pytest.approx(len(a) * 5 / 7)


def test_the_other_way_round_is_the_mirror_image(
    settings: Settings, series: Series, naives: Comparison
) -> None:
    back = run_comparison(settings, series, ("seasonal_naive", "random_walk"), SPAN)
    assert back.verdict.statistic == pytest.approx(-naives.verdict.statistic)
    ratio = naives.sides[1].score.ratios[Metric.WQL]
    assert back.sides[1].score.ratios[Metric.WQL] == pytest.approx(1.0 / ratio)


def test_naives_are_found_deterministic_and_cost_nothing_without_a_process(naives: Comparison) -> None:
    for side in naives.sides:
        assert side.stability.deterministic is True
        assert side.cost is None


def test_the_ensemble_is_the_backtests_shipped_pipeline(settings: Settings, series: Series) -> None:
    found = run_comparison(settings, series, ("random_walk", "ensemble"), SPAN, seeds=1)
    past = run_backtest(settings, series, SPAN)
    assert found.bank.cutoffs.tolist() == past.bank.cutoffs.tolist()
    np.testing.assert_array_equal(found.quantiles[1], past.subjects["shipped"])
    np.testing.assert_array_equal(found.quantiles[0], past.subjects["random_walk"])
    assert found.sides[1].stability.deterministic is None


def test_a_random_member_is_asked_again_with_other_seeds_whatever_its_state(
    settings: Settings, series: Series
) -> None:
    """The forest is off in the settings; it runs here, and only its rows change with the seed."""
    span = replace(SPAN, first=np.datetime64("2023-10-10", "s"))
    found = run_comparison(settings, series, ("random_walk", "random_forest"), span, seeds=2)
    walk, forest = (side.stability for side in found.sides)
    assert (walk.deterministic, forest.deterministic, forest.seeds) == (True, False, 2)
    assert 0 < forest.wql < 0.5


def test_seconds_and_memory_of_processes(root: Path, series: Series) -> None:
    overrides = {**NAIVES_ONLY, "target": "toy.toml", "run.isolated": "true"}
    settings = load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)
    found = run_comparison(settings, series, ("random_walk", "ensemble"), SPAN, seeds=1)
    walk, ensemble = (side.cost for side in found.sides)
    assert walk is not None and ensemble is not None
    assert walk.cutoffs == ensemble.cutoffs == 11
    assert walk.wall_s > 0 and walk.peak_mb > 1
    assert ensemble.cpu_s >= walk.cpu_s, "it holds the walk and the seasonal naive"


def test_without_dates_the_newest_cutoffs_worth_enough(settings: Settings, series: Series) -> None:
    found = run_comparison(settings, series, ("random_walk", "seasonal_naive"), Span(), seeds=1)
    assert WORTH <= found.bank.n_eff < WORTH + 1
    assert found.bank.ends[-1] <= series.last


@pytest.mark.parametrize(
    ("names", "error"),
    [
        (("random_walk", "random_walk"), ConfigError),
        (("random_walk", "random_wlk"), UnknownNameError),
        (("ensemble", "ensemble"), ConfigError),
    ],
)
def test_names_are_checked_before_anything_runs(
    settings: Settings, series: Series, names: tuple[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error):
        run_comparison(settings, series, names, SPAN)


def test_a_member_that_cannot_answer_is_named_with_its_reason(root: Path, series: Series) -> None:
    overrides = {**NAIVES_ONLY, "target": "toy.toml", "members.var.min_train": "5000"}
    settings = load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)
    with pytest.raises(DataError, match="var: HistoryTooShortError"):
        run_comparison(settings, series, ("random_walk", "var"), SPAN, seeds=1)


def test_a_series_without_season_has_no_seasonal_naive(settings: Settings, series: Series) -> None:
    plain = replace(series, periods=())
    with pytest.raises(DataError, match="no season"):
        run_comparison(settings, plain, ("random_walk", "seasonal_naive"), SPAN)


@pytest.fixture
def with_hybrid(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Two toys in the places of the hybrid's parts, one of which is always wrong in the same direction."""
    enter_branches(monkeypatch)
    parts = {f"members.{name}.state": "on" for name in ("chronos", "autoformer", "hybrid")}
    return {**NAIVES_ONLY, "target": "toy.toml", **parts, "members.autoformer.error": "1.0"}


def test_the_hybrid_is_compared_as_decisions_on_the_past_make_it(
    root: Path, series: Series, with_hybrid: dict[str, str]
) -> None:
    settings = load_settings("forecaster_7d", root=root, environ={}, overrides=with_hybrid)
    found = run_comparison(settings, series, ("chronos", "hybrid"), SPAN, seeds=1)
    past = run_backtest(settings, series, SPAN)
    np.testing.assert_array_equal(found.quantiles[1], past.subjects["hybrid"])
    assert {score.subject for score in past.scores} >= {"chronos", "autoformer", "hybrid", "shipped"}
    off = load_settings(
        "forecaster_7d", root=root, environ={}, overrides=with_hybrid | {"members.hybrid.state": "off"}
    )
    without = run_backtest(off, series, SPAN)
    assert "hybrid" not in without.subjects
    assert not np.array_equal(without.subjects["shipped"], past.subjects["shipped"])
    again = run_comparison(off, series, ("chronos", "hybrid"), SPAN, seeds=1)
    np.testing.assert_array_equal(again.quantiles[1], found.quantiles[1])


def test_the_ensemble_with_a_hybrid_is_the_one_that_would_be_published(
    root: Path, series: Series, with_hybrid: dict[str, str]
) -> None:
    settings = load_settings("forecaster_7d", root=root, environ={}, overrides=with_hybrid)
    found = run_comparison(settings, series, ("hybrid", "ensemble"), SPAN, seeds=1)
    past = run_backtest(settings, series, SPAN)
    np.testing.assert_array_equal(found.quantiles[1], past.subjects["shipped"])
