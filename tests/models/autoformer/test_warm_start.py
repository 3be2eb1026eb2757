"""The closed-form start: against least squares, on a seasonal ARMA, and not believed on noise."""

import numpy as np
import pytest

from horizoncast.calendar import CalendarKind
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.autoformer.anchor import Examples, Scaler, crossed_of, examples_at
from horizoncast.models.autoformer.losses import choose_share, normal_levels, pinball_by_origin
from horizoncast.models.autoformer.warm_start import best_warm_start
from horizoncast.models.lag_features import choose_design, window_of
from horizoncast.series import Covariate
from support import make_series

SEVEN = Horizon(steps=7)


def split(values, *, kind=CalendarKind.DAILY, periods=(7,)) -> tuple[Examples, Examples]:
    series = make_series(values, kind=kind, periods=periods)
    window = window_of(series.until(series.last))
    design = choose_design(window, periods, SEVEN)

    def at(rows):
        level = float(np.std(window.z))
        return examples_at(window, design, rows, context=24, steps=7, level=level, yearly=False)

    rows = np.arange(30, len(values) - 7)
    stop = int(0.8 * len(rows))
    return at(rows[: stop - 7]), at(rows[stop:])


def noisy_season(seed: int = 0, length: int = 500, noise: float = 1.0) -> np.ndarray:
    week = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -2.0, -4.0])[np.arange(length) % 7]
    return 20 + week + noise * np.random.default_rng(seed).standard_normal(length)


def loss(quantiles, part):
    return pinball_by_origin(quantiles, part.target).mean()


def test_a_season_in_noise_is_averaged_over_years_past():
    """The seasonal naive's error has variance 2, the mean of four seasons' 1.25: the best gain is 21 %."""
    learn, held = split(noisy_season())
    scaler = Scaler.of(learn.known)
    start = best_warm_start(scaler, learn, held)
    assert start is not None
    assert start.share > 0.7
    naive = np.broadcast_to(normal_levels(LEVELS), (*held.target.shape, len(LEVELS)))
    assert loss(start.quantiles(scaler(held.known)), held) < 0.86 * loss(naive, held)


def test_widths_follow_what_is_left():
    learn, held = split(noisy_season())
    scaler = Scaler.of(learn.known)
    start = best_warm_start(scaler, learn, held)
    quantiles = start.quantiles(scaler(held.known))
    inside = (quantiles[..., LEVELS.index(0.1)] < held.target) & (
        held.target < quantiles[..., LEVELS.index(0.9)]
    )
    assert 0.72 < inside.mean() < 0.88
    assert (np.diff(quantiles, axis=-1) > 0).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_random_walk_keeps_the_naive(seed):
    walk = 100 + np.cumsum(np.random.default_rng(seed).standard_normal(500))
    learn, held = split(walk, kind=CalendarKind.BUSINESS, periods=())
    scaler = Scaler.of(learn.known)
    start = best_warm_start(scaler, learn, held)
    if start is not None:
        moved = start.share * np.abs(scaler(held.known) @ start.weights + start.constant)
        assert moved.mean() < 0.15


def test_related_origins_learn_at_the_end_only():
    learn, held = split(noisy_season())
    other = split(noisy_season(seed=1))[0]
    from horizoncast.models.autoformer.origins import joined

    both = joined([learn, other])
    scaler = Scaler.of(both.known)
    alone = best_warm_start(scaler, learn, held)
    shared = best_warm_start(scaler, both, held, own=len(learn.rows))
    assert (alone.penalty, alone.share) == (shared.penalty, shared.share)
    assert not np.allclose(alone.weights, shared.weights)


def test_the_regression_again_on_the_same_examples_is_itself():
    learn, held = split(noisy_season())
    scaler = Scaler.of(learn.known)
    start = best_warm_start(scaler, learn, held)
    again = start.again(scaler, learn)
    assert np.allclose(again.weights, start.weights)
    assert (again.level, again.slope, again.share) == (start.level, start.slope, start.share)


def test_a_curved_effect_that_differs_by_weekday_is_found():
    """sin(weekday) x^2 of a covariate known in advance: invisible to its plain column."""
    rng = np.random.default_rng(0)
    x = 50 + 10 * rng.standard_normal(710)
    day = np.arange(700) % 7
    effect = 2 * np.sin(2 * np.pi * day / 7) * ((x[:700] - 50) / 10) ** 2
    price = Covariate(name="price", values=x, known_future=True)
    flag = Covariate(name="flag", values=np.arange(710) % 2.0, known_future=True)
    series = make_series(
        30 + effect + 0.5 * rng.standard_normal(700),
        kind=CalendarKind.DAILY,
        periods=(7,),
        covariates=(price, flag),
    )
    window = window_of(series.until(series.last))
    design = choose_design(window, (7,), SEVEN)
    crossed = crossed_of(window)
    assert [one.column for one in crossed] == [0]
    losses = {}
    for shown in ((), crossed):
        parts = [
            examples_at(window, design, rows, context=24, steps=7, level=1.0, yearly=False, crossed=shown)
            for rows in (np.arange(30, 550), np.arange(560, 690))
        ]
        scaler = Scaler.of(parts[0].known)
        start = best_warm_start(scaler, *parts)
        losses[len(shown)] = loss(start.quantiles(scaler(parts[1].known)), parts[1])
    assert losses[1] < 0.6 * losses[0]


def test_one_outcome_is_never_believed_in_full():
    rng = np.random.default_rng(0)
    target = rng.standard_normal((6, 12))
    naive = np.broadcast_to(normal_levels(LEVELS), (6, 12, len(LEVELS)))
    truth = target[..., None] + 0.1 * naive
    few = choose_share(naive, truth, target, np.arange(6))
    many = choose_share(
        np.tile(naive, (20, 1, 1)),
        np.tile(truth, (20, 1, 1)),
        np.tile(target, (20, 1)),
        np.arange(120),
    )
    assert few < 0.55 < 0.85 < many


def test_the_head_starts_at_the_closed_form():
    torch = pytest.importorskip("torch")
    from horizoncast.models.autoformer.heads import GaussianHead, QuantileHead

    learn, held = split(noisy_season())
    scaler = Scaler.of(learn.known)
    start = best_warm_start(scaler, learn, held)
    features = torch.from_numpy(scaler(held.known))
    hidden = torch.cat([torch.randn(*features.shape[:2], 5), features], dim=-1)
    wanted = start.quantiles(scaler(held.known))
    for kind in (QuantileHead, GaussianHead):
        head = kind(hidden.shape[-1], LEVELS)
        head.start_at(start.weights, start.constant, *start.standardised(scaler))
        found = head(hidden, torch.zeros(*features.shape[:2], 1))[:, :, 0].detach().numpy()
        assert np.abs(found - wanted).max() < 0.05
