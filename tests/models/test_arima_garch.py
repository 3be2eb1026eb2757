"""Tests of arima_garch and of its two recursions, against arch, statsmodels, R and Stata."""

import csv
import pickle

import numpy as np
import pytest
from scipy.signal import lfilter
from scipy.stats import norm

from horizoncast.calendar import CalendarKind
from horizoncast.errors import HistoryTooShortError
from horizoncast.forecast import Failure, Flag
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.arima_garch import ArimaGarch, ArimaGarchConfig
from horizoncast.models.arma import (
    Arma,
    Orders,
    candidates,
    choose_orders,
    difference,
    filtered,
    integrate,
    maximum_likelihood,
    psi_weights,
)
from horizoncast.models.garch import Garch, antithetic_shocks, backcast, ewma, fit_garch, simulate, variances
from horizoncast.series import Scale, Series
from support import make_series, market, shared_data

AIRLINE = Orders(d=1, q=1, D=1, Q=1, m=12)


def passengers() -> np.ndarray:
    with shared_data("airpassengers_monthly.csv").open() as lines:
        return np.array([float(row["y"]) for row in csv.DictReader(lines)])


def garch_path(n: int, seed: int, omega: float = 0.02, alpha: float = 0.08, beta: float = 0.9) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out, s2 = np.empty(n), omega / (1 - alpha - beta)
    for i, shock in enumerate(rng.standard_t(6, n) * np.sqrt(4 / 6)):
        out[i] = np.sqrt(s2) * shock
        s2 = omega + alpha * out[i] ** 2 + beta * s2
    return out


def price(n: int = 600, seed: int = 0) -> Series:
    return make_series(100 * np.exp(np.cumsum(0.006 * garch_path(n, seed))), scale=Scale.LOG)


def answer(series: Series, steps: int = 30, config: ArimaGarchConfig | None = None, at: int = -1):
    member = ArimaGarch(config or ArimaGarchConfig())
    return next(iter(member.forecast(series, [series.dates[at]], Horizon(steps=steps), LEVELS)))


class TestArma:
    def test_airline_model_matches_r(self):
        """R: arima(log(AirPassengers), c(0,1,1), seasonal = c(0,1,1)) gives -0.4018, -0.5569, 0.001348."""
        w = difference(np.log(passengers()), AIRLINE)
        unit = w.std()
        start = choose_orders(w / unit, [AIRLINE])
        fit = maximum_likelihood(w / unit, start)
        np.testing.assert_allclose(fit.coefficients, [-0.4018, -0.5569], atol=5e-4)
        assert fit.variance * unit**2 == pytest.approx(0.001348, rel=2e-3)
        assert fit.converged

    def test_arima_111_matches_stata(self):
        """US CPI without a constant, Stata's figures as shipped with statsmodels."""
        from statsmodels.datasets import macrodata
        from statsmodels.tsa.tests.results import arima111nc_results as stata

        cpi = np.asarray(macrodata.load_pandas().data["cpi"])
        orders = Orders(p=1, d=1, q=1)
        w = difference(cpi, orders)
        fit = maximum_likelihood(w / w.std(), choose_orders(w / w.std(), [orders]), iterations=200)
        np.testing.assert_allclose(fit.coefficients, stata.params[:2], atol=2e-3)
        assert np.sqrt(fit.variance) * w.std() == pytest.approx(stata.sigma[0], rel=2e-3)

    def test_forecast_with_fixed_parameters_matches_statsmodels(self):
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        z = np.log(passengers())
        arma = Arma(orders=AIRLINE, coefficients=np.array([-0.4, -0.55]), variance=0.00135)
        _, ahead = filtered(difference(z, AIRLINE), arma, 15)
        model = SARIMAX(
            z, order=(0, 1, 1), seasonal_order=(0, 1, 1, 12), trend="n", simple_differencing=False
        )
        expected = model.filter([-0.4, -0.55, 0.00135]).get_forecast(15)
        np.testing.assert_allclose(integrate(z, ahead, AIRLINE), expected.predicted_mean, atol=1e-4)
        spread = np.sqrt(0.00135 * np.cumsum(psi_weights(arma, 15) ** 2))
        np.testing.assert_allclose(spread, expected.se_mean, rtol=1e-3)

    def test_filtering_a_longer_sample_extends_the_shorter_one(self):
        rng = np.random.default_rng(0)
        w = lfilter([1, 0.3], [1, -0.6], rng.normal(size=300))
        arma = Arma(orders=Orders(p=1, q=1), coefficients=np.array([0.6, 0.3]))
        np.testing.assert_allclose(filtered(w[:200], arma, 1)[0], filtered(w, arma, 1)[0][:200], atol=1e-10)

    def test_the_recursion_of_long_samples_matches_the_kalman_filter(self):
        from statsmodels.tsa.statespace.sarimax import SARIMAX

        rng = np.random.default_rng(12)
        w = lfilter([1, -0.5], [1, -0.6], rng.normal(size=700))
        arma = Arma(
            orders=Orders(p=1, q=2, D=1, Q=1, m=7),
            coefficients=np.array([0.6, -0.5, 0.2, -0.7]),
            variance=1.1,
        )
        residuals, ahead = filtered(w, arma, 20)
        model = SARIMAX(w, order=(1, 0, 2), seasonal_order=(0, 0, 1, 7), trend="n")
        expected = model.filter([0.6, -0.5, 0.2, -0.7, 1.1])
        np.testing.assert_allclose(ahead, expected.forecast(20), atol=1e-6)
        np.testing.assert_allclose(residuals[300:], expected.resid[300:], atol=1e-6)

    def test_integrate_inverts_difference(self):
        rng = np.random.default_rng(1)
        z = np.cumsum(rng.normal(size=80))
        for orders in (Orders(d=1), Orders(d=1, D=1, m=4), Orders(d=0, D=1, m=7), Orders(d=0)):
            w = difference(z, orders)
            np.testing.assert_allclose(integrate(z[:60], w[-20:], orders), z[60:], atol=1e-9)

    def test_psi_weights_of_known_models(self):
        np.testing.assert_allclose(psi_weights(Arma(orders=Orders()), 4), np.ones(4))
        mean_reverting = Arma(orders=Orders(d=0, p=1), coefficients=np.array([0.5]))
        np.testing.assert_allclose(psi_weights(mean_reverting, 4), [1, 0.5, 0.25, 0.125])
        smoothing = Arma(orders=Orders(q=1), coefficients=np.array([-0.7]))
        np.testing.assert_allclose(psi_weights(smoothing, 4), [1, 0.3, 0.3, 0.3])

    def test_order_choice_keeps_white_noise_white_and_finds_an_arma(self):
        rng = np.random.default_rng(2)
        noise = rng.normal(size=(20, 500))
        plain = [choose_orders(row, candidates(2, 2)).orders.count for row in noise]
        assert plain.count(0) >= 17
        w = lfilter([1.0, -0.7], [1.0], rng.normal(size=800))
        chosen = choose_orders(w, candidates(2, 2))
        assert (chosen.orders.p, chosen.orders.q) == (0, 1)
        assert chosen.coefficients[0] == pytest.approx(-0.7, abs=0.1)


class TestGarch:
    def test_variance_matches_a_plain_recursion(self):
        e = garch_path(200, 1)
        garch = Garch(omega=0.05, alpha=0.1, beta=0.8)
        expected = [1.3]
        for value in e:
            expected.append(0.05 + 0.1 * value**2 + 0.8 * expected[-1])
        np.testing.assert_allclose(variances(e, garch, 1.3), expected, rtol=1e-12)

    def test_fit_and_variance_match_arch(self):
        from arch import arch_model

        e = garch_path(1500, 2)
        garch = fit_garch(e)
        assert garch is not None
        fit = arch_model(e, mean="Zero", vol="GARCH", dist="t", rescale=False).fit(disp="off")
        np.testing.assert_allclose([garch.omega, garch.alpha, garch.beta], fit.params.iloc[:3], rtol=1e-10)
        ours = variances(e, garch, backcast(e))
        np.testing.assert_allclose(np.sqrt(ours[50:-1]), fit.conditional_volatility[50:], rtol=1e-3)
        ahead = float(fit.forecast(horizon=1).variance.iloc[-1, 0])
        assert ours[-1] == pytest.approx(ahead, rel=1e-6)

    def test_fit_recovers_the_parameters(self):
        garch = fit_garch(garch_path(20_000, 3))
        assert garch is not None
        np.testing.assert_allclose([garch.alpha, garch.beta], [0.08, 0.9], atol=0.025)

    def test_an_integrated_variance_is_refused(self):
        rng = np.random.default_rng(4)
        exploding = rng.normal(size=600) * np.exp(np.linspace(0, 6, 600))
        assert fit_garch(exploding / exploding.std()) is None

    def test_simulated_variance_matches_the_analytic_forecast(self):
        garch = Garch(omega=0.02, alpha=0.05, beta=0.9)
        rng = np.random.default_rng(5)
        shocks = antithetic_shocks(norm.ppf((np.arange(2000) + 0.5) / 2000), 60_000, 20, rng)
        paths = simulate(garch, 2.0, shocks)
        long_run = 0.02 / 0.05
        expected = long_run + 0.95 ** np.arange(20) * (2.0 - long_run)
        np.testing.assert_allclose(paths.var(axis=0), expected, rtol=0.05)

    def test_ewma_keeps_its_variance_along_the_path(self):
        shocks = np.ones((4, 3))
        np.testing.assert_allclose(simulate(ewma(0.94), 4.0, shocks), 2 * shocks)

    def test_antithetic_shocks_keep_the_skew(self):
        pool = np.sort(np.random.default_rng(6).exponential(size=5000) - 1)
        shocks = antithetic_shocks(pool, 4000, 5, np.random.default_rng(7))
        assert np.mean(shocks**3) == pytest.approx(np.mean(pool**3), rel=0.1)
        np.testing.assert_allclose(shocks.mean(axis=0), pool.mean(), atol=0.03)

    def test_variance_does_not_vanish_after_a_run_of_zeros(self):
        e = np.append(np.random.default_rng(8).normal(size=100), np.zeros(500))
        assert variances(e, ewma(0.94), 1.0)[-1] > 0


class TestMember:
    def test_median_of_a_price_is_the_last_value_and_the_width_grows(self):
        series = price()
        forecast = answer(series, 60)
        if not forecast.flags:
            np.testing.assert_allclose(forecast.point, series.values[-1], rtol=0.01)
        low, high = forecast.interval(0.8)
        width = np.log(high / low)
        assert width[-1] > 4 * width[0] > 0

    def test_coverage_of_simulated_garch_paths(self):
        inside, total = 0, 0
        for seed in range(12):
            series = price(500, seed)
            member = ArimaGarch(ArimaGarchConfig())
            cutoffs = series.dates[400:480:20]
            for forecast in member.forecast(series, cutoffs, Horizon(steps=10), LEVELS):
                low, high = forecast.interval(0.8)
                actual = series.actuals(forecast.cutoff, forecast.dates)
                inside += int(((actual >= low) & (actual <= high)).sum())
                total += len(actual)
        assert 0.7 < inside / total < 0.9

    def test_answers_are_the_same_alone_and_together_and_again(self):
        series = price(400)
        horizon = Horizon(steps=12)
        a, b = series.dates[330], series.dates[371]
        together = list(ArimaGarch(ArimaGarchConfig()).forecast(series, [b, a], horizon, LEVELS))
        alone = [
            next(iter(ArimaGarch(ArimaGarchConfig()).forecast(series, [c], horizon, LEVELS))) for c in (b, a)
        ]
        assert all(x.same_numbers(y) for x, y in zip(together, alone, strict=True))

    def test_the_future_changes_nothing(self):
        series = price(400)
        later = series.values.copy()
        later[351:] *= 1000
        changed = make_series(later, scale=Scale.LOG)
        assert answer(series, at=350).same_numbers(answer(changed, at=350))

    @pytest.mark.parametrize("steps", [1, 168])
    def test_horizons(self, steps):
        assert answer(price(300), steps).quantiles.shape == (steps, len(LEVELS))

    @pytest.mark.parametrize("factor", [1e-9, 1e9])
    def test_scale_of_the_unit_does_not_matter(self, factor):
        values = 50 + np.cumsum(garch_path(300, 9))
        one = answer(make_series(values), 10)
        other = answer(make_series(values * factor), 10)
        np.testing.assert_allclose(other.quantiles / factor, one.quantiles, rtol=1e-3)

    def test_constant_series_has_no_width_and_says_so(self):
        forecast = answer(make_series(np.full(200, 7.0)))
        np.testing.assert_array_equal(forecast.quantiles, 7.0)
        assert Flag.DEGENERATE_WIDTH in forecast.flags

    def test_short_history_is_an_error_of_its_cutoff(self):
        series = price(60)
        failure = answer(series, at=10)
        assert isinstance(failure, Failure)
        assert failure.code == HistoryTooShortError.__name__

    def test_few_residuals_mean_a_constant_variance_and_a_flag(self):
        assert Flag.SHORT_HISTORY in answer(price(120)).flags

    def test_intermittent_demand(self):
        rng = np.random.default_rng(10)
        demand = rng.poisson(4, 500) * (rng.random(500) < 0.15)
        series = make_series(demand, kind=CalendarKind.DAILY, periods=(7,), nonnegative=True)
        forecast = answer(series, 14)
        assert (forecast.quantiles >= 0).all()
        assert forecast.quantile(0.95).max() < 20

    def test_air_passengers_beat_the_seasonal_naive_by_half(self):
        y = passengers()
        series = make_series(y, kind=CalendarKind.MONTHLY, periods=(12,), scale=Scale.LOG)
        forecast = answer(series, 12, at=131)
        ours = np.sqrt(np.mean((forecast.point - y[132:]) ** 2))
        naive = np.sqrt(np.mean((y[120:132] - y[132:]) ** 2))
        assert ours < 0.5 * naive

    def test_a_long_season_goes_through_stl(self):
        t = np.arange(600)
        season = 5 * np.sin(2 * np.pi * t / 24)
        z = 100 + season + 0.2 * np.random.default_rng(11).normal(size=600)
        series = make_series(z, kind=CalendarKind.INTRADAY, periods=(24,))
        member = ArimaGarch(ArimaGarchConfig())
        state = member.fit(series.until(series.last), Horizon(steps=24))
        assert state.periods == (24,)
        expected = 100 + 5 * np.sin(2 * np.pi * (t[-1] + 1 + np.arange(24)) / 24)
        np.testing.assert_allclose(answer(series, 24).point, expected, atol=0.6)

    def test_state_and_answer_survive_pickling(self):
        series = market()
        forecast = answer(series, 5)
        assert pickle.loads(pickle.dumps(forecast)).same_numbers(forecast)
