"""Read ``config/targets/NAME.toml`` strictly: an unknown key or a wrong type is an error."""

from __future__ import annotations

import datetime
import os
import tomllib
from collections.abc import Mapping
from dataclasses import fields, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.feed import Feed
from horizoncast.data.presets import Preset, preset_of
from horizoncast.data.target import (
    LOCAL,
    Aggregate,
    Checks,
    CovariateSpec,
    Fill,
    Missing,
    Source,
    SourceType,
    Target,
)
from horizoncast.errors import ConfigError, UnknownNameError
from horizoncast.series import Scale

EnumT = TypeVar("EnumT", bound=StrEnum)
_Kinds = type | tuple[type, ...]


def read_target(path: Path | str) -> Target:
    """Read a target's TOML file.

    Raises
    ------
    ConfigError
        When the file is missing, is no TOML, lacks a key or holds a value of the wrong type.
    UnknownNameError
        For a key nobody knows, with the closest known one.
    """
    file = Path(path)
    return parse_target(_text_of(file), place=file.name, folder=file.parent)


def parse_target(text: str, *, place: str, folder: Path) -> Target:
    """Read a target from TOML text; relative paths start at `folder`."""
    return _parsed(text, place=place, folder=folder, follow=True)


def _parsed(text: str, *, place: str, folder: Path, follow: bool) -> Target:
    """As `parse_target`; related targets are followed once, so that two may name each other."""
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(
            f"{place} is no valid TOML", value=error, action="correct the line named"
        ) from error
    table = _Table(values, place, _TARGET_KEYS)
    return _with_related(_target(table, folder), table, folder, follow)


def _text_of(file: Path) -> str:
    if not file.is_file():
        near = sorted(p.name for p in file.parent.glob("*.toml")) if file.parent.is_dir() else []
        raise ConfigError(
            "the target's file does not exist",
            value=file,
            allowed=", ".join(near) or None,
            action="name an existing file, or make one with: horizoncast target new DATA_FILE",
        )
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError("the target's file is not UTF-8", value=file, action="save it as UTF-8") from error


class _Table:
    """One TOML table; every getter names file and key when the type is wrong."""

    def __init__(self, values: Mapping[str, object], place: str, known: tuple[str, ...]) -> None:
        self.values = values
        self.place = place
        for key in values:
            if key not in known:
                raise UnknownNameError.of(f"key in {place}", key, known)

    def error(self, key: str, allowed: str) -> ConfigError:
        return ConfigError(
            f"{self.place}: {key} cannot be read", value=repr(self.values.get(key)), allowed=allowed
        )

    def _get(self, key: str, kinds: _Kinds, allowed: str) -> object:
        value = self.values[key]
        wrong_flag = isinstance(value, bool) and kinds is not bool
        if wrong_flag or not isinstance(value, kinds):
            raise self.error(key, allowed)
        return value

    def text(self, key: str) -> str:
        if key not in self.values:
            raise ConfigError(f"{self.place}: {key} is missing", action=f'add {key} = "..."')
        return str(self._get(key, str, "a text in quotes"))

    def text_or(self, key: str, default: str) -> str:
        return self.text(key) if key in self.values else default

    def text_or_none(self, key: str) -> str | None:
        return self.text(key) if key in self.values else None

    def count(self, key: str, default: int) -> int:
        return int(str(self._get(key, int, "a whole number"))) if key in self.values else default

    def number(self, key: str, default: float) -> float:
        return float(str(self._get(key, (int, float), "a number"))) if key in self.values else default

    def flag(self, key: str) -> bool:
        return key in self.values and bool(self._get(key, bool, "true or false"))

    def choice(self, key: str, kind: type[EnumT], default: EnumT | None = None) -> EnumT:
        if key not in self.values and default is not None:
            return default
        text = self.text(key)
        if text not in list(kind):
            raise UnknownNameError.of(f"{key} in {self.place}", text, list(kind))
        return kind(text)

    def texts(self, key: str) -> tuple[str, ...]:
        items = self.values.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, str | datetime.date) for item in items):
            raise self.error(key, 'a list of texts, as in ["2024-09-20"]')
        return tuple(str(item) for item in items)

    def table(self, key: str, known: tuple[str, ...]) -> _Table | None:
        if key not in self.values:
            return None
        value = self.values[key]
        if not isinstance(value, dict):
            raise self.error(key, f"a table with {', '.join(known)}")
        return _Table(value, f"{self.place} [{key}]", known)

    def tables(self, key: str, known: tuple[str, ...]) -> list[_Table]:
        items = self.values.get(key, [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self.error(key, f"tables headed [[{key}]]")
        return [_Table(item, f"{self.place} [[{key}]] {i}", known) for i, item in enumerate(items, 1)]


_FEED_KEYS = tuple(f.name for f in fields(Feed))
_SOURCE_KEYS = (*(f.name for f in fields(Source) if f.name != "feed"), *_FEED_KEYS)
_CALENDAR_KEYS = tuple(f.name for f in fields(Calendar))
_MISSING_KEYS = tuple(f.name for f in fields(Missing))
_CHECKS_KEYS = tuple(f.name for f in fields(Checks))
_COVARIATE_KEYS = tuple(f.name for f in fields(CovariateSpec))
_RELATED_KEYS = ("name", "filter", "target")
_TARGET_KEYS = tuple(f.name for f in fields(Target))


def _target(table: _Table, folder: Path) -> Target:
    source = table.table("source", _SOURCE_KEYS)
    calendar = table.table("calendar", _CALENDAR_KEYS)
    if source is None or calendar is None:
        raise ConfigError(f"{table.place}: a target needs the tables [source] and [calendar]")
    kind = calendar.choice("kind", CalendarKind)
    staleness = table.count("max_staleness", -1)
    return Target(
        name=table.text("name"),
        unit=table.text("unit"),
        source=_source(source, folder),
        calendar=_calendar(calendar, kind),
        missing=_missing(table, kind),
        checks=_checks(table),
        covariates=tuple(_covariate(item, folder) for item in table.tables("covariates", _COVARIATE_KEYS)),
        scale=_scale(table),
        periods=_periods(table),
        nonnegative=table.flag("nonnegative"),
        dating_offset=table.count("dating_offset", 0),
        max_staleness=staleness if "max_staleness" in table.values else None,
        aggregate=table.choice("aggregate", Aggregate) if "aggregate" in table.values else None,
        start=_date(table, "start"),
    )


def _with_related(target: Target, table: _Table, folder: Path, follow: bool) -> Target:
    """The target with its panel: other rows of the same long file, or other targets' files."""
    found = []
    for item in table.tables("related", _RELATED_KEYS) if follow else []:
        if set(item.values) not in ({"name", "filter"}, {"target"}):
            raise ConfigError(
                f"{item.place}: a related series is other rows of this file, or another target",
                value=", ".join(item.values),
                allowed='name and filter = { unique_id = "1_3" }, or target = "usdcad"',
            )
        if "target" in item.values:
            place = folder / f"{item.text('target')}.toml"
            found.append(_parsed(_text_of(place), place=place.name, folder=place.parent, follow=False))
        else:
            source = replace(target.source, filter=_pairs(item, "filter", '{ unique_id = "1_3" }'))
            found.append(replace(target, name=item.text("name"), source=source))
    return replace(target, related=tuple(found))


def _source(table: _Table, folder: Path) -> Source:
    kind = table.choice("type", SourceType)
    preset = preset_of(kind)
    path = table.text_or_none("path")
    return Source(
        type=kind,
        path=None if path is None else Path(os.path.normpath(folder / Path(path).expanduser())),
        pair=table.text_or_none("pair"),
        date_column=table.text_or("date_column", preset.date_column),
        value_column=table.text_or_none("value_column") or preset.value_column or _series_column(table, kind),
        date_format=table.text_or_none("date_format"),
        decimal=table.text_or("decimal", "."),
        thousands=table.text_or("thousands", ""),
        delimiter=table.text_or("delimiter", ","),
        encoding=table.text_or("encoding", "utf-8"),
        filter=_pairs(table, "filter", '{ unique_id = "1_1" }'),
        feed=_feed(table, kind, preset),
    )


def _series_column(table: _Table, kind: SourceType) -> str | None:
    """FRED names the column of values after the series."""
    return table.text_or_none("series") if kind is SourceType.FRED_CSV else None


def _feed(table: _Table, kind: SourceType, preset: Preset) -> Feed | None:
    """How a pulled source is asked; the same keys are refused for a local file."""
    if kind in LOCAL:
        misplaced = next((key for key in _FEED_KEYS if key in table.values), None)
        if misplaced is not None:
            raise table.error(misplaced, f"not for type {kind}, which is read from disk")
        return None
    usual = Feed()
    return Feed(
        url=table.text_or("url", preset.url),
        base_url=table.text_or("base_url", preset.base_url),
        series=table.text_or("series", preset.series),
        query=table.text_or("query", ""),
        records=table.text_or("records", preset.records),
        params=_pairs(table, "params", '{ key = "{secret:NAME}" }'),
        headers=_pairs(table, "headers", '{ Authorization = "Bearer {secret:NAME}" }'),
        auth=table.text_or_none("auth"),
        since=_date(table, "since"),
        recheck_days=table.count("recheck_days", 0) if "recheck_days" in table.values else None,
        recheck_all_days=table.count("recheck_all_days", usual.recheck_all_days),
        pattern=table.text_or("pattern", usual.pattern),
        max_pages=table.count("max_pages", usual.max_pages),
    )


def _pairs(table: _Table, key: str, example: str) -> tuple[tuple[str, str], ...]:
    values = table.values.get(key, {})
    if not isinstance(values, dict) or not all(isinstance(v, str | int | bool) for v in values.values()):
        raise table.error(key, f"a table, as in {example}")
    return tuple((column, str(value)) for column, value in values.items())


def _calendar(table: _Table, kind: CalendarKind) -> Calendar:
    return Calendar(
        kind=kind,
        country=table.text_or_none("country"),
        minutes=table.count("minutes", 60),
        closed=_days(table, "closed"),
        opened=_days(table, "opened"),
    )


def _days(table: _Table, key: str) -> tuple[str, ...]:
    days = table.texts(key)
    for day in days:
        if _as_date(day) is None:
            raise table.error(key, 'ISO days, as in ["2024-09-20"]')
    return days


def _missing(table: _Table, kind: CalendarKind) -> Missing:
    default = Fill.DROP if kind is CalendarKind.BUSINESS else Fill.CARRY
    inner = table.table("missing", _MISSING_KEYS)
    if inner is None:
        return Missing(policy=default)
    return Missing(policy=inner.choice("policy", Fill, default), max_gap=inner.count("max_gap", 10))


def _checks(table: _Table) -> Checks:
    inner = table.table("checks", _CHECKS_KEYS)
    if inner is None:
        return Checks()
    usual = Checks()
    return Checks(
        min_history=inner.count("min_history", usual.min_history),
        jump_warning=inner.number("jump_warning", usual.jump_warning),
        jump_error=inner.number("jump_error", usual.jump_error),
        jump_record=inner.number("jump_record", usual.jump_record),
        jump_share=inner.number("jump_share", usual.jump_share),
        stuck=inner.count("stuck", usual.stuck),
        max_missing=inner.number("max_missing", usual.max_missing),
    )


def _covariate(table: _Table, folder: Path) -> CovariateSpec:
    name = table.text("name")
    inner = table.table("source", _SOURCE_KEYS)
    source = None if inner is None else _source(inner, folder)
    column = source.column if source is not None else None
    return CovariateSpec(
        name=name,
        column=table.text_or("column", column or name),
        source=source,
        publication_lag=table.count("publication_lag", 0),
        max_carry=table.count("max_carry", 5),
        known_future=table.flag("known_future"),
    )


def _scale(table: _Table) -> Scale | None:
    text = table.text_or("scale", "auto")
    return None if text == "auto" else table.choice("scale", Scale)


def _periods(table: _Table) -> tuple[int, ...] | None:
    value = table.values.get("periods", "auto")
    if value == "auto":
        return None
    if not isinstance(value, list) or any(isinstance(p, bool) or not isinstance(p, int) for p in value):
        raise table.error("periods", '"auto" or a list of sessions, as in [7]')
    return tuple(value)


def _date(table: _Table, key: str) -> np.datetime64 | None:
    if key not in table.values:
        return None
    date = _as_date(str(table.values[key]))
    if date is None:
        raise table.error(key, 'an ISO date, as in "2008-01-02"')
    return date


def _as_date(text: str) -> np.datetime64 | None:
    try:
        return np.datetime64(datetime.datetime.fromisoformat(text), "s")
    except ValueError:
        return None
