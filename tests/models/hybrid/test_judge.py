"""The judge: what it learns from, what it judges on, and how often chance passes."""

import numpy as np
import pytest

from horizoncast.errors import BankError
from horizoncast.models.hybrid.judge import (
    FIRST_SHARE,
    Origins,
    joined,
    prove,
    rule,
    stretches,
    time_blocks,
)

DAY = np.timedelta64(86400, "s")
START = np.datetime64("2015-01-01", "s")


def windows(count: int, steps: int, stride: int = 5) -> tuple[np.ndarray, np.ndarray]:
    cutoffs = START + np.arange(count) * stride * DAY
    return cutoffs, cutoffs + steps * DAY


def one_set(count: int, steps: int, stride: int = 5) -> Origins:
    return joined([("x", *windows(count, steps, stride))])


@pytest.mark.parametrize(("count", "steps"), [(60, 7), (60, 30), (23, 90), (200, 1)])
def test_what_is_learnt_from_had_ended_before_what_is_judged_began(count: int, steps: int) -> None:
    origins = one_set(count, steps)
    judged = np.zeros(count, int)
    for past, later in stretches(origins):
        if past.any():
            assert origins.ends[past].max() <= origins.cutoffs[later].min()
        judged += later
    assert judged.max() == 1
    assert judged[round(FIRST_SHARE * count) :].all()
    assert not judged[: round(FIRST_SHARE * count)].any()


def test_purge_holds_across_horizons() -> None:
    origins = joined([("x", *windows(80, 7)), ("x", *windows(80, 30))])
    for past, later in stretches(origins):
        assert origins.ends[past].max() <= origins.cutoffs[later].min()
        assert set(origins.group[later]) == {0, 1}


def test_losses_of_what_is_learnt_from_do_not_count() -> None:
    """A part that knows its own windows by heart and nothing else gains nothing."""
    origins = one_set(200, 7)
    ruling = prove(
        "memory",
        origins,
        lambda past: past,
        lambda past: np.ones(200) if past is None else np.where(past, 0.0, 1.01),
    )
    assert not ruling.kept
    assert ruling.gain == pytest.approx(-0.01)
    assert ruling.windows == 120


def test_windows_that_do_not_overlap() -> None:
    """W min(1, stride / H) and one; horizons of a series are no news, series are half a news."""
    every = np.ones(40, bool)
    assert one_set(40, 30).n_eff(every) == pytest.approx(1 + 39 * 5 / 30)
    assert one_set(40, 5).n_eff(every) == 40
    assert one_set(40, 2).n_eff(every) == 40
    both = joined([("x", *windows(40, 7)), ("x", *windows(40, 30))])
    assert both.n_eff(np.ones(80, bool)) == pytest.approx(1 + 39 * 5 / 7)
    panel = joined([(name, *windows(40, 5)) for name in "abc"])
    assert panel.n_eff(np.ones(120, bool)) == pytest.approx(40 * 3 / 2)
    assert panel.n_eff(np.zeros(120, bool)) == 0.0


def test_blocks_are_stretches_of_time_of_two_horizons_across_series() -> None:
    cutoffs, ends = windows(100, 7)
    blocks = time_blocks(np.tile(cutoffs, 2), np.tile(ends, 2))
    np.testing.assert_array_equal(blocks[:100], blocks[100:])
    for steps in (7, 30, 90):
        cutoffs, ends = windows(200, steps)
        blocks = time_blocks(cutoffs, ends)
        assert (np.diff(blocks) >= 0).all()
        assert blocks.max() + 1 == min(20, (199 * 5 * 86400 + 1) // (2 * steps * 86400))


def test_few_windows_cannot_be_told() -> None:
    cutoffs, ends = windows(20, 30)
    better = rule("gate", np.ones(20), np.full(20, 0.5), cutoffs, ends)
    assert not better.kept
    assert better.reason.startswith("cannot be told: +50.00 % in")
    assert rule("gate", np.full(20, 0.5), np.ones(20), cutoffs, ends).reason.startswith("cannot be told")
    nothing = prove("gate", one_set(12, 30), lambda past: past, lambda part: np.ones(12))
    assert not nothing.kept
    assert nothing.reason.startswith("cannot be told")
    assert np.isnan(nothing.gain)


def test_the_standard_error_is_that_of_means_of_blocks() -> None:
    cutoffs, ends = windows(160, 10)
    rng = np.random.default_rng(1)
    base, tuned = rng.uniform(1, 2, 160), rng.uniform(0.9, 1.9, 160)
    ruling = rule("gate", base, tuned, cutoffs, ends)
    blocks = time_blocks(cutoffs, ends)
    means = np.array([(base - tuned)[blocks == b].mean() for b in range(blocks.max() + 1)])
    assert ruling.blocks == len(means) == 20
    assert ruling.gain == pytest.approx((base - tuned).mean() / base.mean())
    assert ruling.standard_error == pytest.approx(means.std(ddof=1) / np.sqrt(20) / base.mean())
    assert ruling.kept == (ruling.p_value <= 0.05)
    assert ruling.kept


def test_chance_passes_about_as_often_as_it_may() -> None:
    """Differences that overlap as outcomes do, of mean 0: 5 % of 600, within three standard errors."""
    cutoffs, ends = windows(120, 30)
    rng = np.random.default_rng(2)
    kept = 0
    for _ in range(600):
        shocks = np.concatenate([[0.0], np.cumsum(rng.normal(size=700))])
        at = np.arange(120) * 5
        kept += rule("gate", np.full(120, 100.0), 100.0 + shocks[at + 30] - shocks[at], cutoffs, ends).kept
    assert kept / 600 <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 600)


def test_a_gain_that_is_certain_and_tiny_is_a_tie() -> None:
    cutoffs, ends = windows(120, 10)
    base = np.random.default_rng(4).uniform(1, 2, 120)
    tiny, small = (rule("gate", base, base * (1 - gain), cutoffs, ends) for gain in (0.0005, 0.002))
    assert tiny.p_value < 0.001
    assert not tiny.kept
    assert "0.1 % are asked for" in tiny.reason
    assert small.kept


def test_copies_of_a_series_are_no_evidence() -> None:
    """Eight series with the same shocks say what one says: blocks run across series."""
    cutoffs, ends = windows(120, 10)
    rng = np.random.default_rng(3)
    base, tuned = rng.uniform(1, 2, 120), rng.uniform(0.97, 1.97, 120)
    one = rule("gate", base, tuned, cutoffs, ends)
    eight = rule("gate", *(np.tile(row, 8) for row in (base, tuned, cutoffs, ends)))
    assert eight.p_value == pytest.approx(one.p_value)
    assert eight.blocks == one.blocks


def test_windows_that_cannot_be_are_refused() -> None:
    with pytest.raises(BankError, match="no window"):
        joined([("x", *windows(0, 7))])
    cutoffs, _ = windows(5, 7)
    with pytest.raises(BankError, match="ends after"):
        joined([("x", cutoffs, cutoffs)])
    with pytest.raises(BankError):
        Origins(cutoffs=cutoffs, ends=cutoffs[:3], group=np.zeros(5, int), series=("x",))
