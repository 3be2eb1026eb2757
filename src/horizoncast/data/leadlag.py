"""Lead and lag of covariates: whose changes move with the target's, and whether a date lies.

An official rate dated t that averages the trades of t - 1 makes the covariates of t - 1 look like
oracles. Correlations of changes at lags -3 to 3 show it before a model takes it for skill.

Letters in shapes: T sessions, L lags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from horizoncast.series import Covariate, Floats, Series

LAGS = (-3, -2, -1, 0, 1, 2, 3)

LEAST = 0.1
"""A correlation below this moves nobody's forecast, however significant."""

STRONG = 0.2
"""From here on, a covariate of an earlier session that moves with a price is too good to be true."""


class Dating(StrEnum):
    """What the correlations say about dates."""

    NONE = "none"
    SAME_SESSION = "same_session"
    TRAP = "trap"
    LEADS = "leads"
    EXPLAINED = "explained"
    FOLLOWS = "follows"


@dataclass(frozen=True, kw_only=True)
class LeadLag:
    """One covariate beside the target.

    Parameters
    ----------
    name
        The covariate.
    correlations
        (L,) rank correlation of the target's change at t with the covariate's at t - lag, for `LAGS`.
    sessions
        Pairs of changes at lag 0.
    first_used
        Smallest lag that a one-step forecast uses: publication lag + dating offset + 1.
    peak
        Lag of the largest correlation, None when none counts.
    verdict, text
        What follows, as a code and in words.
    """

    name: str
    correlations: tuple[float, ...]
    sessions: int
    first_used: int
    peak: int | None
    verdict: Dating
    text: str


def lead_lag(series: Series) -> tuple[LeadLag, ...]:
    """Every covariate that is not known in advance, by its own dates."""
    return tuple(_one(series, covariate) for covariate in series.covariates if not covariate.known_future)


def _one(series: Series, covariate: Covariate) -> LeadLag:
    target = np.where(series.observed_mask, series.values, np.nan)
    own, other = _changes(target), _changes(covariate.values[: len(series)])
    found = [_correlation(own, other, lag) for lag in LAGS]
    values = np.array([value for value, _ in found])
    sessions = found[LAGS.index(0)][1]
    first_used = covariate.publication_lag + series.dating_offset + 1
    bound = max(LEAST, 3.0 / np.sqrt(max(sessions, 1)))
    counts = np.where(np.isfinite(values) & (np.abs(values) > bound), np.abs(values), 0.0)
    peak = LAGS[int(np.argmax(counts))] if counts.any() else None
    strength = values[LAGS.index(peak)] if peak is not None else float("nan")
    verdict, text = _judge(covariate.name, series.dating_offset, peak, float(strength), first_used)
    return LeadLag(
        name=covariate.name,
        correlations=tuple(float(v) for v in values),
        sessions=sessions,
        first_used=first_used,
        peak=peak,
        verdict=verdict,
        text=text,
    )


def _judge(name: str, offset: int, peak: int | None, r: float, first_used: int) -> tuple[Dating, str]:
    if peak is None:
        return Dating.NONE, f"{name} moves with the target at no lag"
    if peak == 0:
        return Dating.SAME_SESSION, f"{name} moves with the target in the same session (r = {r:.2f})"
    if peak < 0:
        text = (
            f"the target of {_sessions(-peak)} before moves with {name} (r = {r:.2f}): {name} may be dated "
            "late, or published late; it cannot help"
        )
        return Dating.FOLLOWS, text
    seen = f"{name} of {_sessions(peak)} before moves with the target (r = {r:.2f})"
    if peak < first_used:
        kept = f"dating_offset = {offset}" if offset else f"publication_lag = {first_used - 1}"
        text = f"{seen}: explained by {kept}, which hides it from a one-step forecast"
        return Dating.EXPLAINED, text
    if abs(r) < STRONG:
        return Dating.LEADS, f"{seen}: it may truly lead; a backtest will tell"
    text = f"{seen}, more than of its own session, and a one-step forecast uses it: same-day information?"
    return Dating.TRAP, text


def trap_text(leads: Sequence[LeadLag], dating_offset: int) -> str:
    """What to do about covariates that all look like the same trap."""
    names = ", ".join(lead.name for lead in leads)
    peak = leads[0].peak or 1
    return (
        f"dating trap: {names} of {_sessions(peak)} before move with the target, more than those of its own "
        "session, and a one-step forecast uses them. Prices are seldom that predictable: is the target dated "
        f"{_sessions(peak)} after the trades it averages, as an official rate is? Then this is same-day "
        f"information: set dating_offset = {dating_offset + peak}, or publication_lag of these covariates"
    )


def _sessions(count: int) -> str:
    return "one session" if count == 1 else f"{count} sessions"


def _changes(values: Floats) -> Floats:
    """(T,) change into each session, in logs where all values are positive; NaN beside a gap."""
    seen = values[np.isfinite(values)]
    z = np.log(values) if len(seen) and (seen > 0).all() else values
    return np.concatenate([[np.nan], np.diff(z)])


def _correlation(own: Floats, other: Floats, lag: int) -> tuple[float, int]:
    """Spearman's rank correlation, which one wild day does not own, and the pairs behind it."""
    from scipy.stats import rankdata

    shifted = np.full(len(other), np.nan)
    if lag > 0:
        shifted[lag:] = other[:-lag]
    elif lag < 0:
        shifted[:lag] = other[-lag:]
    else:
        shifted = other
    both = np.isfinite(own) & np.isfinite(shifted)
    a, b = rankdata(own[both]), rankdata(shifted[both])
    if both.sum() < 20 or a.std() == 0 or b.std() == 0:
        return float("nan"), int(both.sum())
    return float(np.corrcoef(a, b)[0, 1]), int(both.sum())
