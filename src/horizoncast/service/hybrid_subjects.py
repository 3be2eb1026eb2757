"""Whom the hybrid is trained for, and from which cutoffs: one service on one series.

`trained_until` is the oldest cutoff of the bank that the next run would fill, so that every row of its
slice and of its replays comes after all training. Training cutoffs are those whose step H was known by
then.

Letters in shapes: N training cutoffs, H steps.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from horizoncast.bank import Bank, build_bank
from horizoncast.calendar import Dates, as_stamp
from horizoncast.engine import EngineConfig, ForecastEngine, HybridSetting, MemberSetting
from horizoncast.engine.branches import branch_config, branch_digests
from horizoncast.engine.hybrid_rows import fewest_cutoffs
from horizoncast.ensemble.records import BRANCHES
from horizoncast.errors import HistoryTooShortError, ModelError
from horizoncast.forecast import Failure
from horizoncast.horizon import Horizon
from horizoncast.models.chronos.config import ChronosConfig
from horizoncast.models.chronos.settings import ChronosSettings, TrainingSettings
from horizoncast.models.registry import NAIVES
from horizoncast.policy.states import MemberState
from horizoncast.resources import Usage
from horizoncast.series import Series
from horizoncast.service.backtesting import patient
from horizoncast.service.settings import Settings
from horizoncast.store.bank_cache import BankCache
from horizoncast.store.names import safe_name
from horizoncast.validation.backtest import MemberRun, Progress
from horizoncast.validation.splitter import CutoffPlan, matured_rows

WINDOWS = 160
"""Training cutoffs by default: four slices of a decision."""

ROWS = "hybrid-train"
"""Folder below the cache where rows at training cutoffs are kept, apart from those of runs."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """How the checkpoint of the Chronos branch may be tuned.

    Parameters
    ----------
    settings
        Of the training: table ``[training]`` of ``config/chronos.toml``.
    models, output
        Where kept models go, and records and states of trainings.
    """

    settings: TrainingSettings
    models: Path
    output: Path


@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """One service on one series.

    Parameters
    ----------
    service, series, horizon
        Whose hybrid it is.
    config
        What its engine is told, both branches switched on.
    trained_until
        Oldest cutoff of the next run's bank.
    cutoffs
        (N,) training cutoffs, increasing, all outcomes known by `trained_until`.
    stride
        Sessions between them.
    folder
        Of its learned parts.
    cache
        Folder for rows at training cutoffs.
    tuning
        None where the branch is not to be tuned.
    """

    service: str
    series: Series
    horizon: Horizon
    config: EngineConfig
    trained_until: np.datetime64
    cutoffs: Dates
    stride: int
    folder: Path
    cache: Path
    tuning: Tuning | None = None

    @property
    def label(self) -> str:
        """For people."""
        return f"{self.service}, {self.series.name}"

    @cached_property
    def data_digest(self) -> str:
        """Of everything up to `trained_until`."""
        return self.series.digests(self.horizon.steps)[self.series.index_of(self.trained_until)]

    def branch_digests(self, model: str = "") -> dict[str, str]:
        """As the function of that name, of this service."""
        return branch_digests(self.config, self.service, model)

    def chronos(self) -> ChronosConfig | None:
        """Settings of the Chronos branch; None where something else stands in its place."""
        config = branch_config(self.config, BRANCHES[0])
        return config if isinstance(config, ChronosConfig) else None

    def fill(
        self,
        cutoffs: Dates,
        *,
        model: str = "",
        cache: str = "",
        stride: int | None = None,
        progress: Progress | None = None,
    ) -> Filled:
        """Rows of branches and naives at some cutoffs, each member in a process of its own, cached.

        Parameters
        ----------
        cutoffs
            Increasing, at least one.
        model
            Checkpoint of the Chronos branch; empty takes the member's own.
        cache
            Folder below the cache for rows of other cutoffs than the training's: a cache holds one set.
        stride
            Sessions between these cutoffs, where it is not the training's.

        Raises
        ------
        ModelError
            When a branch answered at none of them.
        """
        apart = self.stride if stride is None else stride
        engine = ForecastEngine(self._asking(model, len(cutoffs)), cache=BankCache(self.cache / cache))
        plan = CutoffPlan(
            cutoffs=cutoffs[:-1],
            live=as_stamp(cutoffs[-1]),
            stride=apart,
            wanted=len(cutoffs),
            horizon=self.horizon,
        )
        runs = engine.ask(self.series, plan, progress=progress)
        rows = {name: run.answers for name, run in runs.items()}
        bank = build_bank(
            self.series, self.horizon, apart, self.config.levels, rows, until=self.trained_until
        )
        self._require_answers(bank, runs)
        return Filled(bank=bank, usage=_usage_of(runs))

    def _asking(self, model: str, windows: int) -> EngineConfig:
        """The engine for training rows: the branches, asked for every cutoff, as long as that takes."""
        members = []
        for setting in self.config.members:
            if setting.name not in (*BRANCHES, *NAIVES):
                continue
            config = branch_config(self.config, setting.name, model)
            if isinstance(config, ChronosConfig):
                config = replace(config, unrolled_cutoffs=min(1000, max(config.unrolled_cutoffs, windows)))
            members.append(replace(setting, config=config))
        return patient(replace(self.config, members=tuple(members), hybrid=HybridSetting()), windows)

    def _require_answers(self, bank: Bank, runs: Mapping[str, MemberRun]) -> None:
        for name in BRANCHES:
            if not bank.answered[bank.member_index(name)].any():
                reasons = [p.reason for p in runs[name].problems] or [
                    a.reason for a in runs[name].answers if isinstance(a, Failure)
                ]
                raise ModelError(
                    f"{self.label}: the branch {name} answered at no training cutoff",
                    value=reasons[0] if reasons else None,
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Filled:
    """Rows of branches and naives, and what they cost; None where all of them were cached."""

    bank: Bank
    usage: Usage | None


def subject_of(
    settings: Settings,
    series: Series,
    *,
    windows: int = WINDOWS,
    chronos: ChronosSettings | None = None,
) -> Subject:
    """Lay out what a service's hybrid on a series is trained from; nothing is computed.

    Parameters
    ----------
    windows
        Most training cutoffs.
    chronos
        Settings of the tuning; None leaves the checkpoint as it is.

    Raises
    ------
    HistoryTooShortError
        When too few cutoffs had matured before the bank of the next run begins.
    """
    horizon = Horizon.parse(settings.horizon)
    config = both_on(settings.engine_config())
    until, stride, cutoffs = training_cutoffs(series, horizon, config, windows)
    parts = Path(config.hybrid.config.parts)
    tuning = None
    if chronos is not None:
        output = settings.places.root / Path(chronos.folders.output).expanduser()
        models = _models_of(config) or settings.models_folder
        tuning = Tuning(settings=chronos.training, models=models, output=output)
    return Subject(
        service=settings.service,
        series=series,
        horizon=horizon,
        config=config,
        trained_until=until,
        cutoffs=cutoffs,
        stride=stride,
        folder=parts / safe_name(series.name) / safe_name(settings.service),
        cache=settings.cache_folder / ROWS,
        tuning=tuning,
    )


def both_on(config: EngineConfig) -> EngineConfig:
    """The engine with both branches on, whatever their states: the hybrid needs both."""
    listed = {m.name: m for m in config.members}
    branches = {n: replace(listed.get(n, MemberSetting(name=n)), state=MemberState.ON) for n in BRANCHES}
    return replace(config, members=tuple((listed | branches).values()))


def training_cutoffs(
    series: Series, horizon: Horizon, config: EngineConfig, windows: int
) -> tuple[np.datetime64, int, Dates]:
    """Oldest cutoff of the next run, its stride, and the (N,) newest cutoffs that had matured by then.

    Raises
    ------
    HistoryTooShortError
        When those are too few to learn from.
    """
    engine = ForecastEngine(config)
    plan = engine.plan(series, horizon)
    if not len(plan.cutoffs):
        _refuse(series, horizon, 0, plan.stride)
    until = as_stamp(plan.cutoffs[0])
    at = matured_rows(series, horizon, plan.stride, engine.min_train(series, horizon))
    at = at[at + horizon.steps <= series.index_of(until)][-windows:]
    if len(at) < fewest_cutoffs(horizon.steps, plan.stride):
        _refuse(series, horizon, len(at), plan.stride)
    return until, plan.stride, series.dates[at]


def _refuse(series: Series, horizon: Horizon, found: int, stride: int) -> None:
    raise HistoryTooShortError(
        f"{series.name}, {horizon.name}: too little history to train a hybrid before the bank begins",
        value=f"{found} cutoffs every {stride} sessions",
        allowed=f"at least {fewest_cutoffs(horizon.steps, stride)}",
        action="it works without: the hybrid weighs its branches by accuracy and confidence",
    )


def _models_of(config: EngineConfig) -> Path | None:
    """Folder of models that the Chronos branch itself reads."""
    found = [m.config.models for m in config.members if isinstance(m.config, ChronosConfig)]
    return Path(found[0]) if found and found[0] else None


def digest_of(*parts: object) -> str:
    """A short digest of plain values."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:24]


def _usage_of(runs: Mapping[str, MemberRun]) -> Usage | None:
    used = [run.usage for run in runs.values() if run.usage is not None]
    if not used:
        return None
    return Usage(
        wall_s=sum(u.wall_s for u in used),
        cpu_s=sum(u.cpu_s for u in used),
        peak_mb=max(u.peak_mb for u in used),
    )
