"""Stages of the training that made the checkpoint that ships."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A part of a training.

    Parameters
    ----------
    until
        Step it ends before.
    rate, fall
        Learning rate of AdamW; steps between which it falls along a cosine to a hundredth, None for flat.
    pull
        Weight of the distance from the random walk on pure walks. A network this small tells prices from
        seasons slowly: with a weak pull its intervals are too narrow on the one and wide on the other.
    lengths
        Context lengths with their shares.
    kinds
        Kinds of series with their shares; the first are the pure random walks.
    two_cycles
        How much more often than in the table of calendars a series has two cycles, such as a day and a week.
    wander, days
        See `horizoncast.models.chronos.pretrain.synthetic.Synthesiser`.
    """

    until: int
    pull: float
    lengths: tuple[tuple[int, float], ...]
    kinds: tuple[tuple[str, float], ...]
    rate: float = 1e-3
    fall: tuple[int, int] | None = None
    two_cycles: float = 1.0
    wander: float = 0.0
    days: float = 0.0


FIRST = Stage(
    until=2_500,
    pull=0.3,
    lengths=((48, 0.12), (96, 0.22), (144, 0.2), (192, 0.14), (264, 0.1), (384, 0.1), (528, 0.12)),
    kinds=(
        ("prices", 0.22),
        ("structured", 0.5),
        ("levels", 0.09),
        ("reverting", 0.05),
        ("oscillations", 0.04),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
)
SECOND = Stage(
    until=4_750,
    fall=(2_500, 9_000),
    pull=2.0,
    lengths=((48, 0.1), (96, 0.18), (144, 0.17), (192, 0.12), (264, 0.08), (384, 0.15), (528, 0.2)),
    kinds=(
        ("prices", 0.28),
        ("structured", 0.46),
        ("levels", 0.08),
        ("reverting", 0.04),
        ("oscillations", 0.04),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
    two_cycles=3.0,
)
THIRD = replace(
    SECOND,
    until=6_500,
    lengths=((48, 0.12), (96, 0.22), (144, 0.2), (192, 0.11), (264, 0.06), (384, 0.12), (528, 0.17)),
    wander=0.6,
)
FOURTH = replace(
    THIRD,
    until=10_750,
    rate=7e-4,
    fall=(6_500, 10_750),
    lengths=((48, 0.14), (96, 0.24), (144, 0.22), (192, 0.1), (264, 0.05), (384, 0.1), (528, 0.15)),
    kinds=(
        ("prices", 0.26),
        ("structured", 0.5),
        ("levels", 0.08),
        ("reverting", 0.03),
        ("oscillations", 0.03),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
    wander=0.85,
)
FIFTH = replace(
    FOURTH,
    until=13_250,
    rate=5e-4,
    fall=(10_750, 13_250),
    lengths=((48, 0.2), (96, 0.22), (144, 0.13), (192, 0.07), (264, 0.04), (384, 0.12), (528, 0.22)),
    two_cycles=5.0,
    wander=0.95,
)
SIXTH = replace(
    FIFTH,
    until=22_250,
    rate=7e-4,
    fall=(13_250, 22_250),
    lengths=((48, 0.17), (96, 0.19), (144, 0.12), (192, 0.07), (264, 0.05), (384, 0.12), (528, 0.28)),
    kinds=(
        ("prices", 0.23),
        ("structured", 0.53),
        ("levels", 0.08),
        ("reverting", 0.03),
        ("oscillations", 0.03),
        ("counts", 0.05),
        ("coloured", 0.03),
        ("steps", 0.02),
    ),
    two_cycles=5.0,
    days=0.7,
)

SHIPPED = (FIRST, SECOND, THIRD, FOURTH, FIFTH, SIXTH)
