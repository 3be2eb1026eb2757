"""The drop-in class: shapes, intervals, gradients, a config that is only read."""

from itertools import pairwise
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from horizoncast.errors import ConfigError  # noqa: E402 - torch may be absent
from horizoncast.models.autoformer.hf import HFBayesianAutoformer  # noqa: E402


def configs(**changes):
    given = {
        "enc_in": 3, "dec_in": 3, "c_out": 2, "seq_len": 24, "pred_len": 6, "d_model": 8,
        "quantile_levels": [0.1, 0.5, 0.9],
    }  # fmt: skip
    return SimpleNamespace(**(given | changes))


def prices(batch=4):
    torch.manual_seed(0)
    return 100 + torch.randn(batch, 24, 3).cumsum(dim=1)


def test_untrained_it_repeats_the_last_value():
    x = prices()
    out = HFBayesianAutoformer(configs())(x)
    assert out.shape == (4, 6, 2)
    assert torch.allclose(out, x[:, -1:, :2].expand(-1, 6, -1))


def test_uncertainty_is_complete_and_ordered():
    model = HFBayesianAutoformer(configs())
    found = model.uncertainty(prices(), passes=4)
    assert {"prediction", "uncertainty", "q10", "q25", "q50", "q75", "q90"} <= set(found)
    assert all(value.shape == (4, 6, 2) and value.isfinite().all() for value in found.values())
    assert (found["uncertainty"] >= 0).all()
    order = ("lower_95", "lower_68", "prediction", "upper_68", "upper_95")
    for low, high in pairwise(order):
        assert (found[low] <= found[high]).all()
    for low, high in (("q10", "q25"), ("q25", "q50"), ("q50", "q75"), ("q75", "q90")):
        assert (found[low] <= found[high]).all()


def test_parts_of_the_variance_add_up():
    model = HFBayesianAutoformer(configs(dropout=0.5))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(5):
        optimiser.zero_grad()
        model.loss(prices(), prices()[:, -6:, :2] + 3.0).backward()
        optimiser.step()
    found = model.uncertainty(prices(), passes=8)
    parts = found["epistemic"] ** 2 + found["aleatoric"] ** 2
    assert torch.allclose(found["uncertainty"] ** 2, parts, rtol=1e-4)
    assert (found["epistemic"] > 0).any()


def test_uncertainty_is_repeatable_and_leaves_the_mode_and_random_state_alone():
    model = HFBayesianAutoformer(configs()).eval()
    x = prices()
    state = torch.random.get_rng_state()
    first, again = (model.uncertainty(x, passes=3)["uncertainty"] for _ in range(2))
    assert torch.equal(first, again)
    assert not model.training
    assert torch.equal(state, torch.random.get_rng_state())


def test_config_is_only_read():
    given = configs(moving_avg=[5, 9])
    before = dict(vars(given))
    model = HFBayesianAutoformer(given)
    modules = {name: id(module) for name, module in model.named_modules()}
    model.loss(prices(), torch.zeros(4, 6, 2)).backward()
    model.uncertainty(prices(), passes=2)
    assert vars(given) == before
    assert {name: id(module) for name, module in model.named_modules()} == modules


def test_loss_falls():
    model = HFBayesianAutoformer(configs())
    x, target = prices(16), prices(16)[:, -6:, :2] + 5.0
    optimiser = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(30):
        optimiser.zero_grad()
        loss = model.loss(x, target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("changes", [{"c_out": 4}, {"quantile_levels": [0.0]}, {"quantile_levels": []}])
def test_contradictions_are_refused(changes):
    with pytest.raises(ConfigError):
        HFBayesianAutoformer(configs(**changes))


def test_missing_attributes_are_named():
    given = configs()
    del given.pred_len
    with pytest.raises(ConfigError, match="pred_len"):
        HFBayesianAutoformer(given)


def test_input_of_another_length_is_refused():
    with pytest.raises(ConfigError, match="24"):
        HFBayesianAutoformer(configs())(prices()[:, :20])
