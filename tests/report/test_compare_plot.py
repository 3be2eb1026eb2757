"""The chart of a comparison and the figure of its own that it draws."""

import numpy as np
import pytest

from horizoncast.report.compare_plot import compare_chart, cumulative_gain
from small_runs import small_result


def test_the_gain_ends_at_the_saving_in_all() -> None:
    a, b = np.random.default_rng(1).uniform(0.5, 1.5, size=(2, 30))
    gain = cumulative_gain((a, b))
    assert gain[-1] == pytest.approx(1.0 - b.mean() / a.mean())
    assert gain[0] == pytest.approx((a[0] - b[0]) / a.sum())
    assert np.isnan(cumulative_gain((np.zeros(3), np.zeros(3)))).all()


@pytest.mark.parametrize("windows", [1, 3, 40])
def test_chart_is_a_png_and_the_same_every_time(windows: int) -> None:
    bank = small_result().bank
    bank = bank.pick(np.arange(bank.windows) < windows)
    rows = (bank.quantiles[0], bank.quantiles[1])
    losses = (np.ones(bank.windows), np.linspace(0.5, 1.2, bank.windows))
    names = (bank.members[0], bank.members[1])
    charts = [compare_chart(bank, names, rows, losses, "title", width=640) for _ in range(2)]
    assert charts[0][:8] == b"\x89PNG\r\n\x1a\n"
    assert charts[0] == charts[1]
    assert charts[0] != compare_chart(bank, names, rows, losses[::-1], "title", width=640)
