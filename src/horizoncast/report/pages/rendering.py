"""From a template and values to a page: escaping on, texts of one language, one style sheet, no request.

A page forbids itself scripts and requests by its content security policy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from horizoncast.report.pages.palette import DARK, LIGHT, variables
from horizoncast.report.texts import counted, text

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"
STYLE = "style.css"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table.

    Parameters
    ----------
    text
        What it says.
    kind
        Classes of the style sheet: ``number``, ``day``, ``wide``, ``good``, ``warn``, ``bad``, ``quiet``.
    share
        Draws a bar of this share behind a number; None draws none.
    link
        Relative address; empty for none.
    code
        Whether the text is a command or a digest.
    """

    text: str
    kind: str = ""
    share: float | None = None
    link: str = ""
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Head:
    """Head of a column; a number's column is set flush right."""

    text: str
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """A table; the first column names the rows.

    Parameters
    ----------
    label
        What it holds, for those who meet it without its heading.
    empty
        What is said in its place when there are no rows.
    stacked
        Whether rows become blocks on a phone instead of a table that scrolls.
    """

    label: str
    head: Sequence[Head]
    rows: Sequence[Sequence[Cell]]
    empty: str = ""
    stacked: bool = False


@dataclass(frozen=True, kw_only=True)
class Pill:
    """A state in a word, with a mark beside the colour: good, warn, bad or quiet (not known)."""

    text: str
    kind: str

    @property
    def mark(self) -> str:
        """A sign that needs no colour."""
        return {"good": "\u2713", "warn": "!", "bad": "\u2715"}.get(self.kind, "?")


@dataclass(frozen=True, kw_only=True)
class Note:
    """A line of a list: its head, its text, and how bad it is."""

    text: str
    head: str = ""
    kind: str = ""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A picture with its finding and what belongs to it."""

    title: str
    picture: Markup
    note: str = ""
    narrow: Markup | None = None
    """The same for a phone, where one picture does not serve both."""


def render(template: str, language: str, values: Mapping[str, Any]) -> str:
    """A page as HTML; its last line ends in a newline."""
    say = {"t": partial(_said, language), "n": partial(_counted, language), "lang": language}
    return _environment().get_template(template).render(**say, style=_style(), **values).rstrip() + "\n"


def numbers(*names: str) -> list[Head]:
    """Heads of a table; a leading ``#`` marks a column of numbers."""
    return [Head(text=n.removeprefix("#"), kind="number" if n.startswith("#") else "") for n in names]


def number(words: str, *, share: float | None = None, kind: str = "") -> Cell:
    """A cell with a number, formatted."""
    return Cell(text=words, kind=f"number {kind}".strip(), share=share)


def _said(language: str, key: str, /, **values: object) -> str:
    return text(key, language, **values)


def _counted(language: str, key: str, count: int, /, **values: object) -> str:
    return counted(key, count, language, **values)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@lru_cache(maxsize=1)
def _style() -> Markup:
    """The style sheet with the colours of both schemes."""
    sheet = (TEMPLATES / STYLE).read_text(encoding="utf-8")
    schemes = (
        f":root {{ color-scheme: light dark; {variables(LIGHT)} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root {{ {variables(DARK)} }} }}\n"
    )
    return Markup(schemes + sheet)  # noqa: S704  (a file of ours)
