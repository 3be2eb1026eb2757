"""A run and the age of its input: waits, runs stale and says so, or does not run."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.overrides import OverrideLog, overrides_path
from horizoncast.data.waiting import Readiness
from horizoncast.errors import CheckError
from horizoncast.forecast import Flag
from horizoncast.service.inputs import Clock, read_series
from horizoncast.service.runner import METRICS, RunOutcome, preview, run_service
from horizoncast.service.settings import Settings, load_settings
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.results import read_run
from small_target import NAIVES_ONLY, write_target


class FakeClock:
    """A clock that moves when somebody sleeps, and a source that delivers at a moment."""

    def __init__(self, now: str, deliver: Callable[[np.datetime64], None] = lambda now: None) -> None:
        self.moment = np.datetime64(now, "s")
        self.deliver = deliver
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.moment = self.moment + np.timedelta64(round(seconds), "s")
        self.deliver(self.moment)

    @property
    def clock(self) -> Clock:
        return Clock(now=lambda: self.moment, sleep=self.sleep)


def place(root: Path, *, covariate_missing: int | None = None) -> Path:
    """A target that must not be older than three sessions; its last row is Friday 2023-06-30."""
    path = write_target(root)
    data = path.with_suffix(".csv")
    lines = [line for line in data.read_text().splitlines() if line < "2023-07-01" or line[0] == "d"]
    text = path.read_text().replace("[source]", "max_staleness = 3\n[source]", 1)
    if covariate_missing is not None:
        rng = np.random.default_rng(1)
        values = [f"{v:.4f}" for v in 50 + np.cumsum(rng.standard_normal(len(lines) - 1))]
        values[len(values) - covariate_missing :] = [""] * covariate_missing
        lines = [lines[0] + ",x", *(f"{line},{v}" for line, v in zip(lines[1:], values, strict=True))]
        text += '[[covariates]]\nname = "x"\nmax_carry = 2\n'
    data.write_text("\n".join(lines) + "\n")
    path.write_text(text)
    return path


def settings_for(root: Path, **more: str) -> Settings:
    wanted = {**NAIVES_ONLY, "target": "toy.toml", **{k.replace("__", "."): v for k, v in more.items()}}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=wanted)


def events(outcome: RunOutcome) -> set[str]:
    return {event.code for event in outcome.record.events}


def append(path: Path, line: str) -> None:
    data = path.with_suffix(".csv")
    data.write_text(data.read_text() + line + "\n")


def test_fresh_input_leaves_no_mark(tmp_path: Path) -> None:
    place(tmp_path)
    outcome = run_service(settings_for(tmp_path), time_source=FakeClock("2023-07-03T12:00").clock)
    assert Flag.STALE_INPUT not in outcome.result.forecast.flags
    assert outcome.report.freshness is not None
    assert outcome.report.freshness.state is Readiness.FRESH
    assert not {"input_stale", "input_waited"} & events(outcome)


def test_a_late_value_is_waited_for_and_used(tmp_path: Path) -> None:
    path = place(tmp_path)

    def deliver(now: np.datetime64) -> None:
        if now == np.datetime64("2023-07-04T00:20", "s"):
            append(path, "2023-07-03,17.9")

    fake = FakeClock("2023-07-04T00:10", deliver)
    settings = settings_for(tmp_path, inputs__wait_minutes="60", inputs__poll_seconds="300")
    outcome = run_service(settings, time_source=fake.clock)
    assert fake.slept == [300.0, 300.0]
    assert str(outcome.result.forecast.cutoff)[:10] == "2023-07-03"
    assert Flag.STALE_INPUT not in outcome.result.forecast.flags
    assert "input_waited" in events(outcome)
    assert outcome.record.timings["waited"] == 600.0


def test_after_the_wait_the_run_is_stale_flagged_and_degraded(tmp_path: Path) -> None:
    place(tmp_path)
    fake = FakeClock("2023-07-04T00:10")
    settings = settings_for(tmp_path, inputs__wait_minutes="60", inputs__poll_seconds="1000")
    outcome = run_service(settings, time_source=fake.clock)
    assert sum(fake.slept) == 3000.0, "until 01:00, not beyond"
    assert Flag.STALE_INPUT in outcome.result.forecast.flags
    assert outcome.record.status == "degraded"
    assert any("1 sessions old" in reason for reason in outcome.record.reasons)
    assert {"input_stale", "input_waited"} <= events(outcome)
    stored = read_run(outcome.folder)
    assert Flag.STALE_INPUT in stored.forecast.flags
    assert stored.provenance.data_report["freshness"]["state"] == "stale"
    assert stored.status == "degraded"


def test_a_source_that_is_always_late_is_not_waited_for_twice(tmp_path: Path) -> None:
    """A value comes at each look, and another is late by then: the wait is a day in all."""
    path = place(tmp_path)
    days = iter(["2023-07-03", "2023-07-04", "2023-07-05", "2023-07-06", "2023-07-07"])

    def deliver(now: np.datetime64) -> None:
        append(path, f"{next(days)},17.9")

    fake = FakeClock("2023-07-04T00:10", deliver)
    settings = settings_for(
        tmp_path, inputs__ready_minutes="0", inputs__wait_minutes="1440", inputs__poll_seconds="86400"
    )
    outcome = run_service(settings, time_source=fake.clock)
    assert fake.slept == [85800.0], "until the first deadline, not until the next one"
    assert Flag.STALE_INPUT in outcome.result.forecast.flags


def test_too_old_is_blocked_with_an_event(tmp_path: Path) -> None:
    place(tmp_path)
    with pytest.raises(CheckError, match="at most 3"):
        run_service(settings_for(tmp_path), time_source=FakeClock("2023-07-10T12:00").clock)
    log = MetricsLog(tmp_path / "runs" / METRICS).read()
    assert [(r["kind"], r["code"]) for r in log.records] == [("event", "CheckError")]


def test_settings_decide_between_stale_and_blocked(tmp_path: Path) -> None:
    place(tmp_path)
    clock = FakeClock("2023-07-05T12:00").clock
    with pytest.raises(CheckError):
        run_service(settings_for(tmp_path, inputs__run_stale="false"), time_source=clock)
    with pytest.raises(CheckError):
        run_service(settings_for(tmp_path, inputs__max_stale="1"), time_source=clock)
    patient = run_service(settings_for(tmp_path, inputs__tolerated="2"), time_source=clock)
    assert Flag.STALE_INPUT not in patient.result.forecast.flags


def test_a_replay_is_judged_by_its_date_and_never_waits(tmp_path: Path) -> None:
    place(tmp_path)
    fake = FakeClock("2031-01-01T00:00")
    settings = settings_for(tmp_path, inputs__wait_minutes="600")
    fresh = run_service(settings, as_of=np.datetime64("2023-06-30"), time_source=fake.clock)
    assert Flag.STALE_INPUT not in fresh.result.forecast.flags
    stale = run_service(settings, as_of=np.datetime64("2023-07-04"), time_source=fake.clock)
    assert Flag.STALE_INPUT in stale.result.forecast.flags
    with pytest.raises(CheckError):
        run_service(settings, as_of=np.datetime64("2023-07-20"), time_source=fake.clock)
    assert fake.slept == []


def test_a_backtest_reads_old_data_whatever_the_clock_says(tmp_path: Path) -> None:
    from horizoncast.data.target_file import read_target

    path = place(tmp_path)
    assert len(read_series(settings_for(tmp_path), read_target(path)).series) > 100


def test_a_dry_run_says_that_it_would_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place(tmp_path)
    monkeypatch.setattr("horizoncast.service.inputs.Clock", lambda: FakeClock("2023-07-04T00:10").clock)
    found = preview(settings_for(tmp_path, inputs__wait_minutes="60"))
    assert found.report.freshness is not None
    assert found.report.freshness.state is Readiness.WAIT
    assert "2023-07-04T01:00" in found.report.freshness.reason


def test_an_exhausted_covariate_is_named_with_the_members_it_stops(tmp_path: Path) -> None:
    place(tmp_path, covariate_missing=3)
    clock = FakeClock("2023-07-03T12:00").clock
    settings = settings_for(tmp_path, members__random_forest__state="on", members__var__state="on")
    outcome = run_service(settings, time_source=clock)
    text = " | ".join(outcome.record.reasons)
    assert outcome.record.status == "degraded"
    assert "covariate x is 3 sessions late, carried for 2" in text
    assert "members without x:" in text
    assert "covariate_exhausted" in events(outcome)
    assert Flag.STALE_INPUT not in outcome.result.forecast.flags
    with pytest.raises(CheckError, match="covariate x"):
        run_service(settings_for(tmp_path, inputs__need_covariates="true"), time_source=clock)


def test_a_late_covariate_that_is_still_carried_is_an_event_only(tmp_path: Path) -> None:
    place(tmp_path, covariate_missing=2)
    outcome = run_service(settings_for(tmp_path), time_source=FakeClock("2023-07-03T12:00").clock)
    assert "covariate_late" in events(outcome)
    assert not any("covariate" in reason for reason in outcome.record.reasons)


def test_overrides_reach_manifest_record_and_log(tmp_path: Path) -> None:
    place(tmp_path)
    settings = settings_for(tmp_path)
    log = OverrideLog(overrides_path(settings.store_folder, "toy"))
    day = np.datetime64("2023-06-29", "s")
    now = np.datetime64("2023-07-03T09:00", "s")
    log.add(column="target", date=day, value=17.7, before=None, why="typo", by="ana", now=now)
    clock = FakeClock("2023-07-03T12:00").clock
    outcome = run_service(settings, time_source=clock)
    assert "override_outdated" in events(outcome), "the source said something when it was made"
    manifest = json.loads(next(outcome.folder.glob("manifest*.json")).read_text())
    assert "ana" in json.dumps(manifest) and "17.7" in json.dumps(manifest)
    stored = read_run(outcome.folder)
    assert stored.provenance.data_report["overrides"][0]["why"] == "typo"
    replay = run_service(settings, as_of=np.datetime64("2023-06-30"), time_source=clock)
    assert replay.report.overrides == ()
    asked = settings_for(tmp_path, data__later_overrides="true")
    assert run_service(asked, as_of=np.datetime64("2023-06-30"), time_source=clock).report.overrides != ()
