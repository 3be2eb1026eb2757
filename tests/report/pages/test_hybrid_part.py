"""The hybrid on the page of a run: its numbers, and nothing where it has none."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from fusions import a_fusion, parts_of, unmade, with_fusion
from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.models.hybrid.config import Deployment
from horizoncast.report.pages.hybrid import hybrid_part, shares_of
from horizoncast.report.pages.run import history_of, render_run
from horizoncast.report.record import run_record
from horizoncast.store.results import read_run, write_run
from pages import check

START = datetime(2026, 10, 30, 11, 0, tzinfo=UTC)
NAMES = ("epistemic", "aleatoric", "between")


def a_record(fusion, horizon=30):
    return run_record(with_fusion(fusion, horizon), started=START)


def page_of(fusion, language="en", horizon=30):
    record = a_record(fusion, horizon)
    return check(render_run(record, history_of(record), language=language))


def test_the_page_tells_parts_weights_and_context():
    page = page_of(a_fusion(30))
    assert (2, "The hybrid of chronos and autoformer") in page.headings
    shares = 100 * a_fusion(30).uncertainty.shares[:, -1]
    told = f"At step 30, {shares[0]:.0f} % of the variance is doubt about the models, {shares[2]:.0f} % lies"
    assert told in page.text
    assert "chronos carries 70 % at step 1 and 45 % at step 30" in page.text
    for words in (
        "fused at every step by accuracy, confidence and context",
        "chronos 0.56, autoformer 0.44",
        "chronos 1.05, autoformer 0.93",
        "season 0.31, trend 0.12, volatility 0.84, entropy 0.97, novelty 0.62",
        "2024-01-05: gate",
    ):
        assert words in page.text


def test_the_page_tells_it_in_spanish_too():
    page = page_of(a_fusion(30, deployment=Deployment.SELECTION, trained={}), "es")
    assert (2, "El híbrido de chronos y autoformer") in page.headings
    assert (
        "se elige uno de los dos" in page.text
        and "estacionalidad 0.31" in page.text
        and "novedad 0.62" in page.text
    )


def test_a_page_without_a_hybrid_says_nothing_of_one():
    assert "hybrid" not in page_of(None).html
    assert hybrid_part(a_record(None), "en") is None


def test_a_hybrid_that_could_not_be_made_says_why_and_shows_no_number():
    part = hybrid_part(a_record(unmade(30)), "en")
    assert part is not None and list(part.charts) == [] and part.table is None
    page = page_of(unmade(30))
    assert "There was no hybrid: its part autoformer did not run." in page.text
    assert not [text for text in page.texts if text.split() and text.split()[0] in ("nan", "None")]
    assert "weights by accuracy" not in page.text


def test_the_table_is_what_was_recorded():
    fusion = a_fusion(30)
    part = hybrid_part(a_record(fusion), "en")
    rows = part.table.rows
    assert [row[0].text for row in rows] == ["1", "2", "3", "5", "7", "10", "15", "20", "30"]
    spread = 100 * fusion.uncertainty.spread[-1]
    assert float(rows[-1][3].text) == pytest.approx(spread, rel=0.005)
    assert [head.text for head in part.table.head][3] == "standard deviation, %"
    for row in rows:
        assert sum(int(cell.text.split("\u00a0")[0]) for cell in row[1:3]) == 100
        assert abs(sum(int(cell.text.split("\u00a0")[0]) for cell in row[4:]) - 100) <= 1


def test_half_known_is_half_shown():
    part = hybrid_part(a_record(a_fusion(30, weights=np.full((2, 30), np.nan))), "en")
    assert len(part.charts) == 1 and part.table is None
    doubtless = HierarchicalUncertainty(**dict.fromkeys(NAMES, np.zeros(30)))
    part = hybrid_part(a_record(a_fusion(30, uncertainty=doubtless)), "en")
    assert [chart.title for chart in part.charts] == ["chronos carries 70 % at step 1 and 45 % at step 30"]


def test_doubt_that_no_branch_knows_of_is_not_told_as_none():
    unknown = replace(parts_of(30), epistemic=np.zeros(30))
    part = hybrid_part(a_record(a_fusion(30, uncertainty=unknown)), "en")
    assert part.charts[0].title.endswith("between the parts; doubt about the models is not known")
    assert "doubt about the models" not in part.charts[0].picture.split("<text", 1)[1]
    assert {row[-1].text for row in part.table.rows} == {""}


def test_shares_are_of_the_total_as_written():
    record = a_record(a_fusion(7, uncertainty=parts_of(7, scale=3.0)), 7)
    shares = shares_of(record.decision.hybrid)
    for lead in zip(*shares.values(), strict=True):
        assert sum(lead) == pytest.approx(1.0, abs=1e-12)


def test_a_run_read_back_from_its_folder_renders_the_same(tmp_path):
    record = a_record(a_fusion(7), 7)
    back = read_run(write_run(tmp_path, record))
    history = history_of(record)
    assert render_run(back, history) == render_run(replace(record, duration_s=back.duration_s), history)
