"""One review from two records: the ledger and metrics.jsonl say the same."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from horizoncast.report.review.build import Asked, build_review
from horizoncast.report.review.model import Review, Sample
from horizoncast.service.scoring import score_live
from horizoncast.store.facts import Facts, Span
from horizoncast.store.ledger.facts import is_current, ledger_facts, sqlite_query
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import repair
from horizoncast.store.ledger.rows import LedgerEvent
from horizoncast.store.log_facts import log_facts
from horizoncast.store.log_records import event_record
from horizoncast.store.log_rotation import rotate_log
from horizoncast.store.metrics_log import MetricsLog
from horizoncast.store.records import EventRecord
from live_runs import SERVICE, publish_at, revised
from small_runs import small_series

ROWS = (371, 376, 381, 386, 391, 396)
FAILED = datetime(2023, 7, 12, 8, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Six weekly runs, one of them in hindsight as well, a revised value, a run that failed."""
    root = tmp_path_factory.mktemp("runs")
    ledger = Ledger.at(root)
    publish_at(ledger, root, ROWS)
    publish_at(ledger, root, (376,), later=timedelta(days=4))
    score_live(ledger, SERVICE, small_series())
    score_live(ledger, SERVICE, revised(small_series(), 392, 21.0))
    failure = EventRecord(code="SourceError", message="no answer", severity="error")
    ledger.events.add(
        LedgerEvent(
            at="2023-07-12T08:00:00.000Z",
            code=failure.code,
            message=failure.message,
            severity=failure.severity,
            service=SERVICE,
            series="usd_mxn",
        )
    )
    repair(ledger, root=root, log=root / "metrics.jsonl", whole=True)
    line = event_record(failure, at=FAILED, service=SERVICE, series="usd_mxn")
    MetricsLog(root / "metrics.jsonl").append([line])
    yield root


def span(**more: object) -> Span:
    return Span(days=364, **more)  # type: ignore[arg-type]


def from_ledger(root: Path, wanted: Span) -> Facts:
    with sqlite_query(root / "ledger.sqlite") as query:
        return ledger_facts(query, wanted)


def reviewed(facts: Facts, **more: object) -> Review:
    asked = Asked(weeks=2, until=None, made="2026-01-01T00:00:00.000Z", source="x")
    return build_review(facts, replace(asked, **more))  # type: ignore[arg-type]


@pytest.mark.parametrize("until", [None, "2023-07-07"])
def test_ledger_and_log_give_the_same_review(record: Path, until: str | None) -> None:
    one = reviewed(from_ledger(record, span(until=until)), until=until)
    two = reviewed(log_facts(record / "metrics.jsonl", span(until=until)), until=until)
    assert one == two
    (service,) = one.services
    assert service.scores and service.matured and service.actuals and service.costs


def test_a_ledger_by_url_is_read_through_the_same_statements(record: Path) -> None:
    """SQLAlchemy's way to ask; tests/store has it on PostgreSQL."""
    with Ledger.at(record).database.reading() as connection:

        def ask(statement, values):
            return [tuple(row) for row in connection.execute(text(statement), values)]

        assert ledger_facts(ask, span()) == from_ledger(record, span())


def test_hindsight_never_mixes_with_live(record: Path) -> None:
    (service,) = reviewed(from_ledger(record, span())).services
    samples = {line.sample for line in service.scores}
    assert Sample.LIVE in samples
    live = next(line for line in service.scores if line.sample is Sample.LIVE)
    assert live.windows == len(ROWS) - 1  # the last has matured at three of its steps


def test_the_newest_revision_of_an_actual_counts(record: Path) -> None:
    (service,) = reviewed(from_ledger(record, span())).services
    date = str(small_series().dates[392])[:10]
    assert {a.date: a.value for a in service.actuals}[date] == 21.0


def test_nothing_dated_after_the_last_day_is_looked_at(record: Path) -> None:
    until = str(small_series().dates[390])[:10]
    facts = from_ledger(record, span(until=until))
    assert max(o.date for o in facts.outcomes) <= until
    (service,) = reviewed(facts, until=until).services
    assert max(a.date for a in service.actuals) <= until
    assert service.latest is not None and service.latest.as_of <= until
    known = [p.date for path in service.matured for p in path.points if p.actual is not None]
    assert max(known) <= until


def test_a_failed_run_of_after_the_newest_as_of_is_told(record: Path) -> None:
    (service,) = reviewed(from_ledger(record, span())).services
    assert [(t.code, t.subject) for t in service.troubles if t.code == "SourceError"] == [
        ("SourceError", "ensemble")
    ]
    early = reviewed(from_ledger(record, span(until="2023-07-07")), until="2023-07-07")
    assert "SourceError" not in {t.code for t in early.services[0].troubles}


def test_torn_and_foreign_lines_are_told_and_the_rest_is_read(record: Path, tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_bytes((record / "metrics.jsonl").read_bytes() + b'{"schema": 2}\n{"kind": "run", "sch')
    torn = reviewed(log_facts(log, span()))
    whole = reviewed(log_facts(record / "metrics.jsonl", span()))
    assert "2 lines were skipped" in torn.problems[0]
    assert replace(torn, problems=()) == whole


def test_a_rotated_log_is_read_with_its_archives(record: Path, tmp_path: Path) -> None:
    log = tmp_path / "metrics.jsonl"
    log.write_bytes((record / "metrics.jsonl").read_bytes())
    now = datetime(2030, 1, 1, tzinfo=UTC)
    rotate_log(log, now=now, keep_from=now)
    assert log.read_bytes() == b""
    assert reviewed(log_facts(log, span())) == reviewed(log_facts(record / "metrics.jsonl", span()))


def test_only_the_service_asked_for(record: Path) -> None:
    assert reviewed(from_ledger(record, span(service="other"))).services == ()
    assert reviewed(log_facts(record / "metrics.jsonl", span(series="other"))).services == ()
    assert len(reviewed(from_ledger(record, span(service=SERVICE))).services) == 1


def test_an_empty_ledger_is_an_empty_review(tmp_path: Path) -> None:
    Ledger.at(tmp_path)
    assert is_current(tmp_path / "ledger.sqlite")
    empty = reviewed(from_ledger(tmp_path, span()))
    assert (empty.services, empty.since, empty.until) == ((), "", "")
