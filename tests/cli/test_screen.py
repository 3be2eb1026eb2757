"""What is printed: progress for terminals and for logs, tables for any width."""

import json
import threading

import pytest
from rich.console import Console

from horizoncast.cli.screen import Screen, print_json


def test_plain_lines_at_each_quarter(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=False)
    with screen.progressing():
        for done in range(1, 9):
            screen.advance("var", done, 8)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split()[1] for line in captured.err.splitlines()] == ["2", "4", "6", "8"]


def test_a_cached_member_says_so_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=False)
    screen.advance("var", 60, 60)
    assert capsys.readouterr().err.strip() == "var: 60 of 60 cutoffs"


def test_training_counts_steps_and_a_later_fit_is_not_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=False)
    for _ in range(2):
        for done in (25, 75, 150):
            screen.advance("autoformer training", done, 150)
    assert capsys.readouterr().err.splitlines() == [
        "  autoformer training: 75 of 150 steps",
        "  autoformer training: 150 of 150 steps",
    ]


def test_progress_on_a_terminal_is_live_and_takes_any_thread() -> None:
    screen = Screen(as_json=False, quiet=False)
    screen.log = Console(force_terminal=True, stderr=True, record=True, width=100)
    with screen.progressing():
        workers = [threading.Thread(target=screen.advance, args=(f"m{i}", 3, 7)) for i in range(4)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    text = screen.log.export_text()
    assert all(f"m{i}" in text for i in range(4))
    assert "3/7" in text


def test_quiet_is_silent_but_for_complaints(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=True)
    screen.tell("reading")
    screen.advance("var", 1, 1)
    screen.complain("a note")
    assert capsys.readouterr().err == "a note\n"


def test_a_wide_table_turns_on_its_side_on_a_narrow_screen(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=False)
    head, rows = ("service", "point"), [("a_7d", "1.5"), ("b_15d", "2.5")]
    screen.table("t", head, rows, least_width=150)
    wide = capsys.readouterr().out
    screen.out = Console(width=60)
    screen.table("t", head, rows, least_width=150)
    narrow = capsys.readouterr().out
    assert [line.split() for line in wide.splitlines()[1:]] == [
        ["service", "point"],
        ["a_7d", "1.5"],
        ["b_15d", "2.5"],
    ]
    assert [line.split() for line in narrow.splitlines()[1:]] == [
        ["service", "a_7d", "b_15d"],
        ["point", "1.5", "2.5"],
    ]


def test_paths_stay_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=False)
    screen.out = Console(width=30)
    screen.paths([("files", "/a/" + "long/" * 40)])
    assert len(capsys.readouterr().out.splitlines()) == 1


def test_markup_in_texts_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(as_json=False, quiet=False)
    screen.rows("[red]title[/red]", [("[b]label", "[link=x]text")])
    out = capsys.readouterr().out
    assert "[red]title[/red]" in out
    assert "[link=x]text" in out


def test_json_has_no_nan(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": (1, 2)})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, 2]}
