"""The drift figure of a run: how unlike its history the newest window is, to a checkpoint's encoder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from horizoncast.errors import StoreError
from horizoncast.models.chronos.embedding import WINDOW
from horizoncast.models.chronos.trace import read_trace
from horizoncast.policy.novelty import Novelty, novelty
from horizoncast.series import Series
from horizoncast.store.records import EmbeddingRecord, EventRecord

RECENT = 30
"""Sessions for which an alarm is told again: later it is history."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The figure for the record, and what people should be told.

    Parameters
    ----------
    record
        None where the member left no vectors, or the history is too short to tell.
    events
        An alarm, or a damaged file.
    """

    record: EmbeddingRecord | None = None
    events: tuple[EventRecord, ...] = ()


def judge_embedding(folder: Path, series: Series, *, alarms: bool = True) -> Judged:
    """Judge the newest window by the vectors that the member `chronos` left of these rows.

    Parameters
    ----------
    folder
        Where traces lie.
    series
        As forecast.
    alarms
        False tells no alarm: a run as of a past date.
    """
    try:
        trace = read_trace(folder, series)
    except StoreError as error:
        told = EventRecord(code="embedding_refused", message=str(error), severity="warning")
        return Judged(events=(told,))
    if trace is None:
        return Judged()
    found = novelty(trace.vectors, trace.ordinals, WINDOW)
    if found is None:
        return Judged()
    record = EmbeddingRecord(
        source=trace.source,
        distance=found.distance,
        percentile=found.percentile,
        windows=found.windows,
        years=found.years,
    )
    events = _alarm(series, found) if alarms else ()
    return Judged(record=record, events=events)


def _alarm(series: Series, found: Novelty) -> tuple[EventRecord, ...]:
    ago = None if found.alarm is None else int(series.ordinals[-1]) - found.alarm
    if ago is None or ago > RECENT:
        return ()
    text = (
        f"windows of {WINDOW} sessions of {series.name} look unlike its history, since {ago} sessions: two "
        f"of this year lie farther from it than any of the {found.windows} of the {found.years} years before"
    )
    return (EventRecord(code="drift_embedding", message=text, severity="warning"),)
