"""`data pull` and `data prune`: fill the local store, and let go of what was kept long enough."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from horizoncast.cli.options import Common
from horizoncast.cli.screen import Screen, print_json

if TYPE_CHECKING:
    from horizoncast.data.pull import SourceReport
    from horizoncast.service.pulling import PullResult
    from horizoncast.service.retention import PruneItem
    from horizoncast.service.settings import KeepingSettings

_MB = 1 << 20


def data_pull(target: Path | None, common: Common, *, at_once: bool, json: bool) -> None:
    """Pull one target or those of all services; exits with the first code that is not 0."""
    from horizoncast.service.pulling import pull_all, targets_of

    services = _services(common)
    wanted = targets_of(services) if target is None else [(target.absolute(), services[0])]
    results = pull_all(wanted, os.environ, at_once=at_once)
    if json:
        print_json([_plain(result) for result in results])
    else:
        _show_pulls(results)
    code = next((result.exit_code for result in results if result.exit_code), 0)
    if code:
        raise typer.Exit(code)


def data_prune(common: Common, *, dry_run: bool, json: bool) -> None:
    """Delete, or only say what would go."""
    from horizoncast.service.retention import apply_prune, plan_prune

    services, now = _services(common), datetime.now(tz=UTC)
    items = plan_prune(services, now)
    if not dry_run:
        apply_prune(items, services, now)
    if json:
        print_json({"dry_run": dry_run, "items": items})
        return
    screen = Screen(as_json=False, quiet=False)
    rows = [(item.kind.value, str(item.path), item.reason) for item in items]
    screen.table("prune", ("", "what", "why"), rows)
    screen.out.print(_prune_line(items, dry_run=dry_run))


def _services(common: Common) -> list[KeepingSettings]:
    from horizoncast.service.settings import load_keeping

    places = common.places()
    return [load_keeping(name, places, overrides=common.overrides) for name in places.services()]


def _prune_line(items: Sequence[PruneItem], *, dry_run: bool) -> str:
    size = sum(item.size for item in items) / _MB
    verb = "would go" if dry_run else "gone"
    return f"{len(items)} {'item' if len(items) == 1 else 'items'}, {size:.1f} MB {verb}"


def _plain(result: PullResult) -> dict[str, object]:
    error = None if result.error is None else str(result.error)
    return {"path": result.path, "report": result.report, "error": error, "exit_code": result.exit_code}


def _show_pulls(results: Sequence[PullResult]) -> None:
    screen = Screen(as_json=False, quiet=False)
    head = ("source", "outcome", "new", "late", "revised", "unchanged", "up to")
    for result in results:
        if result.report is None:
            screen.complain(f"error: {result.path}: {result.error}")
            continue
        report = result.report
        if not report.sources:
            screen.tell(f"{report.target}: nothing to pull, its sources are read from disk")
            continue
        title = f"{report.target}: pull {report.pull}, {report.seconds:.1f} s"
        screen.table(title, head, [_row(source) for source in report.sources])
        _show_details(screen, report.sources)


def _row(source: SourceReport) -> tuple[str, ...]:
    counts = (source.new, source.late, len(source.revised), source.unchanged)
    newest = "nothing" if source.newest is None else str(source.newest)[:16].removesuffix("T00:00")
    return (f"{source.key} ({source.place})", source.outcome.value, *map(str, counts), newest)


def _show_details(screen: Screen, sources: Sequence[SourceReport]) -> None:
    """Revisions, at most ten a source, and why a source failed."""
    for source in sources:
        for revision in source.revised[:10]:
            day = str(revision.date)[:16].removesuffix("T00:00")
            screen.tell(f"  {source.key} {day}: {revision.before:g} became {revision.after:g}")
        if len(source.revised) > 10:
            screen.tell(f"  {source.key}: and {len(source.revised) - 10} more")
        if source.reason is not None:
            screen.complain(f"  {source.key} {source.outcome.value}: {source.reason}")
