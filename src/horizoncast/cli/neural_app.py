"""Commands around checkpoints: `models pretrain`, `models finetune`, `embed`, `analogs`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from horizoncast.cli.arguments import AsOf, Config, EnvFile, Json, Quiet, Root, Sets, TargetFile

embed_app = typer.Typer(help="Windows of sensor channels as vectors.", no_args_is_help=True)
Job = Annotated[Path, typer.Option("--config", metavar="FILE", help="TOML file of the embedding job.")]


def add_to(app: typer.Typer, models_app: typer.Typer) -> None:
    """Enter the commands."""
    models_app.command("pretrain")(pretrain)
    models_app.command("finetune")(finetune)
    app.command("analogs")(analogs)
    app.add_typer(embed_app, name="embed")


def pretrain(
    *,
    output: Annotated[Path, typer.Option("--output", metavar="FOLDER", help="Model folder to write.")],
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Optimiser steps in all, stages in proportion; default: the recipe's."
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of weights and series.")] = 0,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    revision: Annotated[str, typer.Option("--revision", help="Version that the manifest states.")] = "1",
    scores: Annotated[
        Path | None,
        typer.Option("--scores", metavar="FILE", help="Table of benchmarks/checkpoint.py for the card."),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Train a small Chronos-Bolt from scratch on synthetic series, or go on where that was stopped."""
    from horizoncast.cli import pretraining

    pretraining.pretrain_model(
        output, steps=steps, seed=seed, device=device, revision=revision, scores=scores, quiet=quiet
    )


def finetune(
    *,
    service: Annotated[
        str, typer.Option("--service", metavar="NAME", help="Service whose horizon and bank it is for.")
    ],
    target: TargetFile = None,
    mode: Annotated[
        str | None,
        typer.Option("--mode", help="full, head, gradual, adapter, or lora (Chronos-2)."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Model to start from; default: the member's."),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option("--until", metavar="DATE", help="Last date to learn from; default: oldest cutoff."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the result; default: tuned/SERIES-HORIZON.")
    ] = None,
    chronos: Annotated[
        Path | None, typer.Option("--chronos", help="File instead of config/chronos.toml.")
    ] = None,
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Fine-tune a checkpoint on a target; kept only if it beats its base on later windows."""
    from horizoncast.cli import finetuning
    from horizoncast.cli.options import Common, parse_date
    from horizoncast.service.finetuning import Asked

    common = Common.of(target=target, as_of=as_of, sets=set_, root=root, config=config, env_file=env_file)
    asked = Asked(base=model, mode=mode, until=parse_date(until, "--until"), name=name, chronos=chronos)
    finetuning.finetune(service, common, asked, json=json, quiet=quiet)


def analogs(
    *,
    target: TargetFile = None,
    count: Annotated[int, typer.Option("--k", min=1, max=20, help="Past windows to show.")] = 5,
    window: Annotated[int, typer.Option("--window", metavar="SESSIONS", help="Length of a window.")] = 60,
    steps: Annotated[
        int, typer.Option("--steps", min=1, max=1000, metavar="SESSIONS", help="Sessions that followed.")
    ] = 30,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw them.")] = None,
    by: Annotated[
        str, typer.Option("--by", help="encoder, or statistics, which needs no checkpoint.")
    ] = "encoder",
    model: Annotated[
        str | None,
        typer.Option("--model", metavar="NAME", help="Model whose encoder is used; default: the member's."),
    ] = None,
    pooling: Annotated[str, typer.Option("--pooling", help="mean, last or reg.")] = "mean",
    as_of: AsOf = None,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Show the past windows most like today's, and what followed them."""
    from horizoncast.cli import analogs as looking
    from horizoncast.cli.options import Common
    from horizoncast.service.analogs import Asked

    common = Common.of(target=target, as_of=as_of, sets=set_, root=root, config=config, env_file=env_file)
    asked = Asked(count=count, window=window, follow_up=steps, by=by, model=model, pooling=pooling)
    looking.analogs(common, asked, png=png, json=json, quiet=quiet)


@embed_app.command("train")
def embed_train(
    *, job: Job, json: Json = False, quiet: Quiet = False, set_: Sets = None, root: Root = None
) -> None:
    """Train a projection head on paired windows; measured on pairs it has not seen."""
    from horizoncast.cli import embedding
    from horizoncast.cli.options import Common

    embedding.train(job, Common.of(sets=set_, root=root), json=json, quiet=quiet)


@embed_app.command("run")
def embed_run(
    *,
    job: Job,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Parquet file; default: NAME.parquet.")
    ] = None,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
) -> None:
    """Write the vector of every window through the trained head."""
    from horizoncast.cli import embedding
    from horizoncast.cli.options import Common

    embedding.run(job, Common.of(sets=set_, root=root), out=out, json=json)
