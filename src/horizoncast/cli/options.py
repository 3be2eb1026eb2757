"""From options as typed to what the service takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from horizoncast.calendar import as_stamp
from horizoncast.cli.pairs import pair_of
from horizoncast.errors import ConfigError
from horizoncast.service.folders import Places, find_places
from horizoncast.service.settings import Settings, load_settings


@dataclass(frozen=True, kw_only=True)
class Common:
    """Options that several commands share.

    Parameters
    ----------
    overrides
        Dotted keys with text values: the command line's layer of settings.
    as_of
        Rows dated later are hidden.
    root, config, env_file
        Where settings are read from.
    """

    overrides: dict[str, str] = field(default_factory=dict)
    as_of: np.datetime64 | None = None
    root: Path | None = None
    config: Path | None = None
    env_file: Path | None = None

    @classmethod
    def of(
        cls,
        *,
        target: Path | None = None,
        as_of: str | None = None,
        out: Path | None = None,
        sets: Sequence[str] | None = None,
        members: Sequence[str] | None = None,
        root: Path | None = None,
        config: Path | None = None,
        env_file: Path | None = None,
    ) -> Common:
        """Read the options of a command; paths start at the current folder, not at the root."""
        pairs = [pair_of(text, "--set", "decision.rule=equal") for text in sets or ()]
        for text in members or ():
            name, state = pair_of(text, "--member", "var=shadow")
            pairs.append((f"members.{name}.state", state))
        pairs += [
            (key, str(path.absolute())) for key, path in (("target", target), ("run.output", out)) if path
        ]
        overrides = dict(pairs)
        if len(overrides) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ConfigError("the command line sets a setting twice", value=twice)
        return cls(
            overrides=overrides,
            as_of=parse_date(as_of, "--as-of"),
            root=root,
            config=config,
            env_file=env_file,
        )

    def places(self) -> Places:
        """Where settings are read from."""
        return find_places(self.root, config=self.config, env_file=self.env_file)

    def store(self) -> Path:
        """Folder of the stores, as the first service has it: all of them share one."""
        return self.settings(self.places().services()[0]).store_folder

    def settings(self, service: str) -> Settings:
        """The settings of one service."""
        return load_settings(
            service, overrides=self.overrides, root=self.root, config=self.config, env_file=self.env_file
        )


def parse_date(text: str | None, option: str) -> np.datetime64 | None:
    """Read an ISO date or time.

    Raises
    ------
    ConfigError
        When it is none.
    """
    if text is None:
        return None
    try:
        date = as_stamp(text)
    except ValueError:
        date = np.datetime64("NaT")
    if np.isnat(date):
        raise ConfigError(f"{option} cannot be read", value=repr(text), allowed="a date as 2024-06-28")
    return date
