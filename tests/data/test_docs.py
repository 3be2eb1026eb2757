"""docs/data.md: its targets can be read, its keys and settings exist."""

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from horizoncast.data.feed import Feed
from horizoncast.data.target import SourceType
from horizoncast.data.target_file import parse_target

ROOT = Path(__file__).resolve().parents[2]
DOC = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
TARGETS = [block for block in re.findall(r"```toml\n(.*?)```", DOC, re.DOTALL) if block.startswith("name =")]


@pytest.mark.parametrize("block", TARGETS)
def test_every_target_in_the_text_can_be_read(block: str) -> None:
    assert parse_target(block, place="docs/data.md", folder=ROOT).source.column


def test_every_source_type_and_key_is_described() -> None:
    sources = DOC.split("## Sources")[1].split("\n## ")[0]
    assert [kind for kind in SourceType if f"`{kind}`" not in sources] == []
    assert [f.name for f in fields(Feed) if f"`{f.name}`" not in sources] == []
    assert len(TARGETS) >= 2


def test_retention_defaults_are_those_of_the_settings() -> None:
    table = tomllib.loads((ROOT / "config" / "base.toml").read_text(encoding="utf-8"))["retention"]
    text = DOC.split("## Retention")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE))
    rows |= dict(re.findall(r"`(\w+)` \((\d+)\)", text))
    assert {key: int(value) for key, value in rows.items()} == table
