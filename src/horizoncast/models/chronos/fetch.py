"""`models fetch`: a checkpoint from the Hugging Face hub, once, as a model folder of ours.

Of a repository only config.json and model.safetensors are taken, at one commit. What arrives is compared
with the digests the hub states, and nothing is put in place before all of it is there. This is, beside
`data pull` and the outbox, the only part that uses the network.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from horizoncast.errors import ConfigError, NotInstalledError, StoreError
from horizoncast.models.chronos.folder import (
    CONFIG,
    WEIGHTS,
    ModelManifest,
    read_architecture,
    sha256_of,
    verify,
    write_manifest,
)
from horizoncast.models.chronos.places import place_of

KNOWN = (
    "amazon/chronos-bolt-tiny",
    "amazon/chronos-bolt-mini",
    "amazon/chronos-bolt-small",
    "amazon/chronos-bolt-base",
    "amazon/chronos-2",
)
"""Repositories that are known to be of the right class; any other may be tried."""

RELEASED = dict.fromkeys(KNOWN[:4], "2024-11-26") | {KNOWN[4]: "2025-10-20"}
"""Day of release: the latest that the training data of these checkpoints can reach. Of others it is the
day of the commit."""

CONNECT_S = 5.0
PATIENCE_S = 15.0
"""Seconds after which a hub that has not answered the first question is given up, name lookup included."""
_COMMIT = re.compile(r"[0-9a-f]{40}")

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What became of a fetch.

    Parameters
    ----------
    folder, manifest
        The model folder.
    downloaded
        False where the very commit was there already.
    """

    folder: Path
    manifest: ModelManifest
    downloaded: bool


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What the hub has at a revision.

    Parameters
    ----------
    commit
        Full commit.
    licence
        As the card names it, ``not stated`` where it does not.
    released
        Day that stands for `trained_until`.
    digests
        sha256 by file, where the hub states one.
    """

    commit: str
    licence: str
    released: str
    digests: dict[str, str]


def fetch_model(repo: str, models: Path, *, revision: str | None = None, progress: bool = True) -> Fetched:
    """Bring a checkpoint to disk, unless its commit lies there already.

    Parameters
    ----------
    repo
        ``owner/name``.
    models
        Folder of all models.
    revision
        Commit, tag or branch; the newest commit by default. It is pinned to its commit.

    Raises
    ------
    ConfigError
        For a name that is none, or a repository or revision that the hub does not have.
    StoreError
        When the hub cannot be reached, what arrives is damaged, or it is no Bolt or Chronos-2.
    NotInstalledError
        Without the extra ``[neural]``.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo):
        raise ConfigError("no name of a repository", value=repr(repo), allowed="owner/name", action=_hint())
    place = place_of(models, repo)
    if revision is not None and _COMMIT.fullmatch(revision) and (there := _present(place, revision)):
        return Fetched(folder=place, manifest=there, downloaded=False)
    offer = _patient(repo, lambda: _look(repo, revision))
    if there := _present(place, offer.commit):
        return Fetched(folder=place, manifest=there, downloaded=False)
    staging = models / f".{place.name}.{offer.commit[:12]}.part"
    _download(repo, offer, staging, progress=progress)
    write_manifest(
        staging,
        name=repo,
        revision=offer.commit,
        licence=offer.licence,
        trained_until=offer.released,
        created_by="horizoncast models fetch",
        facts={"endpoint": _endpoint()},
    )
    manifest = verify(staging)
    put_in_place(staging, place)
    return Fetched(folder=place, manifest=manifest, downloaded=True)


def put_in_place(staging: Path, place: Path) -> None:
    """Rename a finished folder to its place; one that lies there is replaced, or put back.

    Raises
    ------
    StoreError
        When the folders cannot be renamed; what lay there lies there again.
    """
    old = place.with_name(f".{place.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    try:
        if place.exists():
            place.rename(old)
        staging.rename(place)
    except OSError as error:
        if old.exists() and not place.exists():
            old.rename(place)
        raise StoreError(f"cannot put {place} in place", value=error.strerror or error) from error
    shutil.rmtree(old, ignore_errors=True)


def _present(place: Path, commit: str) -> ModelManifest | None:
    """The model at a place, where it is whole and of this commit; a damaged one is fetched again."""
    try:
        found = verify(place)
    except (StoreError, OSError):
        return None
    return found if found.revision == commit else None


def _look(repo: str, revision: str | None) -> Offer:
    """Ask the hub what it has."""
    info = (
        _hub()
        .HfApi(endpoint=_endpoint())
        .model_info(repo, revision=revision, timeout=CONNECT_S, files_metadata=True)
    )
    files = {file.rfilename: file for file in info.siblings or ()}
    missing = [name for name in (CONFIG, WEIGHTS) if name not in files]
    if missing:
        raise StoreError(
            f"{repo} has no {' and no '.join(missing)}",
            allowed="a repository with config.json and model.safetensors; pickled weights are not read",
            action=_hint(),
        )
    card = info.card_data.to_dict() if info.card_data else {}
    changed = str(info.last_modified.date()) if info.last_modified else ""
    released = RELEASED.get(repo, changed)
    if not info.sha or not released:
        raise StoreError(f"the hub names neither commit nor date of {repo}", value=revision)
    digests = {name: files[name].lfs.sha256 for name in (CONFIG, WEIGHTS) if files[name].lfs}
    return Offer(
        commit=info.sha, licence=str(card.get("license", "not stated")), released=released, digests=digests
    )


def _download(repo: str, offer: Offer, staging: Path, *, progress: bool) -> None:
    """Config first, so that a model of another class costs no download of weights."""
    hub = _hub()
    if not progress:
        hub.utils.disable_progress_bars()
    for name in (CONFIG, WEIGHTS):
        get = partial(hub.hf_hub_download, repo, name, revision=offer.commit, local_dir=staging)
        _guarded(repo, partial(get, endpoint=_endpoint(), etag_timeout=CONNECT_S))
        if name == CONFIG:
            read_architecture(staging)
        if offer.digests.get(name, sha := sha256_of(staging / name)) != sha:
            (staging / name).unlink()
            raise StoreError(
                f"{name} of {repo} did not arrive as the hub states it", value=sha, action="fetch it again"
            )
    shutil.rmtree(staging / ".cache", ignore_errors=True)  # the library's notes on a download that is over


def _patient(repo: str, ask: Callable[[], T]) -> T:
    """The answer to the first question, within seconds: looking up a name knows no time-out of its own."""
    from pebble import concurrent

    future = concurrent.thread(daemon=True)(partial(_guarded, repo, ask))()  # ends with this process
    try:
        found: T = future.result(timeout=PATIENCE_S)
    except TimeoutError as error:
        raise _unreachable(f"no answer within {PATIENCE_S:g} s") from error
    return found


def _guarded(repo: str, ask: Callable[[], T]) -> T:
    """Run a request; the library's errors in our words."""
    errors = _hub().errors
    transport = tuple(errors.HfHubHTTPError.__bases__)  # the HTTP library's root, and OSError
    try:
        return ask()
    except errors.OfflineModeIsEnabled as error:
        raise StoreError(
            f"{repo} is not on disk, and HF_HUB_OFFLINE forbids fetching it", action="unset HF_HUB_OFFLINE"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise ConfigError(f"{repo} has no such revision", action="leave --revision out") from error
    except errors.RepositoryNotFoundError as error:
        raise ConfigError("the hub has no such repository", value=repo, action=_hint()) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", None)
        raise StoreError(f"the hub refused {repo}", value=f"status {status}", action="try later") from error
    except transport as error:
        raise _unreachable(str(error) or type(error).__name__) from error


def _unreachable(why: str) -> StoreError:
    return StoreError(
        f"{_endpoint()} cannot be reached",
        value=why,
        action="check the network; without a fetched model the member runs the checkpoint that ships",
    )


def _hint() -> str:
    return f"as in {', '.join(KNOWN)}"


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")


def _hub() -> Any:
    """The package, imported when it is needed; it is not to call home."""
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ModuleNotFoundError as error:
        raise NotInstalledError(
            "fetching needs a package that is not installed",
            value=error.name,
            action="pip install 'horizoncast[neural]'",
        ) from error
    return huggingface_hub
