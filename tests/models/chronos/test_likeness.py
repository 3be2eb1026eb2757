"""Which past windows may be compared, and which are chosen."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.errors import ConfigError, HistoryTooShortError
from horizoncast.models.chronos.likeness import candidate_rows, most_alike, windows_at


@given(length=st.integers(2, 40), follow_up=st.integers(1, 40), extra=st.integers(0, 100))
@settings(max_examples=60, deadline=None)
def test_windows_and_what_followed_end_before_todays_window(length: int, follow_up: int, extra: int) -> None:
    stop = 2 * length + follow_up + extra
    rows = candidate_rows(stop, length, follow_up)
    assert len(rows) == extra + 1
    assert rows[0] - length + 1 == 0
    assert rows[-1] + follow_up < stop - length


def test_a_history_without_any_is_refused() -> None:
    with pytest.raises(HistoryTooShortError, match="at least 45"):
        candidate_rows(44, 20, 5)


def test_the_nearest_by_cosine_and_no_two_that_overlap() -> None:
    rows = np.arange(100)
    angle = np.abs(rows - 40) * 0.01
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (1.0 + rows[:, None])
    found = most_alike(np.array([5.0, 0.0]), vectors, rows, count=3, apart=10)
    assert [one.row for one in found] == [40, 50, 30]
    assert [one.cosine for one in found] == pytest.approx([1.0, np.cos(0.1), np.cos(0.1)])


def test_fewer_than_asked_where_there_are_no_more() -> None:
    found = most_alike(np.ones(2), np.ones((15, 2)), np.arange(15), count=5, apart=10)
    assert [one.row for one in found] == [14, 4]
    with pytest.raises(ConfigError, match="at least 1"):
        most_alike(np.ones(2), np.ones((15, 2)), np.arange(15), count=0, apart=10)


def test_windows_by_hand() -> None:
    np.testing.assert_array_equal(windows_at(np.arange(9.0), np.array([3, 8]), 2), [[2, 3], [7, 8]])
