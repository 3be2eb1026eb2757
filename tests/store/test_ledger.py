"""The ledger on SQLite and on a real PostgreSQL server: the same tests for both."""

import multiprocessing
import sqlite3
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import inspect, text

from horizoncast.errors import AlreadyPublishedError, ConfigError, StoreError
from horizoncast.forecast import Forecast
from horizoncast.store.facts import Span
from horizoncast.store.ledger.database import FILE, Database
from horizoncast.store.ledger.facts import ledger_facts
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.migrations import MIGRATIONS, NEWEST, migrate, version_of
from horizoncast.store.ledger.outbox import ATTEMPTS
from horizoncast.store.ledger.peek import heads, published
from horizoncast.store.ledger.rows import Delivery, LedgerEvent, Message, ScoreRow, Transition
from horizoncast.store.ledger.schema import METADATA
from horizoncast.store.records import Origin
from horizoncast.store.results import read_run
from ledger_runs import a_record, an_entry, commit
from postgres import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of an empty database of the test's own."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / FILE}"
    return new_database(request.getfixturevalue("postgres"))


@pytest.fixture
def ledger(url: str) -> Ledger:
    return Ledger(url)


def score(run_id: str, *, step: int = 1, revision: int = 0, actual: float = 18.0) -> ScoreRow:
    return ScoreRow(
        run_id=run_id,
        subject="ensemble",
        step=step,
        revision=revision,
        scored="2030-07-01T00:00:00.000Z",
        actual=actual,
        error=0.1,
        wql=0.05,
        pit=0.4,
        covered_80=True,
        covered_95=None,
    )


# schema


def test_migrations_make_what_the_tables_say(ledger: Ledger) -> None:
    with ledger.database.reading() as connection:
        found = inspect(connection)
        assert set(found.get_table_names()) == set(METADATA.tables)
        for name, table in METADATA.tables.items():
            columns = {c["name"]: c for c in found.get_columns(name)}
            assert list(columns) == [c.name for c in table.columns], name
            for column in table.columns:
                assert columns[column.name]["nullable"] == column.nullable, f"{name}.{column.name}"
                kind = columns[column.name]["type"]._type_affinity
                assert kind is column.type._type_affinity, f"{name}.{column.name}"
            keys = [c.name for c in table.primary_key.columns]
            assert found.get_pk_constraint(name)["constrained_columns"] == keys
            links = {tuple(k["constrained_columns"]) for k in found.get_foreign_keys(name)}
            assert links == {tuple(k.column_keys) for k in table.foreign_key_constraints}, name


@pytest.mark.parametrize("start", range(1, NEWEST))
def test_every_older_version_is_brought_up_with_its_runs(url: str, start: int, tmp_path: Path) -> None:
    database = Database(url)
    assert migrate(database, to=start) == 0
    with database.reading() as connection:
        assert version_of(connection) == start
    record = a_record()
    entry = an_entry(tmp_path, record)
    with database.writing() as connection:
        # as the program of that version wrote it: tables have gained columns since, at their end
        from horizoncast.store.ledger import runs

        runs._keep_snapshot(connection, entry.snapshot)
        row = replace(entry.run, revision=1, committed="2030-01-01T00:00:00.000Z")
        then = {c["name"] for c in inspect(connection).get_columns("runs")}
        values = {name: value for name, value in runs.to_row(row).items() if name in then}
        connection.execute(runs.insert(runs.RUNS).values(values))
        runs._insert(connection, entry)
    ledger = Ledger(url)
    assert ledger.version() == NEWEST
    assert [(run.run_id, run.origin, run.due) for run in ledger.runs.all()] == [
        (record.run_id, Origin.LIVE, None)
    ]
    ledger.scores.add([score(record.run_id)])
    assert ledger.outbox.add([Message(key="k", channel="mail", payload={})], run_id=record.run_id) == 1


def test_a_migration_that_fails_leaves_the_version_before(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from horizoncast.store.ledger import migrations

    database = Database(url)
    broken = (*MIGRATIONS[:2], ("CREATE TABLE half (a TEXT)", "CREATE TABLE half (a TEXT)"))
    monkeypatch.setattr(migrations, "MIGRATIONS", broken)
    migrate(database, to=2)
    with pytest.raises(StoreError, match="cannot write"):
        migrate(database, to=3)
    with database.reading() as connection:
        assert version_of(connection) == 2
        assert not inspect(connection).has_table("half")


def test_a_ledger_of_a_newer_program_is_refused(url: str) -> None:
    ledger = Ledger(url)
    with ledger.database.writing() as connection:
        connection.execute(text(f"INSERT INTO schema_version VALUES ({NEWEST + 1}, 'x')"))
    with pytest.raises(StoreError, match="newer horizoncast"):
        Ledger(url)


@pytest.mark.parametrize("wrong", ["mysql://a:pw@h/x", "sqlite://", "nonsense", "postgresql+asyncpg:/"])
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(wrong: str) -> None:
    with pytest.raises((ConfigError, StoreError)) as caught:
        Ledger(wrong, timeout_s=1)
    assert "pw" not in str(caught.value)


def test_a_password_is_in_no_error(postgres: str) -> None:
    with pytest.raises(StoreError) as caught:
        Ledger(postgres.rsplit("/", 1)[0] + "/absent", timeout_s=2)
    assert "absent" in str(caught.value)
    assert "s3cr" not in repr(caught.value) + repr(caught.value.__cause__)


# runs


def test_a_run_reads_back_bit_for_bit(ledger: Ledger, tmp_path: Path) -> None:
    record = a_record()
    entry = an_entry(tmp_path, record, Message(key="k", channel="mail", payload={"subject": "x"}))
    run = ledger.runs.commit(entry)
    assert ledger.runs.get(record.run_id) == run
    assert (run.revision, run.as_of, run.levels) == (1, "2023-07-14", record.forecast.levels)
    found = {rows.subject: rows for rows in ledger.runs.forecasts(run.run_id)}
    assert next(iter(found)) == "ensemble"
    assert found["ensemble"].quantiles.tobytes() == record.forecast.quantiles.tobytes()
    assert found["ensemble"].steps == tuple(range(1, 8))
    assert not found["ensemble"].quantiles.flags.writeable
    for member in record.members:
        if isinstance(member.live, Forecast):
            assert found[member.name].quantiles.tobytes() == member.live.quantiles.tobytes()
    members = {row.member: row for row in ledger.runs.members(run.run_id)}
    assert set(found) == {"ensemble", *members} - {"var"}
    assert (members["var"].failure_code, members["var"].rmse) == ("ChildError", None)
    assert members["random_walk"].failure_code is None
    assert [event.code for event in ledger.events.all()] == ["ChildError"]
    assert [row.payload for row in ledger.outbox.all()] == [{"subject": "x"}]


def test_an_as_of_is_published_once_unless_reprocessed(ledger: Ledger, tmp_path: Path) -> None:
    first, second = a_record(0), a_record(1)
    ledger.runs.commit(an_entry(tmp_path, first))
    entry = an_entry(tmp_path, second)
    with pytest.raises(AlreadyPublishedError):
        ledger.runs.commit(entry)
    assert ledger.runs.published("forecaster_7d", "usd_mxn", "2023-07-14") == 1
    assert ledger.runs.commit(entry, reprocess=True).revision == 2
    with pytest.raises(AlreadyPublishedError, match="already"):
        ledger.runs.commit(entry, reprocess=True)
    latest = ledger.runs.latest("forecaster_7d", "usd_mxn")
    assert latest is not None and latest.run_id == second.run_id
    assert [r.run_id for r in ledger.runs.all(revisions=False)] == [second.run_id]
    assert [r.run_id for r in ledger.runs.heads()] == [second.run_id]
    assert {m.run_id for m in ledger.runs.member_history("forecaster_7d", "usd_mxn")} == {second.run_id}


def test_a_run_says_what_it_was_made_for(ledger: Ledger, tmp_path: Path) -> None:
    """In the ledger, and in its folder, from which a lost row comes back."""
    due = datetime(2030, 6, 29, 11, 0, tzinfo=UTC)
    record = replace(a_record(0), origin=Origin.BACKFILL, due=due)
    done = commit(ledger, tmp_path, record)
    assert (done.run.origin, done.run.due) == (Origin.BACKFILL, "2030-06-29T11:00:00.000Z")
    assert ledger.runs.get(record.run_id) == replace(done.run, derived=ledger.runs.all()[0].derived)
    again = commit(ledger, tmp_path, replace(a_record(1), due=due))
    assert again.run.origin is Origin.REPROCESS
    read = read_run(done.folder)
    assert (read.origin, read.due) == (Origin.BACKFILL, due)


def test_what_was_reprocessed_before_it_was_told_apart_is_told_now(url: str, tmp_path: Path) -> None:
    from horizoncast.store.ledger import runs

    database = Database(url)
    migrate(database, to=3)
    with database.writing() as connection:
        for revision in (1, 2):
            entry = an_entry(tmp_path, a_record(revision))
            runs._keep_snapshot(connection, entry.snapshot)
            values = runs.to_row(replace(entry.run, revision=revision, committed="2030"))
            old = {key: value for key, value in values.items() if key not in ("origin", "due")}
            connection.execute(runs.insert(runs.RUNS).values(old))
    assert [run.origin for run in Ledger(url).runs.all()] == [Origin.LIVE, Origin.REPROCESS]


def test_a_commit_that_fails_leaves_no_row_in_any_table(ledger: Ledger, tmp_path: Path) -> None:
    entry = an_entry(tmp_path, a_record())
    doubled = replace(entry, forecasts=(*entry.forecasts, entry.forecasts[0]))
    with pytest.raises(StoreError):
        ledger.runs.commit(doubled)
    with ledger.database.reading() as connection:
        for name in set(METADATA.tables) - {"schema_version"}:
            assert connection.execute(text(f"SELECT COUNT(*) FROM {name}")).scalar_one() == 0, name


HOSTILE = [
    "../../x",
    "<script>alert(1)</script>",
    "=cmd|' /C calc'!A0",
    r"$\frac{",
    "a\x00b",
    "'; DROP",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_are_text_and_nothing_else(ledger: Ledger, tmp_path: Path, name: str) -> None:
    root = tmp_path / "results"
    done = commit(ledger, root, a_record(name=name))
    assert done.problems == ()
    assert root.resolve() in done.folder.resolve().parents
    (run,) = ledger.runs.heads()
    if name.isprintable():
        assert run.series == name
    assert ledger.runs.latest(run.service, run.series) == run
    assert ledger.runs.published(run.service, run.series, run.as_of) == 1


def commit_in_a_process(url: str, root: Path, hour: int, barrier: object, out: object) -> None:
    ledger = Ledger(url)
    entry = an_entry(root, a_record(hour))
    barrier.wait()  # type: ignore[attr-defined]
    try:
        out.put(ledger.runs.commit(entry).revision)  # type: ignore[attr-defined]
    except AlreadyPublishedError:
        out.put(0)  # type: ignore[attr-defined]


def test_of_two_runs_at_once_one_is_published(url: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    Ledger(url)
    barrier, out = context.Barrier(4), context.Queue()
    children = [
        context.Process(target=commit_in_a_process, args=(url, tmp_path, hour, barrier, out))
        for hour in range(4)
    ]
    for child in children:
        child.start()
    assert sorted(out.get(timeout=60) for _ in children) == [0, 0, 0, 1]
    for child in children:
        child.join(60)
    assert len(Ledger(url).runs.all()) == 1


# scores, rollout, events, outbox


def test_open_leads_are_those_whose_date_has_come_and_that_have_no_score(
    ledger: Ledger, tmp_path: Path
) -> None:
    record = a_record()
    ledger.runs.commit(an_entry(tmp_path, record))
    dates = [str(d)[:10] for d in record.forecast.dates]
    leads = ledger.scores.open_leads("forecaster_7d", "usd_mxn", until=dates[1])
    subjects = {"ensemble", "random_walk", "seasonal_naive"} & {lead.subject for lead in leads}
    assert [(x.step, x.date) for x in leads if x.subject == "ensemble"] == [(1, dates[0]), (2, dates[1])]
    assert len(leads) == 2 * len(subjects)
    np.testing.assert_array_equal(leads[0].quantiles, record.forecast.quantiles[0])
    ledger.scores.add([score(record.run_id)])
    later = ledger.scores.open_leads("forecaster_7d", "usd_mxn", until=dates[1])
    assert [x.step for x in later if x.subject == "ensemble"] == [2]
    ledger.scores.add([score(record.run_id, revision=1, actual=18.5)])
    (row,) = ledger.scores.all("forecaster_7d", "usd_mxn")
    assert (row.revision, row.actual, row.covered_80, row.covered_95) == (1, 18.5, True, None)


def test_a_score_needs_a_published_lead(ledger: Ledger, tmp_path: Path) -> None:
    record = a_record()
    ledger.runs.commit(an_entry(tmp_path, record))
    for wrong in (score("nobody"), score(record.run_id, step=8)):
        with pytest.raises(StoreError):
            ledger.scores.add([score(record.run_id), wrong])
    assert ledger.scores.all("forecaster_7d", "usd_mxn") == ()


def test_the_newest_transition_is_the_state(ledger: Ledger) -> None:
    first = Transition(
        at="2030-01-01T00:00:00.000Z",
        service="s",
        series="x",
        member="var",
        before="off",
        after="shadow",
        who="ana",
        reason="try it",
        evidence={"weeks": [1, 2], "met": None},
    )
    second = replace(first, before="shadow", after="on")
    ledger.rollout.add(first)
    ledger.rollout.add(second)
    assert ledger.rollout.all(service="s") == (first, second)
    assert ledger.rollout.states("s", "x") == {"var": "on"}
    assert ledger.rollout.states("s", "y") == {}


def test_a_message_is_tried_less_and_less_often_and_given_up(ledger: Ledger) -> None:
    now = datetime.now(tz=UTC)
    messages = [Message(key="a", channel="mail", payload={}), Message(key="a", channel="mail", payload={})]
    assert ledger.outbox.add(messages) == 1
    waits = []
    for _ in range(ATTEMPTS):
        (row,) = ledger.outbox.due(now + timedelta(days=30))
        state = ledger.outbox.mark_failed(row, "HTTP 500", now)
        waits.append(datetime.fromisoformat(ledger.outbox.all()[0].due) - now)
    assert state is Delivery.GIVEN_UP
    assert ledger.outbox.due(now + timedelta(days=30)) == ()
    assert waits == sorted(waits) and waits[0] > timedelta(seconds=59)
    assert ledger.outbox.add(messages) == 0


def test_old_runs_are_forgotten_but_the_newest_stays(ledger: Ledger, tmp_path: Path) -> None:
    old = replace(a_record(0), as_of=np.datetime64("2023-07-10"))
    for record in (old, a_record(1), a_record(2, service="other")):
        commit(ledger, tmp_path, record)
    ledger.scores.add([score(old.run_id)])
    ledger.events.add(LedgerEvent(at="2020-01-01T00:00:00.000Z", code="x", message="", severity="info"))
    assert ledger.prune("2023-07-14") == 0  # its folder is there
    ledger.runs.mark_pruned(old.run_id)
    assert ledger.prune("2023-07-14") == 1
    assert old.run_id not in {run.run_id for run in ledger.runs.all()}
    assert ledger.prune("2099-01-01") == 0
    assert len(ledger.runs.all()) == 2
    assert ledger.scores.all("forecaster_7d", "usd_mxn") == ()


# the embedded one


def test_sqlite_keeps_its_promises(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    with ledger.database.reading() as connection:
        values = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert values == {"journal_mode": "delete", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    assert ledger.damage() == ()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    ledger = Ledger.at(tmp_path)
    commit(ledger, tmp_path, a_record())
    path = tmp_path / FILE
    data = bytearray(path.read_bytes())
    data[4096 * 6 : 4096 * 12] = b"\xff" * (4096 * 6)
    path.write_bytes(data)
    try:
        assert Ledger.at(tmp_path).damage() != ()
    except StoreError as error:
        assert "malformed" in str(error)
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Ledger.at(tmp_path)


def test_the_light_reader_sees_what_the_ledger_says(tmp_path: Path) -> None:
    assert published(tmp_path / FILE) == ()
    ledger = Ledger.at(tmp_path)
    assert published(tmp_path / FILE) == ()
    commit(ledger, tmp_path, a_record(0))
    commit(ledger, tmp_path, a_record(1))
    (found,) = published(tmp_path / FILE)
    assert (found.service, found.series, found.as_of, found.revision) == (
        "forecaster_7d",
        "usd_mxn",
        "2023-07-14",
        2,
    )
    (tmp_path / FILE).write_bytes(b"x" * 5000)
    with pytest.raises(StoreError, match="doctor"):
        published(tmp_path / FILE)
    with sqlite3.connect(tmp_path / "empty.sqlite") as empty:
        empty.execute("CREATE TABLE other (a)")
    assert published(tmp_path / "empty.sqlite") == ()


def test_the_light_reader_reads_a_ledger_of_the_version_before(tmp_path: Path) -> None:
    """A tick after an update looks before any run has opened the ledger."""
    from horizoncast.store.ledger import runs

    database = Database(f"sqlite:///{tmp_path / FILE}")
    migrate(database, to=3)
    entry = an_entry(tmp_path, a_record(0))
    with database.writing() as connection:
        runs._keep_snapshot(connection, entry.snapshot)
        values = runs.to_row(replace(entry.run, revision=1, committed="2030"))
        old = {key: value for key, value in values.items() if key not in ("origin", "due")}
        connection.execute(runs.insert(runs.RUNS).values(old))
    assert [head.origin for head in heads(tmp_path / FILE)] == ["live"]
    migrate(database)
    assert [head.origin for head in heads(tmp_path / FILE)] == ["live"]


@pytest.mark.parametrize(
    ("module", "heavy"),
    [("ledger", {"pandas", "pyarrow", "scipy"}), ("peek", {"sqlalchemy", "numpy", "pandas"})],
)
def test_the_ledger_is_light_and_the_reader_lighter(module: str, heavy: set[str]) -> None:
    code = f"import sys, horizoncast.store.ledger.{module}; print(*{{m.split('.')[0] for m in sys.modules}})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "horizoncast" in done.stdout.split()
    assert not heavy & set(done.stdout.split())


# facts for a review


def test_facts_of_a_review_are_read_by_both_databases(ledger: Ledger, tmp_path: Path) -> None:
    record = a_record()
    commit(ledger, tmp_path, record)
    rows = [score(record.run_id, step=1), score(record.run_id, step=1, revision=1, actual=19.0)]
    ledger.scores.add([replace(row, session=5, live=True) for row in rows])
    ledger.scores.add([score(record.run_id, step=2)])  # of before sessions were recorded
    ledger.rollout.add(
        Transition(
            at="2030-07-01T00:00:00.000Z",
            service=record.service,
            series="usd_mxn",
            member="var",
            before="on",
            after="shadow",
            who="ana",
            reason="slow",
            evidence={},
        )
    )
    with ledger.database.reading() as connection:

        def ask(statement, values):
            return [tuple(row) for row in connection.execute(text(statement), values)]

        facts = ledger_facts(ask, Span(days=364))
        none = ledger_facts(ask, Span(days=364, service="other"))
        early = ledger_facts(ask, Span(days=364, until="2000-01-01"))
    (run,) = facts.runs
    assert (run.run_id, run.best_naive, run.horizon) == (record.run_id, record.decision.best_naive, 7)
    assert [point.step for point in facts.points[run.run_id]] == [1, 2, 3, 5, 7]
    assert facts.points[run.run_id][-1].point == float(record.forecast.point[-1])
    (outcome,) = facts.outcomes
    assert (outcome.step, outcome.actual, outcome.live, outcome.covered_80) == (1, 19.0, True, True)
    assert outcome.date == str(record.forecast.dates[0])[:10]
    assert "1 scores" in facts.problems[0]
    assert {row.member for row in facts.members[run.run_id]} == {m.name for m in record.members}
    assert [(d.member, d.after, d.who) for d in facts.decisions] == [("var", "shadow", "ana")]
    assert [event.code for event in facts.events] == ["ChildError"]
    assert len(facts.documents[run.run_id].verdicts) == len(record.verdicts)
    assert none.runs == early.runs == ()
