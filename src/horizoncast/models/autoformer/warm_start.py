"""Before the first step of descent: the head's best linear guess, in closed form.

The last layer is linear in what is known of a step, so that its median can be started at the ridge
regression of the outcomes, and its widths at the spread of what is left. The held-back windows choose
how much of it, if any; descent starts from there.

Letters in shapes: N origins, H steps, F features of a step, Q levels, n pairs of origin and step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from horizoncast.horizon import LEVELS
from horizoncast.models.autoformer.anchor import Examples, Scaler
from horizoncast.models.autoformer.losses import choose_share, normal_levels, pinball_by_origin

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

_PENALTIES = (1.0, 10.0, 100.0, 1000.0)
_LEADS = 12
_CLIP = 6.0
_FEWEST, _MOST = 12, 60
"""Origins before a stretch, and in it."""
_NARROWEST, _WIDEST = 0.1, 3.0


@dataclass(frozen=True, kw_only=True, eq=False)
class WarmStart:
    """Median ``w f + b`` and width ``exp(level + slope log h)`` in units of the naive's.

    Parameters
    ----------
    weights, constant
        (F,) w and b, of the standardised features.
    level, slope
        Of the log width over the log lead.
    used, penalty
        Features it was fitted on, and the penalty of the regression.
    share
        Part of the way from the naive that its past forecasts support.
    """

    weights: Floats
    constant: float
    level: float
    slope: float
    used: Ints
    penalty: float
    share: float = 1.0

    def again(self, scaler: Scaler, part: Examples) -> WarmStart:
        """The same regression on other examples."""
        known = scaler(part.known).astype(np.float64)
        return replace(_ridge(known, part, self.used, self.penalty), share=self.share)

    def quantiles(self, known: npt.NDArray[np.floating]) -> Floats:
        """(N, H, Q) from the standardised features (N, H, F)."""
        lead = np.log(np.arange(1, known.shape[1] + 1))
        width = np.exp(self.level + self.slope * lead)
        median = known.astype(np.float64) @ self.weights + self.constant
        return np.asarray(median[..., None] + width[:, None] * normal_levels(LEVELS))

    def standardised(self, scaler: Scaler) -> tuple[float, float]:
        """Level and slope of the log width over the log lead as the scaler gives it, the last feature."""
        spread = float(scaler.spread[-1])
        slope = self.slope * spread if np.isfinite(spread) else 0.0
        return self.level + self.slope * float(scaler.mean[-1]), slope


def best_warm_start(
    scaler: Scaler, learn: Examples, held: Examples, *, own: int | None = None
) -> WarmStart | None:
    """The best regression by its forecasts from earlier origins; None where the naive's were better.

    All features or the simple forecasts alone, under several penalties, each fitted three times on what
    precedes a stretch of the window and scored there: three fifths of the window judge, not one.

    Parameters
    ----------
    own
        How many of the first origins are the target's; those of related series only learn, at the end.
    """
    folds = list(_folds(learn, held, len(learn.rows) if own is None else own))
    known = [[scaler(part.known).astype(np.float64) for part in fold] for fold in folds]
    target = np.concatenate([test.target for _, test in folds])
    rows = np.concatenate([test.rows for _, test in folds])
    naive = np.broadcast_to(normal_levels(LEVELS), (*target.shape, len(LEVELS)))
    best, found, answers = float(pinball_by_origin(naive, target).mean()), None, naive
    every = np.arange(known[0][0].shape[2])
    for used in (every[-learn.experts.shape[2] :], every):
        for penalty in _PENALTIES:
            parts = [
                _ridge(before, fold[0], used, penalty).quantiles(after)
                for fold, (before, after) in zip(folds, known, strict=True)
            ]
            quantiles = np.concatenate(parts)
            loss = float(pinball_by_origin(quantiles, target).mean())
            if loss < best:
                best, found, answers = loss, (used, penalty), quantiles
    if found is None:
        return None
    share = choose_share(naive, answers, target, rows)
    whole = _ridge(scaler(learn.known).astype(np.float64), learn, *found)
    return replace(whole, share=share) if share > 0 else None


def _folds(learn: Examples, held: Examples, own: int) -> Iterator[tuple[Examples, Examples]]:
    """What precedes a stretch, purged of outcomes inside it, and the stretch."""
    mine = learn.pick(np.arange(own))
    steps = learn.target.shape[1]
    for start, stop in ((own // 2, 3 * own // 4), (3 * own // 4, own)):
        before = np.flatnonzero(mine.rows + steps <= mine.rows[start])
        if len(before) >= _FEWEST and stop - start >= _FEWEST // 3:
            places = np.arange(start, stop)
            yield mine.pick(before), mine.pick(places[:: max(1, len(places) // _MOST)])
    yield mine, held


def _ridge(known: Floats, learn: Examples, used: Ints, penalty: float) -> WarmStart:
    """Weights of some features; overlapping outcomes count for what they are worth together."""
    steps = learn.target.shape[1]
    leads = np.unique(np.linspace(0, steps - 1, min(_LEADS, steps)).astype(np.int64))
    phi = known[:, leads][..., used].reshape(-1, len(used))
    phi = np.concatenate([phi, np.ones((len(phi), 1))], axis=1)
    target = np.clip(learn.target[:, leads].reshape(-1), -_CLIP, _CLIP).astype(np.float64)
    independent = max(2.0, 2.0 * (np.ptp(learn.rows) + 1) / steps)
    overlap = max(1.0, len(target) / independent)
    gram = phi.T @ phi / overlap
    inverse = np.linalg.inv(gram + penalty * np.eye(len(gram)))
    mean = inverse @ (phi.T @ target) / overlap
    freedom = min(0.8, float(np.trace(inverse @ gram)) * overlap / len(target))
    rest = (target - phi @ mean).reshape(-1, len(leads))
    spread = np.sqrt(np.mean(rest**2, axis=0) / (1.0 - freedom))
    level, slope = _line(np.log(leads + 1.0), np.log(np.clip(spread, _NARROWEST, _WIDEST)))
    weights = np.zeros(known.shape[2])
    weights[used] = mean[:-1]
    return WarmStart(
        weights=weights, constant=float(mean[-1]), level=level, slope=slope, used=used, penalty=penalty
    )


def _line(x: Floats, y: Floats) -> tuple[float, float]:
    """Least-squares intercept and slope."""
    if len(x) < 2:
        return float(y.mean()), 0.0
    slope = float(np.sum((x - x.mean()) * (y - y.mean())) / np.sum((x - x.mean()) ** 2))
    return float(y.mean() - slope * x.mean()), slope
