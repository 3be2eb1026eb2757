"""A static folder that joins runs and reviews, brought up to date by writing only what changed.

A run's page is a copy of the report in its folder, made once; the pages above it are made anew when what
they list has changed. ``.site.json`` remembers what each file was made from; without it everything is
written again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from horizoncast.calendar import Dates
from horizoncast.errors import StoreError
from horizoncast.report.pages.review import finding_of_status
from horizoncast.report.pages.run import finding_of_run, render_run
from horizoncast.report.pages.run_charts import fan_pictures
from horizoncast.report.pages.site import (
    SiteRun,
    SiteService,
    archive_page,
    index_page,
    made_text,
    service_page,
    with_crumbs,
)
from horizoncast.report.publish import REPORT
from horizoncast.report.review.model import StatusLine
from horizoncast.report.texts import text
from horizoncast.service.reporting import recorded_run
from horizoncast.store.atomic import write_atomic
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import ENSEMBLE, Floats, RunRow
from horizoncast.store.names import safe_name
from horizoncast.store.records import RunRecord

STATE = ".site.json"
REVIEWS = "reviews"
"""Folder of the pages of weekly reviews, beside the results and on the site."""

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class SiteReport:
    """What became of the site.

    Parameters
    ----------
    index
        Its front page.
    written, kept
        Files that were written, and how many were as they should be.
    problems
        Runs that have no page because their folder cannot be read.
    """

    index: Path
    written: tuple[str, ...]
    kept: int
    problems: tuple[str, ...] = ()


def build_site(
    ledger: Ledger,
    root: Path,
    out: Path,
    status: Sequence[StatusLine],
    *,
    language: str,
    tell: Tell = lambda line: None,
) -> SiteReport:
    """Bring the folder up to date.

    Parameters
    ----------
    root
        Folder of all results, with their reviews in ``reviews``.
    out
        Folder of the site; made when it is not there.
    status
        How services stand.
    tell
        Called with a line as something takes long.

    Raises
    ------
    StoreError
        When the ledger cannot be read or the folder not be written.
    """
    work = _Work(ledger, root, out, language=language, tell=tell)
    services, reviews = work.services(), work.reviews()
    made = made_text(version("horizoncast"), services, language)
    finding = finding_of_status(status, language)
    front = index_page(status, services, reviews, finding=finding, made=made, language=language)
    crumbs = [(work.home, "index.html")]
    work.folder.put("index.html", front)
    work.folder.put(
        "archive.html", archive_page(services, reviews, crumbs=crumbs, made=made, language=language)
    )
    for service in services:
        work.service(service, made_text(version("horizoncast"), [service], language))
    work.folder.save()
    return SiteReport(
        index=out / "index.html",
        written=tuple(work.folder.written),
        kept=work.folder.kept,
        problems=tuple(dict.fromkeys(work.problems)),
    )


class _Folder:
    """Files of the site, and what each was made from.

    Parameters
    ----------
    out
        The folder.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.written: list[str] = []
        self.kept = 0
        self._before = self._read()
        self._now: dict[str, str] = {}

    def holds(self, name: str, made_from: str) -> bool:
        """Whether a file is there and was made from just this; it then stays as it is."""
        same = self._before.get(name) == made_from and (self.out / name).is_file()
        if same:
            self._now[name] = made_from
            self.kept += 1
        return same

    def put(self, name: str, html: str, made_from: str = "") -> None:
        """Write a file unless it says the same already."""
        data = html.encode()
        key = made_from or hashlib.sha256(data).hexdigest()
        if not made_from and self.holds(name, key):
            return
        write_atomic(self.out / name, lambda handle: handle.write(data))
        self._now[name] = key
        self.written.append(name)

    def save(self) -> None:
        """Remember what was made, unless nothing changed."""
        if self._now != self._before:
            data = (json.dumps(self._now, indent=1, sort_keys=True) + "\n").encode()
            write_atomic(self.out / STATE, lambda handle: handle.write(data))

    def _read(self) -> dict[str, str]:
        try:
            found = json.loads((self.out / STATE).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # derived: everything is written again
            return {}
        return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


class _Work:
    """One pass over ledger and folders; see `build_site`."""

    def __init__(self, ledger: Ledger, root: Path, out: Path, *, language: str, tell: Tell) -> None:
        self.ledger, self.root, self.language, self.tell = ledger, root, language, tell
        self.folder = _Folder(out)
        self.problems: list[str] = []
        self.home = text("site.title", language)

    def services(self) -> list[SiteService]:
        """Every service and series with its runs, newest first; their reports are put on the site."""
        groups: dict[tuple[str, int, str], list[RunRow]] = {}
        for run in self.ledger.runs.all():
            groups.setdefault((run.series, run.horizon, run.service), []).append(run)
        found = []
        for (series, _, service), runs in sorted(groups.items()):
            folder = f"{safe_name(series)}/{safe_name(service)}"
            shown = tuple(self._run(run, folder) for run in reversed(runs))
            found.append(SiteService(service=service, series=series, folder=folder, runs=shown))
        return found

    def reviews(self) -> list[tuple[str, str]]:
        """Names and addresses of the reviews, newest first; they are put on the site."""
        found = []
        for path in sorted((self.root / REVIEWS).glob("*.html"), reverse=True):
            data, name = path.read_bytes(), f"{REVIEWS}/{path.name}"
            key = hashlib.sha256(data).hexdigest()
            if not self.folder.holds(name, key):
                html = with_crumbs(data.decode(), [(self.home, "../index.html")], self.language)
                self.folder.put(name, html, key)
            found.append((text("site.review_name", self.language, until=path.stem), name))
        return found

    def service(self, service: SiteService, made: str) -> None:
        """The page of one service: made anew when its runs have changed."""
        name = f"{service.folder}/index.html"
        key = hashlib.sha256(repr((service, made, self.language)).encode()).hexdigest()
        if self.folder.holds(name, key):
            return
        finding, sub, fan = f"{service.service}: {service.series}", "", None
        read = self._read(service.runs[0].run_id)
        if read is not None:
            finding, sub, point = finding_of_run(read[0], self.language)
            fan = fan_pictures(*read, point, self.language)
        crumbs = [(self.home, "../../index.html")]
        html = service_page(
            service, finding=finding, sub=sub, fan=fan, crumbs=crumbs, made=made, language=self.language
        )
        self.folder.put(name, html, key)

    def _run(self, run: RunRow, folder: str) -> SiteRun:
        (forecast,) = self.ledger.runs.forecasts(run.run_id, subject=ENSEMBLE)
        last = dict(zip(run.levels, forecast.quantiles[-1].tolist(), strict=True))
        return SiteRun(
            run_id=run.run_id,
            service=run.service,
            series=run.series,
            unit=run.unit,
            as_of=run.as_of,
            ends=forecast.dates[-1],
            revision=run.revision,
            status=run.status,
            committed=run.committed,
            point=last[0.5],
            low=last.get(0.1),
            high=last.get(0.9),
            page=f"{run.run_id}.html" if self._report(run, folder) else "",
        )

    def _report(self, run: RunRow, folder: str) -> bool:
        """Put a run's report on the site; whether it is there. One that is stays when its folder goes."""
        name, home = f"{folder}/{run.run_id}.html", self.root / run.folder
        if self.folder.holds(name, run.manifest_sha256):
            return True
        if run.pruned or not home.is_dir():
            return (self.folder.out / name).is_file()
        html = self._html(run, home)
        if html is None:
            return False
        crumbs = [(self.home, "../../index.html"), (f"{run.service}: {run.series}", "index.html")]
        self.folder.put(name, with_crumbs(html, crumbs, self.language), run.manifest_sha256)
        return True

    def _html(self, run: RunRow, home: Path) -> str | None:
        """The report in the run's folder; one of before there were reports is made now."""
        try:
            return (home / REPORT).read_text(encoding="utf-8")
        except FileNotFoundError:
            self.tell(f"making the report of {run.run_id}")
        read = self._read(run.run_id)
        return None if read is None else render_run(*read, language=self.language)

    def _read(self, run_id: str) -> tuple[RunRecord, tuple[Dates, Floats]] | None:
        run = self.ledger.runs.get(run_id)
        if run is None or run.pruned:
            return None
        try:
            return recorded_run(self.ledger, self.root, run)
        except StoreError as error:
            self.problems.append(str(error))
            return None
