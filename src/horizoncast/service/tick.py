"""One tick: pull what is due, run what is due and unpublished, one child at a time, and end.

Whoever calls it (cron, a timer, the daemon, a person) may do so late, twice or never: what is due is
decided from the ledger alone. Nothing due is the usual case and stays cheap; whatever costs more is
imported and done only when there is something to do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from horizoncast.errors import ConfigError, HorizoncastError, RunEndedError
from horizoncast.policy.retry import Attempt, may_try
from horizoncast.policy.schedule import Slot
from horizoncast.service.attempts import Memory, read_memory, write_memory
from horizoncast.service.children import TIMED_OUT, Start, run_child
from horizoncast.service.due import DueRun, Looked, look
from horizoncast.service.light import LightSettings
from horizoncast.service.reviewing import NAME as REVIEW
from horizoncast.service.reviewing import REVIEW_S, review_arguments, review_due
from horizoncast.service.sending import send_waiting

LOCK = ".tick.lock"
PULL_S = 1800.0
"""A pull has a budget of its own (``data.budget_s``); this ends one that hangs all the same."""

Tell = Callable[[str], None]
Now = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One run that a tick started.

    Parameters
    ----------
    run
        What was due.
    exit_code
        Of the run; negative for a signal.
    seconds
        How long it took.
    """

    run: DueRun
    exit_code: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class TickReport:
    """What one tick did.

    Parameters
    ----------
    looked
        Every service, with what was due.
    ran
        Runs that were started, in order.
    missed
        Moments that went without a forecast, told now for the first time.
    busy
        Whether another tick was at work, so that this one did nothing.
    """

    looked: tuple[Looked, ...]
    ran: tuple[Ran, ...] = ()
    missed: tuple[tuple[str, Slot], ...] = ()
    busy: bool = False

    @property
    def exit_code(self) -> int:
        """0, or the first thing that went wrong."""
        for looked in self.looked:
            if looked.error is not None:
                return looked.error.exit_code
        codes = [RunEndedError.exit_code if not_finished(r.exit_code) else r.exit_code for r in self.ran]
        return next((code for code in codes if code), 0)


def system_now() -> datetime:
    """The clock."""
    return datetime.now(tz=UTC)


def not_finished(exit_code: int) -> bool:
    """Whether a run ended in a way that it could not record itself."""
    return exit_code < 0 or exit_code in (TIMED_OUT, 1)


def tick(
    services: Sequence[LightSettings],
    *,
    now: Now = system_now,
    start: Start = run_child,
    tell: Tell = lambda line: None,
    passed: Sequence[str] = (),
) -> TickReport:
    """Run what is due and unpublished.

    Parameters
    ----------
    services
        See `read_light`; the lock and the memory of ticks lie in the first one's output folder.
    now, start
        Clock and starter of children.
    tell
        Called with a line as something begins.
    passed
        Options that runs get, too (``--root`` and the like).

    Raises
    ------
    StoreError
        When the output folder cannot be written.
    """
    if not services:
        return TickReport(looked=())
    home, moment = services[0].output_folder, now()
    memory = read_memory(home)
    looked = tuple(look(services, moment, memory))
    if not _worth_it(looked, memory, moment) and review_due(services, memory, moment) is None:
        send_waiting(services, moment, tell)
        return TickReport(looked=looked)
    from horizoncast.store.locks import alone

    with alone(home / LOCK) as mine:
        if not mine:
            tell("another tick is at work")
            return TickReport(looked=looked, busy=True)
        return _Work(services=services, now=now, start=start, tell=tell, passed=tuple(passed)).do()


def _worth_it(looked: Sequence[Looked], memory: Memory, now: datetime) -> bool:
    """Whether anything is to be done, told or remembered."""
    runs = [run for one in looked for run in one.runs]
    return (
        memory.first is None
        or any(one.error is not None or one.missed or one.expired for one in looked)
        or any(_now_is_its_time(run, memory, now) for run in runs)
    )


def _now_is_its_time(run: DueRun, memory: Memory, now: datetime) -> bool:
    due = run.slot.due.moment
    return may_try(memory.attempt(run.settings.service, due), due, now, run.settings.limits)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """A tick that has the lock."""

    services: Sequence[LightSettings]
    now: Now
    start: Start
    tell: Tell
    passed: tuple[str, ...]

    def do(self) -> TickReport:
        home, moment = self.services[0].output_folder, self.now()
        memory = read_memory(home)  # again: the tick before this one may have just ended
        looked = tuple(look(self.services, moment, memory))
        due = [run.slot.due.moment for one in looked for run in one.runs]
        memory, missed = self._tell_missed(looked, memory.seen(moment, due))
        write_memory(home, memory)
        ready = [run for one in looked for run in one.runs if _now_is_its_time(run, memory, moment)]
        self._pull([one for one in looked if one.pulls and any(run in ready for run in one.runs)])
        ran = []
        for run in ready:
            done = self._run(run)
            ran.append(done)
            attempt = Attempt(due=run.slot.due.moment, at=self.now(), exit_code=done.exit_code)
            memory = memory.tried(run.settings.service, attempt)
            write_memory(home, memory)
        write_memory(home, self._review(memory))
        return TickReport(looked=looked, ran=tuple(ran), missed=tuple(missed))

    def _review(self, memory: Memory) -> Memory:
        """Make and send the weekly review where it is due; what goes wrong is told, and tried again later."""
        now = self.now()
        due = review_due(self.services, memory, now)
        if due is None:
            return memory
        self.tell("weekly review: making and sending it")
        code = self.start(review_arguments(self.passed), REVIEW_S)
        if code == 0:
            return memory.telling(REVIEW, due)
        self.tell(f"weekly review: exit code {code}; it is tried again")
        if memory.attempt(REVIEW, due) is None:
            _record_review_failure(self.services[0], now, code)
        return memory.tried(REVIEW, Attempt(due=due, at=now, exit_code=code))

    def _pull(self, services: Sequence[Looked]) -> None:
        """Pull the targets of due services, each once per store; a failed pull is on record by itself."""
        targets = {(one.settings.target_path, one.settings.store_folder) for one in services}
        for target, store in sorted(targets):
            self.tell(f"pulling {target.stem}")
            self.start(["data", "pull", str(target), "--store", str(store), *self.passed], PULL_S)

    def _run(self, run: DueRun) -> Ran:
        settings, began = run.settings, time.monotonic()
        local = run.slot.due.local
        self.tell(f"{settings.service}: due {local:%a %Y-%m-%d %H:%M} {settings.cadence.timezone}, running")
        limit = 60 * settings.limits.run_minutes
        code = self.start(run_arguments(run, self.passed), limit)
        if not_finished(code) or code == ConfigError.exit_code:
            record(settings, run.series, self.now(), _ended(run, code, limit))
        return Ran(run=run, exit_code=code, seconds=time.monotonic() - began)

    def _tell_missed(self, looked: Sequence[Looked], memory: Memory) -> tuple[Memory, list[tuple[str, Slot]]]:
        told = []
        for one in looked:
            service = one.settings.service
            for slot in one.missed:
                record(one.settings, one.series, self.now(), _missed(service, slot))
                memory = memory.telling(service, slot.due.moment)
                told.append((service, slot))
        return memory, told


def run_arguments(run: DueRun, passed: Sequence[str]) -> list[str]:
    """Arguments of the command that makes a run."""
    as_of = [] if run.as_of is None else ["--as-of", run.as_of]
    due = run.slot.due.moment.astimezone(UTC).isoformat()
    return ["run", run.settings.service, "--once", "--quiet", "--due", due, *as_of, *passed]


def record(settings: LightSettings, series: str, at: datetime, error: HorizoncastError) -> None:
    """Leave what went wrong in the log and in the ledger, and tell people.

    Where the settings of the service cannot be read at all, the log alone is told.

    Raises
    ------
    StoreError
        When the log cannot be written.
    """
    from horizoncast.service.runner import METRICS, record_failure
    from horizoncast.service.settings import load_settings
    from horizoncast.store.log_records import event_record
    from horizoncast.store.metrics_log import MetricsLog
    from horizoncast.store.records import EventRecord

    try:
        places = settings.places
        whole = load_settings(
            settings.service,
            overrides=settings.overrides,
            root=places.root,
            config=places.config,
            env_file=places.env_file,
        )
    except ConfigError as problem:
        event = EventRecord(code=type(error).__name__, message=f"{error}; {problem}", severity="error")
        line = event_record(event, at=at, service=settings.service, series=series)
        MetricsLog(settings.output_folder / METRICS).append([line])
        return
    record_failure(whole, series, at, error)


def _record_review_failure(settings: LightSettings, at: datetime, code: int) -> None:
    """Leave it in the log, once for each moment that it was due."""
    from horizoncast.service.runner import METRICS
    from horizoncast.store.log_records import event_record
    from horizoncast.store.metrics_log import MetricsLog
    from horizoncast.store.records import EventRecord

    text = f"the weekly review ended with exit code {code}; see `horizoncast review --send`"
    event = EventRecord(code="review_failed", message=text, severity="warning")
    line = event_record(event, at=at, service=settings.service, series="")
    MetricsLog(settings.output_folder / METRICS).append([line])


def _ended(run: DueRun, code: int, limit_s: float) -> RunEndedError:
    how = f"ended with exit code {code}"
    if code == TIMED_OUT:
        how = f"was ended after {limit_s / 60:g} minutes"
    elif code < 0:
        how = f"was ended by signal {-code}"
    return RunEndedError(
        f"the run of {run.settings.service} due {run.slot.due.local:%Y-%m-%d %H:%M} {how}",
        action=f"it is tried again while it is not too late; see `horizoncast run {run.settings.service}`",
    )


def _missed(service: str, slot: Slot) -> RunEndedError:
    return RunEndedError(
        f"{service}: nothing was published for {slot.due.local:%Y-%m-%d %H:%M}",
        action="it is too late for it now; horizoncast backfill makes up for it",
    )


def without_waiting(services: Sequence[LightSettings]) -> list[LightSettings]:
    """The same services, tried again at once: what a person asks for who calls `tick` by hand."""
    return [replace(s, limits=replace(s.limits, retry_minutes=0.0)) for s in services]
