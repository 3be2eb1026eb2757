"""The weekly review on a terminal: said once, in few lines, with commands that can be copied."""

from dataclasses import replace

import pytest

import reviews
from horizoncast.report.pages.review import render_review
from horizoncast.report.pages.review_tables import score_table
from horizoncast.report.pages.terminal import TextSection, text_sections
from horizoncast.report.review import model as m
from pages import check

SERVICES = ("forecaster_7d", "forecaster_15d", "forecaster_30d", "forecaster_90d")


def sections(review: m.Review, language: str = "en") -> dict[str, TextSection]:
    return {section.heading: section for section in text_sections(review, language)}


def test_services_that_say_the_same_are_told_once() -> None:
    quiet = [replace(reviews.service(name), drift=(), troubles=()) for name in SERVICES]
    loud = reviews.service("extra_7d")
    alone = sections(reviews.review(*quiet))["Drift"].blocks
    assert [(b.title, b.lines) for b in alone] == [("", ("No alarm in these weeks.",))]
    mixed = sections(reviews.review(*quiet, loud))["Drift"].blocks
    assert [b.title for b in mixed] == [", ".join(f"{name}: usdmxn" for name in SERVICES), "extra_7d: usdmxn"]


def test_services_with_findings_of_their_own_keep_their_names() -> None:
    found = sections(reviews.review(*(reviews.service(name) for name in SERVICES)))
    assert [b.title.split(":")[0] for b in found["What was forecast, and what happened"].blocks] == list(
        SERVICES
    )
    assert [b.title.split(":")[0] for b in found["Scorecard"].blocks] == list(SERVICES)


def test_what_is_open_is_told_once_for_all_who_share_it() -> None:
    (block,) = sections(reviews.review(*(reviews.service(name) for name in SERVICES)))[
        "What to switch on or off"
    ].blocks
    assert [row[0] for row in block.rows] == list(SERVICES)
    assert all(row[3] == "cannot be told yet (1 of 3 met)" for row in block.rows)
    (said,) = [line for line in block.lines if "skill against the naive" in line]
    assert said.startswith(f"{', '.join(SERVICES)} / var: not met: peak memory, MiB. cannot be told yet: ")


@pytest.mark.parametrize(
    ("answer", "verb"), [("met", "promote"), ("not_met", "rollback"), ("cannot_be_told", None)]
)
def test_the_command_that_the_criteria_speak_for_stands_in_full(answer: str, verb: str | None) -> None:
    service = reviews.service()
    line = replace(
        service.rollout[0],
        answer=answer,
        promote="horizoncast rollout promote var forecaster_7d --by NAME --why REASON",
        rollback="horizoncast rollout rollback var forecaster_7d --by NAME --why REASON",
    )
    (block,) = sections(reviews.review(replace(service, rollout=(line,))))["What to switch on or off"].blocks
    full = [said for said in block.lines if said.startswith("the criteria speak for: ")]
    assert full == (
        []
        if verb is None
        else [
            f"the criteria speak for: {getattr(line, {'promote': 'promote', 'rollback': 'rollback'}[verb])}"
        ]
    )
    assert "one step up: horizoncast rollout promote MEMBER SERVICE --by NAME --why REASON" in block.lines


def test_changes_show_the_first_and_the_last_date_and_count_the_rest() -> None:
    service = reviews.service()
    assert service.change is not None
    first, last = service.change.leads[:2], service.change.leads[-2:]
    middle = [replace(lead, step=3, date="2026-10-29") for lead in first]
    change = replace(service.change, leads=(*first, *middle, *last))
    (block,) = sections(reviews.review(replace(service, change=change)))[
        "What changed since the last forecast"
    ].blocks
    assert {row[0] for row in block.rows} == {first[0].date, last[0].date}
    assert block.lines == ("1 date more on the page and with --json",)
    assert block.title.endswith("MXN per USD")


def test_columns_that_say_nothing_are_left_out() -> None:
    service = reviews.service()
    lines = tuple(replace(line, recent=None, earlier=None) for line in service.scores)
    (block,) = sections(reviews.review(replace(service, scores=lines)))["Scorecard"].blocks
    assert not any("half year" in name for name in block.head)
    (block,) = sections(reviews.review(service))["Scorecard"].blocks
    assert any("half year" in name for name in block.head)


def test_uncertainty_has_its_unit() -> None:
    (block,) = sections(reviews.review())["Where the uncertainty comes from"].blocks
    assert block.title == "forecaster_7d: usdmxn, standard deviation in MXN per USD"
    assert block.lines[0].startswith("for 2026-10-27: stated by members 0.100 (")


def test_a_bias_that_is_never_recorded_is_not_announced() -> None:
    service = reviews.service()
    line = replace(service.scores[1], bias=reviews.figure(None, None))
    table = score_table(replace(service, scores=(service.scores[0], line)), "en")
    at = [head.text for head in table.head].index("bias, MXN per USD")
    assert [row[at].text for row in table.rows] == ["-0.01 \u00b1 0.02", ""]


def test_both_half_years_are_told_as_the_skill_is() -> None:
    table = score_table(reviews.service(), "en")
    assert table.rows[0][-1].text == "+3\u00a0%; -1\u00a0%"


def test_even_weights_have_no_leader() -> None:
    service = reviews.service()
    shares = tuple(
        replace(share, weight=w)
        for share, w in zip(service.decisions[-1].members, (0.334, 0.333, 0.0, 0.333), strict=True)
    )
    decisions = (*service.decisions[:-1], replace(service.decisions[-1], members=shares))
    text = check(render_review(reviews.review(replace(service, decisions=decisions)))).text
    assert "3 members weigh about the same" in text and "carries most" not in text
    assert "carries most" in check(render_review(reviews.review(service))).text
