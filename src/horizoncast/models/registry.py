"""Every member by name; a new model is one file, one line here and one row in docs/methods.md.

Classes are named by their import path and imported on use, so that listing members stays cheap.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from horizoncast.errors import ConfigError, NotInstalledError, UnknownNameError
from horizoncast.models.base import Member, MemberConfig

MEMBERS: dict[str, str] = {
    "random_walk": "horizoncast.models.naive:RandomWalk",
    "seasonal_naive": "horizoncast.models.naive:SeasonalNaive",
    "arima_garch": "horizoncast.models.arima_garch:ArimaGarch",
    "var": "horizoncast.models.var:Var",
    "random_forest": "horizoncast.models.random_forest:RandomForest",
    "chronos": "horizoncast.models.chronos.member:Chronos",
    "autoformer": "horizoncast.models.autoformer.member:Autoformer",
}

NEEDS: dict[str, str] = {"autoformer": "torch", "chronos": "chronos"}
"""Package of the extra ``[neural]`` that a member needs to run; its settings are read without it."""

NAIVES: tuple[str, ...] = ("random_walk", "seasonal_naive")
"""The references; they always run."""


def member_class(name: str) -> type[Member[Any, Any]]:
    """Import a member's class.

    Raises
    ------
    UnknownNameError
        When nobody knows the name.
    NotInstalledError
        When the member's packages, or the member itself, are not installed.
    """
    found = _load(name)
    needed = NEEDS.get(name)
    if needed is not None and find_spec(needed) is None:
        raise _missing(name, needed)
    return found


def is_installed(name: str) -> bool:
    """Whether the packages of a known member are there; nothing is imported."""
    needed = NEEDS.get(name)
    return needed is None or find_spec(needed) is not None


def config_class(name: str) -> type[MemberConfig]:
    """The class of a member's settings, which can be read before its packages are installed.

    Raises
    ------
    UnknownNameError, NotInstalledError
        As `member_class`, but not for a package of `NEEDS`.
    """
    return _load(name).config_type


def _load(name: str) -> type[Member[Any, Any]]:
    if name not in MEMBERS:
        raise UnknownNameError.of("member", name, MEMBERS)
    module, attribute = MEMBERS[name].split(":")
    try:
        found: type[Member[Any, Any]] = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise _missing(name, error.name) from error
    except (ImportError, OSError) as error:  # a shared library that is missing, or of another version
        raise NotInstalledError(
            f"member {name} needs a package that cannot be imported",
            value=str(error),
            action="install its packages again, in the pinned versions",
        ) from error
    return found


def _missing(name: str, package: str | None) -> NotInstalledError:
    return NotInstalledError(
        f"member {name} needs a package that is not installed",
        value=package,
        action="pip install 'horizoncast[neural]'",
    )


def make_member(name: str, settings: dict[str, Any] | None = None, *, service: str = "") -> Member[Any, Any]:
    """Build a member from plain settings; unknown keys are errors with a hint."""
    kind = member_class(name)
    return kind(make_config(name, settings), service=service)


def make_config(name: str, settings: dict[str, Any] | None = None) -> MemberConfig:
    """Build a member's frozen settings from a mapping of its fields."""
    kind = config_class(name)
    given = dict(settings or {})
    known = {f.name: f for f in fields(kind)}
    for key in given:
        if key not in known:
            raise UnknownNameError.of(f"setting of member {name}", key, known)
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"settings of member {name}", value=str(error)) from error
