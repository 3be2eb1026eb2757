"""Layers: names of variables, near-misses, .env files, nested keys."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.errors import ConfigError
from horizoncast.service.layers import (
    ALIASES,
    Layer,
    env_file_layer,
    flatten,
    near_miss,
    overrides_layer,
    source_of,
    toml_layer,
    variables_layer,
)


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("ENABLE_CRONOS", "ENABLE_CHRONOS"),
        ("ENABLE_CHRONNOS", "ENABLE_CHRONOS"),
        ("ENABLE_AUTOFORMERS", "ENABLE_AUTOFORMER"),
        ("ENABLE_RANDOM_FOREST", "ENABLE_RF"),
        ("ENABLE_ARIMA_GARCH", "ENABLE_ARIMA"),
        ("ENALBE_VAR", "ENABLE_VAR"),
        ("enable_var", "ENABLE_VAR"),
        ("CHRONOS_CONTEXT_LENGHT", "CHRONOS_CONTEXT_LENGTH"),
        ("CHRONOS_NUM_SAMPLE", "CHRONOS_NUM_SAMPLES"),
        ("CHRONO_NUM_SAMPLES", "CHRONOS_NUM_SAMPLES"),
        ("HORIZONCST_RUN__WORKERS", "HORIZONCAST_RUN__WORKERS"),
        ("horizoncast_RUN__WORKERS", "HORIZONCAST_RUN__WORKERS"),
    ],
)
def test_a_near_miss_is_an_error_with_a_hint(wrong: str, right: str) -> None:
    assert near_miss(wrong) == right
    with pytest.raises(ConfigError, match=f"did you mean {right}"):
        variables_layer({wrong: "on"}, "environment")


@pytest.mark.parametrize(
    "foreign",
    ["PATH", "HOME", "ENABLE_X11", "ENABLE_ARM", "ENABLE_CACHE", "ENABLE_DOCS", "CHRONOS_HOME",
     "CHRONOS_PORT", "ENABLE_", "CHRONOS", "HORIZON", "VAR", "LANG", "PYTHONPATH", "OMP_NUM_THREADS"],
)  # fmt: skip
def test_other_programs_variables_are_left_alone(foreign: str) -> None:
    assert near_miss(foreign) is None
    assert variables_layer({foreign: "1"}, "environment").values == {}


@pytest.mark.parametrize(("variable", "key"), ALIASES.items())
def test_every_alias_sets_its_key(variable: str, key: str) -> None:
    layer = variables_layer({variable: "shadow"}, "environment")
    assert dict(flatten(layer.values)) == {key: "shadow"}
    assert layer.describe(key) == f"environment: {variable}"


def test_nested_variables_lists_and_tables() -> None:
    layer = variables_layer(
        {
            "HORIZONCAST_RUN__WORKERS": "2",
            "HORIZONCAST_MEMBERS__VAR__WINDOWS": "{ 7d = 500 }",
            "HORIZONCAST_CADENCE__DAYS": '["mon", "tue"]',
        },
        "environment",
    )
    assert layer.values == {
        "run": {"workers": "2"},
        "members": {"var": {"windows": {"7d": 500}}},
        "cadence": {"days": ["mon", "tue"]},
    }


@pytest.mark.parametrize(
    "variables",
    [
        {"ENABLE_VAR": "on", "HORIZONCAST_MEMBERS__VAR__STATE": "off"},
        {"HORIZONCAST_RUN": "x", "HORIZONCAST_RUN__WORKERS": "1"},
        {"HORIZONCAST_RUN__WORKERS": "1", "HORIZONCAST_RUN": "x"},
        {"HORIZONCAST_CADENCE__DAYS": '["mon"'},
        {"HORIZONCAST_RUN____WORKERS": "1"},
        {"HORIZONCAST_": "1"},
    ],
)
def test_contradictions_and_unreadable_names_are_errors(variables: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        variables_layer(variables, "environment")


def test_env_file_is_read_without_interpolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_ANOTHER", "leaked")
    file = tmp_path / ".env"
    file.write_text(
        "# a comment\nexport ENABLE_VAR='shadow'\nHORIZONCAST_TARGET=${SECRET_OF_ANOTHER}\nFOO=1\n"
    )
    layer = env_file_layer(file, ".env")
    assert layer.values == {"members": {"var": {"state": "shadow"}}, "target": "${SECRET_OF_ANOTHER}"}


@pytest.mark.parametrize("line", ["ENABLE_VAR", "this is no assignment", "ENABLE_VAR='unclosed"])
def test_an_unreadable_line_is_an_error_and_not_skipped(tmp_path: Path, line: str) -> None:
    file = tmp_path / ".env"
    file.write_text(f"ENABLE_RF=on\n{line}\n")
    with pytest.raises(ConfigError, match="line 2"):
        env_file_layer(file, ".env")


def test_an_unreadable_line_does_not_show_its_value(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("TOKEN='hunter2\n")
    with pytest.raises(ConfigError) as caught:
        env_file_layer(file, ".env")
    assert "hunter2" not in str(caught.value)


def test_broken_toml_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "base.toml"
    file.write_text("[run\n")
    with pytest.raises(ConfigError, match=r"base\.toml"):
        toml_layer(file, "base.toml")


def test_source_is_the_last_layer_that_sets_a_key() -> None:
    layers = (
        Layer(name="a", values={"run": {"workers": 1, "replays": 5}}),
        overrides_layer({"run.workers": "2"}),
    )
    assert source_of(layers, "run.workers") == "command line: --set run.workers"
    assert source_of(layers, "run.replays") == "a"
    assert source_of(layers, "run.cache") == ""


@given(
    st.dictionaries(st.text("abc", min_size=1), st.dictionaries(st.text("xyz", min_size=1), st.integers()))
)
def test_flatten_loses_nothing(tables: dict[str, dict[str, int]]) -> None:
    expected = {f"{a}.{b}": v for a, inner in tables.items() for b, v in inner.items()}
    expected |= {a: {} for a, inner in tables.items() if not inner}
    assert dict(flatten(tables)) == expected
