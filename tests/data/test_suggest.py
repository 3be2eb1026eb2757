"""Suggested corrections: right ones for planted mistakes, none for real data, and commands that work."""

import shlex
from pathlib import Path

import numpy as np
import pytest

from horizoncast.calendar import Calendar, CalendarKind
from horizoncast.data.checks import Column
from horizoncast.data.load import make_reader, read_columns
from horizoncast.data.suggest import Suggestion, suggest, suggest_all
from horizoncast.data.target import Checks
from horizoncast.data.target_file import read_target
from support import shared_data

ROOT = Path(__file__).resolve().parents[2]
CHILE = Calendar(kind=CalendarKind.BUSINESS, country="CL")


def column(values: np.ndarray, dates: np.ndarray | None = None) -> Column:
    if dates is None:
        dates = Calendar(kind=CalendarKind.BUSINESS).future(np.datetime64("2022-01-03"), len(values))
    lines = np.arange(2, len(values) + 2)
    return Column(place="x.csv", name="rate", lines=lines, dates=dates, values=values)


def price(length: int = 300, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.round(900 * np.exp(np.cumsum(0.004 * rng.standard_normal(length))), 2)


def found(values: np.ndarray) -> list[Suggestion]:
    return suggest(column(values), "target", Calendar(kind=CalendarKind.BUSINESS), Checks())


@pytest.mark.parametrize("row", [50, 150, 299])
@pytest.mark.parametrize("factor", [100, 0.01, 1000])
def test_a_unit_slip_is_divided_back(row: int, factor: float) -> None:
    values = price()
    true = values[row]
    values[row] *= factor
    (one,) = found(values)
    assert one.code == "unit_slip"
    assert one.value == pytest.approx(true)


def swapped(value: float, at: int) -> float:
    text = list(f"{value:.2f}")
    text[at], text[at + 1] = text[at + 1], text[at]
    return float("".join(text))


@pytest.mark.parametrize("row", [60, 200, 299])
def test_exchanged_digits_and_a_moved_mark_are_read_back(row: int) -> None:
    for wrong in (lambda v: swapped(v, 0), lambda v: v * 10, lambda v: v / 10):
        values = price(seed=8) + 47
        true = values[row]
        values[row] = round(wrong(true), 4)
        (one,) = found(values)
        assert one.code == "fat_finger"
        assert one.value == pytest.approx(true, rel=1e-3)  # 9644 may be 964.4 or a doubled 4


def test_a_real_jump_that_stays_is_nobodys_typo() -> None:
    values = price()
    values[150:] *= 1.4
    assert found(values) == []


def test_a_stuck_value_is_dropped_from_its_second_row_on() -> None:
    values = price()
    values[-7:] = values[-8]
    ones = found(values)
    assert [one.code for one in ones] == ["stuck"] * 7
    assert all(one.value is None for one in ones)
    assert ones[-1].date == column(values).dates[-1]


def test_a_copy_on_a_closed_day_is_dropped_and_a_value_of_its_own_is_not() -> None:
    days = np.arange(np.datetime64("2023-05-02"), np.datetime64("2023-07-10"))
    days = days[np.is_busday(days)]
    values = price(len(days))
    copy, own = (int(np.flatnonzero(days == np.datetime64(d))[0]) for d in ("2023-06-26", "2023-06-21"))
    values[copy] = values[copy - 1]
    ones = suggest(column(values, days.astype("datetime64[s]")), "target", CHILE, Checks())
    assert [(one.code, str(one.date)[:10]) for one in ones] == [("holiday_duplicate", "2023-06-26")]
    assert own != copy


@pytest.mark.parametrize(
    "name", ["usdclp", "usdmxn", "electricity", "retail_demand", "sensor", "bike_demand"]
)
def test_real_data_as_published_gives_no_suggestion(name: str) -> None:
    target = read_target(ROOT / "config" / "targets" / f"{name}.toml")
    if target.source.path is not None:
        shared_data(target.source.path.name)
    assert suggest_all(target, read_columns(target, make_reader(target))) == []


def test_the_command_can_be_typed_as_it_stands() -> None:
    one = Suggestion(
        code="fat_finger", column="usd brl", date=np.datetime64("2024-06-03", "s"), before=1.0, value=0.25,
        why="a slip; don't guess",
    )  # fmt: skip
    words = shlex.split(one.command(Path("my targets/x.toml"), Path("st ore")))
    assert words == [
        "horizoncast", "data", "override", "my targets/x.toml", "--date", "2024-06-03", "--store", "st ore",
        "--value", "0.25", "--column", "usd brl", "--why", "a slip; don't guess", "--by", "NAME",
    ]  # fmt: skip
