"""Arguments and options that several commands share; docs/cli.md has a table of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

Service = Annotated[str, typer.Argument(help="Name of a service, as in forecaster_30d.")]
AnyService = Annotated[str | None, typer.Argument(help="Name of a service; default: all.")]
TargetPath = Annotated[Path, typer.Argument(help="TOML file of the series.")]
TargetFile = Annotated[
    Path | None, typer.Option("--target", help="TOML file of the series; overrides the setting.")
]
AsOf = Annotated[
    str | None, typer.Option("--as-of", metavar="DATE", help="Hide rows dated later, as in 2024-06-28.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Output folder; overrides run.output.")]
Sets = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Any setting; may be repeated.")
]
Members = Annotated[
    list[str] | None,
    typer.Option("--member", metavar="NAME=STATE", help="off, shadow or on; may be repeated."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress; results and errors only.")]
Store = Annotated[
    Path | None, typer.Option("--store", help="Folder of the stores; default: the setting data.store.")
]
Root = Annotated[
    Path | None, typer.Option("--root", help="Folder that holds config/ and services/; default: here.")
]
Config = Annotated[Path | None, typer.Option("--config", help="File instead of config/base.toml.")]
EnvFile = Annotated[Path | None, typer.Option("--env-file", help="File instead of the global .env.")]


def completed(arguments: Sequence[str]) -> list[str]:
    """Arguments with a value for every ``--report``: without a page's name it stands for the terminal."""
    out: list[str] = []
    for here, after in zip(arguments, [*arguments[1:], ""], strict=True):
        out.append(here)
        if here == "--report" and not after.endswith((".html", ".htm")):
            out.append("-")
    return out
