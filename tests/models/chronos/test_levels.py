"""Levels beyond and between a checkpoint's own, and widths beyond its own steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from horizoncast.horizon import DECILES, LEVELS
from horizoncast.models.chronos.levels import at_levels, keep_widening, masses, weighted_quantiles


@pytest.mark.parametrize(("level", "ratio"), [(0.975, 1.651), (0.95, 1.331), (0.025, -1.651)])
def test_tails_follow_students_t_of_eight_degrees(level, ratio):
    """The ratios of docs/methods.md, section 6 of the method notes."""
    normal = np.array([-1.0, 0.0, 1.0])
    found, beyond = at_levels(normal, (0.1, 0.5, 0.9), (0.5, level) if level > 0.5 else (level, 0.5))
    assert beyond
    assert found[int(level > 0.5)] == pytest.approx(ratio, abs=5e-4)


def test_a_normal_is_interpolated_exactly():
    own = 3.0 + 2.0 * norm.ppf(DECILES)
    found, beyond = at_levels(own, DECILES, (0.16, 0.25, 0.5, 0.75, 0.84))
    assert not beyond
    assert np.allclose(found, 3.0 + 2.0 * norm.ppf([0.16, 0.25, 0.5, 0.75, 0.84]), atol=1e-12)


def test_own_levels_pass_unchanged():
    own = np.sort(np.random.default_rng(0).standard_normal((4, len(LEVELS))), axis=1)
    found, beyond = at_levels(own, LEVELS, LEVELS)
    assert not beyond
    assert np.array_equal(found, own)


@given(st.lists(st.floats(-50, 50), min_size=9, max_size=9))
def test_levels_never_cross(values):
    found, _ = at_levels(np.sort(values), DECILES, LEVELS)
    assert (np.diff(found) >= -1e-9).all()


def test_masses_reach_half_way_to_the_neighbours():
    assert masses((0.1, 0.5, 0.6)) == pytest.approx([0.3, 0.25, 0.45])
    assert masses(LEVELS).sum() == pytest.approx(1.0)


def test_weighted_quantiles_of_a_grid_are_its_distribution():
    """Uneven levels weighted by their masses give the normal back; unweighted they would not."""
    fine = norm.ppf(LEVELS)[:, None]
    found = weighted_quantiles(fine, masses(LEVELS), (0.1, 0.25, 0.5, 0.75, 0.9))[0]
    assert np.allclose(found, norm.ppf([0.1, 0.25, 0.5, 0.75, 0.9]), atol=0.04)
    even = np.quantile(fine[:, 0], 0.9)
    assert abs(even - norm.ppf(0.9)) > 0.3


def fan(steps, exponent, levels=DECILES):
    return np.arange(1, steps + 1)[:, None] ** (exponent / 2) * norm.ppf(levels)


def test_a_random_walk_goes_on_growing_with_the_root_of_time():
    stuck = fan(64, 1.0)
    stuck = np.concatenate([stuck, np.repeat(stuck[-1:], 56, axis=0)])
    found = keep_widening(stuck, DECILES, 64)
    assert np.array_equal(found[:64], stuck[:64])
    assert np.allclose(found[119], fan(120, 1.0)[119], rtol=0.03)
    assert (np.diff(found[:, 8] - found[:, 0]) > 0).all()


def test_settled_widths_stay():
    flat = fan(100, 0.0)
    assert np.allclose(keep_widening(flat, DECILES, 40), flat)


def test_wider_answers_are_kept_and_the_median_never_moves():
    grown = fan(100, 1.0) + np.linspace(0, 9, 100)[:, None]
    grown[50:] = grown[50:, [4]] + 3.0 * (grown[50:] - grown[50:, [4]])
    found = keep_widening(grown, DECILES, 50)
    assert np.allclose(found, grown)
    assert np.array_equal(found[:, 4], grown[:, 4])


@pytest.mark.parametrize("own", [1, 2, 3, 5])
def test_a_checkpoint_of_few_steps_still_widens(own):
    stuck = np.repeat(fan(1, 1.0), 30, axis=0)
    found = keep_widening(stuck, DECILES, own)
    assert np.isfinite(found).all()
    assert ((found[-1] - stuck[-1])[[0, 8]] * [-1, 1] >= 0).all()


def test_zero_widths_stay_finite():
    assert np.array_equal(keep_widening(np.zeros((30, 9)), DECILES, 10), np.zeros((30, 9)))
