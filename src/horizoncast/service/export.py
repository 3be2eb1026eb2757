"""`schedule export`: lines and units that call `tick`; none of them holds a cadence.

What is due is decided by tick, from the settings and the ledger. A trigger only has to come often
enough, so that it cannot be wrong about time zones, daylight saving or first Tuesdays.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from horizoncast.errors import ConfigError

UNIT = "horizoncast-tick"
_HOUR = 60


def program() -> list[str]:
    """How this installation is called: the script beside the interpreter, else the module."""
    beside = Path(sys.executable).with_name("horizoncast")
    if beside.is_file():
        return [str(beside)]
    found = shutil.which("horizoncast")
    return [found] if found else [sys.executable, "-m", "horizoncast.cli"]


def require_minutes(every: int) -> int:
    """Minutes between two ticks: a divisor of an hour, so that ticks come evenly.

    Raises
    ------
    ConfigError
        For any other number.
    """
    if not 1 <= every <= _HOUR or _HOUR % every:
        raise ConfigError(
            "--every must divide an hour", value=every, allowed="1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60"
        )
    return every


def cron_lines(root: Path, every: int, passed: Sequence[str] = ()) -> str:
    """Lines for ``crontab -e``: a comment, and one line that calls tick.

    Parameters
    ----------
    root
        Folder that holds ``config/`` and ``services/``.
    every
        Minutes between two ticks.
    passed
        Further options of tick.
    """
    minute = "*" if require_minutes(every) == 1 else "0" if every == _HOUR else f"*/{every}"
    call = shlex.join([*program(), "tick", "--quiet", "--root", str(root), *passed]).replace("%", "\\%")
    if "\n" in call:
        raise ConfigError("cron cannot call a path that holds a line break", value=repr(str(root)))
    return (
        "# horizoncast: what is due is decided by tick, from services/*/service.toml and the ledger.\n"
        "# Do not write a cadence here: cron joins day of month and weekday by or.\n"
        f"{minute} * * * * {call}\n"
    )


def systemd_units(
    root: Path, every: int, passed: Sequence[str] = (), *, user: str | None = None
) -> dict[str, str]:
    """A service and its timer by file name; parameters as in `cron_lines`.

    Parameters
    ----------
    user
        Account that ticks run as; None leaves it to systemd (root, for units of the system).
    """
    if user is not None and not re.fullmatch(r"[a-z_][a-z0-9_-]*", user):
        raise ConfigError("--user is no name of an account", value=repr(user), allowed="such as forecast")
    account = f"User={user}\n" if user is not None else ""
    step = require_minutes(every)
    when = "*-*-* *:*:00" if step == 1 else "*-*-* *:00:00" if step == _HOUR else f"*-*-* *:0/{step}:00"
    call = " ".join(_quoted(part) for part in [*program(), "tick", "--quiet", "--root", str(root), *passed])
    service = f"""[Unit]
Description=horizoncast: run what is due and unpublished
Documentation=https://www.freedesktop.org/software/systemd/man/systemd.service.html
After=network-online.target
Wants=network-online.target

[Service]
Type=oneshot
{account}WorkingDirectory={_escaped(str(root))}
ExecStart={call}
Environment=OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
Nice=5
MemoryMax=90%
TimeoutStartSec=infinity
NoNewPrivileges=true
PrivateTmp=true
"""
    timer = f"""[Unit]
Description=horizoncast: tick every {step} minutes

[Timer]
OnCalendar={when}
Persistent=true
RandomizedDelaySec=20
Unit={UNIT}.service

[Install]
WantedBy=timers.target
"""
    return {f"{UNIT}.service": service, f"{UNIT}.timer": timer}


def _escaped(text: str) -> str:
    """Text in a unit file: ``%`` begins a specifier there."""
    if "\n" in text:
        raise ConfigError("systemd cannot call a path that holds a line break", value=repr(text))
    return text.replace("%", "%%")


def _quoted(part: str) -> str:
    """One argument of ExecStart: quoted, with specifiers and variables taken literally."""
    text = _escaped(part).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    plain = all(c.isalnum() or c in "-_./=:+,@" for c in text)
    return text if plain and text else f'"{text}"'
