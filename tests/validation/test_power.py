"""Power of the test against scipy's noncentral t, and against a simulation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import nct
from scipy.stats import t as student

from horizoncast.errors import ConfigError
from horizoncast.validation.power import EXAMPLE, FINDS, found, power_of, t_quantile
from horizoncast.validation.significance import diebold_mariano


def noisy(n: int, seed: int, gain: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Losses of mean 1 with independent noise; the subject's are smaller by `gain`."""
    a, b = 1.0 + 0.2 * np.random.default_rng(seed).standard_normal((2, n))
    return a - gain, b


@given(st.floats(0.5, 0.9999), st.integers(1, 500))
def test_quantiles_are_those_of_scipy(level: float, freedom: int) -> None:
    assert t_quantile(level, freedom) == pytest.approx(student.ppf(level, freedom), rel=1e-8, abs=1e-9)


def test_quantiles_of_the_lower_half_are_refused() -> None:
    with pytest.raises(ConfigError):
        t_quantile(0.2, 9)


@pytest.mark.parametrize("freedom", [20, 40, 200])
@pytest.mark.parametrize("shift", [0.0, 0.5, 2.0, 3.0])
def test_the_chance_of_finding_is_near_the_noncentral_t(shift: float, freedom: int) -> None:
    critical = student.ppf(0.975, freedom)
    exact = nct.sf(critical, freedom, shift) + nct.cdf(-critical, freedom, shift) if shift else 0.05
    assert found(shift, freedom) == pytest.approx(exact, abs=0.012)


def test_the_smallest_difference_is_found_as_often_as_promised() -> None:
    """500 pairs whose true difference is the one named: found in 80 % of them, within 5 points."""
    smallest = np.mean([power_of(*noisy(60, seed), steps=1, stride=1).smallest for seed in range(100)])
    hits = sum(diebold_mariano(*noisy(60, 1000 + seed, smallest), lags=0)[1] < 0.05 for seed in range(500))
    assert hits / 500 == pytest.approx(FINDS, abs=0.05)


def test_its_parts_by_hand() -> None:
    a, b = noisy(30, 3)
    power = power_of(a, b, steps=5, stride=5)
    d = a - b
    error = d.std(ddof=1) / np.sqrt(30) / b.mean()
    assert power.difference == pytest.approx(a.mean() / b.mean() - 1.0)
    assert power.error == pytest.approx(error)
    assert power.smallest == pytest.approx((student.ppf(0.975, 29) + student.ppf(0.8, 29)) * error)
    assert power.finds_example == pytest.approx(found(EXAMPLE / error, 29))
    assert power.can_tell


def test_overlap_costs_power() -> None:
    a, b = noisy(60, 5)
    apart, overlapping = power_of(a, b, steps=5, stride=5), power_of(a, b, steps=30, stride=5)
    assert (apart.can_tell, overlapping.can_tell) == (True, False)
    assert overlapping.n_eff == pytest.approx(10.0)
    assert overlapping.smallest / overlapping.error > apart.smallest / apart.error


@given(st.floats(1e-6, 1e6), st.integers(0, 200))
def test_the_unit_of_the_loss_does_not_matter(unit: float, seed: int) -> None:
    a, b = noisy(40, seed)
    one, other = power_of(a, b, steps=7, stride=5), power_of(unit * a, unit * b, steps=7, stride=5)
    assert other.smallest == pytest.approx(one.smallest, rel=1e-9)
    assert other.difference == pytest.approx(one.difference, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("n", [0, 2, 30])
def test_without_noise_or_cutoffs_nothing_is_claimed(n: int) -> None:
    power = power_of(np.full(n, 2.0), np.ones(n), steps=1, stride=1)
    assert np.isnan([power.error, power.smallest, power.finds_example]).all()
    assert not power.can_tell
    assert power.difference == pytest.approx(1.0) if n else np.isnan(power.difference)
