import copy
import dataclasses
import pickle

import numpy as np
import pytest

from horizoncast.calendar import as_stamp
from horizoncast.errors import ForecastError
from horizoncast.forecast import Embedding, Failure, Flag, Forecast, ModelIdentity

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
DATES = np.array(["2024-07-01", "2024-07-02", "2024-07-03"], dtype="datetime64[s]")
NAN = float("nan")


def make(**changes) -> Forecast:
    values = {
        "series": "usdclp",
        "unit": "CLP per USD",
        "member": "random_walk",
        "cutoff": as_stamp("2024-06-28"),
        "dates": DATES,
        "levels": LEVELS,
        "quantiles": 940.0 + np.arange(3.0)[:, None] + np.array([-9.0, -5.0, 0.0, 5.0, 9.0]),
        "identity": ModelIdentity(id="random_walk"),
    }
    return Forecast(**{**values, **changes})


def changed(row: int, column: int, value: float) -> np.ndarray:
    quantiles = make().quantiles.copy()
    quantiles[row, column] = value
    return quantiles


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"quantiles": changed(1, 2, 0.0)}, "cross"),
        ({"quantiles": changed(0, 0, NAN)}, "finite"),
        ({"quantiles": changed(2, 4, np.inf)}, "finite"),
        ({"quantiles": make().quantiles[:2]}, "shape"),
        ({"quantiles": make().quantiles[:, :3]}, "shape"),
        ({"quantiles": make().quantiles[0]}, "shape"),
        ({"dates": DATES[:0], "quantiles": np.empty((0, 5))}, "shape"),
        ({"dates": DATES[:, None]}, "shape"),
        ({"levels": (0.1, 0.025, 0.5, 0.9, 0.975)}, "levels"),
        ({"levels": (0.1, 0.1, 0.5, 0.9, 0.975)}, "levels"),
        ({"levels": (0.025, 0.1, 0.4, 0.9, 0.975)}, "levels"),
        ({"levels": (0.1, NAN, 0.5, 0.9, 0.975)}, "levels"),
        ({"levels": (0.0, 0.1, 0.5, 0.9, 0.975)}, "levels"),
        ({"levels": (0.025, 0.1, 0.5, 0.9, 1.0)}, "levels"),
        ({"levels": (), "quantiles": np.empty((3, 0))}, "levels"),
        ({"cutoff": DATES[0]}, "follow the cutoff"),
        ({"cutoff": np.datetime64("NaT", "s")}, "follow the cutoff"),
        ({"dates": DATES[[0, 2, 1]]}, "increase"),
        ({"dates": DATES[[0, 1, 1]]}, "increase"),
        ({"dates": np.array(["2024-07-01", "NaT", "2024-07-03"], dtype="datetime64[s]")}, "follow"),
        ({"epistemic": np.full(2, 0.5)}, "shape of the epistemic"),
        ({"epistemic": 0.5}, "shape of the epistemic"),
        ({"epistemic": np.full((3, 1), 0.5)}, "shape of the epistemic"),
        ({"epistemic": np.array([0.1, NAN, 0.1])}, "epistemic share"),
        ({"epistemic": np.array([0.1, np.inf, 0.1])}, "epistemic share"),
        ({"epistemic": np.array([0.1, -1e-9, 0.1])}, "-1e-09 to 0.1"),
        ({"epistemic": np.array([0.1, 1.0 + 1e-9, 0.1])}, "allowed: 0 to 1"),
    ],
    ids=str,
)
def test_a_broken_forecast_cannot_be_made(changes, word):
    with pytest.raises(ForecastError, match=word):
        make(**changes)


def test_an_unknown_flag_cannot_be_set():
    with pytest.raises(ValueError, match="nonsense"):
        make(flags=("nonsense",))


def test_equal_quantiles_are_allowed_a_constant_series_has_zero_width():
    """Regression: "a constant series whose zero width becomes NaN"."""
    assert make(quantiles=np.full((3, 5), 7.0)).point.tolist() == [7.0, 7.0, 7.0]


def test_arrays_are_copies_and_read_only():
    quantiles, dates = make().quantiles.copy(), DATES.copy()
    forecast = make(quantiles=quantiles, dates=dates)
    quantiles[0, 0], dates[0] = NAN, as_stamp("1999-01-01")
    assert np.isfinite(forecast.quantiles).all()
    assert forecast.dates[0] == DATES[0]
    for array in (forecast.quantiles, forecast.dates, forecast.point):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[1]
    with pytest.raises(dataclasses.FrozenInstanceError):
        forecast.quantiles = quantiles  # type: ignore[misc]


def test_point_is_the_median_and_intervals_are_pairs_of_levels():
    forecast = make()
    assert forecast.steps == 3
    assert forecast.point.tolist() == [940.0, 941.0, 942.0]
    low, high = forecast.interval(0.8)
    assert (low.tolist(), high.tolist()) == ([935.0, 936.0, 937.0], [945.0, 946.0, 947.0])
    low, high = forecast.interval(0.95)
    assert (low.tolist(), high.tolist()) == ([931.0, 932.0, 933.0], [949.0, 950.0, 951.0])


@pytest.mark.parametrize("share", [0.5, 0.68, 0.98, 1.0, 0.0])
def test_an_interval_without_its_levels_is_refused(share):
    if share == 0.0:
        low, high = make().interval(share)  # both ends are the median
        assert np.array_equal(low, high)
    else:
        with pytest.raises(ForecastError, match="level"):
            make().interval(share)


def test_flags_are_a_sorted_set():
    forecast = make(flags=(Flag.SORTED, Flag.FALLBACK, "fallback"))
    assert forecast.flags == (Flag.FALLBACK, Flag.SORTED)


@pytest.mark.parametrize("twin", [lambda f: pickle.loads(pickle.dumps(f)), copy.copy, copy.deepcopy])
def test_copies_are_bit_identical_and_read_only(twin):
    forecast = make(
        flags=(Flag.SORTED,), identity=ModelIdentity(id="x", trained_until=as_stamp("2024-01-01"))
    )
    other = twin(forecast)
    assert forecast.same_numbers(other)
    assert other.identity == forecast.identity
    assert not other.quantiles.flags.writeable
    assert not other.dates.flags.writeable


@pytest.mark.parametrize(
    "changes",
    [
        {"quantiles": np.nextafter(make().quantiles, np.inf)},
        {"cutoff": as_stamp("2024-06-27")},
        {"dates": DATES + np.timedelta64(1, "D")},
        {"levels": (0.05, 0.1, 0.5, 0.9, 0.95)},
        {"flags": (Flag.SORTED,)},
    ],
    ids=str,
)
def test_same_numbers_sees_the_last_bit(changes):
    assert not make().same_numbers(make(**changes))


def test_the_epistemic_share_is_a_read_only_copy_that_survives_a_pickle():
    share = np.array([0.0, 0.25, 1.0])
    forecast = make(epistemic=share)
    share[0] = 0.9
    assert forecast.epistemic is not None and forecast.epistemic.tolist() == [0.0, 0.25, 1.0]
    with pytest.raises(ValueError, match="read-only"):
        forecast.epistemic[0] = 0.5
    other = pickle.loads(pickle.dumps(forecast))
    assert other.epistemic.tolist() == [0.0, 0.25, 1.0]
    assert not other.epistemic.flags.writeable
    assert pickle.loads(pickle.dumps(make())).epistemic is None


def test_an_epistemic_share_counts_as_a_number_where_both_know_it():
    one = make(epistemic=[0.1, 0.2, 0.3])
    assert one.same_numbers(make(epistemic=[0.1, 0.2, 0.3]))
    assert not one.same_numbers(make(epistemic=[0.1, 0.2, np.nextafter(0.3, 1.0)]))
    assert one.same_numbers(make()) and make().same_numbers(one)


def test_an_embedding_is_checked_rounded_and_survives_a_pickle():
    vector = np.array([0.1, -2.0, 3.0])
    forecast = make(embedding=Embedding(vector=vector, novelty=0.25))
    vector[0] = 9.0
    for one in (forecast, pickle.loads(pickle.dumps(forecast))):
        assert one.embedding.vector.tolist() == np.float32([0.1, -2.0, 3.0]).tolist()
        assert one.embedding.vector.dtype == np.float64
        assert one.embedding.novelty == 0.25
        with pytest.raises(ValueError, match="read-only"):
            one.embedding.vector[0] = 0.0
    assert pickle.loads(pickle.dumps(make())).embedding is None


@pytest.mark.parametrize(
    "broken",
    [
        {"vector": [0.0, np.nan]},
        {"vector": [np.inf]},
        {"vector": []},
        {"vector": [[1.0]]},
        {"vector": [1.0], "novelty": 1.01},
        {"vector": [1.0], "novelty": float("nan")},
    ],
    ids=str,
)
def test_an_embedding_that_cannot_be_is_refused(broken):
    with pytest.raises(ForecastError, match="embedding"):
        Embedding(**broken)


def test_an_embedding_counts_as_a_number_where_both_know_it():
    one = make(embedding=Embedding(vector=[1.0, 2.0], novelty=0.5))
    assert one.same_numbers(make(embedding=Embedding(vector=[1.0, 2.0], novelty=0.5)))
    assert not one.same_numbers(make(embedding=Embedding(vector=[1.0, 2.5], novelty=0.5)))
    assert not one.same_numbers(make(embedding=Embedding(vector=[1.0, 2.0])))
    assert one.same_numbers(make()) and make().same_numbers(one)


def test_replace_checks_again():
    with pytest.raises(ForecastError, match="cross"):
        dataclasses.replace(make(), quantiles=changed(0, 0, 1e9))


def test_a_failure_crosses_by_pickle():
    failure = Failure(member="var", cutoff=as_stamp("2024-06-28"), code="ModelError", reason="singular")
    assert pickle.loads(pickle.dumps(failure)) == failure
