"""matplotlib's SVG made fit for a page: inline, themed by CSS variables, small, and named for readers.

Identifiers are made the picture's own, since a page holds many; colours of the palette become
variables; fonts are the page's. The text of a chart stays text.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from markupsafe import Markup

from horizoncast.report.pages.palette import CHART_TOKENS
from horizoncast.report.style import Canvas, draw

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_HREF = "{http://www.w3.org/1999/xlink}href"
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}\b")
_NUMBER = re.compile(r"-?\d+\.\d{2,}")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
_FONT = re.compile(r"font: ([^;']*?)'[^;]*")  # up to matplotlib 3.10; then font-size and font-family
_FAMILY = re.compile(r"font-family:[^;]*;?\s*")
_DROPPED = ("metadata", "style")


def picture(canvas: Canvas, paint: Callable[[Figure], None], *, name: str, label: str) -> Markup:
    """Draw a chart for a page.

    Parameters
    ----------
    name
        Prefix of its identifiers, unique on the page.
    label
        What it shows, for those who do not see it.
    """
    return inline(draw(canvas, paint, "svg", background=False), name=name, label=label)


def inline(svg: bytes, *, name: str, label: str) -> Markup:
    """An SVG file of ours as part of a page; see `picture`."""
    root = ET.fromstring(svg)  # noqa: S314  (we drew it)
    _strip(root)
    referred = _referred(root)
    for element in root.iter():
        _rewrite(element, name, referred)
    _fold(root)
    root.attrib = {
        "viewBox": root.attrib["viewBox"],
        "role": "img",
        "aria-label": label,
        "preserveAspectRatio": "xMidYMid meet",
    }
    return Markup(ET.tostring(root, encoding="unicode"))  # noqa: S704  (built from elements, escaped by ET)


def _strip(root: ET.Element) -> None:
    """Names without namespaces; no metadata, and no style that would reach the whole page."""
    for element in root.iter():
        element.tag = _plain(element.tag)
        for child in list(element):
            if _plain(child.tag) in _DROPPED:
                element.remove(child)
        if element.tag != "text":
            element.text = None
        element.tail = None


def _plain(tag: str) -> str:
    return tag.rpartition("}")[2]


def _referred(root: ET.Element) -> set[str]:
    found = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key == _HREF:
                found.add(value.removeprefix("#"))
            found.update(_REFERENCE.findall(value))
    return found


def _rewrite(element: ET.Element, name: str, referred: set[str]) -> None:
    kept: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key == "id":
            if value in referred:
                kept["id"] = f"{name}-{value}"
        elif key == _HREF:
            kept["href"] = f"#{name}-{value.removeprefix('#')}"
        elif key == "style":
            kept["style"] = _styled(value, name)
        elif key == "clip-path":
            kept[key] = _REFERENCE.sub(rf"url(#{name}-\1)", value)
        elif key == "transform" and value.startswith("rotate(-0 "):
            continue
        else:
            kept[key] = _short(value)
    element.attrib = {key: value for key, value in kept.items() if value}


def _styled(text: str, name: str) -> str:
    """Palette colours as variables, the page's font, few digits."""
    text = _COLOUR.sub(_variable, text)
    text = _REFERENCE.sub(rf"url(#{name}-\1)", text)
    text = _FAMILY.sub("", _FONT.sub(_font, text))
    return _short(text).replace("; ", ";").replace(": ", ":")


def _variable(match: re.Match[str]) -> str:
    token = CHART_TOKENS.get(match.group().lower())
    return match.group() if token is None else f"var(--{token})"


def _font(match: re.Match[str]) -> str:
    words = match.group(1).split()
    size = next(word for word in words if word.endswith("px"))
    weight = next((word for word in words if word.isdigit() or word == "bold"), None)
    return f"font-size: {size}" + (f"; font-weight: {weight}" if weight else "")


def _short(text: str) -> str:
    """Numbers with one digit after the point: a tenth of a pixel."""
    return _NUMBER.sub(lambda m: f"{float(m.group()):.1f}".removesuffix(".0"), text).replace("\n", "")


def _fold(element: ET.Element) -> None:
    """Groups that group nothing give way to what they hold."""
    for child in list(element):
        _fold(child)
    children: list[ET.Element] = []
    for child in list(element):
        bare = child.tag == "g" and not child.attrib
        if child.tag == "defs" and not len(child):
            continue
        children += list(child) if bare else [child]
    for child in list(element):
        element.remove(child)
    element.extend(children)
