"""Which member may start now, so that what runs together stays within the memory there is.

A member claims the largest peak its last runs were measured at, and a margin; one that was never
measured claims its cap. Dear members start first, and smaller ones beside them where they fit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

MARGIN = 1.2
"""Peaks of a member vary from run to run by less than this."""
RESERVE_MB = 250.0
"""For the run itself: reading, deciding and drawing take about this much beyond what it holds already."""
LEAST_CAP_MB = 200


@dataclass(frozen=True, kw_only=True)
class MemoryPlan:
    """Memory to share out among members.

    Parameters
    ----------
    free_mb
        MiB that can be allocated now, the container's limit included.
    peaks
        Measured peak by member, MiB; members without one are missing.
    needed
        Members that are never refused.
    """

    free_mb: float
    peaks: Mapping[str, float] = field(default_factory=dict)
    needed: Collection[str] = ()

    @property
    def budget_mb(self) -> float:
        """What members may take together."""
        return max(0.0, self.free_mb - RESERVE_MB)

    def claim(self, member: str, cap_mb: float) -> float:
        """What a member is expected to take at most."""
        peak = self.peaks.get(member)
        return cap_mb if peak is None else MARGIN * peak

    def cap(self, cap_mb: int) -> int:
        """A member's cap, lowered to what is there: a failed allocation costs it alone, a kill anybody."""
        return max(LEAST_CAP_MB, min(cap_mb, int(self.budget_mb)))

    def refusal(self, member: str) -> str:
        """Why a member does not start at all; empty when it may.

        Only a measured peak refuses: what was never measured runs under its cap.
        """
        peak = self.peaks.get(member)
        if peak is None or member in self.needed or peak <= self.budget_mb:
            return ""
        return f"its last runs took {peak:.0f} MiB, {self.budget_mb:.0f} MiB are free for members"


def start_order(claims: Mapping[str, float]) -> list[str]:
    """Dear members first, so that the small ones fill the room beside them; ties in the order given.

    >>> start_order({"naive": 90.0, "forest": 400.0, "garch": 400.0})
    ['forest', 'garch', 'naive']
    """
    return sorted(claims, key=lambda name: -claims[name])


def next_start(
    waiting: Sequence[str],
    running: Collection[str],
    claims: Mapping[str, float],
    budget_mb: float,
    *,
    apart: Collection[str] = (),
) -> str | None:
    """The first waiting member that fits beside those running; with none running, simply the first.

    Parameters
    ----------
    apart
        Members of which never two run at once, however much memory there is.

    Examples
    --------
    >>> claims = {"big": 900.0, "mid": 700.0, "small": 100.0}
    >>> next_start(["mid", "small"], ["big"], claims, 1200.0)
    'small'
    """
    if not running:
        return waiting[0] if waiting else None
    left = budget_mb - sum(claims[name] for name in running)
    taken = any(name in apart for name in running)
    return next((n for n in waiting if claims[n] <= left and not (taken and n in apart)), None)
