"""Commands that look after the record: `show`, `replay`, `backup`, `ledger`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from horizoncast.cli.arguments import AnyService, Config, EnvFile, Json, Root, Service, Sets

backup_app = typer.Typer(help="One file that holds the record.", no_args_is_help=True)
ledger_app = typer.Typer(help="The record of published runs.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Enter the commands."""
    app.command("show")(show)
    app.command("replay")(replay)
    app.add_typer(backup_app, name="backup")
    app.add_typer(ledger_app, name="ledger")


def show(
    service: AnyService = None,
    *,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="This run, not the latest.")] = None,
    runs: Annotated[bool, typer.Option("--runs", help="List runs instead of a forecast.")] = False,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Show the latest published forecast: every step with its date and intervals."""
    from horizoncast.cli import recorded
    from horizoncast.cli.options import Common

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    recorded.show(service, common, run_id=run, listed=runs, json=json)


def replay(
    run: Annotated[str, typer.Argument(help="Id of a published run, as `show --runs` lists them.")],
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Derive a published run again from its record and compare; exit code 7 when a bit differs."""
    from horizoncast.cli import recorded
    from horizoncast.cli.options import Common

    recorded.replay(run, Common.of(sets=set_, root=root, config=config, env_file=env_file), json=json)


@backup_app.command("create")
def backup_create(
    file: Annotated[Path, typer.Argument(help="File to write, as in backup-20260101.tar.gz.")],
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Write ledger, run folders, log, store and configuration into one file; no secrets."""
    from horizoncast.cli import recorded
    from horizoncast.cli.options import Common

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    recorded.backup_create(file, common, json=json)


@backup_app.command("verify")
def backup_verify(
    file: Annotated[Path, typer.Argument(help="A backup.")],
    *,
    json: Json = False,
) -> None:
    """Read a backup back: every digest, run and invariant; exit code 7 when something is wrong."""
    from horizoncast.cli import recorded

    recorded.backup_verify(file, json=json)


@ledger_app.command("check")
def ledger_check(
    service: Service,
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Check every invariant of the ledger and its folders; exit code 7 when one is broken."""
    from horizoncast.cli import recorded
    from horizoncast.cli.options import Common

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    recorded.ledger_check(service, common, json=json)


@ledger_app.command("import")
def ledger_import(
    service: Service,
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Take run folders from before the ledger, or from a restored backup, into it."""
    from horizoncast.cli import recorded
    from horizoncast.cli.options import Common

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    recorded.ledger_mend(service, common, whole=False, json=json)


@ledger_app.command("repair")
def ledger_repair(
    service: Service,
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Do now what the next run would: withdraw dead folders, complete log and latest.json."""
    from horizoncast.cli import recorded
    from horizoncast.cli.options import Common

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    recorded.ledger_mend(service, common, whole=True, json=json)
