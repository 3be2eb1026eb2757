"""Read an answer's body and refuse what is not whole or not what was asked for."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import urllib3

_PIECE = 1 << 16
_KEPT = ("content-type", "content-length", "content-encoding", "etag", "last-modified", "date")
_GENERAL = frozenset({"", "application/octet-stream", "binary/octet-stream", "application/force-download"})


class Expected(StrEnum):
    """What an answer should be."""

    CSV = "csv"
    JSON = "json"
    ZIP = "zip"

    @property
    def accept(self) -> str:
        """The Accept header."""
        return {"csv": "text/csv, text/plain, */*;q=0.1", "json": "application/json"}.get(self, "*/*")

    def takes(self, kind: str) -> bool:
        """Whether a declared content type can hold it."""
        if kind in _GENERAL:
            return True
        match self:
            case Expected.CSV:
                return kind.endswith(("/csv", "/plain", "-csv", "-excel", "-values"))
            case Expected.JSON:
                return kind.endswith(("/json", "+json", "/plain", "/javascript"))
            case Expected.ZIP:
                return "zip" in kind and "gzip" not in kind


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A whole answer.

    Parameters
    ----------
    status
        200, or 304 when nothing has changed; the body is empty then.
    headers
        Those worth keeping, lower case.
    body
        Decompressed.
    framed
        Whether its length was said, by Content-Length, chunks or gzip; without, only the content can
        tell whether it was cut.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    framed: bool

    @property
    def digest(self) -> str:
        """SHA-256 of the body."""
        return hashlib.sha256(self.body).hexdigest()


class Broken(Exception):  # noqa: N818  (an answer, not an error of ours)
    """An answer that cannot be used; `again` says whether another try may bring a better one."""

    def __init__(self, reason: str, *, again: bool = False, action: str = "ask the provider") -> None:
        self.reason = reason
        self.again = again
        self.action = action
        super().__init__(reason)


def read_body(
    response: urllib3.BaseHTTPResponse, expected: Expected, *, max_bytes: int, late: Callable[[], bool]
) -> Answer:
    """Read, decompress and judge a body.

    Parameters
    ----------
    response
        Status 200, nothing read of it yet.
    expected
        What it should be.
    max_bytes
        Largest size, before and after decompression.
    late
        Whether time is up; asked before every piece.

    Raises
    ------
    Broken
        For a body that is cut, too large, of another kind, or a web page.
    """
    headers = {k.lower(): v for k, v in response.headers.items() if k.lower() in _KEPT}
    chunked = "chunked" in response.headers.get("transfer-encoding", "").lower()
    raw = _read_raw(response, max_bytes, late)
    length = headers.get("content-length", "")
    if not chunked and length.isdigit() and int(length) != len(raw):
        raise Broken(f"half an answer: {len(raw)} of {length} bytes", again=True)
    encoding = headers.get("content-encoding", "identity").lower()
    body = _decoded(raw, encoding, max_bytes)
    _judge(body, headers.get("content-type", ""), expected)
    framed = chunked or length.isdigit() or encoding in ("gzip", "x-gzip")
    return Answer(status=200, headers=headers, body=body, framed=framed)


def _read_raw(response: urllib3.BaseHTTPResponse, max_bytes: int, late: Callable[[], bool]) -> bytes:
    """The bytes as sent; small reads, so that a server that drips cannot hold the pull."""
    from urllib3.exceptions import HTTPError

    pieces: list[bytes] = []
    size = 0
    while True:
        if late():
            raise Broken(f"the answer is too slow: {size} bytes when the time was up", again=True)
        try:
            piece = response.read1(_PIECE, decode_content=False)
        except HTTPError as error:
            raise Broken(f"half an answer: {type(error).__name__} after {size} bytes", again=True) from None
        if not piece:
            return b"".join(pieces)
        pieces.append(piece)
        size += len(piece)
        if size > max_bytes:
            raise Broken(f"more than {max_bytes} bytes", action="raise the limit if it must be")


def _decoded(raw: bytes, encoding: str, max_bytes: int) -> bytes:
    if encoding in ("identity", ""):
        return raw
    if encoding not in ("gzip", "x-gzip"):
        raise Broken(f"content encoding {encoding}, which was not asked for")
    return gunzip(raw, max_bytes)


def gunzip(raw: bytes, max_bytes: int) -> bytes:
    """Decompress gzip, whole and within a size.

    Raises
    ------
    Broken
        When it is damaged, cut or too large.
    """
    parts, size = [], 0
    while raw:
        unpacker = zlib.decompressobj(31)
        try:
            part = unpacker.decompress(raw, max_bytes + 1 - size)
        except zlib.error as error:
            raise Broken(f"damaged gzip: {error}", again=True) from None
        size += len(part)
        if size > max_bytes:
            raise Broken(
                f"more than {max_bytes} bytes decompressed",
                action="raise the limit if it must be",
            )
        if not unpacker.eof:
            raise Broken("truncated gzip", again=True)
        parts.append(part)
        raw = unpacker.unused_data
    return b"".join(parts)


def _judge(body: bytes, content_type: str, expected: Expected) -> None:
    kind = content_type.partition(";")[0].strip().lower()
    start = body[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<?xml")) or "html" in kind:
        raise Broken(
            f"a web page instead of {expected}: {start[:40].decode('ascii', 'replace')!r}",
            action="open the address in a browser: often a login, a quota or an outage",
        )
    if not expected.takes(kind):
        raise Broken(f"content type {kind} instead of {expected}", action="check the address and the type")
    if not body.strip():
        raise Broken("an empty answer", again=True)
