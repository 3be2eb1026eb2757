"""What ``context_length = "auto"`` chose in a run, told in its record."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from horizoncast.calendar import as_stamp
from horizoncast.engine import EngineResult
from horizoncast.errors import StoreError
from horizoncast.forecast import Forecast
from horizoncast.models.chronos.chosen import Chosen, read_chosen
from horizoncast.store.records import EventRecord

MEMBER = "chronos"


def context_events(folder: Path, result: EngineResult, service: str) -> tuple[EventRecord, ...]:
    """The event ``chronos_context`` where the member chose its context itself; none where it did not.

    Parameters
    ----------
    folder
        Where the member leaves traces.
    """
    live = next((m.live for m in result.members if m.name == MEMBER), None)
    if not isinstance(live, Forecast):
        return ()
    steps, digest = result.horizon.steps, live.identity.digest
    try:
        chosen = read_chosen(folder, result.series, steps, digest, service=service)
    except StoreError as error:
        return (EventRecord(code="context_refused", message=str(error), severity="warning"),)
    if chosen is None:
        return ()
    text = _told(result, chosen)
    return (EventRecord(code="chronos_context", message=text, severity="info"),)


def _told(result: EngineResult, chosen: Chosen) -> str:
    last = as_stamp(result.series.last)
    past = Counter(context for cutoff, context in chosen.contexts.items() if cutoff != last)
    counts = ", ".join(f"{context} at {count}" for context, count in sorted(past.items()))
    read = chosen.contexts.get(last, "an unknown number of")
    return (
        f"context_length auto: {chosen.source} read {read} sessions at "
        f"{result.series.calendar.text(last)}, {chosen.default} unless another does better"
        + (f"; of the past cutoffs computed in these runs {counts}" if counts else "")
    )
