"""Peaks that earlier runs were measured at."""

from dataclasses import replace
from pathlib import Path

import pytest

from horizoncast.resources import Usage
from horizoncast.service.admitting import RUNS, measured_peaks
from horizoncast.store.ledger.ledger import Ledger
from ledger_runs import a_record, commit


def test_the_largest_peak_of_the_newest_runs(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    assert measured_peaks(ledger, "forecaster_7d", "usd_mxn") == {}
    for hour, peak in enumerate([150.0, 210.0, 180.0]):
        record = a_record(hour)
        usage = Usage(wall_s=1.0, cpu_s=1.0, peak_mb=peak)
        members = tuple(replace(m, usage=usage if m.name == "random_walk" else None) for m in record.members)
        commit(ledger, tmp_path, replace(record, members=members))
    peaks = measured_peaks(ledger, "forecaster_7d", "usd_mxn")
    assert set(peaks) == {"random_walk"}
    assert peaks["random_walk"] == pytest.approx(180.0)  # one as-of: its highest revision counts
    assert measured_peaks(ledger, "forecaster_7d", "other") == {}
    assert RUNS >= 5
