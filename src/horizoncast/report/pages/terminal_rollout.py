"""Rollout on the terminal: every member's answer, what stands in its way, and the commands to decide with."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from horizoncast.policy.states import MemberState
from horizoncast.report.pages.review_tables import words_of
from horizoncast.report.review.evidence import promote_command, rollback_command
from horizoncast.report.review.model import RolloutLine, ServiceReview
from horizoncast.report.texts import text

_OPEN = ("not_met", "cannot_be_told")
_ANY = ("MEMBER", "SERVICE")


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """A table with lines below it; either may be empty."""

    title: str = ""
    head: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    lines: tuple[str, ...] = ()


def rollout_block(services: Sequence[ServiceReview], language: str) -> TextBlock:
    """One table for all services; what is open once for all who share it; commands ready to be copied."""
    rows = [
        (
            service.service,
            line.member,
            words_of("common.state", line.state, language),
            f"{text(f'review.rollout.answers_{line.answer}', language)} ({_counts(line, language)})",
        )
        for service in services
        for line in service.rollout
    ]
    if not rows:
        return TextBlock(lines=(text("review.rollout.empty", language),))
    names = ("terminal.status.service", *(f"review.rollout.{name}" for name in ("member", "state", "answer")))
    head = tuple(text(name, language) for name in names)
    lines = (*_open(services, language), *_commands(services, language))
    return TextBlock(head=head, rows=tuple(rows), lines=lines)


def _counts(line: RolloutLine, language: str) -> str:
    met = sum(c.answer == "met" for c in line.criteria)
    return text("terminal.met", language, n=met, total=len(line.criteria))


def _open(services: Sequence[ServiceReview], language: str) -> Iterator[str]:
    """Criteria that are not met or cannot be told, with all members and services they are open for."""
    members: dict[tuple[str, str], list[str]] = {}
    for service in services:
        for line in service.rollout:
            said = _open_of(line, language)
            if said:
                members.setdefault((service.service, said), []).append(line.member)
    groups: dict[tuple[str, str], list[str]] = {}
    for (service_name, said), names in members.items():
        groups.setdefault((", ".join(names), said), []).append(service_name)
    for (names_said, said), who in groups.items():
        yield f"{', '.join(who)} / {names_said}: {said}"


def _open_of(line: RolloutLine, language: str) -> str:
    parts = []
    for answer in _OPEN:
        found = [
            words_of("review.criterion", c.criterion, language) for c in line.criteria if c.answer == answer
        ]
        if found:
            parts.append(f"{words_of('review.answer', answer, language)}: {'; '.join(found)}")
    return ". ".join(parts)


def _commands(services: Sequence[ServiceReview], language: str) -> Iterator[str]:
    """Commands that the criteria speak for in full, then the form of all others."""
    lines = [line for service in services for line in service.rollout]
    for line in lines:
        if line.promote and line.answer == "met":
            yield text("terminal.speaks_for", language, command=line.promote)
        if line.rollback and line.answer == "not_met":
            yield text("terminal.speaks_for", language, command=line.rollback)
    if any(line.promote for line in lines):
        yield text("terminal.step_up", language, command=promote_command(*_ANY, MemberState.OFF))
    if any(line.rollback for line in lines):
        yield text("terminal.step_down", language, command=rollback_command(*_ANY, MemberState.ON))
