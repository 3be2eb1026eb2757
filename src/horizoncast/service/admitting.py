"""Measured peaks of members, for the admission of the next run."""

from __future__ import annotations

from horizoncast.store.ledger.ledger import Ledger

RUNS = 10
"""Newest runs whose peaks count: a member that has become cheaper is believed after so many."""


def measured_peaks(ledger: Ledger, service: str, series: str) -> dict[str, float]:
    """Largest peak of each member over the newest runs, MiB; members never measured are missing.

    Raises
    ------
    StoreError
        When the ledger cannot be read.
    """
    newest = ledger.runs.all(service=service, series=series, revisions=False)[-RUNS:]
    if not newest:
        return {}
    peaks: dict[str, float] = {}
    for row in ledger.runs.member_history(service, series, since=newest[0].as_of):
        if row.peak_mb is not None:
            peaks[row.member] = max(row.peak_mb, peaks.get(row.member, 0.0))
    return peaks
