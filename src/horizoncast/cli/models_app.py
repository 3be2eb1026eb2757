"""`models`: checkpoints on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from horizoncast.cli.arguments import Config, EnvFile, Json, Quiet, Root, Sets

if TYPE_CHECKING:
    from horizoncast.models.chronos.folder import ModelManifest

models_app = typer.Typer(help="Chronos checkpoints on disk.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Enter the commands."""
    app.add_typer(models_app, name="models")


@models_app.command("fetch")
def models_fetch(
    repo: Annotated[str, typer.Argument(help="Repository on the hub, as in amazon/chronos-bolt-small.")],
    *,
    revision: Annotated[
        str | None, typer.Option("--revision", metavar="COMMIT", help="This commit, not the newest.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Download a checkpoint once, as safetensors, at one commit; uses the network."""
    from horizoncast.models.chronos.fetch import fetch_model

    folder = _models(set_, root, config, env_file)
    found = fetch_model(repo, folder, revision=revision, progress=not (json or quiet))
    if json:
        _print(_values(found.folder, found.manifest) | {"downloaded": found.downloaded})
        return
    word = "fetched" if found.downloaded else "already there"
    typer.echo(f"{found.manifest.name} at {found.manifest.revision[:12]}: {word}, {found.folder}")


@models_app.command("list")
def models_list(
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """List the checkpoints on disk, and mark the one that runs unless a setting names another."""
    from horizoncast.cli.screen import Screen
    from horizoncast.errors import StoreError
    from horizoncast.models.chronos.places import default_model, read_all

    folder = _models(set_, root, config, env_file)
    found, default = read_all(folder), default_model(folder)
    if json:
        _print(
            [
                {"folder": str(place), "problem": str(m)} if isinstance(m, StoreError)
                else _values(place, m) | {"default": place == default}
                for place, m in found.items()
            ]
        )  # fmt: skip
        return
    if not found:
        typer.echo(f"none in {folder}; fetch one, as in: horizoncast models fetch amazon/chronos-bolt-small")
        return
    rows = [
        (place.name, str(m), "", "", "", "") if isinstance(m, StoreError) else _row(m, place == default)
        for place, m in found.items()
    ]
    Screen(as_json=False, quiet=False).table(
        f"models in {folder}", ("name", "class", "parameters", "context", "steps", "seen until"), rows
    )


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(help="Name or folder of a model, as `models list` shows them.")],
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Show what a checkpoint is: the manifest of its folder."""
    from horizoncast.cli.screen import Screen
    from horizoncast.models.chronos.folder import read_manifest
    from horizoncast.models.chronos.places import find_model

    place = find_model(name, _models(set_, root, config, env_file))
    values = _values(place, read_manifest(place))
    if json:
        _print(values)
        return
    facts = values.pop("facts")
    rows = [(key, _text(value)) for key, value in values.items()]
    Screen(as_json=False, quiet=False).rows(name, [*rows, *((k, _text(v)) for k, v in facts.items())])


@models_app.command("verify")
def models_verify(
    name: Annotated[str | None, typer.Argument(help="Name or folder of a model; default: all.")] = None,
    *,
    json: Json = False,
    set_: Sets = None,
    root: Root = None,
    config: Config = None,
    env_file: EnvFile = None,
) -> None:
    """Compare every file with its manifest; exit code 7 when one is damaged, missing or unlisted."""
    from horizoncast.errors import StoreError
    from horizoncast.models.chronos.folder import verify
    from horizoncast.models.chronos.places import find_model, model_folders

    folder = _models(set_, root, config, env_file)
    places = model_folders(folder) if name is None else [find_model(name, folder)]
    problems: dict[str, str] = {}
    for place in places:
        try:
            verify(place)
            problems[str(place)] = ""
        except StoreError as error:
            problems[str(place)] = str(error)
    if json:
        _print([{"folder": at, "whole": not why, "problem": why} for at, why in problems.items()])
    else:
        for at, why in problems.items():
            typer.echo(f"{at}: {why or 'whole'}")
        if not places:
            typer.echo(f"no model in {folder}")
    if any(problems.values()):
        raise typer.Exit(StoreError.exit_code)


def _models(sets: list[str] | None, root: Path | None, config: Path | None, env_file: Path | None) -> Path:
    """Folder of the models, as the first service has it: all of them share one."""
    from horizoncast.cli.options import Common

    common = Common.of(sets=sets, root=root, config=config, env_file=env_file)
    return common.settings(common.places().services()[0]).models_folder


def _row(manifest: ModelManifest, default: bool) -> tuple[str, ...]:
    until = manifest.trained_until
    return (
        manifest.name + (" (default)" if default else ""),
        manifest.kind,
        f"{manifest.parameters:,}",
        str(manifest.context_length),
        str(manifest.prediction_length),
        "no real series" if until is None else str(until)[:10],
    )


def _values(place: Path, manifest: ModelManifest) -> dict[str, Any]:
    from dataclasses import asdict

    until = None if manifest.trained_until is None else str(manifest.trained_until)
    return {"folder": str(place)} | asdict(manifest) | {"trained_until": until}


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_text(held)}" for key, held in value.items())
    if isinstance(value, list | tuple):
        tables = any(isinstance(item, dict) for item in value)
        nested = any(isinstance(item, list | tuple) for item in value)
        return ("\n" if tables else "; " if nested else " ").join(_text(item) for item in value)
    return "none" if value is None else str(value)


def _print(values: object) -> None:
    from horizoncast.cli.screen import print_json

    print_json(values)
