"""The few settings a tick needs, read without pydantic and without importing a member.

A tick with nothing due is the usual one: it reads TOML files and the clock, and ends. What only a
run is told is left for the run to judge.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from horizoncast.errors import ConfigError
from horizoncast.policy.cadence import Cadence
from horizoncast.policy.retry import TickLimits
from horizoncast.service.folders import Places
from horizoncast.service.layers import merged, read_layers

_DEFAULTS: dict[str, Any] = {
    "target": "config/targets/usdmxn.toml",
    "run": {"output": "runs"},
    "data": {"store": "store"},
    "inputs": {"ready_minutes": 0.0},
    "ledger": {"url": ""},
    "notify": {"mail_to": [], "webhooks": [], "ping": ""},
    "cadence": {},
    "tick": {},
    "rollout": {},
    "review": {"language": "en", "weeks": 1, "send": "", "time": "08:00", "timezone": "America/Santiago"},
}
"""As the classes of `settings` have them; a test compares the two."""


@dataclass(frozen=True, kw_only=True)
class LightSettings:
    """What a tick is told of one service.

    Parameters
    ----------
    service, places
        Its name, and where its settings were read from.
    cadence, limits
        When it is due, and what a tick may cost.
    target_path, output_folder, store_folder
        As in `KeepingSettings`.
    ready_s
        Seconds from the end of a session until its value is usually there.
    ledger_url
        Empty for the embedded ledger.
    notifies
        Whether anybody is told of runs.
    review
        When the weekly review is sent; None when it is not.
    language, weeks
        Of pages and mails; how many weeks a review looks back on.
    rollout
        Criteria of members, as given; defaults where they are not.
    overrides
        Dotted keys from the command line, which runs are told, too.
    """

    service: str
    places: Places
    cadence: Cadence
    limits: TickLimits
    target_path: Path
    output_folder: Path
    store_folder: Path
    ready_s: float
    ledger_url: str
    notifies: bool = False
    review: Cadence | None = None
    language: str = "en"
    weeks: int = 1
    rollout: Mapping[str, Any] = field(default_factory=dict)
    overrides: Mapping[str, str] = field(default_factory=dict)


def read_light(
    service: str,
    places: Places,
    *,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> LightSettings:
    """Read what a tick is told of a service.

    Raises
    ------
    ConfigError
        When a file cannot be read, or one of these few settings is wrong.
    """
    places.require_service(service)
    layers = read_layers(service, places, os.environ if environ is None else environ, overrides or {})
    values = _over_defaults(merged(layers))
    limits = {key: _number(f"tick.{key}", value) for key, value in _known_limits(values["tick"]).items()}
    return LightSettings(
        service=service,
        places=places,
        cadence=Cadence.of(values["cadence"]),
        limits=TickLimits(**limits),
        target_path=_path(places, values["target"]),
        output_folder=_path(places, values["run"]["output"]),
        store_folder=_path(places, values["data"]["store"]),
        ready_s=60 * _number("inputs.ready_minutes", values["inputs"]["ready_minutes"]),
        ledger_url=str(values["ledger"]["url"]),
        notifies=any(values["notify"][key] for key in _DEFAULTS["notify"]),
        review=_review(values["review"]),
        language=str(values["review"]["language"]),
        weeks=int(_number("review.weeks", values["review"]["weeks"])),
        rollout=values["rollout"],
        overrides=dict(overrides or {}),
    )


def _review(table: Mapping[str, Any]) -> Cadence | None:
    if not table["send"]:
        return None
    return Cadence(days=(str(table["send"]),), time=str(table["time"]), timezone=str(table["timezone"]))


def _over_defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, usual in _DEFAULTS.items():
        value = given.get(key, usual)
        if isinstance(usual, dict) and not isinstance(value, Mapping):
            raise ConfigError(f"{key} is no table", value=repr(value))
        found[key] = {**usual, **value} if isinstance(usual, dict) else value
    return found


def _known_limits(table: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in table:
        if key not in TickLimits.__dataclass_fields__:
            known = ", ".join(TickLimits.__dataclass_fields__)
            raise ConfigError("unknown setting in table tick", value=key, allowed=known)
    return table


def _path(places: Places, text: object) -> Path:
    return places.root / Path(str(text)).expanduser()


def _number(key: str, value: object) -> float:
    try:
        return float(str(value))
    except ValueError as error:
        raise ConfigError(f"{key} is no number", value=repr(value)) from error
