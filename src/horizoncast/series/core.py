"""The series a run reads, and the only way to its rows: ``series.until(cutoff)``.

Letters in shapes: T sessions of the target, n sessions of a history, P covariates, H steps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Calendar, CalendarKind, Dates, as_stamp, month_day_of
from horizoncast.covariate import Covariate, known_column
from horizoncast.errors import BankError, DataError, UnknownNameError
from horizoncast.frozen import init_fields, readonly, reduced, sealed
from horizoncast.scale import Scale
from horizoncast.series.checks import check_series

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """A target and its covariates on one calendar, immutable.

    Parameters
    ----------
    name, unit
        What the target is called, and its unit (``CLP per USD``).
    calendar
        Its sessions.
    dates
        (T,) datetime64[s], strictly increasing, at most one in a session of the calendar.
    values
        (T,) the target in its unit, finite.
    observed
        (T,) False where a missing session was filled: such a value is never an actual.
    scale, scale_reason
        Where it is modelled, and why.
    periods
        Season lengths in sessions, shortest first; empty when the series has none.
    covariates
        See `Covariate`; P of them.
    dating_offset
        Sessions by which the target's date runs ahead of the moment it is known (an official rate
        dated tomorrow and published tonight: 1).
    nonnegative
        True for demand and counts: quantiles are clipped at zero.
    related
        Series that a member may learn from besides; see `History.related`. Same calendar, covariates of
        the same names in the same order.
    """

    name: str
    unit: str
    calendar: Calendar
    dates: Dates
    values: Floats
    observed: Bools | None = None
    scale: Scale = Scale.LEVEL
    scale_reason: str = "declared"
    periods: tuple[int, ...] = ()
    covariates: tuple[Covariate, ...] = ()
    dating_offset: int = 0
    nonnegative: bool = False
    related: tuple[Series, ...] = ()
    _known: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        values = readonly(self.values)
        observed = np.ones(len(values)) if self.observed is None else self.observed
        object.__setattr__(self, "scale", Scale.parse(self.scale))
        object.__setattr__(self, "periods", tuple(self.periods))
        object.__setattr__(self, "covariates", tuple(self.covariates))
        object.__setattr__(self, "related", tuple(self.related))
        object.__setattr__(self, "dates", sealed(np.array(self.dates, dtype="datetime64[s]")))
        object.__setattr__(self, "values", values)
        object.__setattr__(self, "observed", sealed(np.array(observed, dtype=np.bool_)))
        check_series(self)
        object.__setattr__(self, "_known", self._as_known())

    def __reduce__(self) -> tuple[Any, ...]:
        return reduced(self)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def last(self) -> np.datetime64:
        """Date of the last observation, the live cutoff."""
        return as_stamp(self.dates[-1])

    @property
    def price_like(self) -> bool:
        """Business days in log scale: taken for a price, of whose growth and weekdays much proof is asked."""
        return self.scale is Scale.LOG and self.calendar.kind is CalendarKind.BUSINESS

    @cached_property
    def ordinals(self) -> npt.NDArray[np.int64]:
        """(T,) absolute session indices, read-only."""
        return sealed(self.calendar.ordinal(self.dates))

    def index_of(self, cutoff: np.datetime64) -> int:
        """Row of a cutoff; an error when the cutoff is no session of the series."""
        stamp = as_stamp(cutoff)
        at = int(np.searchsorted(self.dates, stamp))
        if at >= len(self) or self.dates[at] != stamp:
            raise DataError(
                f"{self.name}: the cutoff is no session of the series",
                value=self.calendar.text(stamp),
                allowed=f"{self.calendar.text(self.dates[0])} to {self.calendar.text(self.last)}",
            )
        return at

    def until(self, cutoff: np.datetime64) -> History:
        """What may be seen at `cutoff`: rows up to it, covariates as published by then."""
        return History(series=self, stop=self.index_of(cutoff) + 1)

    def truncated(self, cutoff: np.datetime64) -> Series:
        """A series that ends at `cutoff`; covariates known in advance keep their future rows.

        Rows of other covariates that a publication lag hides at the cutoff are kept, and stay hidden; so
        are related series as a whole, of which `History.related` shows what was known.
        """
        stop = self.index_of(cutoff) + 1
        kept = {name: getattr(self, name) for name in init_fields(Series)}
        kept["dates"], kept["values"] = self.dates[:stop], self.values[:stop]
        kept["observed"] = self.observed_mask[:stop]
        kept["covariates"] = tuple(
            covariate
            if covariate.known_future
            else Covariate(
                name=covariate.name,
                values=covariate.values[:stop],
                publication_lag=covariate.publication_lag,
                max_carry=covariate.max_carry,
            )
            for covariate in self.covariates
        )
        return Series(**kept)

    @property
    def observed_mask(self) -> Bools:
        """(T,) True where the value was observed, False where it was filled."""
        assert self.observed is not None
        return self.observed

    def session_dates(self, cutoff: np.datetime64, steps: int) -> Dates:
        """Dates of the `steps` sessions after a cutoff, shape (H,): real ones, then the calendar's."""
        start = self.index_of(cutoff) + 1
        real = self.dates[start : start + steps]
        if len(real) == steps:
            return np.asarray(real)
        seen = self.dates[: start + len(real)]
        monthly = self.calendar.kind in (CalendarKind.MONTHLY, CalendarKind.QUARTERLY)
        ahead = self.calendar.future(
            as_stamp(seen[-1]), steps - len(real), month_day=month_day_of(seen) if monthly else None
        )
        return np.concatenate([real, ahead])

    def actuals(self, cutoff: np.datetime64, dates: Dates) -> Floats:
        """Target on the given dates after a cutoff, in the unit, shape (H,).

        NaN where the date is no session, was filled, or has not come: a Sunday is never scored
        against Friday's value.
        """
        if (dates <= cutoff).any():
            raise BankError("actuals are asked for dates up to the cutoff", value=dates.min())
        at = np.searchsorted(self.dates, dates)
        inside = np.minimum(at, len(self) - 1)
        hit = (self.dates[inside] == dates) & self.observed_mask[inside]
        return np.where(hit, self.values[inside], np.nan)

    def digests(self, ahead: int = 1000) -> list[str]:
        """Hex digest of everything visible at each row, shape (T,): a cache key for bank rows.

        Row i covers the definition and rows 0..i as known at i (future covariates included), so
        new observations leave the digests of the past alone. Rows of related series count from the
        row that may see them.

        Parameters
        ----------
        ahead
            Rows of covariates known in advance that a forecast at i may read: the H of the
            forecasts that are cached. More than that drops rows whose inputs have not changed.
        """
        state = hashlib.sha256(_definition(self).encode())
        table = self._table()
        known_future = [c.values for c in self.covariates if c.known_future]
        others = [(other._table(), self._stops(other)) for other in self.related]
        out = []
        for i in range(len(self)):
            state.update(table[i].tobytes())
            for rows, stops in others:
                new = rows[stops[i - 1] if i else 0 : stops[i]]
                state.update(len(new).to_bytes(8, "big") + new.tobytes())
            row = state.copy()
            for values in known_future:
                coming = values[i + 1 : i + 1 + ahead]
                row.update(len(coming).to_bytes(8, "big"))  # else two covariates could trade values
                row.update(coming.tobytes())
            out.append(row.hexdigest()[:32])
        return out

    def _table(self) -> Floats:
        """(T, 3 + P) everything that rows of the past hold."""
        parts = [self.dates.astype(np.int64).view(np.float64)[:, None], self.values[:, None]]
        parts += [self.observed_mask.astype(np.float64)[:, None], self._known]
        return np.ascontiguousarray(np.concatenate(parts, axis=1))

    def _stops(self, other: Series) -> npt.NDArray[np.int64]:
        """(T,) rows of a related series that may be seen at each row of this one.

        A row dated ahead of the moment it is known counts from that moment: with a larger offset than
        the other's, this series' date runs ahead of what is known of the other.
        """
        ahead = max(0, self.dating_offset - other.dating_offset)
        known = np.searchsorted(other.dates, self.dates, side="right")
        known[ahead:] = known[: len(known) - ahead]
        known[:ahead] = 0
        return np.asarray(known)

    def _as_known(self) -> Floats:
        """(T, P) covariates as usable at each session: lagged, then carried forward."""
        columns = [
            known_column(c, len(self), 0 if c.known_future else c.publication_lag + self.dating_offset)
            for c in self.covariates
        ]
        known = np.stack(columns, axis=1) if columns else np.empty((len(self), 0))
        return sealed(known)


@dataclass(frozen=True, kw_only=True, eq=False)
class History:
    """What may be seen at a cutoff; made by `Series.until` only.

    Parameters
    ----------
    series
        The series; its later rows are out of reach of the properties below.
    stop, start
        Half-open range of rows.
    """

    series: Series
    stop: int
    start: int = 0

    def __len__(self) -> int:
        return self.stop - self.start

    @property
    def cutoff(self) -> np.datetime64:
        """Date of the last visible observation."""
        return as_stamp(self.series.dates[self.stop - 1])

    @property
    def dates(self) -> Dates:
        """(n,) session dates."""
        return np.asarray(self.series.dates[self.start : self.stop])

    @property
    def ordinals(self) -> npt.NDArray[np.int64]:
        """(n,) absolute session indices."""
        return np.asarray(self.series.ordinals[self.start : self.stop])

    @property
    def values(self) -> Floats:
        """(n,) target in its unit."""
        return np.asarray(self.series.values[self.start : self.stop])

    @cached_property
    def z(self) -> Floats:
        """(n,) target in the series' scale, read-only."""
        return readonly(self.series.scale.forward(self.values))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the P covariates."""
        return tuple(c.name for c in self.series.covariates)

    @property
    def covariates(self) -> Floats:
        """(n, P) covariates as usable at each session, NaN where the policy gives up."""
        return np.asarray(self.series._known[self.start : self.stop])

    @property
    def periods(self) -> tuple[int, ...]:
        """Season lengths in sessions."""
        return self.series.periods

    @property
    def related(self) -> tuple[History, ...]:
        """What may be seen of each related series at the cutoff; those with no row yet are left out."""
        stops = [(other, int(self.series._stops(other)[self.stop - 1])) for other in self.series.related]
        return tuple(History(series=other, stop=stop) for other, stop in stops if stop > 0)

    def tail(self, sessions: int) -> History:
        """The last `sessions` rows (all when there are fewer): a training window."""
        return History(series=self.series, stop=self.stop, start=max(self.start, self.stop - sessions))

    def future_dates(self, steps: int) -> Dates:
        """(H,) dates of the next sessions."""
        return self.series.session_dates(self.cutoff, steps)

    def future_covariates(self, steps: int) -> Floats:
        """(H, P) covariates after the cutoff: known in advance, else NaN."""
        out = np.full((steps, len(self.series.covariates)), np.nan)
        for p, covariate in enumerate(self.series.covariates):
            if covariate.known_future:
                ahead = covariate.values[self.stop : self.stop + steps]
                out[: len(ahead), p] = ahead
        return out

    def covariate(self, name: str) -> Floats:
        """(n,) one covariate by name, as usable at each session."""
        if name not in self.names:
            raise UnknownNameError.of("covariate", name, self.names)
        return np.asarray(self.covariates[:, self.names.index(name)])


def _definition(series: Series) -> str:
    """What besides numbers decides a forecast."""
    covariates = [(c.name, c.publication_lag, c.max_carry, c.known_future) for c in series.covariates]
    parts = (
        series.name,
        series.unit,
        str(series.scale),
        series.periods,
        series.dating_offset,
        series.nonnegative,
        series.calendar,
        covariates,
    )
    return repr((*parts, [_definition(other) for other in series.related]) if series.related else parts)
