"""One member dies, the run goes on: every way of dying, with the real engine and real processes."""

import time
from pathlib import Path
from typing import Any

import pytest

from horizoncast.engine import EngineConfig, EngineResult, ForecastEngine, MemberSetting
from horizoncast.ensemble.gate import Status
from horizoncast.forecast import Failure, Flag, Forecast
from horizoncast.models.registry import NAIVES
from horizoncast.series import Scale
from horizoncast.store.bank_cache import BankCache
from support import make_series, market
from toys import enter

SERIES = market(300)


def run(*settings: MemberSetting, cache: BankCache | None = None, **changes: Any) -> EngineResult:
    config = EngineConfig(members=settings, workers=2, **changes)
    return ForecastEngine(config, cache=cache).forecast(changes.pop("series", SERIES), "7d")


def outcome(result: EngineResult, name: str) -> Any:
    return next(m for m in result.members if m.name == name)


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ("exit", "ProcessDied"),
        ("kill", "ProcessDied"),
        ("hang", "DeadlineExceeded"),
        ("memory", "OutOfMemory"),
        ("bug", "ZeroDivisionError"),
        ("unpicklable", "LocalError"),
        ("needy", "NeedyError"),
        ("quit", "SystemExit"),
    ],
)
def test_regression_one_killed_worker_that_loses_all_results(
    monkeypatch: pytest.MonkeyPatch, act: str, code: str
) -> None:
    bad = enter(monkeypatch, "bad", act=act, at=3)
    good = enter(monkeypatch, "good", shift=0.001, sigma=0.006)
    started = time.monotonic()
    result = run(
        MemberSetting(name="bad", config=bad, deadline_s=3.0, memory_mb=100),
        MemberSetting(name="good", config=good, deadline_s=60.0),
    )
    assert time.monotonic() - started < 40.0
    lost = outcome(result, "bad")
    assert lost.problems[0].code == code
    assert lost.answered == 3  # live cutoff and two windows came through
    assert isinstance(lost.live, Forecast)
    assert lost.weight == 0.0  # too few windows to be weighed
    assert "failed on" in next(m.reason for m in result.decision.members if m.name == "bad")
    for name in (*NAIVES, "good"):
        other = outcome(result, name)
        assert other.answered == other.asked
        assert not other.problems
    assert outcome(result, "good").weight > 0.0


def test_everything_but_the_naives_dies(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = [
        MemberSetting(name=act, config=enter(monkeypatch, act, act=act), deadline_s=2.0, memory_mb=100)
        for act in ("exit", "kill", "hang", "memory")
    ]
    result = run(*settings)
    assert result.status is Status.DEGRADED
    assert len(result.status_reasons) == 5  # one for each, and the quorum
    assert sum(m.weight for m in result.members if m.name in NAIVES) == pytest.approx(1.0)


@pytest.mark.parametrize("act", ["kill", "bug"])
@pytest.mark.parametrize("at", [0, 2])
def test_a_naive_whose_process_dies_is_run_again_here(
    monkeypatch: pytest.MonkeyPatch, act: str, at: int
) -> None:
    """Without a naive there is no reference and no run; it needs neither a process nor a limit."""
    broken = enter(monkeypatch, "random_walk", act=act, at=at, only_in_child=True)
    series = make_series(SERIES.values, scale=Scale.LOG, periods=())
    config = EngineConfig(members=(MemberSetting(name="random_walk", config=broken),))
    result = ForecastEngine(config).forecast(series, "7d")
    naive = outcome(result, "random_walk")
    assert naive.answered == naive.asked
    assert [p.code for p in naive.problems] == ["ProcessDied" if act == "kill" else "ZeroDivisionError"]
    assert Flag.FALLBACK not in result.forecast.flags


def test_a_cutoff_refused_by_all_members_costs_that_cutoff(monkeypatch: pytest.MonkeyPatch) -> None:
    toy = enter(monkeypatch, "toy", act="refuse", at=64)
    result = run(MemberSetting(name="toy", config=toy))
    assert outcome(result, "toy").asked - outcome(result, "toy").answered <= 1
    assert outcome(result, "toy").weight > 0.0


def test_a_damaged_cache_costs_time_only(tmp_path: Path) -> None:
    cache = BankCache(tmp_path)
    first = run(cache=cache)
    for file in tmp_path.rglob("*.npz"):
        file.write_bytes(file.read_bytes()[:1000])
    again = run(cache=cache)
    assert again.forecast.same_numbers(first.forecast)
    assert all(m.cached == 0 for m in again.members)
    assert all(m.cached == m.asked for m in run(cache=cache).members)


def test_a_cache_that_cannot_be_written_is_in_the_record(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file, not a folder")
    result = run(cache=BankCache(tmp_path / "cache"))
    assert {p.code for m in result.members for p in m.problems} == {"CacheNotWritten"}
    assert not any(isinstance(m.live, Failure) for m in result.members)
    assert result.status is Status.PUBLISHED
