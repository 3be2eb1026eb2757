"""Tests of var: closed forms against simulation and statsmodels, covariates, and the contract."""

import numpy as np
import pytest
from scipy.stats import norm

from horizoncast.calendar import CalendarKind
from horizoncast.errors import HistoryTooShortError, MissingCovariateError
from horizoncast.forecast import Failure, Flag
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.var import (
    Var,
    VarConfig,
    choose_inputs,
    companion,
    cumulated_forecast,
    lagged,
    ridge,
    stabilised,
    student_quantiles,
    tail_weight,
    term_structure,
)
from horizoncast.series import Covariate, Scale, Series
from support import make_series, market, weekly_season

LAGS = np.array([[[0.3, 0.2], [0.1, -0.4]], [[0.1, 0.0], [0.2, 0.1]]])
SIGMA = np.array([[1.0, 0.4], [0.4, 2.0]])


def answer(series: Series, steps: int = 10, config: VarConfig | None = None, at: int = -1):
    return next(
        iter(Var(config or VarConfig()).forecast(series, [series.dates[at]], Horizon(steps=steps), LEVELS))
    )


def led(n: int = 700, seed: int = 0, strength: float = 0.6) -> Series:
    """A target that follows its covariate by one session."""
    rng = np.random.default_rng(seed)
    lead = rng.normal(size=n)
    own = np.append(0.0, strength * lead[:-1]) + np.sqrt(1 - strength**2) * rng.normal(size=n)
    target = 100 * np.exp(0.01 * np.cumsum(own))
    other = 50 * np.exp(0.02 * np.cumsum(lead))
    return make_series(target, scale=Scale.LOG, covariates=(Covariate(name="lead", values=other),))


def with_values(series: Series, name: str, values: np.ndarray, **settings: int) -> Series:
    return make_series(
        series.values, scale=series.scale, covariates=(Covariate(name=name, values=values, **settings),)
    )


def test_variance_of_the_cumulated_forecast_matches_simulation():
    rng = np.random.default_rng(0)
    paths, steps = 60_000, 12
    shocks = rng.normal(size=(steps, paths, 2)) @ np.linalg.cholesky(SIGMA).T
    past = [np.zeros((paths, 2)), np.zeros((paths, 2))]
    total, expected = np.zeros(paths), []
    for h in range(steps):
        new = past[0] @ LAGS[0].T + past[1] @ LAGS[1].T + shocks[h]
        past = [new, past[0]]
        total = total + new[:, 0]
        expected.append(total.var())
    _, variance = cumulated_forecast(LAGS, SIGMA, np.zeros((2, 2)), steps)
    np.testing.assert_allclose(variance, expected, rtol=0.03)


def test_mean_and_variance_match_statsmodels():
    from statsmodels.tsa.vector_ar.var_model import VARProcess, forecast

    recent = np.array([[0.5, -1.0], [2.0, 0.7]])
    process = VARProcess(LAGS, np.zeros((2, 1)), SIGMA)
    mean, variance = cumulated_forecast(LAGS, SIGMA, recent, 8)
    np.testing.assert_allclose(mean, np.cumsum(forecast(recent, LAGS, np.zeros((1, 2)), 8)[:, 0]), rtol=1e-10)
    C = np.cumsum(process.ma_rep(7), axis=0)
    expected = np.cumsum([(c @ SIGMA @ c.T)[0, 0] for c in C])
    np.testing.assert_allclose(variance, expected, rtol=1e-10)


def test_without_lags_the_variance_is_that_of_a_random_walk():
    mean, variance = cumulated_forecast(np.empty((0, 1, 1)), np.array([[2.0]]), np.empty((0, 1)), 3)
    np.testing.assert_array_equal(mean, 0)
    np.testing.assert_allclose(variance, [2, 4, 6])


def test_ridge_is_least_squares_without_a_penalty_and_shrinks_with_one():
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(200, 3)), rng.normal(size=(200, 2))
    np.testing.assert_allclose(ridge(X, Y, 0.0), np.linalg.lstsq(X, Y, rcond=None)[0], atol=1e-10)
    np.testing.assert_allclose(ridge(X, Y, 1e9), 0, atol=1e-6)


def test_ridge_recovers_a_simulated_var():
    rng = np.random.default_rng(2)
    x = np.zeros((8000, 2))
    for t in range(2, len(x)):
        x[t] = LAGS[0] @ x[t - 1] + LAGS[1] @ x[t - 2] + rng.normal(size=2)
    response, regressors = lagged(x, 2)
    found = np.swapaxes(ridge(regressors, response, 0.0).reshape(2, 2, 2), 1, 2)
    np.testing.assert_allclose(found, LAGS, atol=0.04)


def test_explosive_coefficients_are_pulled_inside():
    lags = np.array([[[1.2]], [[0.3]]])
    assert np.abs(np.linalg.eigvals(companion(stabilised(lags)))).max() == pytest.approx(0.98)
    np.testing.assert_array_equal(stabilised(LAGS), LAGS)


def test_term_structure_starts_now_and_ends_at_one():
    ratio = term_structure(4.0, 0.9, 500)
    assert ratio[0] == pytest.approx(4.0)
    assert ratio[-1] == pytest.approx(1.0, abs=0.1)
    path = 1 + 3 * 0.9 ** np.arange(500)
    np.testing.assert_allclose(ratio, np.cumsum(path) / np.arange(1, 501))
    np.testing.assert_array_equal(term_structure(4.0, 1.0, 3), 4.0)


def test_quantiles_have_unit_variance_and_tend_to_the_normal():
    quantiles = student_quantiles(6.0, (0.1, 0.5, 0.99), 400)
    assert quantiles[0, 2] > norm.ppf(0.99)
    np.testing.assert_allclose(quantiles[-1], norm.ppf([0.1, 0.5, 0.99]), atol=0.02)


def test_tail_weight_tells_fat_from_normal():
    rng = np.random.default_rng(3)
    assert tail_weight(rng.normal(size=5000), 0.94) > 10 > tail_weight(rng.standard_t(5, 5000), 0.94)


def test_a_leading_covariate_is_used():
    series = led()
    horizon = Horizon(steps=1)
    errors, walk = [], []
    cutoffs = series.dates[500:690:2]
    for forecast in Var(VarConfig()).forecast(series, cutoffs, horizon, LEVELS):
        at = series.index_of(forecast.cutoff)
        errors.append(np.log(series.values[at + 1] / forecast.point[0]))
        walk.append(np.log(series.values[at + 1] / series.values[at]))
    assert np.sqrt(np.mean(np.square(errors))) < 0.9 * np.sqrt(np.mean(np.square(walk)))
    assert forecast.flags == ()


def test_a_publication_lag_hides_the_lead():
    series = led()
    late = with_values(series, "lead", series.covariates[0].values, publication_lag=1)
    assert abs(np.log(answer(late).point[0] / late.values[-1])) < 0.005


def test_covariates_with_gaps_in_the_window_are_left_out_and_flagged():
    series = led()
    thin = series.covariates[0].values.copy()
    thin[:400] = np.nan
    forecast = answer(with_values(series, "lead", thin))
    assert Flag.NO_COVARIATES in forecast.flags


def test_one_covariate_left_out_of_two_is_flagged():
    series = market()
    thin = np.full(len(series), np.nan)
    covariates = (Covariate(name="thin", values=thin), series.covariates[1])
    forecast = answer(make_series(series.values, scale=Scale.LOG, covariates=covariates))
    assert forecast.flags == (Flag.STALE_INPUT,)


def test_a_stale_covariate_fails_its_cutoff_only():
    series = led()
    values = series.covariates[0].values.copy()
    values[-8:] = np.nan
    stale = with_values(series, "lead", values, max_carry=3)
    late, early = Var(VarConfig()).forecast(
        stale, [stale.dates[-1], stale.dates[-20]], Horizon(steps=5), LEVELS
    )
    assert isinstance(late, Failure)
    assert late.code == MissingCovariateError.__name__
    assert "lead" in late.reason
    assert not isinstance(early, Failure)


def test_a_negative_value_after_log_was_decided_is_carried_and_flagged():
    series = led()
    values = series.covariates[0].values.copy()
    values[-1] = -3.0
    assert Flag.STALE_INPUT in answer(with_values(series, "lead", values)).flags


def test_inputs_choose_logs_for_positive_columns_and_skip_constants():
    rng = np.random.default_rng(4)
    table = np.column_stack(
        [np.exp(rng.normal(size=50)), rng.normal(size=50), np.ones(50), np.full(50, np.nan)]
    )
    found = choose_inputs(table, 0.8)
    assert [(i.column, i.log) for i in found] == [(0, True), (1, False)]


def test_answers_are_the_same_alone_and_together_and_again():
    series = market()
    a, b = series.dates[300], series.dates[371]
    together = list(Var(VarConfig()).forecast(series, [b, a], Horizon(steps=12), LEVELS))
    assert together[0].same_numbers(answer(series, 12, at=371))
    assert together[1].same_numbers(answer(series, 12, at=300))


def test_the_future_changes_nothing():
    series = market()
    values = series.values.copy()
    values[351:] *= 1000
    covariates = []
    for covariate in series.covariates:
        later = covariate.values.copy()
        later[351:] = np.nan
        covariates.append(
            Covariate(name=covariate.name, values=later, publication_lag=covariate.publication_lag)
        )
    changed = make_series(values, scale=Scale.LOG, covariates=tuple(covariates))
    assert answer(series, at=350).same_numbers(answer(changed, at=350))


@pytest.mark.parametrize("steps", [1, 168])
def test_horizons(steps):
    assert answer(market(), steps).quantiles.shape == (steps, len(LEVELS))


@pytest.mark.parametrize("factor", [1e-9, 1e9])
def test_scale_of_the_unit_does_not_matter(factor):
    values = 50 + np.cumsum(np.random.default_rng(5).normal(size=300))
    one, other = answer(make_series(values)), answer(make_series(values * factor))
    np.testing.assert_allclose(other.quantiles / factor, one.quantiles, rtol=1e-6)


def test_constant_series_has_no_width_and_says_so():
    forecast = answer(make_series(np.full(200, 7.0)))
    np.testing.assert_array_equal(forecast.quantiles, 7.0)
    assert Flag.DEGENERATE_WIDTH in forecast.flags


def test_short_history_is_an_error_of_its_cutoff():
    failure = answer(market(), at=10)
    assert isinstance(failure, Failure)
    assert failure.code == HistoryTooShortError.__name__


def test_a_random_walk_is_left_alone():
    series = make_series(np.exp(0.01 * np.cumsum(np.random.default_rng(6).normal(size=800))), scale=Scale.LOG)
    forecast = answer(series, 60)
    np.testing.assert_allclose(forecast.point, series.values[-1], rtol=0.003)
    assert forecast.flags == (Flag.NO_COVARIATES,)


def test_a_week_is_repeated():
    series = weekly_season()
    week = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -2.0, -4.0])
    np.testing.assert_allclose(answer(series, 14).point, 20 + week[(420 + np.arange(14)) % 7], atol=0.15)


def test_intermittent_demand():
    rng = np.random.default_rng(7)
    demand = rng.poisson(4, 500) * (rng.random(500) < 0.15)
    forecast = answer(make_series(demand, kind=CalendarKind.DAILY, periods=(7,), nonnegative=True), 14)
    assert (forecast.quantiles >= 0).all()
