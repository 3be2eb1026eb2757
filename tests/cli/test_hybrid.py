"""`hybrid train` and `hybrid show` as a person calls them."""

import json
from pathlib import Path
from typing import Any

import pytest

from horizoncast.cli import main
from hybrid_toys import enter_branches, restless_series


@pytest.fixture(autouse=True)
def branches(monkeypatch: pytest.MonkeyPatch) -> None:
    enter_branches(monkeypatch)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """A series on disk, and services that run toys."""
    series = restless_series(sessions=900)
    lines = [f"{str(d)[:10]},{v!r}" for d, v in zip(series.dates, series.values.tolist(), strict=True)]
    (tmp_path / "toy.csv").write_text("date,value\n" + "\n".join(lines) + "\n")
    file = tmp_path / "toy.toml"
    file.write_text(
        'name = "toy"\nunit = "u"\nscale = "level"\nperiods = []\n'
        '[source]\ntype = "csv"\npath = "toy.csv"\nvalue_column = "value"\n[calendar]\nkind = "daily"\n'
    )
    return file


def called(capsys: pytest.CaptureFixture[str], target: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code and what stands on stdout and stderr."""
    common = ("--target", str(target), "--root", str(target.parent), "--set", "run.isolated=false")
    with pytest.raises(SystemExit) as ended:
        main(["hybrid", *arguments, *common])
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out, captured.err


def told(text: str) -> list[dict[str, Any]]:
    """The hybrids in an answer."""
    found: list[dict[str, Any]] = json.loads(text)["hybrids"]
    return found


def test_a_dry_run_says_what_would_happen_and_writes_nothing(
    target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(path.name for path in target.parent.iterdir())
    code, out, err = called(
        capsys, target, "train", "--service", "forecaster_7d", "--windows", "30", "--dry-run"
    )
    assert (code, err) == (0, "")
    assert "30, " in out
    assert "components: to do" in out
    assert sorted(path.name for path in target.parent.iterdir()) == before


def test_train_then_show(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("train", "--service", "forecaster_7d", "--windows", "30")
    code, out, err = called(capsys, target, *arguments)
    assert code == 0, err
    assert "components (stage 1 of" in err
    assert "tuning dropped: the Chronos branch has no checkpoint" in err
    assert "gate dropped" in out or "dropped: " in out
    assert "parts and records: " in out
    code, out, err = called(capsys, target, *arguments, "--json", "--quiet")
    (found,) = told(out)
    assert (code, err) == (0, "")
    assert [stage["resumed"] for stage in found["stages"]] == [True] * len(found["stages"])
    assert found["stages"][-1]["cost"]["wall_s"] >= 0

    services = ("--service", "forecaster_7d", "--service", "forecaster_90d")
    code, out, err = called(capsys, target, "show", *services, "--json")
    near, far = told(out)
    assert code == 0, err
    assert near["trained_until"] == found["trained_until"]
    assert near["in_use"] is False
    assert near["rulings"][-1]["stage"] == "adaptation"
    assert (far["trained_until"], far["why_not"]) == (None, "never trained")
    code, out, _ = called(capsys, target, "show", *services)
    assert code == 0
    assert "never trained" in out
    assert "nothing learned was kept" in out


def test_a_service_with_too_little_history_is_left_out_and_told(
    target: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = ("--service", "forecaster_90d", "--service", "forecaster_7d")
    code, out, err = called(capsys, target, "train", *services, "--windows", "30", "--dry-run", "--json")
    assert code == 4
    assert [found["service"] for found in told(out)] == ["forecaster_7d"]
    assert "left out: toy, 90d: too little history" in err
    code, out, err = called(capsys, target, "train", "--service", "forecaster_90d")
    assert (code, out) == (4, "")
    assert "too little history" in err
    assert not (target.parent / "models").exists()


def test_unknown_names_are_refused(target: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = called(capsys, target, "train", "--stage", "component", "--service", "forecaster_7d")
    assert code == 2
    assert "components" in err
    code, _, err = called(capsys, target, "train", "--service", "forecaster_8d")
    assert code == 2
    assert "unknown service" in err
