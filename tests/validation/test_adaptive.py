"""Adaptive calibration: off until enough has matured, no harm without a break, help after one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.validation.adaptive import (
    ALPHA,
    MIN_MATURED,
    RATE,
    adaptive_factor,
    adaptive_path,
    rate_for,
)
from horizoncast.validation.calibration import LIMITS, width_factor

STEPS, STRIDE, LAG = 7, 5, 2
Z80 = 1.2815515655446004


def misses_of(sigma: np.ndarray, seed: int) -> np.ndarray:
    """(W, H) distances in 80 % half-widths of a random walk's bands that claim a volatility of 1."""
    rng = np.random.default_rng(seed)
    windows = len(sigma)
    daily = np.repeat(sigma, STRIDE)[: STRIDE * windows]
    daily = np.concatenate([daily, np.full(STEPS, sigma[-1])])
    walk = np.concatenate([[0.0], np.cumsum(daily * rng.standard_normal(len(daily)))])
    h = np.arange(1, STEPS + 1)
    starts = STRIDE * np.arange(windows)
    return np.abs(walk[starts[:, None] + h] - walk[starts][:, None]) / (Z80 * np.sqrt(h))


def interval_scores(misses: np.ndarray, factor: np.ndarray) -> tuple[float, float]:
    """Mean 80 % interval score in half-widths of the raw band, and coverage."""
    wide = factor[:, None]
    score = 2 * wide + 2 / (1 - 0.8) * np.maximum(misses - wide, 0)
    return float(score.mean()), float((misses <= wide).mean())


def factors(misses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(W,), (W,) the pooled factor from the 40 newest matured cutoffs, and it times the adaptive one."""
    windows = len(misses)
    pooled = np.ones(windows)
    for w in range(windows):
        done = max(0, w - LAG + 1)
        if done >= 10:
            pooled[w] = width_factor(misses[max(0, done - 40) : done], 40 * STRIDE / STEPS, kappa=0.0)
    published = misses / pooled[:, None]
    rate = rate_for(STEPS, STRIDE)
    extra = [adaptive_factor(published[: max(0, w - LAG + 1)], rate=rate) for w in range(windows)]
    return pooled, pooled * np.array(extra)


def compared(sigma: np.ndarray, scored: slice, paths: int = 12) -> tuple[float, float, float]:
    """Interval score of adaptive over pooled, and both coverages, over paths."""
    rows = []
    for seed in range(paths):
        misses = misses_of(sigma, seed)
        alone, both = factors(misses)
        rows.append(
            (*interval_scores(misses[scored], alone[scored]), *interval_scores(misses[scored], both[scored]))
        )
    pooled, cover, adaptive, cover_adaptive = np.mean(rows, axis=0)
    return float(adaptive / pooled), float(cover), float(cover_adaptive)


def test_on_stationary_data_it_does_no_harm() -> None:
    """At most one percent of interval score, and coverage stays where it was."""
    ratio, before, after = compared(np.ones(240), slice(110, 240))
    assert ratio < 1.01
    assert abs(after - 0.8) < abs(before - 0.8) + 0.01


def test_after_a_volatility_break_it_helps() -> None:
    """Volatility doubles and the bands do not notice: sixty cutoffs after it."""
    sigma = np.where(np.arange(210) < 150, 1.0, 2.0)
    ratio, before, after = compared(sigma, slice(150, 210))
    assert ratio < 0.99
    assert after > before + 0.03


def test_below_the_minimum_the_pooled_factor_stands_alone() -> None:
    wild = np.full((MIN_MATURED, STEPS), 9.0)
    assert adaptive_factor(wild[1:], rate=RATE) == 1.0
    assert adaptive_factor(wild, rate=RATE) > 1.5


def test_the_step_is_that_of_the_quantile_tracker() -> None:
    """Angelopoulos et al. (2023), eq. 4: q' = q + rate (err - alpha), on the logarithm."""
    misses = np.array([[0.5, 2.0, 0.1, 3.0]])
    assert adaptive_path(misses, rate=0.1)[-1] == pytest.approx(np.exp(0.1 * (0.5 - ALPHA)))


@settings(deadline=None)
@given(st.lists(st.floats(0, 50), min_size=0, max_size=60), st.floats(0.01, 0.5))
def test_the_factor_keeps_its_limits(row: list[float], rate: float) -> None:
    path = adaptive_path(np.array(row).reshape(-1, 1), rate=rate)
    assert (path >= LIMITS[0] - 1e-12).all()
    assert (path <= LIMITS[1] + 1e-12).all()


def test_a_cutoff_without_outcomes_changes_nothing() -> None:
    path = adaptive_path(np.array([[np.nan, np.nan], [2.0, np.nan]]), rate=0.1)
    assert path[1] == 1.0
    assert path[2] == pytest.approx(np.exp(0.1 * 0.8))


def test_overlap_slows_the_tracker() -> None:
    assert rate_for(5, 5) == RATE
    assert rate_for(20, 5) == pytest.approx(RATE / 2)
    assert rate_for(1, 60) == RATE
