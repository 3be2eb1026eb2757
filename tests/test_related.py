"""Related series: what a cutoff may see of them, and what may not be related."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from horizoncast.calendar import CalendarKind
from horizoncast.errors import DataError
from horizoncast.series import Covariate, Series
from support import make_series

DAILY = CalendarKind.DAILY


def walk(seed: int, length: int = 60, **more) -> Series:
    values = 10 + np.cumsum(np.random.default_rng(seed).normal(size=length))
    return make_series(values, kind=DAILY, name=f"s{seed}", **more)


def panel(*others: Series) -> Series:
    return replace(walk(0), related=others)


def test_a_history_shows_related_rows_up_to_its_cutoff_only():
    series = panel(walk(1), walk(2, 30))
    first, second = series.until(series.dates[40]).related
    assert (first.cutoff, len(first)) == (series.dates[40], 41)
    assert (second.cutoff, len(second)) == (series.dates[29], 30)
    assert np.array_equal(first.values, series.related[0].values[:41])


def test_a_related_series_that_has_not_begun_is_not_there():
    late = walk(1)
    late = Series(
        name="late",
        unit=late.unit,
        calendar=late.calendar,
        dates=late.dates[50:],
        values=late.values[50:],
    )
    series = panel(late)
    assert series.until(series.dates[49]).related == ()
    assert len(series.until(series.dates[50]).related[0]) == 1


def test_a_target_dated_ahead_sees_related_rows_as_late_as_they_are_known():
    series = replace(panel(walk(1)), dating_offset=1)
    (other,) = series.until(series.dates[40]).related
    assert other.cutoff == series.dates[39]
    both = replace(panel(replace(walk(1), dating_offset=1)), dating_offset=1)
    assert both.until(both.dates[40]).related[0].cutoff == both.dates[40]


def test_digests_change_from_the_row_that_sees_the_change():
    changed = walk(1)
    values = changed.values.copy()
    values[25] *= 2
    before, after = panel(changed).digests(), panel(replace(changed, values=values)).digests()
    assert before[:25] == after[:25]
    assert all(a != b for a, b in zip(before[25:], after[25:], strict=True))
    assert panel(changed).digests() != walk(0).digests()


def test_truncated_and_unpickled_series_show_the_same_panel():
    series = panel(walk(1), walk(2, 30))
    short = series.truncated(series.dates[40])
    assert short.digests() == series.digests()[:41]
    assert len(short.until(short.last).related[0]) == 41
    again = pickle.loads(pickle.dumps(series))
    assert again.digests() == series.digests()


WITH_X = (Covariate(name="x", values=np.arange(60.0)),)


@pytest.mark.parametrize(
    ("other", "word"),
    [
        (walk(0), "repeat"),
        (replace(walk(1), related=(walk(2),)), "has related ones itself"),
        (replace(walk(1), covariates=WITH_X), "other covariates"),
        (make_series(np.arange(1.0, 50.0), kind=CalendarKind.BUSINESS, name="b"), "another calendar"),
    ],
)
def test_what_shares_no_network_is_refused(other, word):
    with pytest.raises(DataError, match=word):
        panel(other)
