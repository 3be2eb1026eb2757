"""What changed since the run before: the ingredients of both from the ledger and the engine's result."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from horizoncast.calendar import as_stamp
from horizoncast.engine import EngineResult
from horizoncast.ensemble.change import MEASURES, PARTS, ChangeTable, Ingredients, as_applied, what_changed
from horizoncast.ensemble.records import Decision, DecisionConfig, MemberWeight
from horizoncast.errors import HorizoncastError
from horizoncast.forecast import Flag, Forecast
from horizoncast.policy.states import MemberState
from horizoncast.series import Scale
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import ENSEMBLE, MemberRow, RunRow
from horizoncast.store.plain import date_text, date_texts
from horizoncast.store.records import ChangeRecord, EventRecord, SinceBefore

Floats = npt.NDArray[np.float64]

UNKNOWN = "change_unknown"
_RULES = ("rule", "combination", "trim", "cap", "newest", "shrink", "calibrate", "prior")


def since_before(
    ledger: Ledger, service: str, result: EngineResult
) -> tuple[SinceBefore | None, tuple[EventRecord, ...]]:
    """What a new forecast changes, against the run that counted before it.

    Returns
    -------
    since, events
        None where there is no run before, or none that can be compared; a record that cannot be read is
        an event and stops nothing.
    """
    try:
        previous = _previous(ledger, service, result)
        if previous is None:
            return None, ()
        table = what_changed(
            _recorded(ledger, previous, result),
            _made(result),
            scale=result.series.scale,
            nonnegative=result.series.nonnegative,
        )
    except HorizoncastError as error:
        text = f"what changed since the run before cannot be told: {error}"
        return None, (EventRecord(code=UNKNOWN, message=text, severity="warning"),)
    if table is None:
        return None, ()
    changes = _records(table, result)
    return SinceBefore(run_id=previous.run_id, as_of=previous.as_of, changes=changes), ()


def _previous(ledger: Ledger, service: str, result: EngineResult) -> RunRow | None:
    """The newest run up to this as-of, if it is of the same unit, scale and levels."""
    series, as_of = result.series, date_text(result.series.last)
    runs = ledger.runs.all(service=service, series=series.name, revisions=False)
    before = [run for run in runs if run.as_of <= as_of and as_stamp(run.cutoff) <= series.last]
    if not before:
        return None
    last = before[-1]
    same = (last.unit, last.scale, last.levels) == (series.unit, str(series.scale), result.forecast.levels)
    return last if same else None


def _recorded(ledger: Ledger, run: RunRow, result: EngineResult) -> Ingredients:
    """Ingredients of a run, from the ledger."""
    scale, calendar = Scale.parse(run.scale), result.series.calendar
    rows = {found.subject: scale.forward(found.quantiles) for found in ledger.runs.forecasts(run.run_id)}
    members = ledger.runs.members(run.run_id)
    used = {row.member: row.weight for row in members}
    snapshot = ledger.runs.snapshot(run.snapshot)
    seen = dict(snapshot.last_rows) if snapshot is not None else {}
    last = seen.get(run.cutoff)
    return Ingredients(
        decision=as_applied(_decision(run.decision, members), run.flags, used),
        members={name: values for name, values in rows.items() if name != ENSEMBLE},
        published=rows[ENSEMBLE],
        levels=run.levels,
        cutoff=int(calendar.ordinal(as_stamp(run.cutoff))[0]),
        last=_last(result) if last is None else float(scale.forward(np.asarray(last))),
    )


def _made(result: EngineResult) -> Ingredients:
    """Ingredients of the new forecast."""
    series, forecast = result.series, result.forecast
    used = {member.name: member.weight for member in result.members}
    return Ingredients(
        decision=as_applied(result.decision, tuple(str(flag) for flag in forecast.flags), used),
        members={
            member.name: series.scale.forward(member.live.quantiles)
            for member in result.members
            if isinstance(member.live, Forecast)
        },
        published=series.scale.forward(forecast.quantiles),
        levels=forecast.levels,
        cutoff=int(series.ordinals[-1]),
        last=_last(result),
    )


def _last(result: EngineResult) -> float:
    return float(result.series.scale.forward(result.series.values[-1:])[0])


def _decision(document: Mapping[str, Any], members: tuple[MemberRow, ...]) -> Decision:
    """A decision as the ledger has it."""
    nan = float("nan")
    rows = tuple(
        MemberWeight(
            name=row.member,
            state=MemberState.parse(row.state),
            weight=row.decided_weight,
            would_be_weight=row.would_be_weight,
            slope=row.slope,
            rmse=nan if row.rmse is None else row.rmse,
            relative=nan if row.relative is None else row.relative,
            windows=row.windows,
            reason=row.reason,
        )
        for row in members
    )
    return Decision(
        members=rows,
        best_naive=document["best_naive"],
        kappa=document["kappa"],
        width=document["width"],
        adaptive=document.get("adaptive", 1.0),
        windows=document["windows"],
        n_eff=document["n_eff"],
        first_cutoff=None,
        last_cutoff=None,
        config=DecisionConfig(**{name: document[name] for name in _RULES}),
        flags=tuple(Flag(flag) for flag in document["flags"]),
    )


def _records(table: ChangeTable, result: EngineResult) -> tuple[ChangeRecord, ...]:
    """Leads of the lead grid that both forecasts have, the last common one among them."""
    dates = date_texts(result.forecast.dates)
    grid = [step for step in result.horizon.lead_grid if step <= len(table.steps)]
    steps = sorted({*grid, len(table.steps)})
    return tuple(
        ChangeRecord(
            step=step,
            date=dates[step - 1],
            previous_step=int(table.previous_steps[step - 1]),
            measure=measure,
            before=float(table.before[step - 1, k]),
            after=float(table.after[step - 1, k]),
            **{part: float(table.parts[p, step - 1, k]) for p, part in enumerate(PARTS)},
        )
        for step in steps
        for k, measure in enumerate(MEASURES)
    )
