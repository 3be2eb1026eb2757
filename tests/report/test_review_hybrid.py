"""The hybrid's line in a review: the same from ledger and log, beside the week before."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import reviews
from fusions import a_fusion, unmade
from horizoncast.ensemble.hybrid import HYBRID as MEMBER
from horizoncast.ensemble.parts import HierarchicalUncertainty
from horizoncast.policy.states import MemberState
from horizoncast.report.hybrid_record import hybrid_record
from horizoncast.report.pages.review import render_review
from horizoncast.report.pages.review_hybrid import hybrid_line, week_before
from horizoncast.report.pages.terminal import text_sections
from horizoncast.report.review.build import Asked, build_review
from horizoncast.report.review.model import HybridPoint
from horizoncast.store.fact_documents import hybrid_fact
from horizoncast.store.facts import Span
from horizoncast.store.hybrid_record import HYBRID
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.facts import ledger_facts, sqlite_query
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.ledger.publication import repair
from horizoncast.store.log_facts import log_facts
from horizoncast.store.plain import plain
from horizoncast.store.results import write_run
from live_runs import record_at
from pages import check

ROWS = (381, 386, 391, 396)
"""Four cutoffs a week apart; the first run has no hybrid, the second could not make one."""


def fusions():
    quarter = HierarchicalUncertainty(
        epistemic=np.full(7, 1e-5), aleatoric=np.full(7, 2e-5), between=np.full(7, 1e-5)
    )
    even = np.full((2, 7), 0.5)
    return (None, unmade(7), a_fusion(7, weights=even, uncertainty=quarter), a_fusion(7))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Four weekly runs of a service, the hybrid a member in shadow."""
    root = tmp_path_factory.mktemp("runs")
    ledger = Ledger.at(root)
    for row, fusion in zip(ROWS, fusions(), strict=True):
        record = record_at(row)
        live = replace(record.members[0].live, member=MEMBER)
        shadow = replace(record.members[0], name=MEMBER, state=MemberState.SHADOW, weight=0.0, live=live)
        record = replace(
            record,
            decision=replace(record.decision, hybrid=hybrid_record(fusion)),
            members=(*record.members, shadow),
        )
        entry = run_entry(record, write_run(root, record), root=root, imported=True)
        ledger.runs.commit(entry, reprocess=True)
    repair(ledger, root=root, log=root / "metrics.jsonl", whole=True)
    yield root


def review_from(facts):
    return build_review(facts, Asked(weeks=2, until=None, made="2026-01-01T00:00:00.000Z", source="x"))


def test_the_member_has_one_name():
    assert MEMBER == HYBRID


def test_ledger_and_log_say_the_same_of_the_hybrid(root):
    span = Span(days=364)
    with sqlite_query(root / "ledger.sqlite") as query:
        one = review_from(ledger_facts(query, span))
    log = log_facts(root / "metrics.jsonl", span)
    assert log.problems == ()
    assert review_from(log) == one
    points = [decision.hybrid for decision in one.services[0].decisions]
    assert points[0] is None
    assert points[1] == HybridPoint(
        state="shadow", reason="its part autoformer did not run", weight=None, doubt=None
    )
    assert (points[2].weight, points[2].doubt) == (0.5, 0.25)
    leads = np.array([1, 2, 3, 5, 7]) - 1
    now = a_fusion(7)
    assert points[3].weight == pytest.approx(now.weights[0, leads].mean(), abs=1e-4)
    assert points[3].doubt == pytest.approx(now.uncertainty.shares[0, leads].mean(), abs=1e-4)


def test_page_and_terminal_hold_the_line(root):
    review = review_from(log_facts(root / "metrics.jsonl", Span(days=364)))
    decisions = review.services[0].decisions
    line = hybrid_line(decisions, "en")
    doubt = 100 * a_fusion(7).uncertainty.shares[0, [0, 1, 2, 4, 6]].mean()
    start = f"hybrid (in shadow): chronos carries 59\u00a0% of its weight, {doubt:.0f}\u00a0% of its variance"
    assert line.startswith(start)
    assert line.endswith(f"; as of {decisions[-2].as_of} it was 50\u00a0% and 25\u00a0%")
    page = check(render_review(review))
    assert " ".join(line.split()) in page.text
    told = [line for s in text_sections(review, "en") for block in s.blocks for line in block.lines]
    assert line in told
    spanish = hybrid_line(decisions, "es")
    assert spanish.startswith("hybrid (en sombra): chronos lleva el 59\u00a0%")


def with_hybrids(*points):
    """A review's decisions a week apart, the newest with these hybrids."""
    decisions = reviews.service().decisions
    return tuple(
        replace(decision, hybrid=point)
        for decision, point in zip(decisions[-len(points) :], points, strict=True)
    )


NOW = HybridPoint(state="on", reason="", weight=0.57, doubt=0.16)


def test_a_service_without_a_hybrid_has_no_line():
    assert hybrid_line((), "en") == ""
    assert hybrid_line(reviews.service().decisions, "en") == ""
    assert hybrid_line(with_hybrids(NOW, None), "en") == ""
    assert "hybrid" not in render_review(reviews.review(reviews.service()))


@pytest.mark.parametrize("earlier", [None, replace(NOW, reason="why", weight=None, doubt=None)])
def test_without_a_hybrid_the_week_before_there_is_nothing_to_compare_with(earlier):
    line = hybrid_line(with_hybrids(earlier, NOW), "en")
    assert line.endswith("16\u00a0% of its variance is doubt about the models")
    assert hybrid_line(with_hybrids(NOW), "en") == line


def test_what_is_not_known_is_said_to_be_so():
    line = hybrid_line(with_hybrids(replace(NOW, state="", doubt=None)), "en")
    words = "hybrid: chronos carries 57\u00a0% of its weight, its doubt about the models is not known"
    assert line == words
    failed = replace(NOW, reason="a part gave no live forecast", weight=None, doubt=None)
    line = hybrid_line(with_hybrids(NOW, failed), "en")
    assert line == "hybrid (on): could not be made, a part gave no live forecast"


def test_the_week_before_is_a_week_before_whatever_the_cadence():
    decisions = reviews.service().decisions[-3:]
    days = [replace(decisions[0], as_of=day) for day in ("2026-10-21", "2026-10-23", "2026-10-26")]
    newest = replace(decisions[0], as_of="2026-10-30T13:00")
    assert week_before((*days, newest)).as_of == "2026-10-23"
    assert week_before((days[-1], newest)) is None


def test_a_hybrid_without_any_doubt_has_no_share_of_it():
    none = np.zeros(7)
    flat = a_fusion(7, uncertainty=HierarchicalUncertainty(epistemic=none, aleatoric=none, between=none))
    fact = hybrid_fact(plain(hybrid_record(flat)))
    assert fact.doubt is None and fact.weight == pytest.approx(0.5917, abs=1e-3)
    assert hybrid_fact(None) is None


def test_doubt_that_no_branch_knows_of_is_unknown():
    unknown = replace(a_fusion(7).uncertainty, epistemic=np.zeros(7))
    assert hybrid_fact(plain(hybrid_record(a_fusion(7, uncertainty=unknown)))).doubt is None
