"""Members that misbehave on purpose, and the way they reach a child process.

A child imports the registry afresh, so that a patched registry of the test's process does not reach
it. What does is the member's configuration, which is pickled: unpickled in a child, `ToyConfig`
enters its member there.
"""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np
import pytest

from horizoncast.errors import ModelError
from horizoncast.horizon import Horizon
from horizoncast.models.base import Member, MemberConfig, Prediction
from horizoncast.models.naive import gaussian_prediction
from horizoncast.models.progress import report_training
from horizoncast.models.registry import MEMBERS
from horizoncast.series import History


@dataclass(frozen=True, kw_only=True)
class ToyConfig(MemberConfig):
    """What a toy does.

    Parameters
    ----------
    entry
        Name it has in the registry.
    act, at
        What it does, at which of its calls (from 0).
    shift
        Added to its median, in the scale.
    sigma
        Its spread per root of a step.
    home
        Process whose registry it was entered into; there it may be told to behave well.
    """

    entry: str = "toy"
    act: str = ""
    at: int = 0
    shift: float = 0.0
    sigma: float = 0.01
    home: int = 0
    only_in_child: bool = False
    note: str = ""

    def __reduce__(self) -> tuple[Any, ...]:
        return _arrive, ({f.name: getattr(self, f.name) for f in fields(self)},)


def _arrive(values: dict[str, Any]) -> ToyConfig:
    config = ToyConfig(**values)
    if os.getpid() != config.home:
        MEMBERS[config.entry] = "toys:Toy"
    return config


def enter(monkeypatch: pytest.MonkeyPatch, entry: str = "toy", **settings: Any) -> ToyConfig:
    """Put a toy into the registry for the length of a test; its settings carry it to children."""
    monkeypatch.setitem(MEMBERS, entry, "toys:Toy")
    return ToyConfig(entry=entry, min_train=5, home=os.getpid(), **settings)


class Toy(Member[ToyConfig, None]):
    """Last value with Gaussian quantiles, until it acts."""

    name: ClassVar[str] = "toy"
    config_type: ClassVar[type[MemberConfig]] = ToyConfig
    calls = 0

    def fit(self, history: History, horizon: Horizon) -> None:
        """Nothing is estimated."""

    def predict(
        self,
        state: None,
        history: History,
        horizon: Horizon,
        levels: Sequence[float],
        rng: np.random.Generator,
    ) -> Prediction:
        """(H, Q) quantiles around the last value."""
        config = self.config
        at_home = os.getpid() == config.home
        if config.act and self.calls >= config.at and not (config.only_in_child and at_home):
            _ACTS[config.act](config)
        self.calls += 1
        spread = config.sigma * np.sqrt(np.arange(1, horizon.steps + 1))
        return gaussian_prediction(np.full(horizon.steps, history.z[-1] + config.shift), spread, levels)


def _raise_local(config: ToyConfig) -> None:
    class LocalError(Exception):
        """Cannot be pickled: its class has no importable name."""

    raise LocalError("of a class that cannot be pickled")


class NeedyError(Exception):
    """Pickles, and cannot be unpickled."""

    def __init__(self, one: str, two: str) -> None:
        super().__init__(f"{one} {two}")


def _raise_needy(config: ToyConfig) -> None:
    raise NeedyError("cannot be", "unpickled")


def _raise_zero(config: ToyConfig) -> None:
    raise ZeroDivisionError("a bug")


def _raise_model(config: ToyConfig) -> None:
    raise ModelError("this cutoff cannot be answered")


def _allocate(config: ToyConfig) -> None:
    np.ones(400 * 1024 * 1024 // 8)


def _import_without_memory(config: ToyConfig) -> None:
    """As the dynamic linker puts it (observed with RLIMIT_DATA and an extension module)."""
    raise ImportError("libtorch_cpu.so: failed to map segment from shared object")


def _thread_without_memory(config: ToyConfig) -> None:
    """A failed allocation deep inside, wrapped by a library."""
    try:
        np.ones(400 * 1024 * 1024 // 8)
    except MemoryError as error:
        raise RuntimeError("could not run the operator") from error


def _start_threads(config: ToyConfig) -> None:
    """Threads whose stacks count as data, until one cannot be started."""
    import threading

    threading.stack_size(64 * 1024 * 1024)
    hold = threading.Event()
    for _ in range(1000):
        threading.Thread(target=hold.wait, daemon=True).start()


def _abort_without_memory(config: ToyConfig) -> None:
    """What C++ does with a std::bad_alloc that nobody catches."""
    os.write(
        2, b"terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
    )
    os.abort()


def _leave_grandchild(config: ToyConfig) -> None:
    """Die, leaving a process behind that holds every open pipe."""
    if os.fork() == 0:
        time.sleep(60)
        os._exit(0)
    os._exit(5)


def _report(config: ToyConfig) -> None:
    """Write the process id down and hang."""
    from pathlib import Path

    Path(config.note).write_text(str(os.getpid()))
    time.sleep(120)


_ACTS = {
    "exit": lambda config: os._exit(3),
    "quit": lambda config: (_ for _ in ()).throw(SystemExit(4)),
    "kill": lambda config: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda config: time.sleep(120),
    "memory": _allocate,
    "memory_import": _import_without_memory,
    "memory_wrapped": _thread_without_memory,
    "memory_threads": _start_threads,
    "memory_abort": _abort_without_memory,
    "abort": lambda config: os.abort(),
    "unpicklable": _raise_local,
    "needy": _raise_needy,
    "bug": _raise_zero,
    "refuse": _raise_model,
    "train": lambda config: report_training(config.entry, 25, 150),
    "grandchild": _leave_grandchild,
    "report": _report,
}
