"""What the engine needs to know besides the series."""

from __future__ import annotations

from dataclasses import dataclass, field

from horizoncast.ensemble.records import DecisionConfig
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.horizon import DECILES, LEVELS
from horizoncast.models.base import MemberConfig
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.registry import MEMBERS, NEEDS
from horizoncast.policy.quorum import BelowQuorum
from horizoncast.policy.states import MemberState

_NEEDED_LEVELS = (0.025, *DECILES, 0.975)


@dataclass(frozen=True, kw_only=True)
class MemberSetting:
    """One member in one service.

    Parameters
    ----------
    name, state
        Registry name, and whether it is off, in shadow or on.
    config
        Its frozen settings, resolved for the horizon; None takes the member's own defaults.
    deadline_s, memory_mb
        Limits of its process.
    windows
        Cutoffs it is asked for besides the live one; None asks for all. A dear member may be asked
        for fewer, and is then scored by its ratio to the best naive; the naives answer all.
    """

    name: str
    state: MemberState = MemberState.ON
    config: MemberConfig | None = None
    deadline_s: float = 600.0
    memory_mb: int = 1500
    windows: int | None = None

    def __post_init__(self) -> None:
        if self.name not in MEMBERS:
            raise UnknownNameError.of("member", self.name, MEMBERS)
        if self.deadline_s <= 0 or self.memory_mb < 1 or (self.windows is not None and self.windows < 0):
            raise ConfigError(
                f"member {self.name}: deadline and memory must be positive, windows at least 0",
                value=(self.deadline_s, self.memory_mb, self.windows),
            )


def default_members() -> tuple[MemberSetting, ...]:
    """The naives and the classical members, all on, with their own defaults; no neural member."""
    return tuple(MemberSetting(name=name) for name in MEMBERS if name not in NEEDS)


@dataclass(frozen=True, kw_only=True)
class HybridSetting:
    """The hybrid in one service.

    Parameters
    ----------
    state
        Its own; it is never more than its parts are (`horizoncast.ensemble.hybrid.state_of`).
    config
        How it is made.
    """

    state: MemberState = MemberState.OFF
    config: HybridConfig = field(default_factory=HybridConfig)


@dataclass(frozen=True, kw_only=True)
class EngineConfig:
    """Everything the engine needs to know besides the series.

    Parameters
    ----------
    service
        Name of the service; part of seeds and cache keys.
    members
        Members and their states; the naives run in any case.
    hybrid
        Fusion of the neural members.
    decision
        Rules of the decision.
    replays
        Decisions taken again at earlier cutoffs, to score the ensemble.
    min_train
        Sessions before the first cutoff; None derives it.
    workers
        Members that run at the same time.
    isolated
        Whether each member has a process of its own, with deadline and memory cap.
    quorum, below_quorum
        Members in state ``on``, the naives apart, that must have answered, and what happens below.
    """

    service: str = ""
    members: tuple[MemberSetting, ...] = field(default_factory=default_members)
    hybrid: HybridSetting = field(default_factory=HybridSetting)
    decision: DecisionConfig = field(default_factory=DecisionConfig)
    levels: tuple[float, ...] = LEVELS
    replays: int = 20
    min_train: int | None = None
    workers: int = 1
    isolated: bool = True
    quorum: int = 1
    below_quorum: BelowQuorum = BelowQuorum.BASELINE

    def __post_init__(self) -> None:
        names = [m.name for m in self.members]
        if len(set(names)) != len(names):
            raise ConfigError("a member is listed twice", value=names)
        if self.replays < 0 or self.workers < 1 or self.quorum < 0:
            raise ConfigError("engine: replays and quorum at least 0, workers at least 1")
        if list(self.levels) != sorted({*self.levels, *_NEEDED_LEVELS}):
            raise ConfigError(
                "engine: levels must increase and hold those that scores and intervals need",
                value=self.levels,
                allowed=", ".join(str(level) for level in _NEEDED_LEVELS),
            )
