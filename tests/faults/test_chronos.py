"""A checkpoint that cannot run costs the member `chronos` only, and the record says why."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chronos_checkpoints import make_bolt, repeater, save_network
from horizoncast.engine import EngineConfig, ForecastEngine, MemberSetting
from horizoncast.engine.result import EngineResult, MemberOutcome
from horizoncast.ensemble.gate import Status
from horizoncast.forecast import Failure, Forecast
from horizoncast.models.chronos import places
from horizoncast.models.chronos.config import ChronosConfig
from support import market, weekly_season

OTHERS = tuple(MemberSetting(name=name) for name in ("random_walk", "var"))


@pytest.fixture(scope="module")
def bolt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "bolt"
    make_bolt(folder)
    return folder


def run(config: ChronosConfig, *, isolated: bool = True, memory_mb: int = 1500) -> EngineResult:
    chronos = MemberSetting(name="chronos", config=config, memory_mb=memory_mb)
    engine = EngineConfig(members=(*OTHERS, chronos), isolated=isolated, replays=2)
    return ForecastEngine(engine).forecast(market(260), 5)


def mine(result: EngineResult) -> MemberOutcome:
    return next(m for m in result.members if m.name == "chronos")


def went_on_without(result: EngineResult, code: str) -> str:
    """Check that the others decided and that the reason stands in the record; returns it."""
    found = mine(result)
    assert isinstance(found.live, Failure)
    assert found.live.code == code
    assert found.weight == 0.0
    assert result.status is Status.DEGRADED
    assert f"chronos is on and gave no forecast ({code})" in result.status_reasons
    assert np.isfinite(result.forecast.quantiles).all()
    return found.live.reason


@pytest.mark.parametrize("kind", ["truncated", "pickled"])
def test_a_damaged_checkpoint(bolt: Path, tmp_path: Path, kind: str) -> None:
    folder = shutil.copytree(bolt, tmp_path / "copy")
    weights = folder / "model.safetensors"
    if kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    reason = went_on_without(run(ChronosConfig(model=str(folder))), "StoreError")
    assert "is refused" in reason


def test_no_checkpoint_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "SHIPPED", tmp_path / "absent")
    result = run(ChronosConfig(models=str(tmp_path)), isolated=False)
    assert "models fetch amazon/chronos-bolt-small" in went_on_without(result, "StoreError")


def test_a_name_nobody_knows(tmp_path: Path) -> None:
    result = run(ChronosConfig(model="amazon/chronos-bolt-smal", models=str(tmp_path)), isolated=False)
    assert "unknown model on disk" in went_on_without(result, "UnknownNameError")


def test_too_little_memory_for_the_process(bolt: Path) -> None:
    """Its own cap leaves no room for torch: said before torch is imported, instead of a crash."""
    reason = went_on_without(run(ChronosConfig(model=str(bolt)), memory_mb=250), "NotAdmittedError")
    assert "does not fit in memory" in reason


def test_a_checkpoint_that_unrolls_is_asked_for_fewer_and_still_weighed(tmp_path: Path) -> None:
    save_network(repeater(steps=4), tmp_path)
    config = ChronosConfig(model=str(tmp_path), unrolled_cutoffs=12, season="off")
    chronos = MemberSetting(name="chronos", config=config)
    engine = EngineConfig(members=(*OTHERS, chronos), isolated=False, replays=2)
    result = ForecastEngine(engine).forecast(weekly_season(400), 7)
    found = mine(result)
    assert (found.asked, found.answered) == (13, 13)
    row = {m.name: m for m in result.decision.members}["chronos"]
    assert row.windows == 12
    assert found.weight > 0.3


def test_cutoffs_it_may_have_seen_are_not_counted_as_failures(tmp_path: Path) -> None:
    series = weekly_season(400)
    save_network(repeater(), tmp_path, trained_until=str(series.dates[360])[:10])
    chronos = MemberSetting(name="chronos", config=ChronosConfig(model=str(tmp_path), season="off"))
    engine = EngineConfig(members=(*OTHERS, chronos), isolated=False, replays=2)
    result = ForecastEngine(engine).forecast(series, 7)
    found = mine(result)
    assert found.asked == found.answered < next(m for m in result.members if m.name == "var").asked
    assert isinstance(found.live, Forecast)
    assert all(a.identity.trained_until == series.dates[360] for a in [found.live])
    assert found.weight > 0.0


def test_what_is_cached_follows_the_checkpoint(bolt: Path, tmp_path: Path) -> None:
    """Rows of one checkpoint never pass for those of another of the same name."""
    from horizoncast.store.bank_cache import BankCache

    folder = shutil.copytree(bolt, tmp_path / "model")
    chronos = MemberSetting(name="chronos", config=ChronosConfig(model=str(folder)))
    engine = EngineConfig(members=(*OTHERS, chronos), isolated=False, replays=2)
    cache = BankCache(tmp_path / "cache")

    def cached() -> int:
        return mine(ForecastEngine(engine, cache=cache).forecast(market(260), 5)).cached

    assert cached() == 0
    assert cached() > 0
    shutil.rmtree(folder)
    make_bolt(folder, seed=1)
    assert cached() == 0


def test_settings_that_move_no_number_move_no_digest(bolt: Path, tmp_path: Path) -> None:
    from horizoncast.models.chronos.member import Chronos

    one = Chronos(ChronosConfig(model=str(bolt)))
    assert Chronos(replace(one.config, models=str(tmp_path))).digest() == one.digest()
    assert Chronos(replace(one.config, chunk=4)).digest() != one.digest()
