"""What must hold of a Series and a Forecast whatever is put in, across pickles and processes."""

import multiprocessing
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from horizoncast.calendar import Calendar, CalendarKind, as_stamp
from horizoncast.errors import DataError, ForecastError
from horizoncast.forecast import Flag, Forecast, ModelIdentity
from horizoncast.series import Covariate, Scale, Series
from support import echo

NUMBERS = st.floats(allow_nan=True, allow_infinity=True, width=64)
PLAIN = st.floats(-1e12, 1e12)


@st.composite
def levels(draw: st.DrawFn) -> tuple[float, ...]:
    others = draw(st.sets(st.floats(0.001, 0.999), max_size=6))
    return tuple(sorted({0.5, *others}))


@st.composite
def forecasts(draw: st.DrawFn) -> Forecast:
    steps, tau = draw(st.integers(1, 6)), draw(levels())
    quantiles = draw(arrays.arrays(np.float64, (steps, len(tau)), elements=PLAIN))
    day = draw(st.integers(0, 20000))
    dates = as_stamp("1990-01-01") + (day + np.arange(1, steps + 1)).astype("timedelta64[D]")
    return Forecast(
        series="s",
        unit="u",
        member="m",
        cutoff=dates[0] - np.timedelta64(1, "D"),
        dates=dates,
        levels=tau,
        quantiles=np.sort(quantiles, axis=1),
        identity=ModelIdentity(id="m"),
        flags=tuple(draw(st.sets(st.sampled_from(Flag)))),
    )


@st.composite
def series(draw: st.DrawFn) -> Series:
    count = draw(st.integers(2, 12))
    calendar = Calendar(kind=draw(st.sampled_from(CalendarKind)), minutes=30)
    first = as_stamp("2015-01-05")
    observed = draw(arrays.arrays(np.bool_, count))
    columns = []
    for p in range(draw(st.integers(0, 3))):
        known = draw(st.booleans())
        length = count + (draw(st.integers(0, 4)) if known else 0)
        elements = st.one_of(st.just(float("nan")), PLAIN)
        columns.append(
            Covariate(
                name=f"x{p}",
                values=draw(arrays.arrays(np.float64, length, elements=elements)),
                publication_lag=draw(st.integers(0, 3)),
                max_carry=draw(st.integers(0, 3)),
                known_future=known,
            )
        )
    return Series(
        name="s",
        unit="u",
        calendar=calendar,
        dates=np.concatenate([[first], calendar.future(first, count - 1)]),
        values=draw(arrays.arrays(np.float64, count, elements=st.floats(1e-6, 1e6))),
        observed=observed,
        scale=draw(st.sampled_from(Scale)),
        periods=draw(st.sampled_from([(), (2,), (5, 7)])),
        covariates=tuple(columns),
        dating_offset=draw(st.integers(0, 2)),
        nonnegative=draw(st.booleans()),
    )


def assert_sealed(item: Any, names: tuple[str, ...]) -> None:
    for name in names:
        array = getattr(item, name)
        assert not array.flags.writeable, name


def assert_same_series(a: Series, b: Series) -> None:
    assert a.digests() == b.digests()
    assert a.scale_reason == b.scale_reason
    assert np.array_equal(a.values, b.values)
    assert np.array_equal(a.dates, b.dates)
    assert np.array_equal(a.observed_mask, b.observed_mask)
    for x, y in zip(a.covariates, b.covariates, strict=True):
        assert np.array_equal(x.values, y.values, equal_nan=True)
        assert not y.values.flags.writeable
    assert_sealed(b, ("values", "dates", "observed_mask", "ordinals", "_known"))


# Forecast


@given(forecasts())
def test_a_forecast_is_finite_ordered_dated_and_sealed(forecast):
    assert np.isfinite(forecast.quantiles).all()
    assert (np.diff(forecast.quantiles, axis=1) >= 0).all()
    assert (np.diff(np.concatenate([[forecast.cutoff], forecast.dates])) > np.timedelta64(0, "s")).all()
    assert np.array_equal(forecast.point, forecast.quantile(0.5))
    assert list(forecast.flags) == sorted(set(forecast.flags))
    assert_sealed(forecast, ("quantiles", "dates"))


@given(arrays.arrays(np.float64, (2, 3), elements=NUMBERS))
def test_numbers_make_a_forecast_exactly_when_they_are_finite_and_ordered(quantiles):
    good = bool(np.isfinite(quantiles).all() and (quantiles[:, :-1] <= quantiles[:, 1:]).all())
    values = {
        "series": "s", "unit": "u", "member": "m", "cutoff": as_stamp("2024-01-01"),
        "dates": np.array(["2024-01-02", "2024-01-03"], dtype="datetime64[s]"),
        "levels": (0.1, 0.5, 0.9), "quantiles": quantiles, "identity": ModelIdentity(id="m"),
    }  # fmt: skip
    if good:
        assert np.array_equal(Forecast(**values).quantiles, quantiles)
    else:
        with pytest.raises(ForecastError):
            Forecast(**values)


@given(forecasts(), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_forecasts_survive_every_pickle_protocol(forecast, protocol):
    copy = pickle.loads(pickle.dumps(forecast, protocol=protocol))
    assert forecast.same_numbers(copy)
    assert (copy.series, copy.unit, copy.member, copy.identity) == ("s", "u", "m", forecast.identity)
    assert_sealed(copy, ("quantiles", "dates"))


class Tampered:
    """Pickles as a forecast whose numbers were changed on the way."""

    def __init__(self, forecast: Forecast, **changes: Any) -> None:
        self.forecast, self.changes = forecast, changes

    def __reduce__(self) -> tuple[Any, ...]:
        build, (first, *rest) = self.forecast.__reduce__()
        *kind, values = (first, *rest)
        return build, (*kind, {**values, **self.changes})


@given(forecasts(), st.data())
def test_a_tampered_pickle_with_crossing_quantiles_is_refused(forecast, data):
    assume(len(forecast.levels) > 1)
    row = data.draw(st.integers(0, forecast.steps - 1))
    crossing = forecast.quantiles.copy()
    crossing[row] = np.arange(len(forecast.levels), 0.0, -1.0)
    text = pickle.dumps(Tampered(forecast, quantiles=crossing))
    with pytest.raises(ForecastError, match="cross"):
        pickle.loads(text)


@given(forecasts(), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_tampered_pickle_with_holes_is_refused(forecast, hole):
    holed = forecast.quantiles.copy()
    holed[0, 0] = hole
    with pytest.raises(ForecastError, match="finite"):
        pickle.loads(pickle.dumps(Tampered(forecast, quantiles=holed)))


def test_bytes_changed_in_a_pickle_are_seen():
    """The same without our own class: a number is replaced in the stream itself."""
    forecast = Forecast(
        series="s", unit="u", member="m", cutoff=as_stamp("2024-01-01"),
        dates=np.array(["2024-01-02"], dtype="datetime64[s]"), levels=(0.1, 0.5, 0.9),
        quantiles=np.array([[1.25, 2.5, 3.75]]), identity=ModelIdentity(id="m"),
    )  # fmt: skip
    text = pickle.dumps(forecast)
    old, new = np.float64(2.5).tobytes(), np.float64(9.5).tobytes()
    assert text.count(old) == 1
    with pytest.raises(ForecastError, match="cross"):
        pickle.loads(text.replace(old, new))


# Series


@given(series())
def test_series_survive_a_pickle_sealed_and_unchanged(item):
    assert_same_series(item, pickle.loads(pickle.dumps(item)))


@given(series())
def test_a_tampered_series_is_refused(item):
    build, (kind, values) = item.__reduce__()
    with pytest.raises(DataError):
        build(kind, {**values, "values": np.full(len(item), np.nan)})
    with pytest.raises(DataError):
        build(kind, {**values, "dates": item.dates[::-1]})


@given(series(), st.data())
def test_a_truncated_series_shows_the_same_history(item, data):
    stop = data.draw(st.integers(1, len(item) - 1))
    cutoff = item.dates[stop]
    short = item.truncated(cutoff)
    a, b = item.until(cutoff), short.until(cutoff)
    assert np.array_equal(a.z, b.z)
    assert np.array_equal(a.covariates, b.covariates, equal_nan=True)
    assert np.array_equal(a.future_covariates(4), b.future_covariates(4), equal_nan=True)
    assert short.digests() == item.digests()[: stop + 1]


@given(series(), st.data())
def test_what_is_hidden_at_a_cutoff_cannot_be_seen(item, data):
    """Values that are published after a cutoff may be anything."""
    stop = data.draw(st.integers(0, len(item) - 2))
    build, (kind, values) = item.__reduce__()
    later = np.arange(len(item)) > stop
    covariates = []
    for c in item.covariates:
        lag = c.publication_lag + item.dating_offset
        hidden = np.arange(len(c.values)) > stop - lag
        changed = c.values if c.known_future else np.where(hidden, 777.0, c.values)
        build_c, (kind_c, values_c) = c.__reduce__()
        covariates.append(build_c(kind_c, {**values_c, "values": changed}))
    other = build(
        kind,
        {**values, "values": np.where(later, 12345.0, item.values), "covariates": tuple(covariates)},
    )
    cutoff = item.dates[stop]
    a, b = item.until(cutoff), other.until(cutoff)
    assert np.array_equal(a.z, b.z)
    assert np.array_equal(a.covariates, b.covariates, equal_nan=True)
    assert item.digests()[: stop + 1] == other.digests()[: stop + 1]


# through a real child process


@pytest.fixture(scope="module")
def child():
    context = multiprocessing.get_context("forkserver")
    here, there = context.Pipe()
    process = context.Process(target=echo, args=(there,), daemon=True)
    process.start()
    there.close()
    yield here
    here.send(None)
    process.join(timeout=20)
    here.close()
    assert process.exitcode == 0


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(item=series())
def test_series_cross_a_process_sealed_and_unchanged(child, item):
    child.send(item)
    writeable, back = child.recv()
    assert writeable == [False, False]
    assert_same_series(item, back)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(item=forecasts())
def test_forecasts_cross_a_process_sealed_and_bit_identical(child, item):
    child.send(item)
    writeable, back = child.recv()
    assert writeable == [False, False]
    assert item.same_numbers(back)
    assert_sealed(back, ("quantiles", "dates"))
