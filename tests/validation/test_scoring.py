"""Scores: in the unit, on matured cells, with what they are made of."""

import numpy as np
import pytest

from horizoncast import metrics
from horizoncast.bank import Bank, build_bank
from horizoncast.horizon import DECILES, LEVELS, Horizon
from horizoncast.metrics import Metric, Sample
from horizoncast.models.naive import RandomWalk, RandomWalkConfig
from horizoncast.series import Scale, Series
from horizoncast.validation.scoring import metrics_n_eff, score_subject
from horizoncast.validation.splitter import plan_cutoffs
from support import make_series

H = Horizon(steps=7)


def price(scale: Scale = Scale.LOG) -> Series:
    rng = np.random.default_rng(2)
    return make_series(900.0 * np.exp(np.cumsum(0.01 * rng.standard_normal(400))), scale=scale)


def bank_of(series: Series) -> Bank:
    plan = plan_cutoffs(series, H, windows=20, replays=0)
    rows = RandomWalk(RandomWalkConfig()).forecast(series, plan.cutoffs, H, LEVELS)
    return build_bank(series, H, plan.stride, LEVELS, {"random_walk": list(rows)})


@pytest.mark.parametrize("scale", list(Scale))
def test_scores_are_those_of_the_unit(scale: Scale) -> None:
    series = price(scale)
    bank = bank_of(series)
    scores = {s.metric: s for s in score_subject("random_walk", bank.quantiles[0], bank, series)}
    assert set(scores) == set(Metric)
    unit = scale.backward(bank.quantiles[0])
    actual = np.array([series.actuals(c, series.session_dates(c, 7)) for c in bank.cutoffs])
    assert scores[Metric.RMSE].value == pytest.approx(np.sqrt(np.mean((actual - unit[..., 9]) ** 2)))
    assert 5.0 < scores[Metric.RMSE].value < 50.0  # pesos, not log points
    low, high = unit[..., LEVELS.index(0.1)], unit[..., LEVELS.index(0.9)]
    assert scores[Metric.COVERAGE_80].value == pytest.approx(np.mean((actual >= low) & (actual <= high)))
    assert scores[Metric.WIDTH_80].value == pytest.approx(np.mean(high - low))
    wide = unit[..., LEVELS.index(0.975)] - unit[..., LEVELS.index(0.025)]
    assert scores[Metric.WIDTH_95].value == pytest.approx(np.mean(wide))
    deciles = unit[..., [LEVELS.index(d) for d in DECILES]]
    assert scores[Metric.WQL].value == pytest.approx(metrics.weighted_quantile_loss(actual, deciles, DECILES))
    for score in scores.values():
        assert score.sample is Sample.PSEUDO_OUT_OF_SAMPLE
        assert score.windows == bank.windows
        assert score.n_eff == pytest.approx(bank.n_eff)
        assert np.isfinite(score.value) or score.metric is Metric.DIRECTIONAL_ACCURACY
    assert scores[Metric.RMSE].unit == scores[Metric.WIDTH_95].unit == "unit"
    assert scores[Metric.WQL].unit == scores[Metric.MASE].unit == "1"
    assert scores[Metric.PATH_RMSE].unit == f"{scale} of unit"
    assert scores[Metric.PATH_RMSE].leads == (1, 2, 3, 5, 7)


def test_mase_is_scaled_by_the_past_of_the_first_cutoff_only() -> None:
    series = price()
    bank = bank_of(series)
    values = series.values.copy()
    start = series.index_of(bank.cutoffs[0]) + 1
    louder = make_series(np.r_[values[:start], values[start:] * 2], scale=Scale.LOG)
    one, other = (
        {s.metric: s.value for s in score_subject("x", bank.quantiles[0], bank, s)} for s in (series, louder)
    )
    assert one[Metric.MASE] == other[Metric.MASE]


def test_absent_rows_and_unknown_outcomes_are_left_out() -> None:
    series = price()
    bank = bank_of(series)
    quantiles = bank.quantiles[0].copy()
    quantiles[:5] = np.nan
    gappy = {s.metric: s for s in score_subject("x", quantiles, bank, series)}
    rest = bank.pick(np.arange(5, bank.windows))
    whole = {s.metric: s for s in score_subject("x", rest.quantiles[0], rest, series)}
    assert gappy[Metric.RMSE].windows == bank.windows - 5
    for metric in set(Metric) - {Metric.MASE, Metric.DIRECTIONAL_ACCURACY}:
        assert gappy[metric].value == pytest.approx(whole[metric].value)


def test_nothing_known_is_no_score() -> None:
    series = price()
    bank = bank_of(series)
    assert score_subject("x", np.full(bank.quantiles[0].shape, np.nan), bank, series) == []


def test_a_constant_series_has_scores_without_a_warning() -> None:
    series = make_series(np.full(200, 3.0), scale=Scale.LEVEL)
    bank = bank_of(series)
    values = {s.metric: s.value for s in score_subject("random_walk", bank.quantiles[0], bank, series)}
    assert values[Metric.RMSE] == 0.0
    assert values[Metric.COVERAGE_80] == 1.0
    assert np.isnan(values[Metric.MASE])


def test_zero_outcomes_have_no_percentage_error() -> None:
    series = make_series(np.arange(200) % 2 * 1.0, scale=Scale.LEVEL)
    bank = bank_of(series)
    values = {s.metric: s.value for s in score_subject("random_walk", bank.quantiles[0], bank, series)}
    assert np.isnan(values[Metric.MAPE])
    assert np.isfinite(values[Metric.WQL])


def test_a_series_of_zeros_is_scored_without_a_warning() -> None:
    series = make_series(np.zeros(200), scale=Scale.LEVEL)
    bank = bank_of(series)
    values = {s.metric: s.value for s in score_subject("random_walk", bank.quantiles[0], bank, series)}
    assert values[Metric.MAE] == 0.0


def test_effective_windows_of_a_part() -> None:
    bank = bank_of(price())
    assert metrics_n_eff(bank, 10) == pytest.approx(10 * 5 / 7)
