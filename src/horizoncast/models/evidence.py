"""How far past losses speak for one way of forecasting against another.

With mean losses L_0 and L_1 at n independent past origins the odds for the second way are ``(L_0 / L_1)^n``
times those beforehand: the posterior under a Laplace likelihood of the loss (for quantiles: Yu & Moyeed 2001)
with its scale at the maximum, ``-n log L``, and exponential weighting by past losses (Vovk 1990).
"""

from __future__ import annotations

import numpy as np

from horizoncast.series import Series

LEAST_WEIGHT = 0.05
"""Weight below which a way is left out."""

EVEN, PRICE = 1.0, 0.0025
"""Odds beforehand; of a season or a growth in a price: left out, unless the past speaks for it."""

_TINY, _SURE = 1e-300, 300.0


def odds(first: float, second: float, independent: float, prior: float = EVEN) -> float:
    """Odds for the second of two ways by their mean losses at so many independent origins.

    >>> odds(1.0, 0.8, 2.0), odds(1.0, 1.0, 50.0), odds(0.0, 0.0, 4.0)
    (1.5625, 1.0, 1.0)
    """
    evidence = independent * np.log(max(first, _TINY) / max(second, _TINY))
    return prior * float(np.exp(np.clip(evidence, -_SURE, _SURE)))


def prior_odds(series: Series) -> float:
    """Odds beforehand of a season or a growth of a series."""
    return PRICE if series.price_like else EVEN
