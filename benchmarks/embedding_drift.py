"""Rates of the embedding drift alarm on simulated series, by a real encoder.

Stationary series give the rate of false alarms a year; series that change their ways half a year before the
end say how often that is found. Prints the table of docs/embeddings.md. Seeds are fixed.

    python benchmarks/embedding_drift.py --model FOLDER [--paths 100] [--years 10]
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import numpy.typing as npt

from horizoncast.models.chronos.embedding import WINDOW
from horizoncast.models.chronos.encoder import ChronosEncoder
from horizoncast.models.chronos.likeness import windows_at
from horizoncast.models.chronos.trace import trace_rows
from horizoncast.policy.drift import YEAR
from horizoncast.policy.novelty import novelty

Floats = npt.NDArray[np.float64]

KINDS = ("random walk", "GARCH-t walk", "AR(1) 0.9", "weekly season")


def path(kind: str, n: int, rng: np.random.Generator) -> Floats:
    """(n,) one stationary way of moving."""
    if kind == "random walk":
        return np.cumsum(rng.standard_normal(n))
    if kind == "GARCH-t walk":
        shocks, now = rng.standard_t(6, size=n) * np.sqrt(4 / 6), 1.0
        out = np.zeros(n)
        for t in range(n):
            out[t] = np.sqrt(now) * shocks[t]
            now = 0.02 + 0.06 * out[t] ** 2 + 0.92 * now
        return np.cumsum(out)
    if kind == "AR(1) 0.9":
        out = np.zeros(n)
        for t in range(1, n):
            out[t] = 0.9 * out[t - 1] + rng.standard_normal()
        return out
    return 2 * np.sin(2 * np.pi * np.arange(n) / 5) + rng.standard_normal(n)


def changed(first: str, then: str, n: int, at: int, rng: np.random.Generator) -> Floats:
    """(n,) a path that moves in another way from row `at` on, without a jump."""
    before, after = path(first, at, rng), path(then, n - at, rng)
    return np.concatenate([before, before[-1] + after - after[0]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--paths", type=int, default=100)
    parser.add_argument("--years", type=int, default=10)
    given = parser.parse_args()
    n = given.years * YEAR
    ordinals = np.arange(n) + 100 * YEAR
    rows, encoder = trace_rows(ordinals), ChronosEncoder(given.model)

    def alarms(make: object) -> list[int | None]:
        out = []
        for seed in range(given.paths):
            values = make(np.random.default_rng(seed))  # type: ignore[operator]
            vectors = encoder.embed(windows_at(values, rows, WINDOW)).vectors
            found = novelty(vectors, ordinals[rows], WINDOW)
            assert found is not None
            out.append(found.alarm)
        return out

    for kind in KINDS:
        found = alarms(lambda rng, kind=kind: path(kind, n, rng))
        print(f"{kind}: false alarms {np.mean([a is not None for a in found]):.1%} of {given.paths} years")
    at = n - YEAR // 2
    for first, then in (
        ("random walk", "AR(1) 0.9"),
        ("random walk", "weekly season"),
        ("weekly season", "AR(1) 0.9"),
    ):
        found = alarms(lambda rng, a=first, b=then: changed(a, b, n, at, rng))
        delays = [a - 100 * YEAR - at for a in found if a is not None and a >= 100 * YEAR + at]
        middle = f", {np.median(delays):.0f} sessions later in the middle" if delays else ""
        print(f"{first}, then {then}: found within half a year {len(delays) / given.paths:.1%}{middle}")


if __name__ == "__main__":
    main()
