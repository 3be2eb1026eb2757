"""The adaptation of Chronos: kept where a covariate tells its residual, dropped where nothing does."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import check_grad

from horizoncast.covariate import Covariate
from horizoncast.errors import BankError, ModelError
from horizoncast.metrics import stated_spread
from horizoncast.models.hybrid import adaptation as module
from horizoncast.models.hybrid.adaptation import (
    MOST_SHIFT,
    AdaptationRows,
    DomainAdaptationLayer,
    train_adaptation,
)
from horizoncast.models.hybrid.features import feature_names, feature_rows
from horizoncast.models.hybrid.fitting import Units, window_losses
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.series import Series
from hybrid_rows import LEVELS, adaptation_rows, around
from support import market

RULING = Ruling(stage="adaptation", kept=True, reason="for a test")


def layer(shift: tuple[float, ...], log_scale: tuple[float, ...]) -> DomainAdaptationLayer:
    size = len(shift) - 1
    return DomainAdaptationLayer(
        units=Units(
            names=tuple("abcdefgh"[:size]), centre=tuple(np.arange(size) / 1.0), spread=(2.0,) * size
        ),
        shift=shift,
        log_scale=log_scale,
        trained_until=np.datetime64("2020-01-01", "s"),
        windows=40,
        ruling=RULING,
    )


def some_quantiles(seed: int, shape: tuple[int, ...] = (6, 5)) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).normal(size=(*shape, len(LEVELS))), axis=-1)


@given(seed=st.integers(0, 100), unit=st.sampled_from([1.0, 1e6, 1e-9]))
def test_no_parameters_leave_every_bit(seed: int, unit: float) -> None:
    quantiles = unit * some_quantiles(seed)
    features = np.random.default_rng(seed).normal(scale=9, size=(6, 3))
    zero = layer((0.0,) * 4, (0.0,) * 4)
    np.testing.assert_array_equal(zero.apply(quantiles, features, LEVELS), quantiles)


@given(seed=st.integers(0, 100), size=st.floats(0, 100))
def test_the_correction_is_bounded_and_never_crosses(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    wild = layer(tuple(size * rng.normal(size=4)), tuple(size * rng.normal(size=4)))
    quantiles = some_quantiles(seed)
    out = wild.apply(quantiles, rng.normal(scale=9, size=(6, 3)), LEVELS)
    assert (np.diff(out, axis=-1) >= 0).all()
    spread = stated_spread(quantiles, LEVELS)
    assert (np.abs(out - quantiles)[..., 2] <= MOST_SHIFT * spread * (1 + 1e-9)).all()
    ratio = stated_spread(out, LEVELS) / spread
    assert ((ratio >= 1 / 1.5 - 1e-9) & (ratio <= 1.5 + 1e-9)).all()


@given(seed=st.integers(0, 30), unit=st.sampled_from([1000.0, 1e-4]), level=st.floats(-5, 5))
def test_it_moves_with_unit_and_level(seed: int, unit: float, level: float) -> None:
    rng = np.random.default_rng(seed)
    some = layer(tuple(rng.normal(size=4)), tuple(rng.normal(size=4)))
    quantiles, features = some_quantiles(seed), rng.normal(size=(6, 3))
    want = unit * some.apply(quantiles, features, LEVELS) + level
    np.testing.assert_allclose(
        some.apply(unit * quantiles + level, features, LEVELS), want, rtol=1e-9, atol=1e-9
    )


def test_by_hand() -> None:
    """x = ((3 - 0) / 2, clipped 3, 0 for the unknown): shift 0.5 tanh(2 (0.1 + 0.15 - 0.3))."""
    some = layer((0.1, 0.1, -0.1, 9.0), (0.0, 0.2, 0.0, 9.0))
    quantiles = around(np.zeros((1, 4)))
    out = some.apply(quantiles, np.array([[3.0, 100.0, np.nan]]), LEVELS)
    root = np.sqrt(np.arange(1, 5))
    moved = 0.5 * np.tanh((0.1 + 0.15 - 0.3) / 0.5)
    scale = np.exp(np.log(1.5) * np.tanh(0.3 / np.log(1.5)))
    np.testing.assert_allclose(out[0, :, 2], moved * root)
    np.testing.assert_allclose(stated_spread(out, LEVELS)[0], scale * root)
    one = some.apply(quantiles[0], np.array([3.0, 100.0, np.nan]), LEVELS)
    np.testing.assert_array_equal(one, out[0])


def test_the_slope_is_that_of_the_loss() -> None:
    rows = adaptation_rows(3, windows=40, planted=0.3, wider=1.2)
    cells = module._cells([rows])
    here = np.ones(len(cells.actual), bool)
    design = module._design(Units.of(rows.names, rows.features), rows.features)[cells.window]
    for seed in range(5):
        theta = np.random.default_rng(seed).normal(scale=0.3, size=12)
        error = check_grad(
            lambda t: module._relative_loss(t, cells, here, design, 2.0)[0],
            lambda t: module._relative_loss(t, cells, here, design, 2.0)[1],
            theta,
            epsilon=1e-7,
        )
        assert error < 1e-5


def test_a_planted_covariate_is_found_and_improves_fresh_forecasts() -> None:
    found, ruling = train_adaptation([adaptation_rows(1, windows=240, planted=0.4)])
    assert found is not None
    assert ruling.gain > 2 * ruling.standard_error > 0
    assert found.names[np.argmax(np.abs(found.shift[1:]))] == "signal"
    fresh = adaptation_rows(1001, windows=400, planted=0.4)
    before = window_losses(fresh.actuals, fresh.quantiles, LEVELS).mean()
    after = window_losses(fresh.actuals, found.apply(fresh.quantiles, fresh.features, LEVELS), LEVELS).mean()
    assert after < 0.97 * before
    assert found.trained_until == adaptation_rows(1, windows=240).ends.max()


def test_intervals_that_are_far_too_narrow_are_widened() -> None:
    """48 % of outcomes twice as wide lie in the "80 %"; 66 % would with all that the layer may do."""
    found, ruling = train_adaptation([adaptation_rows(2, windows=300, wider=2.0)])
    assert found is not None, ruling.reason
    fresh = adaptation_rows(1002, windows=1000, wider=2.0)
    inside, loss = [], []
    for quantiles in (fresh.quantiles, found.apply(fresh.quantiles, fresh.features, LEVELS)):
        hit = (quantiles[..., 0] <= fresh.actuals) & (fresh.actuals <= quantiles[..., -1])
        inside.append(hit.mean())
        loss.append(window_losses(fresh.actuals, quantiles, LEVELS).mean())
    assert inside[0] == pytest.approx(0.48, abs=0.02)
    assert 0.56 < inside[1] < 0.66
    assert loss[1] < 0.97 * loss[0]


def test_where_nothing_tells_the_residual_chronos_stays_as_it_is() -> None:
    rulings = [train_adaptation([adaptation_rows(seed, windows=100)])[1] for seed in range(30)]
    assert sum(ruling.kept for ruling in rulings) <= 3
    assert np.mean([ruling.gain for ruling in rulings]) > -0.02


def with_signal(series: Series, strength: float) -> Series:
    """The series with a covariate whose last change tells the target's next five changes."""
    rng = np.random.default_rng(11)
    n = len(series)
    shocks = rng.normal(size=n)
    moves = 0.006 * (rng.normal(size=n) + strength * np.concatenate([[0.0], shocks[:-1]]))
    covariates = (Covariate(name="lead", values=shocks.cumsum()), *series.covariates)
    return replace(series, values=100 * np.exp(np.cumsum(moves)), covariates=covariates)


def end_to_end(strength: float) -> tuple[DomainAdaptationLayer | None, Ruling, AdaptationRows]:
    """From a series: Chronos as a random walk, features at each cutoff, horizon of 2."""
    series = with_signal(market(1500), strength)
    at = np.arange(200, 1490, 5)
    z = np.log(series.values)
    actuals = z[at[:, None] + 1 + np.arange(2)]
    quantiles = z[at][:, None, None] + 0.006 * around(np.zeros((len(at), 2)))
    rows = AdaptationRows(
        series=series.name,
        cutoffs=series.dates[at],
        ends=series.dates[at + 2],
        levels=LEVELS,
        quantiles=quantiles,
        actuals=actuals,
        names=feature_names(series, None),
        features=feature_rows(series, series.dates[at], None, 2),
        naive_loss=float(window_losses(actuals, quantiles, LEVELS).mean()),
    )
    found, ruling = train_adaptation([rows])
    return found, ruling, rows


def test_from_a_series_to_a_correction() -> None:
    found, ruling, rows = end_to_end(0.5)
    assert found is not None
    assert ruling.gain > 0.01
    assert found.names[np.argmax(np.abs(found.shift[1:]))] == "lead.change_1"
    none, ruling, _ = end_to_end(0.0)
    assert none is None, ruling.reason
    assert found.apply(rows.quantiles, rows.features, LEVELS).shape == rows.quantiles.shape


@pytest.mark.parametrize(("unit", "seed"), [(1000.0, 0), (1000.0, 1), (1e-6, 2)])
def test_what_is_learned_does_not_depend_on_the_unit(unit: float, seed: int) -> None:
    rows = adaptation_rows(seed, windows=80, planted=0.4)
    other = replace(
        rows,
        quantiles=unit * rows.quantiles,
        actuals=unit * rows.actuals,
        naive_loss=unit * rows.naive_loss,
    )
    past = np.ones(80, bool)
    one, same = (module._fit(module._cells([r]), past, 80.0).theta for r in (rows, other))
    np.testing.assert_allclose(same, one, atol=2e-3)
    first, second = train_adaptation([rows])[1], train_adaptation([other])[1]
    assert first.gain == pytest.approx(second.gain, abs=2e-4)


def test_horizons_are_pooled_and_missing_cells_left_out() -> None:
    rows = adaptation_rows(4, windows=150, planted=0.4)
    quantiles, features = rows.quantiles.copy(), rows.features.copy()
    quantiles[::9], features[::4, 0] = np.nan, np.nan
    long = adaptation_rows(5, windows=150, steps=12, planted=0.4)
    found, ruling = train_adaptation([replace(rows, quantiles=quantiles, features=features), long])
    assert ruling.windows == 180 - np.arange(60, 150)[np.arange(60, 150) % 9 == 0].size
    assert found is not None
    out = found.apply(quantiles, features, LEVELS)
    np.testing.assert_array_equal(np.isnan(out), np.isnan(quantiles))


def test_a_series_in_millions_does_not_drown_another() -> None:
    rows = adaptation_rows(6, windows=150, planted=0.4, series="a")
    noise = adaptation_rows(7, windows=150, series="b")
    large = replace(
        noise,
        quantiles=1e6 * noise.quantiles,
        actuals=1e6 * noise.actuals,
        naive_loss=1e6 * noise.naive_loss,
    )
    past = np.ones(300, bool)
    one, same = (module._fit(module._cells([rows, other]), past, 80.0).theta for other in (noise, large))
    np.testing.assert_allclose(same, one, atol=2e-3)
    assert np.argmax(np.abs(same[:6])) == 5  # the signal, still found in half of the windows


def test_the_past_of_an_adaptation_is_not_changed_by_later_rows() -> None:
    rows = adaptation_rows(9, windows=100, planted=0.4)
    past = np.arange(100) < 60
    changed = replace(
        rows,
        actuals=np.where(past[:, None], rows.actuals, 99.0),
        features=np.where(past[:, None], rows.features, -99.0),
        quantiles=np.where(past[:, None, None], rows.quantiles, 7.0),
    )
    one, same = (module._fit(module._cells([r]), past, 50.0) for r in (rows, changed))
    np.testing.assert_array_equal(one.theta, same.theta)
    assert one.units == same.units


def test_what_does_not_fit_together_is_refused() -> None:
    rows = adaptation_rows(0, windows=12)
    for change in (
        {"quantiles": rows.quantiles[:3]},
        {"features": rows.features[:, :2]},
        {"ends": rows.ends[:3]},
        {"naive_loss": float("nan")},
    ):
        with pytest.raises(BankError):
            replace(rows, **change)
    with pytest.raises(BankError, match="same levels and features"):
        train_adaptation([rows, replace(rows, names=("a", "b", "c", "d", "other"))])
    some = layer((0.0,) * 4, (0.0,) * 4)
    with pytest.raises(ModelError, match="another kind"):
        some.apply(some_quantiles(0), np.zeros((6, 2)), LEVELS)
    some.require(("a", "b", "c"))
    with pytest.raises(ModelError, match="b, d"):
        some.require(("a", "d", "c"))
    with pytest.raises(ModelError, match="their order"):
        some.require(("b", "a", "c"))
    with pytest.raises(BankError):
        some.apply(some_quantiles(0)[..., 1:], np.zeros((6, 3)), LEVELS[1:])
    with pytest.raises(ModelError):
        layer((0.0,) * 4, (0.0,) * 3)
    with pytest.raises(ModelError):
        layer((0.0, 0.0, 0.0, float("inf")), (0.0,) * 4)


def test_a_ruling_about_one_set_is_made_on_that_set_alone() -> None:
    planted = adaptation_rows(1, windows=240, planted=0.4)
    null = adaptation_rows(2, windows=240, series="y")
    layer, first = train_adaptation([planted, null], own=0)
    none, second = train_adaptation([planted, null], own=1)
    assert layer is not None, first.reason
    assert none is None
    assert layer.windows == 480
    assert first.windows + second.windows == train_adaptation([planted, null])[1].windows
