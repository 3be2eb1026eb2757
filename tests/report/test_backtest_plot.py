"""The chart of a backtest and the figures it draws."""

import numpy as np
import pytest

from horizoncast.report.backtest_plot import SHIPPED, backtest_chart, coverage_by_lead, rmse_by_lead
from small_runs import small_result


def test_figures_against_a_plain_loop() -> None:
    bank = small_result().bank
    quantiles = bank.quantiles[0]
    middle, low, high = (bank.level_index(level) for level in (0.5, 0.1, 0.9))
    for step in range(bank.horizon.steps):
        actual = bank.actuals[:, step]
        error = quantiles[:, step, middle] - actual
        inside = (quantiles[:, step, low] <= actual) & (actual <= quantiles[:, step, high])
        assert rmse_by_lead(quantiles, bank)[step] == pytest.approx(np.sqrt((error**2).mean()))
        assert coverage_by_lead(quantiles, bank, 0.8)[step] == pytest.approx(inside.mean())


def test_missing_forecasts_are_left_out() -> None:
    bank = small_result().bank
    quantiles = bank.quantiles[0].copy()
    quantiles[::2] = np.nan
    kept = bank.pick(np.arange(bank.windows) % 2 == 1)
    expected = rmse_by_lead(bank.quantiles[0][1::2], kept)
    np.testing.assert_allclose(rmse_by_lead(quantiles, bank), expected)
    assert np.isnan(rmse_by_lead(np.full_like(quantiles, np.nan), bank)).all()
    assert np.isnan(coverage_by_lead(np.full_like(quantiles, np.nan), bank, 0.8)).all()


def test_chart_is_a_png_and_the_same_every_time() -> None:
    bank = small_result().bank
    subjects = {name: bank.quantiles[k] for k, name in enumerate(bank.members)}
    subjects[SHIPPED] = bank.quantiles[0]
    charts = [backtest_chart(bank, subjects, bank.members[0], "title", width=640) for _ in range(2)]
    assert charts[0][:8] == b"\x89PNG\r\n\x1a\n"
    assert charts[0] == charts[1]
