"""The data page: everything on it, nothing from elsewhere, every text escaped."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from horizoncast.data.overrides import OverrideLog, overrides_path
from horizoncast.data.sources import Rows
from horizoncast.data.survey import survey
from horizoncast.data.target import Source, SourceType, Target
from horizoncast.data.target_file import parse_target, read_target
from horizoncast.data.vintages import VintageStore, store_path
from horizoncast.report.data_page import data_page
from horizoncast.report.data_plots import _usual_range
from small_target import write_target

NOW = np.datetime64("2024-07-01T12:00:00")
EVIL = "<script>alert('x')</script>"


class Requests(HTMLParser):
    """Tags and addresses of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [v or "" for k, v in attrs if k in ("src", "href", "xlink:href", "action", "data")]


def page_of(target: Target, store: Path | None = None) -> str:
    return data_page(survey(target, now=NOW, store=store), target_file=Path("x.toml"), made=NOW)


def test_a_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    page = page_of(read_target(write_target(tmp_path)))
    seen = Requests()
    seen.feed(page)
    assert not {"script", "link", "img", "iframe", "object", "form"} & seen.tags
    assert all(address.startswith("#") for address in seen.addresses)
    assert not re.search(r"@import|url\((?!#)", page)
    assert "default-src 'none'" in page
    assert page.count("<svg") == 2
    assert "every expected session" in page.lower()


def test_texts_are_escaped(tmp_path: Path) -> None:
    path = write_target(tmp_path)
    target = replace(read_target(path), unit=EVIL)
    log = OverrideLog(overrides_path(tmp_path, "toy"))
    log.add(column="target", date=NOW, value=1.0, before=None, why=EVIL, by=EVIL, now=NOW)
    page = page_of(target, tmp_path)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 3


def test_a_blocked_target_still_has_a_page(tmp_path: Path) -> None:
    path = write_target(tmp_path)
    data = path.with_suffix(".csv")
    lines = data.read_text().splitlines()
    day, value = lines[-3].split(",")
    lines[-3] = f"{day},{1000 * float(value)}"
    data.write_text("\n".join(lines) + "\n")
    page = page_of(read_target(path))
    assert "blocked" in page
    assert "unit_slip" in page
    assert f"horizoncast data override x.toml --date {day} --value {float(value):g}"[:60] in page


def test_a_slip_does_not_flatten_the_chart() -> None:
    values = 900 + np.sin(np.arange(500.0))
    assert _usual_range(values) == (None, None)
    values[100], values[200] = 90000.0, 9.0
    low, high = _usual_range(values)
    assert low is not None and high is not None
    assert 890 < low < 899 and 901 < high < 910


def test_gaps_and_recurring_closed_days_are_named(tmp_path: Path) -> None:
    days = np.arange(np.datetime64("2019-01-01"), np.datetime64("2024-06-29"))
    days = days[np.is_busday(days)]
    days = days[[str(d)[5:] != "12-31" for d in days]]
    days = days[(days < np.datetime64("2022-03-07")) | (days > np.datetime64("2022-03-10"))]
    values = 20 + np.cumsum(np.random.default_rng(2).standard_normal(len(days))) / 50
    rows = "\n".join(f"{d},{v:.4f}" for d, v in zip(days, values, strict=True))
    (tmp_path / "a.csv").write_text("date,value\n" + rows + "\n")
    head = 'name = "a"\nunit = "u"\n[calendar]\nkind = "business"\n'
    text = head + '[source]\ntype = "csv"\npath = "a.csv"\nvalue_column = "value"\n'
    found = survey(parse_target(text, place="a", folder=tmp_path), now=NOW)
    assert found.mismatch.recurring == ("12-31",)
    assert found.gaps[0].sessions == 4
    assert sum(s.missing for s in found.years) == found.missing == 4 + 3  # Tuesday, Thursday and Friday
    assert {s.year: s.missing for s in found.years}[2022] == 4
    page = data_page(found, target_file=Path("a.toml"), made=NOW)
    assert "12-31" in page and "2022-03-04" in page


def test_revisions_come_from_the_store(tmp_path: Path) -> None:
    text = """
name = "p"
unit = "u"
scale = "level"
[source]
type = "http_csv"
url = "http://127.0.0.1:9/x.csv"
value_column = "v"
[calendar]
kind = "daily"
"""
    target = parse_target(text, place="p", folder=tmp_path)
    days = np.arange(np.datetime64("2024-01-01"), np.datetime64("2024-06-30")).astype("datetime64[s]")
    values = 100 + np.sin(np.arange(len(days)))
    with VintageStore(store_path(tmp_path, "p"), create=True) as store:
        for moment, changed in (("2024-06-30", 0.0), ("2024-07-01", 5.0)):
            values = values.copy()
            values[-3] += changed
            rows = Rows(
                place="x", lines=np.arange(len(days)), dates=days, names=("v",), values=values[:, None]
            )
            pull, _ = store.begin_pull(np.datetime64(moment, "s"))
            with store.writing():
                store.record(pull, "target", rows)
    found = survey(target, now=NOW, store=tmp_path)
    (change,) = found.revisions
    assert change.after - change.before == pytest.approx(5.0)
    assert str(change.known_at)[:10] == "2024-07-01"
    page = data_page(found, target_file=Path("p.toml"), made=NOW)
    assert "1 values were revised" in page and f"{change.after:g}" in page


def test_the_source_of_a_page_never_shows_a_password(tmp_path: Path) -> None:
    from horizoncast.data.feed import Feed

    feed = Feed(url="postgresql://reader:{secret:PW}@db/prices", query="prices")
    assert "{secret" not in Source(type=SourceType.SQL, value_column="v", feed=feed).place
