"""config/chronos.toml and its reader."""

import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.models.chronos.settings import (
    ChronosSettings,
    read_settings,
    settings_of,
    settings_under,
)

FILE = Path(__file__).resolve().parents[3] / "config" / "chronos.toml"


def test_the_file_holds_every_setting_with_its_default() -> None:
    tables = tomllib.loads(FILE.read_text(encoding="utf-8"))
    assert read_settings(FILE) == ChronosSettings()
    for table in fields(ChronosSettings):
        assert set(tables[table.name]) == {f.name for f in fields(getattr(ChronosSettings(), table.name))}


def test_every_setting_has_a_comment() -> None:
    lines = [
        line for line in FILE.read_text(encoding="utf-8").splitlines() if not line.startswith((" ", "]"))
    ]
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if ("=" in line or line.startswith("[")) and not line.startswith("#") and not above.startswith("# ")
    ]
    assert bare == []


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    assert settings_under(tmp_path) == ChronosSettings()


def test_a_file_under_the_root_is_read(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "chronos.toml").write_text("[training]\nepochs = 3\nlearning_rate = 0\n")
    training = settings_under(tmp_path).training
    assert training.epochs == 3
    assert training.learning_rate == 0.0
    assert training.batch_size == ChronosSettings().training.batch_size


@pytest.mark.parametrize(
    ("tables", "hint"),
    [
        ({"trainin": {}}, "did you mean training"),
        ({"training": {"epoch": 3}}, "did you mean epochs"),
        ({"dummy": {"patterns": ["trends"]}}, "trend, seasonal, noise"),
        ({"training": {"epochs": "3"}}, "epochs in [training]"),
        ({"training": {"epochs": True}}, "epochs in [training]"),
        ({"training": {"mode": "all"}}, "full, head, gradual, adapter, lora"),
        ({"training": {"validation_split": 0.9}}, "0.02 to 0.5"),
        ({"base": {"quantiles": [0.9, 0.5, 0.1]}}, "rising"),
        ({"base": {"quantiles": 0.5}}, "a list"),
        ({"base": 3}, "no table"),
    ],
)
def test_what_is_wrong_is_named(tables: dict[str, object], hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_of(tables)
    assert hint in str(caught.value)


def test_a_missing_or_broken_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="do not exist"):
        read_settings(tmp_path / "nothing.toml")
    (tmp_path / "broken.toml").write_text("[training\n")
    with pytest.raises(ConfigError, match="no valid TOML"):
        read_settings(tmp_path / "broken.toml")
    assert issubclass(UnknownNameError, ConfigError)


def test_both_settings_files_name_one_folder_of_models() -> None:
    """What `models finetune` keeps must be found by the parts that run on their own."""
    base = tomllib.loads((FILE.parent / "base.toml").read_text(encoding="utf-8"))
    assert read_settings(FILE).folders.models == base["models"]["folder"] == ChronosSettings().folders.models
