"""A text file for Prometheus' node exporter, written anew after every run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path

from horizoncast.store.atomic import write_atomic
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import Delivery, LedgerEvent, MemberRow, RunRow

Sample = tuple[dict[str, str], float]

HELP = {
    "horizoncast_last_commit_timestamp_seconds": "When the newest run of a service was committed.",
    "horizoncast_last_as_of_timestamp_seconds": "Last observation of the newest run.",
    "horizoncast_last_run_degraded": "1 when the newest run was not plainly published.",
    "horizoncast_last_run_seconds": "How long the newest run took.",
    "horizoncast_last_failure_timestamp_seconds": "When a run of a service last ended in an error.",
    "horizoncast_member_answered": "1 when a member that is on answered the newest run.",
    "horizoncast_member_peak_mebibytes": "Peak memory of a member in the newest run.",
    "horizoncast_outbox_messages": "Messages by state.",
    "horizoncast_ledger_runs": "Runs in the ledger.",
}
"""Metrics, all of them gauges, and what they say."""


def write_textfile(ledger: Ledger, path: Path) -> None:
    """Write the file in one step.

    Raises
    ------
    StoreError
        When the ledger cannot be read or the file not be written.
    """
    text = textfile(ledger)
    write_atomic(path, lambda handle: handle.write(text.encode()))


def textfile(ledger: Ledger) -> str:
    """The metrics in Prometheus' text format (version 0.0.4)."""
    runs = ledger.runs.all()
    heads = list({(run.service, run.series): run for run in runs}.values())
    failures = [event for event in ledger.events.all() if event.severity == "error"]
    samples: dict[str, list[Sample]] = {
        "horizoncast_last_commit_timestamp_seconds": [
            (_labels(run), _seconds(run.committed)) for run in heads
        ],
        "horizoncast_last_as_of_timestamp_seconds": [(_labels(run), _seconds(run.as_of)) for run in heads],
        "horizoncast_last_run_degraded": [(_labels(run), float(run.status != "published")) for run in heads],
        "horizoncast_last_run_seconds": [(_labels(run), run.duration_s or 0.0) for run in heads],
        "horizoncast_last_failure_timestamp_seconds": _failures(failures),
        "horizoncast_member_answered": [],
        "horizoncast_member_peak_mebibytes": [],
        "horizoncast_outbox_messages": _outbox(ledger),
        "horizoncast_ledger_runs": [({}, float(len(runs)))],
    }
    for run in heads:
        _add_members(samples, run, ledger.runs.members(run.run_id))
    return "".join(_block(name, samples[name]) for name in HELP)


def _add_members(samples: dict[str, list[Sample]], run: RunRow, members: Iterable[MemberRow]) -> None:
    for member in members:
        labels = _labels(run) | {"member": member.member}
        if member.state == "on":
            answered = float(member.failure_code is None)
            samples["horizoncast_member_answered"].append((labels, answered))
        if member.peak_mb is not None:
            samples["horizoncast_member_peak_mebibytes"].append((labels, member.peak_mb))


def _failures(events: Sequence[LedgerEvent]) -> list[Sample]:
    newest = {(event.service or "", event.series or ""): event.at for event in events}
    return [
        ({"service": service, "series": series}, _seconds(at)) for (service, series), at in newest.items()
    ]


def _outbox(ledger: Ledger) -> list[Sample]:
    states = [row.state for row in ledger.outbox.all()]
    return [({"state": state.value}, float(states.count(state))) for state in Delivery]


def _labels(run: RunRow) -> dict[str, str]:
    return {"service": run.service, "series": run.series}


def _seconds(text: str) -> float:
    """Unix time of a moment or date; a date without a zone is taken as UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        moment = datetime.fromisoformat(f"{text}T00:00+00:00" if "T" not in text else f"{text}+00:00")
    return moment.timestamp()


def _block(name: str, samples: Sequence[Sample]) -> str:
    lines = [f"# HELP {name} {HELP[name]}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        inside = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        lines.append(f"{name}{{{inside}}} {value!r}" if inside else f"{name} {value!r}")
    return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
