import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data import pull as pull_module
from horizoncast.data.feeds import Delivery, parse_payload
from horizoncast.data.http import HttpClient
from horizoncast.data.http_limits import HttpLimits
from horizoncast.data.load import load_series
from horizoncast.data.payloads import payload_folder, read_payload
from horizoncast.data.pull import Outcome, PullReport, pull_target, pulled_sources
from horizoncast.data.secrets import Secrets
from horizoncast.data.target import Target
from horizoncast.data.target_file import parse_target
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.errors import CheckError, ConfigError, HorizoncastError, SourceError, StoreError
from loopback import Asked, Clock, Fault, Loopback, Reply

NOW = np.datetime64("2024-08-01T21:00:00")
DAY = np.timedelta64(86400, "s")
LIMITS = HttpLimits(connect_s=1.0, read_s=0.3, budget_s=100.0, tries=2, backoff_s=0.5)
TARGET = """
name = "t"
unit = "u"
start = "2024-01-01"
{top}
[source]
{source}
[calendar]
kind = "{kind}"
{body}
"""


def target_of(source: str, body: str = "", *, kind: str = "business", top: str = "") -> Target:
    text = TARGET.format(source=source, body=body, kind=kind, top=top)
    return parse_target(text, place="t.toml", folder=Path("/nowhere"))


class World:
    """Routes by path to texts or functions that tests may change between pulls."""

    def __init__(self) -> None:
        self.routes: dict[str, Reply | Callable[[Asked], Reply]] = {}

    def __call__(self, asked: Asked) -> Reply:
        route = self.routes.get(asked.path, Reply(status=404))
        return route if isinstance(route, Reply) else route(asked)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def server(world: World) -> Iterator[Loopback]:
    with Loopback(world) as running:
        yield running


def pull(
    target: Target,
    folder: Path,
    *,
    now: np.datetime64 = NOW,
    secrets: dict[str, str] | None = None,
    min_age_s: float = 0.0,
    limits: HttpLimits = LIMITS,
) -> PullReport:
    clock = Clock()
    with HttpClient(Secrets(secrets or {}), limits, clock=clock, sleep=clock.sleep) as client:
        return pull_target(target, folder, client=client, now=now, min_age_s=min_age_s)


def stored(
    folder: Path, key: str = "target", column: str = "v", at: np.datetime64 | None = None
) -> dict[str, float]:
    with VintageStore(store_path(folder, "t")) as store:
        rows = store.as_of(key, [column], at, "test")
    return {str(d)[:10]: v for d, v in zip(rows.dates, rows.column(column), strict=True)}


def csv(*rows: str, header: str = "date,v") -> Reply:
    return Reply("\n".join([header, *rows, ""]).encode())


def sessions(first: str = "2024-01-01", last: str = "2024-08-01") -> list[str]:
    days = np.arange(first, last, dtype="datetime64[D]")
    return [str(day) for day in days[np.is_busday(days)]]


def walk(days: list[str]) -> list[str]:
    values = 900 * np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, len(days))))
    return [f"{day},{value:.4f}" for day, value in zip(days, values, strict=True)]


def test_a_first_pull_then_only_what_is_missing(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x?a={{from}}&b={{to}}"\nvalue_column="v"')
    rows = walk(sessions())
    world.routes["/x"] = csv(*rows)
    report = pull(target, tmp_path).sources[0]
    assert (report.outcome, report.new, report.unchanged) == (Outcome.UPDATED, len(rows), 0)
    assert str(report.newest)[:10] == "2024-07-31" and report.answers == 1
    assert server.asked[0].query == {"a": "2024-01-01", "b": "2024-08-02"}
    again = pull(target, tmp_path, now=NOW + DAY).sources[0]
    assert (again.outcome, again.new, again.unchanged) == (Outcome.UNCHANGED, 0, len(rows))
    assert server.asked[1].query["a"] == "2024-07-01"  # thirty days back, to see revisions
    pull(target, tmp_path, now=NOW + 31 * DAY)
    assert server.asked[2].query["a"] == "2024-01-01"  # everything again, to see old revisions


def test_new_late_and_revised_are_told_apart(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    world.routes["/x"] = csv("2024-07-29,1", "2024-07-31,3")
    pull(target, tmp_path)
    world.routes["/x"] = csv("2024-08-01,4", "2024-07-30,2", "2024-07-31,3.5", "2024-07-29,1")
    report = pull(target, tmp_path, now=NOW + DAY)
    source = report.sources[0]
    assert (source.new, source.late, source.unchanged) == (1, 1, 1)
    assert [(str(r.date)[:10], r.before, r.after) for r in source.revised] == [("2024-07-31", 3.0, 3.5)]
    assert report.failed == () and report.pull == 2
    before = stored(tmp_path, at=NOW)
    assert before == {"2024-07-29": 1.0, "2024-07-31": 3.0}
    with VintageStore(store_path(tmp_path, "t")) as store:
        attempts = store.attempts("target")
    assert [(a.outcome, a.new, a.late, a.revised) for a in attempts] == [
        ("updated", 2, 0, 0),
        ("updated", 1, 1, 1),
    ]


def test_a_failing_source_loses_neither_the_others_nor_what_it_had(
    world: World, server: Loopback, tmp_path: Path
) -> None:
    target = target_of(
        f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"',
        f'[[covariates]]\nname="c"\nsource={{type="http_csv", url="{server.url}/c", value_column="k"}}\n'
        f'[[covariates]]\nname="d"\nsource={{type="http_csv", url="{server.url}/d", value_column="k"}}\n',
    )
    world.routes |= {f"/{name}": csv("2024-07-30,1", header="date,k") for name in "cd"}
    world.routes["/x"] = csv("2024-07-30,1")
    assert [s.key for s in pull(target, tmp_path).sources] == ["target", "covariate:c", "covariate:d"]
    world.routes["/x"] = csv("2024-07-31,2")
    world.routes["/c"] = Reply(b"<html>maintenance</html>", kind="text/html")
    world.routes["/d"] = csv("2024-07-31,2", header="date,k")
    report = pull(target, tmp_path, now=NOW + DAY)
    assert [s.outcome for s in report.sources] == [Outcome.UPDATED, Outcome.FAILED, Outcome.UPDATED]
    (failed,) = report.failed
    assert failed.reason is not None and "a web page" in failed.reason and f"{server.url}/c" in failed.reason
    assert stored(tmp_path, "covariate:c", "k") == {"2024-07-30": 1.0}
    assert stored(tmp_path)["2024-07-31"] == 2.0
    with VintageStore(store_path(tmp_path, "t")) as store:
        assert [a.outcome for a in store.attempts("covariate:c")] == ["updated", "failed"]


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (csv("2024-07-30,1", "2024-07-31"), "the row has 1 cells"),
        (csv("2024-07-30,x"), "is no number"),
        (csv("2024-13-30,1"), "date cannot be read"),
        (csv("2024-07-30,1", header="date,w"), "no such column"),
        (Reply(b"date,v\n2024-07-30,1\n2024-07-31,12", fault=Fault.NO_LENGTH), "half an answer"),
        (Reply(b"date,v\n2024-07-30,1\n", fault=Fault.CUT_GZIP), "truncated gzip"),
        (Reply(b"date,v\n2024-07-30,1\n", fault=Fault.HALF), "half an answer"),
        (Reply(b"\xff\xfe\x00", kind="text/csv"), "not utf-8"),
    ],
)
def test_an_answer_that_cannot_be_read_changes_nothing(
    world: World, server: Loopback, tmp_path: Path, reply: Reply, words: str
) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    world.routes["/x"] = csv("2024-07-29,7")
    pull(target, tmp_path)
    world.routes["/x"] = reply
    report = pull(target, tmp_path, now=NOW + DAY).sources[0]
    assert report.outcome is Outcome.FAILED and words in str(report.reason)
    assert stored(tmp_path) == {"2024-07-29": 7.0}


def test_rows_and_the_note_that_they_were_read_go_in_together(
    world: World, server: Loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped between the two: nothing of the year is there, and the next pull asks for it again."""
    target = target_of(f'type="mindicador"\nbase_url="{server.url}/api"\nsince="2023-06-01"')
    world.routes["/api/dolar/2024"] = mindicador([("2024-07-31", 951.0)])
    world.routes["/api/dolar/2023"] = mindicador([("2023-01-03", 855.86)])
    write = pull_module.write_delivery

    def stopped(store: VintageStore, key: str, number: int, delivery: Delivery) -> None:
        if delivery.part == "2023":
            raise KeyboardInterrupt
        write(store, key, number, delivery)

    monkeypatch.setattr(pull_module, "write_delivery", stopped)
    with pytest.raises(KeyboardInterrupt):
        pull(target, tmp_path)
    monkeypatch.undo()
    assert stored(tmp_path, column="valor") == {"2024-07-31": 951.0}
    report = pull(target, tmp_path, now=NOW + DAY).sources[0]
    assert (report.late, report.unchanged) == (1, 1)
    assert [a.path[-4:] for a in server.asked] == ["2024", "2023", "2024", "2023"]


def test_one_date_with_two_values_is_named_and_left_out(
    world: World, server: Loopback, tmp_path: Path
) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    world.routes["/x"] = csv("2024-07-29,1", "2024-07-30,2", "2024-07-30,3", "2024-07-29,1")
    report = pull(target, tmp_path).sources[0]
    assert report.outcome is Outcome.PARTIAL and "1 dates came twice" in str(report.reason)
    assert stored(tmp_path) == {"2024-07-29": 1.0}


def mindicador(days: list[tuple[str, float]]) -> Reply:
    """As mindicador.cl answers for a year: newest first, midnight of Santiago in UTC, gzipped."""
    hours = {day: 4 if "04" < day[5:7] < "09" else 3 for day, _ in days}
    serie = [{"fecha": f"{day}T0{hours[day]}:00:00.000Z", "valor": value} for day, value in days]
    answer = {"version": "1.7.0", "codigo": "dolar", "unidad_medida": "Pesos", "serie": serie[::-1]}
    return Reply(json.dumps(answer).encode(), kind="application/json; charset=utf-8", zipped=True)


def test_mindicador_a_year_per_call(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(
        f'type="mindicador"\nbase_url="{server.url}/api"\nsince="2022-06-01"', top="dating_offset = 1"
    )
    assert target.source.column == "valor" and target.source.place == "mindicador dolar"
    world.routes["/api/dolar/2022"] = mindicador([("2022-12-29", 860.0), ("2022-12-30", 859.51)])
    world.routes["/api/dolar/2023"] = mindicador([("2023-01-03", 855.86)])
    world.routes["/api/dolar/2024"] = mindicador([("2024-01-02", 877.12), ("2024-07-31", 951.0)])
    report = pull(target, tmp_path).sources[0]
    assert (report.new, report.late, report.answers) == (5, 0, 3)
    assert [a.path[-4:] for a in server.asked] == ["2024", "2023", "2022"]
    assert stored(tmp_path, column="valor")["2024-01-02"] == 877.12
    assert "2024-07-31" in stored(tmp_path, column="valor")
    pull(target, tmp_path, now=NOW + DAY)
    assert [a.path[-4:] for a in server.asked[3:]] == ["2024"]
    january = np.datetime64("2025-01-03T12:00:00")
    world.routes["/api/dolar/2025"] = mindicador([])
    pull(target, tmp_path, now=np.datetime64("2024-12-31T12:00:00"))
    server.asked.clear()
    pull(target, tmp_path, now=january)
    assert [a.path[-4:] for a in server.asked] == ["2025", "2024"]


def test_a_year_that_failed_is_asked_for_again(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="mindicador"\nbase_url="{server.url}/api"\nsince="2022-06-01"')
    world.routes["/api/dolar/2024"] = mindicador([("2024-07-31", 951.0)])
    world.routes["/api/dolar/2023"] = Reply(status=503)
    report = pull(target, tmp_path).sources[0]
    assert report.outcome is Outcome.PARTIAL and report.new == 1 and "status 503" in str(report.reason)
    world.routes["/api/dolar/2023"] = mindicador([("2023-01-03", 855.86)])
    world.routes["/api/dolar/2022"] = mindicador([("2022-12-30", 859.51)])
    server.asked.clear()
    assert pull(target, tmp_path, now=NOW + DAY).sources[0].late == 2
    assert [a.path[-4:] for a in server.asked] == ["2024", "2023", "2022"]


def test_fred_csv_with_either_header_and_points(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="fred_csv"\nbase_url="{server.url}/g.csv"\nseries="DEXCHUS"')
    world.routes["/g.csv"] = csv("2024-07-29,7.25", "2024-07-30,.", "2024-07-31,7.22", header="DATE,DEXCHUS")
    assert pull(target, tmp_path).sources[0].new == 2
    assert server.asked[0].query == {"id": "DEXCHUS", "cosd": "2024-01-01"}
    world.routes["/g.csv"] = csv("2024-08-01,7.2", header="observation_date,DEXCHUS")
    assert pull(target, tmp_path, now=NOW + DAY).sources[0].new == 1
    with pytest.raises(ConfigError, match="series is missing"):
        target_of(f'type="fred_csv"\nbase_url="{server.url}/g.csv"\nvalue_column="v"')


def test_stooq_csv_with_a_warning_before_and_no_data(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="stooq_csv"\nbase_url="{server.url}/q/d/l/"\nseries="hg.f"')
    body = b"Warning: x\n\nDate,Open,High,Low,Close,Volume\n2024-07-30,4.1,4.2,4.0,4.15,100\n"
    world.routes["/q/d/l/"] = Reply(body, kind="text/plain")
    assert pull(target, tmp_path).sources[0].new == 1
    assert server.asked[0].query == {"s": "hg.f", "d1": "20240101", "d2": "20240802", "i": "d"}
    assert stored(tmp_path, column="Close") == {"2024-07-30": 4.15}
    world.routes["/q/d/l/"] = Reply(b"Exceeded the daily hits limit", kind="text/plain")
    report = pull(target, tmp_path, now=NOW + DAY).sources[0]
    assert report.outcome is Outcome.FAILED and "Exceeded the daily hits limit" in str(report.reason)


def archive(text: str) -> Reply:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("eurofxref.csv", text)
    return Reply(packed.getvalue(), kind="application/zip")


def test_ecb_history_first_then_the_file_of_the_day(world: World, server: Loopback, tmp_path: Path) -> None:
    rates = ("2024-08-01,1.0,20.0", "2024-07-31,1.08,20.0", "2024-07-30,1.0,N/A", "2024-07-29,1.25,20.0")
    hist = "".join(f"{line},\n" for line in ("Date,USD,MXN", *rates))
    world.routes["/e/eurofxref-hist.zip"] = archive(hist)
    world.routes["/e/eurofxref.zip"] = archive("Date, USD, MXN, \n02 August 2024, 1.25, 21.0, \n")
    target = target_of(
        f'type="ecb_daily"\nbase_url="{server.url}/e"\npair="USDMXN"',
        f'[[covariates]]\nname="eur"\nsource={{type="ecb_daily", base_url="{server.url}/e", pair="EURUSD"}}',
    )
    pull(target, tmp_path)
    assert [a.path for a in server.asked] == ["/e/eurofxref-hist.zip"]  # one answer for both sources
    known = stored(tmp_path, column="USDMXN")
    assert known == {"2024-07-29": 16.0, "2024-07-31": 20.0 / 1.08, "2024-08-01": 20.0}
    assert stored(tmp_path, "covariate:eur", "EURUSD")["2024-07-30"] == 1.0
    server.asked.clear()
    pull(target, tmp_path, now=np.datetime64("2024-08-02T20:00:00"))
    assert [a.path for a in server.asked] == ["/e/eurofxref.zip"]
    assert stored(tmp_path, column="USDMXN")["2024-08-02"] == 21.0 / 1.25
    server.asked.clear()
    pull(target, tmp_path, now=np.datetime64("2024-08-05T20:00:00"))  # Monday after Friday
    assert [a.path for a in server.asked] == ["/e/eurofxref.zip"]
    server.asked.clear()
    pull(target, tmp_path, now=np.datetime64("2024-08-06T20:00:00"))  # Monday's rate was missed
    assert [a.path for a in server.asked] == ["/e/eurofxref-hist.zip"]
    world.routes["/e/eurofxref.zip"] = world.routes["/e/eurofxref-hist.zip"] = Reply(
        b"PK\x03\x04broken", kind=""
    )
    report = pull(target, tmp_path, now=np.datetime64("2024-08-13T20:00:00"))
    assert [s.outcome for s in report.sources] == [Outcome.FAILED] * 2


def test_json_by_paths_pages_marks_and_epochs(world: World, server: Loopback, tmp_path: Path) -> None:
    source = (
        f'type="http_json"\nurl="{server.url}/j?page={{page}}"\nrecords="data.rows"\ndate_column="when.day"\n'
        'value_column="x"\ndecimal=","\ndate_format="%d/%m/%Y"'
    )

    def page(asked: Asked) -> Reply:
        rows = {"1": [("30/07/2024", "1.5"), ("31/07/2024", 2)], "2": [("29/07/2024", None)]}
        items = [{"when": {"day": d}, "x": x} for d, x in rows.get(asked.query["page"], [])]
        if asked.query["page"] == "1":
            items[0]["x"] = "1,5"
        return Reply(json.dumps({"data": {"rows": items}}).encode(), kind="application/json")

    world.routes["/j"] = page
    report = pull(target_of(source), tmp_path).sources[0]
    assert stored(tmp_path, column="x") == {"2024-07-30": 1.5, "2024-07-31": 2.0}
    assert report.answers == 3 and [a.query["page"] for a in server.asked] == ["1", "2", "3"]


def test_json_of_other_shapes() -> None:
    def rows(text: str, extra: str) -> list[tuple[str, float]]:
        target = target_of(f'type="http_json"\nurl="https://x.org/"\n{extra}')
        found = parse_payload(target.source, ["v"] if "0" not in extra else ["1"], text.encode(), utc=True)
        return [(str(d), v) for d, v in zip(found.dates, found.values[:, 0], strict=True)]

    assert rows('{"r": {"2024-01-02": {"v": 1}}}', 'records="r"\ndate_column="@key"\nvalue_column="v"') == [
        ("2024-01-02T00:00:00", 1.0)
    ]
    lists = 'date_column="0"\nvalue_column="1"\ndate_format="epoch_ms"'
    assert rows("[[1704153600000, true]]", lists) == [("2024-01-02T00:00:00", 1.0)]
    plain = 'value_column="v"'
    big = "9" * 400
    assert np.isnan(rows(f'[{{"date": "2024-01-02", "v": {big}}}]', plain)[0][1])
    for text, words in (
        ("[", "no JSON"),
        ("[" * 100_000, "no JSON"),
        ('{"error": "quota"}', "no such field"),
        ('"sorry"', "no records"),
        ('[{"date": "2024-01-02"}]', "no such field"),
        ('[{"date": "2024-01-02", "v": [1]}]', "is no number"),
    ):
        with pytest.raises(SourceError, match=words):
            rows(text, plain)


def test_drop_folder_reads_each_file_once(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    target = parse_target(
        TARGET.format(
            source=f'type="drop_folder"\npath="{folder}"\npattern="*.csv"\nvalue_column="v"',
            body="", kind="business", top="",
        ),
        place="t.toml", folder=tmp_path,
    )  # fmt: skip
    report = pull(target, tmp_path).sources[0]
    assert report.outcome is Outcome.FAILED and "does not exist" in str(report.reason)
    folder.mkdir()

    def drop(name: str, text: str, second: int) -> Path:
        (folder / name).write_text(text)
        os.utime(folder / name, (second, second))
        return folder / name

    drop("b.csv", "date,v\n2024-07-30,1\n", 100)
    drop("a.csv", "date,v\n2024-07-30,2\n2024-07-31,3\n", 200)
    drop(".c.csv", "date,v\n2024-07-30,99\n", 300)
    drop("d.part", "date,v\n2024-07-30,99\n", 300)
    report = pull(target, tmp_path).sources[0]
    assert (report.answers, report.new, len(report.revised)) == (2, 2, 1)  # the newer file has the last word
    assert stored(tmp_path) == {"2024-07-30": 2.0, "2024-07-31": 3.0}
    assert pull(target, tmp_path, now=NOW + DAY).sources[0].answers == 0
    bad = drop("e.csv", "date,v\n2024-08-01,x\n", 400)
    drop("f.csv", "date,v\n2024-08-02,5\n", 500)
    report = pull(target, tmp_path, now=NOW + 2 * DAY).sources[0]
    assert report.outcome is Outcome.PARTIAL and report.new == 1 and str(bad) in str(report.reason)
    drop("e.csv", "date,v\n2024-08-01,4\n", 600)
    assert pull(target, tmp_path, now=NOW + 3 * DAY).sources[0].late == 1
    assert sorted(p.name for p in folder.iterdir()) == [
        ".c.csv",
        "a.csv",
        "b.csv",
        "d.part",
        "e.csv",
        "f.csv",
    ]


def test_conditional_requests_only_when_everything_is_known(
    world: World, server: Loopback, tmp_path: Path
) -> None:
    def versioned(asked: Asked) -> Reply:
        if asked.headers.get("if-none-match") == '"1"':
            return Reply(status=304)
        return Reply(b"date,v,w\n2024-07-31,1,5\n", headers={"ETag": '"1"'})

    world.routes["/x"] = versioned
    source = f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"'
    pull(target_of(source), tmp_path)
    report = pull(target_of(source), tmp_path, now=NOW + DAY).sources[0]
    assert (report.outcome, report.size) == (Outcome.UNCHANGED, 0)
    assert server.asked[1].headers["if-none-match"] == '"1"'
    wider = target_of(source, '[[covariates]]\nname="w"')
    assert pull(wider, tmp_path, now=NOW + DAY).sources[0].new == 1
    assert stored(tmp_path, column="w") == {"2024-07-31": 5.0}


def test_secrets_reach_the_server_and_nothing_else(world: World, server: Loopback, tmp_path: Path) -> None:
    source = (
        f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"\nparams={{ key="{{secret:KEY}}", n="a b" }}'
        '\nheaders={ X-Token="t-{secret:KEY}" }\nauth="{secret:LOGIN}"'
    )
    world.routes["/x"] = csv("2024-07-31,1")
    secrets = {"KEY": "hunter2!", "LOGIN": "ann:p4ssw0rd"}
    pull(target_of(source), tmp_path, secrets=secrets)
    asked = server.asked[0]
    assert asked.query == {"key": "hunter2!", "n": "a b"} and asked.headers["x-token"] == "t-hunter2!"
    world.routes["/x"] = csv("2024-07-31,x")
    report = pull(target_of(source), tmp_path, now=NOW + DAY, secrets=secrets)
    everything = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()) + repr(report).encode()
    for text in (b"hunter2", b"p4ssw0rd", asked.headers["authorization"][6:].encode()):
        assert text not in everything
    missing = pull(target_of(source), tmp_path, now=NOW + 2 * DAY).sources[0]
    assert missing.outcome is Outcome.FAILED and "a secret is not set" in str(missing.reason)


def test_raw_payloads_can_be_read_again(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    world.routes["/x"] = csv("2024-07-31,1")
    pull(target, tmp_path)
    folder = payload_folder(tmp_path, "t")
    (about,) = folder.rglob("*.json")
    manifest = json.loads(about.read_text())
    assert manifest["url"] == f"{server.url}/x" and manifest["at"] == "2024-08-01T21:00:00"
    rows = parse_payload(target.source, ["v"], read_payload(folder, manifest["sha256"]), utc=False)
    assert rows.values.tolist() == [[1.0]]


def test_recent_sources_are_left_alone(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    world.routes["/x"] = Reply(status=404)
    pull(target, tmp_path, min_age_s=600)
    world.routes["/x"] = csv("2024-07-31,1")
    minute = np.timedelta64(60, "s")
    assert pull(target, tmp_path, now=NOW + minute, min_age_s=600).sources[0].new == 1
    report = pull(target, tmp_path, now=NOW + 5 * minute, min_age_s=600).sources[0]
    assert report.outcome is Outcome.RECENT and len(server.asked) == 2
    assert pull(target, tmp_path, now=NOW + 12 * minute, min_age_s=600).sources[0].unchanged == 1


def test_one_slow_source_leaves_the_others_their_share(
    world: World, server: Loopback, tmp_path: Path
) -> None:
    target = target_of(
        f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"',
        f'[[covariates]]\nname="c"\nsource={{type="http_csv", url="{server.url}/c", value_column="v"}}',
    )
    world.routes["/x"] = Reply(status=429, headers={"Retry-After": "30"})
    world.routes["/c"] = csv("2024-07-31,1")
    limits = HttpLimits(connect_s=1, read_s=0.3, budget_s=50, tries=10)
    report = pull(target, tmp_path, limits=limits)
    assert [s.outcome for s in report.sources] == [Outcome.FAILED, Outcome.UPDATED]
    assert report.seconds < 50


def test_another_pull_is_not_disturbed(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    with (
        VintageStore(store_path(tmp_path, "t"), create=True) as store,
        store.locked(),
        pytest.raises(StoreError, match="another pull"),
    ):
        pull(target, tmp_path)
    assert server.asked == []


def test_local_sources_are_not_pulled(tmp_path: Path) -> None:
    target = target_of('type="ecb"\npair="USDMXN"')
    report = pull(target, tmp_path)
    assert pulled_sources(target) == () and report.sources == () and list(tmp_path.iterdir()) == []


def test_a_run_sees_what_was_known_then(world: World, server: Loopback, tmp_path: Path) -> None:
    """The as-of date hides later rows and later revisions; the same call replays the same numbers."""
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    rows = walk(sessions())
    world.routes["/x"] = csv(*rows[:-3])
    pull(target, tmp_path, now=np.datetime64("2024-07-26T22:00:00"))
    then = load_series(target, as_of=np.datetime64("2024-07-26"), now=NOW, store=tmp_path)
    revised = [*rows[:100], f"{rows[100][:10]},905.5", *rows[101:]]
    world.routes["/x"] = csv(*revised)
    pull(target, tmp_path, now=np.datetime64("2024-07-31T22:00:00"))
    replay = load_series(target, as_of=np.datetime64("2024-07-26"), now=NOW, store=tmp_path)
    assert replay.report.digest == then.report.digest and replay.report.findings == then.report.findings
    today = load_series(target, now=NOW, store=tmp_path).series
    assert today.values[100] == 905.5 and len(today) == len(rows)
    assert then.series.values[100] == float(rows[100][11:])
    early = load_series(target, as_of=np.datetime64("2024-06-28"), now=NOW, store=tmp_path)
    assert {f.code for f in early.report.findings} == {"assumed_vintage"}
    assert str(early.series.last)[:10] == "2024-06-28"
    late = load_series(
        target, as_of=np.datetime64("2024-07-26"), known_at=NOW, now=NOW, store=tmp_path
    ).series
    assert late.values[100] == 905.5 and len(late) == len(then.series)


def test_a_pulled_target_needs_a_store_and_a_pull(tmp_path: Path) -> None:
    target = target_of('type="http_csv"\nurl="https://x.org/"\nvalue_column="v"')
    with pytest.raises(SourceError, match="no store was named"):
        load_series(target, now=NOW)
    with pytest.raises(SourceError, match="nothing has been pulled"):
        load_series(target, now=NOW, store=tmp_path)


def test_a_slip_in_the_store_still_blocks_a_run(world: World, server: Loopback, tmp_path: Path) -> None:
    target = target_of(f'type="http_csv"\nurl="{server.url}/x"\nvalue_column="v"')
    rows = walk(sessions())
    world.routes["/x"] = csv(*rows[:-1], f"{rows[-1][:10]},{float(rows[-1][11:]) * 100}")
    pull(target, tmp_path)
    with pytest.raises(CheckError, match="unit_slip"):
        load_series(target, now=NOW, store=tmp_path)
    world.routes["/x"] = csv(*rows)
    assert len(pull(target, tmp_path, now=NOW + DAY).sources[0].revised) == 1
    assert load_series(target, now=NOW, store=tmp_path).report.errors == ()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('type="http_csv"\nvalue_column="v"', "needs a url"),
        ('type="http_csv"\nurl="https://x/{yaer}"\nvalue_column="v"', "unknown field"),
        ('type="http_csv"\nurl="https://x/{"\nvalue_column="v"', "no template"),
        ('type="http_csv"\nurl="https://u:pw@x/"\nvalue_column="v"', "carries a password"),
        ('type="http_csv"\nurl="https://x/"', "value_column is not declared"),
        ('type="csv"\npath="x"\nurl="https://x/"\nvalue_column="v"', "not for type csv"),
        ('type="http_csv"\nurl="https://x/"\nvalue_column="v"\nrecheck_days=-1', "too small"),
        ('type="http_csv"\nurl="https://x/"\nvalue_column="v"\nparams=3', "a table"),
        ('type="http_csv"\nurl="https://x/"\nvalue_column="v"\nrecord="a"', "did you mean records"),
        ('type="drop_folder"\nvalue_column="v"', "needs a path"),
        ('type="drop_folder"\npath="x"\npattern="../*"\nvalue_column="v"', "leaves the folder"),
        ('type="drop_folder"\npath="x"\npattern="/*"\nvalue_column="v"', "leaves the folder"),
        ('type="http_csv"\nurl="https://x/{year:%Y}"\nvalue_column="v"', "does not fit its field"),
        ('type="ecb_hist"\npair="USD"', "needs a pair"),
    ],
)
def test_declarations_that_cannot_work(source: str, words: str) -> None:
    with pytest.raises(HorizoncastError, match=words) as caught:
        target_of(source)
    assert "pw" not in str(caught.value)
