from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from horizoncast.engine import EngineConfig, ForecastEngine
from horizoncast.errors import StoreError
from horizoncast.forecast import Failure
from horizoncast.report.provenance import digest_of_settings, git_commit, machine_type, package_versions
from horizoncast.report.record import run_record, validation_table
from horizoncast.store.records import ValidationTable
from small_runs import small_result, small_series

START = datetime(2024, 6, 29, 11, 0, tzinfo=UTC)


def test_the_validation_table_is_the_bank_in_the_unit():
    result = small_result(horizon=30)
    table = validation_table(result.series, result.bank, result.replay)
    assert table.subjects == (*result.bank.members, "ensemble")
    np.testing.assert_allclose(table.quantiles[:-1], np.exp(result.bank.quantiles))
    w = 3
    series, cutoff = result.series, table.cutoffs[w]
    at = series.index_of(cutoff)
    np.testing.assert_array_equal(table.dates[w], series.dates[at + 1 : at + 31])
    np.testing.assert_array_equal(table.actuals[w], series.values[at + 1 : at + 31])
    np.testing.assert_array_equal(np.flatnonzero(table.scored), result.replay.places)
    assert np.isfinite(table.quantiles[-1][table.scored]).all()
    assert np.isnan(table.quantiles[-1][~table.scored]).all()
    np.testing.assert_array_equal(table.asked[-1], table.scored)


def test_a_bank_without_cutoffs_gives_an_empty_table():
    result = small_result(horizon=30, sessions=34)
    table = validation_table(result.series, result.bank, result.replay)
    assert result.bank.windows == 0
    assert table.quantiles.shape == (3, 0, 30, 19)


def test_shapes_of_a_table_are_checked():
    result = small_result()
    table = validation_table(result.series, result.bank, result.replay)
    with pytest.raises(StoreError, match="shape of actuals"):
        replace(table, actuals=table.actuals[:, :-1])
    assert isinstance(table, ValidationTable)


def test_the_run_id_follows_data_and_settings():
    result = small_result()
    same = run_record(result, started=START)
    assert run_record(result, started=START).run_id == same.run_id
    other = run_record(result, started=START, settings={"a": 1})
    assert other.run_id != same.run_id
    assert other.provenance.config == {"a": 1}
    moved = run_record(result, started=START, as_of=np.datetime64("2024-06-28"))
    assert "-20240628-" in moved.run_id and moved.forecast.cutoff == result.series.last


def test_a_degraded_run_and_a_failed_member_leave_events():
    result = small_result()
    problem = Failure(member="var", cutoff=None, code="ChildError", reason="killed")
    outcome = replace(result.members[1], problems=(problem,))
    degraded = small_result(horizon=7, sessions=34)
    events = run_record(replace(result, members=(result.members[0], outcome)), started=START).events
    assert [(e.code, e.severity) for e in events] == [("ChildError", "warning")]
    assert [e.code for e in run_record(degraded, started=START).events] == ["run_degraded"]


def test_a_service_without_a_name_is_called_default():
    engine = ForecastEngine(EngineConfig(members=(), isolated=False))
    assert run_record(engine.forecast(small_series(), 7), started=START).service == "default"


def test_the_digest_of_settings_ignores_their_order():
    assert digest_of_settings({"a": 1, "b": (2,)}) == digest_of_settings({"b": [2], "a": 1})
    assert digest_of_settings({"a": 1}) != digest_of_settings({"a": 2})


def test_versions_and_machine_are_named():
    versions = package_versions()
    assert versions["numpy"] == np.__version__ and "horizoncast" in versions
    assert "Linux" in machine_type() or machine_type()


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("how", ["detached", "loose", "packed", "worktree"])
def test_the_commit_is_read_from_a_checkout(tmp_path, how):
    (tmp_path / "src" / "horizoncast").mkdir(parents=True)
    git = tmp_path / ".git"
    if how == "worktree":
        git.write_text("gitdir: main.git\n")
        git = tmp_path / "main.git"
    git.mkdir()
    (git / "HEAD").write_text(COMMIT if how == "detached" else "ref: refs/heads/main\n")
    if how == "packed":
        (git / "packed-refs").write_text(
            f"# pack-refs\n{'f' * 40} refs/heads/xmain\n{COMMIT} refs/heads/main\n"
        )
    elif how != "detached":
        (git / "refs" / "heads").mkdir(parents=True)
        (git / "refs" / "heads" / "main").write_text(f"{COMMIT}\n")
    assert git_commit(tmp_path) == COMMIT


def test_there_is_no_commit_outside_a_checkout(tmp_path):
    assert git_commit(tmp_path) is None
    (tmp_path / "src" / "horizoncast").mkdir(parents=True)
    assert git_commit(tmp_path) is None
