"""The weekly review as tables and lines of text, in the order of the page and in its words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from statistics import median

from horizoncast.report.pages.changes import change_table
from horizoncast.report.pages.rendering import Table
from horizoncast.report.pages.review import finding_of, moves_of, outcome_title, status_text, told
from horizoncast.report.pages.review_hybrid import hybrid_line
from horizoncast.report.pages.review_tables import (
    outcome_table,
    score_table,
    share_text,
    trouble_table,
    weight_table,
    words_of,
)
from horizoncast.report.pages.terminal_rollout import TextBlock, rollout_block
from horizoncast.report.review.model import CostPoint, EventLine, Review, ScoreLine, ServiceReview
from horizoncast.report.review.rounding import percent, rounded
from horizoncast.report.texts import counted, text

_BEFORE_ROLLOUT = "parts"


@dataclass(frozen=True, kw_only=True)
class TextSection:
    """One heading of the review with a block per service."""

    heading: str
    blocks: tuple[TextBlock, ...]


def text_sections(review: Review, language: str) -> Iterator[TextSection]:
    """The whole review, the status of all services first."""
    yield TextSection(heading=finding_of(review, language), blocks=(_status(review, language),))
    if review.problems:
        heading = text("review.h.problems", language)
        yield TextSection(heading=heading, blocks=(TextBlock(lines=review.problems),))
    makers: dict[str, Callable[[ServiceReview, str], TextBlock]] = {
        "outcomes": _outcomes,
        "scores": lambda s, lang: _of_table(_name(s), score_table(s, lang)),
        "calibration": _calibration,
        "weights": _weights,
        "parts": _parts,
        "changes": _changes,
        "data": lambda s, lang: _events(s, s.data, text("review.data.none", lang)),
        "troubles": _troubles,
        "costs": _costs,
        "drift": lambda s, lang: _events(s, s.drift, text("review.drift.none", lang)),
        "events": lambda s, lang: _events(s, s.events, text("review.events.none", lang)),
    }
    for key, make in makers.items():
        if review.services:
            blocks = _grouped([make(service, language) for service in review.services])
            yield TextSection(heading=text(f"review.h.{key}", language), blocks=blocks)
        if review.services and key == _BEFORE_ROLLOUT:
            heading = text("review.h.rollout", language)
            yield TextSection(heading=heading, blocks=(rollout_block(review.services, language),))


def _grouped(blocks: Sequence[TextBlock]) -> tuple[TextBlock, ...]:
    """Services that say the same in lines alone are told together; without names where all say it."""
    groups: dict[tuple[str, ...], list[TextBlock]] = {}
    for block in blocks:
        alone = (block.title,) if block.rows or not block.lines else ()
        groups.setdefault((*alone, "", *block.lines), []).append(block)
    found = []
    for group in groups.values():
        everyone = 1 < len(group) == len(blocks)
        title = "" if everyone else ", ".join(block.title for block in group)
        found.append(replace(group[0], title=title))
    return tuple(found)


def _name(service: ServiceReview) -> str:
    return f"{service.service}: {service.series}"


def _status(review: Review, language: str) -> TextBlock:
    names = ("service", "health", "dates", "reason")
    made = review.made[:16].replace("T", " ") + " UTC"
    return TextBlock(
        head=tuple(text(f"terminal.status.{name}", language) for name in names),
        rows=tuple(
            (
                line.service,
                words_of("common.health", line.health, language),
                status_text(line, language),
                line.reason,
            )
            for line in review.status
        ),
        lines=(text("terminal.made", language, made=made, source=review.source),),
    )


def _of_table(title: str, table: Table, *lines: str) -> TextBlock:
    if not table.rows:
        return TextBlock(title=title, lines=tuple(line for line in (table.empty, *lines) if line))
    told_in = [k for k in range(len(table.head)) if any(row[k].text for row in table.rows)]
    return TextBlock(
        title=title,
        head=tuple(table.head[k].text for k in told_in),
        rows=tuple(tuple(row[k].text for k in told_in) for row in table.rows),
        lines=lines,
    )


def _outcomes(service: ServiceReview, language: str) -> TextBlock:
    title = outcome_title(service, language)
    if not service.matured:
        return TextBlock(title=title)
    return _of_table(title, outcome_table(service, language))


def _calibration(service: ServiceReview, language: str) -> TextBlock:
    line = told(service.scores)
    if line is None:
        return TextBlock(title=_name(service), lines=(text("review.calibration.empty", language),))
    said = text(
        "terminal.calibration",
        language,
        sample=text(f"review.sample.{line.sample}", language),
        c80=share_text(line.coverage_80, language),
        c95=share_text(line.coverage_95, language),
        windows=counted("common.windows", round(line.n_eff), language),
    )
    return TextBlock(title=_name(service), lines=(said, *_pit(line, language)))


def _pit(line: ScoreLine, language: str) -> tuple[str, ...]:
    if not line.pit:
        return ()
    errors = [cell.error for cell in line.pit if cell.error is not None]
    error = max(errors) if errors else None
    values = {
        "shares": " ".join(percent(cell.share, error) for cell in line.pit),
        "even": percent(1.0 / len(line.pit)),
        "error": text("common.not_yet_known", language) if error is None else percent(error, error),
    }
    return (text("terminal.pit", language, **values),)


def _weights(service: ServiceReview, language: str) -> TextBlock:
    if not service.decisions:
        return TextBlock(title=_name(service), lines=(text("review.weights.empty", language),))
    newest = service.decisions[-1]
    kappas = [decision.kappa for decision in service.decisions]
    line = text(
        "terminal.kappa",
        language,
        kappa=f"{newest.kappa:.2f}",
        width=f"{newest.width * newest.adaptive:.2f}",
        n=counted("common.runs", len(kappas), language),
        first=f"{min(kappas):.2f}",
        last=f"{max(kappas):.2f}",
    )
    hybrid = hybrid_line(service.decisions, language)
    lines = (line, hybrid) if hybrid else (line,)
    return _of_table(_name(service), weight_table(service, language), *lines)


def _parts(service: ServiceReview, language: str) -> TextBlock:
    if not service.uncertainty:
        return TextBlock(title=_name(service), lines=(text("review.parts.empty", language),))
    steps = sorted({part.step for part in service.uncertainty})
    lines = []
    for step in dict.fromkeys((steps[0], steps[-1])):
        own = [part for part in service.uncertainty if part.step == step]
        words = ", ".join(
            text(
                "terminal.part",
                language,
                share=percent(part.share),
                name=words_of("terminal.part_name", part.part, language),
                sd=rounded(part.sd),
            )
            for part in own
        )
        lines.append(text("terminal.parts", language, date=own[0].date, parts=words))
    title = text("terminal.sd", language, unit=service.unit)
    return TextBlock(title=f"{_name(service)}, {title}", lines=tuple(lines))


def _changes(service: ServiceReview, language: str) -> TextBlock:
    moves = moves_of(service)
    if not moves or service.change is None:
        return TextBlock(title=_name(service), lines=(text("review.changes.empty", language),))
    since = text("terminal.since", language, as_of=service.change.previous_as_of)
    dates = list(dict.fromkeys(move.date for move in moves))
    table = change_table([move for move in moves if move.date in (dates[0], dates[-1])], language)
    more = (counted("terminal.more_dates", len(dates) - 2, language),) if len(dates) > 2 else ()
    return _of_table(f"{_name(service)}, {since}, {service.unit}", table, *more)


def _events(service: ServiceReview, events: Sequence[EventLine], none: str) -> TextBlock:
    lines = tuple(f"{event.at[:10]} {event.code}: {event.message}" for event in events)
    return TextBlock(title=_name(service), lines=lines or (none,))


def _troubles(service: ServiceReview, language: str) -> TextBlock:
    table = trouble_table(service, language)
    return _of_table(
        _name(service), table, *(() if table.rows else (text("review.troubles.none", language),))
    )


def _costs(service: ServiceReview, language: str) -> TextBlock:
    members: dict[str, list[CostPoint]] = {}
    for cost in service.costs:
        if cost.seconds is not None:
            members.setdefault(cost.member, []).append(cost)
    if not members:
        return TextBlock(title=_name(service), lines=(text("review.costs.empty", language),))
    rows = tuple(
        (
            name,
            f"{found[-1].seconds or 0.0:.1f}",
            f"{median(c.seconds or 0.0 for c in found):.1f}",
            f"{found[-1].peak_mb or 0.0:.0f}",
            f"{max(c.peak_mb or 0.0 for c in found):.0f}",
        )
        for name, found in sorted(members.items())
    )
    names = ("member", "seconds", "usual", "peak", "most")
    head = tuple(text(f"terminal.costs.{name}", language) for name in names)
    return TextBlock(title=_name(service), head=head, rows=rows)
