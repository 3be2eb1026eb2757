"""The report of a run: what it says, of whom, and nothing that it does not know."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from horizoncast.forecast import Failure, Forecast
from horizoncast.report.pages.run import finding_of_run, history_of, render_run
from horizoncast.report.pages.run_tables import grid, step_tables
from horizoncast.report.record import run_record
from horizoncast.store.records import ChangeRecord, EventRecord, RunRecord, SinceBefore, UncertaintyRecord
from pages import HOSTILE, check
from small_runs import small_result

START = datetime(2026, 10, 30, 11, 0, tzinfo=UTC)


def a_record(name: str = "usd_mxn", horizon: int = 30) -> RunRecord:
    return run_record(small_result(name=name, horizon=horizon), started=START, service="forecaster_30d")


def rendered(record: RunRecord, language: str = "en") -> str:
    return render_run(record, history_of(record), language=language)


def test_the_title_is_the_finding_and_the_parts_are_there_in_order() -> None:
    record = a_record()
    page = check(rendered(record))
    title = page.headings[0][1]
    assert title.startswith("usd_mxn, 30 sessions ahead: ") and "MXN per USD expected by" in title
    low, high = (float(record.forecast.quantile(level)[-1]) for level in (0.1, 0.9))
    shown = [float(word) for word in title.split() if word.replace(".", "", 1).isdigit() and "." in word]
    assert shown == pytest.approx([low, high], abs=0.06 * (high - low))
    parts = [text for level, text in page.headings if level == 2]
    assert parts == [
        "Forecast", "Members and weights", "How sure, and how good", "Data", "Where these numbers come from",
    ]  # fmt: skip
    assert page.html == rendered(record)


def test_every_step_is_there_with_its_date() -> None:
    record = a_record()
    few, whole = step_tables(record.forecast, "en")
    assert [int(row[0].text) for row in few.rows] == grid(30) == [1, 2, 3, 5, 7, 10, 15, 20, 30]
    assert whole is not None and [int(row[0].text) for row in whole.rows] == list(range(1, 31))
    assert whole.rows[-1][1].text == str(record.forecast.dates[-1])[:10]
    assert step_tables(small_result(horizon=3).forecast, "en")[1] is None


def test_the_history_is_what_was_observed_and_the_ledger_has_the_last_word() -> None:
    record = a_record()
    series = small_result(horizon=30).series
    dates, values = history_of(record)
    assert dates[-1] == record.forecast.cutoff and len(dates) > 60
    place = np.searchsorted(series.dates, dates)
    known = np.isfinite(values)
    assert (series.dates[place] == dates).all() and np.allclose(series.values[place][known], values[known])
    assert known[:-1].all()  # the cutoff's own value is not always among the matured ones
    newest = [(str(d)[:10], float(v)) for d, v in zip(series.dates[-60:], series.values[-60:], strict=True)]
    dates, values = history_of(record, newest)
    assert (dates[-60:] == series.dates[-60:]).all() and (values[-60:] == series.values[-60:]).all()


def test_a_cutoff_nobody_knows_the_value_of_is_a_gap_and_not_an_earlier_day() -> None:
    record = a_record()
    dates, values = history_of(record)
    short = dates[:-1], values[:-1]
    gap = np.append(short[0], dates[-1]), np.append(short[1], np.nan)
    page = check(render_run(record, gap))
    assert str(record.forecast.cutoff)[:10] in page.texts
    assert not re.search(r"\bnan\b", page.html)


def test_a_member_that_failed_says_why_and_has_no_path() -> None:
    record = a_record()
    live = Failure(
        member="var", cutoff=record.forecast.cutoff, code="OutOfMemory", reason="killed at 900 MiB"
    )
    failed = replace(record.members[0], name="var", live=live, weight=0.0, problems=(live,))
    page = check(rendered(replace(record, members=(*record.members, failed))))
    assert "gave no forecast (OutOfMemory): killed at 900 MiB" in page.text


def test_a_degraded_run_says_so_first() -> None:
    page = check(rendered(replace(a_record(), status="degraded", reasons=("no member survived",))))
    assert (
        page.text.index("published, degraded")
        < page.text.index("no member survived")
        < page.text.index("Forecast")
    )


def test_what_changed_adds_up_on_the_page() -> None:
    parts = {"data": 0.3, "members": -0.1, "weights": 0.02, "skill": 0.0, "width": 0.0}
    change = ChangeRecord(
        step=28, date="2023-08-20", previous_step=30, measure="median", before=18.0, after=18.22, **parts
    )
    half = replace(change, measure="half_width_80", before=0.5, after=0.72)
    since = SinceBefore(run_id="r0", as_of="2023-07-12", changes=(change, half))
    share = [
        UncertaintyRecord(step=s, date="2023-08-20", part=p, sd=0.1, share=v)
        for s in (1, 30)
        for p, v in (("within", 0.75), ("between", 0.25))
    ]
    page = check(rendered(replace(a_record(), since=since, uncertainty=tuple(share))))
    assert "Expected value for 20 Aug 2023: 18.000 before, 18.220 now; most of it is data" in page.text
    assert "At step 30, 25 % of the variance lies between the members" in page.text
    assert "+0.300 -0.100 +0.020 0.000 0.000 18.220" in page.text


def test_findings_of_the_data_are_told_once() -> None:
    record = a_record()
    finding = {"code": "stale", "severity": "warning", "message": "three sessions old", "rows": []}
    report = {"place": "a.csv", "observed": 400, "findings": [finding], "overrides": [], "covariates": []}
    event = EventRecord(code="stale", message="three sessions old", severity="warning")
    source = replace(record.provenance, data_report=report)
    page = check(rendered(replace(record, provenance=source, events=(event,))))
    assert page.text.count("three sessions old") == 1


def test_no_score_is_invented() -> None:
    page = check(rendered(replace(a_record(), scores=(), verdicts=())))
    assert "not yet known" in page.text and "Not yet known: too few past cutoffs" in page.text


def test_levels_without_an_interval_show_the_point_alone() -> None:
    record = a_record()
    forecast = record.forecast
    middle = [forecast.levels.index(level) for level in (0.25, 0.5, 0.75)]

    def thin(path: Forecast) -> Forecast:
        return replace(path, levels=(0.25, 0.5, 0.75), quantiles=path.quantiles[:, middle])

    members = tuple(replace(m, live=thin(m.live)) for m in record.members if isinstance(m.live, Forecast))
    thinned = replace(record, forecast=thin(forecast), members=members)
    page = check(render_run(thinned, history_of(record)))
    assert "to" not in finding_of_run(thinned, "en")[0].split()
    assert [h.text for h in step_tables(thinned.forecast, "en")[0].head] == ["step", "date", "expected"]
    assert "wide at step 1" not in page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    page = check(rendered(a_record(name)))
    assert name in page.text and "script" not in [tag for tag, _ in page.tags]


def test_spanish() -> None:
    page = check(rendered(a_record(), "es"))
    assert page.headings[0][1].startswith("usd_mxn, a 30 sesiones: se espera entre ")
    assert {"Pronóstico", "Miembros y pesos", "Datos"} <= {text for _, text in page.headings}
