"""Rates of drift alarms, and what the adaptive width costs and brings, on simulated returns.

Prints the two tables of docs/rollout.md. Seeds are fixed. The drift table takes the detector as it is
shipped, and beside it what nothing can beat: `reachable` says how.

    python benchmarks/live_rules.py [--paths 250] [--reference 2000] [--only drift]
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

BEFORE, AFTER = 100, 30
"""Quiet sessions of the watched year before the volatility doubles, and those in which it is to be found."""
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


def drift_rates(bed: str, paths: int, reference: int) -> tuple[float, float]:
    """Share of years with a false alarm, and of doublings found within 30 sessions."""
    quiet = returns(bed, paths, reference + YEAR, 1)
    false = np.mean([any(w.alarm is not None for w in watch(x, reference)) for x in quiet])
    broken = returns(bed, paths, reference + BEFORE + AFTER, 2)
    broken[:, reference + BEFORE :] *= 2.0
    alarms = [watch(x, reference)[0].alarm for x in broken]
    return float(false), float(np.mean([a is not None for a in alarms if a is None or a >= BEFORE]))


def log_density(squares: Floats, variance: Floats, nu: float) -> Floats:
    """Of Student-t values with their variance, but for a constant; of Gaussian ones where nu is infinite."""
    if np.isinf(nu):
        return -0.5 * (np.log(variance) + squares / variance)
    return -0.5 * np.log(variance) - (nu + 1) / 2 * np.log1p(squares / (variance * (nu - 2)))


def evidence(x: Floats, now: Floats, setting: tuple[float, float, float], every: int) -> Floats:
    """(n, N) log likelihood ratios of a doubling, summed over breaks in the last 30 sessions.

    With `every` 0 the one break is at the first value: the ratio of Neyman and Pearson.
    """
    a, b, nu = setting
    breaks = (AFTER // every if every else 1, x.shape[1])
    ratios, inside, out = np.full(breaks, -np.inf), np.ones(breaks), np.empty(x.shape)
    for t, squares in enumerate(x**2):
        if t == 0 or (every and t % every == 0):
            place = t // every % breaks[0] if every else 0
            ratios[place], inside[place] = 0.0, now
        ratios += log_density(squares, 4.0 * inside, nu) - log_density(squares, now, nu)
        inside = (1 - a - b) + a * squares / 4.0 + b * inside
        now = (1 - a - b) + a * squares + b * now
        out[t] = np.logaddexp.reduce(ratios, axis=0)
    return out


def reachable(bed: str, rate: float, paths: int = 2000) -> tuple[float, float]:
    """Doublings found within 30 sessions by who knows all parameters, at a rate of false alarms a year.

    First with the break unknown, by the sum of Shiryaev and Roberts; then with its session known and only
    whether it came in question: the likelihood ratio over those 30 sessions, at the level that 30 sessions
    have of a year. By the lemma of Neyman and Pearson no rule of that level finds more.
    """
    setting = BEDS[bed] or (0.0, 0.0, np.inf)
    a, b, _ = setting
    path, now = returns(bed, paths, YEAR + AFTER + BEFORE, 4).T, np.ones(paths)
    for squares in path[:BEFORE] ** 2:  # until the start is forgotten
        now = (1 - a - b) + a * squares + b * now
    year, late, state = path[BEFORE : BEFORE + YEAR], path[-AFTER:], now.copy()
    threshold = np.quantile(evidence(year, now, setting, 2).max(axis=0), 1 - rate)
    broken = year[: BEFORE + AFTER].copy()
    broken[BEFORE:] *= 2.0
    over = evidence(broken, now, setting, 2) > threshold
    quiet = ~over[:BEFORE].any(axis=0)
    for squares in year**2:
        state = (1 - a - b) + a * squares + b * state
    level = 1 - (1 - rate) ** (AFTER / YEAR)
    critical = np.quantile(evidence(late, state, setting, 0)[-1], 1 - level)
    known = evidence(2.0 * late, state, setting, 0)[-1] > critical
    return float(over[BEFORE:].any(axis=0)[quiet].mean()), float(known.mean())


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


def print_adaptive() -> None:
    for bed in ("Gaussian", "GARCH-t 0.06 0.92 6"):
        for slow in (False, True):
            for steps in (7, 30):
                for broken in (False, True):
                    ratio, before, after = adaptive_rates(bed, steps, slow=slow, broken=broken)
                    what = f"{'slow' if slow else 'EWMA'} {bed}, {steps} steps, "
                    what += "after a break" if broken else "stationary"
                    print(f"{what}: score {ratio:.3f}, coverage {before:.3f} to {after:.3f}")


def print_drift(paths: int, reference: int) -> None:
    for bed in BEDS:
        false, found = drift_rates(bed, paths, reference)
        best, bound = reachable(bed, 0.10)
        print(
            f"{bed}: false alarms {false:.1%} a year, doublings found {found:.0%}; parameters known and "
            f"10 % false alarms: {best:.0%}, the session of the break known, too: {bound:.0%}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--paths", type=int, default=250, help="paths per bed of the drift table")
    parser.add_argument("--reference", type=int, default=2000, help="sessions before the watched year")
    parser.add_argument("--only", choices=("drift", "adaptive"))
    asked = parser.parse_args()
    if asked.only != "drift":
        print_adaptive()
    if asked.only != "adaptive":
        print_drift(asked.paths, asked.reference)


if __name__ == "__main__":
    main()
