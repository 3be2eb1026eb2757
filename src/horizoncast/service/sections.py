"""The tables of settings: run, data, inputs, decision and cadence, with their defaults and limits."""

from __future__ import annotations

import re
import zoneinfo
from typing import Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from horizoncast.data.http_limits import HttpLimits
from horizoncast.data.waiting import InputPolicy
from horizoncast.engine import EngineConfig, MemberSetting
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.errors import ConfigError, close_match
from horizoncast.policy.cadence import Cadence, CatchUp
from horizoncast.policy.quorum import BelowQuorum
from horizoncast.policy.retry import TickLimits
from horizoncast.policy.rollout import Criteria
from horizoncast.service.member_settings import BadSettingError

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]


class Section(BaseModel):
    """A table of settings: unknown keys are errors, values do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ModelsSettings(Section):
    """Where model folders lie; see docs/chronos.md."""

    folder: str = Field(default="models", min_length=1)


class RunSettings(Section):
    """Where a run reads and writes, and what it may cost."""

    output: str = Field(default="runs", min_length=1)
    cache: str = Field(default="cache", min_length=1)
    workers: int = Field(default=EngineConfig.workers, ge=1, le=64)
    isolated: bool = EngineConfig.isolated
    replays: int = Field(default=EngineConfig.replays, ge=0)
    min_train: Literal["auto"] | PositiveInt = "auto"
    deadline_s: PositiveFloat = MemberSetting.deadline_s
    memory_mb: int = Field(default=MemberSetting.memory_mb, ge=100)
    quorum: int = Field(default=EngineConfig.quorum, ge=0)
    below_quorum: BelowQuorum = EngineConfig.below_quorum


class DataSettings(Section):
    """Where pulled observations and corrections are kept, and what pulling may cost."""

    store: str = Field(default="store", min_length=1)
    later_overrides: bool = False
    secrets: str = ""
    pull_minutes: float = Field(default=10.0, ge=0)
    budget_s: PositiveFloat = HttpLimits.budget_s
    connect_s: PositiveFloat = HttpLimits.connect_s
    read_s: PositiveFloat = HttpLimits.read_s
    tries: int = Field(default=HttpLimits.tries, ge=1, le=20)
    max_mb: int = Field(default=HttpLimits.max_bytes >> 20, ge=1, le=1024)


class RetentionSettings(Section):
    """How long things are kept, in days; 0 keeps them for ever."""

    payload_days: int = Field(default=400, ge=0)
    vintage_days: int = Field(default=0, ge=0)
    run_days: int = Field(default=1100, ge=0)
    runs_kept: int = Field(default=60, ge=1)
    metrics_mb: int = Field(default=64, ge=0)
    metrics_days: int = Field(default=400, ge=1)


class InputSettings(Section):
    """When input is late, and what happens then; see `InputPolicy`."""

    ready_minutes: float = Field(default=0.0, ge=0)
    wait_minutes: float = Field(default=0.0, ge=0, le=1440)
    poll_seconds: PositiveFloat = 60.0
    tolerated: int = Field(default=InputPolicy.tolerated, ge=0)
    max_stale: Literal["auto"] | int = "auto"
    run_stale: bool = InputPolicy.run_stale
    need_covariates: bool = False

    @field_validator("max_stale")
    @classmethod
    def _is_count(cls, value: str | int) -> str | int:
        if isinstance(value, int) and value < 0:
            raise ValueError("auto, or a count of sessions")
        return value

    def policy(self, max_staleness: int | None) -> InputPolicy:
        """The policy for a target that declares `max_staleness`."""
        limit = max_staleness if self.max_stale == "auto" else int(self.max_stale)
        return InputPolicy(
            ready_s=60 * self.ready_minutes,
            wait_s=60 * self.wait_minutes,
            tolerated=self.tolerated,
            max_stale=limit,
            run_stale=self.run_stale,
        )


class DecisionSettings(Section):
    """How members become one forecast; see `DecisionConfig`."""

    rule: str = DecisionConfig.rule
    combination: str = DecisionConfig.combination
    trim: float = DecisionConfig.trim
    cap: float = DecisionConfig.cap
    newest: int = DecisionConfig.newest
    shrink: bool = DecisionConfig.shrink
    calibrate: bool = DecisionConfig.calibrate
    prior: Literal["auto"] | float = "auto"

    @model_validator(mode="after")
    def _is_decidable(self) -> Self:
        try:
            self.as_config()
        except ConfigError as error:
            raise BadSettingError("decision", error) from error
        return self

    def as_config(self) -> DecisionConfig:
        """The same as the engine takes it."""
        values = self.model_dump()
        return DecisionConfig(**(values | {"prior": None if self.prior == "auto" else self.prior}))


class CadenceSettings(Section):
    """When the service is due, on the wall clock of a time zone."""

    days: tuple[Weekday, ...] = ("fri",)
    weeks: Literal["every", "first"] = "every"
    time: str = "07:00"
    timezone: str = "America/Santiago"

    catch_up: CatchUp = Cadence.catch_up
    late_hours: float = Cadence.late_hours
    grace_minutes: float = Cadence.grace_minutes

    @field_validator("days")
    @classmethod
    def _in_order(cls, days: tuple[Weekday, ...]) -> tuple[Weekday, ...]:
        if not days or len(set(days)) < len(days):
            raise ValueError("at least one weekday, none twice")
        return tuple(sorted(days, key=WEEKDAYS.index))

    @field_validator("time")
    @classmethod
    def _is_time(cls, time: str) -> str:
        if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", time):
            raise ValueError("a time as 07:00, 00:00 to 23:59")
        return time

    @field_validator("timezone")
    @classmethod
    def _is_zone(cls, zone: str) -> str:
        if zone not in zoneinfo.available_timezones():
            near = close_match(zone, zoneinfo.available_timezones())
            raise ValueError(f"a name of the time zone database such as America/Santiago; {near or ''}")
        return zone

    @model_validator(mode="after")
    def _is_cadence(self) -> Self:
        try:
            self.as_cadence()
        except ConfigError as error:
            raise BadSettingError("cadence", error) from error
        return self

    def as_cadence(self) -> Cadence:
        """The same as the schedule takes it."""
        return Cadence.of(self.model_dump())


class TickSettings(Section):
    """What `tick` may cost, and how soon it tries again."""

    run_minutes: float = Field(default=TickLimits.run_minutes, gt=0, le=24 * 60)
    retry_minutes: float = Field(default=TickLimits.retry_minutes, ge=0)


class RolloutSettings(Section):
    """What a member must show before a person lets it carry weight; see `Criteria`."""

    weeks: int = Field(default=Criteria.weeks, ge=1)
    runs: int = Field(default=Criteria.runs, ge=1)
    windows: PositiveFloat = Criteria.windows
    peak_mb: PositiveFloat = Criteria.peak_mb
    added_s: PositiveFloat = Criteria.added_s
    success: float = Field(default=Criteria.success, ge=0, le=1)
    failures: PositiveFloat = Criteria.failures
    skill: float = Criteria.skill
    coverage_low: float = Field(default=Criteria.coverage_low, ge=0, le=1)
    coverage_high: float = Field(default=Criteria.coverage_high, ge=0, le=1)
    would_be_weight: float = Field(default=Criteria.would_be_weight, ge=0, le=1)
    harm: PositiveFloat = Criteria.harm
    harm_windows: PositiveFloat = Criteria.harm_windows
    crashes: int = Field(default=Criteria.crashes, ge=1)

    @model_validator(mode="after")
    def _is_possible(self) -> Self:
        try:
            self.as_criteria()
        except ConfigError as error:
            raise BadSettingError("rollout", error) from error
        return self

    def as_criteria(self) -> Criteria:
        """The same as the policy takes it."""
        return Criteria(**self.model_dump())
