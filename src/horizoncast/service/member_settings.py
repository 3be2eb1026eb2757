"""Settings of members, generated from each member's own settings class.

A member's table holds what every member has (state, training windows per horizon, cutoffs, limits)
and the fields of its ``config_type``; a new member therefore needs no code here.
"""

from __future__ import annotations

from dataclasses import MISSING, fields, replace
from functools import lru_cache
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from horizoncast.engine import HybridSetting, MemberSetting
from horizoncast.ensemble.records import HYBRID
from horizoncast.errors import ConfigError, HorizoncastError, NotInstalledError, UnknownNameError
from horizoncast.horizon import Horizon
from horizoncast.models.autoformer.config import AutoformerConfig
from horizoncast.models.base import MemberConfig
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.registry import MEMBERS, NAIVES, config_class, is_installed
from horizoncast.policy.states import MemberState

T = TypeVar("T")

OTHER = "other"
"""Key of `windows` for horizons that have no entry of their own."""

HORIZONS = ("7d", "15d", "30d", "90d")


class BadSettingError(Exception):
    """A wrong value on its way to the place that knows which layer it came from.

    Parameters
    ----------
    key
        Dotted key.
    error
        What is wrong with it.
    """

    def __init__(self, key: str, error: ConfigError) -> None:
        super().__init__(key, str(error))
        self.key = key
        self.error = error


AUTO = "auto"
"""As a state: on where the member's packages are installed, else off."""
SHIPPED_STATES: dict[str, str] = {"autoformer": MemberState.OFF.value, "chronos": AUTO}
"""States that differ from ``on``: what is not proven is switched on by choice."""


def _read_state(value: object) -> MemberState:
    try:
        return MemberState.parse(value)
    except ConfigError as error:
        raise ValueError(f"allowed: {error.allowed}") from error


def _read_windows(value: object) -> object:
    """Keys as horizon names, ``other`` besides."""
    if not isinstance(value, dict):
        return value
    try:
        return {key if key == OTHER else Horizon.parse(key).name: count for key, count in value.items()}
    except ConfigError as error:
        raise ValueError(str(error)) from error


Sessions = Annotated[dict[str, PositiveInt], BeforeValidator(_read_windows)]


class MemberSettings(BaseModel):
    """One member in one service."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    state: Annotated[MemberState, BeforeValidator(_read_state)] = MemberState.OFF
    windows: Sessions = Field(default_factory=dict)
    cutoffs: Sessions = Field(default_factory=dict)
    deadline_s: Literal["inherit"] | PositiveFloat = "inherit"
    memory_mb: Literal["inherit"] | PositiveInt = "inherit"
    config: MemberConfig | HybridConfig | None = None

    def config_for(self, horizon: Horizon) -> MemberConfig | None:
        """The member's own settings with the training window of one horizon."""
        if not isinstance(self.config, MemberConfig):
            return None
        window = self.windows.get(horizon.name, self.windows.get(OTHER))
        return self.config if window is None else replace(self.config, window=window)

    def own_fields(self) -> dict[str, Any]:
        """The member's own settings by name."""
        if self.config is None:
            return {}
        return {f.name: getattr(self.config, f.name) for f in fields(self.config) if f.name != "window"}


COMMON = tuple(name for name in MemberSettings.model_fields if name != "config")


def known_members() -> tuple[str, ...]:
    """Names that have a table: the registry's and the hybrid."""
    return (*MEMBERS, HYBRID)


def common_of(name: str) -> tuple[str, ...]:
    """Settings that a member has besides its own; the hybrid is made of others' rows and never asked."""
    return ("state",) if name == HYBRID else COMMON


def default_table(name: str) -> dict[str, Any]:
    """A member's settings as the classes have them: classical on, others off."""
    common: dict[str, Any] = {
        "state": _shipped_state(name),
        "windows": {},
        "cutoffs": {},
        "deadline_s": "inherit",
        "memory_mb": "inherit",
    }
    table = {key: common[key] for key in common_of(name)}
    kind = config_type(name)
    if kind is None:
        return table
    values = {f.name: f.default for f in fields(kind) if f.default is not MISSING}
    window = values.pop("window", None)
    if issubclass(kind, MemberConfig):
        table["windows"] = dict.fromkeys((*HORIZONS, OTHER), window) | dict(kind.windows_shipped)
    return table | {key: list(v) if isinstance(v, tuple) else v for key, v in values.items()}


def _shipped_state(name: str) -> str:
    """``on`` unless `SHIPPED_STATES` says otherwise."""
    return SHIPPED_STATES.get(name, MemberState.ON.value) if name in MEMBERS else MemberState.OFF.value


@lru_cache(maxsize=64)
def config_type(name: str) -> type[MemberConfig | HybridConfig] | None:
    """The class of a member's own settings; None where the member, or its package, is not installed."""
    if name == HYBRID:
        return HybridConfig
    try:
        return config_class(name)
    except NotInstalledError:
        return None


def read_members(tables: object) -> dict[str, MemberSettings]:
    """Check and type the tables of all members.

    Raises
    ------
    BadSettingError
        For an unknown member or setting, and for a value its class refuses.
    """
    if not isinstance(tables, dict):
        raise BadSettingError("members", ConfigError("members must be tables", value=repr(tables)))
    for name in tables:
        if name not in known_members():
            raise BadSettingError(
                f"members.{name}", UnknownNameError.of("member in settings", name, known_members())
            )
    return {name: _read_member(name, tables[name]) for name in known_members() if name in tables}


def _read_member(name: str, table: object) -> MemberSettings:
    if isinstance(table, MemberSettings):
        return table
    if not isinstance(table, dict):
        raise BadSettingError(
            f"members.{name}", ConfigError("a member's settings are a table", value=repr(table))
        )
    common = {key: value for key, value in table.items() if key in common_of(name)}
    own = {key: value for key, value in table.items() if key not in common}
    if str(common.get("state")).lower() == AUTO and name in MEMBERS:
        common["state"] = MemberState.ON if is_installed(name) else MemberState.OFF
    settings = _validated(name, MemberSettings, common)
    if name in NAIVES and settings.state is not MemberState.ON:
        raise BadSettingError(
            f"members.{name}.state",
            ConfigError("the naives always run: they are what others are measured against", value="off"),
        )
    return settings.model_copy(update={"config": _read_own(name, own)})


def _read_own(name: str, own: dict[str, Any]) -> MemberConfig | HybridConfig | None:
    kind = config_type(name)
    if kind is None and name in MEMBERS:
        return None  # not installed: the run records it, and nothing can be checked
    known = () if kind is None else tuple(f.name for f in fields(kind) if f.name != "window")
    for key in own:
        if key not in known:
            error = UnknownNameError.of(f"setting of member {name}", key, (*common_of(name), *known))
            if key == "window":
                error.args = (f"{error}; did you mean windows? it holds one training window per horizon",)
            raise BadSettingError(f"members.{name}.{key}", error)
    if kind is None:
        return None
    try:
        return _validated(name, kind, own)
    except HorizoncastError as error:
        raise BadSettingError(f"members.{name}", ConfigError(str(error))) from error


def _validated(name: str, kind: type[T], values: dict[str, Any]) -> T:
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in ("members", name, *first["loc"]))
        problem = ConfigError("a setting has a wrong value", value=repr(first["input"]), allowed=first["msg"])
        raise BadSettingError(path, problem) from error


def engine_setting(
    name: str,
    settings: MemberSettings,
    horizon: Horizon,
    *,
    deadline_s: float,
    memory_mb: int,
    checkpoints: str = "",
    models: str = "",
    traces: str = "",
) -> MemberSetting:
    """What the engine is told of a member; limits that inherit, and an empty folder, take those given."""
    config = settings.config_for(horizon)
    if isinstance(config, AutoformerConfig) and not config.checkpoints:
        config = replace(config, checkpoints=checkpoints)
    if isinstance(config, ChronosConfig):
        config = replace(config, models=config.models or models, traces=config.traces or traces)
    missing = name in MEMBERS and config is None
    return MemberSetting(
        name=name,
        state=settings.state,
        config=MemberConfig() if missing else config,
        deadline_s=deadline_s if settings.deadline_s == "inherit" else settings.deadline_s,
        memory_mb=memory_mb if settings.memory_mb == "inherit" else settings.memory_mb,
        windows=settings.cutoffs.get(horizon.name, settings.cutoffs.get(OTHER)),
    )


def hybrid_setting(settings: MemberSettings | None, *, parts: str) -> HybridSetting:
    """What the engine is told of the hybrid; an empty folder of learned parts takes the one given."""
    if settings is None or not isinstance(settings.config, HybridConfig):
        return HybridSetting()
    return HybridSetting(
        state=settings.state, config=replace(settings.config, parts=settings.config.parts or parts)
    )
