"""A regression forest that answers quantiles: ridge for the slope, leaf co-membership for the rest.

Letters in shapes: N training pairs (or queries), F features, B bins, Q levels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Floats32 = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_REACH = 4.0
"""Standard deviations beyond which a feature counts as no further: the slope never runs away."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How a forest is grown.

    Parameters
    ----------
    trees
        Number of trees.
    leaf
        Fewest training pairs in a leaf.
    features
        Fraction of the features tried at a split.
    ridge
        Penalty of the linear part, per standardised feature; infinite leaves it out.
    """

    trees: int
    leaf: int
    features: float
    ridge: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Linear:
    """Ridge regression on standardised, clipped features (Hoerl & Kennard, Technometrics 1970)."""

    centre: Floats
    unit: Floats
    slope: Floats

    def predict(self, X: Floats32) -> Floats:
        """(N,) linear part for (N, F) features."""
        return np.asarray(_standardised(X, self.centre, self.unit) @ self.slope)


@dataclass(frozen=True, kw_only=True, eq=False)
class LeafForest:
    """Trees on the residuals of a ridge regression, with the distribution of each leaf.

    Averaging leaf distributions over trees weighs each training target by how often it shares a leaf
    with the query: quantile regression forests (Meinshausen, JMLR 2006, eq. 4-6), here with targets
    counted in B bins, so that no (queries, N) matrix is ever built.

    Parameters
    ----------
    linear
        The part a tree cannot extrapolate.
    trees
        Fitted scikit-learn trees.
    places
        Per tree (nodes,) int32: node to row of its table.
    tables
        Per tree (leaves, B) float32: cumulative share of the leaf's residuals up to each bin.
    edges
        (B + 1,) bin edges, in units of the target.
    """

    linear: Linear
    trees: list[Any]
    places: list[npt.NDArray[np.int32]]
    tables: list[Floats32]
    edges: Floats

    def distribution(self, X: Floats32) -> Floats:
        """(N, B) cumulative distribution of the residual at the upper bin edges, for (N, F) features."""
        total = np.zeros((len(X), len(self.edges) - 1))
        for tree, place, table in zip(self.trees, self.places, self.tables, strict=True):
            total += table[place[tree.tree_.apply(X)]]
        return total / len(self.trees)

    def quantiles(self, X: Floats32, levels: Sequence[float]) -> Floats:
        """(N, Q) quantiles of the target for (N, F) features."""
        spread = binned_quantiles(self.distribution(X), self.edges, levels)
        return np.asarray(self.linear.predict(X)[:, None] + spread)


@cache
def bin_levels() -> Floats:
    """Probabilities of the inner bin edges: dense in the tails, where leaves are thin."""
    from scipy.special import ndtr

    levels: Floats = ndtr(np.linspace(-3.1, 3.1, 72))[1:-1]
    return levels


def grow_forest(X: Floats32, y: Floats, growth: Growth, rng: np.random.Generator) -> LeafForest:
    """Grow trees on half of the pairs each, and count all pairs in their leaves.

    Extremely randomised trees (Geurts, Ernst & Wehenkel, Machine Learning 2006): as accurate here as
    searched splits, and several times cheaper.

    Parameters
    ----------
    X, y
        (N, F) features, (N,) targets.
    """
    from sklearn import config_context
    from sklearn.tree import ExtraTreeRegressor

    linear = fit_linear(X, y, growth.ridge)
    rest = y - linear.predict(X)
    edges = np.concatenate([[rest.min()], np.quantile(rest, bin_levels()), [rest.max()]])
    bins = np.searchsorted(edges[1:-1], rest, side="left")
    trees, places, tables = [], [], []
    for _ in range(growth.trees):
        tree = ExtraTreeRegressor(
            min_samples_leaf=max(2, growth.leaf // 2),
            max_features=growth.features,
            random_state=int(rng.integers(2**31)),
        )
        part = rng.permutation(len(y))[: max(4, len(y) // 2)]
        with config_context(assume_finite=True, skip_parameter_validation=True):
            tree.fit(X[part], rest[part], check_input=False)
        place, table = _leaf_table(tree.tree_.apply(X), bins, tree.tree_.node_count, len(edges) - 1)
        trees.append(tree)
        places.append(place)
        tables.append(table)
    return LeafForest(linear=linear, trees=trees, places=places, tables=tables, edges=edges)


def fit_linear(X: Floats32, y: Floats, ridge: float) -> Linear:
    """Slope of the centred target; its mean is left to the trees.

    Parameters
    ----------
    X, y
        (N, F) features, (N,) targets.
    ridge
        Penalty relative to a feature's unit variance.
    """
    centre, unit = X.mean(axis=0, dtype=np.float64), X.std(axis=0, dtype=np.float64)
    unit = np.where(unit > 1e-6 * np.maximum(1.0, np.abs(centre)), unit, np.inf)
    if not np.isfinite(ridge):
        return Linear(centre=centre, unit=unit, slope=np.zeros(X.shape[1]))
    S = _standardised(X, centre, unit)
    gram = S.T @ S / len(y) + ridge * np.eye(S.shape[1])
    return Linear(centre=centre, unit=unit, slope=np.linalg.solve(gram, S.T @ (y - y.mean()) / len(y)))


def binned_quantiles(distribution: Floats, edges: Floats, levels: Sequence[float]) -> Floats:
    """(N, Q) quantiles of binned distributions, linear inside a bin.

    >>> binned_quantiles(np.array([[0.5, 1.0]]), np.array([0.0, 1.0, 3.0]), (0.25, 0.5, 0.75))
    array([[0.5, 1. , 2. ]])

    Parameters
    ----------
    distribution
        (N, B) cumulative distribution at the upper edges.
    edges
        (B + 1,) bin edges.
    """
    out = np.empty((len(distribution), len(levels)))
    row = np.arange(len(distribution))
    for q, level in enumerate(levels):
        at = np.minimum((distribution < level).sum(axis=1), distribution.shape[1] - 1)
        high = distribution[row, at]
        low = np.where(at > 0, distribution[row, np.maximum(at - 1, 0)], 0.0)
        share = np.clip((level - low) / np.maximum(high - low, 1e-12), 0.0, 1.0)
        out[:, q] = edges[at] + share * (edges[at + 1] - edges[at])
    return out


def _leaf_table(leaves: Ints, bins: Ints, nodes: int, width: int) -> tuple[npt.NDArray[np.int32], Floats32]:
    """Node to row (nodes,), and cumulative shares (leaves, B) of the residuals in each leaf."""
    used, dense = np.unique(leaves, return_inverse=True)
    counts = np.bincount(dense * width + bins, minlength=len(used) * width).reshape(len(used), width)
    table = np.cumsum(counts, axis=1) / counts.sum(axis=1, keepdims=True)
    place = np.zeros(nodes, dtype=np.int32)
    place[used] = np.arange(len(used))
    return place, table.astype(np.float32)


def _standardised(X: Floats32, centre: Floats, unit: Floats) -> Floats:
    return np.asarray(np.clip((X - centre) / unit, -_REACH, _REACH))
