"""The weekly review as a mail: plain text, a small HTML body, and charts by content id.

Mail programs cut bodies above about 100 kB and know little CSS: tables, inline styles, light colours.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from horizoncast.report.pages.changes import MEDIAN, change_title
from horizoncast.report.pages.palette import LIGHT
from horizoncast.report.pages.rendering import render
from horizoncast.report.pages.review import (
    HEALTH_KINDS,
    finding_of,
    moves_of,
    outcome_title,
    status_text,
    told,
)
from horizoncast.report.pages.review_charts import paint_outcome
from horizoncast.report.pages.review_tables import repeated, share_text, words_of
from horizoncast.report.review.model import Review, ServiceReview, Trouble
from horizoncast.report.style import Canvas, draw
from horizoncast.report.texts import ENGLISH, counted, day, text

LARGEST = 100_000
"""Bytes of the HTML body."""

_CANVAS = Canvas(width=600, height=330, letters=15.0)
_LINES = 12
"""Lines of a part beyond which the page is the place to look."""

_PICTURES = 8
"""Charts in one mail; the page has them all."""


@dataclass(frozen=True, kw_only=True)
class Mail:
    """A message to people.

    Parameters
    ----------
    text
        For those who read plain text, and for webhooks.
    images
        PNG files by content id, without angle brackets.
    """

    subject: str
    text: str
    html: str
    images: dict[str, bytes]


@dataclass(frozen=True, kw_only=True)
class Part:
    """A heading with its lines."""

    head: str
    lines: tuple[str, ...]


def review_mail(review: Review, language: str = ENGLISH, *, link: str = "", place: str = "") -> Mail:
    """The mail of a review.

    Parameters
    ----------
    link
        Address of the whole page; empty when it is on no server.
    place
        Where its file lies instead.
    """
    finding = finding_of(review, language)
    drawn = [k for k, s in enumerate(review.services) if s.latest or s.matured][:_PICTURES]
    images = {f"fan{k}": _chart(review.services[k], language) for k in drawn}
    parts = _parts(review, language)
    html = _html(review, parts, images, language, link=link, place=place)
    while len(html.encode()) > LARGEST and any(part.lines for part in parts):
        parts = [replace(part, lines=part.lines[: len(part.lines) // 2]) for part in parts]
        html = _html(review, parts, images, language, link=link, place=place)
    return Mail(
        subject=text("mail.subject", language, finding=finding, until=review.until),
        text=_plain(review, parts, language, link=link, place=place),
        html=html,
        images=images,
    )


def _chart(service: ServiceReview, language: str) -> bytes:
    return draw(_CANVAS, lambda figure: paint_outcome(figure, _CANVAS, service, language))


def _parts(review: Review, language: str) -> list[Part]:
    """What is worth a line, by heading; what there is nothing to say of is left out."""
    lines = {
        "scores": [line for s in review.services for line in _verdicts(s, language)],
        "rollout": [r.promote for s in review.services for r in s.rollout if r.answer == "met" and r.promote],
        "changes": [line for s in review.services for line in _changes(s, language)],
        "troubles": [line for s in review.services for line in _troubles(s, language)],
    }
    return [
        Part(head=text(f"mail.{key}", language), lines=_short(found)) for key, found in lines.items() if found
    ]


def _short(lines: Sequence[str]) -> tuple[str, ...]:
    more = len(lines) - _LINES
    return (*lines[:_LINES], f"\u2026 +{more}") if more > 0 else tuple(lines)


def _verdicts(service: ServiceReview, language: str) -> list[str]:
    line = told(service.scores)
    if line is None:
        return []
    return [
        text(
            "mail.verdict",
            language,
            service=service.service,
            verdict=words_of("common.verdict", line.verdict, language),
            skill=share_text(line.skill, language, signed=True),
            windows=counted("common.windows", round(line.n_eff), language),
            coverage=share_text(line.coverage_80, language),
            sample=text(f"review.sample.{line.sample}", language),
        )
    ]


def _changes(service: ServiceReview, language: str) -> list[str]:
    moves = moves_of(service)
    medians = [move for move in moves if move.measure == MEDIAN]
    return [f"{service.service}: {change_title(medians[-1], moves, language)}"] if medians else []


def _troubles(service: ServiceReview, language: str) -> list[str]:
    found = [r for r in repeated(service.troubles) if r.last.kind is not Trouble.FLAG]
    lines = [
        counted(
            "mail.trouble",
            r.times,
            language,
            service=service.service,
            subject=r.last.subject,
            kind=text(f"review.troubles.{r.last.kind}", language),
            code=r.last.code,
        )
        for r in found
    ]
    return lines + [
        text("mail.data", language, service=service.service, code=e.code, message=e.message)
        for e in (*service.data, *service.drift)
        if e.severity != "info"
    ]


def _plain(review: Review, parts: Sequence[Part], language: str, *, link: str, place: str) -> str:
    kicker = _kicker(review, language)
    status = [
        f"{line.service}: {words_of('common.health', line.health, language)}, {status_text(line, language)}"
        + (f" ({line.reason})" if line.reason else "")
        for line in review.status
    ]
    blocks = [kicker, finding_of(review, language), "\n".join(status)]
    outcomes = [outcome_title(s, language) for s in review.services]
    parts = [Part(head=text("mail.outcomes", language), lines=_short(outcomes)), *parts]
    blocks += ["\n".join((part.head, *(f"- {line}" for line in part.lines))) for part in parts if part.lines]
    blocks += [_where(language, link=link, place=place)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _html(
    review: Review, parts: Sequence[Part], images: dict[str, bytes], language: str, *, link: str, place: str
) -> str:
    back = {kind: (LIGHT[kind], LIGHT[f"{kind}-back"]) for kind in ("good", "warn", "bad", "quiet")}
    strip = [
        {
            "line": line,
            "health": words_of("common.health", line.health, language),
            "colours": back[HEALTH_KINDS.get(line.health, "quiet")],
            "dates": status_text(line, language),
        }
        for line in review.status
    ]
    values = {
        "finding": finding_of(review, language),
        "kicker": _kicker(review, language),
        "strip": strip,
        "parts": [part for part in parts if part.lines],
        "outcomes": [
            {
                "line": outcome_title(service, language),
                "image": f"fan{place}" if f"fan{place}" in images else "",
                "alt": text("mail.picture", language, service=service.service),
            }
            for place, service in enumerate(review.services)
        ],
        "link": link,
        "where": "" if link else _where(language, link="", place=place),
        "size": (_CANVAS.width, _CANVAS.height),
        "c": LIGHT,
    }
    return render("mail.jinja", language, values)


def _kicker(review: Review, language: str) -> str:
    since, until = (day(np.datetime64(date), language) for date in (review.since, review.until))
    return text("review.kicker", language, since=since, until=until)


def _where(language: str, *, link: str, place: str) -> str:
    if link:
        return text("mail.open", language, link=link)
    return text("mail.place", language, place=place) if place else ""
