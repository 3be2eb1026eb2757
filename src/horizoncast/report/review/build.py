"""A weekly review from facts: one pure function, whatever the facts were read from."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

from horizoncast.policy.rollout import Criteria
from horizoncast.report.review.model import (
    Actual,
    Change,
    CostPoint,
    DecisionPoint,
    ForecastPath,
    HybridPoint,
    LeadChange,
    Measure,
    MemberShare,
    Part,
    Point,
    Review,
    Sample,
    ServiceReview,
    StatusLine,
    UncertaintyPart,
)
from horizoncast.report.review.scorecard import score_lines
from horizoncast.report.review.standing import rollout_lines
from horizoncast.report.review.tables import ENSEMBLE, OwnFacts, live_tables
from horizoncast.report.review.troubles import Weeks, sorted_out
from horizoncast.store.facts import Facts, MemberFact, OutcomeFact, RunDocument, RunFact, heads
from horizoncast.store.hybrid_record import HYBRID

REACH_WEEKS = 52
"""Weeks that scorecard, weights and costs look back."""

_MOST_PATHS = 12


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a review was asked for.

    Parameters
    ----------
    weeks
        Its length.
    until
        Its last day (ISO); None takes the newest as-of on record.
    made
        Moment it is made, UTC text.
    source
        ``ledger``, or the name of a metrics file.
    criteria
        Rollout criteria by service; the defaults where there are none.
    fixed
        Members whose rollout state follows from others'.
    """

    weeks: int
    until: str | None
    made: str
    source: str
    criteria: Mapping[str, Criteria] = field(default_factory=dict)
    fixed: Collection[str] = ()


def first_day(until: str, weeks: int) -> str:
    """First day of so many weeks that end with a day.

    >>> first_day("2026-10-30", 1)
    '2026-10-24'
    """
    return str(date.fromisoformat(until) - timedelta(days=7 * weeks - 1))


def build_review(facts: Facts, asked: Asked, status: Sequence[StatusLine] = ()) -> Review:
    """The review of everything on record.

    Parameters
    ----------
    facts
        Reaching back at least `REACH_WEEKS`, and at least the weeks asked for.
    status
        How services stand; services with a status and nothing on record are in the strip alone.
    """
    newest = heads(facts.runs)
    until = asked.until or max((run.as_of[:10] for run in newest.values()), default="")
    since = first_day(until, asked.weeks) if until else ""
    weeks = Weeks(since=since, until=until, open_end=asked.until is None)
    actuals = _actuals(facts)
    order = {line.service: place for place, line in enumerate(status)}
    keys = sorted(newest, key=lambda key: (order.get(key[0], len(order)), newest[key].horizon, *key))
    return Review(
        made=asked.made,
        since=since,
        until=until,
        weeks=asked.weeks,
        source=asked.source,
        status=tuple(status),
        services=tuple(_service(facts, key, weeks, asked, actuals.get(key[1], {})) for key in keys),
        problems=facts.problems,
    )


def _service(
    facts: Facts, key: tuple[str, str], weeks: Weeks, asked: Asked, known: Mapping[str, float]
) -> ServiceReview:
    every = tuple(run for run in facts.runs if (run.service, run.series) == key)
    head = max(every, key=lambda run: run.place)
    counted = tuple({run.as_of: run for run in sorted(every, key=lambda run: run.place)}.values())
    own = _own(facts, every, head, known)
    tables = {sample: live_tables(own, sample) for sample in (Sample.LIVE, Sample.HINDSIGHT)}
    rows = {row.member: row for row in facts.members.get(head.run_id, ())}
    document = facts.documents.get(head.run_id, RunDocument())
    outcomes = _by_run(own.outcomes)
    latest = _path(head, facts, outcomes)
    matured = _matured(own, counted, weeks, facts, outcomes)
    from_day = matured[0].cutoff if matured else head.cutoff
    told = sorted_out(facts, every, counted, weeks)
    return ServiceReview(
        service=head.service,
        series=head.series,
        unit=head.unit,
        scale=head.scale,
        horizon=head.horizon,
        runs=sum(weeks.holds(run.as_of) for run in counted),
        latest=latest,
        matured=matured,
        actuals=tuple(Actual(date=d, value=v) for d, v in sorted(known.items()) if d >= from_day),
        scores=score_lines(own, tables, rows, document),
        decisions=tuple(_decision(run, facts) for run in counted),
        uncertainty=tuple(
            UncertaintyPart(step=u.step, date=u.date, part=u.part, sd=u.sd, share=u.share)
            for u in document.uncertainty
        ),
        rollout=rollout_lines(
            own,
            counted,
            facts.members,
            facts.decisions,
            asked.criteria.get(head.service, Criteria()),
            tables=tables[Sample.LIVE],
            fixed=asked.fixed,
        ),
        change=_change(head, document),
        data=told.data,
        drift=told.drift,
        troubles=told.troubles,
        events=told.events,
        costs=tuple(cost for run in counted for cost in _costs(run, facts)),
    )


def _own(facts: Facts, every: Sequence[RunFact], head: RunFact, known: Mapping[str, float]) -> OwnFacts:
    """Runs that can be compared with the newest one, and what came of them."""
    same = tuple(
        run for run in every if (run.horizon, run.unit, run.scale) == (head.horizon, head.unit, head.scale)
    )
    ids = {run.run_id for run in same}
    return OwnFacts(
        runs=tuple(sorted(same, key=lambda run: run.place)),
        points=facts.points,
        outcomes=tuple(o for o in facts.outcomes if o.run_id in ids),
        last=max([*known, *(run.cutoff for run in same)]),
    )


def _actuals(facts: Facts) -> dict[str, dict[str, float]]:
    """Observed values by series and date, as the newest scoring of the newest run has them."""
    series = {run.run_id: run.series for run in facts.runs}
    found: dict[str, dict[str, float]] = {}
    for o in facts.outcomes:
        if o.subject == ENSEMBLE and o.run_id in series:
            found.setdefault(series[o.run_id], {})[o.date] = o.actual
    return found


def _by_run(outcomes: Sequence[OutcomeFact]) -> dict[tuple[str, int], OutcomeFact]:
    """The ensemble's outcomes by run and step."""
    return {(o.run_id, o.step): o for o in outcomes if o.subject == ENSEMBLE}


def _matured(
    own: OwnFacts,
    counted: Sequence[RunFact],
    weeks: Weeks,
    facts: Facts,
    outcomes: Mapping[tuple[str, int], OutcomeFact],
) -> tuple[ForecastPath, ...]:
    comparable = {run.run_id for run in own.runs}
    done = [run for run in counted if run.run_id in comparable and own.end(run) <= own.last]
    recent = [run for run in done if weeks.holds(own.end(run))] or done[-1:]
    return tuple(_path(run, facts, outcomes) for run in recent[-_MOST_PATHS:])


def _path(run: RunFact, facts: Facts, outcomes: Mapping[tuple[str, int], OutcomeFact]) -> ForecastPath:
    points = facts.points[run.run_id]
    last = outcomes.get((run.run_id, run.horizon))
    late = run.started[:10] > points[-1].date[:10] if last is None else not last.live
    return ForecastPath(
        run_id=run.run_id,
        as_of=run.as_of,
        cutoff=run.cutoff,
        last_date=points[-1].date,
        status=run.status,
        reasons=run.reasons,
        flags=run.flags,
        sample=Sample.HINDSIGHT if late else Sample.LIVE,
        points=tuple(
            Point(
                **point._asdict(),
                actual=None if found is None else found.actual,
                covered_80=None if found is None else found.covered_80,
                covered_95=None if found is None else found.covered_95,
            )
            for point in points
            for found in (outcomes.get((run.run_id, point.step)),)
        ),
    )


def _decision(run: RunFact, facts: Facts) -> DecisionPoint:
    names = ("run_id", "as_of", "status", "best_naive", "kappa", "width", "adaptive", "windows", "n_eff")
    return DecisionPoint(
        **{name: getattr(run, name) for name in names},
        members=tuple(_share(row) for row in facts.members.get(run.run_id, ())),
        hybrid=_hybrid(run, facts),
    )


def _hybrid(run: RunFact, facts: Facts) -> HybridPoint | None:
    if run.hybrid is None:
        return None
    states = {row.member: row.state for row in facts.members.get(run.run_id, ())}
    names = ("reason", "weight", "doubt")
    return HybridPoint(state=states.get(HYBRID, ""), **{name: getattr(run.hybrid, name) for name in names})


def _share(row: MemberFact) -> MemberShare:
    names = ("member", "state", "weight", "would_be_weight", "slope")
    return MemberShare(**{name: getattr(row, name) for name in names})


def _costs(run: RunFact, facts: Facts) -> list[CostPoint]:
    return [
        CostPoint(
            as_of=run.as_of,
            run_id=run.run_id,
            member=row.member,
            seconds=row.wall_s,
            cpu_s=row.cpu_s,
            peak_mb=row.peak_mb,
        )
        for row in facts.members.get(run.run_id, ())
    ]


def _change(head: RunFact, document: RunDocument) -> Change:
    run_id, as_of = document.previous
    return Change(
        run_id=head.run_id,
        as_of=head.as_of,
        previous_run_id=run_id,
        previous_as_of=as_of,
        leads=tuple(
            LeadChange(
                step=change.step,
                date=change.date,
                previous_step=change.previous_step,
                measure=Measure(change.measure),
                before=change.before,
                after=change.after,
                parts=tuple((Part(name), value) for name, value in change.parts),
            )
            for change in document.changes
        ),
    )
