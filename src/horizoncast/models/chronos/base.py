"""`ChronosBaseModel`: a base checkpoint from the hub, or from a folder, as a model folder of ours.

::

    python -m horizoncast.models.chronos.base [--root DIR] [--config FILE] [--repo OWNER/NAME]
    python -m horizoncast.models.chronos.base --folder DIR --repo OWNER/NAME --licence mit --trained-until DAY

The first downloads, the second takes a folder that was brought to this machine by other means. Settings
are those of ``config/chronos.toml``.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from horizoncast.errors import ConfigError, HorizoncastError, ModelError, StoreError
from horizoncast.models.chronos.fetch import RELEASED, Fetched, fetch_model, put_in_place
from horizoncast.models.chronos.folder import CONFIG, WEIGHTS, read_manifest, verify, write_manifest
from horizoncast.models.chronos.places import find_model, place_of
from horizoncast.models.chronos.settings import ChronosSettings, read_settings, settings_under
from horizoncast.resources import MIB

SYNTHETIC = "none"
"""What `trained_until` says of a model that has seen no real series."""


class ChronosBaseModel:
    """Bring a base checkpoint to disk and say what it is.

    Parameters
    ----------
    settings
        Of ``config/chronos.toml``; the defaults without one.
    root
        Folder that relative folders in the settings start at.
    repo
        Repository, or name of the model; that of the settings by default.
    """

    def __init__(
        self, settings: ChronosSettings | None = None, *, root: Path | None = None, repo: str = ""
    ) -> None:
        self.settings = ChronosSettings() if settings is None else settings
        self.root = Path.cwd() if root is None else root
        self.repo = repo or self.settings.base.repo
        self._converted: Path | None = None

    @property
    def models(self) -> Path:
        """Folder of the models."""
        return self.root / self.settings.folders.models

    @property
    def staging(self) -> Path:
        """Where a converted model waits until it is saved."""
        return self.root / self.settings.folders.output / "base" / place_of(Path(), self.repo).name

    def load_from_huggingface(self, revision: str | None = None, *, progress: bool = True) -> Fetched:
        """Download the repository once, pinned to a commit, as a model folder.

        Raises
        ------
        ConfigError, StoreError, NotInstalledError
            As `horizoncast.models.chronos.fetch.fetch_model`.
        """
        return fetch_model(self.repo, self.models, revision=revision, progress=progress)

    def convert_to_native_format(
        self, source: Path, *, licence: str, trained_until: str | None = None, revision: str = "unknown"
    ) -> Path:
        """Make a model folder from one that ``save_pretrained`` or a download has written.

        Parameters
        ----------
        source
            Holds config.json and model.safetensors; nothing else of it is taken, and it is left alone.
        licence
            As the model's card states it.
        trained_until
            Last day its training data can reach, or ``none`` for a model that has seen no real series;
            by default the day of release of Amazon's models.
        revision
            Commit of its repository, where it is known.

        Returns
        -------
        pathlib.Path
            The new folder, verified; `save_base_model` puts it among the models.

        Raises
        ------
        ConfigError
            When it is not known what the model has seen.
        StoreError
            When a file is missing, torn, or of another class.
        """
        until = trained_until or RELEASED.get(self.repo)
        if until is None:
            raise ConfigError(
                f"what {self.repo} was trained on is not known",
                allowed=f"a date, or {SYNTHETIC} where it has seen no real series",
                action="give trained_until (--trained-until DATE): cutoffs before it are not asked for",
            )
        shutil.rmtree(self.staging, ignore_errors=True)
        try:
            self.staging.mkdir(parents=True)
            for name in (CONFIG, WEIGHTS):
                shutil.copyfile(source / name, self.staging / name)
        except OSError as error:
            raise StoreError(f"cannot copy {source}", value=error.strerror or error) from error
        write_manifest(
            self.staging,
            name=self.repo,
            revision=revision,
            licence=licence,
            trained_until=None if until == SYNTHETIC else until,
            created_by="horizoncast.models.chronos.base",
        )
        verify(self.staging)
        self._converted = self.staging
        return self.staging

    def save_base_model(self) -> Path:
        """Move the converted model to its place among the models; one of the same name is replaced.

        Raises
        ------
        ModelError
            Before a conversion.
        """
        if self._converted is None:
            raise ModelError("nothing has been converted yet", action="call convert_to_native_format first")
        place = place_of(self.models, self.repo)
        place.parent.mkdir(parents=True, exist_ok=True)
        put_in_place(self._converted, place)
        self._converted = None
        return place

    def get_model_info(self) -> dict[str, Any]:
        """The manifest of the model on disk, with its folder and the size of its weights in MiB.

        Raises
        ------
        UnknownNameError, StoreError
            When it is not on disk, or its manifest cannot be read.
        """
        folder = find_model(self.repo, self.models)
        found = asdict(read_manifest(folder))
        size = (folder / WEIGHTS).stat().st_size / MIB
        return {"folder": str(folder), "size_mb": round(size, 1)} | found


def main(argv: Sequence[str] | None = None) -> int:
    """Bring a base model to disk and show it; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m horizoncast.models.chronos.base", description=__doc__)
    parser.add_argument("--root", type=Path, default=None, help="folder that holds config/; default: here")
    parser.add_argument("--config", type=Path, help="file instead of config/chronos.toml")
    parser.add_argument("--repo", default="", help="repository; default: [base] repo")
    parser.add_argument("--revision", help="commit, tag or branch; default: the newest commit")
    parser.add_argument("--folder", type=Path, help="folder to convert, instead of a download")
    parser.add_argument("--licence", default="not stated", help="of a converted model")
    parser.add_argument("--trained-until", help="last day of its training data, or none")
    given = parser.parse_args(argv)
    root = given.root or Path.cwd()
    try:
        settings = read_settings(given.config) if given.config else settings_under(root)
        base = ChronosBaseModel(settings, root=root, repo=given.repo)
        if given.folder is None:
            base.load_from_huggingface(given.revision)
        else:
            base.convert_to_native_format(
                given.folder,
                licence=given.licence,
                trained_until=given.trained_until,
                revision=given.revision or "unknown",
            )
            base.save_base_model()
        for key, value in base.get_model_info().items():
            sys.stdout.write(f"{key}: {value}\n")
    except HorizoncastError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
