"""Rollout in a service: the ledger over the settings, decisions on record, and members taken back."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar
from horizoncast.engine import EngineConfig, ForecastEngine, MemberSetting
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.forecast import Failure
from horizoncast.policy.rollout import Answer
from horizoncast.policy.states import MemberState
from horizoncast.resources import Usage
from horizoncast.service.rollout import (
    AUTOMATIC,
    Decision,
    Rollout,
    rolled_out,
)
from horizoncast.service.scoring import score_live
from horizoncast.service.settings import Settings, load_settings
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Transition
from horizoncast.store.records import MemberRecord
from horizoncast.store.results import write_run
from live_runs import SERVICE, record_at
from small_runs import small_series

NAME = small_series().name
CALENDAR: Calendar = small_series().calendar
PERSON = Decision(who="ana", why="half a year in shadow")
NOW = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
CHEAP = Usage(wall_s=2.0, cpu_s=2.0, peak_mb=300.0)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.at(tmp_path)


def settings(tmp_path: Path, **overrides: str) -> Settings:
    pairs = {key.replace("__", "."): value for key, value in overrides.items()}
    return load_settings(SERVICE, root=tmp_path, environ={}, overrides=pairs)


def rollout(files: Settings, ledger: Ledger) -> Rollout:
    return Rollout(settings=files, ledger=ledger, series=NAME, calendar=CALENDAR)


def with_files(tmp_path: Path, text: str) -> Settings:
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config" / "base.toml").write_text(text)
    return settings(tmp_path)


def publish_with(
    ledger: Ledger,
    root: Path,
    rows: list[int],
    *,
    usage: Usage = CHEAP,
    failing: tuple[int, ...] = (),
    code: str = "OutOfMemory",
) -> None:
    """Runs in which ``var`` took part beside the naives; it answers what the random walk does."""
    for row in rows:
        record = record_at(row)
        walk = record.members[0]
        live = replace(walk.live, member="var")
        if row in failing:
            live = Failure(member="var", cutoff=record.forecast.cutoff, code=code, reason="killed")
        var: MemberRecord = replace(
            walk, name="var", state=MemberState.ON, live=live, weight=0.0, would_be_weight=0.2, usage=usage
        )
        record = replace(record, members=(*record.members, var))
        entry = run_entry(record, write_run(root, record), root=root, imported=True)
        ledger.runs.commit(entry, reprocess=True)


def decide(ledger: Ledger, after: str, *, before: str = "off", at: str = "2026-01-01T00:00:00.000Z") -> None:
    ledger.rollout.add(
        Transition(
            at=at, service=SERVICE, series=NAME, member="var", before=before, after=after, who="ana",
            reason="because", evidence={},
        )
    )  # fmt: skip


# states


def test_a_decision_on_record_overrides_the_settings(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "on"\n')
    decide(ledger, "shadow", before="on")
    held, events = rolled_out(files, ledger, small_series(), now=NOW)
    assert held.members["var"].state is MemberState.SHADOW
    engine = {m.name: m.state for m in held.engine_config().members}
    assert engine["var"] is MemberState.SHADOW
    assert held.recorded()["members"]["var"]["state"] == "shadow"
    assert held.config_hash != files.config_hash
    (event,) = events
    assert (event.code, event.severity) == ("rollout_state", "info")
    assert "ana" in event.message


def test_without_a_decision_the_settings_stand_as_they_are(tmp_path: Path, ledger: Ledger) -> None:
    files = settings(tmp_path)
    held, events = rolled_out(files, ledger, small_series(), now=NOW)
    assert held is files
    assert events == ()


def test_the_command_line_overrides_the_record(tmp_path: Path, ledger: Ledger) -> None:
    decide(ledger, "off", before="on")
    typed = settings(tmp_path, members__var__state="on")
    assert rollout(typed, ledger).states()["var"][0] is MemberState.ON


def test_the_newest_decision_counts_and_other_series_do_not(tmp_path: Path, ledger: Ledger) -> None:
    decide(ledger, "shadow")
    decide(ledger, "on", before="shadow", at="2026-02-01T00:00:00.000Z")
    files = settings(tmp_path)
    assert rollout(files, ledger).states()["var"][0] is MemberState.ON
    assert replace(rollout(files, ledger), series="another").states()["var"][1] == "class default"
    assert "random_walk" not in rollout(files, ledger).states()


def test_the_state_of_the_record_reaches_the_decision(tmp_path: Path, ledger: Ledger) -> None:
    decide(ledger, "shadow", before="on")
    files = settings(tmp_path, run__isolated="false")
    held, _ = rolled_out(files, ledger, small_series(), now=NOW)
    members = tuple(
        MemberSetting(name=m.name, state=m.state) for m in held.engine_config().members if m.name == "var"
    )
    config = EngineConfig(service=SERVICE, members=members, isolated=False)
    decision = ForecastEngine(config).forecast(small_series(), 7).decision
    assert decision.weights["var"] == 0.0
    assert next(m for m in decision.members if m.name == "var").state is MemberState.SHADOW


# decisions


def test_a_promotion_goes_one_step_and_leaves_its_evidence(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "off"\n')
    publish_with(ledger, tmp_path, [381, 386])
    first = rollout(files, ledger).promote("var", PERSON, now=NOW)
    second = rollout(files, ledger).promote("var", PERSON, now=NOW)
    assert [(t.before, t.after) for t in (first, second)] == [("off", "shadow"), ("shadow", "on")]
    kept = ledger.rollout.all(member="var")
    assert [(t.who, t.reason, t.at) for t in kept] == [("ana", PERSON.why, "2026-11-02T09:00:00.000Z")] * 2
    evidence = kept[-1].evidence
    assert evidence["evidence"]["runs"] == 2
    assert {f["criterion"]: f["answer"] for f in evidence["findings"]}["skill"] == "cannot be told"
    with pytest.raises(ConfigError, match="on already"):
        rollout(files, ledger).promote("var", PERSON)


def test_a_criterion_that_is_not_met_stops_a_promotion_unless_told_otherwise(
    tmp_path: Path, ledger: Ledger
) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "shadow"\n')
    publish_with(ledger, tmp_path, [381, 386], usage=replace(CHEAP, peak_mb=3500.0))
    with pytest.raises(ConfigError, match="peak_mb"):
        rollout(files, ledger).promote("var", PERSON)
    assert ledger.rollout.all() == ()
    rollout(files, ledger).promote("var", replace(PERSON, anyway=True))
    assert ledger.rollout.states(SERVICE, NAME) == {"var": "on"}


def test_a_rollback_goes_down_by_a_step_or_to_a_state(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "on"\n')
    assert rollout(files, ledger).rollback("var", PERSON).after == "shadow"
    with pytest.raises(ConfigError, match="goes down"):
        rollout(files, ledger).rollback("var", PERSON, to=MemberState.ON)
    assert rollout(files, ledger).rollback("var", PERSON, to=MemberState.OFF).after == "off"
    with pytest.raises(ConfigError, match="off already"):
        rollout(files, ledger).rollback("var", PERSON)


@pytest.mark.parametrize(("who", "why"), [("", "x"), ("ana", "  ")])
def test_a_decision_names_who_and_why(who: str, why: str) -> None:
    with pytest.raises(ConfigError, match="who made it and why"):
        Decision(who=who, why=why)


def test_naives_and_strangers_have_no_rollout_state(tmp_path: Path, ledger: Ledger) -> None:
    for name in ("random_walk", "vra"):
        with pytest.raises(UnknownNameError):
            rollout(settings(tmp_path), ledger).promote(name, PERSON)


# evidence


def test_standings_show_state_source_and_every_criterion(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "shadow"\n[rollout]\nruns = 3\nwindows = 1.0\n')
    publish_with(ledger, tmp_path, [371, 376, 381, 386, 391])
    score_live(ledger, SERVICE, small_series())
    found = {s.member: s for s in rollout(files, ledger).standings()}
    var = found["var"]
    assert (var.state, var.source) == (MemberState.SHADOW, "config/base.toml")
    answers = {f.criterion: f.answer for f in var.findings}
    assert answers["peak_mb"] is answers["added_s"] is answers["success"] is Answer.MET
    assert answers["would_be_weight"] is Answer.MET
    assert var.evidence.runs == 5
    assert var.evidence.skill.n_eff > 3
    assert np.isfinite(var.evidence.coverage_80.value)
    assert found["random_forest"].answer is Answer.CANNOT_BE_TOLD


def test_evidence_reaches_back_the_weeks_that_are_set(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, "[rollout]\nweeks = 2\n")
    publish_with(ledger, tmp_path, [366, 376, 381, 386])
    var = next(s for s in rollout(files, ledger).standings() if s.member == "var")
    assert var.evidence.runs == 2


# taken back by itself


def test_a_member_that_keeps_crashing_goes_back_to_shadow(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "on"\n')
    publish_with(ledger, tmp_path, [376, 381, 386], failing=(376, 381))
    held, events = rolled_out(files, ledger, small_series(), now=NOW)
    assert (held, events) == (files, ())
    publish_with(ledger, tmp_path, [391], failing=(391,))
    held, events = rolled_out(files, ledger, small_series(), now=NOW)
    assert held.members["var"].state is MemberState.SHADOW
    assert [event.code for event in events] == ["rollout_rollback", "rollout_state"]
    (kept,) = ledger.rollout.all()
    assert (kept.who, kept.before, kept.after) == (AUTOMATIC, "on", "shadow")
    assert "3 of 4" in kept.reason
    again, events = rolled_out(files, ledger, small_series(), now=NOW)
    assert [event.code for event in events] == ["rollout_state"]
    assert again.members["var"].state is MemberState.SHADOW


def test_failures_that_are_no_crash_wait_for_a_person(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "on"\n')
    rows = [371, 376, 381, 386]
    publish_with(ledger, tmp_path, rows, failing=tuple(rows), code="MissingCovariateError")
    assert rolled_out(files, ledger, small_series(), now=NOW) == (files, ())


def test_what_a_person_has_seen_is_not_held_against_the_member_again(tmp_path: Path, ledger: Ledger) -> None:
    files = with_files(tmp_path, '[members.var]\nstate = "on"\n')
    publish_with(ledger, tmp_path, [376, 381, 386], failing=(376, 381, 386))
    rolled_out(files, ledger, small_series(), now=NOW)
    decision = Decision(who="ana", why="memory was added", anyway=True)
    rollout(files, ledger).promote("var", decision, now=datetime.now(tz=UTC))
    held, _ = rolled_out(files, ledger, small_series())
    assert held.members["var"].state is MemberState.ON
