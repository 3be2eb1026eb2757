"""Live scores: by date, against the naive of the same cutoff, on the same leads, with honest errors."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from horizoncast import metrics
from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.errors import BankError
from horizoncast.horizon import DECILES, LEVELS
from horizoncast.series import Series
from horizoncast.validation.live import (
    LiveTable,
    compare_periods,
    probability_of,
    running,
    score_leads,
    skill_with_error,
)

FIRST = np.datetime64("2024-01-01T00:00:00")  # a Monday
DAY = np.timedelta64(86400, "s")


def weekdays(values: list[float]) -> Series:
    calendar = Calendar(kind=CalendarKind.BUSINESS)
    dates = calendar.sessions(FIRST, FIRST + 3 * len(values) * DAY)[: len(values)]
    return Series(name="fx", unit="CLP per USD", calendar=calendar, dates=dates, values=np.array(values))


def gaussian(centre: np.ndarray, sigma: float) -> np.ndarray:
    return centre[:, None] + sigma * norm.ppf(LEVELS)


def test_a_sunday_is_never_scored_against_fridays_value() -> None:
    """An earlier system looked up the last value at or before the target's date."""
    series = weekdays([100.0 + i for i in range(10)])
    friday, saturday, sunday, monday = (FIRST + (4 + i) * DAY for i in range(4))
    dates = np.array([friday, saturday, sunday, monday])
    found = score_leads(series, dates, LEVELS, gaussian(np.full(4, 104.0), 1.0))
    np.testing.assert_array_equal(found.actual, [104.0, np.nan, np.nan, 105.0])
    for name in ("error", "loss", "pit", "covered_80", "covered_95"):
        assert np.isnan(getattr(found, name)[1:3]).all(), name
        assert np.isfinite(getattr(found, name)[[0, 3]]).all(), name


def test_filled_sessions_and_dates_to_come_have_no_outcome() -> None:
    series = weekdays([1.0, 2.0, 3.0])
    filled = replace(series, observed=np.array([True, False, True]))
    dates = np.array([series.dates[1], series.dates[2], series.dates[2] + 7 * DAY])
    found = score_leads(filled, dates, LEVELS, gaussian(np.ones(3), 1.0))
    np.testing.assert_array_equal(found.actual, [np.nan, 3.0, np.nan])


def test_scores_are_those_of_the_metrics() -> None:
    series = weekdays([float(v) for v in np.random.default_rng(0).normal(100, 2, 8)])
    quantiles = gaussian(np.linspace(98, 102, 8), 1.5)
    found = score_leads(series, series.dates, LEVELS, quantiles)
    at = [LEVELS.index(level) for level in DECILES]
    assert found.loss.mean() == pytest.approx(metrics.quantile_loss(series.values, quantiles[:, at], DECILES))
    low, high = quantiles[:, LEVELS.index(0.025)], quantiles[:, LEVELS.index(0.975)]
    assert found.covered_95.mean() == pytest.approx(metrics.coverage(series.values, low, high))
    np.testing.assert_allclose(found.error, np.linspace(98, 102, 8) - series.values)


def test_levels_must_hold_the_deciles() -> None:
    with pytest.raises(BankError, match="deciles"):
        score_leads(weekdays([1.0, 2.0]), np.array([FIRST]), (0.1, 0.5, 0.9), np.ones((1, 3)))


@settings(deadline=None)
@given(st.floats(-6, 6), st.floats(0.01, 100), st.floats(-1e3, 1e3))
def test_the_pit_of_a_gaussian_is_its_distribution_function(z: float, sigma: float, mean: float) -> None:
    found = probability_of(np.array([mean + sigma * z]), LEVELS, gaussian(np.array([mean]), sigma))
    assert found[0] == pytest.approx(norm.cdf(z), abs=1e-4)


def test_the_pit_of_a_point_mass_is_the_middle_of_its_levels() -> None:
    zeros = np.zeros((3, len(LEVELS)))
    np.testing.assert_allclose(probability_of(np.array([0.0, 1.0, -1.0]), LEVELS, zeros), [0.5, 1.0, 0.0])


def table(loss: np.ndarray, naive: np.ndarray, *, spacing: int = 5, subject: str = "ensemble") -> LiveTable:
    ordinals = spacing * np.arange(len(loss))
    return LiveTable(
        subject=subject,
        cutoffs=FIRST + DAY * ordinals,
        ordinals=ordinals,
        matured=np.isfinite(loss[:, -1]),
        error=loss,
        scaled_error=loss,
        loss=loss,
        pit=np.where(np.isfinite(loss), 0.5, np.nan),
        covered_80=np.where(np.isfinite(loss), 1.0, np.nan),
        covered_95=np.where(np.isfinite(loss), 1.0, np.nan),
        naive_loss=naive,
        naive_scaled_error=naive,
    )


def ragged(cutoffs: int, steps: int, spacing: int) -> np.ndarray:
    """True where a cell has matured: the newest cutoffs at short leads only."""
    left = spacing * np.arange(cutoffs)[::-1]
    return np.arange(1, steps + 1)[None, :] <= left[:, None] + spacing


def test_recent_origins_are_not_compared_with_older_ones_that_had_longer_leads() -> None:
    """Losses grow with the lead and nothing changed: raw means call the present much better."""
    shape = (20, 30)
    growing = np.broadcast_to(np.sqrt(np.arange(1.0, 31.0)), shape)
    known = ragged(*shape, 5)
    loss = np.where(known, 0.9 * growing, np.nan)
    naive = np.where(known, growing, np.nan)
    found = table(loss, naive)
    since = found.cutoffs[-5]
    assert np.nanmean(loss[-5:]) < 0.8 * np.nanmean(loss[:-5])
    compared = compare_periods(found, since)
    assert compared.recent == pytest.approx(0.9)
    assert compared.earlier == pytest.approx(0.9)
    assert compared.leads == tuple(range(1, 16))


def test_the_loss_that_really_grew_is_seen_on_the_common_leads() -> None:
    shape = (20, 10)
    growing = np.broadcast_to(np.sqrt(np.arange(1.0, 11.0)), shape).copy()
    loss = growing.copy()
    loss[-6:] *= 1.5
    known = ragged(*shape, 5)
    found = table(np.where(known, loss, np.nan), np.where(known, growing, np.nan))
    compared = compare_periods(found, found.cutoffs[-6])
    assert compared.recent == pytest.approx(1.5)
    assert compared.earlier == pytest.approx(1.0)


def test_no_common_lead_no_comparison() -> None:
    found = table(np.ones((4, 3)), np.ones((4, 3)))
    compared = compare_periods(found, found.cutoffs[-1])
    assert compared.leads == ()
    assert np.isnan(compared.recent)


def test_the_headline_is_over_matured_cutoffs_and_paired_cells_only() -> None:
    loss, naive = np.full((30, 5), 0.5), np.ones((30, 5))
    loss[-1, 3:] = np.nan  # not matured: must not count in the headline
    loss[-1, :3] = 0.0
    naive[3] = np.nan  # the naive has no score here: the subject's own is left out
    loss[3] = 100.0
    headline, *by_lead = running(table(loss, naive))
    assert headline.skill.value == pytest.approx(0.5)
    assert headline.skill.windows == 28
    assert headline.leads == (1, 5)
    assert [r.leads for r in by_lead] == [(1, 1), (2, 2), (3, 3), (5, 5)]
    assert by_lead[0].skill.windows == 29


def test_figures_of_a_series_without_any_score_are_unknown() -> None:
    nothing = np.full((3, 4), np.nan)
    headline = running(table(nothing, nothing))[0]
    assert headline.skill.windows == 0
    assert np.isnan(headline.skill.value)
    assert not headline.skill.can_be_told
    assert sum(headline.pit) == 0.0


def test_the_error_of_the_skill_is_about_its_true_spread() -> None:
    """Losses correlated over six neighbours, as with 30 steps every 5 sessions."""
    rng = np.random.default_rng(4)
    values, errors = [], []
    for _ in range(300):
        shared = np.convolve(rng.gamma(2.0, size=126), np.ones(6) / 6, mode="valid")
        own = np.convolve(rng.gamma(2.0, size=126), np.ones(6) / 6, mode="valid")
        found = skill_with_error(0.8 * shared + 0.2 * own, shared, steps=30, spacing=5)
        values.append(found.value)
        errors.append(found.error)
    assert 0.7 * np.std(values) < np.mean(errors) < 1.15 * np.std(values)
    assert found.n_eff == pytest.approx(121 * 5 / 30)
    assert found.can_be_told
    assert not skill_with_error(np.ones(40), np.ones(40), steps=30, spacing=5).can_be_told
