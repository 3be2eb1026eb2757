"""Live scores in the ledger: once, by date, revised openly, and fed back into the next run."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from horizoncast.bank import continue_bank
from horizoncast.engine import LiveHistory
from horizoncast.forecast import Forecast
from horizoncast.horizon import Horizon
from horizoncast.series import Series
from horizoncast.service import scoring
from horizoncast.service.scoring import REVISED, WITHDRAWN, live_history, live_tables, score_live
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.rows import ENSEMBLE, LedgerEvent
from horizoncast.store.records import Origin
from horizoncast.store.results import write_run
from horizoncast.validation.live import running
from live_runs import SERVICE, STEPS, engine, publish_at, record_at, revised, unobserved
from small_runs import small_series

NAME = small_series().name
CALENDAR = small_series().calendar
SUBJECTS = {ENSEMBLE, "random_walk", "seasonal_naive"}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger.at(tmp_path)


@pytest.fixture
def published(ledger: Ledger, tmp_path: Path) -> Iterator[Ledger]:
    """Four weekly runs: the last has matured at three of its seven steps."""
    publish_at(ledger, tmp_path, (381, 386, 391, 396))
    yield ledger


def matured_cells() -> int:
    return len(SUBJECTS) * (7 + 7 + 7 + 3)


def test_every_matured_lead_of_member_and_ensemble_is_scored_by_date(published: Ledger) -> None:
    series = small_series()
    report = score_live(published, SERVICE, series)
    assert (report.scored, report.revised, report.events) == (matured_cells(), 0, ())
    rows = published.scores.all(SERVICE, NAME)
    assert {row.subject for row in rows} == SUBJECTS
    run = published.runs.all()[0]
    (forecast,) = published.runs.forecasts(run.run_id, subject="random_walk")
    for row in (r for r in rows if r.run_id == run.run_id and r.subject == "random_walk"):
        at = series.index_of(np.datetime64(forecast.dates[row.step - 1]))
        point = forecast.quantiles[row.step - 1, run.levels.index(0.5)]
        assert row.actual == series.values[at]
        assert row.error == pytest.approx(point - series.values[at])


def test_scoring_again_changes_nothing(published: Ledger) -> None:
    score_live(published, SERVICE, small_series())
    before = published.scores.all(SERVICE, NAME)
    again = score_live(published, SERVICE, small_series())
    assert (again.scored, again.revised) == (0, 0)
    assert published.scores.all(SERVICE, NAME) == before


def test_scores_grow_as_actuals_arrive(published: Ledger) -> None:
    series = small_series()
    first = score_live(published, SERVICE, series.truncated(series.dates[388]))
    second = score_live(published, SERVICE, series)
    assert first.scored == len(SUBJECTS) * (7 + 2)
    assert first.scored + second.scored == matured_cells()


def test_a_date_without_an_observation_is_not_scored(published: Ledger) -> None:
    report = score_live(published, SERVICE, unobserved(small_series(), 388))
    assert report.scored == matured_cells() - 2 * len(SUBJECTS)  # row 388 is a step of two runs


def test_revised_history_is_noticed_and_both_scores_are_kept(published: Ledger) -> None:
    series = small_series()
    score_live(published, SERVICE, series)
    other = revised(series, 388, 1.01 * float(series.values[388]))
    report = score_live(published, SERVICE, other)
    assert (report.scored, report.revised) == (0, 2 * len(SUBJECTS))
    (event,) = report.events
    assert event.code == REVISED
    assert CALENDAR.text(series.dates[388]) in event.message
    newest = [row for row in published.scores.all(SERVICE, NAME) if row.revision == 1]
    assert {row.actual for row in newest} == {float(other.values[388])}
    assert len(newest) == 2 * len(SUBJECTS)
    assert score_live(published, SERVICE, other).revised == 0
    back = score_live(published, SERVICE, series)
    assert back.revised == 2 * len(SUBJECTS)
    assert max(row.revision for row in published.scores.all(SERVICE, NAME)) == 2


def test_a_value_that_disappears_is_told_and_its_score_stays(published: Ledger) -> None:
    score_live(published, SERVICE, small_series())
    before = published.scores.all(SERVICE, NAME)
    report = score_live(published, SERVICE, unobserved(small_series(), 388))
    assert [event.code for event in report.events] == [WITHDRAWN]
    assert published.scores.all(SERVICE, NAME) == before


def test_a_value_that_disappears_is_told_once(published: Ledger) -> None:
    """Each run would tell it again for ever; another value gone is news."""
    series = small_series()
    score_live(published, SERVICE, series)
    gone = unobserved(series, 388)

    def told(seen: Series) -> list[str]:
        events = score_live(published, SERVICE, seen).events
        on_record = [
            LedgerEvent(
                at=f"2030-01-0{len(published.events.all()) + 1}", code=e.code, message=e.message,
                severity=e.severity, service=SERVICE, series=NAME,
            )
            for e in events
        ]  # fmt: skip
        published.events.add(*on_record)  # as the run's commit does
        return [event.code for event in events]

    assert [told(gone), told(gone), told(gone)] == [[WITHDRAWN], [], []]
    more = unobserved(series, 389)
    both = replace(more, observed=more.observed & gone.observed)
    assert [told(both), told(both)] == [[WITHDRAWN], []]


def test_what_was_backfilled_is_scored_and_is_no_track_record(ledger: Ledger, tmp_path: Path) -> None:
    for row, origin in ((380, Origin.LIVE), (381, Origin.BACKFILL)):
        record = replace(record_at(row), origin=origin)
        ledger.runs.commit(run_entry(record, write_run(tmp_path, record), root=tmp_path, imported=True))
    score_live(ledger, SERVICE, small_series())
    assert {row.run_id for row in ledger.scores.all(SERVICE, NAME)} == {r.run_id for r in ledger.runs.all()}
    table = live_tables(ledger, SERVICE, NAME, CALENDAR)["ensemble"]
    assert list(table.cutoffs) == [small_series().dates[380]]


def test_a_series_that_ends_earlier_withdraws_nothing(published: Ledger) -> None:
    series = small_series()
    score_live(published, SERVICE, series)
    assert score_live(published, SERVICE, series.truncated(series.dates[385])).events == ()


def test_tables_pair_each_subject_with_the_naive_of_the_same_cutoff(published: Ledger) -> None:
    score_live(published, SERVICE, small_series())
    tables = live_tables(published, SERVICE, NAME, CALENDAR)
    assert set(tables) == SUBJECTS
    naive = {run.cutoff: str(run.decision["best_naive"]) for run in published.runs.all()}
    assert set(naive.values()) <= SUBJECTS
    mine = tables[ENSEMBLE]
    assert mine.loss.shape == (4, STEPS)
    np.testing.assert_array_equal(mine.matured, [True, True, True, False])
    for w, name in enumerate(naive.values()):
        np.testing.assert_array_equal(mine.naive_loss[w], tables[name].loss[w])
    headline = running(mine)[0]
    assert headline.skill.windows == 3
    assert not headline.skill.can_be_told


def test_a_run_made_in_hindsight_is_no_track_record(ledger: Ledger, tmp_path: Path) -> None:
    publish_at(ledger, tmp_path, (381,), later=timedelta(days=300))
    report = score_live(ledger, SERVICE, small_series())
    assert report.scored == len(SUBJECTS) * STEPS
    assert live_tables(ledger, SERVICE, NAME, CALENDAR) == {}


def test_a_run_made_again_counts_from_the_steps_that_were_still_to_come(
    ledger: Ledger, tmp_path: Path
) -> None:
    first = publish_at(ledger, tmp_path, (381,))[0]
    second = publish_at(ledger, tmp_path, (381,), later=timedelta(days=3))[0]
    assert second.revision == first.revision + 1
    score_live(ledger, SERVICE, small_series())
    runs = scoring._live_runs(ledger, SERVICE, NAME, CALENDAR)
    (owners,) = scoring._owners(runs).values()
    assert runs[0].first == 1
    assert runs[1].first > 1
    assert owners == [first.run_id] * (runs[1].first - 1) + [second.run_id] * (8 - runs[1].first)


# back into the bank


def live_rows(published: Ledger) -> LiveHistory:
    return live_history(published, engine(), small_series(), "7d")


def test_without_live_rows_a_run_is_the_same_to_the_byte(ledger: Ledger) -> None:
    series = small_series()
    nothing = live_history(ledger, engine(), series, "7d")
    assert (dict(nothing.rows), nothing.adaptive) == ({}, 1.0)
    plain = engine().forecast(series, STEPS)
    with_none = engine().forecast(series, STEPS, live=nothing)
    assert plain.forecast.quantiles.tobytes() == with_none.forecast.quantiles.tobytes()
    assert plain.decision == with_none.decision
    assert plain.bank.quantiles.tobytes() == with_none.bank.quantiles.tobytes()


def test_live_rows_on_the_banks_cutoffs_are_found(ledger: Ledger, tmp_path: Path) -> None:
    cutoffs = engine().plan(small_series(), Horizon(steps=STEPS)).cutoffs
    row = small_series().index_of(cutoffs[-1])
    publish_at(ledger, tmp_path, (row, row + 1))
    found = live_rows(ledger)
    assert set(found.rows) == {"random_walk", "seasonal_naive"}
    assert [f.cutoff for f in found.rows["random_walk"]] == [cutoffs[-1]]
    assert found.adaptive == 1.0


def test_live_rows_of_the_same_model_and_data_change_nothing(ledger: Ledger, tmp_path: Path) -> None:
    """What a member answers at a cutoff depends on the data up to it: live and backtest agree."""
    cutoffs = engine().plan(small_series(), Horizon(steps=STEPS)).cutoffs
    publish_at(ledger, tmp_path, (small_series().index_of(cutoffs[-2]), small_series().index_of(cutoffs[-1])))
    found = live_rows(ledger)
    assert len(found.rows["random_walk"]) == 2
    plain = engine().forecast(small_series(), STEPS)
    fed = engine().forecast(small_series(), STEPS, live=found)
    np.testing.assert_allclose(fed.forecast.quantiles, plain.forecast.quantiles, rtol=1e-9)


def a_row(shift: float = 0.1) -> tuple[Forecast, int]:
    """A random walk's forecast at the bank's newest cutoff, its quantiles moved."""
    result = engine().forecast(small_series(), STEPS)
    w = result.bank.windows - 1
    cutoff = result.bank.cutoffs[w]
    live = next(m.live for m in result.members if m.name == "random_walk")
    assert isinstance(live, Forecast)
    k = result.bank.member_index("random_walk")
    quantiles = result.series.scale.backward(result.bank.quantiles[k, w] + shift)
    dates = small_series().session_dates(cutoff, STEPS)
    return replace(live, cutoff=cutoff, dates=dates, quantiles=quantiles), w


def test_a_live_row_replaces_the_backtests() -> None:
    row, w = a_row()
    bank = engine().forecast(small_series(), STEPS).bank
    fed = continue_bank(bank, small_series(), {"random_walk": [row]})
    k = bank.member_index("random_walk")
    np.testing.assert_allclose(fed.quantiles[k, w], bank.quantiles[k, w] + 0.1)
    changed = (fed.quantiles != bank.quantiles).any(axis=(2, 3))
    assert changed.sum() == 1


def test_rows_that_do_not_belong_are_left_out() -> None:
    row, _ = a_row()
    bank = engine().forecast(small_series(), STEPS).bank
    moved = replace(row, dates=np.append(row.dates[1:], row.dates[-1] + np.timedelta64(3, "D")))
    coarse = replace(row, levels=row.levels[1:], quantiles=row.quantiles[:, 1:])
    elsewhere = replace(row, cutoff=bank.cutoffs[0] - np.timedelta64(1, "D"))
    for wrong in (moved, coarse, elsewhere):
        assert continue_bank(bank, small_series(), {"random_walk": [wrong]}) is bank
    assert continue_bank(bank, small_series(), {"unknown": [row]}) is bank


def test_rows_of_another_model_are_not_weighed_as_this_one() -> None:
    row, w = a_row(5.0)
    other = replace(row, identity=replace(row.identity, digest="of another configuration"))
    plain = engine().forecast(small_series(), STEPS)
    same = engine().forecast(small_series(), STEPS, live=LiveHistory(rows={"random_walk": (other,)}))
    fed = engine().forecast(small_series(), STEPS, live=LiveHistory(rows={"random_walk": (row,)}))
    assert same.bank.quantiles.tobytes() == plain.bank.quantiles.tobytes()
    assert fed.bank.quantiles.tobytes() != plain.bank.quantiles.tobytes()
    assert w == plain.bank.windows - 1


# adaptive width


def test_the_adaptive_factor_widens_what_is_published_and_is_on_record() -> None:
    plain = engine().forecast(small_series(), STEPS)
    wide = engine().forecast(small_series(), STEPS, live=LiveHistory(adaptive=1.5))
    scale = small_series().scale
    narrow, broad = scale.forward(plain.forecast.quantiles), scale.forward(wide.forecast.quantiles)
    centre = narrow[:, [plain.forecast.levels.index(0.5)]]
    np.testing.assert_allclose(broad, centre + 1.5 * (narrow - centre), atol=1e-12)
    assert (plain.decision.adaptive, wide.decision.adaptive) == (1.0, 1.5)


def test_it_starts_at_its_minimum_of_matured_cutoffs(
    ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_at(ledger, tmp_path, (366, 371, 376, 381, 386))
    assert live_rows(ledger).adaptive == 1.0
    monkeypatch.setattr(scoring, "MIN_MATURED", 6)
    assert live_rows(ledger).adaptive == 1.0
    monkeypatch.setattr(scoring, "MIN_MATURED", 5)
    monkeypatch.setattr(scoring, "adaptive_factor", lambda misses, *, rate: float(len(misses)) + rate)
    assert 5.0 < live_rows(ledger).adaptive < 5.1


def test_moments_are_recorded_in_utc(published: Ledger) -> None:
    score_live(published, SERVICE, small_series(), now=datetime(2026, 1, 2, 3, 4, tzinfo=UTC))
    assert {row.scored for row in published.scores.all(SERVICE, NAME)} == {"2026-01-02T03:04:00.000Z"}
