"""Where model folders lie, and which one a name means.

Models that were fetched or trained lie below one folder (setting ``models.folder``), each in a folder
of its own; the checkpoint that ships is part of the package.
"""

from __future__ import annotations

from pathlib import Path

from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.models.chronos.folder import MANIFEST, ModelManifest, read_manifest
from horizoncast.store.names import safe_name

PREFERRED = "amazon/chronos-bolt-small"
"""The model that runs by default where it has been fetched."""
SHIPPED_NAME = "horizoncast-bolt-micro"
SHIPPED = Path(__file__).resolve().parent / "shipped"
"""The checkpoint that comes with the package: config.json, model.safetensors, manifest.json, README.md."""


def place_of(models: Path, name: str) -> Path:
    """Folder of a model below the folder of all models.

    >>> place_of(Path("models"), "amazon/chronos-bolt-small").as_posix()
    'models/amazon--chronos-bolt-small'
    """
    return models / "--".join(safe_name(part) for part in name.split("/"))


def find_model(name: str, models: Path | None) -> Path:
    """Folder of the model a setting names: a path, a name below `models`, or the one that ships.

    Parameters
    ----------
    name
        Empty takes Amazon's Bolt small where it has been fetched, else the checkpoint that ships.
    models
        Folder of all models; None where there is none.

    Raises
    ------
    UnknownNameError
        When nothing of that name lies there.
    StoreError
        When no model at all is on disk.
    """
    if not name:
        return _default(models)
    if (Path(name).expanduser() / MANIFEST).is_file():
        return Path(name).expanduser()
    named = None if models is None else place_of(models, name)
    if named is not None and (named / MANIFEST).is_file():
        return named
    if name == SHIPPED_NAME and (SHIPPED / MANIFEST).is_file():
        return SHIPPED
    by_name = [place for place in model_folders(models) if _name_of(place) == name]
    if by_name:
        return by_name[0]
    known = [*names_below(models), *([SHIPPED_NAME] if (SHIPPED / MANIFEST).is_file() else [])]
    error = UnknownNameError.of("model on disk", name, known)
    hint = error.action or (
        "horizoncast models list" if "/" not in name else f"horizoncast models fetch {name}"
    )
    raise UnknownNameError(error.what, value=error.value, allowed=error.allowed or "none yet", action=hint)


def model_folders(models: Path | None) -> list[Path]:
    """Every folder with a manifest: below `models` by name, then the one that ships."""
    below = [] if models is None else sorted(place.parent for place in models.glob(f"*/{MANIFEST}"))
    return [*below, *([SHIPPED] if (SHIPPED / MANIFEST).is_file() else [])]


def names_below(models: Path | None) -> list[str]:
    """Names of the models below a folder, by their manifests; unreadable ones by their folder."""
    return [_name_of(place) for place in model_folders(models) if place != SHIPPED]


def read_all(models: Path | None) -> dict[Path, ModelManifest | StoreError]:
    """Manifest of every model folder, or why it cannot be read."""
    found: dict[Path, ModelManifest | StoreError] = {}
    for place in model_folders(models):
        try:
            found[place] = read_manifest(place)
        except StoreError as error:
            found[place] = error
    return found


def default_model(models: Path | None) -> Path | None:
    """Folder of the model that runs unless a setting names one; None where there is none."""
    try:
        return _default(models)
    except StoreError:
        return None


def _default(models: Path | None) -> Path:
    preferred = None if models is None else place_of(models, PREFERRED)
    if preferred is not None and (preferred / MANIFEST).is_file():
        return preferred
    if (SHIPPED / MANIFEST).is_file():
        return SHIPPED
    raise StoreError("no Chronos model is on disk", action=f"horizoncast models fetch {PREFERRED}")


def _name_of(place: Path) -> str:
    try:
        return read_manifest(place).name
    except StoreError:
        return place.name
