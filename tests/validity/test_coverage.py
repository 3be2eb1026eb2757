"""Do intervals cover what they claim? 1,000 independent paths per process, one cutoff each.

One cutoff per path, so that hits are independent and the 99 % binomial band is the right yardstick:
76.7-83.3 % for 80 %, 93.2-96.8 % for 95 %. Where a method is approximate by construction, the
tolerance is stated at its test and justified.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest
from scipy.stats import binom, norm

from horizoncast.calendar import CalendarKind
from horizoncast.forecast import Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.registry import make_member
from horizoncast.series import Covariate, Scale, Series
from horizoncast.validation.calibration import standardised_misses, widen, width_factor
from processes import ar_returns, garch_t, random_walk, seasonal_walk
from support import make_series

Floats = npt.NDArray[np.float64]
H = Horizon(steps=7)
PATHS = 1000


@dataclass(frozen=True, kw_only=True)
class Paths:
    """Past and future in the scale: (N, n) and (N, H)."""

    past: Floats
    future: Floats
    scale: Scale = Scale.LOG
    kind: CalendarKind = CalendarKind.BUSINESS
    periods: tuple[int, ...] = ()

    def series(self, path: int) -> Series:
        return make_series(
            self.scale.backward(self.past[path]),
            scale=self.scale,
            kind=self.kind,
            periods=self.periods,
            name=f"path{path}",
        )


def split(paths: Floats, **kwargs: object) -> Paths:
    return Paths(past=paths[:, : -H.steps], future=paths[:, -H.steps :], **kwargs)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def gbm() -> Paths:
    return split(random_walk(PATHS, 307, seed=1))


@pytest.fixture(scope="module")
def garch() -> Paths:
    return split(garch_t(PATHS, 607, seed=2))


@pytest.fixture(scope="module")
def ar() -> Paths:
    return split(ar_returns(PATHS, 607, seed=3, phi=0.5))


@pytest.fixture(scope="module")
def seasonal() -> Paths:
    return split(seasonal_walk(PATHS, 406, seed=4), scale=Scale.LEVEL, kind=CalendarKind.DAILY, periods=(7,))


def band(share: float, *, slack: float = 0.0, paths: int = PATHS) -> tuple[float, float]:
    """The 99 % binomial band of a share, widened by a stated slack."""
    return binom.ppf(0.005, paths, share) / paths - slack, binom.ppf(0.995, paths, share) / paths + slack


def coverage(quantiles: Floats, future: Floats, share: float, lead: int) -> float:
    tail = round((1.0 - share) / 2.0, 6)
    low, high = (quantiles[:, lead - 1, LEVELS.index(level)] for level in (tail, round(1.0 - tail, 6)))
    actual = future[:, lead - 1]
    return float(((actual >= low) & (actual <= high)).mean())


def check(quantiles: Floats, future: Floats, *, slack: float = 0.0, leads: Sequence[int] = (1, 7)) -> None:
    """Both intervals at the first and the last lead."""
    found = {(s, h): coverage(quantiles, future, s, h) for s in (0.8, 0.95) for h in leads}
    outside = {
        key: value
        for key, value in found.items()
        if not band(key[0], slack=slack, paths=len(future))[0]
        <= value
        <= band(key[0], slack=slack, paths=len(future))[1]
    }
    assert not outside, found


def forecast_each(member: str, paths: Paths) -> Floats:
    """(N, H, Q) in the scale: each path fitted and forecast through `Member.forecast`."""
    model = make_member(member)
    rows = []
    for path in range(len(paths.past)):
        series = paths.series(path)
        answer = next(iter(model.forecast(series, [series.last], H, LEVELS)))
        assert isinstance(answer, Forecast), answer
        rows.append(paths.scale.forward(answer.quantiles))
    return np.array(rows)


def forecast_shared(member: str, paths: Paths, training: Paths) -> Floats:
    """(N, H, Q): parameters from a few long paths of the same process, states from each path.

    For members whose fit takes a quarter of a second. The training paths are independent of those
    that are scored; each serves as many of them.
    """
    model = make_member(member)
    fits = [
        model.fit(training.series(k).until(training.series(k).last), H) for k in range(len(training.past))
    ]
    rows = []
    for path in range(len(paths.past)):
        series = paths.series(path)
        history = series.until(series.last)
        rng = np.random.default_rng(path)
        rows.append(model.predict(fits[path % len(fits)], history, H, LEVELS, rng).quantiles)
    return np.array(rows)


def test_the_yardstick_rejects_bands_that_are_wrong(gbm: Paths) -> None:
    """Half-widths off by 15 % are outside the band, the true ones are inside."""
    true = gbm.past[:, -1:, None] + 0.01 * np.sqrt(np.arange(1, 8))[:, None] * norm.ppf(LEVELS)
    check(true, gbm.future)
    for factor in (0.85, 1.15):
        with pytest.raises(AssertionError):
            check(widen(true, LEVELS, factor), gbm.future)


def test_random_walk_on_gbm(gbm: Paths) -> None:
    """EWMA(0.94) knows the volatility from about 32 squares: its Gaussian 95 % covers 94.1 % by right."""
    check(forecast_each("random_walk", gbm), gbm.future)


def test_seasonal_naive_on_a_seasonal_walk(seasonal: Paths) -> None:
    check(forecast_each("seasonal_naive", seasonal), seasonal.future)


def test_arima_garch_on_garch_t(garch: Paths) -> None:
    training = split(garch_t(20, 2007, seed=12))
    check(forecast_shared("arima_garch", garch, training), garch.future)


def test_arima_garch_on_ar_returns(ar: Paths) -> None:
    training = split(ar_returns(20, 2007, seed=13, phi=0.5))
    check(forecast_shared("arima_garch", ar, training), ar.future)


def with_covariate(z: Floats, x: Floats) -> Series:
    covariate = Covariate(name="x", values=np.exp(x), publication_lag=0)
    return make_series(np.exp(z), scale=Scale.LOG, periods=(), covariates=(covariate,))


def test_var_on_a_bivariate_process() -> None:
    """Changes of the target follow its own and the covariate's last change.

    Ridge and lag choice are estimated from 600 sessions on every path.
    """
    rng = np.random.default_rng(5)
    shocks = 0.01 * rng.standard_normal((PATHS, 657, 2))
    changes = np.zeros(shocks.shape)
    for t in range(1, shocks.shape[1]):
        changes[:, t] = changes[:, t - 1] @ np.array([[0.2, 0.0], [0.3, 0.4]]) + shocks[:, t]
    levels = np.cumsum(changes[:, 50:], axis=1)
    model = make_member("var")
    rows = []
    for path in levels:
        series = with_covariate(path[: -H.steps, 0], path[: -H.steps, 1])
        answer = next(iter(model.forecast(series, [series.last], H, LEVELS)))
        assert isinstance(answer, Forecast), answer
        rows.append(np.log(answer.quantiles))
    check(np.array(rows), levels[:, -H.steps :, 0])


def test_random_forest_on_gbm() -> None:
    """Two points of slack: leaf quantiles of a finite sample, and a width chosen on held-out blocks.

    Twenty forests, each on a path of 1,000 sessions, serve fifty paths each; a forest's own error
    is shared by its fifty, so that the binomial band alone would be too narrow.
    """
    scored = split(random_walk(PATHS, 307, seed=6))
    training = split(random_walk(20, 1007, seed=16))
    check(forecast_shared("random_forest", scored, training), scored.future, slack=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("process", ["garch", "ar"])
def test_arima_garch_fitted_on_every_path(process: str, request: pytest.FixtureRequest) -> None:
    """Two points of slack: orders and GARCH parameters come from 600 sessions of each path."""
    paths = request.getfixturevalue(process)
    check(forecast_each("arima_garch", paths), paths.future, slack=0.02)


@pytest.mark.parametrize("claimed", [0.6, 1.0, 1.6])
@pytest.mark.parametrize("share", [0.8, 0.95])
def test_the_pooled_width_factor_repairs_a_wrong_band(claimed: float, share: float) -> None:
    """Factor from 40 past cutoffs, applied to a fresh one: 1,000 times.

    Unshrunk (very many windows claimed) coverage must come back to nominal. The factor's own noise
    (a quantile of 280 values) costs half a point of the 95 %, inside the band. With the shrinkage of
    40 independent cutoffs what is left of the error is known: the factor to the power of 0.2.
    """
    rng = np.random.default_rng(7)
    root = np.sqrt(np.arange(1, 8))
    band_of = root[:, None] * norm.ppf(LEVELS) * claimed
    repaired, shrunk, raw = [], [], []
    for _ in range(PATHS):
        past = rng.standard_normal((40, 7)) * root
        z = standardised_misses(past, np.broadcast_to(band_of, (40, *band_of.shape)), LEVELS)
        repaired.append(widen(band_of, LEVELS, width_factor(z, 1e9)))
        shrunk.append(widen(band_of, LEVELS, width_factor(z, 40.0)))
        raw.append(band_of)
    future = rng.standard_normal((PATHS, 7)) * root
    low, high = band(share)
    assert bool(low <= coverage(np.array(raw), future, share, 1) <= high) is (claimed == 1.0)
    for lead in (1, 7):
        assert low <= coverage(np.array(repaired), future, share, lead) <= high
        left = claimed ** (1.0 - 40.0 / 50.0)
        expected = 2.0 * norm.cdf(norm.ppf(0.5 + share / 2.0) * left) - 1.0
        low_left, high_left = band(float(expected))
        assert low_left <= coverage(np.array(shrunk), future, share, lead) <= high_left
