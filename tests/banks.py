"""Banks made by hand, for tests of what is computed on them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from horizoncast.bank import Bank
from horizoncast.horizon import LEVELS, Horizon
from horizoncast.series import Scale

Floats = npt.NDArray[np.float64]
FIRST = np.datetime64("2020-01-01T00:00:00")
DAY = np.timedelta64(86400, "s")


def make_bank(
    median: npt.ArrayLike,
    actuals: npt.ArrayLike,
    *,
    sigma: npt.ArrayLike = 1.0,
    members: Sequence[str] = ("random_walk", "a", "b", "c", "d"),
    stride: int = 5,
    levels: Sequence[float] = LEVELS,
    scale: Scale = Scale.LEVEL,
    asked: npt.ArrayLike | None = None,
    nonnegative: bool = False,
) -> Bank:
    """Gaussian members: (K, W, H) medians, spread ``sigma sqrt(h)``, (W, H) actuals, one session a day."""
    centre = np.asarray(median, dtype=np.float64)
    count, windows, steps = centre.shape
    root = np.sqrt(np.arange(1, steps + 1))
    spread = np.broadcast_to(np.asarray(sigma, dtype=np.float64).reshape(-1, 1, 1), (count, 1, 1)) * root
    quantiles = centre[..., None] + spread[..., None] * norm.ppf(np.asarray(levels))
    cutoffs = FIRST + DAY * stride * np.arange(windows)
    return Bank(
        members=tuple(members[:count]),
        cutoffs=cutoffs,
        ends=cutoffs + DAY * steps,
        horizon=Horizon(steps=steps),
        stride=stride,
        levels=tuple(levels),
        scale=scale,
        quantiles=quantiles,
        actuals=np.array(actuals, dtype=np.float64),
        asked=np.ones((count, windows), dtype=np.bool_) if asked is None else np.array(asked, dtype=np.bool_),
        nonnegative=nonnegative,
    )


def noisy_bank(
    errors: Sequence[float],
    *,
    windows: int = 40,
    steps: int = 7,
    seed: int = 0,
    unit: float = 1.0,
    **kwargs: object,
) -> Bank:
    """Members whose error at lead h is ``errors[k] sqrt(h)`` times independent noise."""
    rng = np.random.default_rng(seed)
    root = np.sqrt(np.arange(1, steps + 1))
    actuals = rng.standard_normal((windows, steps)) * root
    noise = rng.standard_normal((len(errors), windows, steps)) * root
    median = actuals + np.asarray(errors, dtype=np.float64)[:, None, None] * noise
    sigma = unit * np.maximum(np.asarray(errors, dtype=np.float64), 1e-3)
    return make_bank(unit * median, unit * actuals, sigma=sigma, **kwargs)  # type: ignore[arg-type]


def holes(bank: Bank, member: str, at: npt.ArrayLike) -> Bank:
    """The bank with a member's forecasts missing at some cutoffs."""
    from dataclasses import replace

    quantiles = bank.quantiles.copy()
    quantiles[bank.member_index(member), np.asarray(at)] = np.nan
    return replace(bank, quantiles=quantiles)
