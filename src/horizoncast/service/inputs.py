"""Read a service's target: wait for a late value, run stale and say so, or do not run.

The decision is `horizoncast.data.waiting`; here is the clock, the sleep and what a run does with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from horizoncast.data.load import LoadedSeries, load_series
from horizoncast.data.target import Target
from horizoncast.data.waiting import InputPolicy, Readiness, judge_covariates, judge_target
from horizoncast.engine import EngineResult
from horizoncast.ensemble.gate import Status
from horizoncast.errors import CheckError
from horizoncast.forecast import Failure, Flag
from horizoncast.service.settings import Settings
from horizoncast.store.records import EventRecord

_NO_LIMIT = 10**9


def _system_now() -> np.datetime64:
    return np.datetime64("now", "s")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Where time comes from; tests bring their own."""

    now: Callable[[], np.datetime64] = _system_now
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, kw_only=True, eq=False)
class ReadInput:
    """A series fit to be forecast, and what was decided about its age.

    Parameters
    ----------
    loaded
        The series; its report holds the ages.
    waited_s
        Seconds spent waiting.
    reasons
        Why the run is degraded by its input; empty when it is fresh.
    """

    loaded: LoadedSeries
    waited_s: float
    reasons: tuple[str, ...]

    @property
    def stale(self) -> bool:
        """Whether the target is older than it should be."""
        freshness = self.loaded.report.freshness
        return freshness is not None and freshness.state is Readiness.STALE

    def events(self) -> list[EventRecord]:
        """What the log should know."""
        events = []
        if self.waited_s > 0:
            text = f"waited {self.waited_s:.0f} s for a late value of the target"
            events.append(EventRecord(code="input_waited", message=text, severity="info"))
        freshness = self.loaded.report.freshness
        if self.stale and freshness is not None:
            events.append(EventRecord(code="input_stale", message=freshness.reason, severity="warning"))
        for covariate in self.loaded.report.covariates:
            if covariate.reason:
                code = "covariate_exhausted" if covariate.exhausted else "covariate_late"
                events.append(EventRecord(code=code, message=covariate.reason, severity="warning"))
        return events


def read_series(settings: Settings, target: Target, *, as_of: np.datetime64 | None = None) -> LoadedSeries:
    """The history for a backtest: sources as the settings say, ages not judged by the clock."""
    return load_series(
        replace(target, max_staleness=None),
        as_of=as_of,
        store=settings.store_folder,
        later_overrides=settings.data.later_overrides,
    )


def read_input(
    settings: Settings,
    target: Target,
    *,
    as_of: np.datetime64 | None = None,
    tell: Callable[[str], None] | None = None,
    wait: bool = True,
    clock: Clock | None = None,
) -> ReadInput:
    """Read the target, wait for a late value as long as the settings say, and judge its age.

    Parameters
    ----------
    as_of
        Judge against this date instead of the clock; such a run never waits.
    wait
        False returns what is there, in the state ``wait`` where a run would wait.

    Raises
    ------
    CheckError
        When the input is too old, or its checks block.
    """
    clock = clock or Clock()
    policy = settings.inputs.policy(target.max_staleness)
    waited, limit = 0.0, None
    while True:
        loaded = _judged(_load(settings, target, as_of, clock.now()), target, policy, clock.now(), as_of)
        freshness = loaded.report.freshness
        assert freshness is not None
        if freshness.wait_until is None or not wait:
            break
        if tell is not None and waited == 0:
            tell(f"{settings.service}: {freshness.reason}")
        limit = limit or freshness.wait_until
        left = (min(limit, freshness.wait_until) - clock.now()) / np.timedelta64(1, "s")
        pause = min(settings.inputs.poll_seconds, max(float(left), 1.0))
        clock.sleep(pause)
        waited += pause
        if clock.now() >= limit:  # a source that is always late would be waited for for ever
            policy = replace(policy, wait_s=0.0)
    return _accepted(loaded, settings, waited)


def _load(
    settings: Settings, target: Target, as_of: np.datetime64 | None, now: np.datetime64
) -> LoadedSeries:
    """The series whatever its age: that is judged here, not by the checks."""
    judged_here = settings.inputs.policy(target.max_staleness).max_stale is not None
    return load_series(
        replace(target, max_staleness=_NO_LIMIT if judged_here else None),
        as_of=as_of,
        now=now,
        store=settings.store_folder,
        later_overrides=settings.data.later_overrides,
    )


def _judged(
    loaded: LoadedSeries,
    target: Target,
    policy: InputPolicy,
    now: np.datetime64,
    as_of: np.datetime64 | None,
) -> LoadedSeries:
    last = _last_observed(loaded)
    freshness = judge_target(
        last, target.calendar, policy, now=now, as_of=as_of, dating_offset=target.dating_offset
    )
    report = replace(loaded.report, freshness=freshness, covariates=judge_covariates(loaded.series))
    return replace(loaded, report=report)


def _last_observed(loaded: LoadedSeries) -> np.datetime64:
    series = loaded.series
    return np.datetime64(series.dates[np.flatnonzero(series.observed_mask)[-1]])


def _accepted(loaded: LoadedSeries, settings: Settings, waited: float) -> ReadInput:
    report = loaded.report
    assert report.freshness is not None
    if report.freshness.state is Readiness.BLOCKED:
        raise CheckError(
            f"{report.target}: {report.freshness.reason}",
            action="bring the source up to date, or change inputs.max_stale",
        )
    gone = [covariate.reason for covariate in report.covariates if covariate.exhausted]
    if gone and settings.inputs.need_covariates:
        raise CheckError(
            f"{report.target}: {'; '.join(gone)}",
            action="update the source, or set inputs.need_covariates = false",
        )
    stale = [report.freshness.reason] if report.freshness.state is Readiness.STALE else []
    return ReadInput(loaded=loaded, waited_s=waited, reasons=(*stale, *gone))


def mark(result: EngineResult, given: ReadInput) -> EngineResult:
    """The result with its input's age in flags, status and reasons."""
    if not given.reasons:
        return result
    flags = (*result.forecast.flags, *((Flag.STALE_INPUT,) if given.stale else ()))
    gone = [c.name for c in given.loaded.report.covariates if c.exhausted]
    reasons = [*given.reasons]
    failed = _without(result) if gone else []
    if failed:
        reasons.append(f"members without {', '.join(gone)}: {', '.join(failed)}")
    return replace(
        result,
        forecast=replace(result.forecast, flags=flags),
        status=Status.DEGRADED,
        status_reasons=(*result.status_reasons, *reasons),
    )


def _without(result: EngineResult) -> list[str]:
    """Members that a missing covariate kept from answering, or that answered without any."""
    found = []
    for member in result.members:
        if isinstance(member.live, Failure):
            if member.live.code == "MissingCovariateError":
                found.append(f"{member.name} (no forecast)")
        elif Flag.NO_COVARIATES in member.live.flags:
            found.append(f"{member.name} (forecast without covariates)")
    return found
