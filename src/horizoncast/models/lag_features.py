"""Features and targets of direct multi-step regression: what is known at t about the value at t + h.

One row is a pair (origin t, lead h). Its anchor is the seasonal naive forecast ``z[t + h - m k]`` with
``k = ceil(h / m)``; a season of one session makes that the last value. Its target is the distance to
the anchor in units of the spread expected at t, so that quiet and wild years compare.

Letters in shapes: n sessions of a history, P covariates, H steps, N pairs, F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import CalendarKind, Dates
from horizoncast.errors import MissingCovariateError
from horizoncast.horizon import Horizon
from horizoncast.models.naive import ewma_volatility
from horizoncast.series import History

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DECAY = 0.94
"""Lambda of the volatility known at t (RiskMetrics 1996, daily data)."""
REVERSION = 0.985
"""Share of a volatility shock that is left one session later (usual persistence of a daily GARCH)."""
_MOMENTUM = (5, 20, 60)
_DIP = 0.95


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """Rows to build pairs from: n visible sessions and F further ones known by date only.

    Parameters
    ----------
    z
        (n,) target in the series' scale.
    dates
        (n + F,) session dates.
    covariates
        (n + F, P) as usable; after row n only those known in advance are finite.
    known_future
        P flags.
    names
        P names, for messages.
    kind
        Kind of calendar.
    """

    z: Floats
    dates: Dates
    covariates: Floats
    known_future: tuple[bool, ...]
    names: tuple[str, ...]
    kind: CalendarKind


@dataclass(frozen=True, kw_only=True, eq=False)
class Design:
    """What the training window decided about anchors and units.

    Parameters
    ----------
    anchor
        m, sessions back to the anchor's phase; 1 anchors at the last value.
    seasons
        Season lengths that show in the window, shortest first.
    spread
        Root mean square difference over m sessions, in the scale.
    covariate_spread
        (P,) standard deviation of each covariate's changes, in its unit.
    """

    anchor: int
    seasons: tuple[int, ...]
    spread: float
    covariate_spread: Floats


def window_of(history: History, steps: int = 0) -> Window:
    """Rows of a history, and `steps` sessions after it by date and known covariates."""
    dates, covariates = history.dates, history.covariates
    if steps:
        dates = np.concatenate([dates, history.future_dates(steps)])
        covariates = np.concatenate([covariates, history.future_covariates(steps)])
    return Window(
        z=history.z,
        dates=dates,
        covariates=covariates,
        known_future=tuple(c.known_future for c in history.series.covariates),
        names=history.names,
        kind=history.series.calendar.kind,
    )


def mean_square_difference(z: Floats, lag: int) -> float:
    """Mean of ``(z[t] - z[t - lag])^2``: twice the semivariogram (Matheron 1963) at `lag`."""
    return float(np.mean((z[lag:] - z[:-lag]) ** 2))


def visible_seasons(z: Floats, periods: Sequence[int]) -> tuple[int, ...]:
    """Periods at which the variogram dips below its neighbours.

    A random walk's variogram is a straight line, so prices show no season whatever their calendar.

    >>> visible_seasons(np.tile([0.0, 1.0, 3.0, 1.0], 20), (4,))
    (4,)
    >>> visible_seasons(np.cumsum(np.random.default_rng(0).standard_normal(400)), (4, 12))
    ()
    """
    found = []
    for period in periods:
        if 2 * len(z) < 3 * period + 16:
            continue
        around = [mean_square_difference(z, lag) for lag in (period - 1, period + 1)]
        if mean_square_difference(z, period) < _DIP * min(np.mean(around), 2 * np.median(around)):
            found.append(period)
    return tuple(found)


def choose_design(window: Window, periods: Sequence[int], horizon: Horizon) -> Design:
    """Choose the anchor with the smallest naive error over the leads, inside the window."""
    z = window.z
    seasons = visible_seasons(z, periods)
    leads = np.unique(np.linspace(1, min(horizon.steps, max(1, len(z) // 2)), 12).astype(np.int64))

    def naive_error(period: int) -> float:
        lags = [int(period * -(-lead // period)) for lead in leads]
        usable = [lag for lag in lags if lag < len(z) - 4]
        return float(np.mean([mean_square_difference(z, lag) for lag in usable])) if usable else np.inf

    anchor = min((1, *seasons), key=naive_error)
    known = window.covariates[: len(z)]
    moves = np.diff(known, axis=0)
    spread = np.array([_std(column) for column in moves.T]) if moves.size else np.ones(known.shape[1])
    return Design(
        anchor=anchor,
        seasons=seasons,
        spread=float(np.sqrt(mean_square_difference(z, anchor))),
        covariate_spread=np.where(spread > 0, spread, 1.0),
    )


def anchor_row(rows: Ints, leads: Ints, period: int) -> Ints:
    """Row of the seasonal naive forecast of each pair, (N,)."""
    return rows + leads - period * -(-leads // period)


def volatility(z: Floats, design: Design) -> Floats:
    """(n,) EWMA volatility of differences over m sessions, floored at a tenth of the window's spread."""
    moves = z[design.anchor :] - z[: -design.anchor]
    sigma = np.full(len(z), design.spread)
    sigma[design.anchor :] = ewma_volatility(moves, DECAY)
    return np.asarray(np.maximum(sigma, 0.1 * design.spread))


def expected_spread(sigma: Floats, leads: Ints, design: Design) -> Floats:
    """Spread of the distance to the anchor expected at t, (N,).

    ``k (w sigma^2 + (1 - w) s^2)`` with the aggregation weight of a GARCH(1,1),
    ``w = (1 - phi^h) / (h (1 - phi))`` (Drost & Nijman, Econometrica 1993), s the window's spread.

    Parameters
    ----------
    sigma
        (N,) volatility known at the origin.
    leads
        (N,) steps ahead.
    """
    weight = (1.0 - REVERSION**leads) / (leads * (1.0 - REVERSION))
    seasons = -(-leads // design.anchor)
    return np.asarray(np.sqrt(seasons * (weight * sigma**2 + (1.0 - weight) * design.spread**2)))


def usable_rows(window: Window, rows: Ints, leads: Ints) -> npt.NDArray[np.bool_]:
    """(N,) pairs whose covariates are there: at the origin, and those known in advance at the target."""
    finite = np.isfinite(window.covariates)
    known = np.array(window.known_future, dtype=np.bool_)
    at_origin, at_target = np.all(finite, axis=1), np.all(finite[:, known], axis=1)
    return np.asarray(at_origin[rows] & at_target[rows + leads])


def require_covariates(window: Window) -> None:
    """Refuse a cutoff whose covariates are missing, now or (known in advance) ahead.

    Raises
    ------
    MissingCovariateError
        With the name of the first one.
    """
    last = len(window.z) - 1
    for name, known, column in zip(window.names, window.known_future, window.covariates.T, strict=True):
        needed = column[last:] if known else column[last : last + 1]
        if not np.isfinite(needed).all():
            raise MissingCovariateError(
                f"covariate {name} is missing at the cutoff or ahead of it",
                value=window.dates[last + int(np.flatnonzero(~np.isfinite(needed))[0])],
                allowed="gaps up to the covariate's max_carry",
                action="refresh its source, or leave the covariate out",
            )


def pair_features(window: Window, design: Design, rows: Ints, leads: Ints) -> npt.NDArray[np.float32]:
    """(N, F) features of pairs, all known at the origin; a lag before the window counts as no change."""
    sigma = volatility(window.z, design)
    columns = [leads.astype(np.float64)]
    columns += [column[rows] for column in _origin_columns(window, design, sigma)]
    columns += _phase_columns(window.z, design, rows, leads, sigma[rows])
    columns += _calendar_columns(window.dates[rows + leads], window.kind)
    columns += _known_columns(window, design, rows, leads)
    return np.stack(columns, axis=1).astype(np.float32)


def _origin_columns(window: Window, design: Design, sigma: Floats) -> list[Floats]:
    """Columns (n,) that do not depend on the lead: own changes, momentum, volatility, covariates."""
    z, m = window.z, design.anchor
    moves = _change(z, m)
    columns = [_shift(moves, lag) / sigma for lag in range(3)]
    if m == 1:
        columns += [_change(z, k) / (sigma * np.sqrt(k)) for k in _MOMENTUM]
        columns += [(z - _trailing_mean(z, k)) / (sigma * np.sqrt(k)) for k in _MOMENTUM]
        fast = np.maximum(ewma_volatility(moves, 0.8), 0.05 * design.spread)
        columns += [np.log(sigma / design.spread), np.log(fast / sigma)]
    else:
        total = np.cumsum(moves)
        columns += [_change(total, k) / (k * sigma) for k in sorted({min(7, m), m})]
        columns += [np.log(sigma / design.spread)]
    for p, known in enumerate(window.known_future):
        if not known:
            x = window.covariates[: len(z), p] / design.covariate_spread[p]
            columns += [np.nan_to_num(_change(x, k)) / np.sqrt(k) for k in ((1, 5, 20) if m == 1 else (1, m))]
    return columns


def _phase_columns(z: Floats, design: Design, rows: Ints, leads: Ints, sigma: Floats) -> list[Floats]:
    """Columns (N,) of own values at the target's phase, relative to the anchor."""
    here = anchor_row(rows, leads, design.anchor)
    anchor = z[here]
    columns = []
    if design.anchor > 1:
        columns.append((z[rows] - anchor) / sigma)
    for period in design.seasons:
        first = anchor_row(rows, leads, period)
        past = np.stack([_at(z, first - k * period, anchor) for k in range(4)])
        columns += [(past[1] - anchor) / sigma, (past.mean(axis=0) - anchor) / sigma]
        if period != design.anchor:
            columns.append((past[0] - anchor) / sigma)
    return columns


def _calendar_columns(dates: Dates, kind: CalendarKind) -> list[Floats]:
    """Columns (N,) of the target date: time of year, weekday, hour, as far as the calendar has them."""
    day = dates.astype("datetime64[D]")
    year = day.astype("datetime64[Y]")
    angle = 2 * np.pi * (day - year.astype("datetime64[D]")).astype(np.float64) / 365.25
    columns: list[Floats] = [np.sin(angle), np.cos(angle)]
    if kind in (CalendarKind.BUSINESS, CalendarKind.DAILY, CalendarKind.INTRADAY):
        columns.append(((day.astype(np.int64) + 3) % 7).astype(np.float64))
    if kind is CalendarKind.INTRADAY:
        columns.append((dates - day.astype("datetime64[s]")).astype(np.float64) / 3600.0)
    return columns


def _known_columns(window: Window, design: Design, rows: Ints, leads: Ints) -> list[Floats]:
    """Columns (N,) of covariates known in advance: at the target, and against the anchor's session."""
    here, there = rows + leads, anchor_row(rows, leads, design.anchor)
    columns = []
    for p, known in enumerate(window.known_future):
        if known:
            x = window.covariates[:, p] / design.covariate_spread[p]
            columns += [x[here], np.nan_to_num(x[here] - x[there])]
    return columns


def _change(x: Floats, lag: int) -> Floats:
    """(n,) change over `lag` rows, zero while there is none."""
    out = np.zeros(len(x))
    out[lag:] = x[lag:] - x[:-lag] if lag < len(x) else 0.0
    return out


def _trailing_mean(x: Floats, length: int) -> Floats:
    """(n,) mean of the last `length` values, of fewer at the start."""
    level = x[0]  # sums of distances lose less than sums of levels
    total = np.concatenate([[0.0], np.cumsum(x - level)])
    stop = np.arange(1, len(x) + 1)
    start = np.maximum(stop - length, 0)
    return np.asarray(level + (total[stop] - total[start]) / (stop - start))


def _shift(x: Floats, lag: int) -> Floats:
    """(n,) values `lag` rows earlier, zero before the first."""
    return np.concatenate([np.zeros(lag), x[: len(x) - lag]])


def _at(z: Floats, rows: Ints, otherwise: Floats) -> Floats:
    """(N,) values at rows, `otherwise` before the first."""
    return np.where(rows >= 0, z[np.maximum(rows, 0)], otherwise)


def _std(x: Floats) -> float:
    """Standard deviation of the finite values, 0 when there are none."""
    finite = x[np.isfinite(x)]
    return float(np.std(finite)) if len(finite) else 0.0
