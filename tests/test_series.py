import dataclasses

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind, as_stamp
from horizoncast.errors import BankError, ConfigError, DataError, UnknownNameError
from horizoncast.series import Covariate, Scale, Series, carry_forward, choose_scale
from support import make_series

NAN = np.nan


def stamps(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="datetime64[s]")


def daily(values, **more) -> Series:
    return make_series(values, kind=CalendarKind.DAILY, periods=(), **more)


def rebuilt(series: Series, **changes) -> Series:
    kept = {f.name: getattr(series, f.name) for f in dataclasses.fields(series) if f.init}
    if "values" in changes:
        kept["observed"] = None
    return Series(**{**kept, **changes})


# what a series refuses


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"values": [1.0, NAN, 3.0]}, "finite"),
        ({"values": [1.0, np.inf, 3.0]}, "finite"),
        ({"values": [1.0, 2.0]}, "one length"),
        ({"values": np.ones((3, 1))}, "one length"),
        ({"values": [1.0], "dates": stamps("2024-01-01")}, "at least two"),
        ({"dates": stamps("2024-01-01", "2024-01-03", "2024-01-02")}, "increase"),
        ({"dates": stamps("2024-01-01", "2024-01-02", "2024-01-02")}, "increase"),
        ({"dates": stamps("2024-01-01", "NaT", "2024-01-03")}, "increase"),
        ({"observed": np.ones(2, dtype=bool)}, "one length"),
        ({"scale": Scale.LOG, "values": [1.0, 0.0, 2.0]}, "positive"),
        ({"scale": "log", "values": [1.0, 0.0, 2.0]}, "positive"),
        ({"nonnegative": True, "values": [1.0, -1.0, 2.0]}, "non-negative"),
        ({"periods": (1,)}, "periods"),
        ({"periods": (7, 7)}, "periods"),
        ({"periods": (30, 7)}, "periods"),
        ({"dating_offset": -1}, "dating_offset"),
        ({"covariates": (Covariate(name="x", values=[1.0, 2.0]),)}, "one value per session"),
        ({"covariates": (Covariate(name="x", values=[1.0] * 4),)}, "one value per session"),
        ({"covariates": (Covariate(name="x", values=[1.0, 2.0], known_future=True),)}, "one value"),
        ({"covariates": (Covariate(name="x", values=[1.0] * 3),) * 2}, "repeat"),
    ],
    ids=str,
)
def test_a_series_that_cannot_be_forecast_from_is_refused(changes, word):
    good = daily([1.0, 2.0, 3.0])
    with pytest.raises(DataError, match=word):
        rebuilt(good, **changes)


def test_an_unknown_scale_is_refused():
    with pytest.raises(ConfigError, match="scale"):
        rebuilt(daily([1.0, 2.0]), scale="logarithm")


@pytest.mark.parametrize(
    ("kind", "dates", "word"),
    [
        (CalendarKind.BUSINESS, ("2024-06-28", "2024-06-30"), "weekend"),
        (CalendarKind.DAILY, ("2024-06-28T12:00", "2024-06-29T12:00"), "time of day"),
        (CalendarKind.MONTHLY, ("2024-06-01", "2024-06-30"), "two rows in one session"),
        (CalendarKind.QUARTERLY, ("2024-04-30", "2024-06-30"), "two rows in one session"),
        (CalendarKind.WEEKLY, ("2024-07-01", "2024-07-03"), "two rows in one session"),
        (CalendarKind.INTRADAY, ("2024-07-01T00:00", "2024-07-01T00:30"), "two rows in one session"),
    ],
)
def test_rows_that_are_no_sessions_of_the_calendar_are_refused(kind, dates, word):
    """Such a row would give two rows one absolute index, or never be found again by its date."""
    with pytest.raises(DataError, match=word):
        rebuilt(daily([1.0, 2.0]), calendar=Calendar(kind=kind), dates=stamps(*dates), values=[1.0, 2.0])


def test_a_value_on_a_holiday_is_a_session():
    calendar = Calendar(kind=CalendarKind.BUSINESS, country="ECB")
    series = rebuilt(daily([1.0, 2.0]), calendar=calendar, dates=stamps("2024-03-28", "2024-03-29"))
    assert series.ordinals[1] == series.ordinals[0] + 1


@pytest.mark.parametrize("settings", [{"publication_lag": -1}, {"max_carry": -1}, {"values": [1.0, np.inf]}])
def test_a_covariate_refuses_what_would_leak_or_spread(settings):
    with pytest.raises(DataError):
        Covariate(**{"name": "x", "values": [1.0, NAN], **settings})


# immutability


def test_arrays_are_read_only_and_the_callers_stay_writable():
    values, dates, observed = (
        np.arange(3.0),
        stamps("2024-01-01", "2024-01-02", "2024-01-03"),
        np.ones(3, bool),
    )
    series = rebuilt(daily([1.0, 2.0, 3.0]), values=values, dates=dates, observed=observed)
    values[0], observed[0], dates[0] = 99.0, False, as_stamp("1999-01-01")
    assert series.values[0] == 0.0
    assert series.observed_mask[0]
    assert series.dates[0] == as_stamp("2024-01-01")
    history = series.until(series.last)
    for array in (
        series.values, series.dates, series.observed_mask, series.ordinals, history.values, history.z,
        history.dates, history.ordinals, history.covariates,
    ):  # fmt: skip
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]


def test_lists_given_as_tuples_cannot_be_changed_later():
    periods, covariates = [2, 3], [Covariate(name="x", values=[1.0] * 3)]
    series = rebuilt(daily([1.0, 2.0, 3.0]), periods=periods, covariates=covariates)
    periods.append(1)
    covariates.clear()
    assert series.periods == (2, 3)
    assert [c.name for c in series.covariates] == ["x"]


# the only way to rows


def test_until_ends_at_the_cutoff():
    series = daily(np.arange(10.0))
    history = series.until(series.dates[6])
    assert history.cutoff == series.dates[6]
    assert history.values.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert len(history.dates) == len(history.ordinals) == len(history.z) == len(history) == 7


@pytest.mark.parametrize("cutoff", ["2014-12-31", "2015-01-20", "2015-01-06T12:00"])
def test_a_cutoff_that_is_no_session_is_refused(cutoff):
    with pytest.raises(DataError, match="no session"):
        daily(np.arange(10.0)).until(as_stamp(cutoff))


@pytest.mark.parametrize("unit", ["D", "h", "s", "ms", "us", "ns"])
def test_a_cutoff_may_come_in_any_unit(unit):
    series = daily(np.arange(10.0))
    assert series.index_of(np.datetime64("2015-01-07", unit)) == 2


def test_a_cutoff_may_come_as_text():
    assert daily(np.arange(10.0)).index_of("2015-01-07") == 2


def test_later_values_never_reach_a_history():
    """The leak test of the lowest floor: everything after the cutoff is replaced, nothing changes."""
    rng = np.random.default_rng(3)
    values, x, y = rng.normal(size=40) + 50, rng.normal(size=40), rng.normal(size=45)
    x[[4, 5, 20, 21, 22]] = NAN

    def build(factor: float) -> Series:
        late = np.where(np.arange(40) > 25, factor, 1.0)
        covariates = (
            Covariate(name="x", values=x * late, publication_lag=2, max_carry=1),
            Covariate(name="y", values=y, known_future=True),
        )
        return daily(values * late, covariates=covariates, scale=Scale.LOG)

    plain, changed = build(1.0), build(1000.0)
    assert not np.array_equal(plain.values, changed.values)
    a, b = (s.until(s.dates[25]) for s in (plain, changed))
    for name in ("values", "z", "dates", "ordinals", "covariates"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=True), name
    assert np.array_equal(a.future_covariates(5), b.future_covariates(5), equal_nan=True)
    assert plain.digests()[25] == changed.digests()[25]
    assert plain.digests()[26] != changed.digests()[26]


def test_tail_never_reaches_before_its_own_start_nor_after_the_cutoff():
    history = daily(np.arange(10.0)).until(as_stamp("2015-01-12"))
    assert history.tail(3).values.tolist() == [5, 6, 7]
    assert history.tail(3).tail(99).values.tolist() == [5, 6, 7]
    assert history.tail(99).values.tolist() == list(range(8))


# publication lags, dating offset, carrying forward


@pytest.mark.parametrize(("lag", "offset"), [(0, 0), (1, 0), (0, 1), (2, 1)])
def test_lag_and_dating_offset_add_up(lag, offset):
    x = np.arange(100.0, 106.0)
    series = rebuilt(
        daily(np.ones(6)),
        covariates=(Covariate(name="x", values=x, publication_lag=lag),),
        dating_offset=offset,
    )
    seen = series.until(series.last).covariate("x")
    hidden = lag + offset
    assert np.isnan(seen[:hidden]).all()
    assert seen[hidden:].tolist() == x[: 6 - hidden].tolist()


def test_a_known_future_covariate_has_no_lag():
    covariate = Covariate(name="x", values=np.arange(8.0), known_future=True, publication_lag=3)
    series = rebuilt(daily(np.ones(6)), covariates=(covariate,), dating_offset=1)
    assert series.until(series.last).covariate("x").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_lag_longer_than_the_series_hides_everything():
    series = daily(np.ones(3), covariates=(Covariate(name="x", values=[1.0, 2.0, 3.0], publication_lag=9),))
    assert np.isnan(series.until(series.last).covariates).all()


def test_carrying_forward_stops_at_its_limit():
    x = [NAN, 1.0, NAN, NAN, NAN, 2.0]
    series = daily(np.ones(6), covariates=(Covariate(name="x", values=x, max_carry=2, publication_lag=0),))
    assert np.array_equal(
        series.until(series.last).covariate("x"), [NAN, 1.0, 1.0, 1.0, NAN, 2.0], equal_nan=True
    )


@pytest.mark.parametrize(
    ("values", "limit", "expected"),
    [
        ([1.0, NAN, NAN], 0, [1.0, NAN, NAN]),
        ([NAN, NAN], 5, [NAN, NAN]),
        ([1.0, NAN, 3.0, NAN], 1, [1.0, 1.0, 3.0, 3.0]),
        ([], 3, []),
    ],
)
def test_carry_forward(values, limit, expected):
    assert np.array_equal(carry_forward(np.array(values), limit), np.array(expected), equal_nan=True)


def test_an_unknown_covariate_is_named_with_a_hint():
    series = daily(np.ones(3), covariates=(Covariate(name="copper", values=np.ones(3)),))
    with pytest.raises(UnknownNameError, match="did you mean copper"):
        series.until(series.last).covariate("coper")


def test_future_covariates_show_only_what_is_known_in_advance():
    series = daily(
        np.ones(4),
        covariates=(
            Covariate(name="x", values=np.arange(4.0)),
            Covariate(name="price", values=np.arange(10.0, 16.0), known_future=True),
        ),
    )
    ahead = series.until(series.dates[2]).future_covariates(4)
    assert np.isnan(ahead[:, 0]).all()
    assert np.array_equal(ahead[:, 1], [13.0, 14.0, 15.0, NAN], equal_nan=True)


# truncation


@pytest.mark.parametrize("cutoff", [1, 7, 20, 39])
def test_truncated_series_show_the_same_history(cutoff):
    rng = np.random.default_rng(1)
    x = rng.normal(size=40)
    x[rng.random(40) < 0.3] = NAN
    full = rebuilt(
        daily(
            rng.normal(size=40),
            covariates=(
                Covariate(name="x", values=x, publication_lag=3, max_carry=2),
                Covariate(name="y", values=rng.normal(size=46), known_future=True),
            ),
        ),
        observed=rng.random(40) < 0.9,
        dating_offset=1,
    )
    when = full.dates[cutoff]
    short = full.truncated(when)
    assert len(short) == cutoff + 1
    a, b = full.until(when), short.until(when)
    for name in ("values", "z", "dates", "ordinals", "covariates", "names", "periods", "cutoff"):
        assert np.array_equal(getattr(a, name), getattr(b, name), equal_nan=name == "covariates"), name
    assert np.array_equal(a.future_covariates(5), b.future_covariates(5), equal_nan=True)
    assert np.array_equal(short.observed_mask, full.observed_mask[: cutoff + 1])
    assert short.digests() == full.digests()[: cutoff + 1]


# digests


def test_appending_rows_leaves_earlier_digests_alone():
    rng = np.random.default_rng(2)
    values, x = rng.normal(size=30), rng.normal(size=30)
    long = daily(values, covariates=(Covariate(name="x", values=x, publication_lag=1),))
    short = daily(values[:20], covariates=(Covariate(name="x", values=x[:20], publication_lag=1),))
    assert long.digests()[:20] == short.digests()
    assert len(set(long.digests())) == 30


@pytest.mark.parametrize("what", ["value", "observed", "date", "covariate"])
def test_a_changed_row_changes_its_digest_and_all_later_ones_only(what):
    values, dates, observed, x = np.arange(12.0), np.arange(12), np.ones(12, bool), np.arange(12.0)
    first = daily(values).dates

    def build() -> Series:
        return rebuilt(
            daily(values, covariates=(Covariate(name="x", values=x),)),
            dates=first[0] + dates.astype("timedelta64[D]"),
            observed=observed,
        )

    before = build().digests()
    if what == "value":
        values[7] += 1e-12
    elif what == "observed":
        observed[7] = False
    elif what == "covariate":
        x[7] += 1.0
    else:
        dates[7:] += 1
    after = build().digests()
    assert after[:7] == before[:7]
    assert all(a != b for a, b in zip(after[7:], before[7:], strict=True))


def test_a_covariate_changes_digests_from_its_publication_on():
    def build(changed: float) -> Series:
        x = np.arange(10.0)
        x[4] = changed
        return daily(np.ones(10), covariates=(Covariate(name="x", values=x, publication_lag=2),))

    a, b = build(4.0).digests(), build(40.0).digests()
    assert [x == y for x, y in zip(a, b, strict=True)] == [True] * 6 + [False] * 4


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"}, {"unit": "other"}, {"scale": Scale.LOG}, {"periods": (7,)}, {"dating_offset": 1},
        {"nonnegative": True}, {"calendar": Calendar(kind=CalendarKind.INTRADAY, minutes=1440)},
        {"covariates": (Covariate(name="x", values=[NAN] * 3),)},
    ],
    ids=str,
)  # fmt: skip
def test_the_definition_is_part_of_every_digest(changes):
    plain = daily([1.0, 2.0, 3.0])
    assert not set(plain.digests()) & set(rebuilt(plain, **changes).digests())


def test_values_known_in_advance_count_as_far_as_a_forecast_reads():
    def build(length: int, changed: float) -> Series:
        x = np.arange(20.0)
        x[12] = changed
        return daily(np.ones(10), covariates=(Covariate(name="x", values=x[:length], known_future=True),))

    a, b = build(20, 12.0), build(20, 99.0)
    assert a.digests()[:10] != b.digests()[:10]
    same = [x == y for x, y in zip(a.digests(3), b.digests(3), strict=True)]
    assert same == [True] * 9 + [False]  # row 9 reads rows 10, 11 and 12
    assert a.digests(3)[:7] == build(12, 12.0).digests(3)[:7]


def test_two_covariates_cannot_trade_future_values_unnoticed():
    def build(first: list[float], second: list[float]) -> Series:
        base = [0.0, 0.0]
        return daily(
            np.ones(2),
            covariates=(
                Covariate(name="a", values=base + first, known_future=True),
                Covariate(name="b", values=base + second, known_future=True),
            ),
        )

    assert build([1.0, 2.0], []).digests()[1] != build([1.0], [2.0]).digests()[1]


# dates and actuals


def friday_series() -> Series:
    """Business days to Friday 2024-06-28."""
    calendar = Calendar(kind=CalendarKind.BUSINESS)
    dates = calendar.sessions(as_stamp("2024-06-03"), as_stamp("2024-06-28"))
    return rebuilt(daily([1.0, 2.0]), calendar=calendar, dates=dates, values=np.arange(20.0) + 1)


def test_scoring_a_sunday_target_against_fridays_value_is_impossible():
    """Regression: "scoring a Sunday target against Friday's value"."""
    series = friday_series()
    asked = stamps("2024-06-13", "2024-06-14", "2024-06-15", "2024-06-16", "2024-06-17", "2024-07-01")
    actual = series.actuals(as_stamp("2024-06-12"), asked)
    assert np.array_equal(actual, [9.0, 10.0, NAN, NAN, 11.0, NAN], equal_nan=True)


def test_a_filled_value_is_never_an_actual():
    series = friday_series()
    observed = np.ones(20, bool)
    observed[9] = False
    actual = rebuilt(series, observed=observed).actuals(
        as_stamp("2024-06-12"), stamps("2024-06-13", "2024-06-14")
    )
    assert np.array_equal(actual, [9.0, NAN], equal_nan=True)


@pytest.mark.parametrize(
    "dates", [("2024-06-12",), ("2024-06-13", "2024-06-11"), ("2024-06-10", "2024-06-13")]
)
def test_actuals_up_to_the_cutoff_are_refused(dates):
    with pytest.raises(BankError, match="up to the cutoff"):
        friday_series().actuals(as_stamp("2024-06-12"), stamps(*dates))


def test_actuals_for_no_dates_and_in_other_units():
    series = friday_series()
    assert series.actuals(as_stamp("2024-06-12"), stamps()).shape == (0,)
    day = np.array(["2024-06-13", "NaT"], dtype="datetime64[D]")
    assert np.array_equal(series.actuals(as_stamp("2024-06-12"), day), [9.0, NAN], equal_nan=True)


def test_session_dates_are_real_ones_then_the_calendars():
    series = friday_series()
    kept = np.arange(20) != 15  # Monday 2024-06-24 had no session that the calendar knew of
    series = rebuilt(series, dates=series.dates[kept], values=series.values[kept])
    found = series.session_dates(as_stamp("2024-06-20"), 8)
    assert [series.calendar.text(d) for d in found] == [
        "2024-06-21", "2024-06-25", "2024-06-26", "2024-06-27", "2024-06-28", "2024-07-01", "2024-07-02",
        "2024-07-03",
    ]  # fmt: skip
    live = series.session_dates(series.last, 1)
    assert series.calendar.text(live[0]) == "2024-07-01"
    assert np.array_equal(series.until(series.last).future_dates(1), live)


@pytest.mark.parametrize(
    ("dates", "ahead"),
    [
        (("2023-12-30", "2024-01-30", "2024-02-29"), ["2024-03-30", "2024-04-30"]),
        (("2022-12-28", "2023-01-28", "2023-02-28"), ["2023-03-28", "2023-04-28"]),
        (("2023-12-31", "2024-01-31", "2024-02-29"), ["2024-03-31", "2024-04-30"]),
        (("2024-03-30", "2024-04-30"), ["2024-05-30", "2024-06-30"]),
        (("2024-01-01", "2024-02-01"), ["2024-03-01", "2024-04-01"]),
    ],
)
def test_monthly_dates_keep_the_day_of_the_series_through_short_months(dates, ahead):
    """A forecast dated on the wrong day is never scored: its actual is looked up by date."""
    series = rebuilt(
        daily([1.0, 2.0]), calendar=Calendar(kind=CalendarKind.MONTHLY), dates=stamps(*dates),
        values=np.ones(len(dates)),
    )  # fmt: skip
    assert [series.calendar.text(d) for d in series.session_dates(series.last, 2)] == ahead


def test_the_day_of_the_month_is_read_from_the_past_only():
    dates = stamps("2024-01-28", "2024-02-28", "2024-03-28", "2024-04-30")
    series = rebuilt(
        daily([1.0, 2.0]), calendar=Calendar(kind=CalendarKind.MONTHLY), dates=dates, values=np.ones(4)
    )
    short = series.truncated(dates[1])
    assert [series.calendar.text(d) for d in short.session_dates(dates[1], 1)] == ["2024-03-28"]


# scale


@pytest.mark.parametrize("scale", Scale)
def test_scales_invert_each_other_and_keep_order(scale):
    values = np.array([1e-8, 1.0, 940.0, 1e12])
    z = scale.forward(values)
    assert (np.diff(z) > 0).all()
    np.testing.assert_allclose(scale.backward(z), values, rtol=1e-12)


def test_proportional_movement_chooses_log_and_constant_movement_level():
    rng = np.random.default_rng(0)
    growing = np.exp(np.cumsum(0.01 + 0.02 * rng.standard_normal(600)))
    steady = 1000.0 + 1.5 * np.arange(600) + 3.0 * rng.standard_normal(600)
    assert choose_scale(growing)[0] is Scale.LOG
    assert choose_scale(steady)[0] is Scale.LEVEL
    assert "log" in choose_scale(growing)[1]


@pytest.mark.parametrize("values", [[1.0, 0.0, 2.0], [5.0] * 50, [1.0, 2.0], [3.0]])
def test_scale_is_level_where_nothing_can_be_compared(values):
    scale, reason = choose_scale(np.array(values))
    assert scale is Scale.LEVEL
    assert reason


@pytest.mark.parametrize("field", ["name", "unit"])
def test_text_that_no_file_could_hold_is_refused(field):
    """A lone surrogate made every member fail, and the run end in a message about cutoffs."""
    good = make_series(np.arange(1.0, 9.0))
    with pytest.raises(DataError, match="no valid text"):
        dataclasses.replace(good, **{field: "a\udc80"})
