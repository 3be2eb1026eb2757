"""Plain JSON from records: no NaN, no numpy, the same text for the same content."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from horizoncast.errors import StoreError

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"


def plain(value: object) -> Json:
    """A record, setting or number as plain JSON; NaN and infinities become null.

    >>> plain({"a": (1, float("nan")), "b": np.datetime64("2024-06-28T00:00:00")})
    {'a': [1, None], 'b': '2024-06-28'}

    Raises
    ------
    StoreError
        For an object that has no plain form.
    """
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, np.bool_ | np.integer):
        return bool(value) if isinstance(value, np.bool_) else int(value)
    if isinstance(value, np.datetime64):
        return date_text(value)
    if isinstance(value, datetime):
        return time_text(value)
    return _plain_group(value)


def _plain_group(value: object) -> Json:
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, list | tuple | np.ndarray):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=repr)
    raise StoreError("a value has no plain JSON form", value=type(value).__name__)


def json_line(value: object) -> str:
    """One line of JSON, keys in the order given, ASCII only, floats in their shortest exact form."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=True, separators=(", ", ": "))


def json_file(value: object) -> bytes:
    """An indented JSON file, keys in the order given."""
    return (json.dumps(plain(value), allow_nan=False, ensure_ascii=True, indent=2) + "\n").encode()


def canonical(value: object) -> str:
    """JSON with sorted keys: equal content gives equal text, so that it can be hashed."""
    return json.dumps(plain(value), allow_nan=False, ensure_ascii=True, sort_keys=True)


def parse_json(text: str | bytes) -> Any:
    """Read JSON, refusing bare NaN and infinities.

    Raises
    ------
    ValueError
        When the text is not JSON; also for nesting too deep to read.
    """
    try:
        return json.loads(text, parse_constant=_refuse)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _refuse(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def date_text(date: np.datetime64) -> str:
    """A session's date as ISO text: the day alone at midnight, else minutes (or seconds) too.

    >>> date_text(np.datetime64("2024-06-28T13:00:00"))
    '2024-06-28T13:00'
    """
    stamp = date.astype("datetime64[s]")
    text = str(stamp)
    if stamp == stamp.astype("datetime64[D]"):
        return text[:10]
    return text[:-3] if text.endswith(":00") else text


def date_texts(dates: npt.NDArray[np.datetime64]) -> list[str]:
    """Dates of one column in one form: days alone when all lie at midnight, else with the time."""
    if (dates == dates.astype("datetime64[D]")).all():
        return [str(day) for day in dates.astype("datetime64[D]")]
    unit = "m" if (dates == dates.astype("datetime64[m]")).all() else "s"
    return [str(stamp) for stamp in dates.astype(f"datetime64[{unit}]")]


def time_text(moment: datetime) -> str:
    """A moment as UTC text with milliseconds.

    >>> time_text(datetime(2024, 6, 28, 11, 0, tzinfo=UTC))
    '2024-06-28T11:00:00.000Z'

    Raises
    ------
    StoreError
        For a moment without a time zone: it could mean two moments.
    """
    if moment.tzinfo is None:
        raise StoreError("a moment needs a time zone", value=moment, action="use datetime.now(UTC)")
    text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")
