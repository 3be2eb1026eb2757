"""Derive a published run again from its record, and compare every number with what was published.

What a run depended on is its settings (in the manifest), the target's definition, the data as they were
known then (the store keeps revisions apart), and the earlier runs and scores of the ledger. All of it
is taken as it stood when the run started; where that is not possible the report says what is missing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from horizoncast.data.load import LoadedSeries, load_series
from horizoncast.data.target_file import read_target
from horizoncast.engine import ForecastEngine
from horizoncast.errors import HorizoncastError, StoreError
from horizoncast.report.provenance import machine_type, package_versions
from horizoncast.report.record import run_record
from horizoncast.service.scoring import live_history
from horizoncast.service.settings import Settings, recalled_settings
from horizoncast.store.ledger.copying import copy_ledger
from horizoncast.store.ledger.entry import observed
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import RunRow
from horizoncast.store.plain import canonical, date_text, plain
from horizoncast.store.records import RunRecord
from horizoncast.store.results import read_run, render
from horizoncast.validation.backtest import Progress

_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class ReplayReport:
    """A run, derived again.

    Parameters
    ----------
    run_id
        The run.
    same
        Whether every file of numbers came out bit for bit.
    files
        The same by file; empty when nothing could be derived.
    largest
        Largest relative difference between the published quantiles and those derived now; None when
        none could be compared.
    reasons
        What is different today, or why the run cannot be derived.
    """

    run_id: str
    same: bool
    files: Mapping[str, bool]
    largest: float | None
    reasons: tuple[str, ...]


def replay(
    run_id: str, ledger: Ledger, current: Settings, *, progress: Progress | None = None
) -> ReplayReport:
    """Derive a run again and compare.

    Parameters
    ----------
    current
        Today's settings of its service: folders are theirs, everything else is the run's.

    Raises
    ------
    StoreError
        When the ledger knows no such run.
    """
    run = ledger.runs.get(run_id)
    if run is None:
        raise StoreError("the ledger knows no run of this id", value=run_id, action="horizoncast show")
    reasons: list[str] = []
    try:
        record = _published(run, current.output_folder)
        reasons += _differences(record)
        again = _derive(run, record, ledger, current, reasons, progress=progress)
    except HorizoncastError as error:
        return ReplayReport(
            run_id=run_id,
            same=False,
            files={},
            largest=None,
            reasons=(*reasons, f"cannot be derived: {error}"),
        )
    published, derived = render(record), render(again)
    files = {name: derived.get(name) == data for name, data in published.items()}
    return ReplayReport(
        run_id=run_id,
        same=all(files.values()),
        files=files,
        largest=_largest(record, again),
        reasons=tuple(reasons),
    )


def _published(run: RunRow, root: Path) -> RunRecord:
    if run.pruned is not None:
        raise StoreError(f"its folder was deleted on {run.pruned[:10]}", action="restore a backup")
    return read_run(root / run.folder)


def _differences(record: RunRecord) -> Iterator[str]:
    """What of this installation is not what the run had; each may change the last bits of a number."""
    then, now = dict(record.provenance.versions), package_versions()
    changed = [f"{name} {then[name]} is now {now.get(name)}" for name in then if now.get(name) != then[name]]
    if changed:
        yield f"other packages: {', '.join(changed[:_NAMED])}"
    if record.provenance.machine != machine_type():
        yield f"another machine type: {record.provenance.machine} is now {machine_type()}"


def _derive(
    run: RunRow,
    record: RunRecord,
    ledger: Ledger,
    current: Settings,
    reasons: list[str],
    *,
    progress: Progress | None,
) -> RunRecord:
    config = record.provenance.config
    assert isinstance(config, dict)
    settings = recalled_settings(run.service, config, current)
    target = read_target(settings.target_path)
    if canonical(target) != canonical(record.provenance.target):
        reasons.append(
            f"the target's definition has changed since: {current.places.short(settings.target_path)}"
        )
    known_at = np.datetime64(record.started.astimezone(UTC).replace(tzinfo=None), "s")
    loaded = load_series(
        replace(target, max_staleness=None),
        as_of=record.as_of,
        now=known_at,
        store=settings.store_folder,
        known_at=known_at,
        later_overrides=settings.data.later_overrides,
    )
    if loaded.series.digests()[-1] != record.provenance.data_hash:
        reasons.append(f"the data have changed since: {_changed(run, ledger, record, loaded)}")
    with tempfile.TemporaryDirectory(prefix="horizoncast-replay-") as folder:
        past = copy_ledger(ledger, Path(folder) / "past.sqlite", before=run.committed)
        engine = ForecastEngine(settings.engine_config())
        live = live_history(past, engine, loaded.series, settings.horizon)
        result = engine.forecast(loaded.series, settings.horizon, progress=progress, live=live)
    return run_record(
        result,
        started=datetime.now(tz=UTC),
        run_id=run.run_id,
        service=run.service,
        target=target,
        data_report=loaded.report,
        settings=plain(config),
    )


def _changed(run: RunRow, ledger: Ledger, record: RunRecord, loaded: LoadedSeries) -> str:
    """The newest observations that are not what the run saw, or that it must be something older."""
    snapshot = ledger.runs.snapshot(run.snapshot)
    series = loaded.series
    now = {date_text(date): float(value) for date, value in zip(series.dates, series.values, strict=True)}
    dates, values = observed(record.validation)
    seen = {date_text(date): float(value) for date, value in zip(dates, values, strict=True)}
    seen |= dict(snapshot.last_rows) if snapshot is not None else {}
    found = [
        f"{date} was {value:g}, is {now.get(date, float('nan')):g}"
        for date, value in sorted(seen.items())
        if now.get(date) != value
    ]
    if not found:
        return "an older value, a covariate or the history's length"
    more = f" and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    return "; ".join(found[:_NAMED]) + more


def _largest(record: RunRecord, again: RunRecord) -> float | None:
    before, after = record.forecast.quantiles, again.forecast.quantiles
    if before.shape != after.shape:
        return None
    return float(np.max(np.abs(after - before) / np.maximum(np.abs(before), np.finfo(float).tiny)))
