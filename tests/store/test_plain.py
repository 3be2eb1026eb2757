import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.errors import StoreError
from horizoncast.metrics import Metric
from horizoncast.store.plain import (
    canonical,
    date_text,
    date_texts,
    json_file,
    json_line,
    parse_json,
    plain,
    time_text,
)


def test_values_become_plain_json():
    value = {
        "enum": Metric.RMSE,
        "float": np.float64(0.1),
        "int": np.int64(3),
        "bool": np.bool_(True),
        "nan": [float("nan"), np.inf, -np.inf],
        "date": np.datetime64("2024-06-28T00:00:00"),
        "path": Path("a/b"),
        "set": {"b", "a"},
        "array": np.array([1.0, np.nan]),
    }
    assert plain(value) == {
        "enum": "rmse",
        "float": 0.1,
        "int": 3,
        "bool": True,
        "nan": [None, None, None],
        "date": "2024-06-28",
        "path": "a/b",
        "set": ["a", "b"],
        "array": [1.0, None],
    }
    assert type(plain(value)["bool"]) is bool


def test_an_object_without_plain_form_is_refused():
    with pytest.raises(StoreError, match="no plain JSON form"):
        plain(object())


@given(st.floats())
def test_floats_round_trip_or_become_null(x):
    back = json.loads(json_line([x]))[0]
    assert back == x if np.isfinite(x) else back is None


@given(st.text())
def test_any_text_is_one_ascii_line(text):
    line = json_line({"t": text})
    assert line.isascii() and "\n" not in line and json.loads(line)["t"] == text


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "-Infinity", "[" * 100_000, "{", '{"a":}'])
def test_reading_refuses_what_is_not_json(text):
    with pytest.raises(ValueError):
        parse_json(text)


def test_canonical_text_ignores_the_order_of_keys():
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1})
    assert json_file({"b": 1}).endswith(b"\n")


def test_dates_of_a_column_have_one_form():
    hours = np.array(["2024-06-28T00:00:00", "2024-06-28T13:00:00"], dtype="datetime64[s]")
    assert date_texts(hours) == ["2024-06-28T00:00", "2024-06-28T13:00"]
    assert date_texts(hours[:1]) == ["2024-06-28"]
    assert date_text(np.datetime64("2024-06-28T13:00:05")) == "2024-06-28T13:00:05"


def test_moments_are_utc_and_need_a_zone():
    santiago = timezone(timedelta(hours=-4))
    assert time_text(datetime(2024, 6, 28, 7, tzinfo=santiago)) == "2024-06-28T11:00:00.000Z"
    assert time_text(datetime(2024, 6, 28, 7, tzinfo=UTC)) == "2024-06-28T07:00:00.000Z"
    with pytest.raises(StoreError, match="time zone"):
        time_text(datetime(2024, 6, 28, 7))
