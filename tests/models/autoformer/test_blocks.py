"""The published blocks against slow, obviously right versions of their equations."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from horizoncast.models.autoformer.blocks import (  # noqa: E402 - torch may be absent
    AutoCorrelation,
    SeasonalNorm,
    SeriesDecomposition,
    aggregate_delays,
    correlation,
    moving_average,
)


def series(batch=2, length=12, width=3, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((batch, length, width)))


def slow_average(x, kernel):
    """Mean over a window, value by value, ends repeated."""
    front = (kernel - 1) // 2
    out = np.empty_like(x)
    for t in range(x.shape[1]):
        at = np.clip(np.arange(t - front, t - front + kernel), 0, x.shape[1] - 1)
        out[:, t] = x[:, at].mean(axis=1)
    return out


def slow_correlation(q, k):
    """R(tau) = mean over d of sum over t of q[t + tau] k[t], circular."""
    length = q.shape[1]
    out = np.zeros((q.shape[0], length))
    for tau in range(length):
        for t in range(length):
            out[:, tau] += (q[:, (t + tau) % length] * k[:, t]).mean(axis=-1)
    return out


def slow_aggregation(v, scores, top):
    out = np.zeros_like(v)
    for b in range(len(v)):
        best = np.argsort(-scores[b], kind="stable")[:top]
        weights = np.exp(scores[b, best] - scores[b, best].max())
        for weight, delay in zip(weights / weights.sum(), best, strict=True):
            for t in range(v.shape[1]):
                out[b, t] += weight * v[b, (t + delay) % v.shape[1]]
    return out


@pytest.mark.parametrize("kernel", [1, 2, 5, 25])
def test_moving_average_is_the_slow_one(kernel):
    x = series()
    assert np.allclose(moving_average(x, kernel), slow_average(x.numpy(), kernel))


def test_moving_average_is_the_authors():
    """Average pooling over a series padded with its ends, as in the authors' code."""
    x, kernel = series(), 5
    ends = (x[:, :1].repeat(1, 2, 1), x, x[:, -1:].repeat(1, 2, 1))
    pooled = torch.nn.AvgPool1d(kernel, stride=1)(torch.cat(ends, dim=1).transpose(1, 2)).transpose(1, 2)
    assert torch.allclose(moving_average(x, kernel), pooled)


@pytest.mark.parametrize("kernels", [(5,), (3, 7)])
def test_decomposition_adds_up(kernels):
    x = series().float()
    seasonal, trend = SeriesDecomposition(kernels)(x)
    assert torch.allclose(seasonal + trend, x, atol=1e-6)


def test_several_kernels_stay_between_their_averages():
    x = series().float()
    _, trend = SeriesDecomposition((3, 7))(x)
    both = torch.stack([moving_average(x, 3), moving_average(x, 7)])
    assert (trend >= both.min(dim=0).values - 1e-6).all()
    assert (trend <= both.max(dim=0).values + 1e-6).all()


@pytest.mark.parametrize("length", [7, 12])
def test_correlation_is_the_slow_one(length):
    q, k = series(length=length), series(length=length, seed=1)
    assert np.allclose(correlation(q, k), slow_correlation(q.numpy(), k.numpy()))


def test_correlation_peaks_at_the_period():
    t = torch.arange(48, dtype=torch.float64)
    x = torch.sin(2 * torch.pi * t / 12)[None, :, None]
    scores = correlation(x, x)[0]
    assert set(scores.topk(4).indices.tolist()) == {0, 12, 24, 36}


@pytest.mark.parametrize("top", [1, 3])
def test_aggregation_is_the_slow_one(top):
    v, scores = series(), correlation(series(), series(seed=1))
    assert np.allclose(aggregate_delays(v, scores, top), slow_aggregation(v.numpy(), scores.numpy(), top))


@pytest.mark.parametrize("keys", [6, 12, 20])
def test_attention_answers_for_any_length_of_memory(keys):
    layer = AutoCorrelation(3, 1.0).double()
    assert layer(series(), series(length=keys)).shape == (2, 12, 3)


def test_a_sample_does_not_depend_on_its_batch():
    layer = AutoCorrelation(3, 1.0).double()
    x = series(batch=5)
    assert torch.allclose(layer(x, x)[2:3], layer(x[2:3], x[2:3]))


def test_seasonal_norm_has_no_mean_over_time():
    out = SeasonalNorm(3)(series().float())
    assert torch.allclose(out.mean(dim=1), torch.zeros(2, 3), atol=1e-6)


def test_gradients_reach_queries_keys_and_values():
    layer = AutoCorrelation(3, 1.0).double()
    layer(series(), series(seed=1)).square().sum().backward()
    for part in (layer.query, layer.key, layer.value, layer.out):
        assert part.weight.grad is not None
        assert part.weight.grad.abs().sum() > 0
