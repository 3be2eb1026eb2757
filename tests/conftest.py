"""Guards that every test runs under."""

import os
from collections.abc import Iterator

import pytest

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
