"""What is on record of a member, as rollout criteria ask for it; and the commands that decide about it."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from horizoncast.calendar import as_stamp
from horizoncast.policy.rollout import CRASHES, ORDER, Evidence, Figure
from horizoncast.policy.states import MemberState
from horizoncast.validation.live import LiveTable, headline

_MONTH = np.timedelta64(30 * 86400, "s")


class MemberRun(Protocol):
    """A member in one run, from whichever record."""

    @property
    def failure_code(self) -> str | None:
        """Class of its error at the live cutoff."""

    @property
    def would_be_weight(self) -> float:
        """What it would carry if it were on."""

    @property
    def windows(self) -> int:
        """Cutoffs behind its weight."""

    @property
    def wall_s(self) -> float | None:
        """Time its process took."""

    @property
    def peak_mb(self) -> float | None:
        """Memory its process took."""


def evidence_of(
    member: str,
    state: MemberState,
    span: tuple[str, str],
    rows: Sequence[tuple[MemberRun, Collection[str]]],
    live: LiveTable | None,
) -> Evidence:
    """Evidence of a member over some runs.

    Parameters
    ----------
    span
        First and last as-of of the service's runs, the member's or not.
    rows
        The member in each of them, with the codes of its other failures in it.
    live
        Its table over matured cutoffs; None when none of its forecasts has been scored.
    """
    found = [row for row, _ in rows]
    seconds = [row.wall_s for row in found if row.wall_s is not None]
    peaks = [row.peak_mb for row in found if row.peak_mb is not None]
    weights = [row.would_be_weight for row in found if row.windows]
    evidence = Evidence(
        member=member,
        state=state,
        since=span[0],
        until=span[1],
        runs=len(found),
        failures=sum(row.failure_code is not None for row in found),
        crashes=sum(bool({row.failure_code, *codes} & set(CRASHES)) for row, codes in rows),
        months=max(1.0, float((as_stamp(span[1]) - as_stamp(span[0])) / _MONTH)),
        peak_mb=max(peaks) if peaks else None,
        added_s=float(np.quantile(seconds, 0.9)) if seconds else None,
        would_be_weight=float(np.mean(weights)) if weights else None,
    )
    if live is None:
        return evidence
    figures = headline(live)
    skill, cover = figures.skill, figures.coverage_80
    return replace(
        evidence,
        skill=Figure(value=skill.value, error=skill.error, n_eff=skill.n_eff),
        coverage_80=Figure(value=cover.value, error=cover.error, n_eff=cover.n_eff),
    )


def promote_command(member: str, service: str, state: MemberState) -> str:
    """The command that takes a member one step up; empty when it is on.

    >>> promote_command("var", "forecaster_7d", MemberState.SHADOW)
    'horizoncast rollout promote var forecaster_7d --by NAME --why REASON'
    """
    return "" if state is ORDER[-1] else _command("promote", member, service)


def rollback_command(member: str, service: str, state: MemberState) -> str:
    """The command that takes a member one step down; empty when it is off."""
    return "" if state is ORDER[0] else _command("rollback", member, service)


def _command(verb: str, member: str, service: str) -> str:
    words = ["horizoncast", "rollout", verb, member, service, "--by", "NAME", "--why", "REASON"]
    return shlex.join(words)
