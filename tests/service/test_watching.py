"""Drift alarms of a run reach people as events, and only while they are new."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.series import Series
from horizoncast.service.scoring import score_live
from horizoncast.service.watching import drift_events, live_residuals
from horizoncast.store.ledger.ledger import Ledger
from live_runs import SERVICE, publish_at
from small_runs import small_series


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.at(tmp_path)


def prices(sessions: int, break_at: int | None = None, seed: int = 7) -> Series:
    """A random walk in logs whose volatility doubles at a session."""
    plain = small_series(sessions=sessions)
    steps = 0.006 * np.random.default_rng(seed).standard_normal(sessions)
    if break_at is not None:
        steps[break_at:] *= 2.5
    return replace(plain, values=18.0 * np.exp(np.cumsum(steps)))


def watched_from(sessions: int) -> int:
    """Row at which the watched year begins."""
    ordinals = small_series(sessions=sessions).ordinals
    return int(np.searchsorted(ordinals, (int(ordinals[-1]) // 252) * 252))


def test_a_break_of_volatility_is_told_while_it_is_new(ledger: Ledger) -> None:
    begin = watched_from(900)
    assert 900 - begin > 70
    found = drift_events(ledger, SERVICE, prices(begin + 40, begin + 10))
    assert [event.code for event in found] == ["drift_variance"]
    assert "changes of usd_mxn vary more" in found[0].message
    later = [e.code for e in drift_events(ledger, SERVICE, prices(begin + 70, begin + 10))]
    assert "drift_variance" not in later


def test_quiet_prices_tell_nothing(ledger: Ledger) -> None:
    assert drift_events(ledger, SERVICE, prices(900)) == ()


def test_too_short_a_history_tells_nothing(ledger: Ledger) -> None:
    assert drift_events(ledger, SERVICE, prices(200, 150)) == ()


def test_live_residuals_are_normal_scores_of_one_step_forecasts(ledger: Ledger, tmp_path: Path) -> None:
    publish_at(ledger, tmp_path, (381, 386, 391))
    series = small_series()
    score_live(ledger, SERVICE, series)
    values, ordinals = live_residuals(ledger, SERVICE, series)
    assert len(values) == 3
    np.testing.assert_array_equal(ordinals, series.ordinals[[381, 386, 391]])
    moves = np.diff(np.log(series.values))[[381, 386, 391]]
    assert (np.sign(values) == np.sign(moves)).all()
