"""A year of daily pulls of ten series from a server that misbehaves on purpose.

What was really received is known: the client's whole answers are looked up in the server's books. The
store must hold exactly that, value by value and revision by revision, and at the end the truth.
"""

import hashlib
import io
import json
import os
import random
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.http import HttpClient, Request
from horizoncast.data.http_body import Answer
from horizoncast.data.http_limits import Budget, HttpLimits
from horizoncast.data.pull import Outcome, PullReport, pull_target, pulled_sources
from horizoncast.data.secrets import Secrets
from horizoncast.data.target import Target
from horizoncast.data.target_file import parse_target
from horizoncast.data.vintages import VintageStore, store_path
from loopback import Asked, Clock, Fault, Loopback, Reply

FIRST, DAYS, BEFORE, CALM = np.datetime64("2023-03-01", "D"), 365, 60, 35
LIMITS = HttpLimits(connect_s=1.0, read_s=0.25, budget_s=60.0, tries=4, backoff_s=0.5)
COLUMNS = {"ecb": "EURUSD", "mindicador": "valor", "stooq": "Close", "fred": "F"}
KINDS = ["mindicador", "csv", "csv", "csv", "whole", "paged", "json", "fred", "stooq", "ecb"]
PAGE = 150

Values = dict[np.datetime64, float]


@dataclass
class Truth:
    """One series: what each day's value really is, when it appears, and with which first value."""

    final: Values
    first: Values
    appears: dict[np.datetime64, np.datetime64]
    revised: dict[np.datetime64, np.datetime64]
    slips: set[np.datetime64] = field(default_factory=set)

    @classmethod
    def draw(cls, rng: random.Random, weeks_missing: bool) -> "Truth":
        days = np.arange(FIRST - BEFORE, FIRST + DAYS)
        days = days[np.is_busday(days)]
        last_event = FIRST + DAYS - CALM
        truth = cls({}, {}, {}, {})
        for day in days:
            value = round(rng.uniform(800, 900), 2)
            truth.final[day] = truth.first[day] = value
            truth.appears[day] = day
            if day + 10 < last_event and rng.random() < 0.06:
                truth.appears[day] = day + rng.randint(1, 9)  # late, after values of later days
            if day + 60 < last_event and rng.random() < 0.06:
                truth.first[day] = round(value * rng.uniform(0.98, 1.02), 2)
                truth.revised[day] = truth.appears[day] + rng.randint(1, 40)
            if day > FIRST and day < last_event and rng.random() < 0.03:
                truth.slips.add(day)
        if weeks_missing:
            for start, delay in ((100, 12), (170, 50), (250, 10**4)):  # in time, after a month, never
                for day in days[(days >= FIRST + start) & (days < FIRST + start + 14)]:
                    truth.appears[day] = day + delay
        return truth

    def shown(self, today: np.datetime64) -> list[tuple[np.datetime64, float]]:
        """What an honest server shows today."""
        days = [day for day, appears in self.appears.items() if appears <= today]
        rows = []
        for day in days:
            early = day in self.revised and today < self.revised[day]
            rows.append((day, self.first[day] if early else self.final[day]))
        if today in self.slips and rows:
            day, value = max(rows)
            rows.remove((day, value))
            rows.append((day, round(value * 100, 2)))
        return rows


class Provider:
    """Serves the ten series as of `today`; every fault it makes is counted."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.truths = [Truth.draw(self.rng, weeks_missing=i in (2, 5, 8)) for i in range(len(KINDS))]
        self.today = FIRST
        self.calm = False
        self.faults: Counter[str] = Counter()
        self.books: dict[str, tuple[int, Values]] = {}

    def __call__(self, asked: Asked) -> Reply:
        series = int(asked.path.split("/")[1])
        bad = None if self.calm else self._misbehave()
        if bad is not None and bad.status != 200:
            return bad
        reply = self._answer(series, asked)
        if bad is None:
            return reply
        if bad.body:
            return bad
        return Reply(reply.body, reply.kind, fault=bad.fault)

    def _misbehave(self) -> Reply | None:
        faults = {
            "500": (0.05, Reply(status=500)),
            "429": (0.04, Reply(status=429, headers={"Retry-After": str(self.rng.randint(1, 9))})),
            "404": (0.01, Reply(status=404)),
            "page": (0.03, Reply(b"<!doctype html><p>maintenance", kind="text/csv")),
            "kind": (0.01, Reply(b"GIF89a", kind="image/gif")),
            "empty": (0.01, Reply(b"\n")),
            "timeout": (0.004, Reply(fault=Fault.HANG)),
            "reset": (0.02, Reply(fault=Fault.RESET)),
            "cut_gzip": (0.03, Reply(fault=Fault.CUT_GZIP)),
            "half": (0.03, Reply(fault=Fault.HALF)),
            "half_chunked": (0.02, Reply(fault=Fault.HALF_CHUNKED)),
        }
        draw = self.rng.random()
        for name, (chance, reply) in faults.items():
            draw -= chance
            if draw < 0:
                self.faults[name] += 1
                return reply
        return None

    def _answer(self, series: int, asked: Asked) -> Reply:
        kind = KINDS[series]
        rows = self._selected(kind, self.truths[series].shown(self.today), asked)
        self.rng.shuffle(rows)
        if not self.calm and rows and self.rng.random() < 0.1:
            self.faults["duplicates"] += 1
            rows += rows[: self.rng.randint(1, 5)]
        conflict = None
        if series == 1 and not self.calm and rows and self.rng.random() < 0.02:
            self.faults["conflict"] += 1
            conflict = rows[0][0]
            rows.append((conflict, rows[0][1] + 1))
        reply = getattr(self, f"_{kind}", self._csv)(rows)
        values = {day: value for day, value in rows if day != conflict}
        self.books[hashlib.sha256(reply.body).hexdigest()] = (series, values)
        return reply

    def _selected(
        self, kind: str, rows: list[tuple[np.datetime64, float]], asked: Asked
    ) -> list[tuple[np.datetime64, float]]:
        query = asked.query
        match kind:
            case "mindicador":
                return [row for row in rows if str(row[0])[:4] == asked.path[-4:]]
            case "paged":
                at = (int(query["page"]) - 1) * PAGE
                return sorted(rows)[at : at + PAGE]
            case "stooq":
                start = np.datetime64(f"{query['d1'][:4]}-{query['d1'][4:6]}-{query['d1'][6:]}")
                return [row for row in rows if row[0] >= start]
            case _:
                start = np.datetime64(query.get("cosd", query.get("from", "1970-01-01")))
                return [row for row in rows if row[0] >= start]

    def _csv(self, rows: list[tuple[np.datetime64, float]], head: str = "date,v") -> Reply:
        return Reply("\n".join([head, *(f"{d},{v}" for d, v in rows), ""]).encode(), zipped=True)

    def _fred(self, rows: list[tuple[np.datetime64, float]]) -> Reply:
        return self._csv(rows, "observation_date,F")

    def _stooq(self, rows: list[tuple[np.datetime64, float]]) -> Reply:
        lines = ["Date,Open,High,Low,Close,Volume", *(f"{d},1,1,1,{v},1" for d, v in rows), ""]
        return Reply("\r\n".join(lines).encode(), kind="text/plain")

    def _json(self, rows: list[tuple[np.datetime64, float]]) -> Reply:
        items = [{"date": str(d), "v": v} for d, v in rows]
        return Reply(json.dumps({"data": items}).encode(), kind="application/json")

    _paged = _json

    def _mindicador(self, rows: list[tuple[np.datetime64, float]]) -> Reply:
        serie = [{"fecha": f"{d}T03:00:00.000Z", "valor": v} for d, v in rows]
        return Reply(json.dumps({"serie": serie}).encode(), kind="application/json")

    def _ecb(self, rows: list[tuple[np.datetime64, float]]) -> Reply:
        text = "\n".join(["Date,USD,", *(f"{d},{v}," for d, v in rows), ""])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("eurofxref-hist.csv", text)
        return Reply(packed.getvalue(), kind="application/zip")


class Watching(HttpClient):
    """Keeps the digests of the whole answers that it received."""

    received: list[str]

    def get(self, request: Request, budget: Budget) -> Answer:
        answer = super().get(request, budget)
        self.received.append(answer.digest)
        return answer


def target_at(url: str) -> Target:
    sources = {
        "mindicador": 'type="mindicador", base_url="{u}"',
        "csv": 'type="http_csv", url="{u}/x?from={{from}}", value_column="v"',
        "whole": 'type="http_csv", url="{u}/x", value_column="v"',
        "paged": 'type="http_json", url="{u}/x?page={{page}}", records="data", value_column="v"',
        "json": 'type="http_json", url="{u}/x?from={{from}}", records="data", value_column="v"',
        "fred": 'type="fred_csv", base_url="{u}/g.csv", series="F"',
        "stooq": 'type="stooq_csv", base_url="{u}/q", series="hg.f"',
        "ecb": 'type="ecb_hist", base_url="{u}", pair="EURUSD"',
    }
    declared = [f"{{ {sources[kind].format(u=f'{url}/{i}')} }}" for i, kind in enumerate(KINDS)]
    covariates = "".join(
        f'[[covariates]]\nname = "c{i}"\nsource = {source}\n' for i, source in enumerate(declared) if i
    )
    text = (
        f'name = "year"\nunit = "u"\nstart = "{FIRST - BEFORE}"\nsource = {declared[0]}\n'
        f'{covariates}[calendar]\nkind = "business"\n'
    )
    return parse_target(text, place="year.toml", folder=Path("/nowhere"))


@dataclass
class Year:
    """Everything that happened."""

    provider: Provider
    target: Target
    reports: list[PullReport]
    received: list[list[tuple[int, Values]]]
    folder: Path
    asked: int


def moment(day: int) -> np.datetime64:
    return (FIRST + day).astype("datetime64[s]") + np.timedelta64(22 * 3600, "s")


@pytest.fixture(scope="module")
def year() -> Iterator[Year]:
    """Kept in memory where there is such a folder: thousands of synced commits cost minutes on a disk."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        yield from year_in(Path(folder))


def year_in(folder: Path) -> Iterator[Year]:
    provider, clock = Provider(seed=11), Clock()
    reports, received = [], []
    with pytest.MonkeyPatch.context() as patch, Loopback(provider) as server:
        patch.setattr(os, "fsync", lambda handle: None)  # durability is not the question here
        target = target_at(server.url)
        jitter = random.Random(3).random
        for day in range(DAYS):
            provider.today, provider.calm = FIRST + day, day >= DAYS - 3
            with Watching(Secrets({}), LIMITS, clock=clock, sleep=clock.sleep, draw=jitter) as client:
                client.received = []
                reports.append(pull_target(target, folder, client=client, now=moment(day)))
                received.append([provider.books[d] for d in client.received if d in provider.books])
        yield Year(provider, target, reports, received, folder, len(server.asked))


def test_the_server_really_misbehaved(year: Year) -> None:
    faults = year.provider.faults
    assert all(faults[name] >= 10 for name in ("500", "429", "404", "page", "kind", "empty", "reset")), faults
    assert all(faults[name] >= 10 for name in ("cut_gzip", "half", "half_chunked", "duplicates")), faults
    assert faults["timeout"] >= 5 and faults["conflict"] >= 1
    outcomes = Counter(source.outcome for report in year.reports for source in report.sources)
    assert outcomes[Outcome.FAILED] > 50 and outcomes[Outcome.UPDATED] > 500, outcomes


def test_no_pull_takes_more_than_its_budget(year: Year) -> None:
    assert max(report.seconds for report in year.reports) <= LIMITS.budget_s


def test_the_store_ends_with_the_truth(year: Year) -> None:
    """Wherever a value was ever delivered; slips, first values and conflicts are all corrected."""
    with VintageStore(store_path(year.folder, "year")) as store:
        for i, item in enumerate(pulled_sources(year.target)):
            rows = store.as_of(item.key, item.columns, None, "test")
            held = dict(zip(rows.dates.astype("datetime64[D]"), rows.values[:, 0], strict=True))
            truth = year.provider.truths[i]
            delivered = {day for pull in year.received for s, values in pull if s == i for day in values}
            assert set(held) == delivered
            assert {day: value for day, value in held.items() if value != truth.final[day]} == {}
            appeared = {day for day, at in truth.appears.items() if at <= FIRST + DAYS - 1}
            assert delivered == appeared  # after three calm days nothing that was shown is missing


def test_every_revision_is_recorded_and_every_moment_can_be_read_again(year: Year) -> None:
    held: list[Values] = [{} for _ in KINDS]
    revisions: list[list[tuple[np.datetime64, float, int]]] = [[] for _ in KINDS]
    items = pulled_sources(year.target)
    with VintageStore(store_path(year.folder, "year")) as store:
        for day, pull in enumerate(year.received):
            for series, values in pull:
                for date, value in values.items():
                    if held[series].get(date, value) != value:
                        revisions[series].append((date, value, day + 1))
                held[series] |= values
            if day % 30 == 7:
                for state, item in zip(held, items, strict=True):
                    rows = store.as_of(item.key, item.columns, moment(day), "test")
                    known = dict(zip(rows.dates.astype("datetime64[D]"), rows.values[:, 0], strict=True))
                    assert known == state
        for series, item in enumerate(items):
            found = store.revisions(item.key, item.columns[0])
            recorded = sorted((v.date.astype("datetime64[D]"), v.pull, v.value) for v in found)
            assert recorded == sorted((d, p, v) for d, v, p in revisions[series])
    told = sum(len(source.revised) for report in year.reports for source in report.sources)
    assert told == sum(map(len, revisions)) > 100


def test_slips_and_first_values_are_among_the_revisions(year: Year) -> None:
    with VintageStore(store_path(year.folder, "year")) as store:
        for i, item in enumerate(pulled_sources(year.target)):
            truth = year.provider.truths[i]
            history = store.history(item.key, item.columns[0])
            wrong = [v for v in history if v.value != truth.final[v.date.astype("datetime64[D]")]]
            slips = [v for v in wrong if v.value > 10_000]
            assert slips and len(wrong) > len(slips)
            last = {v.date: v for v in history}
            assert all(last[v.date].seq > v.seq for v in wrong)


def test_only_what_is_missing_is_asked_for(year: Year) -> None:
    """A page or two a day per series, re-checks and retries included."""
    assert year.asked < 2.2 * DAYS * len(KINDS)
