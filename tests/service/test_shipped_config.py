"""config/base.toml and services/: complete, commented, equal to the defaults of the classes."""

import tomllib
from pathlib import Path

import pytest

from horizoncast.models.registry import MEMBERS
from horizoncast.service.folders import BUILT_IN
from horizoncast.service.layers import ALIASES, env_file_layer, flatten
from horizoncast.service.settings import load_settings

ROOT = Path(__file__).resolve().parents[2]
BASE = ROOT / "config" / "base.toml"


def base_values() -> dict[str, object]:
    return dict(flatten(tomllib.loads(BASE.read_text(encoding="utf-8"))))


def class_values(tmp_path: Path) -> dict[str, object]:
    table = load_settings("forecaster_30d", root=tmp_path, environ={}).table()
    return dict(flatten(table))


def test_base_toml_holds_every_setting_with_its_default(tmp_path: Path) -> None:
    written, known = base_values(), class_values(tmp_path)
    assert sorted(written) == sorted(known), "a setting is missing in config/base.toml, or unknown"
    assert written.pop("members.chronos.state") == "auto"  # on or off, as its packages are installed
    assert known.pop("members.chronos.state") == "on"
    assert written == known


def test_every_setting_has_a_comment() -> None:
    """The line above a setting, or above its table, is a comment; a bare one is undocumented."""
    lines = BASE.read_text(encoding="utf-8").splitlines()
    bare = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if ("=" in line or line.startswith("[")) and not line.startswith("#") and not above.startswith("# ")
    ]
    assert bare == []


def test_every_variable_is_named_in_base_toml() -> None:
    text = BASE.read_text(encoding="utf-8")
    assert [name for name in ALIASES if name not in text] == []


def test_every_member_has_a_table() -> None:
    tables = tomllib.loads(BASE.read_text(encoding="utf-8"))["members"]
    assert set(MEMBERS) <= set(tables)


@pytest.mark.parametrize("service", BUILT_IN)
def test_shipped_service_equals_the_built_in_one(service: str, tmp_path: Path) -> None:
    shipped = load_settings(service, root=ROOT, environ={})
    built_in = load_settings(service, root=tmp_path, environ={})
    assert shipped.table() == built_in.table()
    assert tomllib.loads((ROOT / "services" / service / "service.toml").read_text()) == BUILT_IN[service]


@pytest.mark.parametrize("service", BUILT_IN)
def test_env_example_shows_the_defaults(service: str, tmp_path: Path) -> None:
    """Without its comment marks every line of .env.example is a valid assignment of a default."""
    text = (ROOT / "services" / service / ".env.example").read_text()
    assignments = [line[1:] for line in text.splitlines() if line.startswith("#") and line[1:2].isupper()]
    assert {line.split("=")[0] for line in assignments} >= set(ALIASES)
    file = tmp_path / "example.env"
    file.write_text("\n".join(line for line in assignments if not line.startswith("HORIZONCAST_TARGET")))
    env_file_layer(file, "example")
    plain = load_settings(service, root=ROOT, environ={})
    assert load_settings(service, root=ROOT, environ={}, env_file=file).table() == plain.table()


def test_cadences_are_those_decided() -> None:
    found = {}
    for service in BUILT_IN:
        c = load_settings(service, root=ROOT, environ={}).cadence
        found[service.removeprefix("forecaster_")] = (c.days, c.weeks, c.time, c.timezone)
    place = ("07:00", "America/Santiago")
    assert found == {
        "7d": (("mon", "wed", "fri"), "every", *place),
        "15d": (("mon", "thu"), "every", *place),
        "30d": (("fri",), "every", *place),
        "90d": (("tue",), "first", *place),
    }


def test_services_hold_data_and_no_python() -> None:
    assert list((ROOT / "services").rglob("*.py")) == []
