"""Rollout criteria of members, met or not, with the command that acts on them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from horizoncast.calendar import as_stamp
from horizoncast.models.registry import NAIVES
from horizoncast.policy.rollout import Criteria, Evidence, Finding, evaluate, overall
from horizoncast.policy.states import MemberState
from horizoncast.report.review.evidence import evidence_of, promote_command, rollback_command
from horizoncast.report.review.model import CriterionLine, RolloutLine
from horizoncast.report.review.tables import OwnFacts, kept
from horizoncast.store.facts import DecisionFact, MemberFact, RunFact
from horizoncast.validation.live import LiveTable

_WEEK = np.timedelta64(7 * 86400, "s")


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What a criterion of a member is held to: see `CriterionLine`."""

    low: float | None = None
    high: float | None = None
    behind: float | None = None
    needed: float | None = None
    error: float | None = None


def rollout_lines(
    own: OwnFacts,
    runs: Sequence[RunFact],
    members: Mapping[str, Sequence[MemberFact]],
    decisions: Sequence[DecisionFact],
    criteria: Criteria,
    *,
    tables: Mapping[str, LiveTable],
    fixed: Collection[str] = (),
) -> tuple[RolloutLine, ...]:
    """Every member of the newest run or with a decision on record; naives have no state to change.

    Parameters
    ----------
    runs
        The runs that count, one per as-of.
    members
        By run.
    tables
        Of live forecasts.
    fixed
        Members whose state follows from others'.
    """
    head = own.head
    since = as_stamp(head.as_of) - criteria.weeks * _WEEK
    recent = [run for run in runs if as_stamp(run.as_of) > since]
    decided = {d.member: d for d in decisions if (d.service, d.series) == (head.service, head.series)}
    states = {row.member: row.state for row in members.get(head.run_id, ())}
    states |= {name: decision.after for name, decision in decided.items()}
    return tuple(
        _line(
            head.service,
            decided.get(name),
            evidence_of(
                name,
                MemberState.parse(state),
                (recent[0].as_of, recent[-1].as_of),
                [(row, ()) for run in recent for row in members.get(run.run_id, ()) if row.member == name],
                _since(own, tables.get(name), since),
            ),
            criteria,
        )
        for name, state in sorted(states.items())
        if name not in NAIVES and name not in fixed
    )


def _since(own: OwnFacts, table: LiveTable | None, since: np.datetime64) -> LiveTable | None:
    """Cutoffs whose last step fell into the criteria's weeks."""
    if table is None:
        return None
    ends = {as_stamp(run.cutoff): as_stamp(own.end(run)) for run in own.runs}
    return kept(table, np.array([ends[cutoff] > since for cutoff in table.cutoffs], dtype=np.bool_))


def _line(service: str, decision: DecisionFact | None, evidence: Evidence, criteria: Criteria) -> RolloutLine:
    name, state = evidence.member, evidence.state
    findings = evaluate(evidence, criteria)
    bounds = _bounds(evidence, criteria)
    source = "" if decision is None else f"{decision.who}, {decision.at[:10]}: {decision.reason}"
    return RolloutLine(
        member=name,
        state=str(state),
        source=source,
        answer=_code(overall(findings)),
        criteria=tuple(_criterion(finding, bounds[finding.criterion]) for finding in findings),
        promote=promote_command(name, service, state),
        rollback=rollback_command(name, service, state),
    )


def _criterion(finding: Finding, bounds: Bounds) -> CriterionLine:
    return CriterionLine(
        criterion=finding.criterion,
        answer=_code(finding.answer),
        value=finding.value,
        error=bounds.error,
        low=bounds.low,
        high=bounds.high,
        behind=bounds.behind,
        needed=bounds.needed,
    )


def _code(answer: str) -> str:
    return str(answer).replace(" ", "_")


def _bounds(evidence: Evidence, criteria: Criteria) -> dict[str, Bounds]:
    runs, windows = float(criteria.runs), criteria.windows
    skill, cover = evidence.skill, evidence.coverage_80
    behind = float(evidence.runs)
    return {
        "peak_mb": Bounds(high=criteria.peak_mb),
        "added_s": Bounds(high=criteria.added_s),
        "success": Bounds(low=criteria.success, behind=behind, needed=runs),
        "failures": Bounds(high=criteria.failures, behind=behind, needed=runs),
        "skill": Bounds(low=criteria.skill, behind=skill.n_eff, needed=windows, error=_known(skill.error)),
        "coverage_80": Bounds(
            low=criteria.coverage_low,
            high=criteria.coverage_high,
            behind=cover.n_eff,
            needed=windows,
            error=_known(cover.error),
        ),
        "would_be_weight": Bounds(low=criteria.would_be_weight),
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
