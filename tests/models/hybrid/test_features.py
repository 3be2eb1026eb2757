"""Features of the domain: what they say, in which unit, and that they see nothing of the future."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from horizoncast.calendar import CalendarKind
from horizoncast.covariate import Covariate
from horizoncast.errors import ModelError
from horizoncast.models.hybrid.features import WINDOW, domain_features, feature_names, feature_rows
from horizoncast.models.naive import ewma_volatility
from horizoncast.series import Scale, Series
from support import make_series, market, weekly_season


def covered(values: np.ndarray, seed: int = 0, ahead: int = 10) -> Series:
    """A series with a covariate of a publication lag, one of gaps, and one known in advance."""
    rng = np.random.default_rng(seed)
    n = len(values)
    gaps = np.where(rng.random(n) < 0.02, np.nan, rng.normal(size=n).cumsum())
    covariates = (
        Covariate(name="late", values=rng.normal(size=n).cumsum(), publication_lag=2),
        Covariate(name="gaps", values=gaps),
        Covariate(name="holiday", values=(rng.random(n + ahead) < 0.2).astype(float), known_future=True),
    )
    return make_series(values, kind=CalendarKind.DAILY, periods=(7,), covariates=covariates)


def named(series: Series, at: int, period: int | None, steps: int = 7) -> dict[str, float]:
    found = domain_features(series.until(series.dates[at]), period, steps)
    return dict(zip(feature_names(series, period), found, strict=True))


def test_by_hand() -> None:
    values = np.random.default_rng(1).normal(size=300).cumsum()
    series = covered(values)
    found = named(series, 249, 7)
    past = values[:250]
    volatility = ewma_volatility(np.diff(past), 0.94)[-1]
    for k in (1, 5, 20):
        assert found[f"momentum_{k}"] == pytest.approx((past[-1] - past[-1 - k]) / (volatility * np.sqrt(k)))
    late = series.covariates[0].values[:248]  # two sessions late
    unit = ewma_volatility(np.diff(late), 0.94)[-1]
    assert found["late.change_5"] == pytest.approx((late[-1] - late[-6]) / (unit * np.sqrt(5)))
    assert found["holiday.ahead"] == pytest.approx(series.covariates[2].values[250:257].mean())
    assert 0 < found["volatility"] < 1
    assert "late.ahead" not in found


def test_the_phase_turns_with_the_season_and_the_strengths_see_it() -> None:
    series = weekly_season()
    found = [named(series, at, 7) for at in range(400, 407)]
    phases = np.array([np.arctan2(f["season_sin"], f["season_cos"]) for f in found])
    np.testing.assert_allclose(np.diff(np.unwrap(phases)), 2 * np.pi / 7)
    assert found[0]["season_strength"] > 0.95
    again = named(series, 407, 7)
    assert again["season_sin"] == pytest.approx(found[0]["season_sin"], abs=1e-12)
    long = weekly_season(WINDOW + 20)
    early, late = (named(long, at, 7)["season_sin"] for at in (WINDOW + 5, WINDOW + 7))
    assert early != pytest.approx(late, abs=0.1)
    assert not any(name.startswith("season") for name in feature_names(series, None))


@settings(max_examples=15, deadline=None)
@given(at=st.integers(60, 280), seed=st.integers(0, 3))
def test_nothing_after_the_cutoff_is_seen(at: int, seed: int) -> None:
    """Later rows of the target and of covariates that are not known in advance may be anything."""
    values = np.random.default_rng(seed).normal(size=300).cumsum()
    series = covered(values, seed)
    changed_values = values.copy()
    changed_values[at + 1 :] += 1000.0
    covariates = [
        c
        if c.known_future
        else replace(c, values=np.where(np.arange(300) > at - c.publication_lag, 999.0, c.values))
        for c in series.covariates
    ]
    changed = replace(series, values=changed_values, covariates=tuple(covariates))
    cutoff = series.dates[at]
    one, other = (domain_features(s.until(cutoff), 7, 5) for s in (series, changed))
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one, domain_features(series.truncated(cutoff).until(cutoff), 7, 5))


@settings(max_examples=10, deadline=None)
@given(unit=st.sampled_from([1000.0, 1e-3, 7.0]), seed=st.integers(0, 5))
def test_the_unit_does_not_matter(unit: float, seed: int) -> None:
    values = 50.0 + np.random.default_rng(seed).normal(size=200).cumsum()
    series = covered(values, seed)
    other = replace(
        series,
        values=unit * values,
        covariates=tuple(
            c if c.known_future else replace(c, values=unit * c.values) for c in series.covariates
        ),
    )
    one, same = (domain_features(s.until(series.dates[180]), 7, 7) for s in (series, other))
    np.testing.assert_allclose(same, one, atol=1e-8)


def test_what_cannot_be_known_is_missing_and_what_never_moved_is_zero() -> None:
    series = covered(np.arange(300.0))
    early = named(series, 10, 7)
    assert np.isnan(early["momentum_20"])
    assert np.isnan(early["season_strength"])
    assert np.isfinite(early["momentum_5"])
    still = make_series(
        np.ones(100), covariates=(Covariate(name="none", values=np.full(100, np.nan), max_carry=0),)
    )
    found = named(still, 99, None)
    assert found["momentum_1"] == 0.0
    assert np.isnan(found["none.change_1"])
    end = named(covered(np.arange(300.0), ahead=0), 299, None)
    assert np.isnan(end["holiday.ahead"])
    with pytest.raises(ModelError):
        domain_features(series.until(series.dates[200]), 7, 0)


def test_rows_are_those_of_each_cutoff_and_long_histories_cost_no_more() -> None:
    series = market(WINDOW + 400)
    assert series.scale is Scale.LOG
    cutoffs = series.dates[[100, 900, -1]]
    rows = feature_rows(series, cutoffs, None, 7)
    assert rows.shape == (3, len(feature_names(series, None)))
    for row, cutoff in zip(rows, cutoffs, strict=True):
        np.testing.assert_array_equal(row, domain_features(series.until(cutoff), None, 7))
    assert feature_rows(series, cutoffs[:0], None, 7).shape == (0, rows.shape[1])
