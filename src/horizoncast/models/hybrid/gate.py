"""Which branch to trust in which context: the known rule as a prior, and a gate learned on top of it.

The gate adds to the log weights of the fusion, beside confidence and accuracy. It is learned on rows that
had matured, shrunk to the prior by ridge, and takes the prior's place only when the judge says so.

Branches stand in the order chronos, autoformer. Letters in shapes: W windows (cutoffs), H steps, Q levels,
N cells (window, lead) of all sets, P parameters, F features, D size of an embedding.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from horizoncast.errors import BankError, ModelError
from horizoncast.models.hybrid.axes import AXES, NO_AXES, Axes
from horizoncast.models.hybrid.context import Context, known_share
from horizoncast.models.hybrid.fitting import Units, grid_of, minimise, pinball_slope
from horizoncast.models.hybrid.gate_rows import GateRows
from horizoncast.models.hybrid.judge import Bools, Origins, Ruling, joined, losses_of, prove
from horizoncast.store.plain import canonical

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

SIGNALS = ("season", "trend", "volatility", "entropy", "novelty")
FEATURES = (*SIGNALS, *(f"embedding_{k + 1}" for k in range(AXES)), "log_lead")
"""What a gate reads: signals of the context, the embedding along the gate's axes, and the lead."""

_EMBEDDING = slice(len(SIGNALS), len(SIGNALS) + AXES)

LIMIT = float(np.log(9.0))
"""What a gate may learn at most, in log-odds: 0.9 against 0.1 where all else is even."""

PRIOR_SPREAD = 0.7
"""Prior standard deviation of each parameter, in log-odds per standardised feature. With 1.0 a planted gate
gains a fifth more, and one learned from nothing loses nearly twice as much (docs/methods.md)."""


def has_season(context: Context) -> bool:
    """Whether the series has a season at all: `context_of` leaves both strengths at 0 where it has none."""
    return context.season > 0 or context.trend > 0


def prior_log_odds(context: Context, *, strength: float = 1.0) -> float:
    """The known rule in log-odds for chronos; 0 for a series without a season, where it is noise.

    A strong season 1.39 (share 0.8), else high volatility -0.85 (0.3), else 0.41 (0.6), times `strength`.

    Raises
    ------
    ModelError
        For a negative strength.
    """
    if not strength >= 0:
        raise ModelError("strength of a prior", value=strength, allowed="at least 0")
    share = known_share(context)
    return strength * float(np.log(share / (1.0 - share))) if has_season(context) else 0.0


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Log-odds in favour of chronos, beyond what confidence and accuracy say.

    ``prior + L tanh((intercept + slopes . x) / L)``, x the standardised `FEATURES`, L = log 9: bounded, and
    the prior itself where nothing was learned.

    Parameters
    ----------
    units
        Of `FEATURES`.
    axes
        Along which embeddings are read; those of another encoder than it was learned with are refused.
    intercept, slopes
        1 and F numbers.
    strength
        Of the prior.
    trained_until
        Last date seen; the gate answers cutoffs from then on.
    windows
        Windows it was learned from.
    ruling
        What the judge said.
    """

    units: Units
    intercept: float
    slopes: tuple[float, ...]
    strength: float
    trained_until: np.datetime64
    windows: int
    ruling: Ruling
    axes: Axes = NO_AXES

    def __post_init__(self) -> None:
        if self.units.names != FEATURES or len(self.slopes) != len(FEATURES):
            raise ModelError("features of a gate", value=self.units.names, allowed=", ".join(FEATURES))
        if not np.isfinite((self.intercept, *self.slopes, self.strength)).all():
            raise ModelError("parameters of a gate are finite")

    @property
    def digest(self) -> str:
        """Digest of everything that its answer depends on, and of when it was learned."""
        parts = (self.units, self.axes, self.intercept, self.slopes, self.strength, self.trained_until)
        return hashlib.sha256(canonical(parts).encode()).hexdigest()

    def require(self, size: int) -> None:
        """Refuse embeddings of another size than those it was learned with; 0 says that there are none.

        Raises
        ------
        ModelError
            When they differ: another checkpoint is in use.
        """
        self.axes.require(size)

    def log_odds(self, context: Context, leads: npt.ArrayLike) -> Floats:
        """Log-odds for chronos at leads (1-based), (H,) to (H,).

        A signal that is unknown counts as its usual value.

        Raises
        ------
        ModelError
            When the context's embedding is of another size than those it was learned with.
        """
        rows = _features(context, np.asarray(leads))
        rows[:, _EMBEDDING] = self.axes.along(np.array(context.embedding)[None])
        x = self.units.standard(rows)
        learned = self.intercept + x @ np.asarray(self.slopes)
        return prior_log_odds(context, strength=self.strength) + _bounded(learned)


def fused_share(confidence: Floats, accuracy: Floats, log_odds: Floats) -> Floats:
    """Share of chronos: softmax of log confidence + log accuracy + log-odds, (2, W, H) to (W, H).

    Without logarithms, so that a weight of 0 stays 0. NaN where both weights are 0 or one is unknown.
    """
    by_accuracy = accuracy[:, None, None] if accuracy.ndim == 1 else accuracy[:, :, None]
    plain = confidence * by_accuracy
    return _tilted(plain[0], plain[1], log_odds)


def train_gate(
    sets: Sequence[GateRows], *, strength: float = 1.0, own: int | None = None
) -> tuple[Gate | None, Ruling]:
    """Learn a gate, and let the judge compare it with the prior on later windows.

    Least mean pinball loss of the fused quantiles plus ridge toward the prior; the weight of the data is the
    number of windows that do not overlap, so few windows stay at the prior. A gate that is kept is learned
    once more on all windows.

    Parameters
    ----------
    sets
        Matured rows of one or more horizons and series, at the same levels.
    strength
        Of the prior.
    own
        Place of the set that the judge looks at; None for all of them.

    Returns
    -------
    gate
        None where the prior stays.
    ruling
        What the judge said.

    Raises
    ------
    BankError
        Without any window, or for sets of different levels.
    """
    if len({rows.levels for rows in sets}) != 1:
        raise BankError("sets to learn from need the same levels", value=len(sets))
    origins = joined([(rows.series, rows.cutoffs, rows.ends) for rows in sets])
    cells = _cells(sets, strength)

    def learn(past: Bools) -> _Fit:
        return _fit(cells, past, origins.n_eff(past))

    ruling = prove("gate", origins, learn, lambda fit: losses_of(origins, _losses(cells, fit), own))
    if not ruling.kept:
        return None, ruling
    return _gate(learn(np.ones(len(origins.cutoffs), bool)), origins, strength, ruling), ruling


@dataclass(frozen=True, kw_only=True, eq=False)
class _Cells:
    """Cells (window, lead) of all sets in a row.

    quantiles (2, N, Q), plain (2, N) confidence times accuracy, actual (N,), prior (N,), features (N, F)
    without the embedding (NaN), window (N,) and weight (N,): 1 / (sqrt(h) naive loss), over the window's
    number of known cells; vectors (all windows, D), NaN where unknown.
    """

    levels: tuple[float, ...]
    quantiles: Floats
    plain: Floats
    actual: Floats
    prior: Floats
    features: Floats
    window: Ints
    weight: Floats
    vectors: Floats

    def read_along(self, axes: Axes) -> Floats:
        """(N, F) features with the embedding along some axes."""
        whole = self.features.copy()
        whole[:, _EMBEDDING] = axes.along(self.vectors)[self.window]
        return whole


@dataclass(frozen=True, kw_only=True, eq=False)
class _Fit:
    units: Units
    axes: Axes
    theta: Floats


def _gate(fit: _Fit, origins: Origins, strength: float, ruling: Ruling) -> Gate:
    return Gate(
        units=fit.units,
        axes=fit.axes,
        intercept=float(fit.theta[0]),
        slopes=tuple(float(value) for value in fit.theta[1:]),
        strength=strength,
        trained_until=origins.newest,
        windows=len(origins.cutoffs),
        ruling=ruling,
    )


def _fit(cells: _Cells, past: Bools, n_eff: float) -> _Fit:
    """Intercept and slopes, (1 + F,), from the windows of a mask."""
    here = past[cells.window]
    axes = Axes.of(cells.vectors[past])
    features = cells.read_along(axes)[here]
    units = Units.of(FEATURES, features)
    design = _design(units, features)
    base = float(_cell_losses(cells, here, np.zeros(here.sum()))[0].sum())
    if not base > 0:
        return _Fit(units=units, axes=axes, theta=np.zeros(design.shape[1]))

    ridge = np.full(design.shape[1], 1.0 / (PRIOR_SPREAD**2 * max(n_eff, 1.0)))
    theta = minimise(lambda theta: _relative_loss(theta, cells, here, design, base), ridge)
    return _Fit(units=units, axes=axes, theta=theta)


def _relative_loss(
    theta: Floats, cells: _Cells, here: Bools, design: Floats, base: float
) -> tuple[float, Floats]:
    """Loss relative to the prior's, and its slope along (P,) parameters."""
    raw = design @ theta
    loss, slope = _cell_losses(cells, here, _bounded(raw))
    along = design.T @ (slope / np.cosh(raw / LIMIT) ** 2)  # tanh' = 1 / cosh^2
    return float(loss.sum()) / base, along / base


def _cell_losses(cells: _Cells, here: Bools, learned: Floats) -> tuple[Floats, Floats]:
    """Weighted loss of each cell and its slope along the log-odds, (n,) each."""
    first, second = cells.quantiles[0, here], cells.quantiles[1, here]
    share = _tilted(cells.plain[0, here], cells.plain[1, here], cells.prior[here] + learned)
    fused = second + share[:, None] * (first - second)
    loss, slope = pinball_slope(cells.actual[here], fused, cells.levels)
    along = (slope * (first - second)).sum(axis=1) * share * (1.0 - share)
    return loss * cells.weight[here], along * cells.weight[here]


def _losses(cells: _Cells, fit: _Fit | None) -> Floats:
    """Loss of each window, NaN where nothing is known; without a fit, of the prior."""
    learned = np.zeros(len(cells.actual))
    if fit is not None:
        learned = _bounded(_design(fit.units, cells.read_along(fit.axes)) @ fit.theta)
    loss = _cell_losses(cells, np.ones(len(cells.actual), bool), learned)[0]
    total = np.bincount(cells.window, weights=loss, minlength=len(cells.vectors))
    known = np.bincount(cells.window, minlength=len(cells.vectors)) > 0
    return np.where(known, total, np.nan)


def _cells(sets: Sequence[GateRows], strength: float) -> _Cells:
    parts: dict[str, list[Floats]] = {}
    start = 0
    for rows in sets:
        for name, array in _known_cells(rows, strength, start).items():
            parts.setdefault(name, []).append(array)
        start += len(rows.cutoffs)
    whole = {
        name: np.concatenate(found, axis=1 if name in ("quantiles", "plain") else 0)
        for name, found in parts.items()
    }
    window = whole.pop("window").astype(np.int64)
    contexts = [context for rows in sets for context in rows.contexts]
    return _Cells(levels=sets[0].levels, window=window, vectors=_embedded(contexts), **whole)


def _embedded(contexts: Sequence[Context]) -> Floats:
    """(W, D) embeddings, NaN where unknown.

    Those of another size than the first known one are of a series that another checkpoint reads; they are
    unknown here.
    """
    size = next((len(context.embedding) for context in contexts if context.embedding), 0)
    none = (np.nan,) * size
    return np.array([c.embedding if len(c.embedding) == size else none for c in contexts]).reshape(
        len(contexts), size
    )


def _known_cells(rows: GateRows, strength: float, start: int) -> dict[str, Floats]:
    """Arrays of `_Cells` of one set, of the cells where both branches and the outcome are known."""
    leads = grid_of(rows.actuals.shape[1])
    at = leads - 1
    by_accuracy = rows.accuracy[:, None] if rows.accuracy.ndim == 1 else rows.accuracy
    plain = rows.confidence[:, :, at] * by_accuracy[:, :, None]
    quantiles, actual = rows.quantiles[:, :, at], rows.actuals[:, at]
    known = np.isfinite(actual) & np.isfinite(quantiles).all(axis=(0, 3)) & np.isfinite(plain).all(axis=0)
    known &= plain.sum(axis=0) > 0
    w, lead = np.nonzero(known)
    prior = np.array([prior_log_odds(context, strength=strength) for context in rows.contexts])
    features = np.stack([_features(context, leads) for context in rows.contexts])
    share = 1.0 / (np.sqrt(leads)[None, :] * known.sum(axis=1).clip(1)[:, None])
    return {
        "quantiles": quantiles[:, w, lead],
        "plain": plain[:, w, lead],
        "actual": actual[w, lead],
        "prior": prior[w],
        "features": features[w, lead],
        "window": w + float(start),
        "weight": share[w, lead] / rows.naive_loss,
    }


def _features(context: Context, leads: npt.NDArray[np.generic]) -> Floats:
    """(H, F) in the order of `FEATURES`; NaN where a signal is unknown, and for the embedding."""
    rows = np.full((len(leads), len(FEATURES)), np.nan)
    rows[:, : len(SIGNALS)] = np.array([getattr(context, name) for name in SIGNALS], dtype=np.float64)
    rows[:, -1] = np.log(leads.astype(np.float64))
    return rows


def _design(units: Units, features: Floats) -> Floats:
    """(N, 1 + F) with the intercept first."""
    return np.concatenate([np.ones((len(features), 1)), units.standard(features)], axis=1)


def _bounded(learned: Floats) -> Floats:
    return np.asarray(LIMIT * np.tanh(learned / LIMIT))


def _tilted(first: Floats, second: Floats, log_odds: Floats) -> Floats:
    """``a / (a + b)`` with a tilted against b by log-odds."""
    up = 1.0 / (1.0 + np.exp(-log_odds))
    a, b = first * up, second * (1.0 - up)
    with np.errstate(invalid="ignore"):
        return np.asarray(a / (a + b))
