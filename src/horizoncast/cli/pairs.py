"""``KEY=VALUE`` as typed; apart from the other options, which import numpy."""

from __future__ import annotations

from horizoncast.errors import ConfigError


def pair_of(text: str, option: str, example: str) -> tuple[str, str]:
    """Key and value.

    Raises
    ------
    ConfigError
        When there is no equals sign, or no key before it.
    """
    key, mark, value = text.partition("=")
    if not mark or not key.strip():
        raise ConfigError(f"{option} cannot be read", value=repr(text), allowed=f"KEY=VALUE as {example}")
    return key.strip(), value.strip()
