"""The hybrid as it is written: everything adds up digit by digit, and what is not known is null."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fusions import a_fusion, parts_of, unmade, with_fusion
from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.models.hybrid.config import Deployment
from horizoncast.report.hybrid_record import hybrid_record
from horizoncast.report.record import run_record
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.log_records import log_records
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.plain import json_line, parse_json
from horizoncast.store.results import read_run, write_run
from horizoncast.store.schema import RecordKind

START = datetime(2024, 6, 29, 11, 0, tzinfo=UTC)


def run_line(fusion, horizon=7):
    return log_records(run_record(with_fusion(fusion, horizon), started=START))[-1]


def decimals(numbers):
    """Numbers as they are written."""
    return [Decimal(json_line(number)) for number in numbers]


def test_the_lead_grid_of_the_fusion_is_written():
    fusion = a_fusion(30)
    record = hybrid_record(fusion)
    assert record.leads == (1, 2, 3, 5, 7, 10, 15, 20, 30)
    places = np.array(record.leads) - 1
    assert np.allclose(record.weight_chronos, fusion.weights[0, places], atol=5e-5)
    assert np.allclose(record.weight_autoformer, fusion.weights[1, places], atol=5e-5)
    assert np.allclose(record.log_odds, fusion.log_odds[places], atol=5e-5)
    for name in ("epistemic", "aleatoric", "between", "total"):
        wanted = getattr(fusion.uncertainty, name)[places]
        assert np.allclose(getattr(record, name), wanted, atol=1e-5 * fusion.uncertainty.total.max())
    assert (record.accuracy_chronos, record.accuracy_autoformer) == (0.56, 0.44)
    assert (record.width_chronos, record.width_autoformer) == (1.05, 0.93)
    assert (record.season, record.trend, record.volatility, record.entropy) == (0.31, 0.12, 0.84, 0.97)
    assert record.novelty == 0.62
    assert (record.deployment, record.confidence, record.reason) == ("full", "inverse_variance", "")
    assert record.trained == {"trained_until": "2024-01-05", "digest": "ab12", "gate": "cd34"}


@given(
    exponent=st.integers(-40, 40),
    parts=st.lists(st.tuples(*[st.floats(0.0, 1.0)] * 3), min_size=1, max_size=10),
    first=st.floats(0.0, 1.0),
)
def test_parts_and_weights_add_up_as_they_are_written(exponent, parts, first):
    rows = 10.0**exponent * np.array(parts).T
    names = dict(zip(("epistemic", "aleatoric", "between"), rows, strict=True))
    steps = rows.shape[1]
    weights = np.stack([np.full(steps, first), np.full(steps, 1.0 - first)])
    fusion = a_fusion(steps, uncertainty=HierarchicalUncertainty(**names), weights=weights)
    record = hybrid_record(fusion)
    written = [decimals(getattr(record, name)) for name in (*names, "total")]
    assert [sum(lead) for lead in zip(*written[:3], strict=True)] == written[3]
    for place, lead in enumerate(record.leads):
        total = fusion.uncertainty.total[lead - 1]
        for name, row in zip(names, written, strict=False):
            assert float(row[place]) == pytest.approx(names[name][lead - 1], abs=max(1e-5 * total, 1e-60))
    both = zip(decimals(record.weight_chronos), decimals(record.weight_autoformer), strict=True)
    assert {a + b for a, b in both} == {1}


def test_variances_too_small_to_write_are_zero():
    record = hybrid_record(a_fusion(2, uncertainty=HierarchicalUncertainty(**dict.fromkeys(
        ("epistemic", "aleatoric", "between"), np.array([0.0, 1e-310])
    ))))  # fmt: skip
    assert record.total == (0.0, 0.0)


def test_a_hybrid_in_the_log_fits_the_schema_and_reads_back(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(log_records(run_record(with_fusion(a_fusion(7)), started=START)))
    contents = log.read()
    assert contents.problems == ()
    (run,) = contents.of_kind(RecordKind.RUN)
    hybrid = run["hybrid"]
    assert hybrid["leads"] == [1, 2, 3, 5, 7]
    assert hybrid["weight_chronos"] == [0.7, 0.6583, 0.6167, 0.5333, 0.45]
    assert hybrid["weight_autoformer"] == [0.3, 0.3417, 0.3833, 0.4667, 0.55]
    assert hybrid["trained"] == {"trained_until": "2024-01-05", "digest": "ab12", "gate": "cd34"}


def test_a_run_without_a_hybrid_has_no_such_field(tmp_path):
    assert "hybrid" not in run_line(None)
    folder = write_run(tmp_path, run_record(with_fusion(None), started=START))
    assert "hybrid" not in json.loads((folder / "decision.json").read_text())["decision"]
    assert read_run(folder).decision.hybrid is None


def test_a_hybrid_that_could_not_be_made_is_null_but_for_its_reason(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.append(log_records(run_record(with_fusion(unmade()), started=START)))
    contents = log.read()
    assert contents.problems == ()
    hybrid = contents.of_kind(RecordKind.RUN)[0]["hybrid"]
    told = {name: value for name, value in hybrid.items() if value is not None}
    assert told == {
        "deployment": "full",
        "confidence": "inverse_variance",
        "reason": "its part autoformer did not run",
        "leads": [1, 2, 3, 5, 7],
    }


def test_half_a_row_is_none():
    weights = a_fusion().weights.copy()
    weights[:, 2] = np.nan
    record = hybrid_record(a_fusion(weights=weights, deployment=Deployment.SELECTION))
    assert record.weight_chronos is None and record.weight_autoformer is None
    assert record.total is not None and record.deployment == "selection"


@pytest.mark.parametrize("fusion", [a_fusion(7), unmade(7), a_fusion(7, trained={}, regime={})])
def test_a_hybrid_reads_back_from_the_runs_folder_and_lies_in_the_ledger(tmp_path, fusion):
    record = run_record(with_fusion(fusion), started=START)
    folder = write_run(tmp_path, record)
    back = read_run(folder)
    assert back.decision == record.decision
    assert back.decision.hybrid == hybrid_record(fusion)
    entry = run_entry(record, folder, root=tmp_path)
    logged = parse_json(json_line(run_line(fusion)["hybrid"]))
    assert parse_json(json_line(entry.run.decision["hybrid"])) == logged


def test_another_hybrid_changes_decision_json_alone(tmp_path):
    folders = [
        write_run(tmp_path / name, run_record(with_fusion(fusion), started=START))
        for name, fusion in (("a", a_fusion()), ("b", replace(a_fusion(), uncertainty=parts_of(7, scale=2))))
    ]
    names = {path.name for path in folders[0].iterdir()}
    different = {n for n in names if (folders[0] / n).read_bytes() != (folders[1] / n).read_bytes()}
    assert different == {"decision.json", "manifest.json"}
