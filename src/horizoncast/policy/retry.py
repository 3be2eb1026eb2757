"""When a run that failed, or found nothing new, is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from horizoncast.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TickLimits:
    """What a tick may cost.

    Parameters
    ----------
    run_minutes
        Minutes after which a run is ended.
    retry_minutes
        Minutes between two attempts at one due moment.
    """

    run_minutes: float = 120.0
    retry_minutes: float = 30.0

    def __post_init__(self) -> None:
        if not 0 < self.run_minutes <= 24 * 60 or not self.retry_minutes >= 0:
            raise ConfigError(
                "tick: run_minutes in (0, 1440], retry_minutes at least 0",
                value=(self.run_minutes, self.retry_minutes),
            )


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """The newest attempt at a due moment.

    Parameters
    ----------
    due, at
        The moment, and when it was tried, UTC.
    exit_code
        How that ended.
    """

    due: datetime
    at: datetime
    exit_code: int


def may_try(attempt: Attempt | None, due: datetime, now: datetime, limits: TickLimits) -> bool:
    """Whether a due moment is tried now.

    An attempt in the future was made before the clock was set back: it keeps nobody waiting.
    """
    if attempt is None or attempt.due != due or attempt.at > now:
        return True
    return now - attempt.at >= timedelta(minutes=limits.retry_minutes)
