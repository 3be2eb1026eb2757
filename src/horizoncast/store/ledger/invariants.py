"""What holds of a ledger and its folders at every moment, whatever was killed or failed before.

1. The database is whole: pages, references, schema version.
2. Every run that was not pruned has its folder, with the manifest and the files that were committed.
3. Every visible run folder has a row, or is older than the ledger.
4. Revisions of a (service, series, as-of) are 1, 2, ... and start at 1.
5. Every run holds its ensemble and every member that answered, at all leads and levels: finite, ordered,
   dated after the cutoff; and nothing of a member that failed.
6. The numbers of the ledger are those of the folder, bit for bit.
7. A score belongs to a published lead, its actual is finite, its revisions are 0, 1, ...
8. A message is pending, sent or given up, and says when it was sent.

And two that the next run restores, marked `derived`:

9. latest.json names the run that counts.
10. metrics.jsonl tells every run completely.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sqlalchemy import select

from horizoncast.errors import StoreError
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.migrations import NEWEST
from horizoncast.store.ledger.publication import told_runs
from horizoncast.store.ledger.rows import ENSEMBLE, Delivery, ForecastRows, RunRow
from horizoncast.store.ledger.schema import SCORES
from horizoncast.store.plain import parse_json
from horizoncast.store.results import LATEST, every_run_folder, manifest_digest, read_run, started_of


@dataclass(frozen=True, kw_only=True)
class Broken:
    """An invariant that does not hold.

    Parameters
    ----------
    invariant
        Its number above.
    text
        What was found.
    derived
        Whether the next run restores it.
    """

    invariant: int
    text: str
    derived: bool = False


def check_invariants(
    ledger: Ledger, root: Path, *, log: Path | None = None, deep: bool = True
) -> tuple[Broken, ...]:
    """Everything that does not hold; empty when all is well.

    Parameters
    ----------
    log
        The metrics log; left out when None.
    deep
        Compare the files and the numbers of every run (6, and the files of 2), not only the newest
        of each (service, series).

    Raises
    ------
    StoreError
        When the ledger cannot be read at all.
    """
    found = [Broken(invariant=1, text=text) for text in ledger.damage()]
    version = ledger.version()
    if version != NEWEST:
        found.append(Broken(invariant=1, text=f"schema version {version}, expected {NEWEST}"))
    if found:  # what a damaged database says of the rest is worth nothing
        return tuple(found)
    runs = ledger.runs.all()
    newest = {run.run_id for run in ledger.runs.heads()}
    found += _loose_folders(ledger, runs, root)
    found += _revisions(runs)
    for run in runs:
        found += _numbers(ledger, run)
        if run.pruned is None:
            found += _folder(ledger, run, root, deep=deep or run.run_id in newest)
    return (*found, *_scores(ledger), *_outbox(ledger), *_derived(ledger, runs, root, log))


def _loose_folders(ledger: Ledger, runs: tuple[RunRow, ...], root: Path) -> Iterator[Broken]:
    known, created = {run.folder for run in runs}, ledger.created()
    for folder in every_run_folder(root):
        if folder.relative_to(root).as_posix() in known:
            continue
        try:
            if started_of(folder) >= created:
                yield Broken(invariant=3, text=f"{folder.name}: a folder without a row")
        except StoreError as error:
            yield Broken(invariant=3, text=f"{folder.name}: a folder without a row; {error}")


def _revisions(runs: tuple[RunRow, ...]) -> Iterator[Broken]:
    groups: dict[tuple[str, str, str], list[int]] = {}
    for run in runs:
        groups.setdefault((run.service, run.series, run.as_of), []).append(run.revision)
    for key, found in groups.items():
        if sorted(found) != list(range(1, len(found) + 1)):
            yield Broken(invariant=4, text=f"{' '.join(key)}: revisions {sorted(found)}")


def _numbers(ledger: Ledger, run: RunRow) -> Iterator[Broken]:
    """All leads and levels of the ensemble and of whoever answered, in order."""
    try:
        rows = {forecast.subject: forecast for forecast in ledger.runs.forecasts(run.run_id)}
        members = ledger.runs.members(run.run_id)
    except StoreError as error:
        yield Broken(invariant=5, text=f"{run.run_id}: {error}")
        return
    expected = {ENSEMBLE, *(member.member for member in members if member.failure_code is None)}
    if set(rows) != expected:
        different = ", ".join(sorted(set(rows) ^ expected))
        yield Broken(invariant=5, text=f"{run.run_id}: forecasts too many or too few: {different}")
    for name, forecast in rows.items():
        problem = _unfit(run, forecast)
        if problem:
            yield Broken(invariant=5, text=f"{run.run_id} {name}: {problem}")


def _unfit(run: RunRow, forecast: ForecastRows) -> str:
    if forecast.steps != tuple(range(1, run.horizon + 1)):
        return f"leads {len(forecast.steps)}, expected {run.horizon}"
    if not np.isfinite(forecast.quantiles).all():
        return "a value is not finite"
    if (np.diff(forecast.quantiles, axis=1) < 0).any():
        return "quantiles cross"
    dates = [run.cutoff, *forecast.dates]
    stamps = np.array(dates, dtype="datetime64[s]")
    return "" if (np.diff(stamps) > np.timedelta64(0, "s")).all() else "dates do not follow the cutoff"


def _folder(ledger: Ledger, run: RunRow, root: Path, *, deep: bool) -> Iterator[Broken]:
    folder = root / run.folder
    try:
        if manifest_digest(folder) != run.manifest_sha256:
            yield Broken(invariant=2, text=f"{run.run_id}: its manifest is not the one committed")
            return
        record = read_run(folder) if deep else None
    except StoreError as error:
        yield Broken(invariant=2, text=f"{run.run_id}: {error}")
        return
    if record is None:
        return
    try:
        (own,) = ledger.runs.forecasts(run.run_id, subject=ENSEMBLE) or (None,)
    except StoreError:  # told as 5
        return
    if own is not None and own.quantiles.tobytes() != record.forecast.quantiles.tobytes():
        yield Broken(invariant=6, text=f"{run.run_id}: the ledger's numbers are not the folder's")


def _scores(ledger: Ledger) -> Iterator[Broken]:
    columns = (SCORES.c.run_id, SCORES.c.subject, SCORES.c.step, SCORES.c.revision, SCORES.c.actual)
    with ledger.database.reading() as connection:
        rows = connection.execute(select(*columns)).all()
    counts = Counter((row.run_id, row.subject, row.step) for row in rows)
    highest = dict.fromkeys(counts, 0)
    for row in rows:
        key = (row.run_id, row.subject, row.step)
        highest[key] = max(highest[key], row.revision)
        if not np.isfinite(row.actual):
            yield Broken(invariant=7, text=f"{key}: an actual is not finite")
    for key, last in highest.items():
        if last != counts[key] - 1:
            yield Broken(invariant=7, text=f"{key}: {counts[key]} scores, the last of revision {last}")


def _outbox(ledger: Ledger) -> Iterator[Broken]:
    for row in ledger.outbox.all():
        if (row.state is Delivery.SENT) != (row.sent is not None):
            yield Broken(invariant=8, text=f"message {row.key}: {row.state}, sent {row.sent}")


def _derived(ledger: Ledger, runs: tuple[RunRow, ...], root: Path, log: Path | None) -> Iterator[Broken]:
    for head in ledger.runs.heads():
        path = (root / head.folder).parent / LATEST
        if head.pruned is None and _named(path) != head.run_id:
            yield Broken(
                invariant=9, text=f"{path.relative_to(root)} does not name {head.run_id}", derived=True
            )
    if log is None:
        return
    told = told_runs(log)
    for run in runs:
        if run.run_id not in told and run.pruned is None:
            yield Broken(invariant=10, text=f"{log.name} does not tell {run.run_id}", derived=True)


def _named(path: Path) -> str | None:
    try:
        return str(parse_json(path.read_bytes())["run_id"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
