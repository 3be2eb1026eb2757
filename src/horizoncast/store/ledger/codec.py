"""Between records and rows of tables."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np
from sqlalchemy import RowMapping

from horizoncast.errors import StoreError
from horizoncast.store.ledger.rows import Floats
from horizoncast.store.names import encodable
from horizoncast.store.plain import canonical, parse_json
from horizoncast.store.records import Origin

_JSON = frozenset({"levels", "reasons", "flags", "decision", "problems", "last_rows", "evidence", "payload"})
_TUPLES = frozenset({"levels", "reasons", "flags", "problems"})
_BOOLS = frozenset({"imported", "covered_80", "covered_95", "live"})
_PACKED = np.dtype("<f8")

Row = TypeVar("Row")


def pack(quantiles: Floats) -> bytes:
    """Q values as little-endian float64."""
    return np.ascontiguousarray(quantiles, dtype=_PACKED).tobytes()


def unpack(blobs: Sequence[bytes], levels: int) -> Floats:
    """(H, Q) values, read-only.

    Raises
    ------
    StoreError
        When a blob does not hold Q values.
    """
    if any(len(blob) != levels * _PACKED.itemsize for blob in blobs):
        raise StoreError("the ledger holds a damaged forecast", allowed=f"{levels} values of 8 bytes a row")
    values = np.frombuffer(b"".join(blobs), dtype=_PACKED).reshape(len(blobs), levels)
    out = values.astype(np.float64)
    out.flags.writeable = False
    return out


def storable(text: str) -> str:
    """A text that both databases hold: lone surrogates and NUL replaced."""
    return encodable(str(text)).replace("\0", "\ufffd")


def to_row(record: object) -> dict[str, object]:
    """A record's fields as values of columns; NaN becomes NULL."""
    out: dict[str, object] = {}
    for field in fields(record):  # type: ignore[arg-type]
        value = getattr(record, field.name)
        if field.name in _JSON:
            value = canonical(value)
        elif isinstance(value, bool):
            value = int(value)
        elif isinstance(value, float) and not math.isfinite(value):
            value = None
        elif isinstance(value, str):
            value = storable(value)
        out[field.name] = value
    return out


def from_row(kind: type[Row], row: RowMapping) -> Row:
    """The record behind a row.

    Raises
    ------
    StoreError
        When a column cannot be read.
    """
    out: dict[str, Any] = {}
    try:
        for field in fields(kind):  # type: ignore[arg-type]
            value = row[field.name]
            if field.name in _JSON:
                value = parse_json(value)
            if field.name in _TUPLES:
                value = tuple(value)
            elif field.name == "last_rows":
                value = tuple((str(date), float(number)) for date, number in value)
            elif field.name in _BOOLS and value is not None:
                value = bool(value)
            elif field.name == "origin":
                value = Origin(value)
            out[field.name] = value
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"the ledger holds a damaged {kind.__name__}", value=error) from error
    return kind(**out)
