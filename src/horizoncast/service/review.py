"""The weekly review of services: facts from their ledgers or a metrics file, states from their cadences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from horizoncast.errors import ConfigError
from horizoncast.policy.rollout import Criteria
from horizoncast.report.review.build import REACH_WEEKS, Asked, build_review
from horizoncast.report.review.model import Review, StatusLine
from horizoncast.service.due import ledger_file
from horizoncast.service.light import LightSettings
from horizoncast.service.status import OnRecord, statuses
from horizoncast.store.facts import Facts, Span, heads
from horizoncast.store.ledger.facts import is_current, ledger_facts, sqlite_query
from horizoncast.store.ledger.peek import FailedRun, Head, Published
from horizoncast.store.plain import time_text

FIXED = ("hybrid",)
"""Its rollout state follows from its parts'; a test holds it to `horizoncast.service.member_settings`."""


@dataclass(frozen=True, kw_only=True)
class ReviewRequest:
    """Which review.

    Parameters
    ----------
    weeks
        Its length; None takes the setting ``review.weeks`` of the first service.
    as_of
        Its last day (ISO): nothing dated later is looked at. None takes the newest as-of on record.
    service, series
        Only these; None for all.
    file
        Read this metrics file (and its archives) instead of the ledger.
    now
        Moment to judge lateness at; the clock's by default, the end of `as_of` where that is given.
    """

    weeks: int | None = None
    as_of: str | None = None
    service: str | None = None
    series: str | None = None
    file: Path | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        if self.weeks is not None and not 1 <= self.weeks <= 520:
            raise ConfigError("a review is of whole weeks", value=self.weeks, allowed="1 to 520")


def weekly_review(services: Sequence[LightSettings], request: ReviewRequest) -> Review:
    """Read everything on record and say how the weeks went.

    Parameters
    ----------
    services
        Whose states are told; runs of others are reviewed where they are on record.

    Raises
    ------
    StoreError
        When a ledger or the file cannot be read.
    """
    clock = datetime.now(tz=UTC) if request.now is None else request.now
    weeks = request.weeks or services[0].weeks
    days = 7 * max(REACH_WEEKS, weeks)
    span = Span(days=days, until=request.as_of, service=request.service, series=request.series)
    if request.file is not None:
        from horizoncast.store.log_facts import log_facts

        facts, source = log_facts(request.file, span), request.file.name
    else:
        facts, source = _from_ledgers(services, span), "ledger"
    asked = Asked(
        weeks=weeks,
        until=request.as_of,
        made=time_text(clock),
        source=source,
        criteria={settings.service: criteria_of(settings) for settings in services},
        fixed=FIXED,
    )
    return build_review(facts, asked, _status(services, facts, request, clock))


def criteria_of(settings: LightSettings) -> Criteria:
    """Rollout criteria of a service, read without pydantic.

    Raises
    ------
    ConfigError
        When one of them is no number, or none of the criteria.
    """
    usual = asdict(Criteria())
    values = {}
    for key, value in settings.rollout.items():
        if key not in usual:
            raise ConfigError("unknown setting in table rollout", value=key, allowed=", ".join(usual))
        try:
            values[key] = type(usual[key])(float(str(value)))
        except ValueError as error:
            raise ConfigError(f"rollout.{key} is no number", value=repr(value)) from error
    return Criteria(**values)


def _from_ledgers(services: Sequence[LightSettings], span: Span) -> Facts:
    """Facts of every ledger that the services write to; usually there is one."""
    found: dict[str, LightSettings] = {}
    for settings in services:
        found.setdefault(settings.ledger_url or str(ledger_file(settings)), settings)
    return _joined([_facts(settings, span) for settings in found.values()])


def _facts(settings: LightSettings, span: Span) -> Facts:
    file = ledger_file(settings)
    if not settings.ledger_url:
        if not file.exists():
            return Facts()
        if is_current(file):
            with sqlite_query(file) as query:
                return ledger_facts(query, span)
    from sqlalchemy import text

    from horizoncast.service.ledgers import open_ledger
    from horizoncast.service.settings import load_keeping

    keeping = load_keeping(settings.service, settings.places, overrides=settings.overrides)
    with open_ledger(keeping).database.reading() as connection:

        def ask(statement: str, values: object) -> Iterator[tuple[object, ...]]:
            return (tuple(row) for row in connection.execute(text(statement), values))  # type: ignore[call-overload]

        return ledger_facts(ask, span)


def _joined(parts: Sequence[Facts]) -> Facts:
    if len(parts) == 1:
        return parts[0]
    return Facts(
        runs=tuple(run for part in parts for run in part.runs),
        members={key: rows for part in parts for key, rows in part.members.items()},
        points={key: rows for part in parts for key, rows in part.points.items()},
        outcomes=tuple(outcome for part in parts for outcome in part.outcomes),
        events=tuple(event for part in parts for event in part.events),
        documents={key: document for part in parts for key, document in part.documents.items()},
        decisions=tuple(decision for part in parts for decision in part.decisions),
        problems=tuple(problem for part in parts for problem in part.problems),
    )


def _status(
    services: Sequence[LightSettings], facts: Facts, request: ReviewRequest, clock: datetime
) -> list[StatusLine]:
    """One line per service; by the ledgers themselves where the review is of now."""
    now, record = clock, None
    if request.as_of is not None and request.now is None:
        now = datetime.fromisoformat(request.as_of).replace(tzinfo=UTC) + timedelta(days=1, seconds=-1)
    if request.file is not None or request.as_of is not None:
        record = on_record(facts, now)
    wanted = [s for s in services if request.service in (None, s.service)]
    return [
        StatusLine(
            service=line.service,
            series=line.series,
            health=str(line.health),
            as_of=line.as_of,
            expected=line.expected,
            due=line.due,
            reason=line.reason,
        )
        for line in statuses(wanted, now, record=record)
    ]


def on_record(facts: Facts, now: datetime) -> OnRecord:
    """What states are judged by, from facts; a run counts as made when it was started, at the latest now."""
    moment = time_text(now)
    latest = {run.run_id for run in heads(facts.runs).values()}
    return OnRecord(
        published=[
            Published(
                service=run.service,
                series=run.series,
                as_of=run.as_of,
                revision=1,
                started=run.started,
                committed=min(run.started, moment),
                live=not run.hindsight,
            )
            for run in facts.runs
        ],
        heads=[
            Head(
                service=run.service,
                series=run.series,
                as_of=run.as_of,
                status=run.status,
                reasons=run.reasons,
                committed=run.started,
                origin="backfill" if run.hindsight else "live",
            )
            for run in facts.runs
            if run.run_id in latest
        ],
        failures=[
            FailedRun(
                at=event.at,
                service=event.service,
                series=event.series,
                code=event.code,
                message=event.message,
            )
            for event in facts.events
            if event.severity == "error" and event.at <= moment
        ],
    )
