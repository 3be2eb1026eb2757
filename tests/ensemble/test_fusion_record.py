"""What a decision records of its hybrid: checked, read-only, and whole after a pickle."""

import pickle
from dataclasses import fields, replace

import numpy as np
import pytest

from fusions import a_fusion, parts_of, unmade
from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.ensemble.records import SIGNALS, FusionRecord
from horizoncast.errors import BankError
from horizoncast.models.hybrid.context import Context

NAN = float("nan")


def test_signals_are_those_of_the_context():
    assert tuple(field.name for field in fields(Context)) == (*SIGNALS, "embedding")


def test_arrays_are_copies_and_read_only_also_after_a_pickle():
    weights = a_fusion().weights.copy()
    fusion = a_fusion(weights=weights)
    weights[:] = 0.5
    for record in (fusion, pickle.loads(pickle.dumps(fusion))):
        assert record.weights[0, 0] == 0.7
        assert record.steps == 7
        for array in (record.weights, record.accuracy, record.widths, record.log_odds):
            with pytest.raises(ValueError, match="read-only"):
                array[...] = 0.0
    again = pickle.loads(pickle.dumps(fusion))
    assert again.regime == fusion.regime and again.trained == fusion.trained
    np.testing.assert_array_equal(again.uncertainty.total, fusion.uncertainty.total)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"accuracy": np.ones(3)}, "shapes"),
        ({"widths": np.ones((2, 1))}, "shapes"),
        ({"weights": np.full((2, 6), 0.5)}, "shapes"),
        ({"weights": np.full((7, 2), 0.5)}, "shapes"),
        ({"log_odds": np.zeros((1, 7))}, "shapes"),
        ({"uncertainty": parts_of(8)}, "shapes"),
        ({"regime": {"season": 0.1, "colour": 0.2}}, "colour"),
        ({"weights": np.full((2, 7), 0.4)}, "sum to 1"),
        ({"weights": np.stack([np.full(7, 1.1), np.full(7, -0.1)])}, "not negative"),
        ({"uncertainty": replace(parts_of(7), aleatoric=np.full(7, -1e-9))}, "variance is negative"),
    ],
)
def test_a_broken_record_cannot_be_made(changes, words):
    with pytest.raises(BankError, match=words):
        a_fusion(**changes)


def test_no_lead_is_no_fusion():
    none = np.zeros(0)
    parts = HierarchicalUncertainty(epistemic=none, aleatoric=none, between=none)
    with pytest.raises(BankError, match="shapes"):
        a_fusion(log_odds=none, weights=np.zeros((2, 0)), uncertainty=parts)


def test_a_hybrid_that_could_not_be_made_knows_no_number_and_says_why():
    record = unmade(30)
    assert record.reason == "its part autoformer did not run"
    assert record.weights.shape == (2, 30) and record.steps == 30
    assert np.isnan(record.weights).all() and np.isnan(record.uncertainty.total).all()
    assert isinstance(pickle.loads(pickle.dumps(record)), FusionRecord)


def test_a_number_may_be_unknown():
    assert np.isnan(a_fusion(accuracy=np.array([0.5, NAN])).accuracy[1])
    assert a_fusion(regime={}).regime == {}
