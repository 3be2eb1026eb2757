"""Every text that pages, mails and charts show to people, by key and language.

A key such as ``run.fan.title`` is ``title`` in table ``fan`` of ``<language>/run.toml``. English is
complete and decides what exists; a test holds the other languages to the same keys and placeholders.
Placeholders are plain names in braces: numbers come formatted, so that rounding stays in one place.
"""

from __future__ import annotations

import string
import tomllib
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from horizoncast.errors import ConfigError, UnknownNameError

ENGLISH = "en"
LANGUAGES = (ENGLISH, "es")
_FOLDER = Path(__file__).parent


def text(key: str, language: str = ENGLISH, /, **values: object) -> str:
    """A text in a language, its placeholders filled; a value is never read as a template.

    Raises
    ------
    UnknownNameError
        When there is no such text or language.
    ConfigError
        When a placeholder gets no value, or a value has no placeholder.

    >>> text("common.of", n=3, total=4)
    '3 of 4'
    """
    known = catalogue(language)
    if key not in known:
        raise UnknownNameError.of("text", key, known)
    if set(values) != placeholders(known[key]):
        raise ConfigError(
            f"text {key} takes other values",
            value=sorted(values),
            allowed=", ".join(sorted(placeholders(known[key]))),
        )
    return known[key].format(**values)


def counted(key: str, number: int, language: str = ENGLISH, /, **values: object) -> str:
    """The text ``key.one`` for one of a thing and ``key.other`` for any other number, ``{n}``.

    >>> counted("common.runs", 1), counted("common.runs", 0)
    ('1 run', '0 runs')
    """
    full = f"{key}.{'one' if number == 1 else 'other'}"
    told = {"n": number} if "n" in placeholders(catalogue(language).get(full, "")) else {}
    return text(full, language, **told, **values)


def day(date: np.datetime64, language: str = ENGLISH, /, *, year: bool = True) -> str:
    """A date as people write it.

    >>> day(np.datetime64("2026-01-02")), day(np.datetime64("2026-01-02"), "es", year=False)
    ('2 Jan 2026', '2 ene')
    """
    full = str(date.astype("datetime64[D]"))
    name = text(f"common.months.m{full[5:7]}", language)
    return f"{int(full[8:])} {name} {full[:4]}" if year else f"{int(full[8:])} {name}"


@lru_cache(maxsize=8)
def catalogue(language: str) -> Mapping[str, str]:
    """All texts of a language by key.

    Raises
    ------
    UnknownNameError
        When there is no such language.
    """
    if language not in LANGUAGES:
        raise UnknownNameError.of("language", language, LANGUAGES)
    found: dict[str, str] = {}
    for path in sorted((_FOLDER / language).glob("*.toml")):
        found.update(_flat(path.stem, tomllib.loads(path.read_text(encoding="utf-8"))))
    return MappingProxyType(found)


def placeholders(template: str) -> set[str]:
    """Names in braces.

    >>> sorted(placeholders("{n} of {total}"))
    ['n', 'total']
    """
    return {name for _, name, _, _ in string.Formatter().parse(template) if name is not None}


def _flat(above: str, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _flat(f"{above}.{key}", value)
        else:
            yield f"{above}.{key}", str(value)
