"""Heads and network: order of quantiles, the naive at step 0, gradients, nothing replaced."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from horizoncast.horizon import LEVELS  # noqa: E402 - torch may be absent
from horizoncast.models.autoformer.heads import (  # noqa: E402
    GaussianHead,
    QuantileHead,
    normal_quantiles,
    pinball,
)
from horizoncast.models.autoformer.network import Network, NetworkConfig  # noqa: E402

CONFIG = NetworkConfig(
    channels=3, marks=2, features=4, context=16, label=6, steps=5, levels=LEVELS, d_model=8, feed_forward=16,
    kernels=(5,),
)  # fmt: skip
VARIANTS = [
    CONFIG,
    replace(CONFIG, gaussian=True),
    replace(CONFIG, kernels=(3, 7)),
    replace(CONFIG, features=0, marks=0),
    replace(CONFIG, encoder_layers=2, decoder_layers=2, outputs=2),
]


def inputs(c, seed=0, batch=3):
    torch.manual_seed(seed)
    return (
        torch.randn(batch, c.context, c.channels),
        torch.randn(batch, c.context, c.marks),
        torch.randn(batch, c.steps, c.marks),
        torch.randn(batch, c.steps, c.features),
        torch.zeros(batch, c.steps, c.outputs),
    )


@pytest.mark.parametrize("config", VARIANTS)
def test_untrained_network_is_the_naive(config):
    quantiles = Network(config)(*inputs(config))
    assert quantiles.shape == (3, 5, config.outputs, 19)
    assert torch.allclose(quantiles, torch.tensor(normal_quantiles(LEVELS)).expand_as(quantiles), atol=1e-5)


def test_published_start_is_not_the_naive():
    config = replace(CONFIG, anchored=False)
    medians = Network(config)(*inputs(config))[..., LEVELS.index(0.5)]
    assert medians.abs().max() > 0.05


@pytest.mark.parametrize("scale", [1.0, 1e3])
@pytest.mark.parametrize("head", [QuantileHead, GaussianHead])
def test_quantiles_never_cross(head, scale):
    torch.manual_seed(0)
    layer = head(6, LEVELS, 2, zero=False)
    quantiles = layer(scale * torch.randn(50, 4, 6), torch.zeros(50, 4, 2))
    assert (quantiles.diff(dim=-1) >= 0).all()


def test_pinball_is_the_definition():
    quantiles = torch.tensor([[[[1.0, 3.0]]]])
    loss = pinball(quantiles, torch.tensor([[[2.0]]]), (0.1, 0.9))
    assert torch.allclose(loss, torch.tensor([0.1, 0.1]))


def test_gaussian_loss_is_the_negative_log_likelihood():
    head = GaussianHead(2, LEVELS)
    quantiles = 1.0 + 2.0 * head.normal.expand(1, 1, 1, -1)
    expected = -torch.distributions.Normal(1.0, 2.0).log_prob(torch.tensor(4.0))
    assert torch.allclose(head.loss(quantiles, torch.tensor([[[4.0]]])), expected)


@pytest.mark.parametrize("config", VARIANTS)
def test_every_weight_gets_a_gradient_after_the_first_step(config):
    """Zero heads hold back the layers below for one step only."""
    torch.manual_seed(0)
    network = Network(config)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    target = torch.randn(3, config.steps, config.outputs)
    for _ in range(3):
        optimiser.zero_grad()
        network.head.loss(network(*inputs(config)), target).backward()
        optimiser.step()
    # the last layer norm's bias cancels: its mean over time is taken out
    dead = [
        name
        for name, p in network.named_parameters()
        if not name.endswith("norm.bias") and (p.grad is None or not p.grad.abs().sum() > 0)
    ]
    assert dead == []


def test_layers_are_never_replaced_and_the_config_never_changes():
    network = Network(CONFIG)
    before = {name: id(module) for name, module in network.named_modules()}
    network.train()
    network.head.loss(network(*inputs(CONFIG)), torch.zeros(3, 5, 1)).backward()
    network.eval()
    network(*inputs(CONFIG))
    assert {name: id(module) for name, module in network.named_modules()} == before
    assert network.config is CONFIG
    with pytest.raises(FrozenInstanceError):
        network.config.d_model = 4


def test_evaluation_does_not_depend_on_the_batch():
    network = Network(replace(CONFIG, anchored=False)).eval()
    parts = inputs(CONFIG, batch=4)
    with torch.no_grad():
        together = network(*parts)[1:2]
        alone = network(*(p[1:2] for p in parts))
    assert np.allclose(together, alone, atol=1e-5)
