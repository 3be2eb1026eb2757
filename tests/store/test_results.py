import csv
import errno
import io
import json
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from horizoncast.errors import StoreError
from horizoncast.forecast import Failure, Forecast
from horizoncast.report.record import run_record
from horizoncast.store import results
from horizoncast.store.plain import date_text, time_text
from horizoncast.store.records import RunRecord
from horizoncast.store.results import (
    Latest,
    every_run_folder,
    latest_run,
    make_run_id,
    manifest_digest,
    read_forecast,
    read_run,
    series_folder,
    started_of,
    sweep_staging,
    withdraw,
    write_latest,
    write_run,
)
from small_runs import small_result

START = datetime(2024, 6, 29, 11, 0, tzinfo=UTC)
HOSTILE = [
    "../../x",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    r"$\frac{",
    'a\nb,c"d',
    "",
    "中",
]


@pytest.fixture
def record() -> RunRecord:
    return run_record(small_result(), started=START)


def visible(root: Path) -> list[Path]:
    """Run folders that a reader could find, anywhere below the root."""
    return [path.parent for path in root.glob("*/*/*/*") if path.is_file() and ".staging" not in path.parts]


def point(record: RunRecord, folder: Path) -> Path:
    """latest.json that names a run."""
    latest = Latest(
        run_id=record.run_id,
        as_of=date_text(record.as_of),
        started=time_text(record.started),
        status=record.status,
        folder=folder.name,
        manifest_sha256=manifest_digest(folder),
    )
    return write_latest(folder.parent, latest)


def failed_member(record: RunRecord) -> RunRecord:
    """The record with a member whose live forecast failed."""
    cutoff = record.forecast.cutoff
    live = Failure(member="var", cutoff=cutoff, code="ChildError", reason="=HYPERLINK()\nkilled")
    member = replace(
        record.members[0], name="var", live=live, weight=0.0, rmse=float("nan"), problems=(live,)
    )
    return replace(record, members=(*record.members, member))


def test_a_run_reads_back_as_it_was_written(tmp_path, record):
    record = failed_member(record)
    back = read_run(write_run(tmp_path, record, extras={"note.txt": b"x"}))
    assert back.forecast.same_numbers(record.forecast)
    assert back.forecast.identity == record.forecast.identity
    assert back.decision == record.decision
    assert back.verdicts == record.verdicts
    assert back.provenance == record.provenance
    assert back.timings == record.timings and back.duration_s == record.duration_s
    assert (back.run_id, back.service, back.started, back.as_of) == (
        record.run_id,
        record.service,
        record.started,
        record.as_of,
    )
    for a, b in zip(back.scores, record.scores, strict=True):
        assert replace(a, value=0.0) == replace(b, value=0.0)
        np.testing.assert_array_equal(a.value, b.value)
    for mine, other in zip(back.members, record.members, strict=True):
        assert (mine.name, mine.state, mine.usage, mine.problems, mine.weight) == (
            other.name,
            other.state,
            other.usage,
            other.problems,
            other.weight,
        )
        if isinstance(other.live, Failure):
            assert mine.live == other.live
        else:
            assert isinstance(mine.live, Forecast) and mine.live.same_numbers(other.live)
    for name in ("cutoffs", "dates", "actuals", "quantiles", "asked", "scored"):
        np.testing.assert_array_equal(getattr(back.validation, name), getattr(record.validation, name))


def test_an_epistemic_share_reads_back_where_a_member_knows_it(tmp_path, record):
    share = np.linspace(0.1, 0.4, 7)
    knows = replace(record.members[0], live=replace(record.members[0].live, epistemic=share))
    changed = failed_member(replace(record, members=(knows, *record.members[1:])))
    folder = write_run(tmp_path, changed)
    back = {member.name: member.live for member in read_run(folder).members}
    np.testing.assert_array_equal(back[knows.name].epistemic, share)
    assert back[record.members[1].name].epistemic is None
    assert isinstance(back["var"], Failure)
    assert read_forecast(folder).epistemic is None


def test_files_of_runs_that_know_no_share_have_no_column_for_it(tmp_path, record):
    folder = write_run(tmp_path, failed_member(record))
    for name in ("members.parquet", "forecast.parquet"):
        assert "epistemic" not in pq.read_table(folder / name).column_names


def test_a_published_forecast_keeps_its_share(tmp_path, record):
    share = np.linspace(0.1, 0.4, 7)
    folder = write_run(tmp_path, replace(record, forecast=replace(record.forecast, epistemic=share)))
    np.testing.assert_array_equal(read_forecast(folder).epistemic, share)


def test_a_run_without_validation_reads_back(tmp_path):
    record = run_record(small_result(horizon=30, sessions=34), started=START)
    back = read_run(write_run(tmp_path, record))
    assert back.validation.quantiles.shape == (3, 0, 30, 19)
    assert back.scores == () and back.decision == record.decision


def test_two_runs_of_one_input_differ_in_the_manifest_alone(tmp_path):
    result = small_result()
    later = replace(result, wall_s=9.0)
    first = write_run(tmp_path, run_record(result, started=START))
    second = write_run(tmp_path, run_record(later, started=START + timedelta(hours=1)))
    assert first != second
    names = {path.name for path in first.iterdir()}
    assert names == {path.name for path in second.iterdir()}
    different = {name for name in names if (first / name).read_bytes() != (second / name).read_bytes()}
    assert different == {"manifest.json"}


def test_scores_can_be_recomputed_from_the_validation_file(tmp_path, record):
    folder = write_run(tmp_path, record)
    rows = pq.read_table(folder / "validation.parquet").to_pandas()
    rows = rows[rows.scored & rows.actual.notna()]
    scores = {(row["subject"], row["metric"]): row for row in csv.DictReader((folder / "scores.csv").open())}
    for subject in ("ensemble", "random_walk"):
        own = rows[rows.subject == subject]
        rmse = float(np.sqrt(((own["q0.5"] - own.actual) ** 2).mean()))
        assert rmse == pytest.approx(float(scores[subject, "rmse"]["value"]), rel=1e-9)
        inside = ((own.actual >= own["q0.1"]) & (own.actual <= own["q0.9"])).mean()
        assert inside == pytest.approx(float(scores[subject, "coverage_80"]["value"]))


def test_csv_holds_the_forecast_in_full_precision(tmp_path, record):
    rows = list(csv.DictReader((write_run(tmp_path, record) / "forecast.csv").open(newline="")))
    assert [int(row["step"]) for row in rows] == list(range(1, 8))
    assert rows[0]["date"] == str(record.forecast.dates[0].astype("datetime64[D]"))
    np.testing.assert_array_equal([float(row["q0.975"]) for row in rows], record.forecast.quantile(0.975))
    np.testing.assert_array_equal([float(row["point"]) for row in rows], record.forecast.point)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_inside_the_folder_and_read_back(tmp_path, name):
    root = tmp_path / "results"
    record = run_record(small_result(name=name, unit=name), started=START, service=name or "default")
    folder = write_run(root, record)
    point(record, folder)
    assert root.resolve() in folder.resolve().parents
    assert [path.name for path in tmp_path.iterdir()] == ["results"]
    assert read_forecast(folder).series == name
    assert read_run(folder).service == (name or "default")
    assert latest_run(root, name, name or "default") == folder
    json.loads((folder / "manifest.json").read_text(encoding="ascii"))


def test_a_name_that_is_no_valid_text_is_written_with_a_substitute(tmp_path, record):
    named = replace(record.forecast, series="a\udc80", unit="\ud800")
    folder = write_run(tmp_path, replace(record, forecast=named))
    assert read_run(folder).forecast.series == "a\udc80"
    assert next(csv.DictReader((folder / "forecast.csv").open(newline="")))["series"] == "a?"


def test_csv_cells_cannot_be_formulas(tmp_path):
    record = run_record(small_result(name="=cmd|' /C calc'!A0", unit="@x"), started=START)
    folder = write_run(tmp_path, record)
    for name in ("forecast.csv", "scores.csv"):
        cells = [cell for row in csv.reader(io.StringIO((folder / name).read_text())) for cell in row]
        risky = [cell for cell in cells if cell[:1] in "=+-@\t\r" and cell]
        assert all(np.isfinite(float(cell)) for cell in risky)  # negative numbers only
    first = next(csv.DictReader((folder / "forecast.csv").open(newline="")))
    assert first["series"] == "'=cmd|' /C calc'!A0" and first["unit"] == "'@x"


def count_calls(monkeypatch, module, name, fail_at=None, code=errno.EIO) -> list[int]:
    """Count calls of a system function; the call numbered `fail_at` raises."""
    real, calls = getattr(module, name), [0]

    def counted(*args, **kwargs):
        calls[0] += 1
        if calls[0] == fail_at:
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, counted)
    return calls


@pytest.mark.parametrize(
    ("function", "code"), [("fsync", errno.EIO), ("replace", errno.EXDEV), ("open", errno.EMFILE)]
)
def test_a_fault_at_any_call_leaves_no_visible_run(tmp_path, record, function, code):
    with pytest.MonkeyPatch.context() as patch:
        calls = count_calls(patch, os, function)
        write_run(tmp_path / "good", record)
    assert calls[0] >= 1
    for n in range(1, calls[0] + 1):
        root = tmp_path / f"{function}{n}"
        with pytest.MonkeyPatch.context() as patch:
            count_calls(patch, os, function, fail_at=n, code=code)
            with pytest.raises(StoreError, match="nothing was published"):
                write_run(root, record)
        assert visible(root) == []
        assert list((root / ".staging").glob("*")) == []
        read_run(write_run(root, record))  # and the same run can be written afterwards


def test_a_full_disk_at_any_write_leaves_nothing(tmp_path, record, monkeypatch):
    files = len(results.render(record)) + 1
    real = results._write_synced
    for n in range(files):
        left = [n]

        def write(path, data, left=left):
            if left[0] == 0:
                path.write_bytes(data[: len(data) // 2])  # what fitted
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left[0] -= 1
            real(path, data)

        monkeypatch.setattr(results, "_write_synced", write)
        root = tmp_path / str(n)
        with pytest.raises(StoreError, match="No space left"):
            write_run(root, record)
        assert visible(root) == [] and list((root / ".staging").glob("*")) == []


def test_an_interrupt_before_the_rename_leaves_no_visible_run(tmp_path, record, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_run(tmp_path, record)
    assert visible(tmp_path) == [] and list((tmp_path / ".staging").glob("*")) == []


def test_a_killed_process_leaves_staging_alone_and_it_is_swept(tmp_path, record):
    """A process that ends between staging and rename (no cleanup runs at all)."""
    files = results.render(record)  # before the fork: a child must not meet Arrow's threads
    folder = series_folder(tmp_path, "usd_mxn", "forecaster_7d") / record.run_id
    child = os.fork()
    if child == 0:
        os.replace = lambda *_: os._exit(9)  # as a SIGKILL at this very moment
        try:
            results._publish(tmp_path, folder, files)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert visible(tmp_path) == []
    left = tmp_path / ".staging" / record.run_id
    assert left.is_dir()
    assert sweep_staging(tmp_path) == ()  # it may belong to a run that is alive
    os.utime(left, (0, 0))
    assert sweep_staging(tmp_path) == (left,)
    assert not left.exists()


def test_every_file_and_folder_is_synced(tmp_path, record, monkeypatch):
    synced, real = set(), os.fsync

    def remember(handle):
        synced.add(os.fstat(handle).st_ino)
        real(handle)

    monkeypatch.setattr(os, "fsync", remember)
    folder = write_run(tmp_path, record)
    wanted = [*folder.iterdir(), folder, folder.parent, folder.parent.parent, tmp_path]
    assert [path.name for path in wanted if path.stat().st_ino not in synced] == []


def test_a_run_is_never_written_twice(tmp_path, record):
    write_run(tmp_path, record)
    with pytest.raises(StoreError, match="written already"):
        write_run(tmp_path, record)


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".hidden", "manifest.json", "-rf"])
def test_extra_files_must_be_plain_names(tmp_path, record, name):
    with pytest.raises(StoreError, match="cannot hold this file"):
        write_run(tmp_path, record, extras={name: b""})


def test_a_run_id_must_be_plain(tmp_path, record):
    with pytest.raises(StoreError, match="plain name"):
        write_run(tmp_path, replace(record, run_id="../../evil"))


@pytest.mark.parametrize("name", ["forecast.parquet", "scores.csv", "decision.json"])
def test_a_changed_file_is_noticed(tmp_path, record, name):
    folder = write_run(tmp_path, record)
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(StoreError, match=f"changed after.*{name}"):
        read_run(folder)


def test_added_missing_and_unreadable_files_are_noticed(tmp_path, record):
    folder = write_run(tmp_path, record)
    (folder / "extra").write_bytes(b"")
    with pytest.raises(StoreError, match="added or removed"):
        read_run(folder)
    (folder / "extra").unlink()
    (folder / "forecast.parquet").unlink()
    with pytest.raises(StoreError, match="added or removed"):
        read_run(folder)
    with pytest.raises(StoreError, match="cannot read"):
        read_forecast(folder)
    (folder / "manifest.json").write_text("{}")
    with pytest.raises(StoreError, match="cannot read run"):
        read_run(folder)


def test_a_corrupt_forecast_file_is_an_error_not_a_forecast(tmp_path, record):
    path = write_run(tmp_path, record) / "forecast.parquet"
    data = path.read_bytes()
    for cut in (0, 3, len(data) // 2, len(data) - 1):
        path.write_bytes(data[:cut])
        with pytest.raises(StoreError, match="cannot read"):
            read_forecast(path.parent)


def test_a_damaged_latest_is_written_anew(tmp_path, record):
    folder = write_run(tmp_path, record)
    path = point(record, folder)
    for damage in (b"", b"{", b'{"folder": "../../etc"}', b"[]"):
        path.write_bytes(damage)
        with pytest.raises(StoreError):
            latest_run(tmp_path, "usd_mxn", "forecaster_7d")
        point(record, folder)
        assert latest_run(tmp_path, "usd_mxn", "forecaster_7d") == folder
    assert latest_run(tmp_path, "other", "forecaster_7d") is None


def test_a_latest_that_says_the_same_is_not_written_again(tmp_path, record):
    folder = write_run(tmp_path, record)
    before = point(record, folder).stat()
    assert point(record, folder).stat().st_ino == before.st_ino


def test_a_withdrawn_run_is_out_of_sight_and_kept_for_a_day(tmp_path, record):
    folder = write_run(tmp_path, record)
    assert every_run_folder(tmp_path) == (folder,)
    assert started_of(folder) == "2024-06-29T11:00:00.000Z"
    withdraw(tmp_path, folder)
    assert visible(tmp_path) == [] and every_run_folder(tmp_path) == ()
    (left,) = (tmp_path / ".staging").iterdir()
    other = tmp_path / ".staging" / "half-written"
    other.mkdir()
    assert sweep_staging(tmp_path) == ()
    assert sweep_staging(tmp_path, alone=True) == (other,)
    os.utime(left, (0, 0))
    assert sweep_staging(tmp_path) == (left,)


def test_the_manifest_names_what_the_numbers_came_from(tmp_path, record):
    manifest = json.loads((write_run(tmp_path, record) / "manifest.json").read_text())
    assert manifest["started"] == "2024-06-29T11:00:00.000Z"
    provenance = manifest["provenance"]
    assert provenance["versions"]["numpy"] == np.__version__
    assert provenance["config"]["decision"]["rule"] == "trimmed_inverse_square"
    assert set(manifest["files"]) == set(results.render(record))
    assert [row["member"] for row in manifest["members"]] == ["random_walk", "seasonal_naive"]


def test_run_ids_tell_service_series_day_content_and_start():
    made = make_run_id(
        service="forecaster_30d",
        series="usd/mxn",
        as_of=np.datetime64("2024-06-28T00:00:00"),
        inputs="a",
        config="b",
        started=START,
    )
    service, series, rest = made.split("-", 2)
    assert (service, series) == ("forecaster_30d", "usd_mxn")
    assert rest.split("-")[1] == "20240628" and rest.endswith("-20240629T110000000Z")
