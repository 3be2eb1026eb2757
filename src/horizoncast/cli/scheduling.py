"""`schedule preview`, `schedule export` and `backfill`."""

from __future__ import annotations

import json as plain_json
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import typer

from horizoncast.cli.ticking import Where
from horizoncast.errors import ConfigError, RunEndedError, UnknownNameError
from horizoncast.service.due import DueRun
from horizoncast.service.light import LightSettings
from horizoncast.service.schedule import Preview
from horizoncast.service.tick import Ran, not_finished

KINDS = ("cron", "systemd")


def preview(service: str | None, where: Where, *, days: int, first: str | None, json: bool) -> None:
    """Lay out the moments of one service or of all."""
    from horizoncast.service.schedule import preview as lay_out

    found = []
    for settings in where.services(service):
        begin = datetime.now(tz=UTC) if first is None else _day(first, "--from", settings)
        found.append((settings, lay_out(settings, begin, days)))
    if json:
        typer.echo(plain_json.dumps([_plain(one) for _, one in found], indent=1))
        return
    for settings, one in found:
        _show(settings, one, days)


def _show(settings: LightSettings, found: Preview, days: int) -> None:
    cadence = settings.cadence
    typer.echo(f"{found.service}: {len(found.moments)} moments in {days} days, {cadence.timezone}")
    for moment in found.moments:
        local, utc = moment.due.local, moment.due.moment
        note = f"  {moment.note}" if moment.note else ""
        typer.echo(f"  {local:%a %Y-%m-%d %H:%M}  {utc:%H:%M} UTC  data up to {moment.session}{note}")
    for warning in found.warnings:
        typer.echo(f"  warning: {warning}")


def _plain(found: Preview) -> dict[str, object]:
    moments = [
        {
            "due": moment.due.moment.isoformat(),
            "local": moment.due.local.isoformat(),
            "session": moment.session,
            "new_session": moment.new,
            "note": moment.note,
        }
        for moment in found.moments
    ]
    return {"service": found.service, "moments": moments, "warnings": list(found.warnings)}


def export(kind: str, where: Where, *, every: int, out: Path | None, user: str | None) -> None:
    """Print or write what calls tick."""
    from horizoncast.service.export import cron_lines, systemd_units

    if kind not in KINDS:
        raise UnknownNameError.of("kind of schedule", kind, KINDS)
    root, named = where.places.root, where.passed()[2:]
    if kind == "cron" and user is not None:
        raise ConfigError(
            "--user is for systemd", value=user, action=f"use: crontab -u {shlex.quote(user)} -e"
        )
    if kind == "cron":
        _put({"horizoncast.cron": cron_lines(root, every, named)}, out)
    else:
        _put(systemd_units(root, every, named, user=user), out)


def _put(files: dict[str, str], out: Path | None) -> None:
    if out is None:
        for name, text in files.items():
            typer.echo(f"# {name}\n{text}" if len(files) > 1 else text, nl=len(files) > 1)
        return
    from horizoncast.store.atomic import write_atomic

    for name, text in files.items():
        write_atomic(out / name, lambda handle, text=text: handle.write(text.encode()))  # type: ignore[misc]
        typer.echo(str(out / name))
    units = [str(out / name) for name in files if name.endswith((".service", ".timer"))]
    if units:
        typer.echo(f"check with: systemd-analyze verify {shlex.join(units)}", err=True)


def backfill(
    service: str, span: tuple[str, str | None], where: Where, *, dry_run: bool, json: bool, quiet: bool
) -> None:
    """Make up for past moments; exits with the first code that is not 0."""
    from horizoncast.service.backfill import backfill as run_all
    from horizoncast.service.backfill import unserved, whole_days
    from horizoncast.service.children import ending_on_sigterm, run_child

    (settings,) = where.services(service)
    now = datetime.now(tz=UTC)
    first = _day(span[0], "--from", settings)
    last = (now - timedelta(days=1)) if span[1] is None else _day(span[1], "--to", settings)
    begin, end = whole_days(settings, first, last)
    if begin > end:
        raise ConfigError("--from lies after --to", value=f"{span[0]} and {last:%Y-%m-%d}")
    runs = unserved(settings, begin, min(end, now))
    if dry_run:
        _show_runs(runs, json=json)
        return
    tell, start = _nothing if quiet or json else _to_stderr, partial(run_child, silent=quiet)
    with ending_on_sigterm():
        ran = run_all(runs, start=start, tell=tell, passed=where.passed())
    if json:
        typer.echo(plain_json.dumps({"dry_run": False, "runs": [_plain_ran(one) for one in ran]}, indent=1))
    elif not quiet:
        failed = sum(1 for one in ran if one.exit_code)
        typer.echo(f"{len(ran)} runs, {failed} failed")
    codes = [RunEndedError.exit_code if not_finished(one.exit_code) else one.exit_code for one in ran]
    code = next((code for code in codes if code), 0)
    if code:
        raise typer.Exit(code)


def _show_runs(runs: Sequence[DueRun], *, json: bool) -> None:
    if json:
        rows = [_plain_run(run) for run in runs]
        typer.echo(plain_json.dumps({"dry_run": True, "runs": rows}, indent=1))
        return
    for run in runs:
        typer.echo(f"{run.settings.service}: due {run.slot.due.local:%a %Y-%m-%d %H:%M}, as of {run.as_of}")
    typer.echo(f"{len(runs)} would run")


def _plain_run(run: DueRun) -> dict[str, object]:
    return {
        "service": run.settings.service,
        "due": run.slot.due.moment.isoformat(),
        "as_of": run.as_of,
    }


def _plain_ran(ran: Ran) -> dict[str, object]:
    return {**_plain_run(ran.run), "exit_code": ran.exit_code, "seconds": round(ran.seconds, 3)}


def _day(text: str, option: str, settings: LightSettings) -> datetime:
    """A day on the service's wall clock."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(
            f"{option} cannot be read", value=repr(text), allowed="a date as 2024-06-28"
        ) from error
    return found.replace(tzinfo=settings.cadence.zone) if found.tzinfo is None else found


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)


def _nothing(line: str) -> None:
    """Nobody listens."""
