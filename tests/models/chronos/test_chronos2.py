"""Chronos-2 as the same member: covariates as they were known, and nothing after the cutoff."""

from dataclasses import replace

import numpy as np
import pytest

from chronos_checkpoints import make_chronos2
from horizoncast.forecast import Flag, Forecast
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.models.chronos import member
from horizoncast.models.chronos.asking import Reading, window_of
from horizoncast.models.chronos.pipeline import release_pipeline
from horizoncast.models.chronos.seasons import Anchor
from horizoncast.models.registry import make_member
from horizoncast.series import Covariate
from support import market

FIVE = Horizon(steps=5)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "two"
    make_chronos2(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(member, "release_pipeline", lambda: None)
        yield folder
    release_pipeline()


def answers(folder, series, cutoffs, horizon=FIVE, **settings):
    found = list(
        make_member("chronos", {"model": str(folder), **settings}).forecast(series, cutoffs, horizon, LEVELS)
    )
    assert all(isinstance(f, Forecast) for f in found), found
    return found


def with_holiday(series, ahead=60):
    flag = (np.arange(len(series) + ahead) % 11 == 0).astype(float)
    known = Covariate(name="holiday", values=flag, known_future=True)
    return replace(series, covariates=(*series.covariates, known))


def other(series, name, change):
    """The series with one covariate changed."""
    return replace(
        series,
        covariates=tuple(
            replace(c, values=change(c.values.copy())) if c.name == name else c for c in series.covariates
        ),
    )


def test_it_runs_under_its_own_name(two):
    series = with_holiday(market(200))
    (found,) = answers(two, series, [series.last])
    assert found.identity.id == "tests/chronos2-tiny"
    assert found.quantiles.shape == (5, len(LEVELS))
    assert Flag.NO_COVARIATES not in found.flags


@pytest.mark.parametrize("steps", [5, 40])
def test_company_never_moves_a_bit(two, steps):
    """It attends across the rows of a batch: a cutoff beside others would change in the last bits."""
    series = with_holiday(market(300))
    cutoffs = [series.dates[row] for row in (290, 281, 270, 180, 30)]
    horizon = Horizon(steps=steps)
    together = answers(two, series, cutoffs, horizon)
    assert all(
        one.same_numbers(answers(two, series, [c], horizon)[0])
        for one, c in zip(together, cutoffs, strict=True)
    )


def test_covariates_are_read(two):
    series = market(200)
    (base,) = answers(two, series, [series.last])

    def bump(values):
        values[-20] += 5.0
        return values

    (moved,) = answers(two, other(series, "x1", bump), [series.last])
    (without,) = answers(two, replace(series, covariates=()), [series.last])
    assert not np.array_equal(base.quantiles, moved.quantiles)
    assert not np.array_equal(base.quantiles, without.quantiles)


def test_what_is_known_in_advance_is_read_ahead_of_the_cutoff(two):
    series = with_holiday(market(200))
    cutoff = [series.dates[150]]

    def tomorrow(values):
        values[152] = 1.0 - values[152]
        return values

    (base,), (moved,) = (answers(two, s, cutoff) for s in (series, other(series, "holiday", tomorrow)))
    assert not np.array_equal(base.quantiles, moved.quantiles)


@pytest.mark.parametrize("factor", [1000.0, np.nan])
@pytest.mark.parametrize("lag", [0, 2])
@pytest.mark.parametrize("steps", [5, 30])
def test_nothing_after_the_cutoff_is_seen(two, lag, factor, steps):
    series = with_holiday(market(260, lag=lag))
    at = 200
    values = series.values.copy()
    values[at + 1 :] *= 1000.0
    changed = replace(series, values=values)
    for name in ("x0", "x1"):
        changed = other(
            changed, name, lambda v: np.concatenate([v[: at + 1 - lag], factor * v[at + 1 - lag :]])
        )
    horizon = Horizon(steps=steps)
    (honest,), (again,), (cut,) = (
        answers(two, s, [series.dates[at]], horizon)
        for s in (series, changed, series.truncated(series.dates[at]))
    )
    assert honest.same_numbers(again)
    assert honest.same_numbers(cut)


def test_publication_lags_shift_what_is_shown():
    series = market(100, lag=3)
    window = window_of(series.until(series.last), Reading(context=50), 5, "chronos2")
    assert np.array_equal(window.past["x0"], series.covariates[0].values[-53:-3])
    assert window.future == {}


def test_with_an_anchor_covariates_are_differences_too():
    """At lags 5 and 10 for the first season ahead, 10 and 15 for the second; the flag is known ahead."""
    series = with_holiday(market(100, lag=0))
    x, flag = series.covariates[0].values, series.covariates[2].values
    reading = Reading(context=50, anchor=Anchor(period=5, seasons=2))
    one = window_of(series.until(series.last), reading, 5, "chronos2")
    assert np.allclose(one.past["x0"], x[-50:] - (x[-55:-5] + x[-60:-10]) / 2)
    assert np.allclose(one.future["holiday"], flag[100:105] - (flag[95:100] + flag[90:95]) / 2)
    two = window_of(series.until(series.last), reading, 8, "chronos2", block=2)
    assert np.allclose(two.past["x0"], x[-50:] - (x[-60:-10] + x[-65:-15]) / 2)
    assert np.allclose(two.future["holiday"], flag[100:108] - (flag[90:98] + flag[85:93]) / 2)


def test_a_season_is_read_with_covariates(two):
    """Two seasons ahead, each in a pass of its own, alone and in company."""
    series = with_holiday(market(200))
    cutoffs, horizon = [series.dates[row] for row in (190, 150, 120)], Horizon(steps=8)
    together = answers(two, series, cutoffs, horizon, season="on")
    plain = answers(two, series, cutoffs, horizon, season="off")
    for one, off, cutoff in zip(together, plain, cutoffs, strict=True):
        assert one.same_numbers(answers(two, series, [cutoff], horizon, season="on")[0])
        assert not np.array_equal(one.quantiles, off.quantiles)
        assert np.isfinite(one.quantiles).all()


def test_a_covariate_that_differencing_leaves_empty_is_flagged(two):
    """It began three sessions ago: there are values, and none a season before them."""
    series = market(200, lag=0)

    def young(values):
        values[:-3] = np.nan
        return values

    changed = other(series, "x1", young)
    (off,) = answers(two, changed, [series.last], season="off")
    (on,) = answers(two, changed, [series.last], Horizon(steps=8), season="on")
    assert Flag.NO_COVARIATES not in off.flags
    assert Flag.NO_COVARIATES in on.flags


def test_missing_covariates_are_flagged(two):
    series = market(200)

    def gone(values):
        values[:] = np.nan
        return values

    def late(values):
        values[-30:] = np.nan
        return values

    (none,) = answers(two, other(series, "x0", gone), [series.last])
    (stale,) = answers(two, other(series, "x0", late), [series.last])
    assert Flag.NO_COVARIATES in none.flags
    assert {Flag.STALE_INPUT} <= set(stale.flags)
    short = with_holiday(series, ahead=2)
    (ahead,) = answers(two, short, [series.last])
    assert Flag.NO_COVARIATES in ahead.flags


def test_units_of_covariates_do_not_matter(two):
    series = with_holiday(market(200))
    scaled = replace(series, covariates=tuple(replace(c, values=1e9 * c.values) for c in series.covariates))
    (one,), (large,) = (answers(two, s, [series.last]) for s in (series, scaled))
    assert np.allclose(one.quantiles, large.quantiles, rtol=1e-5)


def test_unrolled_levels_are_ordered_and_wider(two):
    series = market(200)
    (found,) = answers(two, series, [series.last], Horizon(steps=100))
    low, high = found.interval(0.8)
    width = np.log(high) - np.log(low)
    assert width[99] >= 0.99 * width[12:16].mean()
