"""Colours by computation, and pictures fit for a page."""

import re
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from horizoncast.report import style
from horizoncast.report.pages import rendering
from horizoncast.report.pages.palette import CHART_TOKENS, DARK, LIGHT, Scheme, contrast
from horizoncast.report.pages.svg import inline, picture
from horizoncast.report.style import Canvas, dress

SCHEMES = pytest.mark.parametrize("scheme", [LIGHT, DARK], ids=["light", "dark"])
SHEET = (rendering.TEMPLATES / rendering.STYLE).read_text(encoding="utf-8")


@SCHEMES
def test_texts_have_the_contrast_of_wcag_aa(scheme: Scheme) -> None:
    for text in ("ink", "muted", "link"):
        for back in ("page", "card", "sunken"):
            assert contrast(scheme[text], scheme[back]) >= 4.5, (text, back)
    for state in ("good", "warn", "bad", "quiet"):
        assert contrast(scheme[state], scheme[f"{state}-back"]) >= 4.5, state
        assert contrast(scheme[state], scheme["card"]) >= 4.5, state


@SCHEMES
def test_lines_can_be_seen_on_the_card(scheme: Scheme) -> None:
    for name in ("ink", "muted", "blue", *(f"line{k}" for k in range(1, 8))):
        assert contrast(scheme[name], scheme["card"]) >= 3.0, name


def test_contrast_is_that_of_wcag() -> None:
    """Values of WebAIM's contrast checker."""
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert contrast("#0000ff", "#ffff00") == pytest.approx(8.0, abs=0.01)


def test_schemes_have_the_same_names_and_the_sheet_uses_no_other() -> None:
    assert list(LIGHT) == list(DARK)
    assert set(re.findall(r"var\(--([a-z0-9-]+)\)", SHEET)) <= set(LIGHT)
    assert "url(" not in SHEET and "@import" not in SHEET


def test_every_colour_of_charts_has_a_name() -> None:
    drawn = {style.INK, style.MUTED, style.GRID, style.BLUE, *style.BANDS.values(), *style.LINES}
    assert {colour.lower() for colour in drawn} == set(CHART_TOKENS)


@SCHEMES
def test_lines_differ_for_the_colour_blind(scheme: Scheme) -> None:
    """Deuteranopia and protanopia (Machado et al., 2009, severity 1): no two of the first four alike."""
    deutan = (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.011820, 0.042940, 0.968881),
    )
    protan = (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.051998),
    )
    for matrix in (deutan, protan):
        for first, second in combinations([scheme["blue"], *(scheme[f"line{k}"] for k in (1, 2, 3))], 2):
            a, b = (_seen(colour, matrix) for colour in (first, second))
            assert sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5 > 0.09, (first, second)


def _seen(colour: str, matrix: tuple[tuple[float, ...], ...]) -> list[float]:
    parts = [(int(colour[k : k + 2], 16) / 255) ** 2.2 for k in (1, 3, 5)]
    return [sum(w * p for w, p in zip(row, parts, strict=True)) for row in matrix]


def test_a_picture_is_themed_named_and_its_own() -> None:
    def paint(figure: object) -> None:
        axes = figure.add_subplot()  # type: ignore[attr-defined]
        dress(axes, Canvas(width=300, height=200))
        axes.plot([0, 1.23456789], [0, 1], color=style.BLUE)
        axes.set_title('<b> & "$\\frac{" style="fill: #222222"')

    svg = picture(Canvas(width=300, height=200), paint, name="x1", label='a "label" <b>')
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label") == 'a "label" <b>'
    texts = ["".join(e.itertext()) for e in root.iter("text")]
    assert '<b> & "$\\frac{" style="fill: #222222"' in texts
    assert "var(--blue)" in svg and "var(--muted)" in svg
    styles = " ".join(e.get("style", "") for e in root.iter())
    assert "#" not in re.sub(r"url\(#x1-\w+\)", "", styles) and "font-family" not in styles
    assert all(e.get("id", "x1-").startswith("x1-") for e in root.iter())
    assert not [e for e in root.iter() if e.tag in ("style", "metadata")]
    assert not re.search(r"\d\.\d\d", " ".join(e.get("d", "") for e in root.iter()))


def test_fonts_of_older_matplotlib_are_read_too() -> None:
    text = "<text style=\"font: 700 12px 'DejaVu Sans', sans-serif; fill: #222222\">a</text>"
    svg = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1">{text}</svg>'
    found = ET.fromstring(inline(svg.encode(), name="a", label="b"))
    assert found[0].get("style") == "font-size:12px;font-weight:700;fill:var(--ink)"


def test_templates_escape_by_themselves() -> None:
    for path in Path(rendering.TEMPLATES).glob("*.jinja"):
        source = path.read_text(encoding="utf-8")
        assert "|safe" not in source.replace(" ", "") and "autoescape" not in source, path.name
