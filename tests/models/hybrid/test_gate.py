"""The gate: kept where a context tells the branches apart, dropped where nothing does."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import check_grad

from horizoncast.ensemble.fusion import fusion_weights
from horizoncast.errors import BankError, ModelError
from horizoncast.models.hybrid import gate as module
from horizoncast.models.hybrid.axes import NO_AXES, Axes
from horizoncast.models.hybrid.context import Context
from horizoncast.models.hybrid.fitting import Units, window_losses
from horizoncast.models.hybrid.gate import (
    FEATURES,
    LIMIT,
    Gate,
    fused_share,
    prior_log_odds,
    train_gate,
)
from horizoncast.models.hybrid.gate_rows import GateRows
from horizoncast.models.hybrid.judge import Ruling
from hybrid_rows import LEVELS, gate_rows, two_shapes

CALM = Context(season=0.0, trend=0.0, volatility=0.1, entropy=0.98)
RULING = Ruling(stage="gate", kept=True, reason="for a test")


def slopes(**named: float) -> tuple[float, ...]:
    """Slopes by the name of their feature, the others 0."""
    return tuple(named.get(name, 0.0) for name in FEATURES)


def small_gate(intercept: float = 0.0, slopes: tuple[float, ...] = (0.0,) * 9, strength: float = 1.0) -> Gate:
    return Gate(
        units=Units(names=FEATURES, centre=(0.5,) * 9, spread=(0.2,) * 9),
        intercept=intercept,
        slopes=slopes,
        strength=strength,
        trained_until=np.datetime64("2020-01-01", "s"),
        windows=40,
        ruling=RULING,
    )


def fused_losses(gate: Gate | None, rows: GateRows) -> np.ndarray:
    """(W,) losses of the fused quantiles with a gate's answers, or the prior's."""
    leads = np.arange(1, rows.actuals.shape[1] + 1)
    odds = np.stack(
        [
            np.full(len(leads), prior_log_odds(c)) if gate is None else gate.log_odds(c, leads)
            for c in rows.contexts
        ]
    )
    share = fused_share(rows.confidence, rows.accuracy, odds)
    fused = share[..., None] * rows.quantiles[0] + (1.0 - share[..., None]) * rows.quantiles[1]
    return window_losses(rows.actuals, fused, LEVELS)


@pytest.mark.parametrize(
    ("season", "trend", "volatility", "share"),
    [
        (0.9, 0.1, 0.9, 0.8),
        (0.3, 0.1, 0.9, 0.3),
        (0.3, 0.1, 0.5, 0.6),
        (0.0, 0.2, 0.5, 0.6),
        (0, 0, 0.9, 0.5),
    ],
)
def test_the_known_rule_in_log_odds_and_off_without_a_season(
    season: float, trend: float, volatility: float, share: float
) -> None:
    context = Context(season=season, trend=trend, volatility=volatility, entropy=0.9)
    assert prior_log_odds(context) == pytest.approx(np.log(share / (1 - share)))
    assert prior_log_odds(context, strength=0.5) == pytest.approx(0.5 * np.log(share / (1 - share)))
    with pytest.raises(ModelError):
        prior_log_odds(context, strength=-1.0)


def test_a_gate_that_learned_nothing_is_the_prior_bit_for_bit() -> None:
    for season in (0.0, 0.3, 0.9):
        context = Context(season=season, trend=season, volatility=0.9, entropy=0.9)
        found = small_gate(strength=0.7).log_odds(context, [1, 5, 30])
        np.testing.assert_array_equal(found, [prior_log_odds(context, strength=0.7)] * 3)


def test_a_gate_is_bounded_and_varies_with_context_and_lead() -> None:
    wild = small_gate(50.0, (9.0,) * 9)
    assert np.abs(wild.log_odds(CALM, [1, 30])).max() <= LIMIT
    by_lead = small_gate(slopes=slopes(log_lead=0.3)).log_odds(CALM, [1, 2, 30])
    assert by_lead[0] < by_lead[1] <= by_lead[2]
    restless = replace(CALM, volatility=0.9)
    by_regime = small_gate(slopes=slopes(volatility=-1.0))
    assert by_regime.log_odds(restless, [1])[0] < by_regime.log_odds(CALM, [1])[0]


def test_shares_are_those_of_the_fusion() -> None:
    """softmax(log confidence + log accuracy + log-odds), against the fusion's own weights tilted."""
    rng = np.random.default_rng(0)
    spreads, accuracy = rng.uniform(0.5, 2.0, (2, 4)), np.array([0.3, 0.7])
    weights = fusion_weights(spreads, accuracy)
    odds = rng.normal(size=(1, 4))
    share = fused_share(weights[:, None, :], np.ones(2), odds)
    logits = np.log(weights[:, None, :]) + np.stack([odds, 0 * odds])
    np.testing.assert_allclose(share, (np.exp(logits) / np.exp(logits).sum(axis=0))[0])
    by_window = fused_share(
        np.ones((2, 3, 1)), np.array([[0.0, 1.0, 2.0], [1.0, 0.0, 2.0]]), np.zeros((3, 1))
    )
    np.testing.assert_array_equal(by_window[:, 0], [0.0, 1.0, 0.5])


def test_the_slope_is_that_of_the_loss() -> None:
    rows = replace(gate_rows(3, windows=40, planted=0.5), accuracy=np.array([0.4, 0.6]))
    cells = module._cells([rows], 1.0)
    here = np.ones(len(cells.actual), bool)
    design = module._design(Units.of(FEATURES, cells.features), cells.features)
    for seed in range(5):
        theta = np.random.default_rng(seed).normal(size=1 + len(FEATURES))
        error = check_grad(
            lambda t: module._relative_loss(t, cells, here, design, 2.0)[0],
            lambda t: module._relative_loss(t, cells, here, design, 2.0)[1],
            theta,
            epsilon=1e-7,
        )
        assert error < 1e-5


def test_a_planted_regime_is_found_and_improves_fresh_forecasts() -> None:
    gate, ruling = train_gate([gate_rows(1, windows=240, planted=0.9)])
    assert gate is not None
    assert ruling.kept
    assert ruling.gain > 2 * ruling.standard_error > 0
    calm, restless = (
        gate.log_odds(Context(season=0.0, trend=0.0, volatility=v, entropy=0.98), [1, 5]) for v in (0.1, 0.9)
    )
    assert (calm > 0.5).all()
    assert (restless < -0.5).all()
    fresh = gate_rows(1001, windows=400, planted=0.9)
    assert fused_losses(gate, fresh).mean() < 0.97 * fused_losses(None, fresh).mean()
    assert gate.trained_until == gate_rows(1, windows=240).ends.max()
    assert gate.windows == 240


def test_a_regime_that_only_the_embedding_shows_is_found_and_improves_fresh_forecasts() -> None:
    rows = gate_rows(1, windows=240, planted=0.9, shapes=two_shapes(0))
    gate, ruling = train_gate([rows])
    assert gate is not None, ruling.reason
    assert ruling.gain > 2 * ruling.standard_error > 0
    fresh = gate_rows(1001, windows=400, planted=0.9, shapes=two_shapes(1))
    assert fused_losses(gate, fresh).mean() < 0.97 * fused_losses(None, fresh).mean()
    assert {len(axis) for axis in gate.axes.axes} == {8}
    blind = replace(rows, contexts=tuple(replace(c, embedding=()) for c in rows.contexts))
    assert train_gate([blind])[0] is None  # nothing else shows it


def test_where_no_context_matters_the_prior_stays_with_embeddings_as_well() -> None:
    rulings = [train_gate([gate_rows(seed, windows=100, shapes=two_shapes(seed))])[1] for seed in range(30)]
    assert sum(ruling.kept for ruling in rulings) <= 3  # 5 % of 30 are 1.5
    assert np.mean([ruling.gain for ruling in rulings]) > -0.03


def test_without_embeddings_and_novelty_their_features_are_off() -> None:
    gate, _ = train_gate([gate_rows(1, windows=240, planted=0.9)])
    assert gate is not None
    off = [name for name, spread in zip(FEATURES, gate.units.spread, strict=True) if spread == 0]
    assert {"novelty", "embedding_1", "embedding_2", "embedding_3"} < set(off)
    assert gate.axes == NO_AXES
    seen = replace(CALM, embedding=(1.0, 2.0), novelty=0.9)
    np.testing.assert_array_equal(gate.log_odds(seen, [1, 5]), gate.log_odds(CALM, [1, 5]))


def test_an_embedding_that_is_unknown_counts_as_usual() -> None:
    rows = gate_rows(1, windows=240, planted=0.9, shapes=two_shapes(0))
    lost = tuple(
        replace(c, embedding=()) if w % 9 == 0 else replace(c, novelty=0.5 + 0.001 * (w % 7))
        for w, c in enumerate(rows.contexts)
    )
    gate, ruling = train_gate([replace(rows, contexts=lost)])
    assert gate is not None, ruling.reason
    unknown = gate.log_odds(replace(CALM, volatility=0.5), [3])
    known = [gate.log_odds(replace(CALM, volatility=0.5, embedding=c.embedding), [3]) for c in rows.contexts]
    assert min(known) < unknown < max(known)


def test_embeddings_of_another_encoder_are_refused_and_never_learned_from() -> None:
    rows = gate_rows(1, windows=240, planted=0.9, shapes=two_shapes(0))
    gate, first = train_gate([rows])
    assert gate is not None
    with pytest.raises(ModelError, match="another size"):
        gate.log_odds(replace(CALM, embedding=(1.0,) * 9), [1])
    with pytest.raises(ModelError, match="another size"):
        gate.require(9)
    gate.require(8)
    gate.require(0)
    foreign = gate_rows(2, windows=240, series="y", shapes=two_shapes(0, size=5))
    both, second = train_gate([rows, foreign], own=0)
    assert both is not None
    assert both.axes.centre == gate.axes.centre
    assert second.windows == first.windows


def test_sets_that_are_pooled_share_their_axes() -> None:
    one, two = (gate_rows(s, windows=80, planted=0.9, shapes=two_shapes(s)) for s in (1, 2))
    cells = module._cells([one, replace(two, series="y")], 1.0)
    assert cells.vectors.shape == (160, 8)
    axes = module._fit(cells, np.arange(160) < 120, 50.0).axes
    assert axes == Axes.of(np.array([c.embedding for c in (*one.contexts, *two.contexts[:40])]))


def test_where_no_context_matters_the_prior_stays() -> None:
    rulings = [train_gate([gate_rows(seed, windows=100)])[1] for seed in range(30)]
    assert sum(ruling.kept for ruling in rulings) <= 3  # 5 % of 30 are 1.5
    assert np.mean([ruling.gain for ruling in rulings]) > -0.02  # and the attempt would have cost little


def test_few_windows_stay_at_the_prior() -> None:
    gate, ruling = train_gate([gate_rows(2, windows=30, steps=20, planted=0.9)])
    assert gate is None
    assert "cannot be told" in ruling.reason
    fits = []
    for windows in (20, 80, 320):
        rows = gate_rows(4, windows=windows, planted=0.9)
        fits.append(module._fit(module._cells([rows], 1.0), np.ones(windows, bool), n_eff=windows).theta)
    sizes = [float(np.abs(theta).max()) for theta in fits]
    assert sizes == sorted(sizes)


@pytest.mark.parametrize(("unit", "seed"), [(1000.0, 0), (1000.0, 1), (1e-6, 2), (24.0, 3)])
def test_the_unit_does_not_matter(unit: float, seed: int) -> None:
    rows = gate_rows(seed, windows=80, planted=0.9)
    other = replace(
        rows,
        quantiles=unit * rows.quantiles,
        actuals=unit * rows.actuals,
        naive_loss=unit * rows.naive_loss,
    )
    past = np.ones(80, bool)
    one = module._fit(module._cells([rows], 1.0), past, 50.0).theta
    same = module._fit(module._cells([other], 1.0), past, 50.0).theta
    np.testing.assert_allclose(same, one, atol=5e-3)
    first, second = train_gate([rows])[1], train_gate([other])[1]
    assert first.kept == second.kept
    assert first.gain == pytest.approx(second.gain, abs=2e-4)


def test_horizons_and_series_are_pooled_in_units_of_their_own_naive() -> None:
    """One series in millions does not drown the other, and later series come after earlier windows."""
    rows = gate_rows(5, windows=160, planted=0.9, series="a")
    large = replace(gate_rows(6, windows=160, planted=0.9, series="b"), series="b")
    large = replace(
        large,
        quantiles=1e6 * large.quantiles,
        actuals=1e6 * large.actuals,
        naive_loss=1e6 * large.naive_loss,
    )
    long = gate_rows(7, windows=160, steps=15, planted=0.9, series="a")
    gate, ruling = train_gate([rows, large, long])
    assert gate is not None
    assert ruling.windows == 3 * 96
    alone = train_gate([rows])[1]
    assert ruling.standard_error < 1.5 * alone.standard_error


def test_unknown_outcomes_and_failed_branches_are_left_out() -> None:
    rows = gate_rows(8, windows=120, planted=0.9)
    quantiles, actuals = rows.quantiles.copy(), rows.actuals.copy()
    quantiles[0, ::7], actuals[3::11, 2:] = np.nan, np.nan
    gate, ruling = train_gate([replace(rows, quantiles=quantiles, actuals=actuals)])
    assert np.isfinite(ruling.gain)
    assert ruling.windows == 72 - np.arange(48, 120)[np.arange(48, 120) % 7 == 0].size
    assert gate is None or np.isfinite(gate.intercept)
    assert train_gate([replace(rows, quantiles=np.full_like(quantiles, np.nan))])[0] is None


def test_the_past_of_a_gate_is_not_changed_by_later_rows() -> None:
    rows = gate_rows(9, windows=100, planted=0.9, shapes=two_shapes(0))
    past = np.arange(100) < 60
    wild = Context(
        season=1.0, trend=1.0, volatility=1.0, entropy=0.0, novelty=1.0, embedding=(9.0,) + (0.0,) * 7
    )
    changed = replace(
        rows,
        actuals=np.where(past[:, None], rows.actuals, 99.0),
        contexts=tuple(c if early else wild for c, early in zip(rows.contexts, past, strict=True)),
    )
    one, same = (module._fit(module._cells([r], 1.0), past, 50.0) for r in (rows, changed))
    np.testing.assert_array_equal(one.theta, same.theta)
    assert one.units == same.units
    assert one.axes == same.axes
    assert one.axes.axes


def test_what_does_not_fit_together_is_refused() -> None:
    rows = gate_rows(0, windows=12)
    for change in (
        {"quantiles": rows.quantiles[:1]},
        {"contexts": rows.contexts[:3]},
        {"accuracy": np.ones((2, 5))},
        {"naive_loss": 0.0},
    ):
        with pytest.raises(BankError):
            replace(rows, **change)
    with pytest.raises(BankError, match="same levels"):
        train_gate([rows, replace(rows, levels=(0.1, 0.2, 0.5, 0.8, 0.9))])
    with pytest.raises(BankError):
        train_gate([])
    with pytest.raises(ModelError):
        small_gate(slopes=(0.0,) * 3)
    with pytest.raises(ModelError):
        small_gate(intercept=float("nan"))


def test_a_ruling_about_one_set_is_made_on_that_set_alone() -> None:
    """A gate learned from both is right for the planted one only."""
    planted, null = gate_rows(1, windows=240, planted=0.9), gate_rows(2, windows=240, series="y")
    gate, first = train_gate([planted, null], own=0)
    none, second = train_gate([planted, null], own=1)
    assert gate is not None, first.reason
    assert none is None
    assert gate.windows == 480  # learned from both
    assert first.windows + second.windows == train_gate([planted, null])[1].windows


def test_a_longer_horizon_beside_it_leaves_a_ruling_its_stretches() -> None:
    near, far = gate_rows(1, windows=100), gate_rows(1, windows=100, steps=60)
    together, alone = train_gate([near, far])[1], train_gate([near, far], own=0)[1]
    assert together.blocks <= 4 < 10 < alone.blocks
