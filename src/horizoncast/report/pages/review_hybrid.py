"""What a review says of a service's hybrid: one line, on the page and on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

from horizoncast.report.pages.review_tables import words_of
from horizoncast.report.review.model import DecisionPoint, HybridPoint
from horizoncast.report.review.rounding import percent
from horizoncast.report.texts import text
from horizoncast.store.hybrid_record import HYBRID

_WEEK = timedelta(days=7)


def hybrid_line(decisions: Sequence[DecisionPoint], language: str) -> str:
    """State, mean weight of chronos and share of doubt, beside those of the week before.

    Parameters
    ----------
    decisions
        Oldest first.

    Returns
    -------
    str
        Empty where the newest decision knows of no hybrid.
    """
    now = decisions[-1].hybrid if decisions else None
    if now is None:
        return ""
    state = words_of("common.state", now.state, language)
    name = f"{HYBRID} ({state})" if now.state else HYBRID
    if now.reason:
        return text("review.hybrid.unmade", language, name=name, reason=now.reason)
    shares = _shares(now, language)
    line = (
        text("review.hybrid.undoubted", language, name=name, share=shares["share"])
        if now.doubt is None
        else text("review.hybrid.line", language, name=name, **shares)
    )
    earlier = week_before(decisions)
    if earlier is None or earlier.hybrid is None or earlier.hybrid.reason:
        return line
    then = _shares(earlier.hybrid, language)
    return text("review.hybrid.before", language, line=line, as_of=earlier.as_of, **then)


def week_before(decisions: Sequence[DecisionPoint]) -> DecisionPoint | None:
    """The newest decision at least a week before the newest of all, oldest first; None without one."""
    latest = date.fromisoformat(decisions[-1].as_of[:10]) - _WEEK
    found = [decision for decision in decisions if date.fromisoformat(decision.as_of[:10]) <= latest]
    return found[-1] if found else None


def _shares(hybrid: HybridPoint, language: str) -> dict[str, str]:
    unknown = text("common.unknown", language)
    values = {"share": hybrid.weight, "doubt": hybrid.doubt}
    return {name: unknown if value is None else f"{percent(value)}\u00a0%" for name, value in values.items()}
