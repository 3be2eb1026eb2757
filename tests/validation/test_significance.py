"""Diebold-Mariano against other software, its size, and verdicts that do not overstate."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student

from horizoncast.validation.significance import VerdictCode, compare, diebold_mariano, two_sided


def losses(n: int = 60, seed: int = 0, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.random.default_rng(seed).standard_normal((2, n)) ** 2
    return a, b + shift


def test_without_overlap_it_is_a_t_test_of_the_mean_difference() -> None:
    """h = 1: Harvey's correction turns the statistic into mean / (s / sqrt(n)) with s over n - 1."""
    a, b = losses()
    d = a - b
    statistic, p = diebold_mariano(a, b, lags=0)
    want = d.mean() / (d.std(ddof=1) / np.sqrt(len(d)))
    assert statistic == pytest.approx(want)
    assert p == pytest.approx(2 * student.sf(abs(want), len(d) - 1))


def test_the_formula_of_harvey_leybourne_and_newbold_by_hand() -> None:
    """IJF 13 (1997), eq. 9, with h = 3 and the rectangular variance of eq. 5."""
    a, b = losses(40, 3)
    d, n, h = a - b, 40, 3
    gamma = [np.sum((d[k:] - d.mean()) * (d[: n - k] - d.mean())) / n for k in range(h)]
    variance = (gamma[0] + 2 * gamma[1] + 2 * gamma[2]) / n
    want = d.mean() / np.sqrt(variance) * np.sqrt((n + 1 - 2 * h + h * (h - 1) / n) / n)
    assert diebold_mariano(a, b, lags=2)[0] == pytest.approx(want)


@pytest.mark.parametrize("lags", [0, 1, 5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_against_statsmodels_with_bartlett_weights(lags: int, seed: int) -> None:
    from statsmodels.tsa.stattools import diebold_mariano_test

    a, b = losses(60, seed)
    zero = np.zeros(60)
    ours = diebold_mariano(a, b, lags=lags, kernel="bartlett")
    # squared errors against zero outcomes are the losses themselves
    theirs = diebold_mariano_test(zero, np.sqrt(a), np.sqrt(b), horizon=lags + 1, lags=lags, harvey_adj=True)
    assert ours[0] == pytest.approx(float(theirs.statistic), rel=1e-9)
    assert ours[1] == pytest.approx(float(theirs.pvalue), rel=1e-9)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_or_identical_losses_have_no_statistic(n: int) -> None:
    assert np.isnan(diebold_mariano(np.arange(n * 1.0), np.zeros(n), lags=1)).all()
    assert np.isnan(diebold_mariano(np.ones(30), np.ones(30), lags=1)).all()


@given(st.integers(3, 40), st.integers(0, 60), st.integers(0, 1000))
def test_the_statistic_is_finite_and_antisymmetric(n: int, lags: int, seed: int) -> None:
    a, b = losses(n, seed)
    one, other = diebold_mariano(a, b, lags=lags), diebold_mariano(b, a, lags=lags)
    assert np.isfinite(one).all()
    assert 0.0 <= one[1] <= 1.0
    assert other == pytest.approx((-one[0], one[1]))


def test_the_size_without_overlap() -> None:
    """1,000 true nulls at 5 %: inside the 99 % binomial band."""
    rejected = sum(diebold_mariano(*losses(60, seed), lags=0)[1] < 0.05 for seed in range(1000))
    assert 33 <= rejected <= 68


def test_a_clear_difference_is_found_and_signed() -> None:
    a, b = losses(200)
    verdict = compare("ours", "random_walk", a, b + 1.0, steps=5, stride=5)
    assert verdict.code is VerdictCode.BETTER
    assert verdict.statistic < 0
    assert "better than random_walk" in verdict.text
    assert compare("ours", "random_walk", b + 1.0, a, steps=5, stride=5).code is VerdictCode.WORSE
    assert compare("ours", "random_walk", a, b, steps=5, stride=5).code is VerdictCode.NO_DIFFERENT


def test_below_twenty_independent_windows_nothing_can_be_told() -> None:
    a, b = losses(40)
    verdict = compare("ours", "random_walk", a, b + 9.0, steps=30, stride=5)
    assert verdict.n_eff == pytest.approx(40 / 6)
    assert verdict.p_value < 0.05
    assert verdict.code is VerdictCode.CANNOT_BE_TOLD
    assert "40 cutoffs worth 6.7" in verdict.text
    enough = compare("ours", "random_walk", *losses(20, shift=9.0), steps=5, stride=5)
    assert enough.code is VerdictCode.BETTER


def test_cutoffs_that_one_of_them_missed_are_left_out() -> None:
    a, b = losses(30)
    gappy = a.copy()
    gappy[[3, 7]] = np.nan
    verdict = compare("ours", "random_walk", gappy, b, steps=1, stride=1)
    assert verdict.windows == 28
    keep = np.isfinite(gappy)
    assert verdict.statistic == diebold_mariano(a[keep], b[keep], lags=0)[0]


def test_the_order_of_overlap_is_the_neighbours_a_window_overlaps_with() -> None:
    a, b = losses(50)
    for steps, stride, lags in [(7, 5, 1), (5, 5, 0), (30, 5, 5), (90, 10, 8), (4, 5, 0)]:
        verdict = compare("ours", "random_walk", a, b, steps=steps, stride=stride)
        assert verdict.statistic == diebold_mariano(a, b, lags=lags)[0]


@given(st.floats(-60, 60), st.integers(1, 2000))
def test_the_p_value_is_that_of_scipy(statistic: float, freedom: int) -> None:
    want = 2 * student.sf(abs(statistic), freedom)
    assert two_sided(statistic, freedom) == pytest.approx(want, rel=1e-9, abs=1e-300)
