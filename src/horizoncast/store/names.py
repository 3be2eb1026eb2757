"""Folder and file names from any text."""

from __future__ import annotations

import hashlib

LONGEST = 60


def safe_name(text: str) -> str:
    """A file name from any text: plain names stay, others get a digest so that none collide.

    >>> safe_name("usd_mxn"), safe_name("../../x").startswith("______x-")
    ('usd_mxn', True)
    """
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "_" for c in text)
    if not plain or plain.startswith("-"):
        plain = "_" + plain[1:]  # a leading dash reads as an option on a command line
    if plain == text and 0 < len(text) <= LONGEST:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain[:40]}-{digest}"


def encodable(text: str) -> str:
    """The text with lone surrogates replaced, so that every file format can hold it."""
    return text.encode("utf-8", "replace").decode("utf-8")


_FORMULA = frozenset("=+-@\t\r\n'\uff1d\uff0b\uff0d\uff20")


def csv_text(text: str) -> str:
    """A text cell that no spreadsheet takes for a formula (OWASP, CSV Injection).

    A quote mark is put before ``= + - @``, tab, carriage return and line feed (full-width forms and
    leading blanks included), and before a quote mark, so that `from_csv_text` gives the text back.

    >>> csv_text("=cmd|' /C calc'!A0"), csv_text("ECB")
    ("'=cmd|' /C calc'!A0", 'ECB')
    """
    clean = encodable(text)
    risky = clean[:1] in _FORMULA or clean.lstrip()[:1] in _FORMULA
    return f"'{clean}" if clean and risky else clean


def from_csv_text(cell: str) -> str:
    """The text behind a cell that `csv_text` wrote."""
    return cell[1:] if cell.startswith("'") else cell
