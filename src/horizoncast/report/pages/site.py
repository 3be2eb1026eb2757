"""Pages that join runs and reviews: index, one page per service and series, archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from horizoncast.report.pages.rendering import Cell, Head, Pill, Table, number, render
from horizoncast.report.pages.review import HEALTH_KINDS, status_text
from horizoncast.report.pages.review_tables import words_of
from horizoncast.report.pages.run import STATUS_KINDS
from horizoncast.report.review.model import StatusLine
from horizoncast.report.summary import rounded
from horizoncast.report.texts import counted, text

MARKER = '<div class="wrap">\n'
"""Where the way back is put into a page that was made without one; escaped texts cannot hold it."""


@dataclass(frozen=True, kw_only=True)
class SiteRun:
    """A run as the site lists it.

    Parameters
    ----------
    point, low, high
        At step H, in the unit; the 80 % interval is None where its levels are not there.
    page
        Address of its report, relative to its service's page; empty when its folder is gone.
    """

    run_id: str
    service: str
    series: str
    unit: str
    as_of: str
    ends: str
    revision: int
    status: str
    committed: str
    point: float
    low: float | None
    high: float | None
    page: str


@dataclass(frozen=True, kw_only=True)
class SiteService:
    """A service on a series with its runs, newest first; `folder` is its place on the site."""

    service: str
    series: str
    folder: str
    runs: tuple[SiteRun, ...]


def index_page(
    status: Sequence[StatusLine],
    services: Sequence[SiteService],
    reviews: Sequence[tuple[str, str]],
    *,
    finding: str,
    made: str,
    language: str,
) -> str:
    """The front page: how services stand, what they expect, the newest reviews."""
    strip = [
        {
            "line": line,
            "pill": Pill(
                text=words_of("common.health", line.health, language),
                kind=HEALTH_KINDS.get(line.health, "quiet"),
            ),
            "kind": HEALTH_KINDS.get(line.health, "quiet"),
            "dates": status_text(line, language),
        }
        for line in status
    ]
    head = _heads(("service", "series", "as_of", "ends", "#point", "#interval", "status"), language)
    rows = [
        [
            Cell(text=s.service, link=f"{s.folder}/index.html"),
            Cell(text=s.series),
            *_run_cells(s.runs[0], language),
        ]
        for s in services
    ]
    values = {
        "title": text("site.title", language),
        "finding": finding,
        "crumbs": [],
        "strip": strip,
        "services": Table(label=text("site.label_now", language), head=head, rows=rows, stacked=True),
        "reviews": reviews[:5],
        "made": made,
    }
    return render("site_index.jinja", language, values)


def service_page(
    service: SiteService,
    *,
    finding: str,
    sub: str,
    fan: tuple[Markup, Markup] | None,
    crumbs: Sequence[tuple[str, str]],
    made: str,
    language: str,
) -> str:
    """One service on one series: its newest forecast, and all its runs."""
    head = _heads(("as_of", "ends", "#point", "#interval", "status", "#revision", "report"), language)
    rows = []
    for run in service.runs:
        page = text("site.open" if run.page else "site.no_page", language)
        cells = [*_run_cells(run, language), number(str(run.revision)), Cell(text=page, link=run.page)]
        rows.append([Cell(text=cells[0].text, kind="day"), *cells[1:]])
    label = text("site.label_runs", language, service=service.service, series=service.series)
    newest = service.runs[0]
    values = {
        "title": finding,
        "finding": finding,
        "sub": sub,
        "crumbs": crumbs,
        "status": _pill(newest.status, language),
        "newest": newest.page,
        "fan": fan,
        "runs": Table(label=label, head=head, rows=rows, stacked=True),
        "made": made,
    }
    return render("site_service.jinja", language, values)


def archive_page(
    services: Sequence[SiteService],
    reviews: Sequence[tuple[str, str]],
    *,
    crumbs: Sequence[tuple[str, str]],
    made: str,
    language: str,
) -> str:
    """Everything there is: all reviews, and the span of every service's runs."""
    head = _heads(("service", "series", "#count", "first", "last"), language)
    rows = [
        [
            Cell(text=s.service, link=f"{s.folder}/index.html"),
            Cell(text=s.series),
            number(str(len(s.runs))),
            Cell(text=s.runs[-1].as_of, kind="day"),
            Cell(text=s.runs[0].as_of, kind="day"),
        ]
        for s in services
    ]
    values = {
        "title": text("site.archive_title", language),
        "crumbs": crumbs,
        "reviews": reviews,
        "runs": Table(label=text("site.label_all", language), head=head, rows=rows, stacked=True),
        "made": made,
    }
    return render("site_archive.jinja", language, values)


def with_crumbs(html: str, crumbs: Sequence[tuple[str, str]], language: str) -> str:
    """A page that was made by itself, with the way back to the site above it."""
    return html.replace(MARKER, MARKER + render("crumbs.jinja", language, {"crumbs": crumbs}), 1)


def made_text(version: str, services: Sequence[SiteService], language: str) -> str:
    """What the site was made from: nothing that changes while nothing new is published."""
    runs = [run for service in services for run in service.runs]
    newest = max((run.committed for run in runs), default="")[:16].replace("T", " ")
    return text(
        "site.made",
        language,
        version=version,
        runs=counted("common.runs", len(runs), language),
        committed=f"{newest} UTC" if newest else text("common.none", language),
    )


def _run_cells(run: SiteRun, language: str) -> list[Cell]:
    """As of, end, expected value, interval and status."""
    width = float("nan") if run.low is None or run.high is None else run.high - run.low
    between = ""
    if run.low is not None and run.high is not None:
        between = text("common.to", language, low=rounded(run.low, width), high=rounded(run.high, width))
    kind = STATUS_KINDS.get(run.status, "quiet")
    return [
        Cell(text=run.as_of, kind="day"),
        Cell(text=run.ends, kind="day"),
        number(rounded(run.point, width, extra=1)),
        number(between),
        Cell(text=words_of("common.status", run.status, language), kind="" if kind == "good" else kind),
    ]


def _pill(status: str, language: str) -> Pill:
    return Pill(text=words_of("common.status", status, language), kind=STATUS_KINDS.get(status, "quiet"))


def _heads(names: Sequence[str], language: str) -> list[Head]:
    return [
        Head(text=text(f"site.{n.removeprefix('#')}", language), kind="number" if n.startswith("#") else "")
        for n in names
    ]
