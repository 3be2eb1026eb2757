import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.report.summary import NOT_YET_KNOWN, interval_text, rounded, summarise
from small_runs import small_result


@pytest.mark.parametrize(
    ("value", "width", "text"),
    [
        (18.4237, 1.7, "18.4"),
        (18.4237, 0.17, "18.42"),
        (951.26, 41.0, "951"),
        (951.26, 410.0, "950"),
        (123456.0, 9000.0, "123500"),
        (-0.04, 1.7, "0.0"),
        (0.00012345, 0.0000091, "0.0001234"),
        (3.14159265, 0.0, "3.14159"),
        (3.14159265, float("nan"), "3.14159"),
        (float("nan"), 1.0, "unknown"),
        (1.23456e-12, 2e-13, "1.23e-12"),
        (1.23456e15, 2e13, "1.235e+15"),
    ],
)
def test_numbers_are_rounded_to_their_uncertainty(value, width, text):
    assert rounded(value, width) == text


@given(st.floats(-1e9, 1e9), st.floats(1e-6, 1e9))
def test_rounding_moves_a_number_by_less_than_a_tenth_of_its_width(value, width):
    assert abs(float(rounded(value, width)) - value) <= 0.051 * width + 1e-12 * abs(value)
    assert not rounded(value, width).startswith("-0.0") or float(rounded(value, width)) != 0


def test_a_point_gets_one_digit_more_than_its_interval():
    assert rounded(18.4237, 1.7, extra=1) == "18.42"
    assert interval_text((17.5912, 19.3044)) == "17.6 to 19.3"
    assert interval_text(None) == "not among the levels"


def test_a_summary_holds_the_numbers_of_the_result():
    result = small_result(horizon=30)
    summary = summarise(result)
    assert summary.point == result.forecast.point[-1]
    low, high = result.forecast.interval(0.8)
    assert summary.interval_80 == (low[-1], high[-1])
    assert summary.last_date == str(result.forecast.dates[-1].astype("datetime64[D]"))
    assert sum(weight for _, weight in summary.weights) == pytest.approx(1.0)
    assert summary.status == "published" and summary.kappa == result.decision.kappa
    expected = 1 - result.score("ensemble", "rmse") / result.score("random_walk", "rmse")
    assert summary.skill == pytest.approx(expected)
    assert summary.sentence.startswith(f"usd_mxn, 30 sessions to {summary.last_date}: ")
    assert dict(summary.rows)["95 % interval"] == summary.interval_95_text
    assert "cutoffs worth" in summary.verdict


def test_without_replayed_decisions_the_skill_is_not_yet_known():
    summary = summarise(small_result(horizon=7, sessions=34))
    assert summary.skill is None and summary.verdict == NOT_YET_KNOWN
    assert summary.skill_text == NOT_YET_KNOWN
    assert summary.status == "degraded" and "too few" in dict(summary.rows)["status"]


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(min_value=0, allow_infinity=False))
def test_rounding_never_fails(value, width):
    assert math.isfinite(float(rounded(value, width)))
    assert np.sign(float(rounded(value, width))) in (0.0, np.sign(value))


def test_the_ensemble_has_the_engines_name():
    from horizoncast import engine
    from horizoncast.report import summary

    assert summary.ENSEMBLE == engine.ENSEMBLE
