"""Christoffersen's tests against published tables and other software, and errors under overlap."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, chi2, chi2_contingency

from horizoncast.errors import BankError
from horizoncast.validation.coverage import christoffersen, coverage_with_error, thinned

KUPIEC = [
    (255, 0.05, 7, 20),
    (255, 0.01, 1, 6),
    (510, 0.01, 2, 10),
    (510, 0.05, 17, 35),
    (1000, 0.05, 38, 64),
    (1000, 0.01, 5, 16),
    (1000, 0.10, 82, 119),
]
"""Days, miss rate, fewest and most misses that are not rejected at 5 %: Kupiec (1995, table 3)."""


def outcomes(n: int, misses: int) -> np.ndarray:
    hits = np.ones(n, dtype=bool)
    hits[np.linspace(0, n - 1, misses).round().astype(int)] = False
    return hits


@pytest.mark.parametrize(("n", "rate", "fewest", "most"), KUPIEC)
def test_the_bounds_of_kupiecs_table(n: int, rate: float, fewest: int, most: int) -> None:
    cut = chi2.ppf(0.95, 1)
    accepted = [x for x in range(1, n // 4) if christoffersen(outcomes(n, x), 1 - rate).unconditional < cut]
    assert (accepted[0], accepted[-1]) == (fewest, most)


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=30, max_size=200))
def test_independence_is_the_g_test_of_the_transition_table(hits: list[bool]) -> None:
    """scipy's log-likelihood-ratio test of a 2 x 2 table is the same statistic."""
    miss = ~np.array(hits)
    table = [[int(((miss[:-1] == i) & (miss[1:] == j)).sum()) for j in (0, 1)] for i in (0, 1)]
    found = christoffersen(np.array(hits), 0.8)
    if min(np.sum(table, axis=0).min(), np.sum(table, axis=1).min()) == 0:
        assert found.independence == pytest.approx(0.0, abs=1e-9)
        return
    want = chi2_contingency(table, correction=False, lambda_="log-likelihood")
    assert found.independence == pytest.approx(want.statistic, abs=1e-9)
    assert found.p_independence == pytest.approx(want.pvalue)


def test_both_together_have_two_degrees_of_freedom() -> None:
    hits = np.random.default_rng(3).random(120) < 0.7
    found = christoffersen(hits, 0.8)
    assert found.conditional == pytest.approx(found.unconditional + found.independence)
    assert found.p_conditional == pytest.approx(chi2.sf(found.conditional, 2))
    assert found.p_unconditional == pytest.approx(chi2.sf(found.unconditional, 1))


def test_clustered_misses_of_the_right_number_are_found() -> None:
    """Unconditional coverage cannot see them: 20 misses in 100, all in one run."""
    hits = np.ones(100, dtype=bool)
    hits[40:60] = False
    found = christoffersen(hits, 0.8)
    assert found.p_unconditional > 0.99
    assert found.p_independence < 1e-6


def test_no_outcome_no_statistic() -> None:
    found = christoffersen(np.array([], dtype=bool), 0.8)
    assert found.windows == 0
    assert np.isnan([found.observed, found.unconditional, found.p_conditional]).all()


@pytest.mark.parametrize("expected", [0.0, 1.0, 80.0])
def test_a_coverage_is_a_share(expected: float) -> None:
    with pytest.raises(BankError, match="between 0 and 1"):
        christoffersen(np.ones(10, dtype=bool), expected)


def test_the_size_of_the_tests_on_independent_outcomes() -> None:
    """Share of rejections at 5 % on 2,000 true nulls of 100 outcomes, inside the binomial band."""
    rng = np.random.default_rng(5)
    found = [christoffersen(rng.random(100) < 0.8, 0.8) for _ in range(2000)]
    rejected = sum(f.p_conditional < 0.05 for f in found)
    assert rejected <= binom.ppf(0.999, 2000, 0.08)  # small samples reject a little too often
    assert rejected >= binom.ppf(0.001, 2000, 0.03)


def test_the_error_without_overlap_is_the_usual_one() -> None:
    hits = (np.random.default_rng(0).random(200) < 0.8).astype(float)
    found = coverage_with_error(hits, steps=5, spacing=5)
    assert found.error == pytest.approx(hits.std(ddof=1) / np.sqrt(200))
    assert found.n_eff == 200


def test_overlap_widens_the_error_to_about_what_it_really_is() -> None:
    """Sums over 30 sessions, a cutoff every 5: the naive error is less than half of the true one."""
    rng = np.random.default_rng(2)
    means, errors, naive = [], [], []
    for _ in range(300):
        walk = np.cumsum(rng.standard_normal(5 * 120 + 31))
        move = (walk[30:] - walk[:-30])[::5][:120] / np.sqrt(30)
        hits = (np.abs(move) < 1.2816).astype(float)
        found = coverage_with_error(hits, steps=30, spacing=5)
        means.append(found.value)
        errors.append(found.error)
        naive.append(hits.std(ddof=1) / np.sqrt(len(hits)))
    truth = np.std(means)
    assert 0.7 * truth < np.mean(errors) < 1.1 * truth
    assert np.mean(naive) < 0.65 * truth
    assert found.n_eff == pytest.approx(20.0)


def test_few_windows_cannot_be_told() -> None:
    hits = np.ones(40)
    assert not coverage_with_error(hits, steps=30, spacing=5).can_be_told
    assert np.isnan(coverage_with_error(hits[:2], steps=5, spacing=5).error)


def test_thinning_keeps_the_newest_and_nothing_that_overlaps() -> None:
    ordinals = np.array([0, 4, 9, 15, 22, 23])
    kept = ordinals[thinned(ordinals, 7)]
    assert kept[-1] == 23
    assert (np.diff(kept) >= 7).all()
    assert len(thinned(np.array([], dtype=np.int64), 5)) == 0
