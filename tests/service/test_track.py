"""The track record of a service, from what is on record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from horizoncast.service import track
from horizoncast.service.scoring import live_tables, score_live
from horizoncast.service.track import track_record
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import ENSEMBLE
from horizoncast.validation.coverage import christoffersen
from live_runs import SERVICE, publish_at
from small_runs import small_series

NAME, CALENDAR = small_series().name, small_series().calendar


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    made = Ledger.at(tmp_path)
    publish_at(made, tmp_path, (371, 376, 381, 386, 391))
    return made


def test_nothing_scored_is_no_track_record(ledger: Ledger) -> None:
    assert track_record(ledger, SERVICE, NAME, CALENDAR) == ()


def test_the_ensemble_comes_first_and_the_naive_has_no_skill_against_itself(ledger: Ledger) -> None:
    score_live(ledger, SERVICE, small_series())
    found = track_record(ledger, SERVICE, NAME, CALENDAR)
    assert [t.subject for t in found] == [ENSEMBLE, "random_walk", "seasonal_naive"]
    naive = ledger.runs.all()[0].decision["best_naive"]
    same = {run.decision["best_naive"] for run in ledger.runs.all()}
    assert same == {naive}
    own = next(t for t in found if t.subject == naive)
    assert own.running[0].skill.value == 0.0
    assert own.running[0].skill.windows == 5
    assert own.recent.leads == ()  # all within half a year: nothing to compare with
    assert all(t.test is None for t in found)


def test_the_test_of_coverage_takes_cutoffs_that_do_not_overlap(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_live(ledger, SERVICE, small_series())
    table = live_tables(ledger, SERVICE, NAME, CALENDAR)[ENSEMBLE]
    count = 60
    hits = np.ones((count, table.steps))
    hits[::10, -1] = 0.0
    ordinals = 4 * np.arange(count)
    fields = {
        name: np.resize(value, (count, *value.shape[1:]))
        for name, value in vars(table).items()
        if name not in ("subject", "ordinals", "covered_80")
    }
    many = replace(table, **fields, ordinals=ordinals, covered_80=hits)
    monkeypatch.setattr(track, "live_tables", lambda *args: {ENSEMBLE: many})
    (found,) = track_record(ledger, SERVICE, NAME, CALENDAR)
    assert found.test is not None
    assert found.test.windows == 30  # every second of cutoffs four sessions apart, for seven steps
    assert found.test == christoffersen(hits[1::2, -1] > 0, 0.8)
