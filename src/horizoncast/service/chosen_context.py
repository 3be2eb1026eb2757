"""What the member `chronos` chose in a run, its context or a season, told in the run's record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from horizoncast.calendar import as_stamp
from horizoncast.engine import EngineResult
from horizoncast.errors import StoreError
from horizoncast.forecast import Forecast
from horizoncast.models.chronos.chosen import CONTEXT, SEASON, Chosen, read_chosen
from horizoncast.store.records import EventRecord

MEMBER = "chronos"


def choice_events(folder: Path, result: EngineResult, service: str) -> tuple[EventRecord, ...]:
    """The events ``chronos_context`` and ``chronos_season``, each where the member had that choice.

    Parameters
    ----------
    folder
        Where the member leaves traces.
    """
    live = next((m.live for m in result.members if m.name == MEMBER), None)
    if not isinstance(live, Forecast):
        return ()
    steps, digest = result.horizon.steps, live.identity.digest
    events = []
    for kind, tell in ((CONTEXT, _context), (SEASON, _season)):
        try:
            chosen = read_chosen(folder, kind, result.series, steps, digest, service=service)
        except StoreError as error:
            events.append(EventRecord(code=f"{kind}_refused", message=str(error), severity="warning"))
            continue
        if chosen is not None:
            events.append(EventRecord(code=f"chronos_{kind}", message=tell(result, chosen), severity="info"))
    return tuple(events)


def _context(result: EngineResult, chosen: Chosen) -> str:
    last = as_stamp(result.series.last)
    (read,) = chosen.choices.get(last, ("an unknown number of",))
    return (
        f"context_length auto: {chosen.source} read {read} sessions at "
        f"{result.series.calendar.text(last)}, {chosen.default[0]} unless another does better"
        + _past(result, chosen, lambda choice: str(choice[0]))
    )


def _season(result: EngineResult, chosen: Chosen) -> str:
    last = as_stamp(result.series.last)
    choice = chosen.choices.get(last)
    read = "an unknown reading" if choice is None else _reading(*choice)
    past = [own[3] for cutoff, own in chosen.choices.items() if cutoff != last]
    told = f"season: {chosen.source} read {read} at {result.series.calendar.text(last)}"
    if past:
        mean = round(sum(past) / len(past))
        told += f"; at {len(past)} past cutoffs of these runs the series as it is had {mean} % on average"
    return told


def _reading(period: int, seasons: int, weight: int, plain: int) -> str:
    if not period:
        return "the series as it is"
    what = "the last season" if seasons == 1 else f"the mean of the last {seasons} seasons"
    read = f"the difference from {what} of {period} sessions"
    if weight == 100:
        return read
    return f"{read} ({weight} % of the weight) beside the series as it is ({plain} %)"


def _past(result: EngineResult, chosen: Chosen, name: Callable[[tuple[int, ...]], str]) -> str:
    """How often each was chosen at past cutoffs."""
    last = as_stamp(result.series.last)
    past = Counter(choice for cutoff, choice in chosen.choices.items() if cutoff != last)
    counts = ", ".join(f"{name(choice)} at {count}" for choice, count in sorted(past.items()))
    return f"; of the past cutoffs computed in these runs {counts}" if counts else ""
