"""Pages in a real browser: no request leaves them, everything can be read, hostile names stay text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import reviews
from chromium import Browser, browsing
from horizoncast.report.pages.review import render_review
from horizoncast.report.pages.run import history_of, render_run
from horizoncast.report.record import run_record
from pages import HOSTILE
from small_runs import small_result

PHONE, SCREEN = 380, 1280
PAGES = ("review", "run", "hostile_review", "hostile_run", "spanish")
EVERY_PAGE = pytest.mark.parametrize("page", PAGES)

CONTRAST = r"""
(() => {
  const parse = c => { const m = c.match(/[\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
  const over = (top, below) => [0, 1, 2].map(k => top[k] * top[3] + below[k] * (1 - top[3]));
  const linear = v => v / 255 <= .04045 ? v / 255 / 12.92 : ((v / 255 + .055) / 1.055) ** 2.4;
  const light = c => { const l = c.map(linear);
    return .2126 * l[0] + .7152 * l[1] + .0722 * l[2]; };
  const ground = e => { const stack = [];
    for (; e; e = e.parentElement) {
      const c = parse(getComputedStyle(e).backgroundColor);
      stack.push(c);
      if (c[3] === 1) break;
    }
    let found = [255, 255, 255]; for (const c of stack.reverse()) found = over(c, found); return found; };
  const seen = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    const box = e.getBoundingClientRect();
    if (!own || !box.width || !box.height) continue;
    const style = getComputedStyle(e);
    const ink = parse(e instanceof SVGElement ? style.fill : style.color);
    const back = ground(e), front = over(ink, back);
    const pair = [light(front), light(back)].sort((a, b) => b - a);
    seen.push([(pair[0] + .05) / (pair[1] + .05), e.tagName, e.textContent.trim().slice(0, 40)]);
  }
  return seen;
})()
"""
OVERFLOW = """
(() => [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') && !e.closest('svg')
    && !e.closest('.skip, .unseen') && !e.closest('table.stacked thead'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && e.getBoundingClientRect().width > 0)
  .map(e => e.tagName + '.' + e.className + ': ' + e.textContent.trim().slice(0, 40)))()
"""
ORDER = """
(() => [...document.querySelectorAll('h1, h2, h3')].filter(e => e.getBoundingClientRect().height > 2)
  .map(e => [e.tagName, e.textContent.trim(), e.getBoundingClientRect().top]))()
"""
CHARTS = "[...document.querySelectorAll('figure svg')].filter(s => s.getBoundingClientRect().width > 0)"
LETTERS = """
CHARTS.flatMap(s => {
  const scale = s.getBoundingClientRect().width / s.viewBox.baseVal.width;
  const size = t => parseFloat(getComputedStyle(t).fontSize) * scale;
  return [...s.querySelectorAll('text')].map(t => [size(t), t.textContent]);
})
""".replace("CHARTS", CHARTS)
OUTSIDE = """
CHARTS.flatMap(s => {
  const f = s.getBoundingClientRect();
  const aside = b => b.left < f.left - 4 || b.right > f.right + 4;
  const out = b => aside(b) || b.top < f.top - 4 || b.bottom > f.bottom + 4;
  const texts = [...s.querySelectorAll('text')].filter(t => out(t.getBoundingClientRect()));
  return texts.map(t => t.textContent);
})
""".replace("CHARTS", CHARTS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as files."""
    home = tmp_path_factory.mktemp("pages")
    names = [f"{name}" for name in HOSTILE]
    four = [reviews.service(f"forecaster_{h}d") for h in (7, 15, 30, 90)]
    bad = [reviews.service(f"service_{k}", series=n, unit=n, member=n) for k, n in enumerate(names, start=2)]
    texts = {
        "review": render_review(reviews.review(*four, health="missed")),
        "spanish": render_review(reviews.review(*four[:1]), "es"),
        "hostile_review": render_review(reviews.review(*bad)),
        "run": a_run("usd_mxn", "MXN per USD"),
        "hostile_run": a_run(HOSTILE[0], HOSTILE[1]),
    }
    for name, text in texts.items():
        (home / f"{name}.html").write_text(text, encoding="utf-8")
    return home


def a_run(name: str, unit: str) -> str:
    result = small_result(name=name, unit=unit, horizon=30)
    record = run_record(result, started=datetime(2026, 10, 30, 11, 0, tzinfo=UTC))
    history = (result.series.dates, result.series.values)
    assert len(history_of(record)[0]) > 60
    return render_run(record, history)


@EVERY_PAGE
def test_nothing_is_asked_of_the_network_and_the_console_is_silent(
    page: str, browser: Browser, folder: Path
) -> None:
    address = (folder / f"{page}.html").as_uri()
    for dark in (False, True):
        browser.open(address, dark=dark)
        assert browser.requests == [address]
        assert browser.complaints == []


@EVERY_PAGE
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_text_has_the_contrast_of_wcag_aa(
    page: str, dark: bool, browser: Browser, folder: Path
) -> None:
    browser.open((folder / f"{page}.html").as_uri(), dark=dark)
    found: list[list[Any]] = browser.value(CONTRAST)
    assert len(found) > 100
    assert [item for item in found if item[0] < 4.5] == []


@EVERY_PAGE
def test_a_phone_shows_everything_without_scrolling_sideways(
    page: str, browser: Browser, folder: Path
) -> None:
    browser.open((folder / f"{page}.html").as_uri(), width=PHONE)
    assert browser.value("document.documentElement.scrollWidth") == PHONE
    assert browser.value(OVERFLOW) == []
    letters = browser.value(LETTERS)
    assert letters and min(size for size, _ in letters) >= 9.0


@EVERY_PAGE
def test_a_screen_shows_charts_side_by_side(page: str, browser: Browser, folder: Path) -> None:
    browser.open((folder / f"{page}.html").as_uri(), width=SCREEN)
    assert browser.value("document.documentElement.scrollWidth") == SCREEN
    assert browser.value(OVERFLOW) == []
    columns = "getComputedStyle(document.querySelector('.charts')).gridTemplateColumns.split(' ').length"
    assert browser.value(columns) >= 2
    letters = browser.value(LETTERS)
    assert min(size for size, _ in letters) >= 9.0 and max(size for size, _ in letters) <= 20.0


@pytest.mark.parametrize("page", ["review", "run", "spanish"])
@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_texts_of_charts_stay_inside_them(page: str, width: int, browser: Browser, folder: Path) -> None:
    browser.open((folder / f"{page}.html").as_uri(), width=width)
    assert browser.value(OUTSIDE) == []


@EVERY_PAGE
@pytest.mark.parametrize("width", [PHONE, SCREEN])
def test_headings_are_read_in_the_order_they_are_seen(
    page: str, width: int, browser: Browser, folder: Path
) -> None:
    browser.open((folder / f"{page}.html").as_uri(), width=width)
    found = browser.value(ORDER)
    assert found[0][0] == "H1" and [tag for tag, *_ in found].count("H1") == 1
    tops = [top for tag, _, top in found if tag != "H3"]
    assert tops == sorted(tops)


@pytest.mark.parametrize("page", ["hostile_review", "hostile_run"])
def test_hostile_names_stay_text(page: str, browser: Browser, folder: Path) -> None:
    browser.open((folder / f"{page}.html").as_uri())
    assert browser.value("document.querySelectorAll('script, img, iframe, object').length") == 0
    shown = browser.value("document.body.innerText")
    for name in HOSTILE if page == "hostile_review" else HOSTILE[:2]:
        assert name in shown
    texts = " ".join(browser.value("[...document.querySelectorAll('svg text')].map(t => t.textContent)"))
    assert HOSTILE[1] in texts  # as written, not typeset


@EVERY_PAGE
def test_a_reader_of_the_accessibility_tree_gets_names(page: str, browser: Browser, folder: Path) -> None:
    browser.open((folder / f"{page}.html").as_uri())
    nodes = browser.call("Accessibility.getFullAXTree")["nodes"]
    roles: dict[str, list[str]] = {}
    for node in nodes:
        if not node.get("ignored"):
            role = node["role"]["value"]
            roles.setdefault(role, []).append(node.get("name", {}).get("value", ""))
    assert len(roles["main"]) == 1
    for role in ("image", "table", "region", "heading", "link"):
        assert roles.get(role) and all(name.strip() for name in roles[role]), role
    assert browser.value("document.documentElement.lang") == ("es" if page == "spanish" else "en")


@pytest.mark.parametrize("page", ["review", "run"])
def test_paper_shows_what_a_click_would(page: str, browser: Browser, folder: Path) -> None:
    browser.open((folder / f"{page}.html").as_uri(), dark=True)
    data = browser.paper()
    assert data.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", data))
    assert 3 <= pages <= 25
    browser.open(
        (folder / f"{page}.html").as_uri(), width=718, dark=True
    )  # what A4 leaves within its margins
    browser.scheme(dark=True, media="print")
    assert browser.value("document.documentElement.scrollWidth") <= 718
    displays = "[...new Set([...document.querySelectorAll('tr')].map(r => getComputedStyle(r).display))]"
    assert browser.value(displays) == ["table-row"]
    assert browser.value("getComputedStyle(document.body).color") == "rgb(34, 34, 34)"
    heights = browser.value(
        "[...document.querySelectorAll('details table')].map(t => t.getBoundingClientRect().height)"
    )
    assert heights and min(heights) > 10
    assert browser.value("getComputedStyle(document.querySelector('summary')).display") == "none"


def test_the_way_to_the_content_is_the_first_that_a_keyboard_finds(browser: Browser, folder: Path) -> None:
    browser.open((folder / "review.html").as_uri())
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert browser.value("document.activeElement.getAttribute('href')") == "#main"
    assert browser.value("document.activeElement.getBoundingClientRect().left") >= 0
