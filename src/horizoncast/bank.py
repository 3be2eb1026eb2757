"""The bank: what every member forecast at every past cutoff, and what then happened.

Validation fills it, live forecasts continue it, and weights, fusion, skill and calibration are pure
functions of a slice of it. All numbers are in the series' scale.

Letters in shapes: K members, W validation windows (cutoffs), H steps, Q levels, D size of an embedding.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates, as_stamp
from horizoncast.errors import BankError, UnknownNameError
from horizoncast.forecast import Embedding, Failure, Forecast
from horizoncast.frozen import readonly, sealed
from horizoncast.horizon import Horizon, effective_windows
from horizoncast.series import Scale, Series

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Embeddings:
    """What a member's encoder saw of the context at each cutoff.

    Parameters
    ----------
    vectors
        (W, D), NaN where there is none.
    novelty
        (W,) as in `horizoncast.forecast.Embedding`, NaN where unknown.
    """

    vectors: Floats
    novelty: Floats

    def __post_init__(self) -> None:
        if self.vectors.ndim != 2 or self.novelty.shape != self.vectors.shape[:1]:
            raise BankError(
                "embeddings: shapes",
                value=(self.vectors.shape, self.novelty.shape),
                allowed="vectors (W, D), novelty (W,)",
            )
        for name in ("vectors", "novelty"):
            object.__setattr__(self, name, readonly(getattr(self, name)))

    @classmethod
    def of(cls, found: Sequence[Embedding | None]) -> Embeddings | None:
        """W embeddings, None where there is none; None without any.

        Raises
        ------
        BankError
            When they differ in size: they are of different encoders.
        """
        sizes = {len(one.vector) for one in found if one is not None}
        if not sizes:
            return None
        if len(sizes) > 1:
            raise BankError("embeddings of different sizes", value=sorted(sizes))
        none = np.full(sizes.pop(), np.nan)
        return cls(
            vectors=np.stack([none if one is None else one.vector for one in found]),
            novelty=np.array(
                [np.nan if one is None or one.novelty is None else one.novelty for one in found]
            ),
        )

    @property
    def size(self) -> int:
        """D, the size of a vector."""
        return int(self.vectors.shape[1])

    def pick(self, keep: Bools | npt.NDArray[np.int64]) -> Embeddings:
        """Those of a subset of the cutoffs."""
        return Embeddings(vectors=self.vectors[keep], novelty=self.novelty[keep])

    def at(self, w: int) -> Embedding | None:
        """That of one cutoff; None where there is none."""
        if not np.isfinite(self.vectors[w]).all():
            return None
        novelty = float(self.novelty[w])
        return Embedding(vector=self.vectors[w], novelty=None if np.isnan(novelty) else novelty)


@dataclass(frozen=True, kw_only=True, eq=False)
class Bank:
    """Forecasts of K members at W cutoffs with their outcomes, in the series' scale.

    Parameters
    ----------
    members
        K names.
    cutoffs
        (W,) datetime64[s], increasing.
    ends
        (W,) date of step H of each cutoff: the cutoff is matured from then on.
    horizon, stride
        H steps; sessions between neighbouring cutoffs.
    levels
        Q quantile levels.
    scale
        The scale every number below is in.
    quantiles
        (K, W, H, Q), NaN rows where a member failed or was not asked.
    actuals
        (W, H), NaN where unknown.
    asked
        (K, W) True where the member was asked; a failure is asked for and NaN.
    nonnegative
        True when the series cannot be negative: combined quantiles are clipped at zero.
    embeddings
        What an encoder among the members saw at each cutoff; None where none did.
    """

    members: tuple[str, ...]
    cutoffs: Dates
    ends: Dates
    horizon: Horizon
    stride: int
    levels: tuple[float, ...]
    scale: Scale
    quantiles: Floats
    actuals: Floats
    asked: Bools
    nonnegative: bool = False
    embeddings: Embeddings | None = None

    def __post_init__(self) -> None:
        shape = (len(self.members), len(self.cutoffs), self.horizon.steps, len(self.levels))
        if self.quantiles.shape != shape:
            raise BankError("bank: shape of the quantiles", value=self.quantiles.shape, allowed=str(shape))
        if self.actuals.shape != shape[1:3] or self.asked.shape != shape[:2] or self.ends.shape != shape[1:2]:
            raise BankError("bank: shapes of actuals, asked and ends must follow the quantiles", value=shape)
        if len(self.cutoffs) > 1 and (np.diff(self.cutoffs) <= np.timedelta64(0, "s")).any():
            raise BankError("bank: cutoffs must increase strictly")
        if len(set(self.members)) != len(self.members):
            raise BankError("bank: a member stands twice", value=self.members)
        if self.embeddings is not None and self.embeddings.novelty.shape != self.cutoffs.shape:
            raise BankError("bank: an embedding per cutoff", value=len(self.embeddings.novelty))
        if self.stride < 1:
            raise BankError("bank: stride", value=self.stride, allowed="at least 1")
        for name in ("quantiles", "actuals", "asked", "cutoffs", "ends"):
            array = getattr(self, name)  # copied where writable: the caller's own stays as it was
            object.__setattr__(self, name, sealed(array.copy() if array.flags.writeable else array))

    @property
    def windows(self) -> int:
        """W, the number of cutoffs."""
        return len(self.cutoffs)

    @property
    def n_eff(self) -> float:
        """Effective number of independent windows."""
        return effective_windows(self.windows, self.stride, self.horizon)

    @property
    def median(self) -> Floats:
        """(K, W, H) medians."""
        return np.asarray(self.quantiles[..., self.level_index(0.5)])

    @property
    def answered(self) -> Bools:
        """(K, W) True where a member has a forecast."""
        return np.asarray(np.isfinite(self.quantiles).all(axis=(2, 3)))

    @property
    def leads(self) -> npt.NDArray[np.int64]:
        """0-based steps of the horizon's lead grid."""
        return np.array(self.horizon.lead_grid, dtype=np.int64) - 1

    def level_index(self, level: float) -> int:
        """Position of a level."""
        if level not in self.levels:
            raise BankError("bank: no such level", value=level, allowed=str(self.levels))
        return self.levels.index(level)

    def member_index(self, name: str) -> int:
        """Position of a member."""
        if name not in self.members:
            raise UnknownNameError.of("member", name, self.members)
        return self.members.index(name)

    def pick(self, keep: Bools | npt.NDArray[np.int64]) -> Bank:
        """The bank on a subset of its cutoffs."""
        return replace(
            self,
            cutoffs=sealed(self.cutoffs[keep]),
            ends=sealed(self.ends[keep]),
            quantiles=sealed(self.quantiles[:, keep]),
            actuals=sealed(self.actuals[keep]),
            asked=sealed(self.asked[:, keep]),
            embeddings=None if self.embeddings is None else self.embeddings.pick(keep),
        )

    def select(self, names: Sequence[str]) -> Bank:
        """The bank of some members, in the order given."""
        at = [self.member_index(name) for name in names]
        return replace(
            self, members=tuple(names), quantiles=sealed(self.quantiles[at]), asked=sealed(self.asked[at])
        )

    def with_member(self, name: str, quantiles: Floats, asked: Bools | None = None) -> Bank:
        """The bank with one more member's rows, (W, H, Q) in the scale."""
        if name in self.members:
            raise BankError("bank: the member is there already", value=name)
        row = np.ones(self.windows, dtype=np.bool_) if asked is None else asked
        if quantiles.shape != self.quantiles.shape[1:] or row.shape != self.asked.shape[1:]:
            raise BankError(
                f"bank: rows of {name}", value=quantiles.shape, allowed=str(self.quantiles.shape[1:])
            )
        return replace(
            self,
            members=(*self.members, name),
            quantiles=sealed(np.concatenate([self.quantiles, quantiles[None]])),
            asked=sealed(np.concatenate([self.asked, row[None]])),
        )

    def slice_at(self, when: np.datetime64, newest: int) -> Bank:
        """What a decision at `when` may use: the `newest` cutoffs whose step H is known by then."""
        matured = np.flatnonzero(self.ends <= when)
        return self.pick(matured[max(0, len(matured) - newest) :])


def build_bank(
    series: Series,
    horizon: Horizon,
    stride: int,
    levels: Sequence[float],
    rows: Mapping[str, Iterable[Forecast | Failure]],
    *,
    until: np.datetime64 | None = None,
) -> Bank:
    """Lay members' answers out as a bank in the series' scale.

    Parameters
    ----------
    series
        Gives the scale, the sessions and the actuals.
    rows
        Each member's answers; failures mark the cutoff as asked. A failure without a cutoff marks
        every cutoff of the bank.
    until
        Actuals after this date are hidden (a replay); the series' last observation by default.

    Raises
    ------
    BankError
        When a forecast is of another series or unit, or has other dates or levels than the bank, or when
        embeddings differ in size or two members have them.
    """
    answers = {name: list(items) for name, items in rows.items()}
    stamps = {as_stamp(a.cutoff) for items in answers.values() for a in items if a.cutoff is not None}
    cutoffs = sorted(stamps)
    last = series.last if until is None else until
    shape = (len(answers), len(cutoffs), horizon.steps, len(levels))
    quantiles = np.full(shape, np.nan)
    actuals = np.full(shape[1:3], np.nan)
    asked = np.zeros(shape[:2], dtype=np.bool_)
    dates = [series.session_dates(cutoff, horizon.steps) for cutoff in cutoffs]
    for w, cutoff in enumerate(cutoffs):
        actual = np.where(dates[w] <= last, series.actuals(cutoff, dates[w]), np.nan)
        known = np.isfinite(actual)
        actuals[w, known] = series.scale.forward(actual[known])
    place = {cutoff: w for w, cutoff in enumerate(cutoffs)}
    for k, items in enumerate(answers.values()):
        for answer in items:
            where: slice | int = slice(None) if answer.cutoff is None else place[as_stamp(answer.cutoff)]
            asked[k, where] = True
            if isinstance(answer, Forecast):
                assert isinstance(where, int)
                quantiles[k, where] = _scaled(answer, series, dates[where], tuple(levels))
    return Bank(
        members=tuple(answers),
        cutoffs=np.array(cutoffs, dtype="datetime64[s]"),
        ends=np.array([d[-1] for d in dates], dtype="datetime64[s]"),
        horizon=horizon,
        stride=stride,
        levels=tuple(levels),
        scale=series.scale,
        quantiles=quantiles,
        actuals=actuals,
        asked=asked,
        nonnegative=series.nonnegative,
        embeddings=_embeddings(answers, cutoffs),
    )


def _embeddings(
    answers: Mapping[str, Sequence[Forecast | Failure]], cutoffs: Sequence[np.datetime64]
) -> Embeddings | None:
    """Those of the one member that has them, at each cutoff."""
    found = {
        name: {as_stamp(a.cutoff): a.embedding for a in items if isinstance(a, Forecast) and a.embedding}
        for name, items in answers.items()
    }
    having = [name for name, known in found.items() if known]
    if len(having) > 1:
        raise BankError("bank: embeddings of more than one member", value=", ".join(having))
    return Embeddings.of([found[having[0]].get(c) for c in cutoffs]) if having else None


def continue_bank(bank: Bank, series: Series, rows: Mapping[str, Iterable[Forecast]]) -> Bank:
    """The bank with live forecasts in place of the backtest's at the same member and cutoff.

    Only rows that belong are taken: a cutoff and a member of the bank, its levels, and dates that are
    still the series' sessions (a market that closed unforeseen moves the steps of a forecast made
    before; the backtest's row knows better then). Without any the bank is returned as it is. Embeddings
    stay those of the backtest: a published forecast is kept without.

    Parameters
    ----------
    bank
        Matured cutoffs, in the scale.
    series
        The bank's series, as it is now.
    rows
        Published forecasts per member, in the unit.
    """
    place = {as_stamp(cutoff): w for w, cutoff in enumerate(bank.cutoffs)}
    quantiles, asked = bank.quantiles.copy(), bank.asked.copy()
    taken = 0
    for name, forecasts in rows.items():
        for forecast in forecasts if name in bank.members else ():
            w = place.get(forecast.cutoff)
            if w is None or forecast.levels != bank.levels or forecast.steps != bank.horizon.steps:
                continue
            dates = series.session_dates(forecast.cutoff, forecast.steps)
            if np.array_equal(forecast.dates, dates):
                k = bank.member_index(name)
                quantiles[k, w], asked[k, w] = _scaled(forecast, series, dates, bank.levels), True
                taken += 1
    return replace(bank, quantiles=sealed(quantiles), asked=sealed(asked)) if taken else bank


def _scaled(forecast: Forecast, series: Series, dates: Dates, levels: tuple[float, ...]) -> Floats:
    """A forecast's quantiles in the scale, after checking that they belong in the bank."""
    if (forecast.series, forecast.unit) != (series.name, series.unit):
        raise BankError(
            f"bank: {forecast.member} forecasts another series or unit",
            value=f"{forecast.series} in {forecast.unit}",
            allowed=f"{series.name} in {series.unit}",
        )
    if forecast.levels != levels:
        raise BankError(f"bank: levels of {forecast.member}", value=forecast.levels, allowed=str(levels))
    if not np.array_equal(forecast.dates, dates):
        raise BankError(
            f"bank: dates of {forecast.member} at {forecast.cutoff} are not the series' sessions",
            action="a forecast is scored on its own dates only",
        )
    return series.scale.forward(forecast.quantiles)
