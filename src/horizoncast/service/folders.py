"""Where configuration lives: the root folder, its services, and what stands in when there is none.

The root is the folder named, else the current one. Without ``config/base.toml`` the defaults of the
classes hold; without a ``services`` folder the four built-in services do.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from horizoncast.errors import ConfigError, UnknownNameError

BUILT_IN: dict[str, dict[str, Any]] = {
    "forecaster_7d": {"horizon": "7d", "cadence": {"days": ["mon", "wed", "fri"], "weeks": "every"}},
    "forecaster_15d": {"horizon": "15d", "cadence": {"days": ["mon", "thu"], "weeks": "every"}},
    "forecaster_30d": {"horizon": "30d", "cadence": {"days": ["fri"], "weeks": "every"}},
    "forecaster_90d": {"horizon": "90d", "cadence": {"days": ["tue"], "weeks": "first"}},
}
"""The services that exist without any file; a service.toml of the same name is merged on top."""


@dataclass(frozen=True, kw_only=True)
class Places:
    """Files that settings are read from.

    Parameters
    ----------
    root
        Folder that relative paths in settings start at.
    config, env_file
        A named base file and a named global ``.env``; None takes the usual ones, if they are there.
    """

    root: Path
    config: Path | None = None
    env_file: Path | None = None

    def base_file(self) -> Path | None:
        """The base configuration; None when there is none and none was named.

        Raises
        ------
        ConfigError
            When a named file does not exist.
        """
        return _named_or_usual(self.config, self.root / "config" / "base.toml", "--config")

    def global_env(self) -> Path | None:
        """The ``.env`` of all services."""
        return _named_or_usual(self.env_file, self.root / ".env", "--env-file")

    def service_file(self, service: str) -> Path | None:
        """A service's own ``service.toml``."""
        return _named_or_usual(None, self.root / "services" / service / "service.toml", "")

    def service_env(self, service: str) -> Path | None:
        """A service's own ``.env``."""
        return _named_or_usual(None, self.root / "services" / service / ".env", "")

    def services(self) -> tuple[str, ...]:
        """Names of the services, shortest horizon first where they are the built-in ones."""
        folder = self.root / "services"
        if not folder.is_dir():
            return tuple(BUILT_IN)
        found = {p.parent.name for p in folder.glob("*/service.toml")}
        order = list(BUILT_IN)
        return tuple(sorted(found, key=lambda n: (order.index(n) if n in order else len(order), n)))

    def require_service(self, service: str) -> None:
        """Refuse a service that nobody knows.

        Raises
        ------
        UnknownNameError
            With the closest known name.
        """
        if service not in self.services():
            raise UnknownNameError.of("service", service, self.services())

    def short(self, path: Path) -> str:
        """A path as messages show it: relative to the root where it lies inside."""
        return str(path.relative_to(self.root)) if path.is_relative_to(self.root) else str(path)


def find_places(
    root: Path | None = None, *, config: Path | None = None, env_file: Path | None = None
) -> Places:
    """Choose the root: the one named, else the current folder.

    Raises
    ------
    ConfigError
        When a named root is no folder.
    """
    if root is not None and not root.is_dir():
        raise ConfigError("--root is no folder", value=root, action="name the folder that holds config/")
    return Places(root=Path.cwd() if root is None else root.resolve(), config=config, env_file=env_file)


def _named_or_usual(named: Path | None, usual: Path, option: str) -> Path | None:
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"the file named by {option} does not exist", value=named)
        return named
    return usual if usual.is_file() else None
