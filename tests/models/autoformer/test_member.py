"""The member: naive before training, learning where there is something to learn, kept networks."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch")

from horizoncast.calendar import CalendarKind
from horizoncast.errors import ConfigError, ModelError
from horizoncast.forecast import Flag
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.autoformer.heads import normal_quantiles
from horizoncast.models.autoformer.losses import choose_share
from horizoncast.models.autoformer.member import Autoformer
from horizoncast.models.autoformer.origins import split_origins
from horizoncast.models.lag_features import choose_design, window_of
from horizoncast.models.naive import best_period
from horizoncast.series import Covariate
from support import make_series, market, weekly_season

SMALL = AutoformerConfig(
    context=24, label=8, d_model=8, feed_forward=16, kernel=7, steps=20, check_every=10, origins=120, batch=16
)
SEVEN = Horizon(steps=7)


def fitted(series, config=SMALL, **more):
    member = Autoformer(config, service="test", **more)
    return member, member.fit(series.until(series.dates[-30]).tail(config.window), SEVEN)


def medians(member, state, series):
    history = series.until(series.last)
    return member.predict(state, history, SEVEN, LEVELS, np.random.default_rng(0)).quantiles[:, 9]


def test_step_zero_repeats_the_last_value_of_a_price():
    series = market()
    member, state = fitted(series, replace(SMALL, steps=0))
    assert np.allclose(medians(member, state, series), series.until(series.last).z[-1])


def test_step_zero_repeats_the_last_season():
    series = weekly_season()
    member, state = fitted(series, replace(SMALL, steps=0))
    z = series.until(series.last).z
    assert best_period(z, series.periods) == 7
    assert np.allclose(medians(member, state, series), z[-7:])


def test_noise_stays_near_the_naive():
    series = market(900, seed=4)
    member, state = fitted(series)
    width = series.until(series.last).z[-60:].std()
    assert np.abs(medians(member, state, series) - series.until(series.last).z[-1]).max() < 0.2 * width


def effect_series(length=900):
    """A covariate known in advance moves a weekly series."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(length + 10)
    week = np.array([0.0, 1.0, 3.0, 2.0, 5.0, -2.0, -4.0])[np.arange(length) % 7]
    values = 20 + week + 3 * x[:length] + 0.3 * rng.standard_normal(length)
    known = Covariate(name="price", values=x, known_future=True)
    return make_series(values, kind=CalendarKind.DAILY, periods=(7,), covariates=(known,))


WAYS = [
    ("quantile", "last_layer"),
    ("bayesian", "none"),
    ("hierarchical", "ensemble"),
    ("quantile", "mc_dropout"),
]


@pytest.mark.parametrize(("variant", "method"), WAYS)
def test_every_variant_and_method_learns_an_effect(variant, method):
    series = effect_series(600)
    config = replace(
        SMALL,
        variant=variant,
        uncertainty=method,
        steps=60,
        learning_rate=0.02,
        seeds=2,
        samples=2,
        dropout=0.05,
    )
    _, state = fitted(series, config)
    assert state.trained is not None
    assert state.trained.chosen[0] > 0
    assert state.trained.share > 0.5
    assert state.trained.held_ratio < 0.85
    assert len(state.trained.networks) == (2 if method == "ensemble" else 1)


def test_parts_of_the_variance():
    series = effect_series(500)
    for method in ("last_layer", "ensemble", "mc_dropout"):
        member, state = fitted(series, replace(SMALL, uncertainty=method, seeds=2, samples=3))
        parts = member.uncertainty(state, series.until(series.last), SEVEN)
        assert (parts.aleatoric > 0).all()
        assert (parts.epistemic > 0).all()
        assert (np.diff(parts.quantiles, axis=-1) >= 0).all()


@pytest.mark.parametrize("method", ["last_layer", "ensemble", "mc_dropout", "none"])
def test_a_forecast_says_how_much_of_its_variance_is_doubt_about_the_weights(method):
    series = effect_series(500)
    config = replace(SMALL, uncertainty=method, seeds=2, samples=3, dropout=0.05)
    member, state = fitted(series, config)
    assert state.trained is not None
    history = series.until(series.last)

    def share(trained):
        changed = replace(state, trained=trained)
        return member.predict(changed, history, SEVEN, LEVELS, np.random.default_rng(0)).epistemic

    whole, half = (share(replace(state.trained, share=part, width=1.0)) for part in (1.0, 0.5))
    assert share(replace(state.trained, share=0.0)) is None
    if method == "none":
        assert whole is None and half is None
        return
    parts = member.uncertainty(state, history, SEVEN)
    expected = (parts.epistemic / (parts.epistemic + parts.aleatoric))[0]
    assert np.allclose(whole, np.minimum(expected, 8 / 9), rtol=0.05)
    assert (half < whole).all() and (half > 0).all()


def test_the_share_reaches_the_forecast_and_the_naive_has_none():
    series = effect_series(500)
    member = Autoformer(SMALL, service="test")
    (found,) = member.forecast(series, [series.last], SEVEN, LEVELS)
    assert found.epistemic is not None and found.epistemic.shape == (7,)
    assert ((found.epistemic > 0) & (found.epistemic < 1)).all()
    (short,) = Autoformer(SMALL).forecast(market(45), [market(45).last], Horizon(steps=30), LEVELS)
    assert short.epistemic is None


def test_published_start_is_available_and_not_the_naive():
    series = market()
    member, state = fitted(series, replace(SMALL, start="published", steps=1))
    assert state.trained is not None
    assert state.trained.share == 1.0
    assert np.abs(medians(member, state, series) - series.until(series.last).z[-1]).max() > 1e-4


def test_too_short_a_history_answers_with_the_naive_and_says_so():
    series = market(45)
    (found,) = Autoformer(SMALL).forecast(series, [series.last], Horizon(steps=30), LEVELS)
    assert Flag.SHORT_HISTORY in found.flags


def test_outcomes_of_held_back_windows_are_not_trained_on():
    window = window_of(market(600).until(market(600).last))
    design = choose_design(window, (), SEVEN)
    learn, held = split_origins(window, design, 7, 24, SMALL)
    assert learn.max() + 7 <= held.min()
    assert held.max() + 7 <= len(window.z) - 1


def test_a_chance_gain_keeps_the_naive():
    member, state = fitted(market(600))
    window = window_of(market(600).until(market(600).last))
    held = member._examples(window, state, np.arange(400, 500), SEVEN)
    rng = np.random.default_rng(0)
    noise = np.asarray(normal_quantiles(LEVELS)) + 0.5 * rng.standard_normal((100, 7, 1))
    naive = np.broadcast_to(normal_quantiles(LEVELS), noise.shape)
    assert choose_share(naive, noise, held.target, held.rows) == 0.0
    truth = naive * 0.2 + held.target[..., None]
    assert choose_share(naive, truth, held.target, held.rows) > 0.8


# Kept networks


def test_a_kept_network_answers_as_the_trained_one(tmp_path):
    series = effect_series(500)
    config = replace(SMALL, checkpoints=str(tmp_path))
    member, state = fitted(series, config)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1
    again, kept = fitted(series, config)
    plain, fresh = fitted(series)
    first = medians(member, state, series)
    assert np.array_equal(first, medians(again, kept, series))
    assert np.array_equal(first, medians(plain, fresh, series))
    assert kept.trained.curves[0][-1] == state.trained.curves[0][-1]
    assert len(list(tmp_path.glob("*.json"))) == 1


def test_other_data_get_another_network(tmp_path):
    config = replace(SMALL, checkpoints=str(tmp_path))
    fitted(market(400), config)
    fitted(market(400, seed=1), config)
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_a_damaged_network_is_refused(tmp_path):
    config = replace(SMALL, checkpoints=str(tmp_path))
    fitted(market(400), config)
    (weights,) = tmp_path.glob("*.safetensors")
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(bytes(raw))
    with pytest.raises(ModelError, match="digest"):
        fitted(market(400), config)


def test_the_folder_does_not_change_the_identity(tmp_path):
    assert Autoformer(SMALL).digest() == Autoformer(replace(SMALL, checkpoints=str(tmp_path))).digest()


@pytest.mark.parametrize(
    "wrong", [{"variant": "quantil"}, {"start": "x"}, {"uncertainty": ""}, {"label": 200}, {"dropout": 1.0}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        AutoformerConfig(**wrong)


def test_torch_is_left_as_it_was():
    import torch

    torch.manual_seed(3)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.random.get_rng_state(),
    )
    fitted(market(400))
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before[:2]
    assert torch.equal(torch.random.get_rng_state(), before[2])
