"""Commands that make runs happen: `tick`, `daemon`, `backfill`, `schedule`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from horizoncast.cli.arguments import AnyService, Config, EnvFile, Json, Quiet, Root, Service, Sets

schedule_app = typer.Typer(help="When services are due, and what calls tick.", no_args_is_help=True)
Every = Annotated[
    int, typer.Option("--every", metavar="MINUTES", help="Minutes between two ticks; a divisor of 60.")
]


def add_to(app: typer.Typer) -> None:
    """Enter the commands."""
    app.command("tick")(tick)
    app.command("daemon")(daemon)
    app.command("backfill")(backfill)
    app.add_typer(schedule_app, name="schedule")


def tick(
    *,
    at_once: Annotated[
        bool, typer.Option("--now", help="Try again at once what failed only a moment ago.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what is due; run nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Pull and run what is due and not yet published, then end; for cron, timers and the daemon."""
    from horizoncast.cli import ticking

    where = ticking.Where(sets=tuple(set_ or ()), root=root, config=config, env_file=env_file)
    ticking.run_tick(where, at_once=at_once, dry_run=dry_run, json=json, quiet=quiet)


def daemon(
    *,
    every: Every = 5,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Start a tick every few minutes until told to end, where neither cron nor systemd is at hand."""
    from horizoncast.cli import daemon as running

    running.run_daemon(every, set_ or [], root=root, config=config, env_file=env_file)


def backfill(
    service: Service,
    *,
    first: Annotated[str, typer.Option("--from", metavar="DATE", help="First day of due moments.")],
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last day of due moments; default: yesterday.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would run; run nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Make up for past due moments that have no forecast, in order, each as of its own date."""
    from horizoncast.cli import scheduling, ticking

    where = ticking.Where(sets=tuple(set_ or ()), root=root, config=config, env_file=env_file)
    scheduling.backfill(service, (first, last), where, dry_run=dry_run, json=json, quiet=quiet)


@schedule_app.command("preview")
def schedule_preview(
    service: AnyService = None,
    *,
    days: Annotated[int, typer.Option("--days", min=1, max=4000, help="Length of the stretch.")] = 60,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="Beginning; default: now.")
    ] = None,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Print the real dates of every service, and warn of what people get wrong about them."""
    from horizoncast.cli import scheduling, ticking

    where = ticking.Where(sets=tuple(set_ or ()), root=root, config=config, env_file=env_file)
    scheduling.preview(service, where, days=days, first=first, json=json)


@schedule_app.command("export")
def schedule_export(
    kind: Annotated[str, typer.Argument(help="cron or systemd.")],
    *,
    every: Every = 15,
    out: Annotated[
        Path | None, typer.Option("--out", help="Folder for the units; default: print them.")
    ] = None,
    user: Annotated[
        str | None, typer.Option("--user", metavar="NAME", help="Account that systemd's ticks run as.")
    ] = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Write what calls tick: a line for cron, or a service and a timer for systemd."""
    from horizoncast.cli import scheduling, ticking

    where = ticking.Where(root=root, config=config, env_file=env_file)
    scheduling.export(kind, where, every=every, out=out, user=user)
