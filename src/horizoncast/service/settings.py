"""Settings of a service, read by pydantic-settings from layers that are merged table by table.

Class defaults < ``config/base.toml`` < ``services/NAME/service.toml`` < global ``.env`` <
``services/NAME/.env`` < environment < command line. Every setting stands in ``config/base.toml``
with its default and the reason for it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, field_validator
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from horizoncast.engine import EngineConfig
from horizoncast.ensemble.hybrid import state_of
from horizoncast.ensemble.records import BRANCHES, HYBRID
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.horizon import Horizon
from horizoncast.policy.states import MemberState
from horizoncast.report.provenance import digest_of_settings
from horizoncast.service.folders import Places, find_places
from horizoncast.service.layers import CLASS_DEFAULTS, Layer, masked, read_layers, source_of
from horizoncast.service.member_settings import (
    BadSettingError,
    MemberSettings,
    common_of,
    default_table,
    engine_setting,
    hybrid_setting,
    known_members,
    read_members,
)
from horizoncast.service.outgoing import LedgerSettings, NotifySettings, ReviewSettings
from horizoncast.service.sections import (
    CadenceSettings,
    DataSettings,
    DecisionSettings,
    InputSettings,
    ModelsSettings,
    RetentionSettings,
    RolloutSettings,
    RunSettings,
    TickSettings,
)

KindT = TypeVar("KindT", bound="KeepingSettings")


class KeepingSettings(BaseSettings):
    """What pulling and pruning are told; made by `load_keeping`, which imports no member."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True)

    target: str = Field(default="config/targets/usdmxn.toml", min_length=1)
    run: RunSettings = Field(default_factory=RunSettings)
    data: DataSettings = Field(default_factory=DataSettings)
    retention: RetentionSettings = Field(default_factory=RetentionSettings)
    ledger: LedgerSettings = Field(default_factory=LedgerSettings)
    notify: NotifySettings = Field(default_factory=NotifySettings)
    review: ReviewSettings = Field(default_factory=ReviewSettings)

    _service: str = PrivateAttr(default="")
    _places: Places = PrivateAttr(default_factory=find_places)
    _layers: tuple[Layer, ...] = PrivateAttr(default=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """One source per layer, the strongest first; nothing is read behind their back."""
        given = init_settings()
        if "layers" not in given:
            return (init_settings,)
        layers = given["layers"]
        return tuple(InitSettingsSource(settings_cls, init_kwargs=layer.values) for layer in reversed(layers))

    @property
    def service(self) -> str:
        """Name of the service."""
        return self._service

    @property
    def places(self) -> Places:
        """Where the settings were read from."""
        return self._places

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers, weakest first."""
        return self._layers

    @property
    def target_path(self) -> Path:
        """The target's file; relative paths start at the root."""
        return self._places.root / Path(self.target).expanduser()

    @property
    def output_folder(self) -> Path:
        """Where run folders and the metrics log go."""
        return self._places.root / Path(self.run.output).expanduser()

    @property
    def cache_folder(self) -> Path:
        """Where bank rows are kept between runs."""
        return self._places.root / Path(self.run.cache).expanduser()

    @property
    def store_folder(self) -> Path:
        """Where pulled observations and corrections are kept."""
        return self._places.root / Path(self.data.store).expanduser()

    @property
    def secrets_folder(self) -> Path | None:
        """Where secrets are kept as files, one each; None where there is no such folder."""
        return self._places.root / Path(self.data.secrets).expanduser() if self.data.secrets else None


class Settings(KeepingSettings):
    """Everything one service is told; made by `load_settings`."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True)

    horizon: str = "30d"
    inputs: InputSettings = Field(default_factory=InputSettings)
    decision: DecisionSettings = Field(default_factory=DecisionSettings)
    cadence: CadenceSettings = Field(default_factory=CadenceSettings)
    tick: TickSettings = Field(default_factory=TickSettings)
    rollout: RolloutSettings = Field(default_factory=RolloutSettings)
    models: ModelsSettings = Field(default_factory=ModelsSettings)
    members: dict[str, MemberSettings] = Field(default_factory=dict)

    @property
    def models_folder(self) -> Path:
        """Where model folders lie."""
        return self._places.root / Path(self.models.folder).expanduser()

    @property
    def traces_folder(self) -> Path:
        """Where the member `chronos` leaves vectors of past windows."""
        own = str(self.members["chronos"].own_fields().get("traces", "")) if "chronos" in self.members else ""
        return Path(own).expanduser() if own else self.cache_folder / "traces"

    @field_validator("horizon", mode="before")
    @classmethod
    def _is_horizon(cls, value: object) -> str:
        try:
            return Horizon.parse(str(value)).name
        except ConfigError as error:
            raise ValueError(f"allowed: {error.allowed}") from error

    @field_validator("members", mode="before")
    @classmethod
    def _read_members(cls, tables: object) -> dict[str, MemberSettings]:
        return read_members(tables)

    def notes(self) -> tuple[str, ...]:
        """What was asked for and cannot be had; a run records each as an event."""
        hybrid = self.members.get(HYBRID)
        if hybrid is None or hybrid.state is MemberState.OFF:
            return ()
        states = {name: member.state for name, member in self.members.items()}
        comes_to = state_of(hybrid.state, states)
        if comes_to is hybrid.state:
            return ()
        parts = ", ".join(f"{name} is {states.get(name, MemberState.OFF)}" for name in BRANCHES)
        return (f"hybrid is {hybrid.state} but comes to {comes_to}: {parts}",)

    def engine_config(self, horizon: Horizon | str | int | None = None) -> EngineConfig:
        """What the engine is told, training windows resolved for a horizon (the service's own by default)."""
        span = Horizon.parse(self.horizon) if horizon is None else _as_horizon(horizon)
        return EngineConfig(
            service=self.service,
            members=tuple(
                engine_setting(
                    name,
                    member,
                    span,
                    deadline_s=self.run.deadline_s,
                    memory_mb=self.run.memory_mb,
                    checkpoints=str(self.cache_folder / "checkpoints"),
                    models=str(self.models_folder),
                    traces=str(self.traces_folder),
                )
                for name, member in self.members.items()
                if name != HYBRID
            ),
            hybrid=hybrid_setting(self.members.get(HYBRID), parts=str(self.models_folder / HYBRID)),
            decision=self.decision.as_config(),
            replays=self.run.replays,
            min_train=None if self.run.min_train == "auto" else self.run.min_train,
            workers=self.run.workers,
            isolated=self.run.isolated,
            quorum=self.run.quorum,
            below_quorum=self.run.below_quorum,
        )

    def table(self) -> dict[str, Any]:
        """All settings as nested tables of plain values, a member's own fields beside the common ones."""
        values = {"horizon": self.horizon} | self.model_dump(mode="json", exclude={"members"})
        members = {}
        for name, member in self.members.items():
            common = member.model_dump(mode="json", include=set(common_of(name)))
            own = {k: list(v) if isinstance(v, tuple) else v for k, v in member.own_fields().items()}
            members[name] = common | own
        return values | {"members": members}

    def recorded(self) -> dict[str, Any]:
        """What a manifest keeps: all but folders, pulling, ticks and the like, which move no number."""
        values = self.table()
        for table in ("retention", "tick", "rollout", "ledger", "notify", "review", "models"):
            del values[table]
        run = {key: value for key, value in values["run"].items() if key not in ("output", "cache")}
        data = {"later_overrides": values["data"]["later_overrides"]}
        target = self._places.short(self.target_path)  # the same wherever the checkout lies
        return {"service": self.service, **values, "target": target, "run": run, "data": data}

    @property
    def config_hash(self) -> str:
        """Digest of `recorded`, as it stands in the manifest."""
        return digest_of_settings(self.recorded())


def load_settings(
    service: str,
    *,
    overrides: Mapping[str, str] | None = None,
    root: Path | None = None,
    environ: Mapping[str, str] | None = None,
    config: Path | None = None,
    env_file: Path | None = None,
) -> Settings:
    """Read the settings of a service.

    Parameters
    ----------
    service
        Name of a folder below ``services``, or of a built-in service.
    overrides
        Dotted keys from the command line, ``{"decision.rule": "equal"}``.
    root
        Folder that holds ``config`` and ``services``; the current folder by default.
    environ
        Variables; those of the process by default.
    config, env_file
        Named files that replace ``config/base.toml`` and the global ``.env``.

    Raises
    ------
    ConfigError
        When a named file or service does not exist, or a setting is unknown or wrong.
    """
    places = find_places(root, config=config, env_file=env_file)
    places.require_service(service)
    variables = os.environ if environ is None else environ
    layers = read_layers(service, places, variables, overrides or {}, defaults=_member_defaults())
    settings = _validated(layers, Settings)
    settings._service, settings._places, settings._layers = service, places, layers
    return settings


def recalled_settings(service: str, recorded: Mapping[str, Any], current: Settings) -> Settings:
    """The settings of a past run, as its manifest records them, with the folders of today.

    Raises
    ------
    ConfigError
        When this version no longer knows one of them.
    """
    values = {key: value for key, value in recorded.items() if key != "service"}
    folders = {"output": current.run.output, "cache": current.run.cache}
    values["run"] = {**values.get("run", {}), **folders}
    values["models"] = current.models.model_dump(mode="json")
    values["data"] = {**current.data.model_dump(mode="json"), **values.get("data", {})}
    layers = (Layer(name="manifest", values=values),)
    settings = _validated(layers, Settings)
    settings._service, settings._places, settings._layers = service, current.places, layers
    return settings


def load_keeping(
    service: str,
    places: Places,
    *,
    overrides: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
) -> KeepingSettings:
    """Read what pulling and pruning are told: the same layers, without the tables of runs and members.

    Raises
    ------
    ConfigError
        As `load_settings`; what only a run is told is left for the run to judge.
    """
    places.require_service(service)
    variables = os.environ if environ is None else environ
    layers = read_layers(service, places, variables, overrides or {})
    for layer in layers:
        for key in layer.values:
            if key not in Settings.model_fields:
                raise _located(UnknownNameError.of("setting", key, Settings.model_fields), key, layers)
    settings = _validated(layers, KeepingSettings)
    settings._service, settings._places, settings._layers = service, places, layers
    return settings


def _member_defaults() -> dict[str, Any]:
    """The members' own defaults; to know them takes importing the members."""
    return {"members": {name: default_table(name) for name in known_members()}}


def _validated(layers: tuple[Layer, ...], kind: type[KindT]) -> KindT:
    given: dict[str, Any] = {"layers": layers}
    try:
        return kind(**given)
    except BadSettingError as error:
        raise _located(error.error, error.key, layers) from error
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise _located(_explained(first, path), path, layers) from error


def _explained(problem: Any, path: str) -> ConfigError:
    """A pydantic finding in our words, with a hint where a name is unknown."""
    if problem["type"] != "extra_forbidden":
        return ConfigError(
            "a setting has a wrong value", value=repr(problem["input"]), allowed=problem["msg"]
        )
    above, _, last = path.rpartition(".")
    return UnknownNameError.of(f"setting in table {above}" if above else "setting", last, _keys_of(above))


def _keys_of(table: str) -> list[str]:
    kind: Any = Settings
    for part in filter(None, table.split(".")):
        kind = kind.model_fields[part].annotation
    return list(kind.model_fields)


def _located(error: ConfigError, key: str, layers: tuple[Layer, ...]) -> ConfigError:
    """The same error with the key and the layer that set it."""
    place = source_of(layers, key) or CLASS_DEFAULTS
    return type(error)(
        f"{key} ({place}): {error.what}",
        value=masked(key, error.value),
        allowed=error.allowed,
        action=error.action,
    )


def _as_horizon(horizon: Horizon | str | int) -> Horizon:
    return horizon if isinstance(horizon, Horizon) else Horizon.parse(horizon)
