"""Two shapes of window that only an encoder tells apart: the gate learns which branch each wants."""

from dataclasses import replace

import numpy as np
import pytest

from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.embedding import WINDOW
from horizoncast.models.chronos.encoder import ChronosEncoder
from horizoncast.models.chronos.pipeline import release_pipeline
from horizoncast.models.hybrid.context import context_of
from horizoncast.models.hybrid.gate import train_gate
from hybrid_rows import gate_rows

pytest.importorskip("chronos")


def windows(rng: np.random.Generator, each: int) -> np.ndarray:
    """(2, N, T) noise around a slow arch, and around the same arch turned over."""
    arch = 4.0 * np.sin(np.pi * np.arange(WINDOW) / WINDOW)
    return np.stack([arch, -arch])[:, None] + rng.standard_normal((2, each, WINDOW))


@pytest.fixture(scope="module")
def shapes() -> np.ndarray:
    """(2, N, D) what the checkpoint that ships sees of them."""
    found = windows(np.random.default_rng(0), 100)
    vectors = ChronosEncoder(ChronosConfig(model="horizoncast-bolt-micro").folder()).embed(
        found.reshape(-1, WINDOW)
    )
    release_pipeline()
    return vectors.vectors.reshape(2, 100, -1)


def test_a_regime_of_shapes_is_learned_from_what_the_encoder_sees(shapes: np.ndarray) -> None:
    rows = gate_rows(1, windows=240, planted=0.9, shapes=shapes)
    gate, ruling = train_gate([rows])
    assert gate is not None, ruling.reason
    assert ruling.gain > 2 * ruling.standard_error > 0
    calm = replace(rows.contexts[0], volatility=0.5)
    odds = np.array(
        [[gate.log_odds(replace(calm, embedding=tuple(v)), [3])[0] for v in kind[:30]] for kind in shapes]
    )
    assert odds[0].min() > 0.3
    assert odds[1].max() < -0.3  # of this kind chronos' error is the larger one


def test_the_other_signals_do_not_tell_these_shapes_apart() -> None:
    """Otherwise the test above would show nothing of embeddings."""
    found = windows(np.random.default_rng(1), 60)
    signals = [[context_of(z, None) for z in kind] for kind in found]
    for name in ("volatility", "entropy"):
        one, two = (np.array([getattr(c, name) for c in kind]) for kind in signals)
        assert abs(one.mean() - two.mean()) < 3 * np.sqrt((one.var() + two.var()) / 60)
