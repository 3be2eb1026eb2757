"""What every member is: a function from (series, cutoffs) to forecasts.

``forecast([a, b]) == forecast([a]) + forecast([b])``: what a member answers at a cutoff depends on
``series.until(cutoff)``, its configuration and its artefacts, and on nothing else. Re-fit points
therefore lie on an absolute grid of session indices, and random numbers are seeded per (service,
series, member, cutoff).

Letters in shapes: n sessions of a history, P covariates, H steps, Q levels.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import CalendarKind
from horizoncast.errors import ForecastError, HistoryTooShortError, ModelError
from horizoncast.forecast import Embedding, Failure, Flag, Forecast, ModelIdentity
from horizoncast.horizon import Horizon
from horizoncast.series import History, Series

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class MemberConfig:
    """Settings every member has; a member's own are added by its subclass.

    Parameters
    ----------
    window
        Training sessions before a re-fit point: the adaptive context of this horizon.
    min_train
        Fewest sessions the member accepts.
    refit_every
        Sessions between re-fit points on the absolute grid.
    """

    window: int = 2000
    min_train: int = 60
    refit_every: int = 60

    windows_shipped: ClassVar[Mapping[str, int]] = {}
    """Windows that ship for single horizons, where they differ from `window`."""

    def asks(self, cutoffs: tuple[np.datetime64, ...], horizon: Horizon) -> tuple[np.datetime64, ...]:
        """Those of the cutoffs, newest first, that the member is asked for; the live one always is.

        A member that cannot answer a past cutoff by its nature (what it learnt from ends later), or only
        at a cost, leaves it out here: it is then scored on the others, not counted as failing.
        """
        return cutoffs


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """Quantiles of one cutoff in the series' scale, with what a reader must know.

    Parameters
    ----------
    quantiles
        (H, Q).
    flags
        Codes.
    epistemic
        (H,) share of the variance that is doubt about the model itself, 0 to 1; None where the
        model does not know it, and its whole variance then counts as noise.
    embedding
        What the model's encoder saw of the context; None where it has none.
    """

    quantiles: Floats
    flags: tuple[Flag, ...] = field(default=())
    epistemic: Floats | None = None
    embedding: Embedding | None = None


ConfigT = TypeVar("ConfigT", bound=MemberConfig)
StateT = TypeVar("StateT")


class Member(ABC, Generic[ConfigT, StateT]):
    """One model of the ensemble: `fit` at grid points, `predict` at cutoffs.

    Parameters
    ----------
    config
        Its settings, frozen.
    service
        Name of the service it runs in; part of the seed of its random numbers.
    """

    name: ClassVar[str]
    """Name in settings, records and the registry."""
    config_type: ClassVar[type[MemberConfig]] = MemberConfig
    """The class of its settings."""
    naive: ClassVar[bool] = False
    """True for the references that others are measured against."""
    revision: ClassVar[str] = "1"
    """Version of the method, for the record; cache keys see the code itself, see `code_digest`."""

    def __init__(self, config: ConfigT, *, service: str = "") -> None:
        self.config = config
        self.service = service

    @abstractmethod
    def fit(self, history: History, horizon: Horizon) -> StateT:
        """Estimate parameters on a training window that ends at a re-fit point.

        Raises
        ------
        ModelError
            When the window cannot be fitted; every cutoff of this re-fit point then fails.
        """

    @abstractmethod
    def predict(
        self,
        state: StateT,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """Forecast from the end of `history` with parameters from an earlier re-fit point.

        Parameters
        ----------
        state
            What `fit` returned at the latest re-fit point at or before the cutoff.
        history
            Everything up to the cutoff (not only the training window).

        Returns
        -------
        Prediction
            (H, Q) quantiles in the series' scale; they are sorted by the caller.
        """

    def identity(self) -> ModelIdentity:
        """The model that runs, for the record."""
        return ModelIdentity(id=self.name, revision=self.revision, digest=self.digest())

    def digest(self) -> str:
        """Digest of name, code and settings; artefacts add theirs in a subclass."""
        text = repr((self.name, self.revision, self.config, code_digest()))
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def forecast(
        self,
        series: Series,
        cutoffs: Iterable[np.datetime64],
        horizon: Horizon,
        levels: Sequence[float],
    ) -> Iterator[Forecast | Failure]:
        """Answer every cutoff, in the order given; pass the live cutoff first.

        Yields as soon as each is ready, so that a deadline costs only what was still to come.
        """
        fitted: dict[int, StateT | ModelError] = {}
        for cutoff in cutoffs:
            try:
                history = series.until(cutoff)
                state = self._state_at(history, horizon, fitted)
                rng = np.random.default_rng(seed_of(self.service, series.name, self.name, cutoff))
                prediction = self.predict(state, history, horizon, levels, rng)
                yield self._to_forecast(prediction, history, horizon, levels)
            except (ModelError, ForecastError, np.linalg.LinAlgError) as error:
                yield Failure(member=self.name, cutoff=cutoff, code=type(error).__name__, reason=str(error))

    def _state_at(self, history: History, horizon: Horizon, fitted: dict[int, StateT | ModelError]) -> StateT:
        """Parameters of the latest re-fit point; only the last one stays in memory."""
        every = refit_interval(history.series.calendar.kind, self.config.refit_every)
        stop = refit_stop(history, every, self.config.min_train)
        if stop not in fitted:
            fitted.clear()
            window = History(series=history.series, stop=stop).tail(self.config.window)
            try:
                fitted[stop] = self.fit(window, horizon)
            except (ModelError, np.linalg.LinAlgError) as error:
                fitted[stop] = error if isinstance(error, ModelError) else ModelError(str(error))
        state = fitted[stop]
        if isinstance(state, ModelError):
            raise state
        return state

    def _to_forecast(
        self, prediction: Prediction, history: History, horizon: Horizon, levels: Sequence[float]
    ) -> Forecast:
        """Sort, clip, leave the scale, date and check."""
        series = history.series
        flags = set(prediction.flags)
        quantiles = np.asarray(prediction.quantiles, dtype=np.float64)
        if (np.diff(quantiles, axis=1) < 0).any():
            quantiles = np.sort(quantiles, axis=1)
            flags.add(Flag.SORTED)
        with np.errstate(over="ignore"):  # an overflow becomes infinite and is refused below
            unit = series.scale.backward(quantiles)
        if series.nonnegative and (unit < 0).any():
            unit = np.maximum(unit, 0.0)
            flags.add(Flag.CLIPPED_AT_ZERO)
        return Forecast(
            series=series.name,
            unit=series.unit,
            member=self.name,
            cutoff=history.cutoff,
            dates=history.future_dates(horizon.steps),
            levels=tuple(levels),
            quantiles=unit,
            identity=self.identity(),
            flags=tuple(flags),
            epistemic=prediction.epistemic,
            embedding=prediction.embedding,
        )


def refit_interval(kind: CalendarKind, refit_every: int) -> int:
    """Sessions between re-fit points: the setting, but never longer than a slow calendar bears.

    Sixty quarters are fifteen years: a member would rest on its first rows for its whole life.

    >>> refit_interval(CalendarKind.QUARTERLY, 60), refit_interval(CalendarKind.BUSINESS, 60)
    (2, 60)
    """
    return min(refit_every, _LONGEST_REFIT.get(kind, refit_every))


_LONGEST_REFIT = {CalendarKind.WEEKLY: 4, CalendarKind.MONTHLY: 6, CalendarKind.QUARTERLY: 2}


_LIBRARIES = (
    "numpy", "scipy", "statsmodels", "arch", "scikit-learn", "torch", "transformers", "chronos-forecasting",
)  # fmt: skip


@cache
def code_digest() -> str:
    """Digest of the code that makes members' numbers, and of the libraries under it.

    A changed line or an upgraded library changes the keys of all cached rows: stale rows are worse
    than slow ones.
    """
    state = hashlib.sha256()
    package = Path(__file__).resolve().parent
    for file in sorted([*package.rglob("*.py"), *(package.parent / "series").glob("*.py")]):
        state.update(file.read_bytes())
    for name in _LIBRARIES:
        state.update(f"{name}=={_version(name)}".encode())
    return state.hexdigest()[:16]


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def refit_stop(history: History, refit_every: int, min_train: int) -> int:
    """Row after the latest re-fit point at or before the cutoff.

    Re-fit points are the first sessions whose absolute index reaches a multiple of `refit_every`;
    before the first one that leaves `min_train` rows, the point is row `min_train`.

    Raises
    ------
    HistoryTooShortError
        When the cutoff itself has fewer than `min_train` rows.
    """
    if history.stop < min_train:
        raise HistoryTooShortError(
            "not enough sessions before the cutoff", value=history.stop, allowed=f"at least {min_train}"
        )
    ordinals = history.series.ordinals[: history.stop]
    point = ordinals[-1] - ordinals[-1] % refit_every
    return max(int(np.searchsorted(ordinals, point)) + 1, min_train)


def seed_of(*parts: object) -> int:
    """A 64-bit seed from names and dates, the same on every machine.

    >>> seed_of("forecaster_7d", "usdmxn", "var") == seed_of("forecaster_7d", "usdmxn", "var")
    True
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
