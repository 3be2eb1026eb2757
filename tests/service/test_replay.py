"""A published run derived again: bit for bit, or with the reason why not."""

from pathlib import Path

import numpy as np
import pytest

from horizoncast.engine.branches import branch_digests
from horizoncast.errors import StoreError
from horizoncast.models.hybrid.artefact import HybridParts, write_parts
from horizoncast.service.ledgers import open_ledger
from horizoncast.service.replay import replay
from horizoncast.service.runner import run_service
from horizoncast.service.settings import Settings, load_settings, recalled_settings
from hybrid_toys import enter_branches, gate_of
from small_target import NAIVES_ONLY, write_target


def settings_for(root: Path, **more: str) -> Settings:
    overrides = {**NAIVES_ONLY, "target": "toy.toml", **{k.replace("__", "."): v for k, v in more.items()}}
    return load_settings("forecaster_7d", root=root, environ={}, overrides=overrides)


def grow(root: Path, sessions: int) -> None:
    """The target's file with more sessions, the earlier ones unchanged."""
    write_target(root, sessions=sessions)


def test_runs_come_out_bit_for_bit_whatever_happened_since(tmp_path: Path) -> None:
    """Three runs on a growing file, each fed by the live record of those before it."""
    ids = []
    for sessions in (380, 385, 400):
        grow(tmp_path, sessions)
        ids.append(run_service(settings_for(tmp_path, decision__cap="0.7")).run.run_id)
    today = settings_for(tmp_path)  # another cap: the run's own settings count
    ledger = open_ledger(today)
    for run_id in ids:
        found = replay(run_id, ledger, today)
        assert (found.same, found.largest, found.reasons) == (True, 0.0, ()), run_id
        assert set(found.files.values()) == {True} and "validation.parquet" in found.files


def learned(settings: Settings) -> None:
    """A gate that reads embeddings, where the runs of these settings look for it."""
    config, until = settings.engine_config(), np.datetime64("2000-01-01", "s")
    parts = HybridParts(
        series="toy",
        service=settings.service,
        gate=gate_of(4, until),
        adaptation=None,
        trained_until=until,
        branches=branch_digests(config, settings.service),
    )
    write_parts(Path(config.hybrid.config.parts) / "toy" / settings.service, parts)


def test_a_hybrid_whose_gate_reads_embeddings_comes_out_bit_for_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs, the second with the live rows of the first and its cached embeddings."""
    enter_branches(monkeypatch)
    branches = {
        f"members__{name}__{key}": value
        for name in ("chronos", "autoformer")
        for key, value in (("state", "on"), ("error", "0.5"), ("rising", "true"), ("min_train", "50"))
    }
    more = {**branches, "members__hybrid__state": "on", "horizon": "5d", "decision__newest": "20"}
    runs = []
    for sessions in (380, 385):
        grow(tmp_path, sessions)
        settings = settings_for(tmp_path, **more)
        learned(settings)
        runs.append(run_service(settings))
    ledger = open_ledger(settings_for(tmp_path))
    for outcome in runs:
        fusion = outcome.result.decision.fusion
        assert fusion is not None and "gate" in fusion.trained and (fusion.log_odds != 0).all()
        found = replay(outcome.run.run_id, ledger, settings_for(tmp_path))
        assert (found.same, found.largest, found.reasons) == (True, 0.0, ())


def test_a_revised_observation_is_named(tmp_path: Path) -> None:
    write_target(tmp_path)
    settings = settings_for(tmp_path)
    run = run_service(settings).run
    file = tmp_path / "toy.csv"
    lines = file.read_text().splitlines()
    day, value = lines[-3].split(",")
    lines[-3] = f"{day},{float(value) * 1.01:.6f}"
    file.write_text("\n".join(lines) + "\n")
    found = replay(run.run_id, open_ledger(settings), settings)
    assert not found.same and found.largest is not None
    assert f"{day} was {float(value):g}" in found.reasons[0]


def test_a_changed_target_and_a_deleted_folder_are_named(tmp_path: Path) -> None:
    import shutil

    target = write_target(tmp_path)
    settings = settings_for(tmp_path)
    run = run_service(settings).run
    target.write_text(target.read_text().replace("MXN per USD", "pesos"))
    ledger = open_ledger(settings)
    assert "definition has changed" in replay(run.run_id, ledger, settings).reasons[0]
    shutil.rmtree(settings.output_folder / run.folder)
    assert "cannot be derived" in replay(run.run_id, ledger, settings).reasons[0]
    ledger.runs.mark_pruned(run.run_id)
    assert "deleted on" in replay(run.run_id, ledger, settings).reasons[0]
    with pytest.raises(StoreError, match="no run"):
        replay("nobody", ledger, settings)


def test_settings_come_back_from_a_manifest(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, decision__cap="0.7", members__var__state="shadow")
    back = recalled_settings("forecaster_7d", settings.recorded(), settings_for(tmp_path))
    assert back.config_hash == settings.config_hash
    assert back.engine_config() == settings.engine_config()
    assert back.output_folder == settings.output_folder
