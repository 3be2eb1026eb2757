"""Who set what."""

from pathlib import Path

from horizoncast.service.explain import explain
from horizoncast.service.layers import HIDDEN, masked
from horizoncast.service.settings import load_settings


def test_each_value_names_its_layer(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/base.toml").write_text("[run]\nreplays = 10\n")
    (tmp_path / "services/forecaster_7d").mkdir(parents=True)
    (tmp_path / "services/forecaster_7d/service.toml").write_text("[decision]\ntrim = 1.5\n")
    (tmp_path / "services/forecaster_7d/.env").write_text("ENABLE_RF=off\n")
    settings = load_settings(
        "forecaster_7d", root=tmp_path, environ={"ENABLE_VAR": "shadow"}, overrides={"run.workers": "2"}
    )
    found = {item.key: (item.value, item.layer) for item in explain(settings)}
    assert found["run.replays"] == (10, "config/base.toml")
    assert found["decision.trim"] == (1.5, "services/forecaster_7d/service.toml")
    assert found["members.random_forest.state"] == ("off", "services/forecaster_7d/.env: ENABLE_RF")
    assert found["members.var.state"] == ("shadow", "environment: ENABLE_VAR")
    assert found["run.workers"] == (2, "command line: --set run.workers")
    assert found["horizon"] == ("7d", "built-in service")
    assert found["decision.cap"][1] == "class default"


def test_secrets_are_hidden() -> None:
    assert masked("outbox.api_key", "k") == HIDDEN
    assert masked("mail.password", 5) == HIDDEN
    assert masked("source.url", "https://me:pw@host/x") == f"https://{HIDDEN}@host/x"
    assert masked("source.url", "https://host/x@y") == "https://host/x@y"
    assert masked("run.workers", 2) == 2
