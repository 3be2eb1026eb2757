"""The projection head: the loss by hand, pairs found again, chance not beaten by noise."""

import math

import numpy as np
import pytest

from horizoncast.errors import ConfigError, DataError
from horizoncast.models.chronos.projection import Head, HeadSettings, info_nce, parts_of, retrieve, train_head
from horizoncast.store.checkpoints import load_checkpoint, save_checkpoint

torch = pytest.importorskip("torch")

SMALL = HeadSettings(hidden=32, out=16, epochs=40, batch_size=64, learning_rate=5e-3)


def pairs(count: int, *, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two views of four hidden numbers, through different random maps."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((count, 4))
    left = np.tanh(hidden @ rng.standard_normal((4, 12))) + noise * rng.standard_normal((count, 12))
    right = hidden @ rng.standard_normal((4, 7)) + noise * rng.standard_normal((count, 7))
    return 100 + 5 * left, right


def test_the_loss_is_that_of_the_papers() -> None:
    rng = np.random.default_rng(1)
    left, right = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in rng.standard_normal((2, 5, 3)))
    logits = left @ right.T / 0.2
    rows = -np.mean(np.diag(logits) - np.log(np.exp(logits).sum(axis=1)))
    columns = -np.mean(np.diag(logits) - np.log(np.exp(logits).sum(axis=0)))
    found = info_nce(torch.tensor(left), torch.tensor(right), torch.tensor(5.0))
    assert float(found) == pytest.approx((rows + columns) / 2)


def test_pairs_are_found_again_far_above_chance() -> None:
    head, found = train_head(*pairs(600, noise=0.1), SMALL)
    assert found.pairs == 120
    assert found.top1 > 0.3 > 30 * found.chance1
    assert found.top5 > 0.7
    assert head.temperature < 0.07
    assert head.looks[-1].held < head.looks[0].held


def test_noise_stays_at_chance() -> None:
    rng = np.random.default_rng(4)
    _, found = train_head(rng.standard_normal((600, 12)), rng.standard_normal((600, 7)), SMALL)
    assert found.top1 < 0.06
    assert 35 < found.median_rank < 85


def test_the_same_seed_gives_the_same_head() -> None:
    left, right = pairs(200, noise=0.1)
    one, other = (train_head(left, right, SMALL)[0] for _ in range(2))
    assert all(np.array_equal(one.arrays[name], other.arrays[name]) for name in one.arrays)


def test_a_head_is_stored_and_read_back(tmp_path) -> None:
    left, right = pairs(200, noise=0.1)
    head, _ = train_head(left, right, SMALL)
    until = np.datetime64("2024-01-31", "s")
    save_checkpoint(tmp_path, head.checkpoint("mine", until, {"source": "x"}))
    stored = load_checkpoint(tmp_path, "mine")
    again = Head.of(stored)
    assert stored.trained_until == until
    np.testing.assert_array_equal(again.project(left), head.project(left))
    np.testing.assert_allclose(np.linalg.norm(again.project(left), axis=1), 1.0)
    assert again.project(left).shape == (200, 16)
    assert again.settings == SMALL


def test_the_head_is_the_network_that_was_trained() -> None:
    left, right = pairs(200, noise=0.1)
    head, _ = train_head(left, right, SMALL)
    held = parts_of(200, SMALL)[1]
    loss = info_nce(
        torch.tensor(head.project(left[held])),
        torch.tensor(head.project_partner(right[held])),
        torch.tensor(1.0 / head.temperature),
    )
    assert float(loss) == pytest.approx(min(look.held for look in head.looks), rel=1e-4)


def test_a_fixed_temperature_stays() -> None:
    settings = HeadSettings(hidden=8, out=8, epochs=3, temperature=0.5, learn_temperature=False)
    head, _ = train_head(*pairs(200, noise=0.1), settings)
    assert head.temperature == pytest.approx(0.5)


def test_parts_are_in_order_and_apart() -> None:
    learn, held, test = parts_of(200, HeadSettings(), gap=3)
    assert (learn.start, test.stop) == (0, 200)
    assert learn.stop + 3 == held.start
    assert held.stop + 3 == test.start


def test_retrieval_counts_ties_against_the_query() -> None:
    same = np.tile([[1.0, 0.0]], (10, 1))
    found = retrieve(same, same)
    assert (found.top1, found.top5, found.median_rank) == (0.0, 0.0, 10.0)


def test_what_cannot_be_paired_is_refused() -> None:
    left, right = pairs(200, noise=0.1)
    with pytest.raises(DataError, match="not pairs"):
        train_head(left, right[:-1], SMALL)
    with pytest.raises(DataError, match="too few pairs"):
        train_head(left[:20], right[:20], SMALL)
    with pytest.raises(ConfigError, match="temperature"):
        HeadSettings(temperature=0.0)
    head, _ = train_head(left, right, SMALL)
    with pytest.raises(DataError, match=r"\(N, 12\)"):
        head.project(right)
    assert math.isfinite(head.temperature)
