"""Runs for ledger tests: naives alone, made once."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from horizoncast.forecast import Failure
from horizoncast.report.record import run_record
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import Committed, commit_run
from horizoncast.store.ledger.rows import Message, RunEntry
from horizoncast.store.records import EventRecord, RunRecord
from horizoncast.store.results import write_run
from small_runs import small_result

START = datetime(2030, 6, 29, 11, 0, tzinfo=UTC)
"""Later than any ledger of a test is made: its folders never count as older than the ledger."""

LOG = "metrics.jsonl"


def a_record(hour: int = 0, *, name: str = "usd_mxn", service: str = "forecaster_7d") -> RunRecord:
    """A run started `hour` hours after `START`, with a member that failed and an event."""
    record = run_record(small_result(name=name), started=START + timedelta(hours=hour), service=service)
    live = Failure(member="var", cutoff=record.forecast.cutoff, code="ChildError", reason="killed")
    failed = replace(
        record.members[0], name="var", live=live, weight=0.0, rmse=float("nan"), problems=(live,)
    )
    event = EventRecord(code="ChildError", message="var: killed", severity="warning")
    return replace(record, members=(*record.members, failed), events=(event,))


def an_entry(root: Path, record: RunRecord, *messages: Message) -> RunEntry:
    """Its entry, the folder written below `root`."""
    return run_entry(record, write_run(root, record), root=root, messages=messages)


def commit(ledger: Ledger, root: Path, record: RunRecord, *, reprocess: bool = True) -> Committed:
    """Publish it."""
    return commit_run(
        ledger, record, root=root, log=root / LOG, extras={"note.txt": b"x"}, reprocess=reprocess
    )
