"""From a pulled source to deliveries: which questions to ask, and what the answers hold.

Each delivery stands on its own: its rows and the mark that they were read go into the store together,
so that a failure, or a kill, between two of them loses nothing.
"""

from __future__ import annotations

import datetime
import io
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from horizoncast.data import drop_folder
from horizoncast.data.ecb import cross, parse_history
from horizoncast.data.feed import Feed
from horizoncast.data.http import HttpClient, Request
from horizoncast.data.http_body import Answer, Expected
from horizoncast.data.http_limits import Budget
from horizoncast.data.json_rows import parse_json_rows
from horizoncast.data.presets import preset_of
from horizoncast.data.sources import Rows, parse_csv, parse_table
from horizoncast.data.target import Source, SourceType
from horizoncast.errors import SourceError

ALL = "all"
"""The part of a source that is not asked for year by year."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is wanted of one source now.

    Parameters
    ----------
    source, columns
        Where, and which columns.
    since
        First date of interest.
    start
        First date to ask for now: somewhat before the newest known one, or `since`.
    now
        Moment of the pull, UTC.
    newest
        Date up to which all columns are known; None when one has nothing.
    fresh
        Parts (years, or ``all``) that were read in full and need not be again.
    files
        (name, digest) of the files of a drop folder that were read.
    utc
        Whether stamps with a time zone become UTC (see `cells.parse_dates`).
    validators
        ETag and Last-Modified by URL as shown.
    """

    source: Source
    columns: tuple[str, ...]
    since: np.datetime64
    start: np.datetime64
    now: np.datetime64
    newest: np.datetime64 | None
    fresh: Collection[str]
    files: Collection[tuple[str, str]]
    utc: bool
    validators: Mapping[str, tuple[str | None, str | None]]

    @property
    def feed(self) -> Feed:
        """How the source is asked."""
        assert self.source.feed is not None
        return self.source.feed


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """What one answer, file or query brought.

    Parameters
    ----------
    rows
        None when the server said that nothing has changed.
    url
        As shown, without secrets; of an HTTP answer.
    answer
        The answer itself; of an HTTP answer.
    part
        The part of the source that is now known in full.
    file
        (name, digest) of a file that is now read.
    """

    rows: Rows | None
    url: str | None = None
    answer: Answer | None = None
    part: str | None = None
    file: tuple[str, str] | None = None


class Asker:
    """Asks over HTTP within one pull: sources that share an address share its answer."""

    def __init__(self, client: HttpClient) -> None:
        self.client = client
        self._answers: dict[tuple[str, str], Answer] = {}

    def ask(self, question: Question, url: str, expected: Expected, budget: Budget) -> Answer:
        """The whole answer to one URL, asked once per pull."""
        feed = question.feed
        key = (url, repr((feed.headers, feed.auth)))
        known = self._answers.get(key)
        if known is not None and known.status == 200:
            return known
        etag, modified = question.validators.get(url, (None, None))
        request = Request(
            url=url,
            expected=expected,
            headers=dict(feed.headers),
            auth=feed.auth,
            etag=etag,
            modified=modified,
        )
        answer = self.client.get(request, budget)
        self._answers[key] = answer
        return answer


def deliveries(question: Question, asker: Asker, budget: Budget) -> Iterator[Delivery]:
    """Ask a source for what is missing; rows may hold more than that, and may come in any order.

    Raises
    ------
    SourceError
        When an answer cannot be had or read; the deliveries before it stand.
    """
    match question.source.type:
        case SourceType.DROP_FOLDER:
            yield from _files(question)
        case SourceType.SQL:
            yield _query(question, asker, budget)
        case _ if question.feed.asks_by("year"):
            yield from _years(question, asker, budget)
        case _:
            template = _template(question)
            whole = question.start <= question.since and template != preset_of(SourceType.ECB_DAILY).url
            yield from _pages(question, asker, budget, template, part=ALL if whole else None)


def _template(question: Question) -> str:
    """The URL template; the ECB's history stands in for its file of the day when more is missing."""
    feed = question.feed
    daily = preset_of(SourceType.ECB_DAILY).url
    if question.source.type is not SourceType.ECB_DAILY or feed.url != daily:
        return feed.url
    missing = np.inf
    if ALL in question.fresh and question.newest is not None:
        last, today = (moment.astype("datetime64[D]") for moment in (question.newest, question.now))
        missing = float(np.busday_count(last, today))
    return daily if missing <= 1 else preset_of(SourceType.ECB_HIST).url


def _years(question: Question, asker: Asker, budget: Budget) -> Iterator[Delivery]:
    """One year after the other, newest first: what a forecast needs most comes first."""
    first, last = (_date(moment).year for moment in (question.since, question.now))
    for year in range(last, first - 1, -1):
        if year >= _date(question.start).year or str(year) not in question.fresh:
            yield from _pages(question, asker, budget, question.feed.url, part=str(year))


def _pages(
    question: Question, asker: Asker, budget: Budget, template: str, *, part: str | None
) -> Iterator[Delivery]:
    """Ask a URL once, or page after page until one is empty or the same as the last.

    With the last answer, `part` (a year, or ``all``) of the source is known in full.
    """
    if not question.feed.asks_by("page"):
        yield _one(question, asker, budget, _url(question, template, part, page=0), part=part)
        return
    last = ""
    for page in range(1, question.feed.max_pages + 1):
        found = _one(question, asker, budget, _url(question, template, part, page=page), part=None)
        digest = "" if found.answer is None else found.answer.digest
        if found.rows is not None and (not len(found.rows) or digest == last):
            yield replace(found, part=part)
            return
        yield found
        last = digest
    raise SourceError(
        f"{question.source.place}: pages without end",
        value=question.feed.max_pages,
        action="raise max_pages, or correct the url",
    )


def _one(question: Question, asker: Asker, budget: Budget, url: str, *, part: str | None) -> Delivery:
    expected, parse = _PARSERS[question.source.type]
    answer = asker.ask(question, url, expected, budget)
    if answer.status == 304:
        return Delivery(rows=None, url=url, answer=answer, part=part)
    place = asker.client.secrets.redact(url)
    _check_end(answer, expected, place)
    return Delivery(rows=parse(question, answer.body, place), url=url, answer=answer, part=part)


def _check_end(answer: Answer, expected: Expected, place: str) -> None:
    """Without a length, a CSV that does not end its last line may have been cut inside a number."""
    if expected is Expected.CSV and not answer.framed and not answer.body.endswith(b"\n"):
        raise SourceError(f"{place}: half an answer", value="the last line has no end", action="pull again")


def _url(question: Question, template: str, part: str | None, *, page: int) -> str:
    """The address of one question, without secrets; asked up to tomorrow."""
    until = _date(question.now) + datetime.timedelta(days=1)
    return question.feed.filled(template, year=part, page=page, start=_date(question.start), until=until)


def _csv(question: Question, data: bytes, place: str) -> Rows:
    return parse_csv(question.source, data, place, question.columns, utc=question.utc)


def _json(question: Question, data: bytes, place: str) -> Rows:
    return parse_json_rows(question.source, data, place, question.columns, utc=question.utc)


def _fred(question: Question, data: bytes, place: str) -> Rows:
    """The first column is the date, whatever it is called."""
    header, _, _ = parse_table(question.source, data, place)
    source = replace(question.source, date_column=header[0])
    return parse_csv(source, data, place, question.columns, utc=question.utc)


def _stooq(question: Question, data: bytes, place: str) -> Rows:
    """Warnings may stand before the header; without a header the text says why there are no rows."""
    start = data.find(question.source.date_column.encode() + b",")
    if start < 0:
        said = data[:60].decode("utf-8", "replace").strip()
        raise SourceError(
            f"{place}: no rows", value=repr(said), action="check series, or pull again tomorrow"
        )
    return parse_csv(question.source, data[start:], place, question.columns, utc=question.utc)


def _ecb(question: Question, data: bytes, place: str) -> Rows:
    pair = question.source.pair
    assert pair is not None
    try:
        history = parse_history(_unzipped(data, place).decode("ascii"))
    except (ValueError, UnicodeDecodeError) as error:
        raise SourceError(f"{place}: another layout", value=error, action="ask the provider") from None
    dates, values = cross(history, pair[:3], pair[3:])
    lines = np.arange(1, len(dates) + 1, dtype=np.int64)
    return Rows(place=place, lines=lines, dates=dates, names=(pair,), values=values[:, None])


def _unzipped(data: bytes, place: str) -> bytes:
    """The one file of an archive, up to 64 MiB."""
    limit = 64 << 20
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(archive.namelist()[0]) as member:
            text = member.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, IndexError, EOFError) as error:
        raise SourceError(f"{place}: a damaged archive", value=error, action="pull again") from None
    if len(text) > limit:
        raise SourceError(f"{place}: the archive holds more than {limit} bytes")
    return text


_Parser = Callable[[Question, bytes, str], Rows]
_PARSERS: dict[SourceType, tuple[Expected, _Parser]] = {
    SourceType.HTTP_CSV: (Expected.CSV, _csv),
    SourceType.HTTP_JSON: (Expected.JSON, _json),
    SourceType.MINDICADOR: (Expected.JSON, _json),
    SourceType.FRED_CSV: (Expected.CSV, _fred),
    SourceType.STOOQ_CSV: (Expected.CSV, _stooq),
    SourceType.ECB_DAILY: (Expected.ZIP, _ecb),
    SourceType.ECB_HIST: (Expected.ZIP, _ecb),
}


def parse_payload(source: Source, columns: Sequence[str], data: bytes, *, utc: bool) -> Rows:
    """Rows of a raw payload that was kept (`payloads.read_payload`), read again."""
    moment = np.datetime64(0, "s")
    question = Question(
        source=source,
        columns=tuple(columns),
        since=moment,
        start=moment,
        now=moment,
        newest=None,
        fresh=(),
        files=(),
        utc=utc,
        validators={},
    )
    return _PARSERS[source.type][1](question, data, source.place)


def _files(question: Question) -> Iterator[Delivery]:
    for file, rows in drop_folder.unread(question.source, question.columns, question.files, utc=question.utc):
        yield Delivery(rows=rows, file=file)


def _query(question: Question, asker: Asker, budget: Budget) -> Delivery:
    from horizoncast.data.sql import fetch_sql

    whole = question.start <= question.since
    rows = fetch_sql(
        question.source,
        question.columns,
        since=question.since if whole else question.start,
        utc=question.utc,
        timeout_s=budget.left(),
        secrets=asker.client.secrets,
    )
    return Delivery(rows=rows, part=ALL if whole else None)


def _date(moment: np.datetime64) -> datetime.date:
    return moment.astype("datetime64[D]").item()  # type: ignore[no-any-return]
