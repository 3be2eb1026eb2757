"""Secrets: read from the environment or a folder when needed, never shown.

``{secret:NAME}`` in a URL, a parameter or a header stands for the variable NAME, or for the content
of the file NAME in the secrets directory (as Docker and systemd provide them).
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

from horizoncast.errors import ConfigError

HIDDEN = "***"
_PLACE = re.compile(r"\{secret:([A-Za-z][A-Za-z0-9_]*)\}")


class Secret:
    """A text that no print, log or pickle shows.

    >>> Secret("hunter2")
    Secret('***')
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself; only where it is sent."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret('{HIDDEN}')"

    def __str__(self) -> str:
        return HIDDEN

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret is not pickled")


class Secrets:
    """Secrets by name, and the means to keep those that were used out of any text.

    Parameters
    ----------
    environ
        Variables; they come first.
    folder
        Secrets directory: one file per secret; None has none.
    """

    def __init__(self, environ: Mapping[str, str], folder: Path | None = None) -> None:
        self._environ = environ
        self._folder = folder
        self._used: dict[str, Secret] = {}

    def __repr__(self) -> str:
        return f"Secrets(used={sorted(self._used)})"

    def get(self, name: str) -> Secret:
        """One secret.

        Raises
        ------
        ConfigError
            When neither a variable nor a file of that name holds it; the message names the name only.
        """
        if name not in self._used:
            self._used[name] = Secret(self._read(name))
        return self._used[name]

    def _read(self, name: str) -> str:
        text = self._environ.get(name, "").strip()
        file = None if self._folder is None else self._folder / name
        if not text and file is not None and file.is_file():
            text = file.read_text(encoding="utf-8").strip()
        if not text:
            raise ConfigError(
                "a secret is not set",
                value=name,
                allowed="a variable of that name, or a file in the secrets directory",
                action="set it; a secret never belongs in a target's file",
            )
        if not text.isprintable():
            raise ConfigError("a secret holds a line break or a control character", value=name)
        return text

    def fill(self, text: str, *, quoted: bool = False) -> str:
        """Replace ``{secret:NAME}`` by what it stands for; `quoted` percent-encodes it for a URL."""

        def one(found: re.Match[str]) -> str:
            revealed = self.get(found.group(1)).reveal()
            return quote(revealed, safe="") if quoted else revealed

        return _PLACE.sub(one, text)

    def redact(self, text: str) -> str:
        """Replace every secret used so far, plain or percent-encoded, by stars."""
        found = {form for secret in self._used.values() for form in _forms(secret.reveal())}
        for form in sorted(found, key=len, reverse=True):
            text = text.replace(form, HIDDEN)
        return text


def names_in(text: str) -> tuple[str, ...]:
    """Names of the secrets that a text asks for.

    >>> names_in("https://{secret:USER}:{secret:KEY}@host")
    ('USER', 'KEY')
    """
    return tuple(_PLACE.findall(text))


def _forms(text: str) -> set[str]:
    """How a secret may appear; the parts of ``user:password`` are secrets too when long enough."""
    parts = [text, *(part for part in text.split(":", 1)[1:] if len(part) > 3)]
    spelt = {form for part in parts for form in (part, quote(part, safe=""), quote_plus(part))}
    return {*spelt, base64.b64encode(text.encode()).decode(), repr(text)[1:-1]}
