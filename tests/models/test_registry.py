import subprocess
import sys
from dataclasses import dataclass

import pytest

from horizoncast.errors import ConfigError, NotInstalledError, UnknownNameError
from horizoncast.models.base import Member, MemberConfig
from horizoncast.models.registry import MEMBERS, NAIVES, make_config, make_member, member_class


@pytest.mark.parametrize("name", sorted(MEMBERS))
def test_every_line_names_a_member(name):
    kind = member_class(name)
    assert issubclass(kind, Member)
    assert kind.name == name
    assert issubclass(kind.config_type, MemberConfig)
    assert kind.naive == (name in NAIVES)


def test_unknown_member_gets_a_hint():
    with pytest.raises(UnknownNameError, match="did you mean random_forest"):
        member_class("random_forrest")


def test_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(MEMBERS, "ghost", "horizoncast_no_such_package:Ghost")
    with pytest.raises(NotInstalledError, match="horizoncast_no_such_package"):
        member_class("ghost")


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_a_broken_package_is_no_reason_to_lose_the_run(monkeypatch, tmp_path, error):
    (tmp_path / "broken_package_of_a_test.py").write_text(f"raise {error}('libgomp.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(MEMBERS, "ghost", "broken_package_of_a_test:Ghost")
    with pytest.raises(NotInstalledError, match="libgomp"):
        member_class("ghost")


def test_settings_reach_the_member():
    member = make_member("random_forest", {"trees": 7}, service="forecaster_7d")
    assert member.config.trees == 7
    assert member.service == "forecaster_7d"


def test_unknown_setting_gets_a_hint():
    with pytest.raises(UnknownNameError, match="did you mean window"):
        make_config("random_walk", {"windov": 3})


def test_a_value_the_settings_refuse_is_a_config_error(monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Strict(MemberConfig):
        def __post_init__(self):
            if self.window < 1:
                raise ValueError("window must be positive")

    monkeypatch.setattr(member_class("random_walk"), "config_type", Strict)
    with pytest.raises(ConfigError, match="window must be positive"):
        make_config("random_walk", {"window": -1})


def test_listing_members_imports_no_model_package():
    code = (
        "import sys, horizoncast.models.registry as r; assert r.MEMBERS; "
        "print([m for m in ('sklearn', 'torch', 'arch', 'statsmodels', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
