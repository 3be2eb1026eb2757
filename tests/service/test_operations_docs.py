"""docs/operations.md: every table, metric, setting and invariant stands there."""

import re
from pathlib import Path

from horizoncast.service.outgoing import LedgerSettings, NotifySettings
from horizoncast.service.prometheus import HELP
from horizoncast.store.ledger import invariants
from horizoncast.store.ledger.schema import METADATA

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = (DOCS / "operations.md").read_text(encoding="utf-8")


def test_every_metric_is_documented_and_no_other() -> None:
    assert set(re.findall(r"horizoncast_[a-z_]+", TEXT.split("## Prometheus")[1])) == set(HELP)


def test_every_table_is_documented() -> None:
    named = set(re.findall(r"^\| `(\w+)` \|", TEXT.split("## How a run")[0], flags=re.MULTILINE))
    assert named == set(METADATA.tables) - {"schema_version"}


def test_every_invariant_is_documented() -> None:
    assert invariants.__doc__ is not None
    numbers = re.findall(r"^(\d+)\. ", invariants.__doc__, flags=re.MULTILINE)
    assert re.findall(r"^(\d+)\. ", TEXT.split("### Invariants")[1], flags=re.MULTILINE) == numbers


def test_settings_of_messages_and_ledger_are_named() -> None:
    wanted = {*NotifySettings.model_fields, *LedgerSettings.model_fields} - {"timeout_s"}
    assert [name for name in wanted if name not in TEXT] == []


def test_a_secret_address_is_not_explained(tmp_path: Path) -> None:
    from horizoncast.service.explain import explain
    from horizoncast.service.settings import load_settings

    overrides = {
        "notify.webhooks": '["slack://AAA/hush"]',
        "notify.ping": "https://hc-ping.com/hush",
        "notify.smtp_password": "hush",
        "ledger.url": "postgresql://me:hush@host/name",
    }
    settings = load_settings("forecaster_7d", root=tmp_path, environ={}, overrides=overrides)
    assert "hush" not in repr(explain(settings))
