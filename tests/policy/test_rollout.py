"""Rollout criteria: met, not met, or cannot be told; and what takes a member back by itself."""

from dataclasses import replace

import pytest

from horizoncast.errors import ConfigError
from horizoncast.policy.rollout import (
    ORDER,
    UNKNOWN,
    Answer,
    Criteria,
    Evidence,
    Figure,
    demoted,
    evaluate,
    harmful,
    overall,
    promoted,
)
from horizoncast.policy.states import MemberState

RULES = Criteria()
GOOD = Evidence(
    member="var",
    state=MemberState.SHADOW,
    since="2026-01-02",
    until="2026-06-26",
    runs=26,
    failures=0,
    months=6.0,
    peak_mb=400.0,
    added_s=3.0,
    skill=Figure(value=0.02, error=0.01, n_eff=25.0),
    coverage_80=Figure(value=0.80, error=0.03, n_eff=25.0),
    would_be_weight=0.2,
)


def answer(criterion: str, evidence: Evidence) -> Answer:
    (found,) = [f for f in evaluate(evidence, RULES) if f.criterion == criterion]
    return found.answer


def test_a_member_that_shows_everything_has_met_everything() -> None:
    findings = evaluate(GOOD, RULES)
    assert {f.answer for f in findings} == {Answer.MET}
    assert overall(findings) is Answer.MET
    names = {"peak_mb", "added_s", "success", "failures", "skill", "coverage_80", "would_be_weight"}
    assert {f.criterion for f in findings} == names


def few_windows(value: float) -> Figure:
    return Figure(value=value, error=0.01, n_eff=RULES.windows - 0.1)


CASES = [
    ("peak_mb", {"peak_mb": 3000.0}, Answer.NOT_MET),
    ("peak_mb", {"peak_mb": 2999.0}, Answer.MET),
    ("peak_mb", {"peak_mb": None}, Answer.CANNOT_BE_TOLD),
    ("added_s", {"added_s": 10.0}, Answer.NOT_MET),
    ("added_s", {"added_s": None}, Answer.CANNOT_BE_TOLD),
    ("success", {"runs": 20, "failures": 1}, Answer.MET),
    ("success", {"runs": 20, "failures": 2}, Answer.NOT_MET),
    ("success", {"runs": 7, "failures": 0}, Answer.CANNOT_BE_TOLD),
    ("success", {"runs": 0}, Answer.CANNOT_BE_TOLD),
    ("failures", {"failures": 12}, Answer.NOT_MET),
    ("failures", {"failures": 11}, Answer.MET),
    ("failures", {"runs": 3, "failures": 2, "months": 1.0}, Answer.NOT_MET),
    ("failures", {"runs": 3, "failures": 0, "months": 1.0}, Answer.CANNOT_BE_TOLD),
    ("skill", {"skill": few_windows(0.5)}, Answer.CANNOT_BE_TOLD),
    ("skill", {"skill": few_windows(-0.5)}, Answer.CANNOT_BE_TOLD),
    ("skill", {"skill": UNKNOWN}, Answer.CANNOT_BE_TOLD),
    ("skill", {"skill": Figure(value=0.0, error=0.01, n_eff=20.0)}, Answer.MET),
    ("skill", {"skill": Figure(value=-0.01, error=0.01, n_eff=20.0)}, Answer.CANNOT_BE_TOLD),
    ("skill", {"skill": Figure(value=-0.05, error=0.01, n_eff=20.0)}, Answer.NOT_MET),
    ("coverage_80", {"coverage_80": few_windows(0.8)}, Answer.CANNOT_BE_TOLD),
    ("coverage_80", {"coverage_80": Figure(value=0.70, error=0.05, n_eff=30.0)}, Answer.CANNOT_BE_TOLD),
    ("coverage_80", {"coverage_80": Figure(value=0.60, error=0.05, n_eff=30.0)}, Answer.NOT_MET),
    ("coverage_80", {"coverage_80": Figure(value=0.99, error=0.01, n_eff=30.0)}, Answer.NOT_MET),
    ("would_be_weight", {"would_be_weight": 0.04}, Answer.NOT_MET),
    ("would_be_weight", {"would_be_weight": None}, Answer.CANNOT_BE_TOLD),
]


@pytest.mark.parametrize(("criterion", "changes", "want"), CASES)
def test_each_criterion(criterion: str, changes: dict[str, object], want: Answer) -> None:
    assert answer(criterion, replace(GOOD, **changes)) is want


def test_one_failing_criterion_outweighs_what_cannot_be_told() -> None:
    findings = evaluate(replace(GOOD, skill=UNKNOWN, peak_mb=5000.0), RULES)
    assert overall(findings) is Answer.NOT_MET
    assert overall(evaluate(replace(GOOD, skill=UNKNOWN), RULES)) is Answer.CANNOT_BE_TOLD
    assert overall(()) is Answer.CANNOT_BE_TOLD


ON = replace(GOOD, state=MemberState.ON)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"crashes": 3}, "process"),
        ({"peak_mb": 3200.0}, "MiB"),
        ({"skill": Figure(value=-0.2, error=0.05, n_eff=6.0)}, "skill"),
    ],
)
def test_crashes_memory_and_harm_take_a_member_back(changes: dict[str, object], word: str) -> None:
    assert word in harmful(replace(ON, **changes), RULES)
    assert harmful(replace(GOOD, **changes), RULES) == ""  # in shadow nothing is at stake


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"crashes": 2},
        {"failures": 20},
        {"added_s": 100.0},
        {"would_be_weight": 0.0},
        {"coverage_80": Figure(value=0.3, error=0.01, n_eff=50.0)},
        {"skill": Figure(value=-0.05, error=0.001, n_eff=50.0)},
        {"skill": Figure(value=-0.2, error=0.10, n_eff=50.0)},
        {"skill": Figure(value=-0.5, error=0.01, n_eff=4.0)},
    ],
)
def test_everything_else_waits_for_a_person(changes: dict[str, object]) -> None:
    assert harmful(replace(ON, **changes), RULES) == ""


def test_states_change_by_one_step() -> None:
    assert [promoted(state) for state in ORDER[:-1]] == list(ORDER[1:])
    assert [demoted(state) for state in ORDER[1:]] == list(ORDER[:-1])
    with pytest.raises(ConfigError, match="on already"):
        promoted(MemberState.ON)
    with pytest.raises(ConfigError, match="off already"):
        demoted(MemberState.OFF)


@pytest.mark.parametrize(
    "wrong", [{"weeks": 0}, {"success": 1.2}, {"coverage_low": 0.9}, {"harm": 0.0}, {"crashes": 0}]
)
def test_criteria_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="rollout"):
        Criteria(**wrong)
