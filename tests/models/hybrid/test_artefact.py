"""Learned parts on disk: the same numbers back, and nothing that is damaged."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.errors import StoreError
from horizoncast.models.hybrid import artefact as module
from horizoncast.models.hybrid.adaptation import train_adaptation
from horizoncast.models.hybrid.artefact import FILE, HybridParts, read_parts, write_parts
from horizoncast.models.hybrid.axes import NO_AXES
from horizoncast.models.hybrid.context import Context
from horizoncast.models.hybrid.gate import prior_log_odds, train_gate
from horizoncast.store.plain import canonical
from hybrid_rows import LEVELS, adaptation_rows, gate_rows, two_shapes

SEASONAL = Context(season=0.9, trend=0.2, volatility=0.9, entropy=0.8)


@pytest.fixture(scope="module")
def parts() -> HybridParts:
    """Both parts kept, as learned from planted rows."""
    gate, first = train_gate([gate_rows(1, windows=240, planted=0.9, shapes=two_shapes(0, size=4))])
    adaptation, second = train_adaptation([adaptation_rows(1, windows=240, planted=0.4)])
    assert gate is not None
    assert adaptation is not None
    return HybridParts(
        series="usd_mxn",
        service="forecaster_7d",
        gate=gate,
        adaptation=adaptation,
        trained_until=max(gate.trained_until, adaptation.trained_until),
        branches={"chronos": "aa11", "autoformer": "bb22"},
        model="usd_mxn-forecaster_7d-hybrid-joint",
        omega=(0.2, -0.1),
        revision="abc123",
        stages=(first, second),
    )


def test_what_is_read_is_what_was_written(parts: HybridParts, tmp_path: Path) -> None:
    assert write_parts(tmp_path, parts) == tmp_path / FILE
    again = read_parts(tmp_path)
    assert again == parts
    assert again.digest == parts.digest
    rows = adaptation_rows(5, windows=20)
    assert again.adaptation is not None
    assert parts.adaptation is not None
    np.testing.assert_array_equal(
        again.adaptation.apply(rows.quantiles, rows.features, LEVELS),
        parts.adaptation.apply(rows.quantiles, rows.features, LEVELS),
    )
    np.testing.assert_array_equal(again.log_odds(SEASONAL, [1, 5]), parts.log_odds(SEASONAL, [1, 5]))
    seen = replace(SEASONAL, novelty=0.3, embedding=(0.1, -2.0, 0.7, 1.0))
    np.testing.assert_array_equal(again.log_odds(seen, [1, 5]), parts.log_odds(seen, [1, 5]))
    assert not np.array_equal(again.log_odds(seen, [1, 5]), again.log_odds(SEASONAL, [1, 5]))
    assert again.branches == {"chronos": "aa11", "autoformer": "bb22"}
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_training_that_kept_nothing_is_on_record(tmp_path: Path) -> None:
    gate, ruling = train_gate([gate_rows(2, windows=20, steps=30)])
    nothing = HybridParts(
        series="s",
        service="forecaster_30d",
        gate=gate,
        adaptation=None,
        trained_until=np.datetime64("2021-05-06T13:30", "s"),
        stages=(ruling,),
    )
    write_parts(tmp_path, nothing)
    again = read_parts(tmp_path)
    assert again.neutral
    assert again.digest == nothing.digest
    assert again.trained_until == nothing.trained_until
    assert "cannot be told" in again.stages[0].reason
    assert np.isnan(again.stages[0].p_value)
    assert again.stages[0].gain == ruling.gain


def test_parts_answer_from_the_last_date_they_have_seen(parts: HybridParts) -> None:
    assert parts.at(parts.trained_until) is parts
    before = parts.at(parts.trained_until - np.timedelta64(1, "s"))
    assert before.neutral
    np.testing.assert_array_equal(before.log_odds(SEASONAL, [1, 5]), [prior_log_odds(SEASONAL)] * 2)
    np.testing.assert_array_equal(before.log_odds(SEASONAL, [1, 5], strength=0.0), [0.0, 0.0])
    assert not np.array_equal(parts.log_odds(SEASONAL, [1, 5]), before.log_odds(SEASONAL, [1, 5]))
    with pytest.raises(StoreError, match="seen later rows"):
        replace(parts, trained_until=np.datetime64("2001-01-01", "s"))


def test_a_joint_fine_tuning_adds_to_gate_and_rule_alike(parts: HybridParts) -> None:
    leads = [1, 3, 9]
    joint = 0.2 - 0.1 * np.log(leads)
    without = replace(parts, omega=(0.0, 0.0))
    np.testing.assert_allclose(parts.log_odds(SEASONAL, leads) - without.log_odds(SEASONAL, leads), joint)
    rule = replace(parts, gate=None)
    np.testing.assert_allclose(rule.log_odds(SEASONAL, leads, strength=0.0), joint)
    assert not replace(parts, gate=None, adaptation=None).neutral
    assert parts.unused().neutral
    with pytest.raises(StoreError, match="finite"):
        replace(parts, omega=(float("nan"), 0.0))


def test_other_branches_than_those_learned_from_are_named(parts: HybridParts) -> None:
    assert parts.differing({"chronos": "aa11", "autoformer": "bb22"}) == ()
    assert parts.differing({"chronos": "aa11"}) == ()
    assert parts.differing({"chronos": "aa12", "autoformer": "bb22"}) == ("chronos",)
    unsaid = replace(parts, branches={})
    assert unsaid.differing({"chronos": "aa11", "autoformer": "bb22"}) == ("chronos", "autoformer")


def test_different_parts_have_different_digests(parts: HybridParts) -> None:
    assert parts.gate is not None
    assert parts.adaptation is not None
    others = [
        replace(parts, gate=None),
        replace(parts, gate=replace(parts.gate, intercept=parts.gate.intercept + 1e-12)),
        replace(parts, revision="abc124"),
        replace(parts, omega=(0.2, 0.0)),
        replace(parts, branches={"chronos": "aa11", "autoformer": "bb23"}),
    ]
    assert len({parts.digest, *(other.digest for other in others)}) == 6
    assert parts.gate.digest != replace(parts.gate, strength=0.5).digest
    assert parts.gate.digest != replace(parts.gate, axes=NO_AXES).digest
    assert parts.adaptation.digest != replace(parts.adaptation, shift=parts.adaptation.log_scale).digest


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_file_cut_short_is_refused(parts: HybridParts, tmp_path: Path, share: float) -> None:
    place = write_parts(tmp_path, parts)
    whole = place.read_bytes()
    place.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(StoreError, match="refused"):
        read_parts(tmp_path)


def test_any_damaged_number_is_refused(parts: HybridParts, tmp_path: Path) -> None:
    """The first digit of each; the seventeenth may be another text of the same number."""
    place = write_parts(tmp_path, parts)
    whole = place.read_bytes()
    for found in re.finditer(rb"(?<![0-9a-zA-Z.])[0-9]", whole):
        at = found.start()
        other = b"5" if whole[at : at + 1] != b"5" else b"6"
        place.write_bytes(whole[:at] + other + whole[at + 1 :])
        with pytest.raises(StoreError, match="refused"):
            read_parts(tmp_path)
    place.write_bytes(b"\xff\xfe" + whole)
    with pytest.raises(StoreError):
        read_parts(tmp_path)


def rewritten(place: Path, change: str) -> None:
    """The file with a change that its digest covers: made by another release, or by hand."""
    whole = json.loads(place.read_text())
    exec(change, {"whole": whole, "parts": whole["parts"]})
    whole["sha256"] = module.hashlib.sha256(canonical(whole["parts"]).encode()).hexdigest()
    place.write_text(json.dumps(whole))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("whole['format'] = 1", "format 1"),
        ("whole['format'] = 2", "format 2, this release reads 3"),
        ("del whole['format']", "fields are missing"),
        ("del parts['gate']['slopes']", "slopes"),
        ("del parts['gate']['axes']", "axes"),
        ("parts['gate']['axes']['centre'].pop()", "axes of an embedding"),
        ("parts['gate']['axes']['axes'] *= 2", "at most 3"),
        ("parts['gate']['axes']['axes'][0][0] = None", "TypeError"),
        ("parts['gate']['slopes'] = [1.0]", "features of a gate"),
        ("parts['gate']['intercept'] = None", "TypeError"),
        ("parts['adaptation']['units']['spread'][0] = -1.0", "spreads"),
        ("parts['adaptation']['shift'] = 'abc'", "ValueError"),
        ("parts['trained_until'] = '1999-01-01'", "seen later rows"),
        ("parts['trained_until'] = 'soon'", "ValueError"),
        ("parts['stages'] = 3", "TypeError"),
        ("parts['omega'] = [1.0]", "ValueError"),
        ("parts['omega'] = [1.0, None]", "TypeError"),
        ("del parts['branches']", "branches"),
    ],
)
def test_what_cannot_be_is_refused(parts: HybridParts, tmp_path: Path, change: str, why: str) -> None:
    place = write_parts(tmp_path, parts)
    rewritten(place, change)
    with pytest.raises(StoreError, match=why):
        read_parts(tmp_path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '{"format": 1, "sha256": "0", "parts": null}'])
def test_json_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(StoreError, match="refused"):
        read_parts(tmp_path)


def test_an_absent_or_unwritable_folder_says_so(parts: HybridParts, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="No such file"):
        read_parts(tmp_path / "absent")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot write"):
        write_parts(tmp_path / "file", parts)


def test_new_parts_take_the_place_of_old_ones(parts: HybridParts, tmp_path: Path) -> None:
    write_parts(tmp_path / "deep" / "folder", parts)
    write_parts(tmp_path / "deep" / "folder", replace(parts, gate=None))
    assert read_parts(tmp_path / "deep" / "folder").gate is None
