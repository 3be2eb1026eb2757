"""A short way to `tick`, called every few minutes: typer imports pydantic to read any option at all.

Only a plain call is taken; everything else, ``--help`` and mistakes among it, goes the usual way. A
test holds the options here to those that typer knows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

FLAGS = {"--now": "at_once", "--dry-run": "dry_run", "--json": "json", "--quiet": "quiet", "-q": "quiet"}
VALUES = ("--set", "--root", "--config", "--env-file")


@dataclass(kw_only=True)
class PlainTick:
    """A call of `tick` whose options are all known.

    Parameters
    ----------
    flags
        Names of the flags that were given.
    values
        Values by option.
    """

    flags: set[str] = field(default_factory=set)
    values: dict[str, list[str]] = field(default_factory=dict)

    def run(self) -> None:
        """Do it."""
        from horizoncast.cli.ticking import Where, run_tick

        where = Where(
            sets=tuple(self.values.get("--set", ())),
            root=self._path("--root"),
            config=self._path("--config"),
            env_file=self._path("--env-file"),
        )
        asked = {name: name in self.flags for name in set(FLAGS.values())}
        run_tick(where, **asked)

    def _path(self, option: str) -> Path | None:
        given = self.values.get(option)
        return Path(given[-1]) if given else None


def plain_tick(arguments: Sequence[str]) -> PlainTick | None:
    """The call, or None when typer has to look at it.

    >>> plain_tick(["tick", "--quiet", "--root", "/srv"]).values
    {'--root': ['/srv']}
    >>> plain_tick(["tick", "--quite"]) is plain_tick(["run", "x"]) is None
    True
    """
    if arguments[:1] != ["tick"]:
        return None
    found, rest = PlainTick(), list(arguments[1:])
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in FLAGS and not equals:
            found.flags.add(FLAGS[word])
        elif word in VALUES and (equals or rest):
            found.values.setdefault(word, []).append(value if equals else rest.pop(0))
        else:
            return None
    return found
