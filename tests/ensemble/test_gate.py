"""The output gate against forecasts and last values that cannot be."""

import numpy as np
import pytest
from scipy.stats import norm

from horizoncast.ensemble.gate import implausible
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.series import Scale, Series
from support import make_series, market

H = Horizon(steps=7)


def gaussian(series: Series, *, shift: float = 0.0, sigma: float | None = None) -> np.ndarray:
    z = series.scale.forward(series.values)
    spread = np.std(np.diff(z)) if sigma is None else sigma
    root = np.sqrt(np.arange(1, H.steps + 1))
    return z[-1] + shift + spread * root[:, None] * norm.ppf(LEVELS)


def check(series: Series, quantiles: np.ndarray) -> str:
    return implausible(series.until(series.last), H, quantiles, LEVELS)


def test_an_ordinary_forecast_passes() -> None:
    assert check(market(), gaussian(market())) == ""


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda q: np.where(q == q[2, 3], np.nan, q), "not finite"),
        (lambda q: q + np.inf, "not finite"),
        (lambda q: q[:, ::-1], "cross"),
        (lambda q: q + np.log(1000.0), "median at step 1 "),
        (lambda q: q[:, [9]] + 1000 * (q - q[:, [9]]), "80 % interval"),
    ],
)
def test_what_cannot_go_out(spoil: object, words: str) -> None:
    assert words in check(market(), spoil(gaussian(market())))  # type: ignore[operator]


def test_the_step_is_named() -> None:
    quantiles = gaussian(market())
    quantiles[4:] += 1.0
    assert "step 5" in check(market(), quantiles)


@pytest.mark.parametrize("factor", [1000.0, 0.001, 100.0])
@pytest.mark.parametrize("scale", list(Scale))
def test_a_last_value_that_slipped_its_unit_is_refused(factor: float, scale: Scale) -> None:
    """The forecast starts from the last value, so its distance from it shows nothing."""
    series = market(scale=scale)
    values = series.values.copy()
    values[-1] *= factor
    slipped = make_series(values, scale=scale)
    assert "last value" in check(slipped, gaussian(slipped, sigma=0.01))


def test_a_crash_that_happens_is_let_through() -> None:
    """The Swiss franc of 15 January 2015 moved about four times its earlier record day."""
    series = market()
    values = series.values.copy()
    record = np.abs(np.diff(np.log(values))).max()
    values[-1] = values[-2] * np.exp(-4 * record)
    crashed = make_series(values, scale=Scale.LOG)
    assert check(crashed, gaussian(crashed, sigma=record)) == ""


def test_a_series_that_never_moved_may_move_now() -> None:
    moved = make_series(np.r_[np.full(99, 5.0), 6.0])
    assert check(moved, gaussian(moved, sigma=0.1)) == ""
    assert check(make_series(np.full(100, 5.0)), gaussian(make_series(np.full(100, 5.0)), sigma=0.1)) == ""


@pytest.mark.parametrize("length", [2, 3, 5, 20])
def test_a_short_history_has_bounds_too(length: int) -> None:
    series = make_series(np.arange(length) % 2 + 1.0)
    assert check(series, gaussian(series, sigma=0.5)) == ""
    assert check(series, gaussian(series, shift=1e6, sigma=0.5)) != ""
