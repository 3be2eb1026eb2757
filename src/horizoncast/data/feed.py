"""How a source is asked over the network, in a folder or in a database; part of `target.Source`.

A feed holds templates and names of secrets, never a secret: `secrets.Secrets` fills them at the moment
of asking.
"""

from __future__ import annotations

import datetime
import re
import string
from dataclasses import dataclass
from pathlib import PurePath
from urllib.parse import quote

import numpy as np

from horizoncast.errors import ConfigError

FIELDS = ("base", "series", "year", "page", "from", "to", "secret")
"""What a URL template may hold."""

_USERINFO = re.compile(r"(://[^/@:\s]*):[^@/\s]*@")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """How rows are asked for.

    Parameters
    ----------
    url
        A template. ``{year}`` asks once per year, ``{page}`` page after page until one is empty,
        ``{from}`` and ``{to}`` are dates (``{from:%Y%m%d}`` in another format), ``{base}`` and
        ``{series}`` the two below, ``{secret:NAME}`` a secret. For SQL the URL of the database.
    base_url
        What ``{base}`` stands for; presets have one, and it can be overridden.
    series
        What ``{series}`` stands for: the provider's name of the series.
    query
        A SELECT, for SQL.
    records
        Dotted path to the records of a JSON answer; empty when the answer is the list itself.
    params, headers
        Pairs added to the URL's query and to the request; values may hold ``{secret:NAME}``.
    auth
        ``user:password`` for basic authentication, usually ``{secret:NAME}``.
    since
        First date asked for; None takes the target's start, or ten years.
    recheck_days
        How far back before the newest known date each pull asks again, to see revisions; None takes
        30 days, and more on slow calendars.
    recheck_all_days
        Age at which everything is asked for again, to see old revisions; 0 never does.
    pattern
        Which files of a drop folder are read.
    max_pages
        Pages after which a paged answer is held to be endless.
    """

    url: str = ""
    base_url: str = ""
    series: str = ""
    query: str = ""
    records: str = ""
    params: tuple[tuple[str, str], ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    auth: str | None = None
    since: np.datetime64 | None = None
    recheck_days: int | None = None
    recheck_all_days: int = 30
    pattern: str = "*"
    max_pages: int = 100

    def __post_init__(self) -> None:
        for name, count in (
            ("recheck_days", self.recheck_days or 0),
            ("recheck_all_days", self.recheck_all_days),
            ("max_pages", self.max_pages - 1),
        ):
            if count < 0:
                raise ConfigError(f"[source] {name} is too small", value=getattr(self, name))
        if not self.pattern or PurePath(self.pattern).is_absolute() or ".." in PurePath(self.pattern).parts:
            raise ConfigError(
                "[source] pattern leaves the folder", value=repr(self.pattern), allowed="such as *.csv"
            )

    def check_template(self) -> None:
        """Refuse a URL that cannot be filled, or that carries a password.

        Raises
        ------
        ConfigError
            Naming the field that nobody fills.
        """
        try:
            fields = {name for _, name, _, _ in string.Formatter().parse(self.url) if name is not None}
        except ValueError as error:
            raise ConfigError(
                "[source] url is no template", value=hidden(self.url), action="double braces that are text"
            ) from error
        unknown = sorted(fields - set(FIELDS))
        if unknown:
            raise ConfigError("[source] url has an unknown field", value=unknown, allowed=", ".join(FIELDS))
        self._try_filling()
        if "series" in fields and not self.series:
            raise ConfigError("[source] series is missing", action='add series = "the provider\'s name"')
        if _USERINFO.search(self.base_url + " " + self.url):
            raise ConfigError(
                "[source] url carries a password",
                value=hidden(self.url),
                action='use auth = "{secret:NAME}", with "user:password" in that secret',
            )

    def _try_filling(self) -> None:
        day = datetime.date(2024, 2, 29)
        try:
            self.filled(self.url, year="2024", page=1, start=day, until=day)
        except (ValueError, LookupError, AttributeError, TypeError) as error:
            raise ConfigError(
                "[source] url has a format that does not fit its field", value=f"{hidden(self.url)}: {error}"
            ) from error

    def filled(
        self, template: str, *, year: str | None, page: int, start: datetime.date, until: datetime.date
    ) -> str:
        """A template with its fields filled and the query added; secrets stay as they are written."""
        url = template.format_map(
            {
                "base": self.base_url.rstrip("/") if "{base}/" in template else self.base_url,
                "series": quote(self.series, safe=""),
                "year": year,
                "page": page,
                "from": start,
                "to": until,
                "secret": _Kept(),
            }
        )
        if not self.params:
            return url
        pairs = "&".join(f"{quote(key)}={quote(value, safe='{}:,')}" for key, value in self.params)
        return f"{url}{'&' if '?' in url else '?'}{pairs}"

    def asks_by(self, field: str) -> bool:
        """Whether the URL changes with a field."""
        return any(name == field for _, name, _, _ in string.Formatter().parse(self.url))


class _Kept:
    """Formats to the placeholder it came from."""

    def __format__(self, name: str) -> str:
        return f"{{secret:{name}}}"


def hidden(url: str) -> str:
    """A URL whose password, if it has one, is not shown.

    >>> hidden("postgresql://reader:hunter2@db/prices")
    'postgresql://reader:***@db/prices'
    """
    return _USERINFO.sub(r"\1:***@", url)
