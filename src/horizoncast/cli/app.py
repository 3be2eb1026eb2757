"""Commands and their options; the only place that turns errors into exit codes.

Exit codes are those of `horizoncast.errors`; docs/cli.md holds the table.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from horizoncast.cli import (
    comparing,
    hybrid_app,
    models_app,
    neural_app,
    pages_app,
    record_app,
    service_app,
    standing,
)
from horizoncast.cli.arguments import (
    AnyService,
    AsOf,
    Config,
    EnvFile,
    Json,
    Members,
    Out,
    Quiet,
    Root,
    Service,
    Sets,
    Store,
    TargetFile,
    TargetPath,
    completed,
)
from horizoncast.cli.quick import plain_tick
from horizoncast.errors import HorizoncastError

EXIT_UNEXPECTED = 1
EXIT_INTERRUPTED = 130

app = typer.Typer(
    name="horizoncast",
    help="Scheduled batch forecasting with a validated, weighted and calibrated ensemble.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
data_app = typer.Typer(help="Look at a target's data.", no_args_is_help=True)
target_app = typer.Typer(help="Describe a series to forecast.", no_args_is_help=True)
config_app = typer.Typer(help="Look at settings.", no_args_is_help=True)
app.add_typer(data_app, name="data")
app.add_typer(target_app, name="target")
app.add_typer(config_app, name="config")


def _version(value: bool) -> None:
    if value:
        from importlib.metadata import version

        typer.echo(f"horizoncast {version('horizoncast')}")
        raise typer.Exit


@app.callback()
def horizoncast(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Scheduled batch forecasting with a validated, weighted and calibrated ensemble."""


@app.command()
def run(
    service: Service,
    *,
    target: TargetFile = None,
    as_of: AsOf = None,
    out: Out = None,
    set_: Sets = None,
    member: Members = None,
    json: Json = False,
    quiet: Quiet = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read and check everything; compute and write nothing.")
    ] = False,
    once: Annotated[
        bool, typer.Option("--once", help="Do nothing when the as-of is published already, as tick does.")
    ] = False,
    due: Annotated[
        str | None, typer.Option("--due", metavar="MOMENT", help="Due moment it is made for; on record.")
    ] = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Forecast one service's target and write the result down."""
    from horizoncast.cli import running
    from horizoncast.cli.options import Common

    common = Common.of(
        target=target,
        as_of=as_of,
        out=out,
        sets=set_,
        members=member,
        root=root,
        config=config,
        env_file=env_file,
    )
    running.run_one(service, common, json=json, quiet=quiet, dry_run=dry_run, once=once, due=due)


@app.command("run-all")
def run_all(
    *,
    target: TargetFile = None,
    as_of: AsOf = None,
    out: Out = None,
    set_: Sets = None,
    member: Members = None,
    json: Json = False,
    quiet: Quiet = False,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Run every service one after the other and end with one table."""
    from horizoncast.cli import running
    from horizoncast.cli.options import Common

    common = Common.of(
        target=target,
        as_of=as_of,
        out=out,
        sets=set_,
        members=member,
        root=root,
        config=config,
        env_file=env_file,
    )
    running.run_every(common, json=json, quiet=quiet)


@app.command()
def backtest(
    service: Service,
    *,
    target: TargetFile = None,
    first: Annotated[
        str | None, typer.Option("--from", metavar="DATE", help="First scored cutoff; default: earliest.")
    ] = None,
    last: Annotated[
        str | None, typer.Option("--to", metavar="DATE", help="Last scored cutoff; default: newest matured.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", min=1, help="Sessions between cutoffs; default: the horizon's.")
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option("--bank", help="Write every scored forecast to this Parquet file."),
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", help="Write a chart to this PNG file.")] = None,
    set_: Sets = None,
    member: Members = None,
    json: Json = False,
    quiet: Quiet = False,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Score members, weighting rules and the shipped pipeline on the past."""
    from horizoncast.cli import backtesting
    from horizoncast.cli.options import Common, parse_date

    common = Common.of(
        target=target,
        sets=set_,
        members=member,
        root=root,
        config=config,
        env_file=env_file,
    )
    span = (parse_date(first, "--from"), parse_date(last, "--to"), stride)
    backtesting.backtest(service, common, span, bank=bank, plot=plot, json=json, quiet=quiet)


@data_app.command("check")
def data_check(
    target: TargetPath,
    *,
    as_of: AsOf = None,
    report: Annotated[
        str | None,
        typer.Option("--report", metavar="[FILE.html]", help="Show all there is, or write it as a page."),
    ] = None,
    later_overrides: Annotated[
        bool, typer.Option("--later-overrides", help="Apply overrides made after --as-of, too.")
    ] = False,
    json: Json = False,
    store: Store = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Read a target and say what its checks found; exit code 3 when a finding blocks."""
    from horizoncast.cli import correcting
    from horizoncast.cli.options import Common

    usual = None if store else Common.of(root=root, config=config, env_file=env_file).store()
    asked = correcting.Looked(file=target, named=store, usual=usual, later_overrides=later_overrides)
    correcting.data_check(asked, as_of, report=report, json=json)


@data_app.command("override")
def data_override(
    target: TargetPath,
    *,
    date: Annotated[str | None, typer.Option("--date", metavar="DATE", help="Which observation.")] = None,
    value: Annotated[float | None, typer.Option("--value", help="What it should have been.")] = None,
    drop: Annotated[bool, typer.Option("--drop", help="Leave the observation out.")] = False,
    column: Annotated[
        str | None, typer.Option("--column", help="Name of a covariate; default: the target itself.")
    ] = None,
    why: Annotated[str | None, typer.Option("--why", help="The reason, in words.")] = None,
    by: Annotated[str | None, typer.Option("--by", help="Who says so.")] = None,
    list_: Annotated[bool, typer.Option("--list", help="Show all, those taken back included.")] = False,
    revert: Annotated[int | None, typer.Option("--revert", metavar="ID", help="Take one back.")] = None,
    json: Json = False,
    store: Store = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Correct a bad observation, on the record and reversibly; what the source said stays in the store."""
    from horizoncast.cli import correcting
    from horizoncast.cli.options import Common

    folder = store or Common.of(root=root, config=config, env_file=env_file).store()
    asked = correcting.Asked(
        date=date, value=value, drop=drop, column=column, why=why, by=by, listed=list_, revert=revert
    )
    correcting.override(target, folder, asked, json=json)


@data_app.command("pull")
def data_pull(
    target: Annotated[
        Path | None, typer.Argument(help="TOML file of a series; default: those of all services.")
    ] = None,
    *,
    now: Annotated[
        bool, typer.Option("--now", help="Ask sources again that have answered only a moment ago.")
    ] = False,
    store: Annotated[
        Path | None, typer.Option("--store", help="Folder of the store; overrides data.store.")
    ] = None,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Fetch what is new into the local store; the only data command that uses the network."""
    from horizoncast.cli import keeping
    from horizoncast.cli.options import Common

    sets = [*(set_ or ()), *([] if store is None else [f"data.store={store.absolute()}"])]
    common = Common.of(sets=sets, root=root, config=config, env_file=env_file)
    keeping.data_pull(target, common, at_once=now, json=json)


@data_app.command("prune")
def data_prune(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; delete nothing.")] = False,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Delete what has been kept long enough: raw payloads, vintages, run folders, log records."""
    from horizoncast.cli import keeping
    from horizoncast.cli.options import Common

    common = Common.of(sets=set_, root=root, config=config, env_file=env_file)
    keeping.data_prune(common, dry_run=dry_run, json=json)


@target_app.command("new")
def target_new(
    file: Annotated[Path, typer.Argument(help="CSV or Parquet file.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the proposal to this file; never overwrites.")
    ] = None,
) -> None:
    """Propose a target's TOML for a data file."""
    from horizoncast.cli import looking

    looking.target_new(file, out)


@config_app.command("explain")
def config_explain(
    service: AnyService = None,
    *,
    set_: Sets = None,
    member: Members = None,
    json: Json = False,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Show each setting with its value and the layer that set it."""
    from horizoncast.cli import looking
    from horizoncast.cli.options import Common

    common = Common.of(
        sets=set_,
        members=member,
        root=root,
        config=config,
        env_file=env_file,
    )
    looking.config_explain(service, common, json=json)


@app.command()
def doctor(*, json: Json = False, root: Root = None, config: Config = None, env_file: EnvFile = None) -> None:
    """Find what would stop a run here; exit code 2 when something would."""
    from horizoncast.cli import looking
    from horizoncast.cli.options import Common

    looking.doctor(Common.of(root=root, config=config, env_file=env_file), json=json)


comparing.add_to(app)
service_app.add_to(app)
record_app.add_to(app)
pages_app.add_to(app)
standing.add_to(app)
models_app.add_to(app)
neural_app.add_to(app, models_app.models_app)
hybrid_app.add_to(app)


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line and exit with the code of what happened."""
    arguments = completed(sys.argv[1:] if argv is None else argv)
    try:
        plain = plain_tick(arguments)
        if plain is None:
            app(args=arguments, prog_name="horizoncast")
        else:
            plain.run()
    except typer.Exit as ended:
        sys.exit(ended.exit_code)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except HorizoncastError as error:
        _complain(error, debug="--debug" in arguments)
        sys.exit(error.exit_code)
    except Exception as error:  # noqa: BLE001  (the outermost handler)
        _complain(error, debug="--debug" in arguments)
        sys.exit(EXIT_UNEXPECTED)


def _complain(error: Exception, *, debug: bool) -> None:
    """One clear message on stderr."""
    if debug:
        traceback.print_exception(error, file=sys.stderr)
        return
    notes = "".join(f"\n  {note}" for note in getattr(error, "__notes__", ()))
    if isinstance(error, HorizoncastError):
        sys.stderr.write(f"error: {error}{notes}\n")
    else:
        sys.stderr.write(
            f"unexpected error: {type(error).__name__}: {error}{notes}\n"
            "this is a defect; the traceback is shown with: horizoncast --debug ...\n"
        )
