"""`hybrid`: training of the fusion of Chronos and the Autoformer, and what came of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from horizoncast.cli.arguments import AsOf, Config, EnvFile, Json, Quiet, Root, Sets

hybrid_app = typer.Typer(help="The hybrid of Chronos and the Autoformer.", no_args_is_help=True)

Services = Annotated[
    list[str] | None,
    typer.Option("--service", metavar="NAME", help="Service; may be repeated; default: all."),
]
Targets = Annotated[
    list[Path] | None,
    typer.Option("--target", help="TOML file of a series; may be repeated; overrides the setting."),
]


def add_to(app: typer.Typer) -> None:
    """Enter the commands."""
    app.add_typer(hybrid_app, name="hybrid")


@hybrid_app.command("train")
def hybrid_train(
    *,
    service: Services = None,
    target: Targets = None,
    stage: Annotated[
        list[str] | None,
        typer.Option("--stage", help="components, joint or ensemble; may be repeated; default: all."),
    ] = None,
    windows: Annotated[
        int, typer.Option("--windows", metavar="N", min=1, help="Most training cutoffs of each service.")
    ] = 160,
    chronos: Annotated[
        Path | None, typer.Option("--chronos", help="File instead of config/chronos.toml.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be trained from what; compute nothing.")
    ] = False,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Train the hybrid in stages; each is kept only if it wins on later windows."""
    from horizoncast.cli import hybrid_training
    from horizoncast.cli.options import Common

    commons = [
        Common.of(target=one, as_of=as_of, sets=set_, root=root, config=config, env_file=env_file)
        for one in target or (None,)
    ]
    asked = hybrid_training.Asked(
        services=tuple(service or ()), stages=tuple(stage or ()), windows=windows, chronos=chronos
    )
    hybrid_training.train(commons, asked, dry_run=dry_run, json=json, quiet=quiet)


@hybrid_app.command("show")
def hybrid_show(
    *,
    service: Services = None,
    target: Targets = None,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Show what is learned for each service, what the judge said, and whether it is in use."""
    from horizoncast.cli import hybrid_showing
    from horizoncast.cli.options import Common

    commons = [
        Common.of(target=one, sets=set_, root=root, config=config, env_file=env_file)
        for one in target or (None,)
    ]
    hybrid_showing.show(commons, tuple(service or ()), json=json)
