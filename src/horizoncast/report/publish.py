"""Writing a run down: folder with charts and report, ledger, latest.json, log records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from horizoncast.engine import EngineResult
from horizoncast.report.hybrid_plot import hybrid_files
from horizoncast.report.loss_curve import newest_trainings, training_files
from horizoncast.report.pages.run import render_run
from horizoncast.report.plots import PHONE, fan_chart
from horizoncast.report.texts import ENGLISH
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import commit_run
from horizoncast.store.ledger.rows import Message, RunRow
from horizoncast.store.records import RunRecord

REPORT = "report.html"
"""The run's report in its folder."""

SVG_LARGEST = 200_000
"""An SVG larger than this many bytes is left out."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """Where a run went.

    Parameters
    ----------
    folder, log, record
        Its folder, the log of all services, and the record behind both.
    run
        Its row in the ledger.
    problems
        What could not be derived from it yet; the next run does.
    """

    folder: Path
    log: Path
    record: RunRecord
    run: RunRow
    problems: tuple[str, ...]


def publish(
    result: EngineResult,
    record: RunRecord,
    *,
    root: Path,
    log: Path,
    ledger: Ledger,
    messages: tuple[Message, ...] = (),
    reprocess: bool = False,
    language: str = ENGLISH,
) -> Published:
    """Publish a run: its folder, the transaction that makes it exist, and what is derived from it.

    Parameters
    ----------
    record
        Of the result, see `horizoncast.report.record.run_record`.
    root, log
        Folder of all results, and the metrics log of all services.
    ledger
        Of that folder.
    messages
        Sent by whoever empties the outbox, once the run exists.
    reprocess
        Make another revision when the (service, series, as-of) is published already.
    language
        Of the report.

    Raises
    ------
    AlreadyPublishedError
        When it is, and no revision was asked for.
    StoreError
        When the folder or the transaction failed: nothing was published.
    """
    series = result.series
    mask = series.observed_mask
    seen = series.dates[mask], series.values[mask]
    report = render_run(record, seen, language=language).encode()
    done = commit_run(
        ledger,
        record,
        root=root,
        log=log,
        extras=charts(result) | hybrid_files(result) | trainings(result, record.service) | {REPORT: report},
        seen=seen,
        messages=messages,
        reprocess=reprocess,
    )
    return Published(folder=done.folder, log=log, record=record, run=done.run, problems=done.problems)


def trainings(result: EngineResult, service: str) -> dict[str, bytes]:
    """Loss curves of the members that keep their networks in a folder."""
    found = []
    for setting in result.config.members:
        folder = getattr(setting.config, "checkpoints", "")
        if folder and setting.name in {outcome.name for outcome in result.members}:
            kept = newest_trainings(
                Path(folder),
                series=result.series.name,
                service=service,
                steps=result.horizon.steps,
                cutoff=result.series.last,
            )
            found += [training for training in kept if training.member == setting.name]
    return training_files(found)


def charts(result: EngineResult) -> dict[str, bytes]:
    """Fan chart for a screen and for a phone, and as SVG where that is small."""
    files = {"fan_chart.png": fan_chart(result), f"fan_chart_{PHONE}.png": fan_chart(result, width=PHONE)}
    svg = fan_chart(result, file_format="svg")
    return files | ({"fan_chart.svg": svg} if len(svg) <= SVG_LARGEST else {})
