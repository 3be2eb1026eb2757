import re
from dataclasses import fields
from pathlib import Path

import pytest

from horizoncast.errors import StoreError
from horizoncast.models.hybrid.config import Deployment
from horizoncast.store.hybrid_record import HybridRecord, hybrid_of
from horizoncast.store.schema import (
    COMMON,
    HYBRID,
    SCHEMA,
    RecordKind,
    fields_of,
    identity_of,
    markdown,
    table_of,
    validate,
)

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"


def documented() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Tables of docs/metrics.md: section to field to (type, unit, meaning)."""
    tables: dict[str, dict[str, tuple[str, str, str]]] = {}
    section = ""
    for line in DOCS.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            section = line.lstrip("# ")
        row = re.fullmatch(r"\| `(\w+)` \| (.*?) \| (.*?) ?\| (.*) \|", line)
        if row:
            name, *rest = row.groups()
            tables.setdefault(section, {})[name] = tuple(rest)
    return tables


@pytest.mark.parametrize("kind", [None, *RecordKind])
def test_docs_and_schema_hold_the_same_fields_in_both_directions(kind):
    specs = COMMON if kind is None else SCHEMA[kind]
    shown = documented()["Every record" if kind is None else kind.value]
    assert list(shown) == [spec.name for spec in specs]
    for spec in specs:
        kind_text, unit, meaning = shown[spec.name]
        assert (kind_text, unit.strip()) == (spec.type_text, spec.unit)
        assert meaning.startswith(spec.meaning)


@pytest.mark.parametrize("kind", [None, *RecordKind])
def test_docs_hold_the_table_word_for_word(kind):
    assert markdown(kind) in DOCS.read_text(encoding="utf-8")


def event(**changes):
    record = {
        "schema": 1,
        "kind": "event",
        "at": "2024-06-28T11:00:00.000Z",
        "run_id": None,
        "service": "s",
        "series": "x",
        "code": "c",
        "message": "m",
        "severity": "info",
    }
    return record | changes


def test_a_valid_record_passes():
    validate(event())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"kind": "runs"}, "unknown kind"),
        ({"schema": 2}, "schema version"),
        ({"schema": True}, "schema version"),
        ({"at": "2024-06-28 11:00"}, "field at"),
        ({"service": None}, "field service"),
        ({"severity": "fatal"}, "info | warning | error"),
        ({"colour": "red"}, "unknown field"),
    ],
)
def test_a_broken_record_is_refused_with_its_field(changes, words):
    with pytest.raises(StoreError, match=re.escape(words)):
        validate(event(**changes))


def test_a_missing_field_is_refused():
    record = event()
    del record["code"]
    with pytest.raises(StoreError, match="lacks the field"):
        validate(record)


@pytest.mark.parametrize("value", [[], "text", 3, None])
def test_what_is_no_object_is_refused(value):
    with pytest.raises(StoreError, match="JSON object"):
        validate(value)


def test_kinds_that_are_lists_are_refused_like_any_other():
    with pytest.raises(StoreError, match="unknown kind"):
        validate(event(kind=["run"]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "1"])
def test_numbers_are_finite_numbers(value):
    record = {spec.name: None for spec in fields_of(RecordKind.SCORE)} | event()
    for name in ("code", "message", "severity"):
        del record[name]
    record |= {"kind": "score", "subject": "a", "metric": "rmse", "value": 1.0, "unit": "1", "sample": "live"}
    record |= {"leads": [1, 2], "windows": 3, "n_eff": 2.0}
    validate(record)
    with pytest.raises(StoreError, match="field n_eff"):
        validate(record | {"n_eff": value})
    with pytest.raises(StoreError, match="field leads"):
        validate(record | {"leads": [1, 2.5]})


# the object in a run


def a_run(**changes):
    """A run record with plausible values, and a hybrid that could not be made."""
    hybrid = dict.fromkeys((spec.name for spec in HYBRID), None)
    hybrid |= {"deployment": "full", "confidence": "inverse_variance", "reason": "why", "leads": [1, 2]}
    samples = {"string": "x", "integer": 1, "number": 1.0, "date": "2024-06-28", "list of strings": []}
    record = {spec.name: samples.get(spec.type.value) for spec in SCHEMA[RecordKind.RUN]}
    record |= {"scale": "log", "status": "published", "hybrid": hybrid | changes}
    head = event(kind="run")
    return {name: head[name] for name in ("schema", "kind", "at", "run_id", "service", "series")} | record


def test_the_docs_hold_the_hybrid_word_for_word():
    shown = documented()["hybrid"]
    assert list(shown) == [spec.name for spec in HYBRID]
    assert table_of(HYBRID) in DOCS.read_text(encoding="utf-8")


def test_record_schema_and_deployments_name_the_same_things():
    assert [field.name for field in fields(HybridRecord)] == [spec.name for spec in HYBRID]
    (deployment,) = (spec for spec in HYBRID if spec.name == "deployment")
    assert deployment.choices == tuple(Deployment)


def test_a_hybrid_is_optional_and_may_be_unknown():
    validate(a_run())
    validate(a_run(weight_chronos=[0.4, 0.6], season=0.2, trained={"trained_until": "2024-01-05"}))
    record = a_run()
    del record["hybrid"]
    validate(record)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"deployment": "half"}, "field deployment of hybrid of a run record"),
        ({"weight_chronos": [0.4, None]}, "field weight_chronos of hybrid"),
        ({"weight_chronos": 0.4}, "list of numbers or null"),
        ({"season": float("nan")}, "field season of hybrid"),
        ({"trained": {"gate": 3}}, "object of strings or null"),
        ({"trained": ["gate"]}, "field trained of hybrid"),
        ({"leads": None}, "field leads of hybrid"),
        ({"colour": "red"}, "hybrid of a run record has an unknown field"),
    ],
)
def test_a_broken_hybrid_is_refused_with_its_field(changes, words):
    with pytest.raises(StoreError, match=re.escape(words)):
        validate(a_run(**changes))


def test_a_hybrid_of_before_novelty_was_recorded_reads_as_unknown():
    record = a_run()
    del record["hybrid"]["novelty"]
    validate(record)
    assert hybrid_of(record["hybrid"]).novelty is None
    validate(a_run(novelty=0.4))
    assert hybrid_of(a_run(novelty=0.4)["hybrid"]).novelty == 0.4


def test_a_hybrid_must_be_whole_and_an_object():
    record = a_run()
    del record["hybrid"]["reason"]
    with pytest.raises(StoreError, match="hybrid of a run record lacks the field"):
        validate(record)
    with pytest.raises(StoreError, match="field hybrid of a run record"):
        validate(record | {"hybrid": "full"})


def test_equal_records_have_equal_keys():
    assert identity_of(event(severity="error")) == identity_of(event())
    assert identity_of(event(message="other")) != identity_of(event())
