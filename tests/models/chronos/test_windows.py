"""Windows never share outcomes between parts; the verdict keeps its level."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from horizoncast.errors import HistoryTooShortError
from horizoncast.models.chronos.settings import TrainingSettings
from horizoncast.models.chronos.verdict import blocks_of, judge, pinball, window_losses
from horizoncast.models.chronos.windows import Windows, context_spread, split_windows


@given(
    length=st.integers(150, 600),
    context=st.integers(16, 64),
    steps=st.integers(1, 12),
    stride=st.integers(1, 7),
)
@settings(max_examples=40, deadline=None)
def test_targets_of_a_part_lie_inside_it(length: int, context: int, steps: int, stride: int) -> None:
    rows = np.arange(length, dtype=np.float64)
    split = split_windows([rows], context=context, steps=steps, settings=TrainingSettings(stride=stride))
    spans = [(p.targets.min(), p.targets.max()) for p in (split.learn, split.held, split.test)]
    assert spans[0][1] < spans[1][0] <= spans[1][1] < spans[2][0]
    assert spans[2][1] == length - 1
    for part in (split.learn, split.held, split.test):
        np.testing.assert_array_equal(part.contexts[:, -1], part.ends)
        np.testing.assert_array_equal(part.targets[:, 0], part.ends + 1)
        assert (part.contexts.shape[1], part.targets.shape[1]) == (context, steps)


def test_filled_values_are_no_targets() -> None:
    rows, seen = np.arange(300.0), np.ones(300, dtype=np.bool_)
    seen[280] = False
    split = split_windows([rows], context=32, steps=4, settings=TrainingSettings(), observed=[seen])
    assert 280.0 in split.test.contexts
    assert 280.0 not in split.test.targets
    assert np.isnan(split.test.targets).sum() == 4


def test_several_series_are_kept_apart() -> None:
    values = [np.arange(200.0), 1000 + np.arange(300.0)]
    split = split_windows(values, context=20, steps=5, settings=TrainingSettings())
    first = split.learn.series == 0
    assert np.nanmax(split.learn.contexts[first]) < 1000 <= np.nanmin(split.learn.contexts[~first])
    assert len(np.unique(blocks_of(split.test))) <= 20


def test_small_moves_at_a_high_level_are_not_lost() -> None:
    rows = np.random.default_rng(0).standard_normal(300)
    plain, high = (
        split_windows([values], context=32, steps=4, settings=TrainingSettings()).test
        for values in (rows, 1e6 + 1e-3 * rows)
    )
    for one, other in zip(plain.centred(), high.centred(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    np.testing.assert_allclose(plain.centred()[0].std(axis=1), 1.0, rtol=1e-5)
    raw = np.stack([high.centred()[1]] * 2, axis=2).astype(np.float64)
    np.testing.assert_allclose(high.restored(raw)[:, :, 0], high.targets, rtol=1e-12)


def test_too_short_a_history_says_so() -> None:
    with pytest.raises(HistoryTooShortError, match="no window to"):
        split_windows([np.arange(40.0)], context=32, steps=10, settings=TrainingSettings())


def test_spread_is_the_standard_deviation_and_nan_where_nothing_moved() -> None:
    contexts = np.array([[np.nan, 1.0, 2.0, 4.0], [5.0, 5.0, 5.0, 5.0]], dtype=np.float32)
    found = context_spread(contexts)
    assert found[0] == pytest.approx(np.std([1.0, 2.0, 4.0]))
    assert np.isnan(found[1])


def test_pinball_by_hand() -> None:
    loss = pinball([[[1.0, 2.0]]], [[3.0]], (0.1, 0.9))
    np.testing.assert_allclose(loss, [[[0.2, 0.9]]])
    np.testing.assert_allclose(pinball([[[4.0]]], [[3.0]], (0.1,)), [[[0.9]]])


def windows_of(ends: np.ndarray, steps: int) -> Windows:
    contexts = np.tile(np.array([0.0, 2.0] * 8, dtype=np.float32), (len(ends), 1))
    return Windows(
        contexts=contexts,
        targets=np.zeros((len(ends), steps), dtype=np.float32),
        series=np.zeros(len(ends), dtype=np.int64),
        ends=ends,
    )


def test_losses_are_in_standard_deviations_of_the_context() -> None:
    windows = windows_of(np.arange(3), 2)
    quantiles = np.full((3, 2, 1), 4.0)
    np.testing.assert_allclose(window_losses(quantiles, windows, (0.5,)), 2.0)


def test_blocks_are_no_shorter_than_two_horizons() -> None:
    blocks = blocks_of(windows_of(np.arange(200), 30))
    assert np.bincount(blocks).min() >= 60
    assert len(np.unique(blocks_of(windows_of(np.arange(1000), 7)))) == 20


def test_the_p_value_is_that_of_a_t_test_on_block_means() -> None:
    rng = np.random.default_rng(3)
    base, blocks = rng.uniform(1, 2, 60), np.repeat(np.arange(6), 10)
    tuned = base - 0.05 - 0.05 * rng.standard_normal(60)
    means = (base - tuned).reshape(6, 10).mean(axis=1)
    verdict = judge(base, tuned, blocks)
    assert verdict.kept
    assert verdict.p_value == pytest.approx(ttest_1samp(means, 0, alternative="greater").pvalue)


def test_chance_is_rarely_kept_although_windows_overlap() -> None:
    """Differences as moving sums over the horizon: what overlapping windows make of noise."""
    rng, steps, kept = np.random.default_rng(11), 10, 0
    blocks = blocks_of(windows_of(np.arange(200), steps))
    for _ in range(400):
        noise = np.convolve(rng.standard_normal(200 + steps - 1), np.ones(steps), "valid")
        kept += judge(np.full(200, 5.0), 5.0 - noise, blocks).kept
    assert kept / 400 < 0.09


def test_too_few_blocks_cannot_be_told() -> None:
    verdict = judge(np.full(30, 2.0), np.full(30, 1.0), np.repeat([0, 1, 2], 10))
    assert not verdict.kept
    assert "cannot be told" in verdict.reason


def test_a_small_gain_is_not_kept_and_a_loss_is_named() -> None:
    rng = np.random.default_rng(0)
    base, blocks = np.full(80, 1.0), np.repeat(np.arange(8), 10)
    small = judge(base, base - 0.001 - 1e-5 * rng.standard_normal(80), blocks, min_gain=0.01)
    assert not small.kept
    assert "are asked for" in small.reason
    assert "not better" in judge(base, base + 0.1, blocks).reason
    assert "never moved" in judge(base * np.nan, base, blocks).reason
