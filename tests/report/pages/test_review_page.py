"""The weekly review as a page: its order, its honesty, hostile names, languages."""

import re
from dataclasses import replace

import pytest

import reviews
from horizoncast.report.pages.review import HEALTH_KINDS, finding_of, render_review, told
from horizoncast.report.pages.review_tables import repeated, score_table, share_text
from horizoncast.report.review import model as m
from horizoncast.service.status import Health
from pages import HOSTILE, check

ORDER = (
    "Status", "What could not be read", "What was forecast, and what happened", "Scorecard",
    "Do the intervals hold what they claim?", "Weights and skill factor", "Where the uncertainty comes from",
    "What to switch on or off", "What changed since the last forecast", "Data problems and corrections",
    "Failures, skipped members, fallbacks", "Seconds and memory", "Drift", "Other events",
)  # fmt: skip


def test_sections_stand_in_the_order_a_person_decides_in() -> None:
    page = check(
        render_review(reviews.review(reviews.service("forecaster_7d"), reviews.service("forecaster_30d")))
    )
    assert tuple(text for level, text in page.headings if level == 2) == ORDER


def test_the_page_is_the_same_for_the_same_review() -> None:
    assert render_review(reviews.review()) == render_review(reviews.review())


def test_titles_say_the_finding() -> None:
    text = check(render_review(reviews.review(health="missed"))).text
    assert "1 of 1 services needs a look: forecaster_7d missed" in text
    assert (
        "forecaster_7d: 2 of 2 held the outcome in the 80 % interval; now 17.74 to 18.32 by 2 Nov 2026"
        in text
    )
    assert "79 ± 3 % of outcomes inside the 80 % interval, worth 24 independent windows" in text
    assert "most of it is data" in text


@pytest.mark.parametrize("health", [*(h.value for h in Health), "something new"])
def test_only_fresh_is_green(health: str) -> None:
    html = render_review(reviews.review(health=health))
    strip = html.split('<ul class="strip">')[1].split("</ul>")[0]
    kind = HEALTH_KINDS.get(health, "quiet")
    assert (kind == "good") == (health == "fresh")
    assert f'<li class="{kind}">' in strip and strip.count('class="good"') == (health == "fresh")
    assert (finding_of(reviews.review(health=health), "en") == "The service is fresh") == (health == "fresh")


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_text(name: str) -> None:
    service = reviews.service(series=name, unit=name, member=name)
    page = check(render_review(reviews.review(service)))
    assert name in page.text
    assert "script" not in [tag for tag, _ in page.tags] and "img" not in [tag for tag, _ in page.tags]


@pytest.mark.parametrize("language", ["en", "es"])
def test_every_empty_part_says_so(language: str) -> None:
    bare = replace(
        reviews.service(), latest=None, matured=(), actuals=(), scores=(), decisions=(), uncertainty=(),
        rollout=(), change=None, data=(), drift=(), troubles=(), events=(), costs=(),
    )  # fmt: skip
    page = check(render_review(reviews.review(bare), language))
    assert not [tag for tag, _ in page.tags if tag == "svg"]
    for section in re.split(r"<section ", page.html)[2:]:
        assert re.sub(r"<h2.*?</h2>|<[^>]*>|\s", "", section.split(">", 1)[1])


def test_unknown_numbers_are_told_and_never_drawn_as_zero() -> None:
    unknown = m.Figure(value=None, error=None, windows=0, n_eff=0.0, can_be_told=False)
    line = replace(
        reviews.score("ensemble"),
        skill=unknown,
        coverage_80=unknown,
        coverage_95=unknown,
        bias=unknown,
        pit=(),
    )
    service = replace(reviews.service(), scores=(line,))
    page = check(render_review(reviews.review(service)))
    row = [cell.text for cell in score_table(service, "en").rows[0]]
    assert row.count("not yet known") == 4
    assert "No forecast has been scored yet." in page.text


def test_live_is_told_before_replayed() -> None:
    replayed = reviews.score("ensemble", sample=m.Sample.BACKTEST)
    live = reviews.score("ensemble")
    line = told((replayed, live, reviews.score("var")))
    assert line is live
    assert told((reviews.score("var"),)) is None


def test_shares_carry_their_error() -> None:
    assert share_text(reviews.figure(0.812, 0.034), "en") == "81 ± 3\u00a0%"
    assert share_text(reviews.figure(0.031, 0.012), "en", signed=True) == "+3.1 ± 1.2\u00a0%"
    assert share_text(reviews.figure(-0.031, 0.012), "en", signed=True) == "-3.1 ± 1.2\u00a0%"


def test_troubles_of_a_kind_are_told_once_with_their_number() -> None:
    (line, flag) = reviews.service().troubles
    again = replace(line, as_of="2026-10-27", reason="newer")
    found = repeated((flag, again, line))
    assert [(r.last.code, r.times, r.last.reason) for r in found] == [
        ("OutOfMemory", 2, "newer"),
        ("few_windows", 1, ""),
    ]


def test_spanish_says_everything_in_spanish() -> None:
    english, spanish = (check(render_review(reviews.review(), lang)) for lang in ("en", "es"))
    assert spanish.html.startswith('<!doctype html>\n<html lang="es">')
    shared = {t for t in english.texts if len(t) > 14 and " " in t} & set(spanish.texts)
    recorded = ("random_walk", "var", "usdmxn", "MXN per USD", "torn", "wider", "2026-10-26 ")
    assert [t for t in shared if not any(word in t for word in recorded)] == []
