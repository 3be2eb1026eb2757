"""The series a run reads, and the only way to its rows: ``series.until(cutoff)``."""

from horizoncast.covariate import Covariate, carry_forward
from horizoncast.scale import Scale, choose_scale
from horizoncast.series.core import Bools, Floats, History, Series

__all__ = ["Bools", "Covariate", "Floats", "History", "Scale", "Series", "carry_forward", "choose_scale"]
