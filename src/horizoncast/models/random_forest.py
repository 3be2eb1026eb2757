"""The member `random_forest`: direct multi-step targets, shrunk by what held-out blocks support.

Letters in shapes: n sessions of a history, H steps, Q levels, N training pairs, M held-out pairs,
F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from horizoncast.errors import HistoryTooShortError, MissingCovariateError
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, MemberConfig, Prediction, seed_of
from horizoncast.models.lag_features import (
    Design,
    Window,
    anchor_row,
    choose_design,
    expected_spread,
    pair_features,
    require_covariates,
    usable_rows,
    volatility,
    window_of,
)
from horizoncast.models.leaf_forest import Growth, LeafForest, grow_forest
from horizoncast.models.naive import gaussian_prediction
from horizoncast.series import History

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_HELD_LEVELS = (0.1, 0.5, 0.9)
_FEWEST_PAIRS = 30


@dataclass(frozen=True, kw_only=True)
class RandomForestConfig(MemberConfig):
    """Settings of `RandomForest`.

    Parameters
    ----------
    trees
        Trees of the forest that answers.
    fold_trees, folds
        Trees per fold, and contiguous folds, of the purged cross-validation.
    pairs
        Most (origin, lead) pairs to learn from.
    leaves
        Candidate leaf sizes as fractions of the pairs; the held-out loss chooses.
    features
        Fraction of the features tried at a split.
    ridge
        Penalty of the linear part.
    """

    window: int = 2000
    min_train: int = 40
    trees: int = 60
    fold_trees: int = 8
    folds: int = 4
    pairs: int = 5000
    leaves: tuple[float, ...] = (0.002, 0.03)
    features: float = 0.5
    ridge: float = 0.5


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """What a window teaches: X (N, F), y (N,), and the origin and lead of each pair (N,)."""

    X: Floats32
    y: Floats
    rows: Ints
    leads: Ints


@dataclass(frozen=True, kw_only=True, eq=False)
class HeldOut:
    """Purged forecasts: (M, 3) quantiles at 10, 50 and 90 %, and the targets (M,)."""

    quantiles: Floats
    y: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class ForestState:
    """What a re-fit point keeps; `forest` is None where the window never moved.

    Parameters
    ----------
    kappa
        Share of the forest's median that is kept; 0 answers with the anchor.
    width
        Factor on the distance of every quantile to the median.
    """

    design: Design
    forest: LeafForest | None
    kappa: float = 0.0
    width: float = 1.0


class RandomForest(Member[RandomForestConfig, ForestState]):
    """A forest on volatility-scaled distances to the last value, or to the last season.

    Its median is shrunk toward that anchor, and its width adjusted, by what a purged cross-validation
    inside the training window supports: prices thus end near the random walk.
    """

    name: ClassVar[str] = "random_forest"
    config_type: ClassVar[type[MemberConfig]] = RandomForestConfig

    def fit(self, history: History, horizon: Horizon) -> ForestState:
        """Grow the forest on pairs whose outcome lies inside the window.

        Raises
        ------
        HistoryTooShortError, MissingCovariateError
            When fewer than 30 pairs are left.
        """
        window = window_of(history)
        design = choose_design(window, history.periods, horizon)
        if design.spread <= 0:
            return ForestState(design=design, forest=None)
        seed = seed_of(self.service, history.series.name, self.name, history.cutoff)
        rng = np.random.default_rng(seed)
        pairs = draw_pairs(window, design, horizon, self.config.pairs, rng)
        growth, held = self._choose_growth(pairs, horizon, rng)
        forest = grow_forest(pairs.X, pairs.y, growth, rng)
        if held is None:
            return ForestState(design=design, forest=forest)
        kappa = shrinkage(held, horizon.steps)
        n_eff = len(np.unique(pairs.rows)) / horizon.steps
        return ForestState(design=design, forest=forest, kappa=kappa, width=width_factor(held, kappa, n_eff))

    def _choose_growth(
        self, pairs: Pairs, horizon: Horizon, rng: np.random.Generator
    ) -> tuple[Growth, HeldOut | None]:
        """The leaf size with the smaller held-out loss; None where no fold survives the purge."""
        config = self.config
        tried: list[tuple[float, Growth, HeldOut]] = []
        for fraction in config.leaves:
            leaf = max(5, int(fraction * len(pairs.y)))
            growth = Growth(trees=config.fold_trees, leaf=leaf, features=config.features, ridge=config.ridge)
            held = hold_out(pairs, horizon.steps, config.folds, growth, rng)
            if held is not None:
                tried.append((_pinball(held), growth, held))
        leaf = max(5, int(max(config.leaves) * len(pairs.y)))
        chosen = min(tried, key=lambda item: item[0]) if tried else None
        return (
            Growth(
                trees=config.trees,
                leaf=leaf if chosen is None else chosen[1].leaf,
                features=config.features,
                ridge=config.ridge,
            ),
            None if chosen is None else chosen[2],
        )

    def predict(
        self,
        state: ForestState,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the anchor.

        Raises
        ------
        MissingCovariateError
            When a covariate is missing at the cutoff, or one known in advance ahead of it.
        """
        window = window_of(history.tail(self.config.window), horizon.steps)
        require_covariates(window)
        leads = np.arange(1, horizon.steps + 1)
        rows = np.full(horizon.steps, len(window.z) - 1)
        anchor = window.z[anchor_row(rows, leads, state.design.anchor)]
        spread = expected_spread(volatility(window.z, state.design)[rows], leads, state.design)
        if state.forest is None:
            return gaussian_prediction(anchor, spread, levels)
        X = pair_features(window, state.design, rows, leads)
        q = state.forest.quantiles(X, (*levels, 0.5))
        median = q[:, -1:]
        q = state.kappa * median + state.width * (q[:, :-1] - median)
        return Prediction(quantiles=anchor[:, None] + spread[:, None] * q)


def draw_pairs(
    window: Window, design: Design, horizon: Horizon, most: int, rng: np.random.Generator
) -> Pairs:
    """Pairs whose outcome lies inside the window, drawn evenly when there are more than `most`.

    Raises
    ------
    MissingCovariateError
        When it is the covariates that leave fewer than 30 pairs.
    HistoryTooShortError
        When the window itself has fewer.
    """
    n = len(window.z)
    origins = np.arange(max(design.anchor, min(60, n // 4)), n - 1)
    rows, leads = (
        part.ravel() for part in np.meshgrid(origins, np.arange(1, horizon.steps + 1), indexing="ij")
    )
    inside = rows + leads < n
    rows, leads = rows[inside], leads[inside]
    if len(rows) < _FEWEST_PAIRS:
        raise HistoryTooShortError(
            "too few past outcomes for a forest", value=len(rows), allowed=f"at least {_FEWEST_PAIRS} pairs"
        )
    usable = usable_rows(window, rows, leads)
    if usable.sum() < _FEWEST_PAIRS:
        raise MissingCovariateError(
            "covariates are missing in almost all of the training window",
            value=f"{int(usable.sum())} usable pairs of {len(rows)}",
            allowed=f"at least {_FEWEST_PAIRS}",
            action="leave the emptiest covariate out",
        )
    rows, leads = rows[usable], leads[usable]
    if len(rows) > most:
        chosen = np.sort(rng.choice(len(rows), most, replace=False))
        rows, leads = rows[chosen], leads[chosen]
    spread = expected_spread(volatility(window.z, design)[rows], leads, design)
    y = (window.z[rows + leads] - window.z[anchor_row(rows, leads, design.anchor)]) / spread
    return Pairs(X=pair_features(window, design, rows, leads), y=y, rows=rows, leads=leads)


def purged_folds(rows: Ints, leads: Ints, steps: int, folds: int) -> list[tuple[Ints, Ints]]:
    """Contiguous blocks of origins, with the pairs whose outcome overlaps no outcome of the block.

    Purging as in Lopez de Prado, Advances in Financial Machine Learning (2018), 7.4.

    Parameters
    ----------
    rows, leads
        (N,) origin and lead of each pair.
    steps
        H, sessions by which an outcome may reach past its block.

    Returns
    -------
    list of (train, held)
        Positions of pairs; blocks left without training pairs are dropped.
    """
    bounds = np.quantile(rows, np.linspace(0.0, 1.0, folds + 1))
    bounds[-1] += 1.0
    out = []
    for first, last in pairwise(bounds):
        held = np.flatnonzero((rows >= first) & (rows < last))
        train = np.flatnonzero((rows + leads < first) | (rows >= last + steps))
        if len(held) and len(train):
            out.append((train, held))
    return out


def hold_out(
    pairs: Pairs, steps: int, folds: int, growth: Growth, rng: np.random.Generator
) -> HeldOut | None:
    """Forecasts of every block by a forest that has not seen it; None where none can be grown."""
    quantiles, y = [], []
    for train, held in purged_folds(pairs.rows, pairs.leads, steps, folds):
        if len(train) < 2 * growth.leaf:
            continue
        forest = grow_forest(pairs.X[train], pairs.y[train], growth, rng)
        quantiles.append(forest.quantiles(pairs.X[held], _HELD_LEVELS))
        y.append(pairs.y[held])
    return HeldOut(quantiles=np.concatenate(quantiles), y=np.concatenate(y)) if y else None


def shrinkage(held: HeldOut, steps: int) -> float:
    """Bayesian slope of the targets on the held-out medians, limited to [0, 1].

    ``sum(p y) / (sum(p^2) + H mean(y^2) / s^2)``: a normal prior N(0, s^2), s = 0.5, and neighbouring
    outcomes that share up to H - 1 sessions counted once.
    """
    median = held.quantiles[:, 1]
    prior = steps * np.mean(held.y**2) / 0.25
    slope = np.sum(median * held.y) / max(np.sum(median**2) + prior, 1e-12)
    return float(np.clip(slope, 0.0, 1.0))


def width_factor(held: HeldOut, kappa: float, n_eff: float) -> float:
    """Factor that makes 80 % of the held-out targets fall inside the 80 % interval, shrunk toward 1.

    Parameters
    ----------
    kappa
        Shrinkage of the median.
    n_eff
        Blocks of H sessions in the window; two blocks of prior weight stand for "no change".
    """
    low, median, high = held.quantiles.T
    error = held.y - kappa * median
    half = np.where(error > 0, high - median, median - low)
    ratio = np.abs(error) / np.maximum(half, 1e-9)
    factor = max(0.05, float(np.quantile(ratio, 0.8)))
    return float(np.clip(np.exp(n_eff / (n_eff + 2.0) * np.log(factor)), 0.5, 2.0))


def _pinball(held: HeldOut) -> float:
    levels = np.array(_HELD_LEVELS)
    gap = held.y[:, None] - held.quantiles
    return float(np.mean(np.maximum(levels * gap, (levels - 1.0) * gap)))
