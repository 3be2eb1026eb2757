"""Rates of drift alarms, and what the adaptive width costs and brings, on simulated returns.

Prints the two tables of docs/rollout.md. Seeds are fixed.

    python benchmarks/live_rules.py [--paths 500]
"""

from __future__ import annotations

import argparse
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

from horizoncast.policy.drift import YEAR, watch
from horizoncast.validation.adaptive import MIN_MATURED, adaptive_path, rate_for
from horizoncast.validation.calibration import width_factor

Floats = npt.NDArray[np.float64]

REFERENCE = 1000
Z80 = 1.2815515655446004
BEDS = {
    "Gaussian": None,
    "GARCH-t 0.05 0.85 6": (0.05, 0.85, 6.0),
    "GARCH-t 0.06 0.92 6": (0.06, 0.92, 6.0),
    "GARCH-t 0.08 0.90 5": (0.08, 0.90, 5.0),
}


def returns(bed: str, paths: int, n: int, seed: int) -> Floats:
    """(paths, n) returns of unit variance."""
    rng = np.random.default_rng(seed)
    setting = BEDS[bed]
    if setting is None:
        return rng.standard_normal((paths, n))
    a, b, nu = setting
    shocks = rng.standard_t(nu, size=(paths, n + 300)) * np.sqrt((nu - 2) / nu)
    out, now = np.zeros_like(shocks), np.ones(paths)
    for t in range(n + 300):
        out[:, t] = np.sqrt(now) * shocks[:, t]
        now = (1 - a - b) + a * out[:, t] ** 2 + b * now
    return out[:, 300:]


def drift_rates(bed: str, paths: int) -> tuple[float, float]:
    """Share of years with a false alarm, and of doublings found within 30 sessions."""
    quiet = returns(bed, paths, REFERENCE + YEAR, 1)
    false = np.mean([any(w.alarm is not None for w in watch(x, REFERENCE)) for x in quiet])
    broken = returns(bed, paths, REFERENCE + 130, 2)
    broken[:, REFERENCE + 100 :] *= 2.0
    alarms = [watch(x, REFERENCE)[0].alarm for x in broken]
    return float(false), float(np.mean([a is not None for a in alarms if a is None or a >= 100]))


def misses_of(path: Floats, steps: int, stride: int, slow: bool) -> Floats:
    """(W, H) distances of outcomes in 80 % half-widths of bands from past volatility."""
    level = np.concatenate([[0.0], np.cumsum(path)])
    ewma = np.ones(len(path) + 1)
    for t, x in enumerate(path):
        ewma[t + 1] = 0.94 * ewma[t] + 0.06 * x**2
    cutoffs = np.arange(60, len(path) - steps, stride)
    variance = np.array([np.mean(path[max(0, t - 500) : t] ** 2) for t in cutoffs]) if slow else ewma[cutoffs]
    h = np.arange(1, steps + 1)
    moved = np.abs(level[cutoffs[:, None] + h] - level[cutoffs][:, None])
    return np.asarray(moved / (Z80 * np.sqrt(variance[:, None] * h)))


def adaptive_against_pooled(misses: Floats, steps: int, stride: int, scored: int) -> Floats:
    """(4,) interval scores without and with, coverage without and with, of the last `scored` cutoffs."""
    windows, lag = len(misses), -(-steps // stride)
    done = np.maximum(0, np.arange(windows) - lag + 1)
    n_eff = 40 * min(1.0, stride / steps)
    pooled = np.array(
        [width_factor(misses[max(0, d - 40) : d], n_eff, 0.0) if d >= 10 else 1.0 for d in done]
    )
    track = adaptive_path(misses / pooled[:, None], rate=rate_for(steps, stride))
    extra = np.where(done >= MIN_MATURED, track[done], 1.0)
    out = []
    for factor in (pooled, pooled * extra):
        wide = factor[:, None]
        score = 2 * wide + 10 * np.maximum(misses - wide, 0.0)
        out.append((score[-scored:].mean(), (misses <= wide)[-scored:].mean()))
    (s0, c0), (s1, c1) = out
    return np.array([s0, s1, c0, c1])


def adaptive_rates(bed: str, steps: int, *, slow: bool, broken: bool, paths: int = 40) -> tuple[float, ...]:
    """Ratio of interval scores, and coverage without and with."""
    stride, windows, after = 5, 210, 60
    xs = returns(bed, paths, 60 + stride * windows + steps, 3)
    if broken:
        xs[:, 60 + stride * (windows - after) :] *= 2.0
    scored = after if broken else windows - 110
    rows = [adaptive_against_pooled(misses_of(x, steps, stride, slow), steps, stride, scored) for x in xs]
    s0, s1, c0, c1 = np.mean(rows, axis=0)
    return float(s1 / s0), float(c0), float(c1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--paths", type=int, default=500, help="paths per bed of the drift table")
    asked = parser.parse_args()
    for bed in ("Gaussian", "GARCH-t 0.06 0.92 6"):
        for slow in (False, True):
            for steps in (7, 30):
                for broken in (False, True):
                    ratio, before, after = adaptive_rates(bed, steps, slow=slow, broken=broken)
                    what = f"{'slow' if slow else 'EWMA'} {bed}, {steps} steps, "
                    what += "after a break" if broken else "stationary"
                    print(f"{what}: score {ratio:.3f}, coverage {before:.3f} to {after:.3f}")
    for bed in BEDS:
        false, found = drift_rates(bed, asked.paths)
        print(f"{bed}: false alarms {false:.1%} a year, doublings found {found:.0%}")


if __name__ == "__main__":
    main()
