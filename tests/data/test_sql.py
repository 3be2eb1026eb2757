"""Rows from databases: SQLite, and a real PostgreSQL server started here."""

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.feed import Feed
from horizoncast.data.load import load_series
from horizoncast.data.secrets import Secrets
from horizoncast.data.sources import Rows
from horizoncast.data.sql import fetch_sql, local_database
from horizoncast.data.target import Source, SourceType
from horizoncast.data.target_file import parse_target
from horizoncast.errors import ConfigError, SourceError
from postgres import PASSWORD, server

DAYS = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-05-01"))
VALUES = np.round(100 + np.cumsum(np.sin(np.arange(len(DAYS)))), 3)


def source(url: str, query: str, **more: object) -> Source:
    return Source(type=SourceType.SQL, value_column="close", feed=Feed(url=url, query=query), **more)  # type: ignore[arg-type]


def fetch(where: Source, *, since: str | None = None, timeout_s: float = 5.0, utc: bool = True) -> Rows:
    return fetch_sql(
        where,
        ["close"],
        since=None if since is None else np.datetime64(since, "s"),
        utc=utc,
        timeout_s=timeout_s,
        secrets=Secrets({"PG_PASSWORD": PASSWORD, "PG_URL": f"postgresql://a:{PASSWORD}@127.0.0.1:1/x"}),
    )


@pytest.fixture
def lite(tmp_path: Path) -> str:
    path = tmp_path / "prices.db"
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE prices(day TEXT, series TEXT, close REAL, vix TEXT)")
        rows = [(str(d), "a", v, f"{v:.1f}".replace(".", ",")) for d, v in zip(DAYS, VALUES, strict=True)]
        db.executemany("INSERT INTO prices VALUES (?, ?, ?, ?)", rows)
        db.execute("INSERT INTO prices VALUES ('2024-05-01', 'b', NULL, '')")
    db.close()
    return f"sqlite:///{path}"


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    import psycopg

    with server() as plain:
        with psycopg.connect(plain, password=PASSWORD, autocommit=True) as db:
            db.execute("CREATE TABLE prices(day date, at timestamptz, close numeric, note text)")
            with db.cursor() as cursor:
                cursor.executemany(
                    "INSERT INTO prices VALUES (%s, %s, %s, 'x')",
                    [(str(d), f"{d} 09:30-04", float(v)) for d, v in zip(DAYS, VALUES, strict=True)],
                )
            db.execute("INSERT INTO prices VALUES ('2024-05-01', '2024-05-01 09:30-04', NULL, NULL)")
        yield plain.replace("tester@", "tester:{secret:PG_PASSWORD}@")


# SQLite


def test_a_query_with_since_reads_from_that_date(lite: str) -> None:
    query = "SELECT day, close FROM prices WHERE series = 'a' AND day >= :since ORDER BY day"
    where = source(lite, query, date_column="day")
    assert np.array_equal(fetch(where).values[:, 0], VALUES)
    later = fetch(where, since="2024-04-01")
    assert str(later.dates[0].astype("datetime64[D]")) == "2024-04-01"
    assert np.array_equal(later.values[:, 0], VALUES[91:])


def test_the_name_of_a_table_is_enough(lite: str) -> None:
    rows = fetch(source(lite, "prices", date_column="day", filter=(("series", "a"),)))
    assert len(rows) == len(DAYS)
    everything = fetch(source(lite, "prices", date_column="day"))
    assert np.isnan(everything.values[-1, 0])


def test_texts_are_read_with_the_declared_marks(lite: str) -> None:
    query = "SELECT day AS date, vix AS close FROM prices WHERE series = 'a'"
    rows = fetch(source(lite, query, decimal=","))
    assert np.allclose(rows.values[:, 0], np.round(VALUES, 1), atol=0.051)


@pytest.mark.parametrize("query", ["DELETE FROM prices", "PRAGMA user_version = 3", "ATTACH 'x' AS y"])
def test_only_a_select_is_sent(lite: str, query: str) -> None:
    with pytest.raises(ConfigError, match="no SELECT"):
        fetch(source(lite, query))


def test_a_select_that_writes_is_refused_by_the_database(lite: str) -> None:
    with pytest.raises(SourceError):
        fetch(source(lite, "WITH gone AS (SELECT 1) DELETE FROM prices"))
    assert len(fetch(source(lite, "prices", date_column="day"))) == len(DAYS) + 1


def test_a_statement_past_its_time_is_interrupted(lite: str) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) AS close FROM n"
    with pytest.raises(SourceError, match=r"longer than 0\.2 s"):
        fetch(source(lite, endless), timeout_s=0.2)


def test_errors_name_what_is_wrong(lite: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="did you mean close"):
        fetch_sql(
            source(lite, "SELECT day AS date, close FROM prices"), ["cloze"],
            since=None, utc=True, timeout_s=5, secrets=Secrets({}),
        )  # fmt: skip
    with pytest.raises(SourceError, match="no such table"):
        fetch(source(lite, "SELECT * FROM elsewhere"))
    with pytest.raises(SourceError, match="does not exist"):
        fetch(source(f"sqlite:///{tmp_path}/none.db", "prices"))
    assert not (tmp_path / "none.db").exists()
    with pytest.raises(ConfigError, match="unknown parameter"):
        fetch(source(lite, "SELECT day FROM prices WHERE day > :from_day"))
    with pytest.raises(ConfigError, match="filter is for a table"):
        fetch(source(lite, "SELECT * FROM prices", filter=(("series", "a"),)))
    with pytest.raises(ConfigError, match="not supported"):
        fetch(source("mysql://host/db", "prices"))


def test_a_password_in_the_file_is_refused_and_not_repeated() -> None:
    with pytest.raises(ConfigError, match="carries a password") as caught:
        fetch(source("postgresql://reader:hunter2@host/db", "prices"))
    assert "hunter2" not in str(caught.value)


def test_a_sqlite_target_is_read_straight_by_a_run(lite: str, tmp_path: Path) -> None:
    """It needs no network; once pulled, the store with its vintages is read instead."""
    text = f"""
name = "lite"
unit = "x"
scale = "level"
[source]
type = "sql"
url = "{lite}"
query = "SELECT day AS date, close FROM prices WHERE series = 'a'"
value_column = "close"
[calendar]
kind = "daily"
[[covariates]]
name = "vix"
source = {{ type = "sql", url = "{lite}", query = "SELECT day AS date, vix FROM prices", decimal = "," }}
column = "vix"
"""
    target = parse_target(text, place="lite.toml", folder=tmp_path)
    now = np.datetime64("2024-05-01T12:00")
    loaded = load_series(target, now=now, store=tmp_path / "store")
    assert np.array_equal(loaded.series.values, VALUES)
    assert np.isfinite(loaded.series.covariates[0].values).all()
    assert local_database(target.source)


# PostgreSQL


def test_postgres_dates_decimals_and_null(postgres: str) -> None:
    rows = fetch(source(postgres, "SELECT day AS date, close FROM prices ORDER BY day"))
    assert np.array_equal(rows.values[:-1, 0], VALUES)
    assert np.isnan(rows.values[-1, 0])
    assert np.array_equal(rows.dates[:-1].astype("datetime64[D]"), DAYS)


def test_postgres_since_table_and_zones(postgres: str) -> None:
    query = "SELECT at AS date, close FROM prices WHERE day >= :since::date ORDER BY at"
    rows = fetch(source(postgres, query), since="2024-04-30")
    assert [str(d) for d in rows.dates] == ["2024-04-30T13:30:00", "2024-05-01T13:30:00"]
    table = fetch(source(postgres, "public.prices", date_column="day", filter=(("note", "x"),)))
    assert len(table) == len(DAYS)


def test_postgres_reads_only(postgres: str) -> None:
    with pytest.raises(SourceError, match="read-only transaction"):
        fetch(source(postgres, "WITH gone AS (DELETE FROM prices RETURNING day, close) SELECT * FROM gone"))
    assert len(fetch(source(postgres, "prices", date_column="day"))) == len(DAYS) + 1


def test_postgres_statement_time_out(postgres: str) -> None:
    with pytest.raises(SourceError, match=r"longer than 0\.3 s"):
        fetch(source(postgres, "SELECT pg_sleep(20), day AS date, close FROM prices"), timeout_s=0.3)


def test_postgres_refusals_never_show_the_password(postgres: str) -> None:
    wrong = source(postgres.replace("tester:", "nobody:"), "prices")
    dead = source("{secret:PG_URL}", "prices")
    for where in (wrong, dead):
        with pytest.raises((SourceError, ConfigError)) as caught:
            fetch(where, timeout_s=2)
        shown = str(caught.value) + repr(caught.value.__context__ and "") + str(caught.value.__cause__)
        assert PASSWORD not in shown
        assert "s3cr" not in shown


def test_a_whole_url_may_be_a_secret(postgres: str) -> None:
    from sqlalchemy import make_url

    whole = make_url(postgres.replace("{secret:PG_PASSWORD}", "")).set(password=PASSWORD)
    where = source("{secret:DB}", "prices", date_column="day")
    rows = fetch_sql(
        replace(where), ["close"], since=None, utc=True, timeout_s=5,
        secrets=Secrets({"DB": whole.render_as_string(hide_password=False)}),
    )  # fmt: skip
    assert len(rows) == len(DAYS) + 1


# through a pull


def target_text(url: str, covariate: str) -> str:
    return f"""
name = "both"
unit = "x"
scale = "level"
[source]
type = "sql"
url = "{url}"
query = "SELECT day AS date, close FROM prices WHERE close IS NOT NULL AND day >= :since"
value_column = "close"
since = "2024-01-01"
[calendar]
kind = "daily"
[[covariates]]
name = "other"
[covariates.source]
type = "sql"
url = "{covariate}"
query = "SELECT day AS date, close FROM prices WHERE close IS NOT NULL"
value_column = "close"
"""


def test_target_and_covariate_are_pulled_with_their_revisions(
    postgres: str, lite: str, tmp_path: Path
) -> None:
    """PostgreSQL for the target, SQLite for the covariate; the run then needs neither."""
    from horizoncast.data.http import HttpClient
    from horizoncast.data.pull import pull_target
    from horizoncast.data.vintages import VintageStore, store_path

    text = target_text(postgres, lite)
    target = parse_target(text, place="both.toml", folder=tmp_path)
    store = tmp_path / "store"

    def pull(day: str) -> None:
        with HttpClient(Secrets({"PG_PASSWORD": PASSWORD})) as client:
            report = pull_target(target, store, client=client, now=np.datetime64(day, "s"))
        assert not report.failed, report

    pull("2024-05-01T08:00")
    path = Path(lite.removeprefix("sqlite:///"))
    with sqlite3.connect(path) as db:
        db.execute("UPDATE prices SET close = close + 1 WHERE day = '2024-04-29'")
    db.close()
    pull("2024-05-02T08:00")
    path.unlink()
    now = np.datetime64("2024-05-02T12:00")
    loaded = load_series(target, now=now, store=store)
    assert np.array_equal(loaded.series.values, VALUES)
    other = loaded.series.covariates[0].values
    assert np.flatnonzero(other != VALUES).tolist() == [119]
    replay = load_series(target, as_of=np.datetime64("2024-05-01"), now=now, store=store).series
    assert np.array_equal(replay.covariates[0].values, VALUES)
    with VintageStore(store_path(store, "both")) as vintages:
        (revision,) = vintages.revisions("covariate:other", "close")
    assert str(revision.date)[:10] == "2024-04-29"
    assert PASSWORD.encode() not in b"".join(p.read_bytes() for p in store.rglob("*") if p.is_file())


def test_the_first_pull_asks_from_the_sources_own_since(lite: str, tmp_path: Path) -> None:
    """`:since` was left at 1900 when everything was asked for."""
    from horizoncast.data.http import HttpClient
    from horizoncast.data.pull import pull_target

    text = target_text(lite, lite).replace('since = "2024-01-01"', 'since = "2024-04-01"')
    target = parse_target(text.split("[[covariates]]", maxsplit=1)[0], place="one.toml", folder=tmp_path)
    with HttpClient(Secrets({})) as client:
        pull_target(target, tmp_path, client=client, now=np.datetime64("2024-05-01T08:00", "s"))
    loaded = load_series(target, now=np.datetime64("2024-05-01T12:00"), store=tmp_path)
    assert str(loaded.series.dates[0])[:10] == "2024-04-01"
