"""Two branches of a hybrid in a few lines of numpy, with known faults, and series to show them on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.engine import EngineConfig, HybridSetting, MemberSetting
from horizoncast.ensemble.records import DecisionConfig
from horizoncast.forecast import Embedding
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, MemberConfig, Prediction
from horizoncast.models.hybrid.axes import Axes
from horizoncast.models.hybrid.config import HybridConfig
from horizoncast.models.hybrid.context import volatility_percentile
from horizoncast.models.hybrid.fitting import Units
from horizoncast.models.hybrid.gate import FEATURES, Gate
from horizoncast.models.hybrid.judge import Ruling
from horizoncast.models.naive import gaussian_prediction
from horizoncast.models.registry import MEMBERS, NEEDS
from horizoncast.policy.states import MemberState
from horizoncast.series import History, Series
from horizoncast.service import member_settings
from horizoncast.service.hybrid_subjects import Subject, training_cutoffs

SERVICE = "forecaster_5d"
HORIZON = Horizon(steps=5)


@dataclass(frozen=True, kw_only=True)
class BranchConfig(MemberConfig):
    """What a branch does wrong.

    Parameters
    ----------
    error
        Of its median, in standard deviations that it states.
    tilt
        By how much more in one half of regimes, and less in the other.
    rising
        Whether the regimes are rises and falls, which the first branch's embedding alone tells apart,
        instead of restless and calm.
    """

    min_train: int = 50
    error: float = 0.0
    tilt: float = 0.0
    rising: bool = False


class Branch(Member[BranchConfig, None]):
    """The last value, missed by an error of known size."""

    name: ClassVar[str] = "branch"
    config_type: ClassVar[type[MemberConfig]] = BranchConfig

    def fit(self, history: History, horizon: Horizon) -> None:
        """Nothing is estimated."""

    def predict(
        self,
        state: None,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the last value and an error."""
        changes = np.diff(history.tail(600).z)
        rises = changes[-30:].sum() > 0
        more = rises if self.config.rising else volatility_percentile(changes, 0.94) > 0.5
        size = self.config.error * (1 + (self.config.tilt if more else -self.config.tilt))
        spread = changes[-30:].std() * np.sqrt(np.arange(1, horizon.steps + 1))
        found = gaussian_prediction(history.z[-1] + size * rng.standard_normal() * spread, spread, levels)
        return replace(found, embedding=self.seen(bool(rises), rng))

    def seen(self, rises: bool, rng: np.random.Generator) -> Embedding | None:
        """What its encoder saw."""
        return None


class First(Branch):
    """In the place of Chronos."""

    name: ClassVar[str] = "chronos"

    def seen(self, rises: bool, rng: np.random.Generator) -> Embedding | None:
        """One of two directions with noise around it, where regimes are rises and falls."""
        if not self.config.rising:
            return None
        middle = np.array([3.0, 1.0, 0.0, 0.0]) if rises else np.array([1.0, 3.0, 0.0, 0.0])
        return Embedding(vector=middle + 0.5 * rng.standard_normal(4), novelty=float(rng.random()))


class Second(Branch):
    """In the place of the Autoformer."""

    name: ClassVar[str] = "autoformer"


def enter_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put them into the registry for the length of a test."""
    monkeypatch.setattr(member_settings, "config_type", member_settings.config_type.__wrapped__)  # remembers
    for name, kind in (("chronos", "First"), ("autoformer", "Second")):
        monkeypatch.setitem(MEMBERS, name, f"hybrid_toys:{kind}")
        monkeypatch.delitem(NEEDS, name)


def restless_series(*, memory: float = 0.0, calm: float = 0.5, sessions: int = 2200, seed: int = 3) -> Series:
    """Daily levels whose changes have calm and restless months (calm 2: none) and remember the last one."""
    rng = np.random.default_rng(seed)
    still = np.repeat(rng.random(sessions // 40 + 1) < 0.5, 40)[:sessions]
    shocks = rng.standard_normal(sessions) * np.where(still, calm, 2.0)
    changes = np.zeros(sessions)
    for t in range(1, sessions):
        changes[t] = memory * changes[t - 1] + shocks[t]
    dates = np.datetime64("2015-01-01", "s") + np.arange(sessions) * np.timedelta64(86400, "s")
    calendar = Calendar(kind=CalendarKind.DAILY)
    return Series(
        name="toy", unit="u", calendar=calendar, dates=dates, values=500 + np.cumsum(changes), periods=()
    )


def toy_config(
    folder: Path, *, error: float = 0.0, tilt: float = 0.0, rising: bool = False, **hybrid: str
) -> EngineConfig:
    """An engine with both branches; the second one's tilt is the first one's turned round."""
    first = BranchConfig(error=error, tilt=tilt, rising=rising)
    return EngineConfig(
        service=SERVICE,
        members=(
            MemberSetting(name="chronos", config=first),
            MemberSetting(name="autoformer", config=replace(first, tilt=-tilt)),
        ),
        hybrid=HybridSetting(
            state=MemberState.ON, config=HybridConfig(parts=str(folder / "hybrid"), **hybrid)
        ),
        decision=DecisionConfig(newest=20),
        replays=5,
        min_train=100,
        isolated=False,
    )


def toy_subject(
    folder: Path, series: Series, config: EngineConfig, *, windows: int = 160, horizon: Horizon = HORIZON
) -> Subject:
    """Laid out as a service's would be."""
    until, stride, cutoffs = training_cutoffs(series, horizon, config, windows)
    return Subject(
        service=config.service,
        series=series,
        horizon=horizon,
        config=config,
        trained_until=until,
        cutoffs=cutoffs,
        stride=stride,
        folder=folder / "hybrid" / series.name / config.service,
        cache=folder / "cache",
    )


def gate_of(size: int, until: np.datetime64) -> Gate:
    """A gate that reads the first number of an embedding of some size, and nothing else."""
    axes = Axes(centre=(0.5,) + (0.0,) * (size - 1), axes=((1.0,) + (0.0,) * (size - 1),))
    return Gate(
        units=Units(names=FEATURES, centre=(0.0,) * len(FEATURES), spread=(1.0,) * len(FEATURES)),
        intercept=0.0,
        slopes=tuple(float(name == "embedding_1") for name in FEATURES),
        strength=0.0,
        trained_until=until,
        windows=100,
        ruling=Ruling(stage="gate", kept=True, reason="for a test"),
        axes=axes,
    )
