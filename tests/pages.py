"""What every page must keep, read as a browser reads it but without one."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise

HOSTILE = (
    "<script>alert(1)</script>",
    r"$\frac{",
    "=cmd|' /C calc'!A0",
    "../../x",
    '"><img src=x onerror=alert(1)>',
)
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Page(HTMLParser):
    """Elements, texts and attributes of a page; asserts that tags are closed as they were opened."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if re.fullmatch("h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        if self.open and re.fullmatch("h[1-6]", self.open[-1]):
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data
        if data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        """All visible text."""
        return " ".join(self.texts)

    def attributes(self, name: str) -> list[str]:
        """Values of an attribute, wherever it stands."""
        return [str(attrs[name]) for _, attrs in self.tags if name in attrs]


def check(html: str) -> Page:
    """A page that keeps the rules: no script, no request, one title, identifiers once, headings in order."""
    page = Page(html)
    tags = [tag for tag, _ in page.tags]
    assert not {"script", "iframe", "object", "embed", "form", "base"} & set(tags)
    assert not [a for _, attrs in page.tags for a in attrs if a.startswith("on")]
    for address in (*page.attributes("src"), *page.attributes("href")):
        assert not re.match(r"(?i)\s*(https?:|//|javascript:|file:)", address), address
        assert not address.startswith("data:") or address == "data:,"
    assert not re.search(r"url\((?!#)", html.split("</style>")[1])
    assert "@import" not in html and "http-equiv" in html
    ids = page.attributes("id")
    assert len(ids) == len(set(ids))
    for address in page.attributes("href"):
        assert not address.startswith("#") or address[1:] in ids, address
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(text.strip() for _, text in page.headings)
    assert len(html.encode()) < 1_000_000
    return page
