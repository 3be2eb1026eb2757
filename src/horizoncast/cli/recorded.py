"""What `show`, `replay`, `backup` and `ledger` do."""

from __future__ import annotations

import os
from collections.abc import Sequence
from math import floor, log10
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from horizoncast.cli.options import Common
from horizoncast.cli.reviewing import REVIEWS
from horizoncast.cli.screen import Screen, print_json
from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.service.ledgers import has_ledger, open_ledger
from horizoncast.service.settings import KeepingSettings, load_keeping
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import ENSEMBLE, RunRow

if TYPE_CHECKING:
    from horizoncast.store.ledger.backup import BackupReport

METRICS = "metrics.jsonl"
_MB = 1 << 20
_ENDS = (0.025, 0.1, 0.9, 0.975)


def show(service: str | None, common: Common, *, run_id: str | None, listed: bool, json: bool) -> None:
    """Show forecasts, or list runs."""
    settings = keeping(common, service)
    ledger = _existing(settings)
    runs = _wanted(ledger, service, run_id, listed=listed)
    if json:
        print_json([_as_json(ledger, run, listed=listed) for run in runs])
        return
    screen = Screen(as_json=False, quiet=False)
    if listed:
        head = ("run", "as of", "revision", "origin", "status", "due", "committed")
        rows = [
            (r.run_id, r.as_of, str(r.revision), r.origin.value, r.status, r.due or "", r.committed)
            for r in runs
        ]
        screen.table("published runs", head, rows)
        return
    for run in runs:
        _show_run(ledger, run, screen)


def replay(run_id: str, common: Common, *, json: bool) -> None:
    """Derive a run again, and exit with 7 when a bit differs."""
    from horizoncast.service.replay import replay as derive

    ledger = _existing(keeping(common, None))
    run = ledger.runs.get(run_id)
    if run is None:
        raise UnknownNameError.of("run", run_id, [row.run_id for row in ledger.runs.all()][-20:])
    screen = Screen(as_json=json, quiet=json)
    with screen.progressing():
        found = derive(run_id, ledger, common.settings(run.service), progress=screen.advance)
    if json:
        print_json(found)
    else:
        rows = [(name, "same bytes" if same else "different") for name, same in found.files.items()]
        rows += [("largest relative difference", f"{found.largest:.3g}")] if found.largest is not None else []
        screen.rows(f"{run_id}: {'the same, bit for bit' if found.same else 'not the same'}", rows)
        for reason in found.reasons:
            screen.out.print(f"  {reason}", markup=False, soft_wrap=True)
    if not found.same:
        raise typer.Exit(StoreError.exit_code)


def backup_create(file: Path, common: Common, *, json: bool) -> None:
    """Write a backup of everything the services share."""
    from horizoncast.store.ledger.backup import RUNS, create_backup

    settings = keeping(common, None)
    places = common.places()
    others = {
        "store": settings.store_folder,
        "config": places.root / "config",
        "services": places.root / "services",
        f"{RUNS}/{REVIEWS}": settings.output_folder / REVIEWS,
    }
    done = create_backup(file.absolute(), _existing(settings), settings.output_folder, others)
    _show_backup(file, done, json=json)


def backup_verify(file: Path, *, json: bool) -> None:
    """Read a backup back, and exit with 7 when something is wrong."""
    from horizoncast.store.ledger.backup import verify_backup

    found = verify_backup(file)
    _show_backup(file, found, json=json)
    if found.problems:
        raise typer.Exit(StoreError.exit_code)


def ledger_check(service: str, common: Common, *, json: bool) -> None:
    """Check the invariants, and exit with 7 when one is broken that no run mends."""
    from horizoncast.store.ledger.invariants import check_invariants

    settings = keeping(common, service)
    root, ledger = settings.output_folder, _existing(settings)
    broken = check_invariants(ledger, root, log=root / METRICS)
    if json:
        print_json({"runs": len(ledger.runs.all()), "broken": broken})
    else:
        screen = Screen(as_json=False, quiet=False)
        rows = [
            (str(b.invariant), "the next run mends it" if b.derived else "broken", b.text) for b in broken
        ]
        title = f"{ledger.name}: {len(ledger.runs.all())} runs"
        if rows:
            screen.table(title, ("invariant", "", "found"), rows)
        else:
            screen.rows(title, [("", "all invariants hold")])
    if any(not b.derived for b in broken):
        raise typer.Exit(StoreError.exit_code)


def ledger_mend(service: str, common: Common, *, whole: bool, json: bool) -> None:
    """Repair, or import folders without a row."""
    from horizoncast.store.ledger.publication import import_runs, repair

    settings = keeping(common, service)
    root, ledger = settings.output_folder, open_ledger(settings, os.environ)
    if whole:
        done = repair(ledger, root=root, log=root / METRICS, whole=True)
    else:
        done = import_runs(ledger, root=root, log=root / METRICS)
    if json:
        print_json(done)
        return
    screen = Screen(as_json=False, quiet=False)
    parts = {"withdrawn": done.withdrawn, "taken in": done.adopted, "completed": done.completed}
    parts |= {"older than the ledger": done.unknown}
    screen.rows(ledger.name, [(name, str(len(found))) for name, found in parts.items()])
    for problem in done.problems:
        screen.complain(f"  {problem}")


def keeping(common: Common, service: str | None) -> KeepingSettings:
    """Settings that say where results are: the service's, else the first one's."""
    places = common.places()
    if service is not None:
        places.require_service(service)
    return load_keeping(service or places.services()[0], places, overrides=common.overrides)


def _existing(settings: KeepingSettings) -> Ledger:
    if not has_ledger(settings):
        raise StoreError(
            "nothing was published yet", value=settings.output_folder, action="horizoncast run SERVICE"
        )
    return open_ledger(settings, os.environ)


def _wanted(ledger: Ledger, service: str | None, run_id: str | None, *, listed: bool) -> Sequence[RunRow]:
    every = ledger.runs.all(service=service)
    if run_id is not None:
        found = [run for run in every if run.run_id == run_id]
        if not found:
            raise UnknownNameError.of("run", run_id, [run.run_id for run in every][-20:])
        return found
    if listed:
        return every
    heads = list({(run.service, run.series): run for run in every}.values())
    if not heads:
        raise StoreError("nothing was published yet", value=service, action="horizoncast run SERVICE")
    return heads


def _show_run(ledger: Ledger, run: RunRow, screen: Screen) -> None:
    (forecast,) = ledger.runs.forecasts(run.run_id, subject=ENSEMBLE)
    ends = [level for level in _ENDS if level in run.levels]
    places = [run.levels.index(level) for level in (*ends, 0.5)]
    head = ("step", "date", *(f"q{level:g}" for level in ends), "point")
    digits = _decimals(max(abs(row[place]) for row in forecast.quantiles for place in places))
    rows = [
        (str(step), date, *(f"{row[place]:.{digits}f}" for place in places))
        for step, date, row in zip(forecast.steps, forecast.dates, forecast.quantiles, strict=True)
    ]
    title = f"{run.service}: {run.series} [{run.unit}] as of {run.as_of}, revision {run.revision}"
    screen.table(f"{title}: {run.status}", head, rows)
    weights = [f"{m.member} {100 * m.weight:.0f} %" for m in ledger.runs.members(run.run_id) if m.weight > 0]
    screen.rows("", [("weights", ", ".join(weights)), *(("reason", text) for text in run.reasons)])
    screen.paths([("run", run.run_id), ("committed", run.committed)])


def _decimals(largest: float) -> int:
    """Decimal places that give the largest value six digits: one number for a whole table.

    >>> _decimals(19.7124), _decimals(0.0123), _decimals(1.2e7), _decimals(0.0)
    (4, 7, 0, 0)
    """
    return max(0, 5 - floor(log10(largest))) if largest > 0 else 0


def _as_json(ledger: Ledger, run: RunRow, *, listed: bool) -> dict[str, object]:
    if listed:
        return vars(run)
    (forecast,) = ledger.runs.forecasts(run.run_id, subject=ENSEMBLE)
    values = {"steps": forecast.steps, "dates": forecast.dates, "quantiles": forecast.quantiles}
    return {**vars(run), **values, "members": [vars(m) for m in ledger.runs.members(run.run_id)]}


def _show_backup(file: Path, done: BackupReport, *, json: bool) -> None:
    if json:
        print_json(done)
        return
    screen = Screen(as_json=False, quiet=False)
    screen.out.print(
        f"{file}: {done.runs} runs, {done.files} files, {done.size / _MB:.1f} MB, made {done.created}",
        markup=False,
        soft_wrap=True,
    )
    for problem in done.problems:
        screen.complain(f"  {problem}")
