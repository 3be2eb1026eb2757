"""Rollout states of a member in a service."""

from __future__ import annotations

from enum import StrEnum

from horizoncast.errors import ConfigError


class MemberState(StrEnum):
    """Off: not run. Shadow: run and scored at weight 0. On: may carry weight."""

    OFF = "off"
    SHADOW = "shadow"
    ON = "on"

    @classmethod
    def parse(cls, value: object) -> MemberState:
        """Read ``on``, ``shadow``, ``off``, or a truth value in the usual spellings.

        >>> MemberState.parse("TRUE"), MemberState.parse(False)
        (<MemberState.ON: 'on'>, <MemberState.OFF: 'off'>)
        """
        text = str(value).strip().lower()
        if text in ("on", "true", "1", "yes"):
            return cls.ON
        if text in ("off", "false", "0", "no"):
            return cls.OFF
        if text == "shadow":
            return cls.SHADOW
        raise ConfigError(
            "a member's state cannot be read", value=repr(value), allowed="off, shadow, on, true, false"
        )
