"""What `doctor` says: findings, each with a level and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing looked at.

    Parameters
    ----------
    check
        What was looked at.
    level
        Ok, worth knowing, or in the way of a run.
    text
        What was found.
    action
        What to do; empty when nothing is.
    """

    check: str
    level: Level
    text: str
    action: str = ""


def ok(check: str, text: str) -> Finding:
    """Nothing to do."""
    return Finding(check=check, level=Level.OK, text=text)


def warn(check: str, text: str, action: str) -> Finding:
    """Worth knowing."""
    return Finding(check=check, level=Level.WARN, text=text, action=action)


def fail(check: str, text: str, action: str) -> Finding:
    """In the way of a run, or of what was asked for."""
    return Finding(check=check, level=Level.FAIL, text=text, action=action)
