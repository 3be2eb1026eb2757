"""What ticks remember, and what happens without it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from horizoncast.errors import ConfigError
from horizoncast.policy.retry import Attempt, TickLimits, may_try
from horizoncast.service.attempts import FILE, Memory, read_memory, write_memory

NOW = datetime(2026, 1, 9, 11, tzinfo=UTC)
DUE = NOW - timedelta(hours=1)


def tried(minutes: float) -> Attempt:
    return Attempt(due=DUE, at=NOW - timedelta(minutes=minutes), exit_code=3)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    memory = Memory().seen(NOW).tried("one", tried(5)).telling("two", DUE)
    write_memory(tmp_path, memory)
    assert read_memory(tmp_path) == memory


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"first": 3}', '{"first": "2026-01-01", "looked": null}', "\x00"]
)
def test_a_file_that_cannot_be_read_is_no_memory_and_no_error(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert read_memory(tmp_path) == Memory()


def test_a_failed_run_waits_for_its_turn_and_no_longer() -> None:
    limits = TickLimits(retry_minutes=30)
    assert may_try(None, DUE, NOW, limits)
    assert not may_try(tried(29), DUE, NOW, limits)
    assert may_try(tried(30), DUE, NOW, limits)
    assert may_try(tried(1), DUE + timedelta(days=7), NOW, limits)


def test_an_attempt_in_the_future_keeps_nobody_waiting() -> None:
    """The clock was a year ahead and was set back."""
    assert may_try(tried(-60 * 24 * 365), DUE, NOW, TickLimits())


def test_attempts_long_past_are_forgotten() -> None:
    memory = Memory().tried("one", tried(5)).seen(NOW)
    assert memory.attempt("one", DUE) is not None
    assert memory.seen(NOW + timedelta(days=100)).attempts == {}


def test_limits_that_mean_nothing_are_refused() -> None:
    for values in ({"run_minutes": 0.0}, {"retry_minutes": -1.0}, {"retry_minutes": float("nan")}):
        with pytest.raises(ConfigError):
            TickLimits(**values)
