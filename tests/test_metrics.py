import warnings

import numpy as np
import pytest

from horizoncast import metrics
from horizoncast.errors import BankError
from horizoncast.metrics import Metric, Sample, Score, require_comparable

NAN = np.nan
LEVELS = (0.1, 0.5, 0.9)
ACTUAL = np.array([[1.0, 2.0, NAN], [4.0, NAN, 6.0]])
POINT = np.array([[2.0, NAN, 3.0], [4.0, 5.0, 4.0]])  # known cells: errors 1, 0, 2
NOTHING = np.full((2, 3), NAN)
QUANTILES = POINT[..., None] + np.array([-1.0, 0.0, 1.0])


@pytest.fixture(autouse=True)
def no_warnings():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# by hand


def test_point_scores_leave_unknown_cells_out():
    assert metrics.rmse(ACTUAL, POINT) == pytest.approx(np.sqrt(5 / 3))
    assert metrics.mae(ACTUAL, POINT) == pytest.approx(1.0)
    assert metrics.mape(ACTUAL, POINT) == pytest.approx((1 + 0 + 2 / 6) / 3)


def test_path_rmse_divides_errors_by_the_root_of_the_lead():
    leads = (1, 4, 9)
    error = np.sqrt(np.array(leads, dtype=float)) * np.ones((5, 3))
    assert metrics.path_rmse(error, np.zeros((5, 3)), leads) == pytest.approx(1.0)
    assert metrics.path_rmse(ACTUAL, POINT, leads) == pytest.approx(np.sqrt((1 + 0 + 4 / 9) / 3))


def test_quantile_scores_leave_cells_out_whole():
    # pinball by hand; cell errors y - q: (0, -1, -2), (1, 0, -1), (3, 2, 1)
    losses = np.array([[0.0, 0.5, 0.2], [0.1, 0.0, 0.1], [0.3, 1.0, 0.9]])
    assert metrics.quantile_loss(ACTUAL, QUANTILES, LEVELS) == pytest.approx(2 * losses.mean())
    wql = 2 * losses.mean(axis=1).sum() / (1 + 4 + 6)
    assert metrics.weighted_quantile_loss(ACTUAL, QUANTILES, LEVELS) == pytest.approx(wql)
    widths = np.array([0.3, 0.4, 0.3])
    assert metrics.crps_quantile(ACTUAL, QUANTILES, LEVELS) == pytest.approx(2 * (losses @ widths).mean())


def test_a_cell_with_one_missing_quantile_is_left_out():
    holed = QUANTILES.copy()
    holed[1, 2, 0] = NAN
    whole = QUANTILES.copy()
    whole[1, 2] = NAN
    for score in (metrics.quantile_loss, metrics.weighted_quantile_loss, metrics.crps_quantile):
        assert score(ACTUAL, holed, LEVELS) == score(ACTUAL, whole, LEVELS)


def test_interval_scores_by_hand():
    low, high = POINT - 1.0, POINT + 1.0  # the outcome 6 lies 1 above, 1 sits on the lower end
    assert metrics.interval_score(ACTUAL, low, high, 0.8) == pytest.approx(2 + (2 / 0.2) * 1 / 3)
    assert metrics.coverage(ACTUAL, low, high) == pytest.approx(2 / 3)


def test_direction_counts_cells_that_moved_and_said_so():
    origin = np.array([[1.0], [1.0]])
    actual = np.array([[2.0, 0.0, 1.0, NAN], [2.0, 2.0, 2.0, 2.0]])
    point = np.array([[3.0, 2.0, 5.0, 2.0], [0.0, 1.0, NAN, 4.0]])
    assert metrics.directional_accuracy(actual, point, origin) == pytest.approx(2 / 4)
    assert np.isnan(metrics.directional_accuracy(actual, np.ones((2, 4)), origin))
    assert np.isnan(metrics.directional_accuracy(actual, point, np.full((2, 1), NAN)))


def test_mase_scales_by_the_naive_of_the_history():
    history = np.array([1.0, 3.0, 2.0, 4.0])
    assert metrics.mase(ACTUAL, POINT, history) == pytest.approx(1.0 / (5 / 3))
    assert metrics.mase(ACTUAL, POINT, history, period=2) == pytest.approx(1.0 / 1.0)


def test_skill_is_zero_for_the_naive_itself():
    assert metrics.skill(2.0, 2.0) == 0.0
    assert metrics.skill(1.0, 2.0) == 0.5
    assert metrics.skill(3.0, 2.0) < 0.0


# zero denominators and no cells


@pytest.mark.parametrize(
    "score",
    [
        lambda: metrics.rmse(NOTHING, POINT),
        lambda: metrics.mae(NOTHING, POINT),
        lambda: metrics.mape(NOTHING, POINT),
        lambda: metrics.path_rmse(NOTHING, POINT, (1, 2, 3)),
        lambda: metrics.mase(NOTHING, POINT, np.arange(5.0)),
        lambda: metrics.quantile_loss(NOTHING, QUANTILES, LEVELS),
        lambda: metrics.weighted_quantile_loss(NOTHING, QUANTILES, LEVELS),
        lambda: metrics.crps_quantile(NOTHING, QUANTILES, LEVELS),
        lambda: metrics.interval_score(NOTHING, POINT, POINT, 0.8),
        lambda: metrics.coverage(NOTHING, POINT, POINT),
        lambda: metrics.directional_accuracy(NOTHING, POINT, np.ones((2, 1))),
        lambda: metrics.rmse(np.empty(0), np.empty(0)),
        lambda: metrics.weighted_quantile_loss(np.zeros(3), np.ones((3, 3)), LEVELS),
        lambda: metrics.mape(np.array([0.0, 1.0]), np.ones(2)),
        lambda: metrics.mase(np.ones(2), np.ones(2), np.full(9, 3.0)),
        lambda: metrics.mase(np.ones(2), np.ones(2), np.ones(3), period=7),
        lambda: metrics.skill(1.0, 0.0),
        lambda: metrics.skill(1.0, NAN),
    ],
)
def test_a_score_of_nothing_is_nan_and_silent(score):
    value = score()
    assert isinstance(value, float)
    assert np.isnan(value)


def test_arguments_are_left_alone():
    actual, point, quantiles = ACTUAL.copy(), POINT.copy(), QUANTILES.copy()
    for array in (actual, point, quantiles):
        array.setflags(write=False)
    metrics.rmse(actual, point)
    metrics.crps_quantile(actual, quantiles, LEVELS)
    metrics.interval_score(actual, point, point, 0.9)
    metrics.mape(actual, point)


# comparability


def score(**changes) -> Score:
    values = {
        "subject": "var", "metric": Metric.RMSE, "value": 1.0, "unit": "CLP per USD",
        "sample": Sample.PSEUDO_OUT_OF_SAMPLE, "leads": (1, 2, 3), "windows": 40, "n_eff": 28.0,
    }  # fmt: skip
    return Score(**{**values, **changes})


def test_like_scores_compare():
    require_comparable([score(), score(subject="arima_garch", value=2.0)])
    require_comparable([])


def test_inverse_rmse_over_mixed_units_is_refused():
    """Regression: a price-unit model could never reach 1 % weight beside return-unit ones."""
    with pytest.raises(BankError, match="unit"):
        require_comparable([score(), score(unit="log of CLP per USD", value=0.006)])


@pytest.mark.parametrize(
    "scores", [[score(sample=Sample.IN_SAMPLE)], [score(), score(sample=Sample.IN_SAMPLE)]]
)
def test_in_sample_errors_are_never_called_validation(scores):
    """Regression: "in-sample errors called validation"."""
    with pytest.raises(BankError, match="in-sample"):
        require_comparable(scores)


def test_recent_origins_are_not_compared_with_older_ones_that_had_longer_leads():
    """Regression: recent cutoffs have only matured at short leads, where every error is smaller."""
    with pytest.raises(BankError, match="leads"):
        require_comparable([score(leads=(1, 2)), score(leads=(1, 2, 3))])


@pytest.mark.parametrize("changes", [{"windows": 39}, {"metric": Metric.MAE}])
def test_other_windows_or_metrics_are_refused(changes):
    with pytest.raises(BankError, match=next(iter(changes))):
        require_comparable([score(), score(**changes)])


def test_live_and_replayed_scores_are_not_mixed():
    """Both are out-of-sample, but they are other forecasts at other times."""
    with pytest.raises(BankError, match="sample"):
        require_comparable([score(), score(sample=Sample.LIVE)])
