"""A target's panel: how it is declared, read and reported."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.load import check_target, load_series
from horizoncast.data.target_file import parse_target, read_target
from horizoncast.errors import ConfigError, UnknownNameError

NOW = np.datetime64("2024-08-01T12:00:00")
BODY = """
name = "a"
unit = "u"
[source]
type = "csv"
path = "long.csv"
value_column = "v"
filter = { shop = "a" }
[calendar]
kind = "daily"
"""
PANEL = BODY + '[[related]]\nname = "b"\nfilter = { shop = "b" }\n'


def write_long(folder: Path, *, last_b: str = "v") -> None:
    rng = np.random.default_rng(0)
    lines = ["shop,date,v"]
    for shop in "ab":
        for k, value in enumerate(20 + rng.normal(size=80)):
            lines.append(f"{shop},{np.datetime64('2024-05-01') + k},{value:.3f}")
    if last_b != "v":
        lines[-1] = lines[-1].rsplit(",", 1)[0] + f",{last_b}"
    (folder / "long.csv").write_text("\n".join(lines) + "\n")


def load(text: str, folder: Path, **more):
    return load_series(parse_target(text, place="a.toml", folder=folder), now=NOW, **more)


def test_other_rows_of_a_long_file_are_a_panel(tmp_path):
    write_long(tmp_path)
    loaded = load(PANEL, tmp_path)
    (other,) = loaded.series.related
    assert (other.name, len(other)) == ("b", 80)
    assert not np.array_equal(other.values, loaded.series.values)
    assert loaded.report.digest != load(BODY, tmp_path).report.digest
    assert not [f for f in loaded.report.findings if f.code == "related_left_out"]


def test_another_targets_file_is_read_and_its_own_panel_is_not_followed(tmp_path):
    write_long(tmp_path)
    (tmp_path / "a.toml").write_text(BODY + '[[related]]\ntarget = "b"\n')
    other = BODY.replace('name = "a"', 'name = "b"').replace('shop = "a"', 'shop = "b"')
    (tmp_path / "b.toml").write_text(other + '[[related]]\ntarget = "a"\n')
    target = read_target(tmp_path / "a.toml")
    assert [(t.name, t.related) for t in target.related] == [("b", ())]
    assert load_series(target, now=NOW).series.related[0].name == "b"


def test_the_panel_is_read_as_of_the_same_day(tmp_path):
    write_long(tmp_path)
    series = load(PANEL, tmp_path, as_of=np.datetime64("2024-06-15")).series
    assert series.last == series.related[0].last == np.datetime64("2024-06-15")


def test_a_related_series_that_cannot_be_used_is_left_out_and_named(tmp_path):
    write_long(tmp_path)
    target = parse_target(PANEL.replace('"b" }', '"nobody" }'), place="a.toml", folder=tmp_path)
    loaded = load_series(target, now=NOW)
    assert loaded.series.related == ()
    (finding,) = [f for f in loaded.report.findings if f.code == "related_left_out"]
    assert "b is left out" in finding.message
    assert finding in check_target(target, now=NOW).findings
    alone = load_series(replace(target, related=()), now=NOW)
    assert np.array_equal(loaded.series.values, alone.series.values)


def test_a_cell_that_is_no_number_leaves_the_related_series_out(tmp_path):
    write_long(tmp_path, last_b="n.a.")
    assert [f.code for f in load(PANEL, tmp_path).report.findings].count("related_left_out") == 1


@pytest.mark.parametrize(
    ("entry", "error", "words"),
    [
        ('name = "b"', ConfigError, "other rows of this file, or another target"),
        ('target = "b"\nfilter = { shop = "b" }', ConfigError, "other rows of this file, or another target"),
        ('name = "a"\nfilter = { shop = "b" }', ConfigError, "repeat"),
        ('target = "missing"', ConfigError, "does not exist"),
        ('filters = { shop = "b" }', UnknownNameError, "filter"),
    ],
)
def test_a_panel_that_means_nothing_is_refused(tmp_path, entry, error, words):
    write_long(tmp_path)
    with pytest.raises(error, match=words):
        parse_target(BODY + f"[[related]]\n{entry}\n", place="a.toml", folder=tmp_path)


def test_a_related_target_needs_the_same_calendar_and_covariates(tmp_path):
    write_long(tmp_path)
    other = BODY.replace('name = "a"', 'name = "b"')
    (tmp_path / "b.toml").write_text(other.replace("daily", "weekly"))
    with pytest.raises(ConfigError, match="another calendar"):
        parse_target(BODY + '[[related]]\ntarget = "b"\n', place="a.toml", folder=tmp_path)
    (tmp_path / "b.toml").write_text(other + '[[covariates]]\nname = "x"\n')
    with pytest.raises(ConfigError, match="other covariates"):
        parse_target(BODY + '[[related]]\ntarget = "b"\n', place="a.toml", folder=tmp_path)
