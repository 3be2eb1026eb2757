"""Is the input fresh: run now, wait for a late value, run stale, or do not run at all.

Pure functions of dates and a policy; nobody sleeps here. Ages are counted in sessions of the series'
calendar, so that a Monday does not make Friday's rate three days old.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind, as_stamp
from horizoncast.data.align import session_start
from horizoncast.data.checks import day_text
from horizoncast.errors import ConfigError
from horizoncast.series import Series


class Readiness(StrEnum):
    """What to do with the input as it stands."""

    FRESH = "fresh"
    WAIT = "wait"
    STALE = "stale"
    BLOCKED = "blocked"


@dataclass(frozen=True, kw_only=True)
class InputPolicy:
    """When a value is due, and what happens without it.

    Parameters
    ----------
    ready_s
        Seconds from the end of a session to the moment its value is usually there.
    wait_s
        Seconds beyond that moment to wait for a value before running without it.
    tolerated
        Sessions by which the last value may lag and still count as fresh.
    max_stale
        Sessions by which it may lag at most; None never blocks and never calls anything stale.
    run_stale
        Whether a run goes on with an older value, flagged; else lateness blocks.
    """

    ready_s: float = 0.0
    wait_s: float = 0.0
    tolerated: int = 0
    max_stale: int | None = None
    run_stale: bool = True

    def __post_init__(self) -> None:
        for name in ("ready_s", "wait_s", "tolerated"):
            if getattr(self, name) < 0:
                raise ConfigError(f"{name} must not be negative", value=getattr(self, name))
        if self.max_stale is not None and self.max_stale < self.tolerated:
            raise ConfigError(
                "max_stale is below what is tolerated", value=self.max_stale, allowed=f">= {self.tolerated}"
            )


@dataclass(frozen=True, kw_only=True)
class Freshness:
    """How old the target is, and what follows.

    Parameters
    ----------
    state
        The decision.
    last
        Date of the last observation.
    behind
        Sessions whose value should be there and is not.
    wait_until
        Moment (UTC) to wait for; None unless the state is ``wait``.
    reason
        In words.
    """

    state: Readiness
    last: np.datetime64
    behind: int
    wait_until: np.datetime64 | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class CovariateFreshness:
    """How old a covariate is at the cutoff.

    Parameters
    ----------
    name
        The covariate.
    behind
        Sessions by which its last value is older than its publication lag explains.
    max_carry
        Sessions over which a value is repeated.
    exhausted
        Whether nothing is left to carry: members that need it fail.
    """

    name: str
    behind: int
    max_carry: int
    exhausted: bool

    @property
    def reason(self) -> str:
        """In words; empty while it is fresh."""
        if not self.behind:
            return ""
        end = "members that need it fail" if self.exhausted else "its last value is repeated"
        return f"covariate {self.name} is {self.behind} sessions late, carried for {self.max_carry}: {end}"


def judge_target(
    last: np.datetime64,
    calendar: Calendar,
    policy: InputPolicy,
    *,
    now: np.datetime64,
    as_of: np.datetime64 | None = None,
    dating_offset: int = 0,
) -> Freshness:
    """Decide from the last observation.

    Parameters
    ----------
    last
        Date of the last observation.
    now
        The clock, UTC.
    as_of
        Of a replay or a backtest: it is judged against this date, whose own session is expected, and
        never waits. None judges against the clock, whose own session is not expected yet.
    dating_offset
        Sessions by which a value's date runs ahead of the moment it is known.
    """
    if as_of is None:
        clock = as_stamp(now) - np.timedelta64(round(policy.ready_s), "s")
        behind = max(_behind(last, calendar, clock, whole=False) + dating_offset, 0)
    else:
        behind = max(_behind(last, calendar, as_stamp(as_of), whole=True), 0)
    if policy.max_stale is None or behind <= policy.tolerated:
        return Freshness(state=Readiness.FRESH, last=as_stamp(last), behind=behind)
    deadline = _deadline(last, calendar, policy, dating_offset)
    late = f"the last value, {day_text(as_stamp(last))}, is {behind} sessions old"
    if as_of is None and now < deadline:
        reason = f"{late}; waiting until {deadline} UTC"
        return Freshness(
            state=Readiness.WAIT, last=as_stamp(last), behind=behind, wait_until=deadline, reason=reason
        )
    return _late(as_stamp(last), behind, policy, late)


def _late(last: np.datetime64, behind: int, policy: InputPolicy, late: str) -> Freshness:
    """Nothing more to wait for: run stale or block."""
    assert policy.max_stale is not None
    if policy.run_stale and behind <= policy.max_stale:
        return Freshness(state=Readiness.STALE, last=last, behind=behind, reason=late)
    bound = policy.max_stale if policy.run_stale else policy.tolerated
    reason = f"{late}, at most {bound} are accepted"
    return Freshness(state=Readiness.BLOCKED, last=last, behind=behind, reason=reason)


def _behind(last: np.datetime64, calendar: Calendar, until: np.datetime64, *, whole: bool) -> int:
    """Sessions from `last` to `until`, that of `until` when `whole`; negative when `last` is later."""
    if calendar.kind is CalendarKind.BUSINESS:
        end = until if whole else until - np.timedelta64(1, "D")
        if last <= end:
            return int((calendar.sessions(last, end) > last).sum())
        ahead = calendar.sessions(end, last)
        return -int((ahead.astype("datetime64[D]") > end.astype("datetime64[D]")).sum())
    return int(calendar.ordinal(until)[0] - calendar.ordinal(last)[0]) - int(not whole)


def _deadline(last: np.datetime64, calendar: Calendar, policy: InputPolicy, offset: int) -> np.datetime64:
    """End of the wait for the first session that is missed: one that is long dead is not waited for."""
    steps = policy.tolerated + 1 - offset
    session = calendar.future(last, steps)[-1] if steps > 0 else last
    due = _end_of(calendar, session)
    return np.datetime64(due + np.timedelta64(round(policy.ready_s + policy.wait_s), "s"))


def _end_of(calendar: Calendar, session: np.datetime64) -> np.datetime64:
    if calendar.kind in (CalendarKind.BUSINESS, CalendarKind.DAILY):
        return as_stamp(session.astype("datetime64[D]") + np.timedelta64(1, "D"))
    return as_stamp(session_start(calendar, calendar.future(session, 1))[0])


def judge_covariates(series: Series) -> tuple[CovariateFreshness, ...]:
    """How old each covariate is at the series' end; those known in advance must hold its last session."""
    known = series.until(series.last).covariates
    found = []
    for p, covariate in enumerate(series.covariates):
        lag = 0 if covariate.known_future else covariate.publication_lag + series.dating_offset
        seen = np.flatnonzero(np.isfinite(covariate.values[: len(series)]))
        wanted = len(series) - 1 - lag
        behind = wanted - int(seen[-1]) if len(seen) else wanted + 1
        found.append(
            CovariateFreshness(
                name=covariate.name,
                behind=max(behind, 0),
                max_carry=covariate.max_carry,
                exhausted=bool(np.isnan(known[-1, p])),
            )
        )
    return tuple(found)
