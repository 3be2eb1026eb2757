"""Guards that every test runs under."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from support import shared_folder

settings.register_profile("ours", deadline=None)  # a busy machine is no defect
settings.register_profile("ci", deadline=None, derandomize=True)  # a change is judged, not the day's draw
settings.load_profile("ours")

INSTALLED = ("PostgreSQL server absent", "chromium absent")
"""Reasons of skips that no list names: CI installs both where it may."""

PREFIXES = ("ENABLE_", "CHRONOS_", "HORIZONCAST_")


def _ours() -> list[str]:
    return [name for name in os.environ if name.startswith(PREFIXES)]


@pytest.fixture(autouse=True)
def bare_environment() -> Iterator[None]:
    """Settings of whoever runs the tests must not reach them, and no test may leave any behind.

    Set up before a test's own monkeypatch, so that it looks after that one has put everything back.
    """
    saved = {name: os.environ.pop(name) for name in _ours()}
    yield
    leaked = {name: os.environ.pop(name) for name in _ours()}
    os.environ.update(saved)
    assert not leaked


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server, its password in it; the test is skipped where none is installed."""
    from postgres import server, with_password

    with server() as plain:
        yield with_password(plain)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--check-skips",
        action="store_true",
        help="fail when the skipped tests are not those that tests/skipped lists",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Compare what was skipped with the committed list, with shared data and without."""
    if not config.getoption("--check-skips"):
        return
    name = "with_shared_data.txt" if shared_folder().exists() else "without_shared_data.txt"
    listed = (Path(__file__).parent / "skipped" / name).read_text().splitlines()
    expected = {line for line in listed if line and not line.startswith(("#", "?"))}
    allowed = expected | {line[1:].strip() for line in listed if line.startswith("?")}
    skipped = {
        report.nodeid
        for report in terminalreporter.stats.get("skipped", [])
        if not any(program in str(report.longrepr) for program in INSTALLED)
    }
    wrong = [f"not listed in {name}: {test}" for test in sorted(skipped - allowed)]
    wrong += [
        f"listed in tests/skipped/{name} and not skipped: {test}" for test in sorted(expected - skipped)
    ]
    for line in wrong:
        terminalreporter.write_line(line, red=True)
    if wrong:
        terminalreporter._session.exitstatus = pytest.ExitCode.TESTS_FAILED
