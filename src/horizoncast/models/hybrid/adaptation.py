"""A light correction of Chronos' quantiles by what it does not see: the domain adaptation layer.

The backbone stays as it is. A correction linear in a few features moves and scales its quantiles, bounded
and shrunk, and is dropped unless later windows prove it.

Letters in shapes: W windows (cutoffs), H steps, Q levels, N cells (window, lead) of all sets, F features.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import Dates
from horizoncast.errors import BankError, ModelError
from horizoncast.metrics import stated_spread
from horizoncast.models.hybrid.fitting import (
    Units,
    grid_of,
    level_at,
    minimise,
    pinball_slope,
)
from horizoncast.models.hybrid.judge import Bools, Origins, Ruling, joined, losses_of, prove
from horizoncast.store.plain import canonical

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MOST_SHIFT = 0.5
"""Largest shift, in standard deviations that the forecast states at a lead."""

MOST_LOG_SCALE = float(np.log(1.5))
"""Largest logarithm of the factor on the half-widths."""

PRIOR_SHIFT, PRIOR_LOG_SCALE = 0.25, 0.2
"""Prior standard deviations of the whole shift and log scale, half of what is allowed; each of F + 1
parameters gets an equal share, so that more features do not mean a stronger correction."""


@dataclass(frozen=True, kw_only=True)
class DomainAdaptationLayer:
    """A residual correction of quantiles.

    At each lead::

        q' = q + s_h d + (exp(c) - 1)(q - med)      d = D tanh((1, x) . shift / D), D = 0.5
                                                    c = C tanh((1, x) . log_scale / C), C = log 1.5

    with s_h the standard deviation stated at lead h and x the standardised features. All parameters 0 leave
    every bit as it was; the levels keep their order; it moves with the unit.

    Parameters
    ----------
    units
        Of the F features.
    shift, log_scale
        1 + F numbers each, the constant first.
    trained_until
        Last date seen; the layer answers cutoffs from then on.
    windows
        Windows it was learned from.
    ruling
        What the judge said.
    """

    units: Units
    shift: tuple[float, ...]
    log_scale: tuple[float, ...]
    trained_until: np.datetime64
    windows: int
    ruling: Ruling

    def __post_init__(self) -> None:
        size = 1 + len(self.units.names)
        if not len(self.shift) == len(self.log_scale) == size:
            raise ModelError("parameters of an adaptation", value=len(self.shift), allowed=str(size))
        if not np.isfinite((*self.shift, *self.log_scale)).all():
            raise ModelError("parameters of an adaptation are finite")

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the F features it reads, in order (`features.feature_names`)."""
        return self.units.names

    @property
    def digest(self) -> str:
        """Digest of everything that its answer depends on, and of when it was learned."""
        parts = (self.units, self.shift, self.log_scale, self.trained_until)
        return hashlib.sha256(canonical(parts).encode()).hexdigest()

    def require(self, names: Sequence[str]) -> None:
        """Refuse a series whose features are others than those it was learned with.

        Raises
        ------
        ModelError
            When a name or the order differs: a covariate was added, dropped or renamed since.
        """
        if tuple(names) != self.names:
            differ = sorted({*names} ^ {*self.names}) or ["their order"]
            raise ModelError(
                "the adaptation was learned with other features",
                value=", ".join(differ),
                allowed=", ".join(self.names),
                action="train the hybrid again",
            )

    def apply(self, quantiles: Floats, features: Floats, levels: Sequence[float]) -> Floats:
        """Corrected quantiles, (..., H, Q) and (..., F) to (..., H, Q); NaN rows stay NaN.

        A feature that is unknown (NaN) counts as its usual value.

        Raises
        ------
        ModelError
            When the features are not the ones it was learned with.
        BankError
            When the levels lack 0.1, 0.5 or 0.9.
        """
        x = _design(self.units, features)
        shift = x @ np.asarray(self.shift)
        log_scale = x @ np.asarray(self.log_scale)
        moved = _moved(quantiles, shift[..., None], log_scale[..., None], levels)
        return np.sort(moved, axis=-1)  # rounding may cross levels that lie next to each other


@dataclass(frozen=True, kw_only=True, eq=False)
class AdaptationRows:
    """What one series at one horizon gives to learn from.

    Parameters
    ----------
    series
        Its name; sets of several horizons may be pooled, and so may series of a panel.
    cutoffs, ends
        (W,) datetime64; a window's outcome is known from its end on.
    levels
        Q levels, the same in all sets.
    quantiles
        (W, H, Q) of Chronos in the scale, NaN where it failed.
    actuals
        (W, H) in the scale, NaN where unknown.
    names, features
        F names and (W, F) numbers (`features.feature_names`, `features.feature_rows`).
    naive_loss
        Mean of `fitting.window_losses` of the best naive: the unit of losses.
    """

    series: str
    cutoffs: Dates
    ends: Dates
    levels: tuple[float, ...]
    quantiles: Floats
    actuals: Floats
    names: tuple[str, ...]
    features: Floats
    naive_loss: float

    def __post_init__(self) -> None:
        windows, steps = self.actuals.shape
        if self.quantiles.shape != (windows, steps, len(self.levels)):
            raise BankError("rows of an adaptation: shape", value=self.quantiles.shape)
        if self.features.shape != (windows, len(self.names)):
            raise BankError("rows of an adaptation: features", value=self.features.shape)
        if not len(self.cutoffs) == len(self.ends) == windows:
            raise BankError("rows of an adaptation: a cutoff and an end per window", value=windows)
        if not (np.isfinite(self.naive_loss) and self.naive_loss > 0):
            raise BankError("rows of an adaptation: the naive's loss", value=self.naive_loss)


def train_adaptation(
    sets: Sequence[AdaptationRows], *, own: int | None = None
) -> tuple[DomainAdaptationLayer | None, Ruling]:
    """Learn a correction, and let the judge compare it with none on later windows.

    Least mean pinball loss plus ridge toward no correction, weighted as in `gate.train_gate`; a layer that
    is kept is learned once more on all windows.

    Parameters
    ----------
    sets
        Matured rows of one or more horizons and series, at the same levels and with the same features.
    own
        Place of the set that the judge looks at; None for all of them.

    Returns
    -------
    layer
        None where Chronos stays as it is.
    ruling
        What the judge said.

    Raises
    ------
    BankError
        Without any window, or for sets of different levels or features.
    """
    if len({(rows.levels, rows.names) for rows in sets}) != 1:
        raise BankError("sets to learn from need the same levels and features", value=len(sets))
    origins = joined([(rows.series, rows.cutoffs, rows.ends) for rows in sets])
    cells = _cells(sets)

    def learn(past: Bools) -> _Fit:
        return _fit(cells, past, origins.n_eff(past))

    ruling = prove("adaptation", origins, learn, lambda fit: losses_of(origins, _losses(cells, fit), own))
    if not ruling.kept:
        return None, ruling
    return _layer(learn(np.ones(len(origins.cutoffs), bool)), origins, ruling), ruling


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Cells (window, lead) of all sets in a row.

    quantiles (N, Q), actual (N,), window (N,), weight (N,): 1 / (sqrt(h) naive loss), over the window's
    number of known cells; features (all windows, F).
    """

    levels: tuple[float, ...]
    names: tuple[str, ...]
    quantiles: Floats
    actual: Floats
    window: Ints
    weight: Floats
    features: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    units: Units
    theta: Floats


def _layer(fit: _Fit, origins: Origins, ruling: Ruling) -> DomainAdaptationLayer:
    shift, log_scale = fit.theta.reshape(2, -1)
    return DomainAdaptationLayer(
        units=fit.units,
        shift=tuple(float(value) for value in shift),
        log_scale=tuple(float(value) for value in log_scale),
        trained_until=origins.newest,
        windows=len(origins.cutoffs),
        ruling=ruling,
    )


def _fit(cells: _Cells, past: Bools, n_eff: float) -> _Fit:
    """Shift and log scale, (2 (1 + F),), from the windows of a mask."""
    here = past[cells.window]
    units = Units.of(cells.names, cells.features[past])
    design = _design(units, cells.features)[cells.window[here]]
    base = float(_cell_losses(cells, here, np.zeros(here.sum()), np.zeros(here.sum()))[0].sum())
    if not base > 0:
        return _Fit(units=units, theta=np.zeros(2 * design.shape[1]))

    size = design.shape[1]
    ridge = size / (np.repeat((PRIOR_SHIFT, PRIOR_LOG_SCALE), size) ** 2 * max(n_eff, 1.0))
    theta = minimise(lambda theta: _relative_loss(theta, cells, here, design, base), ridge)
    return _Fit(units=units, theta=theta)


def _relative_loss(
    theta: Floats, cells: _Cells, here: Bools, design: Floats, base: float
) -> tuple[float, Floats]:
    """Loss relative to no correction, and its slope along the parameters, shifts first."""
    size = design.shape[1]
    shift, log_scale = design @ theta[:size], design @ theta[size:]
    loss, by_shift, by_scale = _cell_losses(cells, here, shift, log_scale)
    along = np.concatenate([design.T @ by_shift, design.T @ by_scale])
    return float(loss.sum()) / base, along / base


def _cell_losses(
    cells: _Cells, here: Bools, shift: Floats, log_scale: Floats
) -> tuple[Floats, Floats, Floats]:
    """Weighted loss of each cell, and its slopes along raw shift and raw log scale, (n,) each."""
    q, weight = cells.quantiles[here], cells.weight[here]
    moved = _moved(q, shift, log_scale, cells.levels)
    loss, slope = pinball_slope(cells.actual[here], moved, cells.levels)
    centre = q[:, level_at(cells.levels, 0.5)][:, None]
    by_shift = slope.sum(axis=1) * stated_spread(q, cells.levels) / np.cosh(shift / MOST_SHIFT) ** 2
    scale = np.exp(_bounded(log_scale, MOST_LOG_SCALE))
    by_scale = (slope * (q - centre)).sum(axis=1) * scale / np.cosh(log_scale / MOST_LOG_SCALE) ** 2
    return loss * weight, by_shift * weight, by_scale * weight


def _losses(cells: _Cells, fit: _Fit | None) -> Floats:
    """Loss of each window, NaN where nothing is known; without a fit, of Chronos as it is."""
    raw = np.zeros((2, len(cells.actual)))
    if fit is not None:
        raw = fit.theta.reshape(2, -1) @ _design(fit.units, cells.features)[cells.window].T
    loss = _cell_losses(cells, np.ones(len(cells.actual), bool), raw[0], raw[1])[0]
    total = np.bincount(cells.window, weights=loss, minlength=len(cells.features))
    known = np.bincount(cells.window, minlength=len(cells.features)) > 0
    return np.where(known, total, np.nan)


def _cells(sets: Sequence[AdaptationRows]) -> _Cells:
    found, start = [], 0
    for rows in sets:
        leads = grid_of(rows.actuals.shape[1])
        quantiles, actual = rows.quantiles[:, leads - 1], rows.actuals[:, leads - 1]
        known = np.isfinite(actual) & np.isfinite(quantiles).all(axis=-1)
        weight = 1.0 / (np.sqrt(leads)[None, :] * known.sum(axis=1).clip(1)[:, None] * rows.naive_loss)
        window = np.nonzero(known)[0] + start
        found.append((quantiles[known], actual[known], window, weight[known]))
        start += len(rows.cutoffs)
    quantiles, actual, window, weight = (np.concatenate(column) for column in zip(*found, strict=True))
    return _Cells(
        levels=sets[0].levels,
        names=sets[0].names,
        quantiles=quantiles,
        actual=actual,
        window=window,
        weight=weight,
        features=np.concatenate([rows.features for rows in sets]),
    )


def _moved(quantiles: Floats, shift: Floats, log_scale: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles with a raw shift and log scale per row, (..., Q) and (...); 0 leaves every bit."""
    centre = quantiles[..., level_at(levels, 0.5)][..., None]
    step = stated_spread(quantiles, levels) * _bounded(shift, MOST_SHIFT)
    wider = np.expm1(_bounded(log_scale, MOST_LOG_SCALE))
    return np.asarray(quantiles + step[..., None] + wider[..., None] * (quantiles - centre))


def _bounded(raw: Floats, limit: float) -> Floats:
    return np.asarray(limit * np.tanh(raw / limit))


def _design(units: Units, features: Floats) -> Floats:
    """(..., 1 + F) with the constant first."""
    x = units.standard(features)
    return np.concatenate([np.ones((*x.shape[:-1], 1)), x], axis=-1)
