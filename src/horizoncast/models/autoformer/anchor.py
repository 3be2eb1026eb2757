"""The space the network works in: distances to the naive forecast, in units of its spread.

The anchor of step h is ``z[t + h - m k]``, ``k = ceil(h / m)``: the last value for m = 1, the seasonal
naive forecast else (see `lag_features`), with the series' drift where it has one (`drift`). A network that
answers 0 +- 1 answers with the naive.

Letters in shapes: n sessions of a window, N origins, L context, H steps, C channels, M calendar marks,
F features of a step, P covariates, K statistics of a context.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import CalendarKind, Dates
from horizoncast.models.autoformer.drift import Drift, growth
from horizoncast.models.lag_features import (
    Design,
    Window,
    anchor_row,
    expected_spread,
    pair_features,
    volatility,
)

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_CLIP = 8.0
_BANDS = 4
_WITH_WEEKDAY = (CalendarKind.BUSINESS, CalendarKind.DAILY, CalendarKind.INTRADAY)
_SLOPES = (1, 5, 20, 60)
_FADES = (1.0, 5.0, 25.0, np.inf)
_TRAILING = (5, 20, 60)


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """What the network reads, and what followed.

    Parameters
    ----------
    values, marks
        (N, L, C) and (N, L, M) of the context.
    steps, features
        (N, H, M) and (N, H, F) of the steps.
    experts
        (N, H, E) other simple forecasts by their distance to the anchor, last the log of the lead.
    published
        (N, H) distance from the anchor to the mean of the context: where the paper's trend starts.
    target
        (N, H) distance of what followed to the anchor, NaN where it has not happened.
    anchor, spread
        (N, H) the naive forecast and its spread, in the scale.
    rows
        (N,) rows of the origins.
    """

    values: Floats32
    marks: Floats32
    steps: Floats32
    features: Floats32
    experts: Floats32
    published: Floats32
    target: Floats32
    anchor: Floats
    spread: Floats
    rows: Ints

    @property
    def known(self) -> Floats32:
        """(N, H, F + E) all that is known of each step."""
        return np.concatenate([self.features, self.experts], axis=-1)

    def pick(self, places: Ints) -> Examples:
        """Some of the origins, by place."""
        return Examples(**{name: getattr(self, name)[places] for name in self.__dataclass_fields__})


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaler:
    """(F,) mean and spread of each feature over the training origins."""

    mean: Floats32
    spread: Floats32

    @classmethod
    def of(cls, features: Floats32) -> Scaler:
        """From (N, H, F); a constant feature becomes zero."""
        flat = features.reshape(-1, features.shape[-1]).astype(np.float64)
        spread = flat.std(axis=0)
        mean = flat.mean(axis=0)
        return cls(
            mean=mean.astype(np.float32),
            spread=np.where(spread > 1e-6, spread, np.inf).astype(np.float32),
        )

    def __call__(self, features: Floats32) -> Floats32:
        """(N, H, F) standardised, and limited, so that one wild input cannot throw the answer."""
        return np.asarray(np.clip((features - self.mean) / self.spread, -_CLIP, _CLIP))


@dataclass(frozen=True, kw_only=True)
class Crossed:
    """A covariate known in advance whose effect may be curved and differ by the calendar.

    Parameters
    ----------
    column
        p, its place among the covariates.
    mean, spread
        Its unit, from the training window.
    """

    column: int
    mean: float
    spread: float


def crossed_of(window: Window, columns: Sequence[int] | None = None) -> tuple[Crossed, ...]:
    """Units of the covariates known in advance that take more than two values, or of those named.

    A flag has no square of its own, and its plain column says when it is up.
    """
    found = []
    for p, known in enumerate(window.known_future):
        x = window.covariates[: len(window.z), p]
        x = x[np.isfinite(x)]
        if known and (len(np.unique(x)) > 2 if columns is None else p in columns):
            spread = float(x.std()) if len(x) else 0.0
            mean = float(x.mean()) if len(x) else 0.0
            found.append(Crossed(column=p, mean=mean, spread=spread if spread > 0 else 1.0))
    return tuple(found)


def _cross_features(
    window: Window, origins: Ints, leads: Ints, *, anchor: int, calendar: Floats32, crossed: Sequence[Crossed]
) -> list[Floats]:
    """Columns (N,): value and square of each covariate, at the step and at its anchor, by calendar mark."""
    columns = []
    for one in crossed:
        x = np.clip((window.covariates[:, one.column] - one.mean) / one.spread, -_CLIP, _CLIP)
        x = np.nan_to_num(x)
        for at in (origins + leads, anchor_row(origins, leads, anchor)):
            for power in (x[at], x[at] ** 2 - 1.0):
                columns += [power * mark for mark in calendar[origins + leads].T]
    return columns


def examples_at(
    window: Window,
    design: Design,
    rows: Ints,
    *,
    context: int,
    steps: int,
    level: float,
    yearly: bool,
    crossed: Sequence[Crossed] = (),
    drift: Drift | None = None,
) -> Examples:
    """Inputs and outcomes of origins; nothing after an origin's row enters but `target`.

    Parameters
    ----------
    rows
        (N,) origins.
    level
        Unit of the seasonal series' values, from the training window; prices use their own volatility.
    yearly
        Whether the time of year is shown. In a training window of less than two years it is a name for
        the date, and no date comes twice.
    crossed
        Covariates shown by their squares and by the calendar, too.
    drift
        Of the anchor.
    """
    count = len(rows)
    leads = np.tile(np.arange(1, steps + 1), count)
    origins = np.repeat(rows, steps)
    sigma = volatility(window.z, design)
    anchor, spread = naive_at(window, design, rows, steps, drift)
    at = rows[:, None] - context + 1 + np.arange(context)
    unit = sigma[rows] * np.sqrt(steps) if design.anchor == 1 else np.full(count, level)
    centre = window.z[rows] if design.anchor == 1 else _mean(window.z, at)
    values = _channels(window, design, at, centre=centre, unit=unit, sigma=sigma[rows])
    calendar = calendar_marks(window.dates, window.kind, yearly=yearly)
    target = np.full((count, steps), np.nan)
    ahead = rows[:, None] + np.arange(1, steps + 1)
    seen = ahead < len(window.z)
    target[seen] = ((window.z[np.minimum(ahead, len(window.z) - 1)] - anchor) / spread)[seen]
    features = _without_calendar(pair_features(window, design, origins, leads), window)
    cross = _cross_features(window, origins, leads, anchor=design.anchor, calendar=calendar, crossed=crossed)
    features = np.column_stack([features, *cross]).reshape(count, steps, -1)
    statistics = context_statistics(window.z, design, at, sigma)
    wide = np.repeat(statistics[:, None], steps, axis=1)
    marks = calendar[ahead]
    return Examples(
        values=values,
        marks=calendar[np.maximum(at, 0)],
        steps=marks,
        features=np.concatenate([features, marks, wide], axis=-1, dtype=np.float32),
        experts=experts_at(window.z, design, rows, anchor, spread),
        published=((_mean(window.z, at)[:, None] - anchor) / spread).astype(np.float32),
        target=target.astype(np.float32),
        anchor=anchor,
        spread=spread,
        rows=rows,
    )


def experts_at(z: Floats, design: Design, rows: Ints, anchor: Floats, spread: Floats) -> Floats32:
    """(N, H, E) what other simple forecasts would add to the anchor, in units of its spread.

    Trailing means, the last change as it dies away at several speeds, the season repeated, and means of
    the last two and four seasons at the step's phase: a linear combination of them is a seasonal ARMA
    in all but name. The last column is the log of the lead.
    """
    m, steps = design.anchor, anchor.shape[1]
    lead = np.arange(1, steps + 1)
    origins, leads = np.repeat(rows, steps), np.tile(lead, len(rows))
    last = z[rows][:, None]
    change = np.where(rows >= m, z[rows] - z[np.maximum(rows - m, 0)], 0.0)[:, None]
    fading = [np.exp(-(lead - 1.0) / tau)[None, :] for tau in _FADES]
    moves = [change * fade for fade in fading]
    if m > 1:
        seasonal = np.zeros(len(z))
        seasonal[m:] = z[m:] - z[:-m]
        mean = _trailing_mean(seasonal, m)[rows][:, None]
        moves += [np.broadcast_to(mean, anchor.shape), last - anchor]
    else:
        for k in _TRAILING:
            gap = _trailing_mean(z, k)[rows][:, None] - last
            moves += [np.broadcast_to(gap, anchor.shape), gap * fading[1]]
    for period in design.seasons:
        first = anchor_row(origins, leads, period)
        back = [first - k * period for k in range(4)]
        past = np.stack([np.where(row >= 0, z[np.maximum(row, 0)], anchor.ravel()) for row in back])
        means = {k: past[:k].mean(axis=0).reshape(anchor.shape) for k in (1, 2, 4)}
        moves += [mean - anchor for k, mean in means.items() if period != m or k > 1]
    columns = [np.broadcast_to(move, anchor.shape) / spread for move in moves]
    columns.append(np.broadcast_to(np.log(lead)[None, :], anchor.shape))
    return np.clip(np.stack(columns, axis=-1), -_CLIP, _CLIP).astype(np.float32)


def _trailing_mean(x: Floats, length: int) -> Floats:
    """(n,) mean of the last `length` values, of fewer at the start."""
    total = np.concatenate([[0.0], np.cumsum(x - x[0])])
    stop = np.arange(1, len(x) + 1)
    start = np.maximum(stop - length, 0)
    return np.asarray(x[0] + (total[stop] - total[start]) / (stop - start))


def naive_at(
    window: Window, design: Design, rows: Ints, steps: int, drift: Drift | None = None
) -> tuple[Floats, Floats]:
    """The naive forecast of each origin and its spread, (N, H) each, in the scale."""
    leads = np.tile(np.arange(1, steps + 1), len(rows))
    origins = np.repeat(rows, steps)
    spread = expected_spread(volatility(window.z, design)[origins], leads, design).reshape(len(rows), steps)
    anchor = window.z[anchor_row(origins, leads, design.anchor)].reshape(len(rows), steps)
    if drift is None:
        return anchor, spread
    step = growth(window.z, drift.period, design.anchor, rows, steps)
    return anchor + drift.weight * step, spread * drift.spread


def _mean(z: Floats, at: Ints) -> Floats:
    """(N,) mean of the contexts; rows before the first repeat it."""
    return np.asarray(z[np.maximum(at, 0)].mean(axis=1))


def _channels(
    window: Window, design: Design, at: Ints, *, centre: Floats, unit: Floats, sigma: Floats
) -> Floats32:
    """(N, L, C) value, change over m, and per covariate its change and its distance to the origin."""
    z, m = window.z, design.anchor
    here = np.maximum(at, 0)
    columns = [(z[here] - centre[:, None]) / unit[:, None]]
    moves = np.where(at >= m, z[here] - z[np.maximum(at - m, 0)], 0.0)
    columns.append(moves / sigma[:, None])
    for p in range(window.covariates.shape[1]):
        x = window.covariates[:, p] / design.covariate_spread[p]
        change = np.where(at >= 1, x[here] - x[np.maximum(at - 1, 0)], 0.0)
        distance = (x[here] - x[here[:, -1:]]) / np.sqrt(at.shape[1])
        columns += [np.nan_to_num(change), np.nan_to_num(distance)]
    return np.clip(np.stack(columns, axis=-1), -_CLIP, _CLIP).astype(np.float32)


def _without_calendar(features: Floats32, window: Window) -> Floats32:
    """(N, F) without the columns of the target date, which come as marks.

    They stand before the two columns of each covariate known in advance.
    """
    stop = features.shape[1] - 2 * sum(window.known_future)
    start = stop - 2 - (window.kind in _WITH_WEEKDAY) - (window.kind is CalendarKind.INTRADAY)
    return np.delete(features, np.s_[start:stop], axis=1)


def spans_two_years(dates: Dates) -> bool:
    """Whether every time of year comes twice."""
    return bool(dates[-1] - dates[0] >= np.timedelta64(730, "D"))


def calendar_marks(dates: Dates, kind: CalendarKind, *, yearly: bool = True) -> Floats32:
    """(n, M) time of year as two harmonics (zero where not shown); weekday one by one; time of day as two."""
    day = dates.astype("datetime64[D]")
    start = day.astype("datetime64[Y]").astype("datetime64[D]")
    year = 2 * np.pi * (day - start).astype(np.float64) / 365.25
    columns = [yearly * f(k * year) for k in (1, 2) for f in (np.sin, np.cos)]
    if kind in _WITH_WEEKDAY:
        weekday = (day.astype(np.int64) + 3) % 7
        columns += [(weekday == k).astype(np.float64) - 1 / 7 for k in range(7)]
    if kind is CalendarKind.INTRADAY:
        time = 2 * np.pi * (dates - day.astype("datetime64[s]")).astype(np.float64) / 86400.0
        columns += [f(k * time) for k in (1, 2) for f in (np.sin, np.cos)]
    return np.stack(columns, axis=1).astype(np.float32)


def context_statistics(z: Floats, design: Design, at: Ints, sigma: Floats) -> Floats32:
    """(N, K) what sets a context apart: energy by frequency, slopes, volatility now against usual.

    They let the last layer notice a context unlike those it was trained on.
    """
    m, rows = design.anchor, at[:, -1]
    here = np.maximum(at, 0)
    moves = np.where(at >= m, z[here] - z[np.maximum(at - m, 0)], 0.0) / design.spread
    power = np.abs(np.fft.rfft(moves, axis=1)) ** 2 / at.shape[1]
    bands = [part.mean(axis=1) for part in np.array_split(power, _BANDS, axis=1)]
    peak = power.max(axis=1) / np.maximum(power.mean(axis=1), 1e-12)
    columns = [np.log(band + 1e-3) for band in bands] + [
        np.log(peak + 1e-3),
        np.log(sigma[rows] / design.spread),
    ]
    total = np.cumsum(moves, axis=1)
    columns += [
        (total[:, -1] - total[:, -1 - back]) / np.sqrt(back) for back in _SLOPES if back < at.shape[1]
    ]
    half = at.shape[1] // 2
    columns.append((total[:, -1] - 2 * total[:, half] + total[:, 0]) / np.sqrt(at.shape[1]))
    return np.stack(columns, axis=1).astype(np.float32)
