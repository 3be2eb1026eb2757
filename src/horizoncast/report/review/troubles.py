"""What went wrong in the review's weeks, sorted by whom it concerns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from horizoncast.forecast import Flag
from horizoncast.report.review.model import EventLine, Trouble, TroubleLine
from horizoncast.report.review.tables import ENSEMBLE
from horizoncast.store.facts import EventFact, Facts, MemberFact, RunFact

DATA_CODES = frozenset(
    {
        "ambiguous_dates", "assumed_vintage", "calendar_mismatch", "covariate_exhausted", "covariate_late",
        "crowded_session", "duplicates_agree", "duplicates_disagree", "empty_covariate", "fat_finger",
        "future_date", "gap", "history_revised", "history_withdrawn", "holiday_duplicate", "holiday_row",
        "input_stale", "input_waited", "interpolated", "late_covariate", "missing_sessions", "negative",
        "non_finite", "non_positive", "off_grid", "override_applied", "override_outdated",
        "override_redundant", "pull_failed", "short_history", "stale", "stuck", "unit_change", "unit_slip",
        "weekend_copy", "weekend_row",
    }
)  # fmt: skip
"""Events of data and corrections; others are told among the rest."""

_NOT_STARTED = ("NotAdmitted", "NotAsked", "NotInstalledError")
_FALLBACKS = (Flag.FALLBACK, Flag.IMPLAUSIBLE)


@dataclass(frozen=True, kw_only=True)
class Weeks:
    """The review's weeks.

    Parameters
    ----------
    since, until
        First and last day.
    open_end
        Whether what came after `until` belongs to it: that is the newest as-of on record then.
    """

    since: str
    until: str
    open_end: bool

    def holds(self, day: str) -> bool:
        """Whether a date or moment lies in the weeks."""
        return self.since <= day[:10] and (self.open_end or day[:10] <= self.until)


@dataclass(frozen=True, kw_only=True)
class SortedOut:
    """Events of one service by what they concern."""

    data: tuple[EventLine, ...]
    drift: tuple[EventLine, ...]
    events: tuple[EventLine, ...]
    troubles: tuple[TroubleLine, ...]


def sorted_out(facts: Facts, every: Sequence[RunFact], counted: Sequence[RunFact], weeks: Weeks) -> SortedOut:
    """Everything of the weeks.

    Parameters
    ----------
    every, counted
        Runs of one service and series, all of them, and those that count.
    """
    runs = {run.run_id: run for run in every if weeks.holds(run.as_of)}
    events = [event for event in facts.events if _belongs(event, every[0], runs, weeks)]
    members = {row.member for run in every for row in facts.members.get(run.run_id, ())}
    failed = [event for event in events if event.severity == "error" and not event.run_id]
    partial = [event for event in events if _member_of(event) in members]
    rest = [event for event in events if event not in failed and event not in partial]
    data = [event for event in rest if event.code in DATA_CODES]
    drift = [event for event in rest if event.code.startswith("drift_")]
    other = [event for event in rest if event not in data and event not in drift]
    told = [trouble for run in counted if run.run_id in runs for trouble in _in_run(run, facts)]
    known = {(trouble.run_id, trouble.subject, trouble.code) for trouble in told}
    more = [_at_past_cutoffs(event, runs[event.run_id]) for event in partial]
    return SortedOut(
        data=_lines(data),
        drift=_lines(drift),
        events=_lines(other),
        troubles=(
            *(_failed(event) for event in failed),
            *told,
            *(trouble for trouble in more if (trouble.run_id, trouble.subject, trouble.code) not in known),
        ),
    )


def _belongs(event: EventFact, head: RunFact, runs: dict[str, RunFact], weeks: Weeks) -> bool:
    if event.run_id:
        return event.run_id in runs
    mine = event.service == head.service and event.series in (head.series, "")
    return mine and weeks.holds(event.at)


def _member_of(event: EventFact) -> str:
    """The member whose failure an event of a run tells, as in ``var: killed``; empty for other events."""
    name, colon, _ = event.message.partition(": ")
    return name if event.run_id and colon and not event.code.islower() else ""


def _at_past_cutoffs(event: EventFact, run: RunFact) -> TroubleLine:
    """A member's failure that did not cost its forecast, but some of its past cutoffs."""
    member, _, reason = event.message.partition(": ")
    return _line(run, member, _kind(event.code), event.code, reason)


def _lines(events: Sequence[EventFact]) -> tuple[EventLine, ...]:
    """Each (code, message) once, as it was told last, in the order of time."""
    newest = {(event.code, event.message): event for event in events}
    return tuple(
        EventLine(
            at=event.at,
            run_id=event.run_id,
            code=event.code,
            severity=event.severity,
            message=event.message,
        )
        for event in sorted(newest.values(), key=lambda event: (event.at, event.code, event.message))
    )


def _failed(event: EventFact) -> TroubleLine:
    """A run that ended in an error."""
    return TroubleLine(
        run_id="",
        as_of=event.at[:10],
        subject=ENSEMBLE,
        kind=Trouble.FAILURE,
        code=event.code,
        reason=event.message,
    )


def _in_run(run: RunFact, facts: Facts) -> Iterator[TroubleLine]:
    yield from _of_run(run)
    for row in facts.members.get(run.run_id, ()):
        yield from _of_member(run, row)


def _kind(code: str) -> Trouble:
    """Skipped where the member was not even started."""
    return Trouble.SKIPPED if code in _NOT_STARTED else Trouble.FAILURE


def _of_run(run: RunFact) -> Iterator[TroubleLine]:
    for flag in run.flags:
        kind = Trouble.FALLBACK if flag in _FALLBACKS else Trouble.FLAG
        reason = "; ".join(run.reasons) if kind is Trouble.FALLBACK else ""
        yield _line(run, ENSEMBLE, kind, flag, reason)


def _of_member(run: RunFact, row: MemberFact) -> Iterator[TroubleLine]:
    if row.failure_code is not None:
        yield _line(run, row.member, _kind(row.failure_code), row.failure_code, row.failure_reason or "")
    for flag in row.flags:
        kind = Trouble.FALLBACK if flag in _FALLBACKS else Trouble.FLAG
        yield _line(run, row.member, kind, flag, "")


def _line(run: RunFact, subject: str, kind: Trouble, code: str, reason: str) -> TroubleLine:
    return TroubleLine(
        run_id=run.run_id, as_of=run.as_of, subject=subject, kind=kind, code=str(code), reason=reason
    )
