"""Changes in parts: what is printed adds up as what is recorded does."""

from hypothesis import given
from hypothesis import strategies as st

from horizoncast.report.pages.changes import Move, change_table

VALUES = st.floats(-5, 5).map(lambda value: round(value, 6))


@given(
    before=st.floats(1, 2000).map(lambda value: round(value, 6)),
    parts=st.lists(VALUES, min_size=5, max_size=5),
)
def test_printed_parts_add_up_to_what_is_printed(before: float, parts: list[float]) -> None:
    after = before + sum(parts)
    move = Move(step=1, date="2026-10-27", measure="median", before=before, after=after, parts=tuple(parts))
    ((_, _, *cells),) = change_table([move], "en").rows
    digits = len(cells[0].text.partition(".")[2])
    first, *middle, last = (round(float(cell.text) * 10**digits) for cell in cells)
    assert first + sum(middle) == last
    shown = [value / 10**digits for value in middle]
    assert all(abs(a - b) <= 3.1 / 10**digits for a, b in zip(shown, parts, strict=True))
