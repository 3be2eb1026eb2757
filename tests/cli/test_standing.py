"""`status` and `rollout` from the command line."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from due_services import light, write_services
from horizoncast.cli import main
from horizoncast.errors import ConfigError, RunEndedError, UnknownNameError
from horizoncast.service.scoring import score_live
from horizoncast.store.ledger.entry import run_entry
from horizoncast.store.ledger.ledger import Ledger
from horizoncast.store.results import write_run
from live_runs import record_at
from small_runs import small_series


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]
ALL = ("arima_garch", "var", "random_forest")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_services(tmp_path / "root", names=("one", "two"))


@pytest.fixture
def run(root: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--root", str(root)])
        captured = capsys.readouterr()
        return Result(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return call


def test_status_of_nothing_is_unknown_and_fails(run: Run) -> None:
    result = run("status")
    assert result.code == RunEndedError.exit_code
    assert [line.split()[0] for line in result.out.splitlines()] == ["unknown", "unknown"]
    found = json.loads(run("status", "--json").out)
    assert {s["health"] for s in found} == {"unknown"}
    assert {s["service"] for s in found} == {"one", "two"}


def test_scores_before_any_and_after_some(run: Run, root: Path) -> None:
    assert "one: no live forecast has been scored yet" in run("scores", "one").out
    folder = light(root, "one")[0].output_folder
    ledger = Ledger.at(folder)
    for row in (371, 376, 381, 386, 391):
        record = record_at(row)
        run_row = run_entry(record, write_run(folder, record), root=folder, imported=True)
        renamed = replace(run_row.run, service="one", series="toy")
        ledger.runs.commit(replace(run_row, run=renamed), reprocess=True)
    score_live(ledger, "one", replace(small_series(), name="toy"))
    shown = run("scores", "one", "--leads")
    assert shown.code == 0, shown.err
    for words in ("ensemble", "random_walk", "1 to 7", "independent", "cannot be told from luck"):
        assert words in shown.out
    found = json.loads(run("scores", "one", "--json").out)
    assert found[0]["subject"] == "ensemble"
    assert found[0]["running"][0]["skill"]["windows"] == 5


def test_rollout_status_lists_every_member_and_criterion(run: Run) -> None:
    result = run("rollout", "status", "one")
    assert result.code == 0, result.err
    for word in (*ALL, "peak_mb", "would_be_weight", "cannot be told"):
        assert word in result.out
    assert "random_walk" not in result.out
    found = json.loads(run("rollout", "status", "--json").out)
    assert {(s["service"], s["member"]) for s in found} >= {(n, m) for n in ("one", "two") for m in ALL}


def test_a_member_is_promoted_and_taken_back_on_record(run: Run, root: Path) -> None:
    decision = ("--by", "ana", "--why", "it is time")
    assert run("rollout", "promote", "var", "one", *decision).out.startswith("one var: off to shadow, by ana")
    assert run("rollout", "promote", "var", "one", *decision).code == 0
    shown = json.loads(run("rollout", "status", "one", "--json").out)
    assert next(s["state"] for s in shown if s["member"] == "var") == "on"
    back = run("rollout", "rollback", "var", "one", "--to", "off", *decision)
    assert "on to off" in back.out
    ledger = Ledger.at(light(root, "one")[0].output_folder)
    assert [t.after for t in ledger.rollout.all(service="one")] == ["shadow", "on", "off"]
    assert ledger.rollout.all(service="two") == ()


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (("rollout", "rollback", "var", "one", "--by", "a", "--why", "b"), ConfigError, "off already"),
        (
            ("rollout", "promote", "random_forst", "one", "--by", "a", "--why", "b"),
            UnknownNameError,
            "did you mean random_forest?",
        ),
        (("rollout", "promote", "var", "on", "--by", "a", "--why", "b"), UnknownNameError, "one"),
        (("rollout", "promote", "var", "one", "--by", " ", "--why", "b"), ConfigError, "who made it and why"),
        (
            ("rollout", "rollback", "var", "one", "--by", "a", "--why", "b", "--to", "of"),
            ConfigError,
            "shadow",
        ),
    ],
)
def test_wrong_requests_are_explained(
    run: Run, arguments: tuple[str, ...], error: type[ConfigError], words: str
) -> None:
    result = run(*arguments)
    assert result.code == error.exit_code
    assert words in result.err
