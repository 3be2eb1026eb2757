import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.errors import ConfigError
from horizoncast.horizon import DECILES, LEAD_GRID, LEVELS, Horizon, effective_windows


@pytest.mark.parametrize("text", ["30d", "30", 30, " 30 d ", np.int64(30)])
def test_parse_reads_the_usual_spellings(text):
    assert Horizon.parse(text) == Horizon(steps=30)


@pytest.mark.parametrize(
    "text", ["", "d", "30w", "-3", "3.5", 7.0, "1e2", True, None, "3 0", "0", "1001", "9" * 5000]
)
def test_parse_refuses_the_rest(text):
    with pytest.raises(ConfigError):
        Horizon.parse(text)


@pytest.mark.parametrize("steps", [0, -1, 1001, 7.5, 7.0, float("nan"), True])
def test_steps_are_whole_and_in_range(steps):
    with pytest.raises(ConfigError):
        Horizon(steps=steps)


def test_steps_from_numpy_become_plain_so_that_names_and_keys_do_not_change():
    assert repr(Horizon(steps=np.int64(7))) == repr(Horizon(steps=7))


@given(st.integers(1, 1000))
def test_lead_grid_lies_in_the_horizon_and_ends_with_it(steps):
    grid = Horizon(steps=steps).lead_grid
    assert list(grid) == sorted(set(grid))
    assert grid[0] == 1
    assert grid[-1] == steps
    assert set(grid) - {steps} <= {*LEAD_GRID, *range(90, 1000, 30)}


def test_service_horizons_have_the_strides_of_the_methods_page():
    assert {steps: Horizon(steps=steps).stride for steps in (7, 15, 30, 90, 24)} == {
        7: 5, 15: 5, 30: 5, 90: 10, 24: None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "stride", "n_eff"), [(7, 5, 28.6), (15, 5, 13.3), (30, 5, 6.7), (90, 10, 4.4)]
)
def test_effective_windows_of_40(steps, stride, n_eff):
    assert effective_windows(40, stride, Horizon(steps=steps)) == pytest.approx(n_eff, abs=0.05)


def test_windows_that_do_not_overlap_count_in_full():
    assert effective_windows(40, 10, Horizon(steps=7)) == 40.0


def test_cutoffs_per_horizon_rounds_up():
    assert [Horizon(steps=s).cutoffs_per_horizon(5) for s in (5, 6, 30)] == [1, 2, 6]


def test_levels_are_symmetric_and_hold_the_deciles():
    assert len(LEVELS) == 19
    assert np.allclose(np.array(LEVELS) + np.array(LEVELS[::-1]), 1.0)
    assert set(DECILES) <= set(LEVELS)
    assert all(tail in LEVELS for tail in (0.01, 0.025, 0.1, 0.16))
