import pytest
from hypothesis import given
from hypothesis import strategies as st

from horizoncast.store.names import csv_text, encodable, from_csv_text, safe_name

HOSTILE = [
    "../../x",
    "<script>",
    "=cmd",
    r"$\frac{",
    "",
    ".",
    "..",
    "a/b",
    "a\x00b",
    "-rf",
    "\ud800",
    "x" * 500,
    "CON ",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_become_one_plain_folder(name):
    safe = safe_name(name)
    assert safe and "/" not in safe and "\\" not in safe and not safe.startswith((".", "-"))
    assert all(c.isascii() and (c.isalnum() or c in "-_") for c in safe)
    assert len(safe) <= 60


def test_different_names_do_not_collide():
    assert len({safe_name(name) for name in HOSTILE}) == len(HOSTILE)


@given(st.text(max_size=20), st.text(max_size=20))
def test_safe_names_are_distinct(a, b):
    assert (safe_name(a) == safe_name(b)) == (a == b)


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "  =1", "\uff1d1", "\uff0b1", "'=1"]
)
def test_formulas_are_neutralised(text):
    assert csv_text(text) == f"'{text}"


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_csv_text_gives_the_text_back(text):
    assert from_csv_text(csv_text(text)) == text
    assert csv_text(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


def test_lone_surrogates_can_be_encoded():
    assert encodable("a\udc80b").encode("utf-8") == b"a?b"
