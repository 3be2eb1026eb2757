"""A checkpoint's own levels turned into those asked for, and its widths beyond its own steps.

Letters in shapes: H steps, L steps the checkpoint answers in one pass, N its own levels, Q levels asked.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

Floats = npt.NDArray[np.float64]

TAIL_DEGREES = 8.0
"""Student's t beyond the outermost levels: a normal covers 87 %, a clamp 82 % for "95 %" (methods.md)."""
_CLOSE = 1e-9


def at_levels(own: Floats, own_levels: Sequence[float], levels: Sequence[float]) -> tuple[Floats, bool]:
    """Quantiles (..., N) at other levels, (..., Q); whether any lies beyond the own ones.

    Between two own levels: linear in the standard normal's quantile. Beyond the outermost, e:
    ``q_tau = med + t_tau / t_e (q_e - med)`` with Student's t of 8 degrees of freedom, as in
    ``q.975 = med + 1.651 (q.9 - med)``. Own levels pass unchanged.

    >>> found, beyond = at_levels(np.array([-1.0, 0.0, 1.0]), (0.1, 0.5, 0.9), (0.5, 0.975))
    >>> found.round(3).tolist(), beyond
    ([0.0, 1.651], True)
    """
    known = np.asarray(own_levels, dtype=np.float64)
    median = own[..., int(np.argmin(np.abs(known - 0.5)))]
    columns, beyond = [], False
    for level in levels:
        near = int(np.argmin(np.abs(known - level)))
        if abs(known[near] - level) < _CLOSE:
            columns.append(own[..., near])
        elif known[0] < level < known[-1]:
            columns.append(_between(own, known, level))
        else:
            edge = 0 if level < known[0] else len(known) - 1
            ratio = float(stdtrit(TAIL_DEGREES, level) / stdtrit(TAIL_DEGREES, known[edge]))
            columns.append(median + ratio * (own[..., edge] - median))
            beyond = True
    return np.stack(columns, axis=-1), beyond


def _between(own: Floats, known: Floats, level: float) -> Floats:
    high = int(np.searchsorted(known, level))
    below, above, here = ndtri(known[high - 1]), ndtri(known[high]), ndtri(level)
    share = float((here - below) / (above - below))
    return np.asarray((1.0 - share) * own[..., high - 1] + share * own[..., high])


def masses(levels: Sequence[float]) -> Floats:
    """Probability that each level stands for, (N,), summing to one: half-way to its neighbours.

    >>> masses((0.1, 0.5, 0.9)).round(3).tolist()
    [0.3, 0.4, 0.3]
    """
    inner = (np.asarray(levels)[1:] + np.asarray(levels)[:-1]) / 2.0
    return np.diff(np.concatenate([[0.0], inner, [1.0]]))


def weighted_quantiles(values: Floats, weights: Floats, levels: Sequence[float]) -> Floats:
    """Quantiles of a weighted sample (n, L) along its first axis, (L, N).

    Each value stands at the middle of its share of the weight; linear between them.
    """
    order = np.argsort(values, axis=0, kind="stable")
    ranked = np.take_along_axis(values, order, axis=0)
    share = (weights / weights.sum())[order]
    middle = np.cumsum(share, axis=0) - share / 2.0
    columns = [np.interp(levels, middle[:, step], ranked[:, step]) for step in range(values.shape[1])]
    return np.stack(columns)


def keep_widening(quantiles: Floats, levels: Sequence[float], own_steps: int) -> Floats:
    """Half-widths beyond step L at least go on growing as they did in the second half before it.

    Paths of quantiles are smoother than the series, so a checkpoint that reads them back expects too
    little of what follows, and its intervals stop widening. With w the mean width of the 80 %
    interval over a quarter of the L steps, gamma = 2 log(w_4 / w_2) / log(h_4 / h_2), limited to
    [0, 1]: one for a random walk, zero where widths have settled. The half-width at step h > L is at
    least that of the last quarter times ``(h / h_4)^(gamma / 2)``.

    Parameters
    ----------
    quantiles
        (H, N) in increasing order.
    levels
        (N,)
    own_steps
        L
    """
    if len(quantiles) <= own_steps:
        return quantiles
    low, high = (at_levels(quantiles[:own_steps], levels, (tau,))[0][:, 0] for tau in (0.1, 0.9))
    second, last = _quarter(own_steps, 2), _quarter(own_steps, 4)
    h_2, h_4 = (float(np.mean(np.arange(own_steps)[part] + 1)) for part in (second, last))
    w_2, w_4 = (float((high - low)[part].mean()) for part in (second, last))
    gamma = 2.0 * np.log(w_4 / w_2) / np.log(h_4 / h_2) if min(w_2, w_4) > 0 and h_4 > h_2 else 1.0
    growth = (np.arange(own_steps, len(quantiles)) + 1.0) / h_4
    median = quantiles[:, [int(np.argmin(np.abs(np.asarray(levels) - 0.5)))]]
    off = quantiles - median
    floor = off[:own_steps][last].mean(axis=0) * growth[:, None] ** (float(np.clip(gamma, 0.0, 1.0)) / 2.0)
    out = quantiles.copy()
    wider = np.where(np.abs(floor) > np.abs(off[own_steps:]), floor, off[own_steps:])
    out[own_steps:] = median[own_steps:] + wider
    return out


def _quarter(steps: int, which: int) -> slice:
    """One of the four quarters of the steps, 1 to 4, never empty."""
    start = steps * (which - 1) // 4
    return slice(start, max(start + 1, steps * which // 4))
