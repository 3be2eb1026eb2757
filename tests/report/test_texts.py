"""The catalogue of texts: complete in both languages, and every key that is used exists."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from horizoncast.engine import ENSEMBLE
from horizoncast.ensemble.gate import Status
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.policy.states import MemberState
from horizoncast.report import texts
from horizoncast.report.texts import LANGUAGES, catalogue, counted, day, placeholders, text
from horizoncast.service.status import Health
from horizoncast.validation.significance import VerdictCode

SRC = Path(texts.__file__).parents[2]
CALLS = {"text": "", "counted": ".other", "t": "", "n": ".other"}


def used_in_python(path: Path) -> Iterator[str]:
    """Literal first arguments of the catalogue's functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = ast.unparse(node.func).split(".")[-1]
            key = node.args[0].value
            if name in CALLS and isinstance(key, str) and re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", key):
                yield key + CALLS[name]


def used_in_templates(path: Path) -> Iterator[str]:
    for name, key in re.findall(
        r"\b([tn])\(\s*'([a-z_]+(?:\.[a-z0-9_]+)+)'", path.read_text(encoding="utf-8")
    ):
        yield key + CALLS[name]


def used() -> set[str]:
    python = {k for p in SRC.rglob("*.py") for k in used_in_python(p)}
    return python | {k for p in SRC.rglob("*.jinja") for k in used_in_templates(p)}


@pytest.mark.parametrize("language", LANGUAGES[1:])
def test_every_key_exists_in_every_language_with_the_same_placeholders(language: str) -> None:
    english, other = catalogue("en"), catalogue(language)
    assert sorted(other) == sorted(english)
    different = [k for k in english if placeholders(english[k]) != placeholders(other[k])]
    assert different == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_texts_are_plain(language: str) -> None:
    """No markup, no stray blanks, no format specifications: a placeholder is a name."""
    for key, template in catalogue(language).items():
        assert template == template.strip() and template, key
        assert not re.search(r"<[a-z/]|&[a-z]+;|  ", template), key
        assert all(re.fullmatch(r"[a-z_][a-z0-9_]*", name) for name in placeholders(template)), key
        assert re.findall(r"\{[^}]*[!:][^}]*\}", template) == [], key


def test_every_key_that_is_used_exists() -> None:
    assert sorted(used() - set(catalogue("en"))) == []


def test_words_of_every_code_exist() -> None:
    """Keys that are put together from a code."""
    codes = {
        "health": Health,
        "status": Status,
        "state": MemberState,
        "verdict": VerdictCode,
    }
    for table, kind in codes.items():
        assert {f"common.{table}.{code.value}" for code in kind} <= set(catalogue("en"))
    assert ENSEMBLE == "ensemble"


def test_a_value_is_never_a_template() -> None:
    assert text("common.to", low="{high}", high="{0.__class__}") == "{high} to {0.__class__}"


def test_one_and_many() -> None:
    assert counted("common.runs", 2, "es") == "2 corridas"


def test_unknown_keys_languages_and_values_are_errors() -> None:
    with pytest.raises(UnknownNameError, match=r"health\.fresh"):
        text("common.health.frehs")
    with pytest.raises(UnknownNameError, match="language"):
        text("common.none", "fr")
    with pytest.raises(ConfigError, match="takes other values"):
        text("common.to", low="1")
    with pytest.raises(ConfigError, match="takes other values"):
        text("common.none", low="1")


def test_every_month_has_a_name() -> None:
    for language in LANGUAGES:
        months = [day(np.datetime64("2026-01", "M") + k, language, year=False) for k in range(12)]
        assert len(set(months)) == 12
