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
    asked_rate,
    cumulative_sum,
    fit_volatility,
    log_density,
    reference_length,
    session_changes,
    watch,
)

Floats = np.ndarray
BEFORE = 1000
PATHS = 40
"""Paths per bed; benchmarks with more paths a bed stand in docs/rollout.md."""


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


def test_a_doubled_volatility_of_a_clustered_series_is_found_in_most_paths() -> None:
    """With mild clustering and eight years of reference; docs/rollout.md has what can be reached at all."""
    broken = garch_t(40, REFERENCE[1] + 60, 11, a=0.05, b=0.85)
    broken[:, REFERENCE[1] + 30 :] *= 2.0
    alarms = [watch(path, REFERENCE[1])[0].alarm for path in broken]
    assert np.mean([alarm is not None and alarm >= 30 for alarm in alarms]) > 0.50


def test_the_filter_goes_on_from_the_halved_values_under_a_break() -> None:
    """Fed with the doubled ones it would take the break for a cluster: the evidence keeps growing."""
    path = garch_t(1, BEFORE + 40, 21, a=0.06, b=0.92)[0]
    path[BEFORE + 10 :] *= 4.0
    evidence = watch(path, BEFORE)[0].statistic
    assert evidence[-1] > evidence[20] > evidence[9]


def test_a_shifted_mean_is_found() -> None:
    paths = gaussian(12, BEFORE + 60, 5)
    paths[:, BEFORE:] += 1.0
    assert np.mean([watch(path, BEFORE)[1].alarm is not None for path in paths]) > 0.9


def test_prices_are_watched_through_their_changes_never_as_levels() -> None:
    """An earlier system flagged 190 of 200 random walks: it looked at the level of prices."""
    walks = np.cumsum(0.006 * gaussian(20, BEFORE + YEAR + 1, 42), axis=1)
    as_changes = sum(alarmed(session_changes(walk)) for walk in walks)
    as_levels = sum(alarmed(walk[1:]) for walk in walks)
    assert as_changes < 3
    assert as_levels > 15


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


def test_densities_are_those_of_student_t_with_unit_variance() -> None:
    z = np.linspace(-8, 8, 41)
    unit = np.sqrt(4 / 6)  # scale of a t(6) with unit variance
    want = student.logpdf(z, 6, scale=1.5 * unit) - student.logpdf(z, 6, scale=unit)
    np.testing.assert_allclose(log_density(z**2, np.array(2.25)) - log_density(z**2, np.array(1.0)), want)


def test_evidence_is_the_sum_over_breaks_of_likelihood_ratios() -> None:
    """Against the sum written out: each break with a filter of its own, fed with halved values."""
    reference = garch_t(1, 600, 4, a=0.1, b=0.85)[0]
    found = fit_volatility(reference)
    k, values = found.best, garch_t(1, 20, 5, a=0.1, b=0.85)[0]
    floor, a, b = found.floor[k], found.a[k], found.b[k]

    def logs(xs: Floats, start: float, scale: float) -> Floats:
        out, now = [], start
        for x in xs / scale:
            out.append(float(student.logpdf(x, 6, scale=np.sqrt(now * 4 / 6)) - np.log(scale)))
            now = floor + a * x**2 + b * now
        return np.array(out)

    before, states = found.ahead[k], []
    for x in values:
        states.append(before)
        before = floor + a * x**2 + b * before
    plain = logs(values, found.ahead[k], 1.0)
    ratios = [logs(values[v:], states[v], 2.0).sum() - plain[v:].sum() for v in range(0, 20, 2)]
    got = found.break_evidence(values[:, np.newaxis])[-1, 0]
    assert got == pytest.approx(np.log(np.exp(ratios).sum()))


def test_simulated_years_follow_the_posterior() -> None:
    """Unit variance on average where the reference had it, more clustered where that was."""
    rng = np.random.default_rng(3)
    found = fit_volatility(garch_t(1, 2000, 6, a=0.08, b=0.88)[0])
    years = found.years(rng.standard_normal(500), rng)
    assert years.shape[0] == YEAR
    assert np.mean(years**2) == pytest.approx(found.variance, rel=0.25)
    squares = years**2
    assert np.corrcoef(squares[:-1].ravel(), squares[1:].ravel())[0, 1] > 0.05


def test_a_shorter_reference_asks_for_fewer_alarms() -> None:
    rates = [asked_rate(r) for r in (REFERENCE[0], 1000, 1500, REFERENCE[1], 5000)]
    assert rates == sorted(rates)
    assert rates[0] == rates[1] < rates[2] < rates[3] == rates[4]


def test_the_sum_never_falls_below_zero() -> None:
    np.testing.assert_array_equal(
        cumulative_sum(np.array([[-1.0, 2.0, -5.0, 1.0], [1.0, 1.0, 1.0, -1.0]]).T),
        np.array([[0, 2, 0, 1], [1, 2, 3, 2]]).T,
    )


def test_the_filter_finds_clustering_where_there_is_some() -> None:
    clustered = fit_volatility(garch_t(1, 1000, 1, a=0.1, b=0.88)[0])
    assert clustered.a[clustered.best] > 0
    constant = fit_volatility(gaussian(1, 1000, 1)[0])
    assert constant.variance == pytest.approx(1.0, abs=0.15)
    assert constant.a[constant.best] <= 0.02
    assert constant.weights.sum() == pytest.approx(1.0)


def test_years_lie_on_an_absolute_grid() -> None:
    """The watched year does not move with the end of the series."""
    ordinals = np.arange(1000, 1600)
    starts = {int(ordinals[reference_length(ordinals[:stop])]) for stop in (550, 560, 599)}
    assert starts == {1512}
