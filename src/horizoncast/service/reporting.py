"""The report of a published run, made from its folder and from what the ledger kept of its data."""

from __future__ import annotations

from pathlib import Path

from horizoncast.calendar import Dates
from horizoncast.errors import StoreError, UnknownNameError
from horizoncast.report.pages.run import history_of, render_run
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Floats, RunRow
from horizoncast.store.records import RunRecord
from horizoncast.store.results import read_run

_NAMED = 20


def report_of(ledger: Ledger, root: Path, run_id: str, *, language: str) -> str:
    """The page.

    Parameters
    ----------
    root
        Folder of all results.

    Raises
    ------
    UnknownNameError
        When no run has this id.
    StoreError
        When its folder is gone or cannot be read.
    """
    run = ledger.runs.get(run_id)
    if run is None:
        raise UnknownNameError.of("run", run_id, [r.run_id for r in ledger.runs.all()][-_NAMED:])
    if run.pruned:
        raise StoreError(
            "the folder of this run was deleted by `data prune`",
            value=run_id,
            action=f"its numbers are in the ledger: horizoncast show --run {run_id}",
        )
    record, history = recorded_run(ledger, root, run)
    return render_run(record, history, language=language)


def recorded_run(ledger: Ledger, root: Path, run: RunRow) -> tuple[RunRecord, tuple[Dates, Floats]]:
    """A run's record from its folder, and what had been observed by then.

    Raises
    ------
    StoreError
        When the folder cannot be read.
    """
    snapshot = ledger.runs.snapshot(run.snapshot)
    record = read_run(root / run.folder)
    return record, history_of(record, snapshot.last_rows if snapshot else ())
