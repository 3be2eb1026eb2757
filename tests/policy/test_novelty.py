"""Distances of embedded windows: the percentile, and the promised rate of false alarms."""

import numpy as np
import pytest

from horizoncast.errors import BankError
from horizoncast.policy.drift import YEAR
from horizoncast.policy.novelty import nearest_distance, novelty

WINDOW, STRIDE = 60, 10


def windows_of(years: int) -> np.ndarray:
    """Session indices of windows over some whole years, the last one included."""
    count = (years * YEAR - WINDOW) // STRIDE
    return 1000 * YEAR - 1 - STRIDE * np.arange(count)[::-1]


def smooth(count: int, seed: int, size: int = 8) -> np.ndarray:
    """Vectors of overlapping windows: neighbours share five sixths of what they are made of."""
    rng = np.random.default_rng(seed)
    steps, span = rng.standard_normal((count + WINDOW // STRIDE, size)), WINDOW // STRIDE
    total = np.cumsum(steps, axis=0)
    return total[span:] - total[:-span]


def test_distance_by_hand() -> None:
    reference = np.array([[1.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    found = nearest_distance(np.array([[3.0, 0.0], [1.0, 1.0]]), reference, nearest=2)
    np.testing.assert_allclose(found, [(0 + 1) / 2, 1 - np.sqrt(0.5)])


@pytest.mark.parametrize("years", [8, 12])
def test_false_alarms_stay_under_a_tenth_a_year(years: int) -> None:
    alarms, count = 0, 400
    ordinals = windows_of(years)
    for seed in range(count):
        found = novelty(smooth(len(ordinals), seed), ordinals, WINDOW)
        alarms += found.alarm is not None
    assert alarms / count < 0.1


def test_percentiles_are_uniform_where_nothing_changes() -> None:
    ordinals = windows_of(9)
    found = [novelty(smooth(len(ordinals), seed), ordinals, WINDOW).percentile for seed in range(300)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
    assert np.mean(np.array(found) > 0.9) == pytest.approx(0.1, abs=0.05)


def test_a_new_shape_is_found_and_dated() -> None:
    ordinals = windows_of(9)
    vectors = smooth(len(ordinals), 1)
    vectors[:, -1] = 0.0
    changed = ordinals >= ordinals[-1] // YEAR * YEAR + 80
    vectors[changed, -1] = 50.0
    found = novelty(vectors, ordinals, WINDOW)
    assert found.percentile == 1.0
    assert found.alarm is not None
    assert found.alarm - ordinals[changed][0] == pytest.approx(WINDOW, abs=STRIDE)


def test_one_odd_window_is_no_alarm() -> None:
    ordinals = windows_of(9)
    vectors = smooth(len(ordinals), 1)
    vectors[:, -1] = 0.0
    vectors[-4:-1, -1] = 50.0
    assert novelty(vectors, ordinals, WINDOW).alarm is None


def test_scale_does_not_matter() -> None:
    ordinals = windows_of(9)
    vectors = smooth(len(ordinals), 2)
    one, other = novelty(vectors, ordinals, WINDOW), novelty(7.0 * vectors, ordinals, WINDOW)
    assert one.distance == pytest.approx(other.distance)


def test_a_short_history_says_nothing_or_promises_no_rate() -> None:
    short = windows_of(2)
    assert novelty(smooth(len(short), 1), short, WINDOW) is None
    assert novelty(np.empty((0, 3)), np.empty(0, dtype=np.int64), WINDOW) is None
    some = windows_of(6)
    vectors = smooth(len(some), 1)
    vectors[:, -1] = 0.0
    vectors[some >= some[-1] // YEAR * YEAR, -1] = 50.0
    found = novelty(vectors, some, WINDOW)
    assert found.percentile == 1.0
    assert (found.years, found.alarm) == (2, None)


def test_numbers_that_make_no_sense_are_refused() -> None:
    ordinals = windows_of(5)
    with pytest.raises(BankError, match="finite"):
        novelty(np.full((len(ordinals), 2), np.nan), ordinals, WINDOW)
    with pytest.raises(BankError, match="increase"):
        novelty(smooth(len(ordinals), 1), ordinals[::-1], WINDOW)
