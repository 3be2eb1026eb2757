"""Fields of records: name, type, unit and meaning, and what values fit."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum


class FieldType(StrEnum):
    """Types of fields; a date may hold a time of day for intraday series."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    TIME = "UTC time"
    STRINGS = "list of strings"
    INTEGERS = "list of integers"
    NUMBERS = "list of numbers"
    OBJECT = "object"
    TEXTS = "object of strings"


@dataclass(frozen=True, kw_only=True)
class FieldSpec:
    """One field of a record.

    Parameters
    ----------
    name, type
        Key in the JSON object, and the type of its value.
    meaning
        In one sentence.
    unit
        ``s``, ``MiB``, ``sessions``, ``1`` (a ratio or share), ``unit`` (the series' own), ``scale``
        (log or level of the unit), or empty.
    nullable
        Whether null is allowed: not known, or not applicable.
    choices
        The only values allowed; empty for any.
    later
        Added within this version of the schema: a record of an earlier release lacks it, and that reads
        as null.
    fields
        Of an object: its own fields.
    """

    name: str
    type: FieldType
    meaning: str
    unit: str = ""
    nullable: bool = False
    choices: tuple[str, ...] = ()
    later: bool = False
    fields: tuple[FieldSpec, ...] = ()

    @property
    def type_text(self) -> str:
        """The type as the docs show it."""
        return f"{self.type} or null" if self.nullable else str(self.type)


def field_of(
    name: str, kind: FieldType, meaning: str, unit: str = "", *, null: bool = False, of: tuple[str, ...] = ()
) -> FieldSpec:
    """A field in one line."""
    return FieldSpec(name=name, type=kind, meaning=meaning, unit=unit, nullable=null, choices=of)


def later_ratio(name: str, meaning: str) -> FieldSpec:
    """A ratio that earlier releases did not write."""
    text = f"{meaning}; null when not known"
    return FieldSpec(name=name, type=FieldType.NUMBER, meaning=text, unit="1", nullable=True, later=True)


_DATE = re.compile(r"\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2})?)?")
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z")


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


_CHECKS: Mapping[FieldType, Callable[[object], bool]] = {
    FieldType.STRING: lambda value: isinstance(value, str),
    FieldType.INTEGER: _is_integer,
    FieldType.NUMBER: _is_number,
    FieldType.BOOLEAN: lambda value: isinstance(value, bool),
    FieldType.DATE: lambda value: isinstance(value, str) and _DATE.fullmatch(value) is not None,
    FieldType.TIME: lambda value: isinstance(value, str) and _TIME.fullmatch(value) is not None,
    FieldType.STRINGS: lambda value: isinstance(value, list) and all(isinstance(v, str) for v in value),
    FieldType.NUMBERS: lambda value: isinstance(value, list) and all(map(_is_number, value)),
    FieldType.OBJECT: lambda value: isinstance(value, Mapping),
    FieldType.TEXTS: lambda value: (
        isinstance(value, Mapping) and all(isinstance(v, str) for v in value.values())
    ),
    FieldType.INTEGERS: lambda value: isinstance(value, list) and all(map(_is_integer, value)),
}


def fits(value: object, spec: FieldSpec) -> bool:
    """Whether a field may hold a value; fields of an object are looked at one by one."""
    if value is None:
        return spec.nullable
    if spec.choices and value not in spec.choices:
        return False
    return _CHECKS[spec.type](value)
