"""Rollout states of members: what the ledger says over the settings, why, and who decided it.

Settings say in which state a member starts; a decision on record overrides them for its service and
series, and a state given on the command line overrides both for that command.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import cached_property

import numpy as np

from horizoncast.calendar import Calendar, as_stamp
from horizoncast.ensemble.records import HYBRID
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.models.registry import NAIVES
from horizoncast.policy.rollout import (
    ORDER,
    Answer,
    Evidence,
    Finding,
    demoted,
    evaluate,
    harmful,
    overall,
    promoted,
)
from horizoncast.policy.states import MemberState
from horizoncast.report.review.evidence import evidence_of
from horizoncast.series import Series
from horizoncast.service.layers import source_of
from horizoncast.service.scoring import live_tables
from horizoncast.service.settings import Settings
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import MemberRow, Transition
from horizoncast.store.plain import plain, time_text
from horizoncast.store.records import EventRecord
from horizoncast.validation.live import LiveTable

AUTOMATIC = "horizoncast"
"""Who decided, where the program itself took a member back."""

_WEEK = np.timedelta64(7 * 86400, "s")


@dataclass(frozen=True, kw_only=True)
class MemberStanding:
    """One member of one service: its state, where that comes from, and what is on record of it.

    Parameters
    ----------
    state, source
        The state it runs in, and who set it.
    findings, answer
        Every criterion, and all of them together.
    """

    service: str
    series: str
    member: str
    state: MemberState
    source: str
    evidence: Evidence
    findings: tuple[Finding, ...]
    answer: Answer


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A person's decision about a member.

    Parameters
    ----------
    who, why
        On record for good.
    anyway
        Promote although a criterion is not met.
    """

    who: str
    why: str
    anyway: bool = False

    def __post_init__(self) -> None:
        if not self.who.strip() or not self.why.strip():
            raise ConfigError(
                "a rollout decision names who made it and why", action="add --by NAME and --why REASON"
            )


def rolled_out(
    settings: Settings, ledger: Ledger, series: Series, *, now: datetime | None = None
) -> tuple[Settings, tuple[EventRecord, ...]]:
    """The settings with the states that hold, after taking back what must be taken back.

    Parameters
    ----------
    settings
        Of the service, as its files say.
    series
        As read for the run.

    Returns
    -------
    settings, events
        With the ledger's states; where they differ from the files', and what was taken back now.
    """
    rollout = Rollout(settings=settings, ledger=ledger, series=series.name, calendar=series.calendar)
    events = rollout.take_back(now=now)
    changed = {}
    for name, (state, source) in rollout.states().items():
        said = settings.members[name].state
        if state is not said:
            changed[name] = settings.members[name].model_copy(update={"state": state})
            text = f"{name} is {state} by decision ({source}); the settings say {said}"
            events.append(EventRecord(code="rollout_state", message=text, severity="info"))
    members = {**settings.members, **changed}
    return (settings.model_copy(update={"members": members}) if changed else settings), tuple(events)


@dataclass(frozen=True, kw_only=True)
class Rollout:
    """The members of one service and series, as settings and ledger have them.

    Parameters
    ----------
    settings, ledger
        Of the service.
    series, calendar
        Name of its target, and its sessions.
    """

    settings: Settings
    ledger: Ledger
    series: str
    calendar: Calendar

    @property
    def members(self) -> tuple[str, ...]:
        """Members that have a state: all but the naives, which always run."""
        return tuple(name for name in self.settings.members if name not in NAIVES and name != HYBRID)

    def states(self) -> dict[str, tuple[MemberState, str]]:
        """State of every member, and where it comes from."""
        decided = {t.member: t for t in self._decisions()}
        found: dict[str, tuple[MemberState, str]] = {}
        for name in self.members:
            source = source_of(self.settings.layers, f"members.{name}.state") or "class default"
            if name in decided and not source.startswith("command line"):
                last = decided[name]
                found[name] = (MemberState.parse(last.after), f"{last.who}, {last.at[:10]}: {last.reason}")
            else:
                found[name] = (self.settings.members[name].state, source)
        return found

    def standings(self) -> tuple[MemberStanding, ...]:
        """Every member with its evidence and what it says."""
        found = []
        for name, (state, source) in self.states().items():
            evidence = self.evidence(name, state)
            findings = evaluate(evidence, self.settings.rollout.as_criteria())
            found.append(
                MemberStanding(
                    service=self.settings.service,
                    series=self.series,
                    member=name,
                    state=state,
                    source=source,
                    evidence=evidence,
                    findings=findings,
                    answer=overall(findings),
                )
            )
        return tuple(found)

    def evidence(self, member: str, state: MemberState, *, after: str = "") -> Evidence:
        """What is on record of a member over the last weeks.

        Parameters
        ----------
        after
            Moment from which runs count: those before the last decision were its reason already.
        """
        service, weeks = self.settings.service, self.settings.rollout.weeks
        every = self.ledger.runs.all(service=service, series=self.series, revisions=False)
        runs = [run for run in every if run.committed >= after]
        if not runs:
            return Evidence(member=member, state=state)
        since = as_stamp(runs[-1].as_of) - weeks * _WEEK
        kept = {run.run_id: run for run in runs if as_stamp(run.as_of) > since}
        first = min(run.as_of for run in kept.values())
        rows = [
            row
            for row in self.ledger.runs.member_history(service, self.series, since=first)
            if row.run_id in kept and row.member == member
        ]
        table = self._tables.get(member)
        live = None if table is None else _since(table, since, self.calendar)
        span = (first, max(run.as_of for run in kept.values()))
        return evidence_of(member, state, span, [(row, _problem_codes(row)) for row in rows], live)

    def promote(self, member: str, decision: Decision, *, now: datetime | None = None) -> Transition:
        """Record a person's decision to let a member go one step up: off, shadow, on.

        Raises
        ------
        ConfigError
            When it is on already, or a criterion is not met and the decision does not say so.
        UnknownNameError
            When the service has no such member.
        """
        evidence = self.evidence(member, self._state(member))
        after = promoted(evidence.state)
        findings = evaluate(evidence, self.settings.rollout.as_criteria())
        missed = [f.criterion for f in findings if f.answer is Answer.NOT_MET]
        if after is MemberState.ON and missed and not decision.anyway:
            raise ConfigError(
                f"{member} does not meet the criteria of {self.settings.service}",
                value=", ".join(missed),
                action="look at `horizoncast rollout status`; --anyway promotes it all the same",
            )
        return self._record(evidence, after, decision, now)

    def rollback(
        self,
        member: str,
        decision: Decision,
        *,
        to: MemberState | None = None,
        now: datetime | None = None,
    ) -> Transition:
        """Record a person's decision to take a member back, one step or to the state named.

        Raises
        ------
        ConfigError
            When that is no step down.
        UnknownNameError
            When the service has no such member.
        """
        evidence = self.evidence(member, self._state(member))
        after = demoted(evidence.state) if to is None else to
        if ORDER.index(after) >= ORDER.index(evidence.state):
            raise ConfigError(
                "a rollback goes down", value=f"{evidence.state} to {after}", allowed="on, shadow, off"
            )
        return self._record(evidence, after, decision, now)

    def take_back(self, *, now: datetime | None = None) -> list[EventRecord]:
        """Send members that crash, take too much memory or do harm back to shadow; each is an event."""
        events = []
        decided = {t.member: t.at for t in self._decisions()}
        for name, (state, source) in self.states().items():
            if state is not MemberState.ON or source.startswith("command line"):
                continue
            evidence = self.evidence(name, state, after=decided.get(name, ""))
            if reason := harmful(evidence, self.settings.rollout.as_criteria()):
                self._record(evidence, MemberState.SHADOW, Decision(who=AUTOMATIC, why=reason), now)
                text = f"{name} goes back to shadow: {reason}"
                events.append(EventRecord(code="rollout_rollback", message=text, severity="warning"))
        return events

    @cached_property
    def _tables(self) -> dict[str, LiveTable]:
        return live_tables(self.ledger, self.settings.service, self.series, self.calendar)

    def _decisions(self) -> tuple[Transition, ...]:
        return self.ledger.rollout.all(service=self.settings.service, series=self.series)

    def _state(self, member: str) -> MemberState:
        if member not in self.members:
            raise UnknownNameError.of("member with a rollout state", member, self.members)
        return self.states()[member][0]

    def _record(
        self, evidence: Evidence, after: MemberState, decision: Decision, now: datetime | None
    ) -> Transition:
        findings = evaluate(evidence, self.settings.rollout.as_criteria())
        transition = Transition(
            at=time_text(now or datetime.now(tz=UTC)),
            service=self.settings.service,
            series=self.series,
            member=evidence.member,
            before=str(evidence.state),
            after=str(after),
            who=decision.who,
            reason=decision.why,
            evidence=plain({"evidence": asdict(evidence), "findings": [asdict(f) for f in findings]}),
        )
        self.ledger.rollout.add(transition)
        return transition


def _problem_codes(row: MemberRow) -> set[str]:
    """Codes of a member's failures beside that at the live cutoff."""
    return {str(problem.get("code")) for problem in row.problems}


def _since(table: LiveTable, since: np.datetime64, calendar: Calendar) -> LiveTable:
    """Cutoffs whose last step fell into the last weeks: what has matured in them."""
    keep = np.array([calendar.future(cutoff, table.steps)[-1] > since for cutoff in table.cutoffs])
    arrays = {name: value[keep] for name, value in vars(table).items() if name != "subject"}
    return replace(table, **arrays)
