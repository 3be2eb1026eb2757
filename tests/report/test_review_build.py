"""The review as a function of facts: verdicts, matured forecasts, criteria, changes, troubles."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.policy.rollout import Criteria
from horizoncast.report.review.build import Asked, build_review
from horizoncast.report.review.model import Review, Sample, ScoreLine, ServiceReview, Trouble
from horizoncast.store.facts import (
    ChangeFact,
    DecisionFact,
    EventFact,
    Facts,
    MemberFact,
    OutcomeFact,
    PointFact,
    RunDocument,
    RunFact,
    VerdictFact,
)

CALENDAR = Calendar(kind=CalendarKind.BUSINESS)
STEPS, GRID = 7, (1, 2, 3, 5, 7)
DAYS = CALENDAR.sessions(np.datetime64("2025-01-01"), np.datetime64("2026-12-31"))
TEXTS = [str(day)[:10] for day in DAYS]
SUBJECTS = ("ensemble", "random_walk", "var")


def a_run(at: int, **more: object) -> RunFact:
    run = RunFact(
        run_id=f"run-{at}",
        service="forecaster_7d",
        series="x",
        started=f"{TEXTS[at]}T20:00:00.000Z",
        as_of=TEXTS[at],
        cutoff=TEXTS[at],
        horizon=STEPS,
        unit="u",
        scale="level",
        status="published",
        reasons=(),
        flags=(),
        best_naive="random_walk",
        kappa=0.5,
        width=1.0,
        adaptive=1.0,
        windows=40,
        n_eff=28.0,
    )
    return replace(run, **more)  # type: ignore[arg-type]


def a_member(run: RunFact, name: str, **more: object) -> MemberFact:
    member = MemberFact(
        run_id=run.run_id,
        member=name,
        state="on",
        weight=0.5,
        would_be_weight=0.5,
        slope=0.2,
        windows=40,
        flags=(),
        failure_code=None,
        failure_reason=None,
        wall_s=2.0,
        cpu_s=1.0,
        peak_mb=300.0,
    )
    return replace(member, **more)  # type: ignore[arg-type]


def some_facts(
    cutoffs: range, *, better: float = 1.0, live: bool = True, known: int = 400, seed: int = 0
) -> Facts:
    """Weekly runs whose ensemble has `better` times the naive's loss, outcomes up to session `known`."""
    rng = np.random.default_rng(seed)
    runs = tuple(a_run(at) for at in cutoffs)
    outcomes = []
    for at, run in zip(cutoffs, runs, strict=True):
        for step in range(1, STEPS + 1):
            if at + step > known:
                continue
            base = float(rng.uniform(0.5, 1.5))
            for subject, ratio in zip(SUBJECTS, (better, 1.0, 1.01), strict=True):
                noise = 1.0 if subject == "random_walk" else float(rng.uniform(0.95, 1.05))
                pit = float(rng.uniform())
                held = (0.1 <= pit <= 0.9, 0.025 <= pit <= 0.975)
                loss = ratio * base * noise
                outcomes.append(
                    OutcomeFact(
                        run.run_id, subject, step, TEXTS[at + step], at, live, 10.0, 0.1, loss, pit, *held
                    )
                )
    return Facts(
        runs=runs,
        members={run.run_id: (a_member(run, "random_walk"), a_member(run, "var")) for run in runs},
        points={
            run.run_id: tuple(PointFact(s, TEXTS[at + s], 10.0, 9.0, 11.0, 8.0, 12.0) for s in GRID)
            for at, run in zip(cutoffs, runs, strict=True)
        },
        outcomes=tuple(outcomes),
    )


def reviewed(facts: Facts, **more: object) -> Review:
    asked = Asked(weeks=1, until=None, made="2026-12-01T00:00:00.000Z", source="ledger")
    return build_review(facts, replace(asked, **more))  # type: ignore[arg-type]


def only(facts: Facts, **more: object) -> ServiceReview:
    (service,) = reviewed(facts, **more).services
    return service


def line_of(facts: Facts, subject: str = "ensemble", sample: Sample = Sample.LIVE) -> ScoreLine:
    return next(line for line in only(facts).scores if (line.subject, line.sample) == (subject, sample))


# verdicts


@pytest.mark.parametrize(
    ("better", "verdict"), [(0.7, "better"), (1.4, "worse"), (1.0, "no_different"), (0.7, "better")]
)
def test_a_verdict_stands_on_independent_windows(better: float, verdict: str) -> None:
    line = line_of(some_facts(range(10, 390, 7), better=better))
    assert line.verdict == verdict
    assert line.windows == line.skill.windows == 55
    assert line.n_eff == pytest.approx(55)
    if verdict != "no_different":
        assert line.skill.value == pytest.approx(1 - better, abs=0.03)


@pytest.mark.parametrize("better", [0.3, 3.0])
def test_below_twenty_independent_windows_nothing_can_be_told(better: float) -> None:
    few = line_of(some_facts(range(300, 390, 5), better=better))  # 18 cutoffs worth 12.9
    assert few.windows == 18 and few.n_eff < 20
    assert few.verdict == "cannot_be_told" and not few.skill.can_be_told


def test_overlapping_cutoffs_count_for_what_they_are_worth() -> None:
    daily = line_of(some_facts(range(300, 390), better=0.5))
    assert daily.windows == 90 and daily.n_eff == pytest.approx(90 / 7)
    assert daily.verdict == "cannot_be_told"


def test_the_naive_has_no_line_against_itself_and_the_ensemble_comes_first() -> None:
    lines = only(some_facts(range(10, 390, 7))).scores
    assert [line.subject for line in lines] == ["ensemble", "var"]
    assert {line.reference for line in lines} == {"random_walk"}
    assert (lines[1].state, lines[1].weight) == ("on", 0.5)


def test_hindsight_is_a_sample_of_its_own() -> None:
    assert {line.sample for line in only(some_facts(range(10, 390, 7), live=False)).scores} == {
        Sample.HINDSIGHT
    }


def test_coverage_and_pit_carry_errors() -> None:
    line = line_of(some_facts(range(10, 390, 7)))
    assert line.coverage_80.value == pytest.approx(0.8, abs=0.06)
    assert line.coverage_80.error is not None and 0.005 < line.coverage_80.error < 0.05
    assert sum(cell.share for cell in line.pit) == pytest.approx(1)
    assert all(cell.error is not None and 0 < cell.error < 0.05 for cell in line.pit)


def test_the_newest_runs_replays_are_told_apart() -> None:
    facts = some_facts(range(300, 390, 5))
    head = facts.runs[-1].run_id
    verdict = VerdictFact(
        subject="ensemble", reference="random_walk", code="better", p_value=0.01, windows=20, n_eff=20.0
    )
    scores = {("ensemble", "wql"): (0.9, 20, 20.0), ("random_walk", "wql"): (1.0, 20, 20.0)}
    told = replace(facts, documents={head: RunDocument(verdicts=(verdict,), scores=scores)})
    line = line_of(told, sample=Sample.BACKTEST)
    assert (line.verdict, line.windows) == ("better", 20)
    assert line.skill.value == pytest.approx(0.1) and line.bias.value is None


# what was forecast and what happened


def test_nothing_has_matured_yet() -> None:
    service = only(some_facts(range(395, 396), known=395))
    assert service.matured == () and service.scores == () and service.actuals == ()
    assert service.latest is not None and service.latest.points[-1].actual is None
    assert service.change is not None and service.change.leads == ()


def test_matured_forecasts_of_the_weeks_with_their_own_leads_outcomes() -> None:
    facts = some_facts(range(300, 400, 3), known=399)
    service = only(facts, weeks=2)
    since = reviewed(facts, weeks=2).since
    assert [path.last_date for path in service.matured] == sorted(p.last_date for p in service.matured)
    assert all(since <= path.last_date <= TEXTS[399] for path in service.matured)
    for path in service.matured:
        assert [point.step for point in path.points] == list(GRID)
        assert all(point.actual == 10.0 for point in path.points)
    expected = [r for r in facts.runs if since <= TEXTS[TEXTS.index(r.cutoff) + STEPS] <= TEXTS[399]]
    assert [path.run_id for path in service.matured] == [run.run_id for run in expected]


def test_without_one_in_the_weeks_the_newest_matured_one_stands() -> None:
    facts = some_facts(range(200, 390, 40), known=399)
    service = only(facts, weeks=1)
    assert [path.run_id for path in service.matured] == ["run-360"]


def test_of_several_runs_of_one_as_of_the_last_counts() -> None:
    facts = some_facts(range(380, 391, 5))
    again = replace(facts.runs[-1], run_id="again", started="2026-12-01T00:00:00.000Z", kappa=0.9)
    both = replace(
        facts, runs=(*facts.runs, again), points={**facts.points, "again": facts.points["run-390"]}
    )
    service = only(both)
    assert service.latest is not None and service.latest.run_id == "again"
    assert [d.kappa for d in service.decisions] == [0.5, 0.5, 0.9]


# rollout


def test_criteria_name_their_bounds_and_commands_are_exact() -> None:
    facts = some_facts(range(10, 390, 7), better=0.7)
    (line,) = only(facts).rollout
    assert (line.member, line.state, line.promote) == ("var", "on", "")
    assert line.rollback == "horizoncast rollout rollback var forecaster_7d --by NAME --why REASON"
    found = {c.criterion: c for c in line.criteria}
    names = ["peak_mb", "added_s", "success", "failures", "skill", "coverage_80", "would_be_weight"]
    assert list(found) == names
    assert (found["peak_mb"].answer, found["peak_mb"].value, found["peak_mb"].high) == ("met", 300.0, 3000.0)
    assert found["skill"].needed == 20.0 and found["skill"].low == 0.0
    assert found["skill"].error is not None


def test_too_little_on_record_cannot_be_told() -> None:
    (line,) = only(some_facts(range(380, 391, 5))).rollout
    answers = {c.criterion: c.answer for c in line.criteria}
    assert answers["skill"] == answers["success"] == "cannot_be_told"
    assert line.answer == "cannot_be_told"


def test_criteria_are_those_of_the_service() -> None:
    facts = some_facts(range(10, 390, 7))
    strict = {"forecaster_7d": Criteria(peak_mb=100.0)}
    (line,) = only(facts, criteria=strict).rollout
    assert line.answer == "not_met"


def test_a_decision_since_the_last_run_holds() -> None:
    facts = some_facts(range(380, 391, 5))
    decision = DecisionFact(
        service="forecaster_7d",
        series="x",
        member="var",
        after="shadow",
        who="ana",
        at="2026-07-01",
        reason="slow",
    )
    (line,) = only(replace(facts, decisions=(decision,))).rollout
    assert (line.state, line.source) == ("shadow", "ana, 2026-07-01: slow")
    assert line.promote == "horizoncast rollout promote var forecaster_7d --by NAME --why REASON"
    assert only(facts, fixed=("var",)).rollout == ()


def test_hostile_names_stay_one_word_of_the_command() -> None:
    from horizoncast.policy.states import MemberState
    from horizoncast.report.review.evidence import promote_command

    words = promote_command("a; rm -rf /", "b c", MemberState.OFF)
    import shlex

    assert shlex.split(words)[3:5] == ["a; rm -rf /", "b c"]


# changes, events, troubles


def test_changes_keep_their_parts_in_order() -> None:
    facts = some_facts(range(380, 391, 5))
    parts = (("data", 0.5), ("members", -0.2), ("weights", 0.0), ("skill", 0.1), ("width", 0.0))
    change = ChangeFact(
        step=1, date="2026-07-01", previous_step=6, measure="median", before=10.0, after=10.4, parts=parts
    )
    document = RunDocument(previous=("run-385", TEXTS[385]), changes=(change,))
    found = only(replace(facts, documents={"run-390": document})).change
    assert found is not None and found.previous_run_id == "run-385"
    (lead,) = found.leads
    assert [part.value for part, _ in lead.parts] == ["data", "members", "weights", "skill", "width"]
    assert sum(value for _, value in lead.parts) == pytest.approx(lead.after - lead.before)


def events(*codes: str, run_id: str = "run-390", message: str = "m") -> tuple[EventFact, ...]:
    return tuple(
        EventFact(
            at=f"{TEXTS[390]}T20:00:00.000Z",
            run_id=run_id,
            service="forecaster_7d",
            series="x",
            code=code,
            message=message,
            severity="warning",
        )
        for code in codes
    )


def test_events_are_sorted_by_what_they_concern_and_told_once() -> None:
    facts = some_facts(range(380, 391, 5))
    told = events("stale", "override_applied", "drift_variance", "ping_failed", "stale")
    service = only(replace(facts, events=told))
    assert [e.code for e in service.data] == ["override_applied", "stale"]
    assert [e.code for e in service.drift] == ["drift_variance"]
    assert [e.code for e in service.events] == ["ping_failed"]


def test_events_of_other_weeks_and_services_stay_out() -> None:
    facts = some_facts(range(380, 391, 5))
    early = tuple(replace(event, run_id="run-380") for event in events("stale"))
    other = tuple(replace(event, run_id="", service="b") for event in events("stale"))
    assert only(replace(facts, events=early + other)).data == ()


def test_failures_skips_fallbacks_and_flags_are_told_apart() -> None:
    facts = some_facts(range(380, 391, 5))
    head = replace(facts.runs[-1], flags=("fallback", "stale_input"), reasons=("a naive stands in",))
    members = (
        a_member(head, "var", failure_code="ChildError", failure_reason="killed"),
        a_member(head, "rf", failure_code="NotAdmitted", failure_reason="no memory"),
        a_member(head, "arima", flags=("not_converged",)),
    )
    told = replace(
        facts,
        runs=(*facts.runs[:-1], head),
        members={**facts.members, head.run_id: members},
        events=events("ChildError", message="var: killed"),
    )
    service = only(told)
    found = {(t.subject, t.kind, t.code) for t in service.troubles}
    assert found == {
        ("ensemble", Trouble.FALLBACK, "fallback"),
        ("ensemble", Trouble.FLAG, "stale_input"),
        ("var", Trouble.FAILURE, "ChildError"),
        ("rf", Trouble.SKIPPED, "NotAdmitted"),
        ("arima", Trouble.FLAG, "not_converged"),
    }
    assert service.events == ()  # the member's failure is told once


def test_a_failure_at_past_cutoffs_is_told_although_the_member_answered() -> None:
    facts = some_facts(range(380, 391, 5))
    service = only(replace(facts, events=events("DeadlineExceeded", message="var: 38 of 60 cutoffs")))
    (trouble,) = service.troubles
    assert (trouble.subject, trouble.kind, trouble.code) == ("var", Trouble.FAILURE, "DeadlineExceeded")
    assert trouble.reason == "38 of 60 cutoffs"
    assert service.events == ()


def test_services_come_in_the_order_of_the_status_strip() -> None:
    facts = some_facts(range(380, 391, 5))
    other = replace(facts.runs[-1], run_id="b", service="a_first_by_name")
    both = replace(facts, runs=(*facts.runs, other), points={**facts.points, "b": facts.points["run-390"]})
    assert [s.service for s in reviewed(both).services] == ["a_first_by_name", "forecaster_7d"]


def test_an_empty_record_is_an_empty_review() -> None:
    empty = reviewed(Facts())
    assert (empty.services, empty.since, empty.until) == ((), "", "")
