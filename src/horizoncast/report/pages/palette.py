"""Colours of pages in light and in dark, by the colour that charts are drawn with.

Charts come from matplotlib with the colours of `horizoncast.report.style`; on a page each of them is
a CSS variable, so that one picture serves both schemes. Texts have a contrast of at least 4.5 on every
background they stand on, lines and bands one of 3 where they carry meaning alone (WCAG 2.2, 1.4.3 and
1.4.11); a test computes them.
"""

from __future__ import annotations

from horizoncast.report import style

Scheme = dict[str, str]

LIGHT: Scheme = {
    "page": "#f6f7f9",
    "card": "#ffffff",
    "sunken": "#eef1f4",
    "ink": style.INK,
    "muted": style.MUTED,
    "edge": style.GRID,
    "link": "#005a8f",
    "blue": style.BLUE,
    "band95": style.BANDS[0.95],
    "band80": style.BANDS[0.8],
    "band50": style.BANDS[0.5],
    "line1": style.LINES[0],
    "line2": style.LINES[1],
    "line3": style.LINES[2],
    "line4": style.LINES[3],
    "line5": style.LINES[4],
    "line6": style.LINES[5],
    "line7": style.LINES[6],
    "good": "#0b6b4b",
    "good-back": "#dff3ea",
    "warn": "#7a4f00",
    "warn-back": "#fdf0cf",
    "bad": "#9c3600",
    "bad-back": "#fde5d8",
    "quiet": "#4d5560",
    "quiet-back": "#e6e9ed",
}
DARK: Scheme = {
    "page": "#12161b",
    "card": "#1a2027",
    "sunken": "#232a33",
    "ink": "#e9ecef",
    "muted": "#aab3bd",
    "edge": "#39434f",
    "link": "#7cc4f0",
    "blue": "#6cbcf0",
    "band95": "#1e3a52",
    "band80": "#28567c",
    "band50": "#3a7aab",
    "line1": "#ff8f52",
    "line2": "#35c99f",
    "line3": "#e8a3cb",
    "line4": "#e3b53c",
    "line5": "#bd9bea",
    "line6": "#58bfd3",
    "line7": "#dda76c",
    "good": "#7fe0b8",
    "good-back": "#123a2c",
    "warn": "#f3cb73",
    "warn-back": "#40310c",
    "bad": "#ffb08a",
    "bad-back": "#4b2412",
    "quiet": "#c2cad3",
    "quiet-back": "#2c343e",
}
CHART_TOKENS = {
    colour.lower(): name
    for name, colour in LIGHT.items()
    if name in ("ink", "muted", "edge", "blue") or name.startswith(("band", "line"))
}
"""Colour of a chart to the name of its variable."""


def contrast(first: str, second: str) -> float:
    """Contrast ratio of two colours (WCAG 2.2, relative luminance), 1 to 21.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    light, dark = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def variables(scheme: Scheme) -> str:
    """CSS declarations of a scheme."""
    return " ".join(f"--{name}: {colour};" for name, colour in scheme.items())


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
