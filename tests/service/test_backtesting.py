"""Backtests: own slices, no leak, the file others score us with."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from horizoncast.data.load import load_series
from horizoncast.data.target_file import read_target
from horizoncast.ensemble.weights import RULE_NAMES
from horizoncast.errors import ConfigError, DataError, StoreError
from horizoncast.horizon import LEVELS
from horizoncast.metrics import Metric
from horizoncast.series import Series
from horizoncast.service.backtesting import SHIPPED, BacktestResult, Span, run_backtest, write_bank
from horizoncast.service.settings import Settings, load_settings
from small_target import NAIVES_ONLY, write_target


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder, and so one cache of bank rows, for the module: rows are keyed by the data."""
    folder = tmp_path_factory.mktemp("backtest")
    write_target(folder, sessions=500)
    return folder


@pytest.fixture(scope="module")
def settings(root: Path) -> Settings:
    overrides = {**NAIVES_ONLY, "target": "toy.toml"}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


@pytest.fixture(scope="module")
def series(root: Path) -> Series:
    return load_series(read_target(root / "toy.toml")).series


def span(first: str | None = None, last: str | None = None, stride: int | None = None) -> Span:
    day = {k: None if v is None else np.datetime64(v, "s") for k, v in (("first", first), ("last", last))}
    return Span(stride=stride, **day)


@pytest.fixture(scope="module")
def result(settings: Settings, series: Series) -> BacktestResult:
    return run_backtest(settings, series, span("2023-08-01", "2023-10-31"))


def test_cutoffs_lie_in_the_span_and_have_matured(result: BacktestResult, series: Series) -> None:
    cutoffs = result.bank.cutoffs
    assert cutoffs[0] >= np.datetime64("2023-08-01") > cutoffs[0] - np.timedelta64(8, "D")
    assert np.datetime64("2023-10-24") < cutoffs[-1] <= np.datetime64("2023-10-31")
    assert np.isfinite(result.bank.actuals).all()
    assert result.bank.ends[-1] <= series.last


def test_subjects_are_members_rules_and_shipped(result: BacktestResult) -> None:
    assert list(result.subjects) == ["random_walk", *RULE_NAMES, SHIPPED]
    shape = (result.bank.windows, 7, len(LEVELS))
    assert all(q.shape == shape and np.isfinite(q).all() for q in result.subjects.values())
    walk = next(s for s in result.scores if s.subject == "random_walk")
    assert set(walk.ratios.values()) == {1.0}


def test_each_decision_has_its_own_slice(settings: Settings, series: Series, result: BacktestResult) -> None:
    """The shipped forecast at a cutoff is what a run at that time would have decided."""
    cutoff = result.bank.cutoffs[3]
    past = run_backtest(settings, series.truncated(_end(series, cutoff)), span(str(cutoff), str(cutoff)))
    assert past.bank.cutoffs.tolist() == [cutoff]
    for name, quantiles in past.subjects.items():
        np.testing.assert_array_equal(quantiles[0], result.subjects[name][3], err_msg=name)


def test_no_leak_from_later_observations(settings: Settings, series: Series, result: BacktestResult) -> None:
    """Values after the first scored cutoff times 1000 leave its forecasts bit-identical."""
    at = series.index_of(result.bank.cutoffs[0])
    values = series.values.copy()
    values[at + 1 :] *= 1000.0
    changed = Series(
        name=series.name, unit=series.unit, calendar=series.calendar, dates=series.dates,
        values=values, scale=series.scale, periods=series.periods,
    )  # fmt: skip
    other = run_backtest(settings, changed, span("2023-08-01", "2023-10-31"))
    for name, quantiles in other.subjects.items():
        np.testing.assert_array_equal(quantiles[0], result.subjects[name][0], err_msg=name)


def test_without_dates_it_begins_with_a_full_slice(settings: Settings, series: Series) -> None:
    result = run_backtest(settings, series, span())
    first = result.bank.cutoffs[0]
    ahead = [c for c in _grid(series) if c < first]
    assert len(ahead) >= settings.decision.newest


def test_stride_one(settings: Settings, series: Series) -> None:
    result = run_backtest(settings, series, span("2023-10-02", "2023-10-06", 1))
    assert result.stride == 1
    assert len(result.bank.cutoffs) == 5


def test_bank_file_scores_like_the_result(result: BacktestResult, tmp_path: Path) -> None:
    """Somebody else's code, from the file alone, finds the same RMSE and coverage."""
    path = tmp_path / "deep" / "bank.parquet"
    rows = write_bank(path, result)
    table = pd.read_parquet(path)
    columns = ["subject", "cutoff", "step", "date", "actual", *(f"q{level:g}" for level in LEVELS)]
    assert list(table.columns) == columns
    assert len(table) == rows == len(result.subjects) * result.bank.windows * 7
    for score in result.scores:
        mine = table[table.subject == score.subject]
        rmse = float(np.sqrt(((mine["q0.5"] - mine.actual) ** 2).mean()))
        inside = float(((mine["q0.1"] <= mine.actual) & (mine.actual <= mine["q0.9"])).mean())
        assert rmse == pytest.approx(score.values[Metric.RMSE])
        assert inside == pytest.approx(score.values[Metric.COVERAGE_80])
    assert (table.date > table.cutoff).all()
    quantiles = table[columns[5:]].to_numpy()
    assert (np.diff(quantiles, axis=1) >= 0).all()


def test_bank_file_actuals_are_the_series(result: BacktestResult, series: Series, tmp_path: Path) -> None:
    write_bank(tmp_path / "b.parquet", result)
    table = pd.read_parquet(tmp_path / "b.parquet")
    known = dict(zip(series.dates, series.values, strict=True))
    expected = [known[np.datetime64(date, "s")] for date in table.date]
    np.testing.assert_allclose(table.actual, expected, rtol=1e-12)


def test_a_bank_that_cannot_be_written_is_a_store_error(result: BacktestResult, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError):
        write_bank(tmp_path / "file" / "b.parquet", result)


def test_live_cache_is_left_alone(settings: Settings, series: Series, result: BacktestResult) -> None:
    assert [p.name for p in settings.cache_folder.iterdir()] == ["backtest"]


@pytest.mark.parametrize("dates", [("2031-01-01", None), (None, "2000-01-01"), ("2023-10-03", "2023-10-03")])
def test_an_empty_span_is_a_data_error(
    settings: Settings, series: Series, dates: tuple[str | None, str | None]
) -> None:
    with pytest.raises(DataError, match="no matured cutoff"):
        run_backtest(settings, series, span(*dates))


def test_a_span_before_any_slice_is_a_data_error(settings: Settings, series: Series) -> None:
    first = str(_grid(series)[2])
    with pytest.raises(DataError, match="matured ones before"):
        run_backtest(settings, series, span(first, first))


def test_impossible_spans_are_config_errors() -> None:
    with pytest.raises(ConfigError):
        span("2024-01-02", "2024-01-01")
    with pytest.raises(ConfigError):
        span(stride=0)


def _grid(series: Series) -> list[np.datetime64]:
    from horizoncast.horizon import Horizon
    from horizoncast.validation.splitter import matured_rows, minimum_training

    horizon = Horizon(steps=7)
    return list(series.dates[matured_rows(series, horizon, 5, minimum_training(series, horizon))])


def _end(series: Series, cutoff: np.datetime64) -> np.datetime64:
    """Where the series must end for the cutoff to have just matured."""
    return np.datetime64(series.session_dates(cutoff, 8)[-1], "s")
