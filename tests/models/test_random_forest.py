import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.calendar import CalendarKind
from horizoncast.errors import HistoryTooShortError, MissingCovariateError
from horizoncast.forecast import Failure, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.base import seed_of
from horizoncast.models.lag_features import (
    anchor_row,
    choose_design,
    expected_spread,
    pair_features,
    visible_seasons,
    window_of,
)
from horizoncast.models.leaf_forest import Growth, binned_quantiles, fit_linear, grow_forest
from horizoncast.models.random_forest import (
    HeldOut,
    RandomForest,
    RandomForestConfig,
    draw_pairs,
    purged_folds,
    shrinkage,
    width_factor,
)
from horizoncast.series import Covariate
from support import make_series, market, weekly_season

TEN = Horizon(steps=10)
SMALL = Growth(trees=20, leaf=20, features=0.5, ridge=np.inf)


def random_walk(seed, length=900):
    return 50.0 + np.cumsum(np.random.default_rng(seed).standard_normal(length))


def forecast(series, rows, horizon=TEN, **settings):
    member = RandomForest(RandomForestConfig(**settings), service="s")
    return list(member.forecast(series, [series.dates[r] for r in rows], horizon, LEVELS))


def fitted(series, horizon=TEN, **settings):
    member = RandomForest(RandomForestConfig(**settings), service="s")
    return member.fit(series.until(series.last), horizon)


# Features and anchors


@pytest.mark.parametrize("make", [market, weekly_season])
def test_features_hold_nothing_after_their_origin(make):
    """Regression: the target leaked into the forest's features."""
    series = make()
    full = window_of(series.until(series.last))
    design = choose_design(full, series.periods, TEN)
    for row in (200, 201, 333):
        cut = window_of(series.until(series.dates[row]), TEN.steps)
        leads = np.arange(1, 11)
        rows = np.full(10, row)
        assert np.array_equal(
            pair_features(full, design, rows, leads), pair_features(cut, design, rows, leads)
        )


@given(st.integers(1, 200), st.integers(1, 30))
def test_anchor_is_the_last_session_of_the_targets_phase(lead, period):
    (row,) = anchor_row(np.array([1000]), np.array([lead]), period)
    assert 1000 - period < row <= 1000
    assert (1000 + lead - row) % period == 0


@pytest.mark.parametrize("seed", range(20))
def test_prices_show_no_season(seed):
    assert visible_seasons(random_walk(seed), (5, 21)) == ()


def test_prices_are_anchored_at_the_last_value_and_seasons_at_the_season():
    price, season = market(), weekly_season()
    assert choose_design(window_of(price.until(price.last)), price.periods, TEN).anchor == 1
    assert choose_design(window_of(season.until(season.last)), season.periods, TEN).anchor == 7


@given(st.floats(0.01, 5.0), st.integers(1, 300))
def test_expected_spread_is_the_garch_sum_of_variances(sigma, lead):
    """Sum of ``s2 + phi^j (sigma2 - s2)`` over the steps (Bollerslev 1986, aggregated)."""
    series = market()
    design = replace(choose_design(window_of(series.until(series.last)), (), TEN), spread=1.0, anchor=1)
    found = expected_spread(np.array([sigma]), np.array([lead]), design)[0]
    steps = 1.0 + 0.985 ** np.arange(lead) * (sigma**2 - 1.0)
    assert np.isclose(found, np.sqrt(steps.sum()))


# Learning pairs


def test_pairs_end_inside_the_window_and_are_bounded():
    series = market()
    window = window_of(series.until(series.dates[300]))
    design = choose_design(window, series.periods, TEN)
    pairs = draw_pairs(window, design, TEN, 500, np.random.default_rng(0))
    assert len(pairs.y) == 500
    assert (pairs.rows + pairs.leads <= 300).all()
    assert set(np.unique(pairs.leads)) == set(range(1, 11))


@given(st.integers(30, 200), st.integers(1, 20), st.integers(2, 5))
def test_no_outcome_of_a_fold_overlaps_a_training_outcome(length, steps, folds):
    rows, leads = (
        part.ravel() for part in np.meshgrid(np.arange(length), np.arange(1, steps + 1), indexing="ij")
    )
    for train, held in purged_folds(rows, leads, steps, folds):
        first, last = rows[held].min(), (rows + leads)[held].max()
        assert (((rows + leads)[train] <= first) | (rows[train] >= last)).all()


def test_missing_covariates_drop_training_rows_only():
    series = market(lag=0)
    column = series.covariates[0].values.copy()
    column[150:200] = np.nan
    holed = replace(series, covariates=(replace(series.covariates[0], values=column, max_carry=0),))
    window = window_of(holed.until(holed.last))
    pairs = draw_pairs(window, choose_design(window, (), TEN), TEN, 10**6, np.random.default_rng(0))
    assert not set(pairs.rows) & set(range(150, 200))
    assert {149, 200} <= set(pairs.rows)


def test_reasons_of_too_few_pairs_are_told_apart():
    series = market()
    blank = replace(series, covariates=(Covariate(name="x", values=np.full(len(series), np.nan)),))
    for target, stop, error in ((series, 12, HistoryTooShortError), (blank, 300, MissingCovariateError)):
        window = window_of(replace(target, covariates=target.covariates[-1:]).until(target.dates[stop]))
        design = choose_design(window, (), Horizon(steps=2))
        with pytest.raises(error):
            draw_pairs(window, design, Horizon(steps=2), 100, np.random.default_rng(0))


# Quantiles from leaves


def test_leaf_distribution_is_meinshausens_weighting():
    """Against the definition: weights by shared leaves, averaged over trees, at every bin edge."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)).astype(np.float32)
    y = X[:, 0] + 0.5 * rng.standard_normal(300)
    forest = grow_forest(X, y, SMALL, rng)
    query = rng.standard_normal((6, 3)).astype(np.float32)
    weight = np.zeros((6, 300))
    for tree in forest.trees:
        shared = tree.apply(query)[:, None] == tree.apply(X)[None, :]
        weight += shared / shared.sum(axis=1, keepdims=True) / len(forest.trees)
    expected = np.stack([weight @ (y <= edge) for edge in forest.edges[1:]], axis=1)
    assert np.allclose(forest.distribution(query), expected, atol=1e-5)


def test_quantiles_without_splits_are_those_of_the_sample():
    rng = np.random.default_rng(1)
    y = rng.standard_normal(4000)
    forest = grow_forest(np.zeros((4000, 1), dtype=np.float32), y, SMALL, rng)
    found = forest.quantiles(np.zeros((1, 1), dtype=np.float32), LEVELS)[0]
    assert np.allclose(found, np.quantile(y, LEVELS), atol=0.03)


@given(st.lists(st.floats(0.01, 1.0), min_size=2, max_size=20))
def test_binned_quantiles_never_cross(masses):
    distribution = np.cumsum(masses) / np.sum(masses)
    edges = np.arange(len(masses) + 1.0)
    found = binned_quantiles(distribution[None], edges, LEVELS)[0]
    assert (np.diff(found) >= 0).all()
    assert np.allclose(np.interp(found, edges, [0.0, *distribution]), LEVELS)


def test_ridge_slope_solves_its_normal_equations():
    rng = np.random.default_rng(2)
    X = rng.uniform(-1, 1, (500, 2)).astype(np.float32)
    y = 3.0 * X[:, 0] + 0.1 * rng.standard_normal(500)
    linear = fit_linear(X, y, 1e-9)
    assert np.allclose(linear.slope / linear.unit, [3.0, 0.0], atol=0.05)
    half = fit_linear(X, y, 1.0)
    assert np.allclose(half.slope, linear.slope / 2.0, atol=0.02)


def test_slope_does_not_run_away_beyond_the_data():
    X = np.linspace(-1, 1, 200, dtype=np.float32)[:, None]
    linear = fit_linear(X, X[:, 0].astype(np.float64), 1e-9)
    far = linear.predict(np.array([[100.0], [1000.0]], dtype=np.float32))
    assert far[0] == far[1] < 5.0


# Shrinkage and width


def held_out(signal, noise, seed=0, count=4000):
    rng = np.random.default_rng(seed)
    median = rng.standard_normal(count)
    y = signal * median + noise * rng.standard_normal(count)
    return HeldOut(quantiles=np.stack([median - 1.2816, median, median + 1.2816], axis=1), y=y)


def test_shrinkage_keeps_signal_and_drops_noise():
    assert shrinkage(held_out(1.0, 1.0), 1) > 0.95
    assert 0.4 < shrinkage(held_out(0.5, 1.0), 1) < 0.6
    assert shrinkage(held_out(0.0, 1.0), 10) < 0.05
    assert shrinkage(held_out(-1.0, 1.0), 1) == 0.0
    assert shrinkage(held_out(1.0, 1.0), 300) < shrinkage(held_out(1.0, 1.0), 1)


def test_width_factor_corrects_the_held_out_interval():
    assert width_factor(held_out(1.0, 1.0), 1.0, 1e9) == pytest.approx(1.0, abs=0.04)
    assert width_factor(held_out(1.0, 1.5), 1.0, 1e9) == pytest.approx(1.5, abs=0.06)
    assert width_factor(held_out(1.0, 9.0), 1.0, 1e9) == 2.0
    assert width_factor(held_out(1.0, 1.5), 1.0, 0.0) == 1.0


def test_random_walks_are_forecast_by_their_last_value():
    kappas = [fitted(make_series(random_walk(seed))).kappa for seed in range(6)]
    assert np.mean(kappas) < 0.1


def test_mean_reversion_is_found():
    rng = np.random.default_rng(5)
    z = np.zeros(1200)
    for t in range(1, 1200):
        z[t] = 0.7 * z[t - 1] + rng.standard_normal()
    series = make_series(100.0 + z)
    assert fitted(series).kappa > 0.6
    rows = list(range(700, 1180, 20))
    actual = np.array([z[r + 1 : r + 11] for r in rows])
    last = z[rows][:, None]
    truth = last * 0.7 ** np.arange(1, 11)  # the conditional mean nobody can beat
    found = np.array([f.point for f in forecast(series, rows)]) - 100.0
    naive, best, ours = (np.mean((actual - f) ** 2) for f in (last, truth, found))
    assert naive - ours > 0.6 * (naive - best)


@pytest.mark.parametrize("known", [True, False])
def test_covariates_are_used_as_far_as_they_are_known(known):
    """A holiday that doubles demand helps when it is known in advance, and only then."""
    rng = np.random.default_rng(6)
    holiday = (rng.random(700) < 0.15).astype(float)
    values = 100.0 + 40.0 * holiday + rng.standard_normal(700)
    covariate = Covariate(name="holiday", values=holiday, known_future=known)
    series = make_series(values, kind=CalendarKind.DAILY, periods=(7,), covariates=(covariate,))
    found = forecast(series, range(500, 680, 12))
    error = np.mean([np.abs(series.actuals(f.cutoff, f.dates) - f.point).mean() for f in found])
    assert (error < 4.0) == known


def test_visible_lagged_covariate_moves_the_forecast():
    rng = np.random.default_rng(7)
    x = np.cumsum(rng.standard_normal(800))
    target = 500.0 + np.concatenate([[0.0], 3.0 * x[:-1]]) + 0.1 * rng.standard_normal(800)
    series = make_series(target, covariates=(Covariate(name="x", values=x),))
    moved = x.copy()
    moved[-1] += 3.0
    other = replace(series, covariates=(Covariate(name="x", values=moved),))
    (before,), (after,) = (forecast(s, [799], Horizon(steps=1)) for s in (series, other))
    assert after.point[0] > before.point[0] + 2.0


# Failures, seeds, cost


def test_missing_covariate_fails_its_cutoffs_and_no_others():
    series = market(lag=0)
    column = series.covariates[0].values.copy()
    column[400:] = np.nan
    holed = replace(series, covariates=(replace(series.covariates[0], values=column, max_carry=2),))
    found = forecast(holed, [399, 401, 402])
    assert [type(f) for f in found] == [Forecast, Forecast, Failure]
    assert found[2].code == "MissingCovariateError"
    assert "x0" in found[2].reason


def test_known_future_that_ends_too_early_is_a_failure():
    flag = Covariate(name="holiday", values=np.arange(425) % 9 == 0, known_future=True)
    series = make_series(market().values, covariates=(flag,))
    near, far = (forecast(series, [419], Horizon(steps=h))[0] for h in (5, 6))
    assert isinstance(near, Forecast)
    assert isinstance(far, Failure)
    assert far.code == "MissingCovariateError"


def test_series_that_moves_after_a_constant_window_has_a_width():
    values = np.full(200, 5.0)
    values[-3:] = [5.0, 6.0, 5.5]
    series = make_series(values)
    cutoffs = [r for r in range(197, 200) if r - series.ordinals[r] % 60 < 197]
    assert cutoffs
    found = forecast(series, cutoffs)
    assert all(isinstance(f, Forecast) for f in found)
    assert (found[-1].quantile(0.9) > found[-1].quantile(0.1)).all()


def test_seed_follows_the_service():
    series = market()
    one, other = (
        RandomForest(RandomForestConfig(), service=s).fit(series.until(series.last), TEN) for s in ("a", "b")
    )
    again = RandomForest(RandomForestConfig(), service="a").fit(series.until(series.last), TEN)
    query = np.zeros((1, one.forest.linear.slope.size), dtype=np.float32)
    assert np.array_equal(one.forest.distribution(query), again.forest.distribution(query))
    assert not np.array_equal(one.forest.distribution(query), other.forest.distribution(query))
    assert seed_of("a") != seed_of("b")


def test_importing_the_member_leaves_sklearn_out():
    code = "import sys, horizoncast.models.random_forest; print('sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_state_stays_small():
    state = fitted(market(1500), Horizon(steps=90))
    assert sum(t.nbytes for t in state.forest.tables) < 30e6
