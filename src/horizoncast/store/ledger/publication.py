"""How a run comes into being, and how the next one mends what was left half done.

A folder is staged, synced and renamed; then one transaction commits the run, and from that moment it
exists. latest.json and metrics.jsonl are derived from the ledger: whatever stops a run after its
commit, the next one completes them. A folder that no transaction ever named is withdrawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from horizoncast.calendar import Dates
from horizoncast.errors import StoreError
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.outcomes import OutcomeBook, tell_outcomes
from horizoncast.store.ledger.rows import Floats, Message, RunRow
from horizoncast.store.locks import publishing
from horizoncast.store.log_records import log_records
from horizoncast.store.log_rotation import every_archive, read_log
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.plain import time_text
from horizoncast.store.points import reach
from horizoncast.store.records import RunRecord
from horizoncast.store.results import (
    Latest,
    every_run_folder,
    read_run,
    started_of,
    sweep_staging,
    withdraw,
    write_latest,
    write_run,
)
from horizoncast.store.schema import RecordKind


@dataclass(frozen=True, kw_only=True)
class Committed:
    """A published run.

    Parameters
    ----------
    run, folder
        Its row in the ledger, and its folder.
    problems
        What could not be derived from it; the next run mends it.
    """

    run: RunRow
    folder: Path
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Repaired:
    """What a run found half done.

    Parameters
    ----------
    withdrawn
        Folders that no transaction had committed.
    adopted
        Runs that had been acknowledged in the log and that the ledger had lost: a backup was restored.
    completed
        Runs whose log records and latest.json were written now.
    unknown
        Folders from before the ledger: ``horizoncast ledger import`` takes them.
    problems
        What could not be mended.
    """

    withdrawn: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    completed: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def commit_run(
    ledger: Ledger,
    record: RunRecord,
    *,
    root: Path,
    log: Path,
    extras: Mapping[str, bytes],
    seen: tuple[Dates, Floats] | None = None,
    messages: tuple[Message, ...] = (),
    reprocess: bool = False,
) -> Committed:
    """Publish a run: folder, transaction, then what is derived from it.

    Parameters
    ----------
    extras, seen, messages
        See `write_run` and `run_entry`.

    Raises
    ------
    AlreadyPublishedError
        When the as-of is published and `reprocess` is False.
    StoreError
        When the folder or the transaction failed: the run does not exist then.
    """
    with publishing(root):
        folder = write_run(root, record, extras=extras)
        try:
            entry = run_entry(record, folder, root=root, seen=seen, messages=messages)
            run = ledger.runs.commit(entry, reprocess=reprocess)
        except StoreError as error:
            run = _after_failed_commit(ledger, record.run_id, root, folder, error)
        reach("committed")
        problems = (*_derive(ledger, run, record, root, log), *_tell_outcomes(ledger, log, afresh=False))
        return Committed(run=run, folder=folder, problems=problems)


def repair(ledger: Ledger, *, root: Path, log: Path, whole: bool = False) -> Repaired:
    """Mend what interrupted runs left: sweep, adopt, complete.

    Parameters
    ----------
    whole
        Complete every run that the log does not tell, not only those that were interrupted; so it is
        when the log is gone, too.

    Raises
    ------
    StoreError
        When the ledger or the lock cannot be had.
    """
    with publishing(root):
        sweep_staging(root, alone=True)
        known = {run.folder for run in ledger.runs.all()}
        loose = [f for f in every_run_folder(root) if f.relative_to(root).as_posix() not in known]
        withdrawn, adopted, unknown, problems = _settle(ledger, loose, root, log)
        completed = []
        gone = whole or not log.exists()
        for run in _untold(ledger, log) if gone else ledger.runs.underived():
            found = _derive(ledger, run, None, root, log)
            problems += found
            completed += [] if found else [run.run_id]
        problems += _tell_outcomes(ledger, log, afresh=gone)
    return Repaired(
        withdrawn=tuple(withdrawn),
        adopted=tuple(adopted),
        completed=tuple(completed),
        unknown=tuple(unknown),
        problems=tuple(problems),
    )


def import_runs(ledger: Ledger, *, root: Path, log: Path) -> Repaired:
    """Take run folders that have no row into the ledger, in the order they were started.

    Each becomes a revision of its (service, series, as-of). A folder that cannot be read is reported
    and left alone.
    """
    with publishing(root):
        known = {run.folder for run in ledger.runs.all()}
        loose = [f for f in every_run_folder(root) if f.relative_to(root).as_posix() not in known]
        records, problems = [], []
        for folder in loose:
            try:
                records.append((read_run(folder), folder))
            except StoreError as error:
                problems.append(str(error))
        adopted = []
        for record, folder in sorted(records, key=lambda pair: pair[0].started):
            run = ledger.runs.commit(run_entry(record, folder, root=root, imported=True), reprocess=True)
            problems += _derive(ledger, run, record, root, log)
            adopted.append(run.run_id)
    return Repaired(adopted=tuple(adopted), problems=tuple(problems))


def _settle(
    ledger: Ledger, loose: list[Path], root: Path, log: Path
) -> tuple[list[str], list[str], list[str], list[str]]:
    """Folders without a row: withdrawn, adopted, left from before the ledger, and what went wrong."""
    withdrawn: list[str] = []
    adopted: list[str] = []
    unknown: list[str] = []
    problems: list[str] = []
    told = told_runs(log) if loose else set()
    created = ledger.created() if loose else ""
    for folder in loose:
        try:
            if started_of(folder) < created:
                unknown.append(folder.name)
            elif folder.name in told:
                entry = run_entry(read_run(folder), folder, root=root, imported=True)
                adopted.append(ledger.runs.commit(entry, reprocess=True).run_id)
            else:
                withdraw(root, folder)
                withdrawn.append(folder.name)
        except StoreError as error:  # whoever damaged it, it is left for a person to look at
            problems.append(str(error))
    return withdrawn, adopted, unknown, problems


def _untold(ledger: Ledger, log: Path) -> tuple[RunRow, ...]:
    """Runs that neither the log nor an archive of it tells, and those that were interrupted."""
    told = told_runs(log)
    return tuple(
        run for run in ledger.runs.all() if run.pruned is None and (run.run_id not in told or not run.derived)
    )


def told_runs(log: Path) -> set[str]:
    """Runs that the log or an archive of it tells completely: they were acknowledged."""
    found: set[str] = set()
    for path in (*every_archive(log), log):
        with suppress(StoreError):
            found |= {str(record["run_id"]) for record in read_log(path).of_kind(RecordKind.RUN)}
    return found


def _derive(ledger: Ledger, run: RunRow, record: RunRecord | None, root: Path, log: Path) -> tuple[str, ...]:
    """Log records and latest.json of a run; what failed is left to the next run."""
    try:
        if run.pruned is None:
            MetricsLog(log).append(log_records(record or read_run(root / run.folder)))
        reach("logged")
        point_latest(ledger, run.service, run.series, root)
        reach("pointed")
        ledger.runs.mark_derived(run.run_id)
        reach("derived")
    except StoreError as error:
        return (str(error),)
    return ()


def _tell_outcomes(ledger: Ledger, log: Path, *, afresh: bool) -> tuple[str, ...]:
    """Outcomes that the log lacks; what failed is left to the next run."""
    try:
        if afresh:
            OutcomeBook(database=ledger.database).forget_told()
        tell_outcomes(ledger, log, at=time_text(datetime.now(tz=UTC)))
    except StoreError as error:
        return (str(error),)
    return ()


def point_latest(ledger: Ledger, service: str, series: str, root: Path) -> None:
    """Make latest.json name the run that counts now."""
    head = ledger.runs.latest(service, series)
    if head is not None and head.pruned is None:
        latest = Latest(
            run_id=head.run_id,
            as_of=head.as_of,
            started=head.started,
            status=head.status,
            folder=Path(head.folder).name,
            manifest_sha256=head.manifest_sha256,
        )
        write_latest((root / head.folder).parent, latest)


def _after_failed_commit(ledger: Ledger, run_id: str, root: Path, folder: Path, error: StoreError) -> RunRow:
    """The run, when only the answer to COMMIT was lost; else its folder goes and the error stands."""
    try:
        run = ledger.runs.get(run_id)
        if run is not None:
            return run
        withdraw(root, folder)
    except StoreError as second:
        error.add_note(f"and the next run will look after {folder.name}: {second}")
    raise error
