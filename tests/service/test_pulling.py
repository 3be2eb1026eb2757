import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.pull import Outcome
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.errors import ConfigError
from horizoncast.service.folders import find_places
from horizoncast.service.pulling import PullClock, events_of, pull_all, targets_of, variables
from horizoncast.service.settings import Settings, load_keeping, load_settings
from horizoncast.store.metrics_log import MetricsLog
from loopback import Clock, Loopback, Reply

NOW = np.datetime64("2024-08-01T21:00:00")
TARGET = """
name = "{name}"
unit = "u"
start = "2024-01-01"
[source]
type = "http_csv"
url = "{url}/{name}"
value_column = "v"
headers = {{ X-Key = "{{secret:KEY}}" }}
[calendar]
kind = "business"
"""


def settings_at(root: Path, **overrides: str) -> Settings:
    given = {"data.tries": "2", "data.read_s": "0.3"} | {
        k.replace("__", "."): v for k, v in overrides.items()
    }
    return load_settings("forecaster_7d", root=root, environ={}, overrides=given)


def write_target(root: Path, name: str, url: str) -> Path:
    path = root / f"{name}.toml"
    path.write_text(TARGET.format(name=name, url=url))
    return path


def clock() -> PullClock:
    counted = Clock()
    return PullClock(now=NOW, clock=counted, sleep=counted.sleep)


def test_each_target_on_its_own_and_the_log_knows(tmp_path: Path) -> None:
    replies = {"/good": Reply(b"date,v\n2024-07-31,1\n"), "/bad": Reply(status=500)}
    with Loopback(lambda asked: replies[asked.path]) as server:
        good, bad = (write_target(tmp_path, name, server.url) for name in ("good", "bad"))
        settings = settings_at(tmp_path)
        wanted = [(bad, settings), (tmp_path / "none.toml", settings), (good, settings)]
        results = pull_all(wanted, {"KEY": "k3y-value"}, clock=clock())
        assert [result.exit_code for result in results] == [3, 2, 0]
        replies["/good"] = Reply(b"date,v\n2024-07-31,2\n")
        again = pull_all([(good, settings)], {"KEY": "k3y-value"}, clock=clock())
        assert again[0].report is not None and again[0].report.sources[0].outcome is Outcome.RECENT
        revised = pull_all([(good, settings)], {"KEY": "k3y-value"}, at_once=True, clock=clock())
    assert [event.code for event in events_of(revised[0])] == ["history_revised"]
    assert all(asked.headers["x-key"] == "k3y-value" for asked in server.asked)
    log = MetricsLog(settings.output_folder / "metrics.jsonl").read()
    assert log.problems == ()
    assert [(r["code"], r["series"]) for r in log.records] == [
        ("pull_failed", "bad"),
        ("pull_failed", "none"),
        ("history_revised", "good"),
    ]
    assert "k3y-value" not in json.dumps(log.records)
    with VintageStore(store_path(settings.store_folder, "good")) as store:
        assert [v.value for v in store.history("target", "v")] == [1.0, 2.0]


def test_secrets_from_the_environment_before_the_file_before_the_folder(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("KEY=from-file\nOTHER=$KEY\n")
    settings = settings_at(tmp_path, data__secrets="keys")
    assert variables(settings, {"KEY": "from-env"}) == {"KEY": "from-env", "OTHER": "$KEY"}
    assert variables(settings, {})["KEY"] == "from-file"
    assert settings.secrets_folder == tmp_path / "keys" and settings_at(tmp_path).secrets_folder is None
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "KEY").write_text("from-folder")
    (tmp_path / ".env").unlink()
    with Loopback(lambda asked: Reply(b"date,v\n2024-07-31,1\n")) as server:
        path = write_target(tmp_path, "t", server.url)
        assert pull_all([(path, settings)], {}, clock=clock())[0].exit_code == 0
        assert server.asked[0].headers["x-key"] == "from-folder"


def test_services_that_share_a_target_pull_it_once(tmp_path: Path) -> None:
    services = [
        load_settings(name, root=tmp_path, environ={}) for name in ("forecaster_7d", "forecaster_30d")
    ]
    assert [path for path, _ in targets_of(services)] == [tmp_path / "config/targets/usdmxn.toml"]
    other = settings_at(tmp_path, target="other.toml")
    assert [path.name for path, _ in targets_of([other, *services])] == ["other.toml", "usdmxn.toml"]


def test_pulling_imports_no_member_and_knows_its_settings(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from horizoncast.service import pulling, settings; "
        "from horizoncast.service.folders import find_places; "
        f"settings.load_keeping('forecaster_7d', find_places(Path({str(tmp_path)!r})), environ={{}}); "
        "print([m for m in ('scipy', 'pandas', 'statsmodels', 'arch', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
    places = find_places(tmp_path)
    given = {"data.budget_s": "7", "retention.run_days": "3", "horizon": "15d"}
    light = load_keeping("forecaster_7d", places, overrides=given, environ={})
    full = load_settings("forecaster_7d", root=tmp_path, overrides=given, environ={})
    assert (light.data, light.retention, light.run) == (full.data, full.retention, full.run)
    assert (light.store_folder, light.target_path) == (full.store_folder, full.target_path)
    for wrong, words in (("dta.store", "did you mean data"), ("data.stor", "did you mean store")):
        with pytest.raises(ConfigError, match=words):
            load_keeping("forecaster_7d", places, overrides={wrong: "x"}, environ={})


def test_pulling_is_no_part_of_a_runs_identity(tmp_path: Path) -> None:
    one, other = settings_at(tmp_path), settings_at(tmp_path, data__budget_s="5", retention__run_days="9")
    assert one.config_hash == other.config_hash
    with pytest.raises(ConfigError, match=r"retention\.run_days"):
        settings_at(tmp_path, retention__run_days="-1")
