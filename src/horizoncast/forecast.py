"""A forecast, or the failure that stands in its place.

Letters in shapes: H horizon steps, Q quantile levels, D size of an embedding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates, as_stamp
from horizoncast.errors import ForecastError
from horizoncast.frozen import readonly, reduced, sealed

Floats = npt.NDArray[np.float64]


class Flag(StrEnum):
    """What a reader must know about a forecast; nothing happens without one."""

    FALLBACK = "fallback"
    EXTRAPOLATED_TAIL = "extrapolated_tail"
    SHORT_HISTORY = "short_history"
    STALE_INPUT = "stale_input"
    FEW_WINDOWS = "few_windows"
    NO_COVARIATES = "no_covariates"
    NOT_CONVERGED = "not_converged"
    SORTED = "quantiles_sorted"
    CLIPPED_AT_ZERO = "clipped_at_zero"
    DEGENERATE_WIDTH = "degenerate_width"
    MEMBER_FAILED = "member_failed"
    IMPLAUSIBLE = "implausible"


@dataclass(frozen=True, kw_only=True)
class ModelIdentity:
    """The model that really ran, by its own name.

    Parameters
    ----------
    id
        What ran (``arima_garch``, ``amazon/chronos-bolt-small``).
    revision
        Version of its code or repository.
    digest
        Digest of its configuration or weights.
    trained_until
        Last date any learned part has seen, None when it is fitted at the cutoff's own grid point.
    """

    id: str
    revision: str = ""
    digest: str = ""
    trained_until: np.datetime64 | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Embedding:
    """What a model's encoder saw of the context before a cutoff.

    Parameters
    ----------
    vector
        (D,) pooled state of the encoder, finite, each number one of single precision.
    novelty
        Share of ordinary past contexts that lie nearer to what came before them, 0 to 1; None where the
        history is too short to tell.

    Raises
    ------
    ForecastError
        When one of these does not hold.
    """

    vector: Floats
    novelty: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "vector", readonly(np.asarray(self.vector, dtype=np.float32)))
        if self.vector.ndim != 1 or not len(self.vector) or not np.isfinite(self.vector).all():
            raise ForecastError("an embedding is a finite vector", value=self.vector.shape, allowed="(D,)")
        if self.novelty is not None and not 0.0 <= self.novelty <= 1.0:
            raise ForecastError("novelty of an embedding", value=self.novelty, allowed="0 to 1")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor, as a forecast."""
        return reduced(self)

    def same_numbers(self, other: Embedding) -> bool:
        """Whether vector and novelty are bit-identical."""
        return np.array_equal(self.vector, other.vector) and self.novelty == other.novelty


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """Quantiles of the target at each step after a cutoff, checked on every construction.

    Parameters
    ----------
    series, unit, member
        Names of the series, of its unit and of the model.
    cutoff
        Forecast origin: the last observation the forecast has seen.
    dates
        (H,) datetime64[s], after the cutoff, increasing.
    levels
        (Q,) quantile levels, increasing, 0.5 among them.
    quantiles
        (H, Q) in the unit, finite, never crossing.
    identity
        The model that ran.
    flags
        Codes of what a reader must know.
    epistemic
        (H,) share of the forecast's variance that is doubt about the model itself, 0 to 1: its parameters, or
        which reading of the series to believe; None where the model does not know it. A variance is that of
        the scale the model works in.
    embedding
        What the model's encoder saw of the context; None where it has none.

    Raises
    ------
    ForecastError
        When one of these does not hold.
    """

    series: str
    unit: str
    member: str
    cutoff: np.datetime64
    dates: Dates
    levels: tuple[float, ...]
    quantiles: Floats
    identity: ModelIdentity
    flags: tuple[Flag, ...] = field(default=())
    epistemic: Floats | None = None
    embedding: Embedding | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "cutoff", as_stamp(self.cutoff))
        object.__setattr__(self, "dates", sealed(np.array(self.dates, dtype="datetime64[s]")))
        object.__setattr__(self, "quantiles", readonly(self.quantiles))
        object.__setattr__(self, "levels", tuple(float(level) for level in self.levels))
        object.__setattr__(self, "flags", tuple(sorted({Flag(flag) for flag in self.flags})))
        if self.epistemic is not None:
            object.__setattr__(self, "epistemic", readonly(self.epistemic))
        _check_forecast(self)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle through the constructor: a dataclass alone is not validated when unpickled."""
        return reduced(self)

    @property
    def steps(self) -> int:
        """H, the number of steps."""
        return len(self.dates)

    @property
    def point(self) -> Floats:
        """(H,) point forecast in the unit: the median."""
        return self.quantile(0.5)

    def quantile(self, level: float) -> Floats:
        """(H,) the quantile at one of the forecast's levels, in the unit."""
        if level not in self.levels:
            raise ForecastError("no such quantile level", value=level, allowed=str(self.levels))
        return np.asarray(self.quantiles[:, self.levels.index(level)])

    def interval(self, coverage: float) -> tuple[Floats, Floats]:
        """(H,), (H,) the central prediction interval, as in ``interval(0.8)``."""
        tail = round((1.0 - coverage) / 2.0, 6)
        return self.quantile(tail), self.quantile(round(1.0 - tail, 6))

    def same_numbers(self, other: Forecast) -> bool:
        """Whether two forecasts are bit-identical in cutoff, dates, levels, quantiles and flags.

        Epistemic share and embedding count where both know them: a run's folder holds no embedding, and
        rows of before they were recorded lack both.
        """
        return (
            self.cutoff == other.cutoff
            and self.levels == other.levels
            and self.flags == other.flags
            and np.array_equal(self.dates, other.dates)
            and np.array_equal(self.quantiles, other.quantiles)
            and (
                self.epistemic is None
                or other.epistemic is None
                or np.array_equal(self.epistemic, other.epistemic)
            )
            and (
                self.embedding is None
                or other.embedding is None
                or self.embedding.same_numbers(other.embedding)
            )
        )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """Why there is no forecast at a cutoff.

    Parameters
    ----------
    member
        The member that was asked.
    cutoff
        The cutoff; None when the member failed as a whole.
    code
        Class name of the error, stable for grouping.
    reason
        The message.
    """

    member: str
    cutoff: np.datetime64 | None
    code: str
    reason: str


def _check_forecast(f: Forecast) -> None:
    where = f"forecast of {f.member} for {f.series} at {f.cutoff}"
    if not (np.diff(f.levels) > 0).all() or 0.5 not in f.levels:
        raise ForecastError(f"{where}: levels must increase and hold 0.5", value=f.levels)
    if not f.levels[0] > 0.0 or not f.levels[-1] < 1.0:
        raise ForecastError(f"{where}: levels must lie inside (0, 1)", value=f.levels)
    if f.dates.ndim != 1 or f.quantiles.shape != (len(f.dates), len(f.levels)) or not len(f.dates):
        raise ForecastError(
            f"{where}: shape", value=f.quantiles.shape, allowed=f"({len(f.dates)}, {len(f.levels)})"
        )
    if not np.isfinite(f.quantiles).all():
        raise ForecastError(f"{where}: quantiles are not finite")
    if (np.diff(f.quantiles, axis=1) < 0).any():
        raise ForecastError(f"{where}: quantiles cross")
    if np.isnat(f.cutoff) or np.isnat(f.dates).any() or f.dates[0] <= f.cutoff:
        raise ForecastError(f"{where}: dates must follow the cutoff", value=f.dates[0])
    if (np.diff(f.dates) <= np.timedelta64(0, "s")).any():
        raise ForecastError(f"{where}: dates must increase")
    if f.epistemic is not None:
        _check_share(f.epistemic, len(f.dates), where)


def _check_share(share: Floats, steps: int, where: str) -> None:
    if share.shape != (steps,):
        raise ForecastError(
            f"{where}: shape of the epistemic share", value=share.shape, allowed=f"({steps},)"
        )
    if not ((share >= 0.0) & (share <= 1.0)).all():  # NaN and infinities among them
        raise ForecastError(
            f"{where}: the epistemic share is one of the variance",
            value=f"{share.min()} to {share.max()}",
            allowed="0 to 1",
        )
