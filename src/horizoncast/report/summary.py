"""The numbers of the short table at the end of a run, and rounding to what is known."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from horizoncast.forecast import Forecast
from horizoncast.metrics import Metric, skill
from horizoncast.store.plain import date_texts

if TYPE_CHECKING:
    from horizoncast.engine import EngineResult

ENSEMBLE = "ensemble"
"""As the engine calls it, which is not imported to round a number; a test compares the two."""

NOT_YET_KNOWN = "not yet known"
REFERENCE = "random_walk"


@dataclass(frozen=True, kw_only=True)
class RunSummary:
    """What a person reads after a run; numbers in the unit at the last step.

    Parameters
    ----------
    series, unit, service, horizon
        What was forecast; H in sessions.
    cutoff, last_date
        Last observation and date of step H, as text.
    point, interval_80, interval_95
        At step H; an interval is None when the run's levels lack its ends.
    skill
        ``1 - RMSE / RMSE of the random walk`` over replayed decisions, None while not yet known.
    verdict
        What may be said of the ensemble against the best naive.
    weights
        Members with weight, heaviest first.
    kappa, width
        Skill factor and width factor.
    status, reasons
        What became of the run, and why.
    """

    series: str
    unit: str
    service: str
    horizon: int
    cutoff: str
    last_date: str
    point: float
    interval_80: tuple[float, float] | None
    interval_95: tuple[float, float] | None
    skill: float | None
    verdict: str
    weights: tuple[tuple[str, float], ...]
    kappa: float
    width: float
    status: str
    reasons: tuple[str, ...]

    @property
    def spread(self) -> float:
        """Width that numbers are rounded to: the 80 % interval's, else the 95 %'s, else NaN."""
        interval = self.interval_80 or self.interval_95
        return float("nan") if interval is None else interval[1] - interval[0]

    @property
    def point_text(self) -> str:
        """Point forecast with one digit more than its interval."""
        return rounded(self.point, self.spread, extra=1)

    @property
    def interval_80_text(self) -> str:
        """As in ``17.6 to 19.3``."""
        return interval_text(self.interval_80)

    @property
    def interval_95_text(self) -> str:
        """As in ``17.1 to 19.9``."""
        return interval_text(self.interval_95)

    @property
    def skill_text(self) -> str:
        """As in ``+1.2 %``, or ``not yet known``."""
        return NOT_YET_KNOWN if self.skill is None else f"{100 * self.skill:+.1f} %"

    @property
    def weights_text(self) -> str:
        """As in ``arima_garch 41 %, var 35 %``."""
        return ", ".join(f"{name} {100 * weight:.0f} %" for name, weight in self.weights)

    @property
    def sentence(self) -> str:
        """The finding in one line: the title of the fan chart."""
        text = f"{self.series}, {self.horizon} sessions to {self.last_date}: {self.point_text}"
        return text if self.interval_80 is None else f"{text}, 80 % interval {self.interval_80_text}"

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Label and text of each line of the table."""
        status = self.status if not self.reasons else f"{self.status} ({'; '.join(self.reasons)})"
        return (
            ("series", f"{self.series} [{self.unit}]"),
            ("forecast for", f"{self.last_date} ({self.horizon} sessions after {self.cutoff})"),
            ("point", self.point_text),
            ("80 % interval", self.interval_80_text),
            ("95 % interval", self.interval_95_text),
            ("skill against the random walk", self.skill_text),
            ("verdict", self.verdict),
            ("weights", self.weights_text),
            ("skill factor kappa", f"{self.kappa:.2f}"),
            ("width factor", f"{self.width:.2f}"),
            ("status", status),
        )


def summarise(result: EngineResult) -> RunSummary:
    """The short table's numbers."""
    forecast = result.forecast
    dates = date_texts(np.concatenate([[forecast.cutoff], forecast.dates]))
    used = sorted(((m.name, m.weight) for m in result.members if m.weight > 0), key=lambda w: (-w[1], w[0]))
    gain = skill(result.score(ENSEMBLE, Metric.RMSE), result.score(REFERENCE, Metric.RMSE))
    return RunSummary(
        series=forecast.series,
        unit=forecast.unit,
        service=result.config.service,
        horizon=result.horizon.steps,
        cutoff=dates[0],
        last_date=dates[-1],
        point=float(forecast.point[-1]),
        interval_80=_interval(forecast, 0.8),
        interval_95=_interval(forecast, 0.95),
        skill=gain if math.isfinite(gain) else None,
        verdict=next((v.text for v in result.verdicts if v.subject == ENSEMBLE), NOT_YET_KNOWN),
        weights=tuple(used),
        kappa=result.decision.kappa,
        width=result.decision.width,
        status=str(result.status),
        reasons=result.status_reasons,
    )


def rounded(value: float, width: float, *, extra: int = 0) -> str:
    """A number with the digits that an uncertainty of `width` leaves: two of the width's own.

    Parameters
    ----------
    value, width
        Same unit; a width that is zero or unknown leaves six significant digits.
    extra
        More digits: 1 for a point forecast between rounded ends.

    >>> rounded(18.4237, 1.7), rounded(18.4237, 1.7, extra=1), rounded(9512.3, 812.0)
    ('18.4', '18.42', '9510')
    """
    if not math.isfinite(value):
        return "unknown"
    if not math.isfinite(width) or width <= 0 or max(abs(value), width) > 1e300:
        return f"{value:.6g}"
    decimals = 1 - math.floor(math.log10(width)) + extra
    shown = round(value, decimals) + 0.0  # + 0.0 turns -0.0 into 0.0
    if decimals > 8 or abs(shown) >= 1e12:
        digits = max(0, decimals + math.floor(math.log10(abs(shown)))) if shown else 0
        return f"{shown:.{min(digits, 17)}e}"
    return f"{shown:.{max(0, decimals)}f}"


def interval_text(interval: tuple[float, float] | None) -> str:
    """Both ends rounded to the interval's own width.

    >>> interval_text((17.5912, 19.3044))
    '17.6 to 19.3'
    """
    if interval is None:
        return "not among the levels"
    low, high = interval
    return f"{rounded(low, high - low)} to {rounded(high, high - low)}"


def _interval(forecast: Forecast, coverage: float) -> tuple[float, float] | None:
    tail = round((1.0 - coverage) / 2.0, 6)
    if tail not in forecast.levels or round(1.0 - tail, 6) not in forecast.levels:
        return None
    low, high = forecast.interval(coverage)
    return float(low[-1]), float(high[-1])
