"""The weekly review as one self-contained page, in the order in which a person decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from horizoncast.report.pages.changes import Move, change_chart, change_table
from horizoncast.report.pages.parts import parts_chart
from horizoncast.report.pages.rendering import Chart, Note, Pill, Table, render
from horizoncast.report.pages.review_charts import (
    Colours,
    calibration_picture,
    colours_of,
    cost_picture,
    outcome_picture,
    weights_picture,
)
from horizoncast.report.pages.review_hybrid import hybrid_line
from horizoncast.report.pages.review_tables import (
    BEST_NAIVE,
    criteria_table,
    outcome_table,
    rollout_table,
    score_table,
    share_text,
    trouble_table,
    weight_table,
    words_of,
)
from horizoncast.report.review.model import EventLine, Review, ScoreLine, ServiceReview, StatusLine
from horizoncast.report.summary import rounded as by_width
from horizoncast.report.texts import ENGLISH, counted, day, text

HEALTH_KINDS = {"fresh": "good", "degraded": "warn", "blocked": "bad", "missed": "bad"}
"""Only fresh is green; a health that is not named here is not known, and grey."""

_NAMED = 2
"""Services that a title names; more of them are counted."""

_EVEN = 0.02
"""Weights that differ by less are told as even: the order within is no finding."""

_SEVERITIES = {"warning": "warn", "error": "bad"}
_SECTIONS = (
    "outcomes", "scores", "calibration", "weights", "parts", "rollout", "changes", "data", "troubles",
    "costs", "drift", "events",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Block:
    """One service within a section: whatever of a chart, tables and notes there is.

    Parameters
    ----------
    head
        Its name; empty where the chart's title says it.
    folded
        A table that opens on request, named by its label.
    empty
        Said when there is nothing.
    """

    head: str = ""
    chart: Chart | None = None
    table: Table | None = None
    folded: Table | None = None
    notes: Sequence[Note] = ()
    empty: str = ""


def render_review(review: Review, language: str = ENGLISH, *, crumbs: Sequence[tuple[str, str]] = ()) -> str:
    """The page as HTML.

    Parameters
    ----------
    crumbs
        Names and relative addresses of pages above it; only on a site.
    """
    since, until = (day(np.datetime64(date), language) for date in (review.since, review.until))
    kicker = text("review.kicker", language, since=since, until=until)
    finding = finding_of(review, language)
    made = review.made[:16].replace("T", " ") + " UTC"
    values = {
        "title": f"{finding}. {kicker}",
        "crumbs": [*crumbs],
        "made": text("review.made", language, made=made, source=review.source, until=review.until),
        "kicker": kicker,
        "finding": finding,
        "strip": [_status(line, language) for line in review.status],
        "problems": [Note(text=problem, kind="warn") for problem in review.problems],
        "sections": _sections(review, language),
        "notes": {
            "scores": text("review.scores.note", language),
            "weights": text("review.weights.note", language),
            "rollout": text("review.rollout.note", language),
            "changes": text("change.note", language),
        },
    }
    return render("review.jinja", language, values)


def finding_of(review: Review, language: str) -> str:
    """What the week comes to, in a sentence: the title of the page and the subject of the mail."""
    return finding_of_status(review.status, language)


def finding_of_status(status: Sequence[StatusLine], language: str) -> str:
    """How many services need a look, and which."""
    total = len(status)
    if not total:
        return text("review.nothing", language)
    worse = [line for line in status if line.health != "fresh"]
    if not worse:
        return (
            text("review.one_fresh", language) if total == 1 else text("review.all_fresh", language, n=total)
        )
    if len(worse) <= _NAMED:
        names = ", ".join(f"{s.service} {words_of('common.health', s.health, language)}" for s in worse)
    else:
        kinds = [s.health for s in worse]
        told = {kind: words_of("common.health", kind, language) for kind in kinds}
        names = ", ".join(f"{kinds.count(kind)} {words}" for kind, words in told.items())
    return counted("review.look", len(worse), language, total=total, names=names)


def status_text(line: StatusLine, language: str) -> str:
    """Dates of a service's newest forecast against what was due."""
    if not line.as_of:
        return text("review.never", language)
    if line.as_of < line.expected:
        values = {"as_of": line.as_of, "expected": line.expected, "due": line.due}
        return text("review.reason_expected", language, **values)
    return text("review.reason_as_of", language, as_of=line.as_of)


def _status(line: StatusLine, language: str) -> dict[str, object]:
    kind = HEALTH_KINDS.get(line.health, "quiet")
    pill = Pill(text=words_of("common.health", line.health, language), kind=kind)
    return {"line": line, "pill": pill, "kind": kind, "dates": status_text(line, language)}


def _sections(review: Review, language: str) -> list[tuple[str, str, list[Block]]]:
    """Key, heading and blocks of every section, in the order of the page."""
    colours = colours_of(review.services)
    makers: dict[str, Callable[[ServiceReview, int], Block]] = {
        "outcomes": lambda s, k: _outcomes(s, k, language),
        "scores": lambda s, _: _scores(s, language),
        "calibration": lambda s, k: _calibration(s, k, language),
        "weights": lambda s, k: _weights(s, k, colours, language),
        "parts": lambda s, k: _parts(s, k, language),
        "rollout": lambda s, _: _rollout(s, language),
        "changes": lambda s, k: _changes(s, k, language),
        "data": lambda s, _: _events(s, s.data, text("review.data.none", language)),
        "troubles": lambda s, _: _troubles(s, language),
        "costs": lambda s, k: _costs(s, k, colours, language),
        "drift": lambda s, _: _events(s, s.drift, text("review.drift.none", language)),
        "events": lambda s, _: _events(s, s.events, text("review.events.none", language)),
    }
    return [
        (key, text(f"review.h.{key}", language), [makers[key](s, k) for k, s in enumerate(review.services)])
        for key in _SECTIONS
    ]


def _name(service: ServiceReview) -> str:
    return f"{service.service}: {service.series}"


def _outcomes(service: ServiceReview, place: int, language: str) -> Block:
    picture = outcome_picture(service, f"o{place}", language)
    title = outcome_title(service, language)
    table = outcome_table(service, language) if service.matured else None
    if picture is None:
        return Block(empty=title)
    return Block(chart=Chart(title=title, note=_drawn(service, language), picture=picture), folded=table)


def outcome_title(service: ServiceReview, language: str) -> str:
    """How many matured forecasts held the outcome, and what is expected now."""
    known = [p.points[-1].covered_80 for p in service.matured if p.points[-1].covered_80 is not None]
    values = {"service": service.service}
    counts = {"hits": sum(known), "total": len(known)}
    if service.latest is None:
        return (
            text("review.fan.then", language, **values, **counts)
            if known
            else text("review.fan.none", language, **values)
        )
    last = service.latest.points[-1]
    date = day(np.datetime64(last.date), language)
    if last.lower_80 is None or last.upper_80 is None:
        return text("review.fan.no_interval", language, **values, point=f"{last.point:.6g}", date=date)
    width = last.upper_80 - last.lower_80
    ends = {"low": by_width(last.lower_80, width), "high": by_width(last.upper_80, width), "date": date}
    if not known:
        return text(
            "review.fan.unscored" if service.matured else "review.fan.now", language, **values, **ends
        )
    return text("review.fan.now_then", language, **values, **counts, **ends)


def _drawn(service: ServiceReview, language: str) -> str:
    last = service.latest.as_of if service.latest is not None else ""
    if not service.matured:
        return text("review.fan.note_new", language, last=last) if last else ""
    first = service.matured[-1].as_of
    n = counted("review.fan.matured", len(service.matured), language)
    return text("review.fan.note_matured", language, n=n, first=first, last=last or first)


def _scores(service: ServiceReview, language: str) -> Block:
    """The scorecard; a reference that all lines share is named above them."""
    head, shared = _name(service), {line.reference for line in service.scores}
    if len(shared) == 1 and shared != {BEST_NAIVE}:
        head += ", " + text("review.scores.reference", language, reference=shared.pop())
    return Block(head=head, table=score_table(service, language))


def _calibration(service: ServiceReview, place: int, language: str) -> Block:
    line = told(service.scores)
    if line is None:
        return Block(head=_name(service), empty=text("review.calibration.empty", language))
    found = share_text(line.coverage_80, language)
    windows = counted("common.windows", round(line.n_eff), language)
    values = {"service": service.service, "found": found, "windows": windows}
    kind = "" if line.pit else "_replayed"
    label = text(f"review.calibration.label{kind}", language, service=service.service)
    known = line.coverage_80.value is not None
    title = (
        text("review.calibration.title", language, **values)
        if known
        else text("review.calibration.title_unknown", language, service=service.service)
    )
    note = text(
        f"review.calibration.note{kind}", language, sample=text(f"review.sample.{line.sample}", language)
    )
    picture = calibration_picture(line, f"c{place}", label, language)
    return Block(chart=Chart(title=title, note=note[:1].upper() + note[1:], picture=picture))


def told(scores: Sequence[ScoreLine]) -> ScoreLine | None:
    """The ensemble's line of the sample that says most: live, else in hindsight, else replayed."""
    own = [line for line in scores if line.subject == "ensemble" and line.coverage_80.value is not None]
    order = ("live", "hindsight", "pseudo_out_of_sample")
    return min(own, key=lambda line: order.index(line.sample), default=None)


def _weights(service: ServiceReview, place: int, colours: Colours, language: str) -> Block:
    if not service.decisions:
        return Block(head=_name(service), empty=text("review.weights.empty", language))
    newest = service.decisions[-1]
    heaviest = max(newest.members, key=lambda share: share.weight, default=None)
    values = {"service": service.service, "kappa": f"{newest.kappa:.2f}"}
    if heaviest is None or heaviest.weight <= 0:
        title = text("review.weights.title_none", language, **values)
    elif heaviest.weight - min(s.weight for s in newest.members if s.weight > 0) < _EVEN:
        n = sum(s.weight > 0 for s in newest.members)
        title = counted("review.weights.even", n, language, **values)
    else:
        share = f"{100 * heaviest.weight:.0f}"
        title = text("review.weights.title", language, **values, member=heaviest.member, share=share)
    label = text("review.weights.label", language, service=service.service)
    picture = weights_picture(service.decisions, colours, f"w{place}", label, language)
    note = hybrid_line(service.decisions, language)
    return Block(chart=Chart(title=title, note=note, picture=picture), folded=weight_table(service, language))


def _parts(service: ServiceReview, place: int, language: str) -> Block:
    chart = parts_chart(service.uncertainty, language, name=f"p{place}")
    if chart is None:
        return Block(head=_name(service), empty=text("review.parts.empty", language))
    return Block(chart=Chart(title=f"{service.service}: {chart.title}", picture=chart.picture))


def _rollout(service: ServiceReview, language: str) -> Block:
    table = rollout_table(service, language)
    folded = criteria_table(service, language) if any(line.criteria for line in service.rollout) else None
    return Block(head=_name(service), table=table, folded=folded)


def moves_of(service: ServiceReview) -> list[Move]:
    """Changes as they are shown."""
    if service.change is None:
        return []
    return [
        Move(
            step=lead.step,
            date=lead.date,
            measure=lead.measure.value,
            before=lead.before,
            after=lead.after,
            parts=tuple(value for _, value in lead.parts),
        )
        for lead in service.change.leads
    ]


def _changes(service: ServiceReview, place: int, language: str) -> Block:
    moves = moves_of(service)
    chart = change_chart(moves, service.unit, language, name=f"d{place}")
    if chart is None or service.change is None:
        return Block(head=_name(service), empty=text("review.changes.empty", language))
    note = text("change.since", language, as_of=service.change.previous_as_of)
    table = change_table(moves, language)
    label = text("review.changes.details", language, service=service.service)
    folded = Table(label=label, head=table.head, rows=table.rows)
    named = Chart(title=f"{service.service}: {chart.title}", note=note, picture=chart.picture)
    return Block(chart=named, folded=folded)


def _troubles(service: ServiceReview, language: str) -> Block:
    table = trouble_table(service, language)
    empty = "" if table.rows else text("review.troubles.none", language)
    return Block(head=_name(service), table=table, empty=empty)


def _events(service: ServiceReview, events: Sequence[EventLine], none: str) -> Block:
    notes = [
        Note(head=f"{e.at[:10]} {e.code}", text=e.message, kind=_SEVERITIES.get(e.severity, ""))
        for e in events
    ]
    return Block(head=_name(service), notes=notes, empty="" if notes else none)


def _costs(service: ServiceReview, place: int, colours: Colours, language: str) -> Block:
    known = [c for c in service.costs if c.seconds is not None]
    if not known:
        return Block(head=_name(service), empty=text("review.costs.empty", language))
    newest = [c for c in known if c.run_id == known[-1].run_id]
    dearest = max(newest, key=lambda c: c.peak_mb or 0.0)
    label = text("review.costs.label", language, service=service.service)
    title = text(
        "review.costs.title",
        language,
        service=service.service,
        seconds=f"{sum(c.seconds or 0.0 for c in newest):.1f}",
        peak=f"{dearest.peak_mb or 0.0:.0f}",
        member=dearest.member,
    )
    return Block(
        chart=Chart(title=title, picture=cost_picture(service, colours, f"k{place}", label, language))
    )
