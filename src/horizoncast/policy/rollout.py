"""Whether a member has earned its place: criteria, evidence, and what the evidence says of each.

The decision is a person's. Only crashes, memory and harm beyond a stated bound take a member back by
themselves, and only from on to shadow, where it goes on being scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import isfinite

from horizoncast.errors import ConfigError
from horizoncast.policy.states import MemberState

ORDER: tuple[MemberState, ...] = (MemberState.OFF, MemberState.SHADOW, MemberState.ON)
"""Off, shadow, on: a promotion is one step to the right."""

CRASHES = ("OutOfMemory", "ProcessDied", "ChildNotStarted", "DeadlineExceeded", "ChildError")
"""Failures of a member's process, as `horizoncast.models.child` names them."""

ONE_SIDED = 1.645
"""Standard errors of a one-sided 95 % bound."""


class Answer(StrEnum):
    """What the evidence says of a criterion."""

    MET = "met"
    NOT_MET = "not met"
    CANNOT_BE_TOLD = "cannot be told"


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """What a member must show in a service; see ``[rollout]`` in config/base.toml.

    Parameters
    ----------
    weeks
        How far back from the newest as-of the evidence reaches.
    runs
        Fewest runs behind success and failures.
    windows
        Fewest independent windows behind skill and coverage.
    peak_mb, added_s
        Memory (MiB) and time (seconds) its process may take.
    success
        Smallest share of runs that it answered.
    failures
        A month must have fewer of them.
    skill
        Smallest live skill against the naive of the same cutoff.
    coverage_low, coverage_high
        Band for the coverage of its 80 % interval.
    would_be_weight
        Smallest mean weight that it would carry.
    harm, harm_windows
        Automatic rollback: skill below ``-harm`` by more than its error, from so many independent windows.
    crashes
        Automatic rollback: so many crashes among its runs since it was promoted.
    """

    weeks: int = 26
    runs: int = 8
    windows: float = 20.0
    peak_mb: float = 3000.0
    added_s: float = 10.0
    success: float = 0.95
    failures: float = 2.0
    skill: float = 0.0
    coverage_low: float = 0.72
    coverage_high: float = 0.88
    would_be_weight: float = 0.05
    harm: float = 0.10
    harm_windows: float = 5.0
    crashes: int = 3

    def __post_init__(self) -> None:
        positive = (self.weeks, self.runs, self.windows, self.peak_mb, self.added_s, self.failures)
        if not all(value > 0 for value in (*positive, self.harm, self.harm_windows, self.crashes)):
            raise ConfigError("rollout: weeks, counts and bounds must be positive", value=positive)
        shares = (self.success, self.coverage_low, self.coverage_high, self.would_be_weight)
        if not all(0.0 <= share <= 1.0 for share in shares) or self.coverage_low >= self.coverage_high:
            raise ConfigError(
                "rollout: shares lie in 0 to 1, and the coverage band is not empty", value=shares
            )


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A measured value with its standard error and the independent windows behind it."""

    value: float
    error: float
    n_eff: float


UNKNOWN = Figure(value=float("nan"), error=float("nan"), n_eff=0.0)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What is on record of one member in one service.

    Parameters
    ----------
    member, state
        Who, and the state it is in.
    since, until
        First and last as-of, ISO text; empty when there is no run.
    runs, failures, crashes
        Runs it was asked in, those it failed, and those in which its process broke.
    months
        Length of the time between, at least one month.
    peak_mb, added_s
        Largest memory, and the time that nine of ten computed runs stay under; None when nothing was
        computed.
    skill, coverage_80
        Live, over matured cutoffs.
    would_be_weight
        Mean over its runs; None without any.
    """

    member: str
    state: MemberState
    since: str = ""
    until: str = ""
    runs: int = 0
    failures: int = 0
    crashes: int = 0
    months: float = 1.0
    peak_mb: float | None = None
    added_s: float | None = None
    skill: Figure = UNKNOWN
    coverage_80: Figure = UNKNOWN
    would_be_weight: float | None = None


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One criterion held against the evidence.

    Parameters
    ----------
    criterion
        Its name in the settings.
    answer
        Met, not met, or cannot be told.
    value
        What was measured; None when nothing was.
    text
        In words, with the bound.
    """

    criterion: str
    answer: Answer
    value: float | None
    text: str


def evaluate(evidence: Evidence, criteria: Criteria) -> tuple[Finding, ...]:
    """Every criterion, one finding each."""
    e, c = evidence, criteria
    success = 1.0 - e.failures / e.runs if e.runs else None
    monthly = e.failures / e.months
    enough = e.runs >= c.runs
    few = f"{e.runs} of {c.runs} runs"
    failed = Answer.NOT_MET if monthly >= c.failures else _if(enough, met=True)
    succeeded = Answer.CANNOT_BE_TOLD if success is None else _if(enough, met=success >= c.success)
    return (
        _below("peak_mb", e.peak_mb, c.peak_mb, "MiB at most"),
        _below("added_s", e.added_s, c.added_s, "s in nine of ten runs"),
        _finding("success", succeeded, success, f"at least {c.success:.0%} of runs answered; {few}"),
        _finding("failures", failed, monthly, f"fewer than {c.failures:g} failures a month; {few}"),
        _skill(e.skill, c),
        _coverage(e.coverage_80, c),
        _weight(e.would_be_weight, c),
    )


def overall(findings: Sequence[Finding]) -> Answer:
    """Not met if any is not, cannot be told if any cannot, else met."""
    answers = {finding.answer for finding in findings}
    for answer in (Answer.NOT_MET, Answer.CANNOT_BE_TOLD):
        if answer in answers:
            return answer
    return Answer.MET if answers else Answer.CANNOT_BE_TOLD


def harmful(evidence: Evidence, criteria: Criteria) -> str:
    """Why a member that is on must go back to shadow by itself; empty when it need not.

    Only crashes, memory and harm count; everything else waits for a person.
    """
    if evidence.state is not MemberState.ON:
        return ""
    if evidence.crashes >= criteria.crashes:
        return f"its process broke in {evidence.crashes} of {evidence.runs} runs"
    if evidence.peak_mb is not None and evidence.peak_mb > criteria.peak_mb:
        return f"it took {evidence.peak_mb:.0f} MiB, more than {criteria.peak_mb:g}"
    skill = evidence.skill
    known = isfinite(skill.value) and isfinite(skill.error) and skill.n_eff >= criteria.harm_windows
    if known and skill.value + ONE_SIDED * skill.error < -criteria.harm:
        return (
            f"its live skill is {skill.value:.1%} (error {skill.error:.1%}), below {-criteria.harm:.0%} "
            f"beyond doubt"
        )
    return ""


def promoted(state: MemberState) -> MemberState:
    """One step up.

    Raises
    ------
    ConfigError
        When there is none.
    """
    if state is ORDER[-1]:
        raise ConfigError("the member is on already", value=str(state), action="nothing to promote")
    return ORDER[ORDER.index(state) + 1]


def demoted(state: MemberState) -> MemberState:
    """One step down.

    Raises
    ------
    ConfigError
        When there is none.
    """
    if state is ORDER[0]:
        raise ConfigError("the member is off already", value=str(state), action="nothing to take back")
    return ORDER[ORDER.index(state) - 1]


def _below(name: str, value: float | None, bound: float, words: str) -> Finding:
    answer = Answer.CANNOT_BE_TOLD if value is None else (Answer.MET if value < bound else Answer.NOT_MET)
    return _finding(name, answer, value, f"under {bound:g} {words}")


def _skill(figure: Figure, criteria: Criteria) -> Finding:
    bound = criteria.skill
    answer = Answer.CANNOT_BE_TOLD
    if _told(figure, criteria):
        if figure.value >= bound:
            answer = Answer.MET
        elif figure.value + ONE_SIDED * figure.error < bound:
            answer = Answer.NOT_MET
    return _finding("skill", answer, _number(figure), f"at least {bound:.1%}; {_behind(figure, criteria)}")


def _coverage(figure: Figure, criteria: Criteria) -> Finding:
    low, high = criteria.coverage_low, criteria.coverage_high
    answer = Answer.CANNOT_BE_TOLD
    if _told(figure, criteria):
        margin = ONE_SIDED * figure.error
        if low <= figure.value <= high:
            answer = Answer.MET
        elif figure.value + margin < low or figure.value - margin > high:
            answer = Answer.NOT_MET
    text = f"80 % interval covers {low:.0%} to {high:.0%}; {_behind(figure, criteria)}"
    return _finding("coverage_80", answer, _number(figure), text)


def _weight(value: float | None, criteria: Criteria) -> Finding:
    bound = criteria.would_be_weight
    answer = Answer.CANNOT_BE_TOLD if value is None else _if(True, met=value >= bound)
    return _finding("would_be_weight", answer, value, f"would carry at least {bound:.0%} on average")


def _told(figure: Figure, criteria: Criteria) -> bool:
    return isfinite(figure.value) and isfinite(figure.error) and figure.n_eff >= criteria.windows


def _behind(figure: Figure, criteria: Criteria) -> str:
    known = f", error {figure.error:.3f}" if isfinite(figure.error) else ""
    return f"{figure.n_eff:.1f} of {criteria.windows:g} independent windows{known}"


def _number(figure: Figure) -> float | None:
    return figure.value if isfinite(figure.value) else None


def _if(enough: bool, *, met: bool) -> Answer:
    if not enough:
        return Answer.CANNOT_BE_TOLD
    return Answer.MET if met else Answer.NOT_MET


def _finding(criterion: str, answer: Answer, value: float | None, text: str) -> Finding:
    return Finding(criterion=criterion, answer=answer, value=value, text=text)
