"""What the fork server imports once, so that every member's process starts with it.

The pages are shared between the children: four services start twenty processes and pay for these
imports once. torch and chronos are not here; they are loaded by the one child that needs them.

The objects made so far are then set aside from the garbage collector: a collection in a child would
write to every page that holds one, and each such page would be copied (0.1 s in each child).
"""

from __future__ import annotations

import gc

import arch.univariate  # noqa: F401
import holidays.countries
import holidays.financial  # noqa: F401
import numpy  # noqa: F401
import scipy.optimize
import scipy.signal
import scipy.special  # noqa: F401
import sklearn.ensemble  # noqa: F401
import statsmodels.tsa.arima.model  # noqa: F401

import horizoncast.models.arima_garch
import horizoncast.models.child
import horizoncast.models.naive
import horizoncast.models.random_forest
import horizoncast.models.var  # noqa: F401

gc.collect()
gc.freeze()
