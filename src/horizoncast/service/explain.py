"""Each setting with its value and the layer that set it; secrets never appear."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from horizoncast.service.layers import CLASS_DEFAULTS, flatten, masked, source_of
from horizoncast.service.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Explained:
    """One setting.

    Parameters
    ----------
    key
        Dotted key, as ``--set`` takes it.
    value
        Its value, hidden where the name says that it is a secret.
    layer
        Where the value comes from, with the variable's or option's name.
    """

    key: str
    value: Any
    layer: str


def explain(settings: Settings) -> list[Explained]:
    """All settings of a service in the order of ``config/base.toml``.

    An empty table carries the layer of its name; a table keeps one line per key.
    """
    return [
        Explained(key=key, value=masked(key, value), layer=source_of(settings.layers, key) or CLASS_DEFAULTS)
        for key, value in flatten(settings.table())
    ]
