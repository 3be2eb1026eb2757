"""Pull a target's sources into its store: the only part of the data floor that uses the network.

Every source is asked on its own, within its share of the budget; one that fails loses neither the
others nor what it had. A pull that finds nothing new changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

import numpy as np

from horizoncast.calendar import CalendarKind
from horizoncast.data.feeds import ALL, Asker, Delivery, Question, deliveries
from horizoncast.data.http import HttpClient
from horizoncast.data.http_limits import Budget
from horizoncast.data.payloads import keep_payload, payload_folder
from horizoncast.data.pull_state import SourceState, read_state, write_attempts, write_delivery
from horizoncast.data.reading import TARGET_KEY, covariate_key
from horizoncast.data.sources import Rows
from horizoncast.data.target import Source, Target
from horizoncast.data.vintage_records import Recorded, Revision
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.errors import ConfigError, SourceError

_DAY = np.timedelta64(86400, "s")
_DEFAULT_YEARS = 10
_RECHECK_DAYS = {CalendarKind.WEEKLY: 90, CalendarKind.MONTHLY: 400, CalendarKind.QUARTERLY: 800}


class Outcome(StrEnum):
    """How asking a source went."""

    UPDATED = "updated"
    UNCHANGED = "unchanged"
    PARTIAL = "partial"
    FAILED = "failed"
    RECENT = "recent"


@dataclass(frozen=True, kw_only=True)
class SourceReport:
    """What one source brought.

    Parameters
    ----------
    key, place
        ``target`` or ``covariate:NAME``, and the source as messages name it.
    outcome
        ``partial`` brought something before it failed; ``recent`` was not asked again so soon.
    new, late, revised, unchanged, conflicts
        See `vintage_records.Recorded`.
    newest
        Date up to which all its columns are known.
    answers, size
        Answers that came, and their bytes.
    reason
        Why it failed.
    """

    key: str
    place: str
    outcome: Outcome
    new: int = 0
    late: int = 0
    revised: tuple[Revision, ...] = ()
    unchanged: int = 0
    conflicts: tuple[np.datetime64, ...] = ()
    newest: np.datetime64 | None = None
    answers: int = 0
    size: int = 0
    reason: str | None = None

    @property
    def attempt(self) -> tuple[object, ...]:
        """What the store keeps of it; see `pull_state.write_attempts`."""
        counts = (self.new, self.late, len(self.revised), self.unchanged)
        return (self.key, self.outcome.value, *counts, self.reason)


@dataclass(frozen=True, kw_only=True)
class PullReport:
    """What a pull of one target brought.

    Parameters
    ----------
    target
        Name.
    pull, known_at
        Number of the pull, and the moment its values became known; None when no source is pulled.
    sources
        One report per pulled source.
    seconds
        Spent, by the client's clock.
    """

    target: str
    pull: int | None = None
    known_at: np.datetime64 | None = None
    sources: tuple[SourceReport, ...] = ()
    seconds: float = 0.0

    @property
    def failed(self) -> tuple[SourceReport, ...]:
        """Sources that did not bring all they should."""
        return tuple(s for s in self.sources if s.outcome in (Outcome.FAILED, Outcome.PARTIAL))


@dataclass(frozen=True, kw_only=True)
class PulledSource:
    """A source with its key and the columns wanted of it."""

    key: str
    source: Source
    columns: tuple[str, ...]


def pulled_sources(target: Target) -> tuple[PulledSource, ...]:
    """The sources of a target that are pulled, the target's own first."""
    found = []
    if target.source.pulled:
        assert target.source.column is not None
        shared = [spec.column for spec in target.covariates if spec.source is None]
        columns = tuple(dict.fromkeys([target.source.column, *shared]))
        found.append(PulledSource(key=TARGET_KEY, source=target.source, columns=columns))
    for spec in target.covariates:
        if spec.source is not None and spec.source.pulled:
            key = covariate_key(spec.name)
            found.append(PulledSource(key=key, source=spec.source, columns=(spec.column,)))
    return tuple(found)


def pull_target(
    target: Target, folder: Path, *, client: HttpClient, now: np.datetime64, min_age_s: float = 0.0
) -> PullReport:
    """Ask every pulled source of a target for what is missing, and store what is new.

    Parameters
    ----------
    target
        As declared.
    folder
        Folder of the stores and of the raw payloads.
    client
        Asks over HTTP; its limits hold the budget of the whole pull.
    now
        UTC; the values that come are known from then on.
    min_age_s
        Sources that answered within so many seconds are not asked again.

    Raises
    ------
    StoreError
        When the store cannot be written, or another pull of the target is running.
    """
    wanted = pulled_sources(target)
    if not wanted:
        return PullReport(target=target.name)
    began = client.clock()
    budget = Budget(client.clock, client.limits.budget_s)
    with VintageStore(store_path(folder, target.name), create=True) as store, store.locked():
        pull, known_at = store.begin_pull(now)
        puller = _Puller(
            target=target, store=store, folder=folder, asker=Asker(client), pull=pull, now=known_at
        )
        reports = tuple(
            puller.source(item, budget.share(len(wanted) - i), min_age_s) for i, item in enumerate(wanted)
        )
        write_attempts(store, pull, [r.attempt for r in reports if r.outcome is not Outcome.RECENT])
    return PullReport(
        target=target.name,
        pull=pull,
        known_at=known_at,
        sources=reports,
        seconds=client.clock() - began,
    )


class _Puller:
    """One pull of one target."""

    def __init__(
        self,
        *,
        target: Target,
        store: VintageStore,
        folder: Path,
        asker: Asker,
        pull: int,
        now: np.datetime64,
    ) -> None:
        self.target = target
        self.store = store
        self.payloads = payload_folder(folder, target.name)
        self.asker = asker
        self.pull = pull
        self.now = now

    def source(self, item: PulledSource, budget: Budget, min_age_s: float) -> SourceReport:
        """Ask one source; what goes wrong with it ends in its report."""
        report = SourceReport(key=item.key, place=item.source.place, outcome=Outcome.UNCHANGED)
        if min_age_s > 0 and self._answered_within(item.key, min_age_s):
            return replace(report, outcome=Outcome.RECENT, newest=self._newest(item))
        done, problem = Recorded(), None
        try:
            for delivery in self._deliveries(item, budget):
                done += self._keep(item, delivery)
                size = 0 if delivery.answer is None else len(delivery.answer.body)
                report = replace(report, answers=report.answers + 1, size=report.size + size)
        except (SourceError, ConfigError) as error:
            problem = self.asker.client.secrets.redact(str(error))
        return _completed(report, done, problem, self._newest(item))

    def _deliveries(self, item: PulledSource, budget: Budget) -> Iterator[Delivery]:
        """Columns that have no value yet are asked for from the start, apart from the others."""
        known = tuple(c for c in item.columns if self.store.newest(item.key, [c], self.now) is not None)
        empty = tuple(c for c in item.columns if c not in known)
        state = read_state(self.store, item.key)
        for columns, remembered in ((known, state), (empty, SourceState())):
            if columns:
                question = self._question(replace(item, columns=columns), remembered)
                yield from deliveries(question, self.asker, budget)

    def _question(self, item: PulledSource, state: SourceState) -> Question:
        feed = item.source.feed
        assert feed is not None
        since = feed.since if feed.since is not None else self.target.start
        if since is None:
            since = self.now - _DEFAULT_YEARS * 365 * _DAY
        recheck = feed.recheck_days
        if recheck is None:
            recheck = _RECHECK_DAYS.get(self.target.calendar.kind, 30)
        age = feed.recheck_all_days * _DAY
        fresh = {part for part, at in state.covered.items() if not age or self.now - at < age}
        newest = self._newest(item)
        known = newest is not None and (ALL in fresh or feed.asks_by("year"))
        start = max(since, newest - recheck * _DAY) if known and newest is not None else since
        return Question(
            source=item.source,
            columns=item.columns,
            since=since,
            start=start,
            now=self.now,
            newest=newest,
            fresh=fresh,
            files=state.files,
            utc=self.target.calendar.kind is CalendarKind.INTRADAY,
            validators=state.validators,
        )

    def _keep(self, item: PulledSource, delivery: Delivery) -> Recorded:
        """Write the payload, then rows and marks in one transaction."""
        if delivery.answer is not None and delivery.answer.status == 200 and delivery.url is not None:
            keep_payload(
                self.payloads,
                delivery.answer.body,
                url=self.asker.client.secrets.redact(delivery.url),
                at=str(self.now),
                headers=delivery.answer.headers,
            )
        with self.store.writing():
            done = Recorded()
            if delivery.rows is not None:
                done = self.store.record(self.pull, item.key, self._labelled(delivery.rows))
            write_delivery(self.store, item.key, self.pull, delivery)
        return done

    def _labelled(self, rows: Rows) -> Rows:
        """Days as days: a midnight that moves with daylight saving stays one date."""
        if self.target.calendar.kind is CalendarKind.INTRADAY or self.target.aggregate is not None:
            return rows
        return replace(rows, dates=rows.dates.astype("datetime64[D]").astype("datetime64[s]"))

    def _newest(self, item: PulledSource) -> np.datetime64 | None:
        return self.store.newest(item.key, item.columns, self.now)

    def _answered_within(self, key: str, seconds: float) -> bool:
        good = (Outcome.UPDATED, Outcome.UNCHANGED)
        times = [attempt.at for attempt in self.store.attempts(key) if attempt.outcome in good]
        return bool(times) and bool(self.now - times[-1] < np.timedelta64(int(seconds), "s"))


def _completed(
    report: SourceReport, done: Recorded, problem: str | None, newest: np.datetime64 | None
) -> SourceReport:
    brought = bool(done.new or done.late or done.revised)
    if problem is not None:
        outcome = Outcome.PARTIAL if report.answers else Outcome.FAILED
    elif done.conflicts:
        outcome, problem = Outcome.PARTIAL, _conflict(done.conflicts)
    else:
        outcome = Outcome.UPDATED if brought else Outcome.UNCHANGED
    return replace(
        report,
        outcome=outcome,
        new=done.new,
        late=done.late,
        revised=done.revised,
        unchanged=done.unchanged,
        conflicts=done.conflicts,
        newest=newest,
        reason=problem,
    )


def _conflict(dates: Sequence[np.datetime64]) -> str:
    return (
        f"{len(dates)} dates came twice with different values and were left out, first {dates[0]}; "
        "ask the provider, or set filter to one series"
    )
