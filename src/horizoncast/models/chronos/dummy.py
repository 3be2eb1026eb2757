"""Series with known parts, to try the components without data."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.settings import DummySettings

Floats = npt.NDArray[np.float64]

_LEVEL = 10.0


def dummy_series(settings: DummySettings) -> tuple[Floats, ...]:
    """Sums of the patterns named, (length,) each: a rise, a sine of random phase, white noise.

    Every series has a slope, an amplitude and a phase of its own: half to one and a half times the
    settings.
    """
    rng = np.random.default_rng(settings.seed)
    time = np.arange(settings.length, dtype=np.float64)
    out = []
    for _ in range(settings.series):
        slope, height = rng.uniform(0.5, 1.5, size=2)
        phase = rng.uniform(0.0, 2.0 * np.pi)
        noise = rng.standard_normal(settings.length)
        parts = {
            "trend": settings.trend * slope * time / 100.0,
            "seasonal": settings.amplitude * height * np.sin(2.0 * np.pi * time / settings.period + phase),
            "noise": settings.noise * noise,
        }
        out.append(_LEVEL + np.sum([parts[name] for name in dict.fromkeys(settings.patterns)], axis=0))
    return tuple(out)
