"""The weekly review of services: whichever ledgers they write to, whatever program wrote them last."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from horizoncast.errors import ConfigError
from horizoncast.service.folders import find_places
from horizoncast.service.light import LightSettings, read_light
from horizoncast.service.review import ReviewRequest, on_record, weekly_review
from horizoncast.service.runner import run_service
from horizoncast.service.settings import load_settings
from horizoncast.service.status import statuses
from horizoncast.store.facts import EventFact, Facts
from horizoncast.store.ledger.database import Database, sqlite_url
from horizoncast.store.ledger.migrations import NEWEST, migrate, version_of
from small_target import NAIVES_ONLY, write_target

NAMES = ("one", "two")
THURSDAY = datetime(2023, 7, 6, 12, 0, tzinfo=UTC)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two services, each with an output folder of its own."""
    write_target(tmp_path)
    for name in NAMES:
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        text = f'horizon = "7d"\ntarget = "toy.toml"\nrun.output = "runs_{name}"\ncadence.days = ["wed"]\n'
        (folder / "service.toml").write_text(text)
    return tmp_path


def lights(root: Path) -> list[LightSettings]:
    return [read_light(name, find_places(root), environ={}) for name in NAMES]


def run(root: Path, name: str, day: str) -> None:
    settings = load_settings(name, root=root, environ={}, overrides=NAIVES_ONLY)
    run_service(settings, as_of=np.datetime64(day))


def test_services_of_several_ledgers_share_one_review(root: Path) -> None:
    for name in NAMES:
        run(root, name, "2023-07-04")
    found = weekly_review(lights(root), ReviewRequest())
    assert [s.service for s in found.services] == list(NAMES)
    assert [s.latest is not None and s.latest.as_of for s in found.services] == ["2023-07-04"] * 2
    one = weekly_review(lights(root), ReviewRequest(service="two"))
    assert [s.service for s in one.services] == [s.service for s in one.status] == ["two"]


def test_a_ledger_of_an_older_program_is_brought_up_to_date(root: Path) -> None:
    database = Database(sqlite_url(root / "runs_one"))
    migrate(database, to=3)  # before a review had tables of its own
    found = weekly_review(lights(root), ReviewRequest())
    assert found.services == () and {line.health for line in found.status} == {"unknown"}
    with database.reading() as connection:
        assert version_of(connection) == NEWEST


@pytest.mark.parametrize("logged", [False, True])
def test_a_backfilled_run_serves_no_newer_moment_and_says_what_it_is(root: Path, logged: bool) -> None:
    """The review's status and that of `status` come from one rule, from the ledger and from the log."""
    run(root, "one", "2023-07-04")
    file = root / "runs_one" / "metrics.jsonl" if logged else None
    request = ReviewRequest(now=datetime(2023, 7, 20, tzinfo=UTC), file=file)
    found = {line.service: line for line in weekly_review(lights(root), request).status}
    (plain,) = [s for s in statuses(lights(root), datetime(2023, 7, 20, tzinfo=UTC)) if s.service == "one"]
    assert (found["one"].health, found["one"].reason) == (plain.health, plain.reason)
    assert "backfill" in found["one"].reason


def test_states_as_of_a_day_are_those_of_that_day(root: Path) -> None:
    run(root, "one", "2023-07-04")
    run(root, "one", "2023-07-11")
    then = weekly_review(lights(root), ReviewRequest(as_of="2023-07-06"))
    by_name = {line.service: line for line in then.status}
    assert by_name["one"].as_of == "2023-07-04" and by_name["one"].health == "fresh"
    assert by_name["two"].health == "unknown"
    late = weekly_review(
        lights(root), ReviewRequest(as_of="2023-07-10", now=datetime(2023, 7, 20, tzinfo=UTC))
    )
    assert {line.service: line.health for line in late.status}["one"] != "fresh"


def test_a_failure_counts_only_once_it_has_happened() -> None:
    event = EventFact(
        at="2023-07-06T13:00:00.000Z",
        run_id="",
        service="one",
        series="toy",
        code="SourceError",
        message="no answer",
        severity="error",
    )
    facts = Facts(events=(event,))
    assert on_record(facts, THURSDAY).failures == []
    assert len(on_record(facts, THURSDAY.replace(hour=14)).failures) == 1


@pytest.mark.parametrize("weeks", [0, -1, 521])
def test_whole_weeks_within_reason(weeks: int) -> None:
    with pytest.raises(ConfigError, match="whole weeks"):
        ReviewRequest(weeks=weeks)
