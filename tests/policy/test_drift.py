"""Drift alarms: rates on simulated stationary data, a planted break, and never on price levels."""

import numpy as np
import pytest
from scipy.stats import binom
from scipy.stats import t as student

from horizoncast.errors import BankError
from horizoncast.policy.drift import (
    REFERENCE,
    YEAR,
    Drift,
    cumulative_sum,
    fit_filter,
    reference_length,
    scale_scores,
    session_changes,
    watch,
)

Floats = np.ndarray
BEFORE = 1000
PATHS = 60
"""Paths per bed; benchmarks with 500 paths a bed stand in docs/rollout.md."""


def garch_t(paths: int, n: int, seed: int, *, a: float, b: float, nu: float = 6.0) -> Floats:
    """GARCH(1,1) returns of unit variance with Student-t innovations."""
    rng = np.random.default_rng(seed)
    shocks = rng.standard_t(nu, size=(paths, n + 300)) * np.sqrt((nu - 2) / nu)
    out, now = np.zeros_like(shocks), np.ones(paths)
    for t in range(n + 300):
        out[:, t] = np.sqrt(now) * shocks[:, t]
        now = (1 - a - b) + a * out[:, t] ** 2 + b * now
    return out[:, 300:]


def gaussian(paths: int, n: int, seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((paths, n))


def alarmed(changes: Floats) -> bool:
    found = watch(changes, BEFORE)
    assert {w.drift for w in found} == set(Drift)
    return any(w.alarm is not None for w in found)


BEDS = {
    "gbm": lambda seed: gaussian(PATHS, BEFORE + YEAR, seed),
    "garch_t": lambda seed: garch_t(PATHS, BEFORE + YEAR, seed, a=0.06, b=0.92),
    "garch_t_mild": lambda seed: garch_t(PATHS, BEFORE + YEAR, seed, a=0.05, b=0.85),
}


def test_false_alarms_stay_under_a_tenth_a_year() -> None:
    """Over all beds; on none of them above it by more than the sampling error of its paths."""
    rates = {bed: np.mean([alarmed(path) for path in make(20261)]) for bed, make in BEDS.items()}
    assert np.mean(list(rates.values())) < 0.10
    assert {bed: r for bed, r in rates.items() if r > binom.ppf(0.95, PATHS, 0.10) / PATHS} == {}


def test_a_doubled_volatility_is_found_within_thirty_sessions() -> None:
    """Of the paths without an alarm before the break, on Gaussian returns."""
    paths = gaussian(PATHS, BEFORE + 130, 7)
    paths[:, BEFORE + 100 :] *= 2.0
    alarms = [watch(path, BEFORE)[0].alarm for path in paths]
    quiet = [alarm for alarm in alarms if alarm is None or alarm >= 100]
    assert len(quiet) > 0.95 * PATHS
    assert np.mean([alarm is not None for alarm in quiet]) > 0.85


def test_a_doubled_volatility_of_a_clustered_series_is_found_more_often_than_by_chance() -> None:
    """With mild clustering; with strong clustering a doubling is within what the series does anyway."""
    quiet = garch_t(40, BEFORE + 60, 11, a=0.05, b=0.85)
    broken = quiet.copy()
    broken[:, BEFORE + 30 :] *= 2.0
    found = np.mean([watch(path, BEFORE)[0].alarm is not None for path in broken])
    chance = np.mean([watch(path, BEFORE)[0].alarm is not None for path in quiet])
    assert found > 0.20
    assert chance < 0.05


def test_a_shifted_mean_is_found() -> None:
    paths = gaussian(12, BEFORE + 60, 5)
    paths[:, BEFORE:] += 1.0
    assert np.mean([watch(path, BEFORE)[1].alarm is not None for path in paths]) > 0.9


def test_prices_are_watched_through_their_changes_never_as_levels() -> None:
    """An earlier system flagged 190 of 200 random walks: it looked at the level of prices."""
    walks = np.cumsum(0.006 * gaussian(40, BEFORE + YEAR + 1, 42), axis=1)
    as_changes = sum(alarmed(session_changes(walk)) for walk in walks)
    as_levels = sum(alarmed(walk[1:]) for walk in walks)
    assert as_changes < 4
    assert as_levels > 30


def test_one_wild_value_is_no_drift() -> None:
    path = gaussian(1, BEFORE + 60, 3)[0]
    assert not alarmed(path)
    path[BEFORE + 20] = 40.0
    assert watch(path, BEFORE)[0].alarm is None


def test_an_alarm_says_when() -> None:
    path = gaussian(1, BEFORE + 60, 3)[0]
    path[BEFORE + 20 :] *= 4.0
    found = watch(path, BEFORE)[0]
    assert found.alarm is not None
    assert 20 <= found.alarm < 40
    assert found.statistic[found.alarm] > found.threshold >= found.statistic[found.alarm - 1]


def test_the_unit_does_not_matter() -> None:
    path = garch_t(1, BEFORE + 60, 9, a=0.06, b=0.92)[0]
    one, other = watch(path, BEFORE), watch(1e-6 * path, BEFORE)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_allclose(a.statistic, b.statistic, rtol=1e-6, atol=1e-9)
        assert a.threshold == pytest.approx(b.threshold)


def test_too_short_or_constant_a_reference_cannot_be_told() -> None:
    path = gaussian(1, 400, 0)[0]
    assert watch(path, REFERENCE[0] - 1) == ()
    assert watch(np.zeros(600), 400) == ()
    assert len(watch(path, REFERENCE[0])) == len(Drift)


@pytest.mark.parametrize(("value", "reference"), [(np.nan, 300), (1.0, 401)])
def test_values_must_be_finite_and_hold_the_reference(value: float, reference: int) -> None:
    path = gaussian(1, 400, 0)[0]
    path[5] = value
    with pytest.raises(BankError, match="drift"):
        watch(path, reference)


def test_scores_are_the_likelihood_ratio_of_a_wider_student_t() -> None:
    z = np.linspace(-8, 8, 41)
    unit = np.sqrt(4 / 6)  # scale of a t(6) with unit variance
    want = student.logpdf(z, 6, scale=1.5 * unit) - student.logpdf(z, 6, scale=unit)
    np.testing.assert_allclose(scale_scores(z, 1.5), want)


def test_the_sum_never_falls_below_zero() -> None:
    np.testing.assert_array_equal(
        cumulative_sum(np.array([[-1.0, 2.0, -5.0, 1.0], [1.0, 1.0, 1.0, -1.0]])),
        [[0, 2, 0, 1], [1, 2, 3, 2]],
    )


def test_the_filter_finds_clustering_where_there_is_some() -> None:
    assert fit_filter(garch_t(1, 1000, 1, a=0.1, b=0.88)[0]).a > 0
    constant = fit_filter(gaussian(1, 1000, 1)[0])
    assert constant.variance == pytest.approx(1.0, abs=0.15)
    assert constant.a <= 0.02


def test_years_lie_on_an_absolute_grid() -> None:
    """The watched year does not move with the end of the series."""
    ordinals = np.arange(1000, 1600)
    starts = {int(ordinals[reference_length(ordinals[:stop])]) for stop in (550, 560, 599)}
    assert starts == {1512}
