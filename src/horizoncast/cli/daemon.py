"""`daemon`: beats until SIGTERM or SIGINT."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import typer


def run_daemon(
    every: int, sets: Sequence[str], *, root: Path | None, config: Path | None, env_file: Path | None
) -> None:
    """Beat until told to end; nothing of a tick is imported here."""
    from horizoncast.service.daemon import Daemon, stop_on_signals

    named = (("--root", root or Path.cwd()), ("--config", config), ("--env-file", env_file))
    paths = [part for option, path in named if path is not None for part in (option, str(path.absolute()))]
    more = [part for text in sets for part in ("--set", text)]
    daemon = Daemon(["tick", "--quiet", *paths, *more], tell=_to_stderr)
    stop_on_signals(daemon)
    _to_stderr(f"a tick every {every} minutes; end with SIGTERM or Ctrl-C")
    daemon.run(every=every)
    _to_stderr("ended")


def _to_stderr(line: str) -> None:
    typer.echo(line, err=True)
