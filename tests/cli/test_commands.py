"""Commands: output, exit codes, errors. Members other than the naives are off."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from horizoncast.cli import app, main
from horizoncast.errors import HorizoncastError, PublicationError
from horizoncast.service import runner
from small_target import NAIVES_ONLY, write_target

FAST = [part for key, value in NAIVES_ONLY.items() for part in ("--set", f"{key}={value}")]


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in an empty folder, through the outermost handler."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        captured = capsys.readouterr()
        return Result(code=int(ended.value.code or 0), out=captured.out, err=captured.err)

    return call


def test_run_ends_with_the_short_table(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path / "data")
    result = run("run", "forecaster_7d", "--target", str(target), *FAST)
    assert result.code == 0, result.err
    for words in ("80 % interval", "skill against the random walk", "weights", "kappa", "files"):
        assert words in result.out
    assert "random_walk: " in result.err
    assert list((tmp_path / "runs").glob("toy/forecaster_7d/*/forecast.csv"))


def test_run_json_is_json_and_nothing_else(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path)
    result = run(
        "run", "forecaster_7d", "--target", str(target), "--as-of", "2023-05-06", "--out", "o",
        "--member", "hybrid=on", "--json", *FAST,
    )  # fmt: skip
    values = json.loads(result.out)
    assert values["cutoff"] == "2023-05-05"
    assert Path(values["folder"]).is_relative_to(tmp_path / "o")
    assert "hybrid" in values["notes"][0]
    assert "hybrid" in result.err


def test_quiet_leaves_stderr_empty(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path)
    assert run("run", "forecaster_7d", "--target", str(target), "--quiet", *FAST).err == ""


def test_dry_run_computes_and_writes_nothing(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the engine was called")

    monkeypatch.setattr(runner.ForecastEngine, "forecast", refuse)
    target = write_target(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    result = run("run", "forecaster_7d", "--target", str(target), "--dry-run", "--json")
    values = json.loads(result.out)
    assert (result.code, values["dry_run"], values["horizon"]) == (0, True, 7)
    assert values["members"]["var"] == "on"
    assert "dry run" in run("run", "forecaster_7d", "--target", str(target), "--dry-run").out
    assert sorted(tmp_path.rglob("*")) == before


def test_run_all_ends_with_a_row_per_service(run: Run, tmp_path: Path) -> None:
    for horizon in ("5", "9"):
        folder = tmp_path / "services" / f"own_{horizon}"
        folder.mkdir(parents=True)
        (folder / "service.toml").write_text(f'horizon = "{horizon}"\n')
    target = write_target(tmp_path)
    result = run("run-all", "--target", str(target), *FAST)
    assert result.code == 0, result.err
    assert result.out.count("published") == 2
    values = json.loads(run("run-all", "--target", str(target), "--json", "--quiet", *FAST).out)
    assert [r["horizon"] for r in values["runs"]] == [5, 9]
    assert values["failed"] == {}


def test_run_all_goes_on_after_a_failure_and_fails(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path)
    for name, path in (("a", "absent.toml"), ("b", target)):
        folder = tmp_path / "services" / name
        folder.mkdir(parents=True)
        (folder / "service.toml").write_text(f'horizon = "5"\ntarget = "{path}"\n')
    result = run("run-all", "--json", "--quiet", *FAST)
    values = json.loads(result.out)
    assert result.code == 2
    assert result.err.startswith("error: a: the target's file does not exist")
    assert result.err.count("\n") == 1
    assert list(values["failed"]) == ["a"]
    assert [r["service"] for r in values["runs"]] == ["b"]


def test_run_all_without_services_is_an_error(run: Run, tmp_path: Path) -> None:
    (tmp_path / "services").mkdir()
    assert run("run-all").code == 2


def test_backtest_table_bank_plot_and_json(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path, sessions=450)
    arguments = ["backtest", "forecaster_7d", "--target", str(target), "--from", "2023-07-01", *FAST]
    result = run(*arguments, "--to", "2023-08-15", "--bank", "b.parquet", "--plot", "b.png")
    assert result.code == 0, result.err
    for words in ("shipped", "greedy", "coverage 80 %", "cannot be told"):
        assert words in result.out
    assert (tmp_path / "b.parquet").read_bytes()[:4] == b"PAR1"
    assert (tmp_path / "b.png").read_bytes()[:4] == b"\x89PNG"
    values = json.loads(run(*arguments, "--to", "2023-08-15", "--stride", "5", "--json").out)
    assert (values["from"], values["stride"]) == ("2023-07-07", 5)
    shipped = next(s for s in values["subjects"] if s["subject"] == "shipped")
    assert {"rmse", "wql", "coverage_80"} <= set(shipped["scores"])


def test_compare_table_plot_and_json(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path, sessions=450)
    target.write_text(target.read_text().replace("periods = []", "periods = [5]"))
    arguments = [
        "compare",
        "random_walk",
        "seasonal_naive",
        "--service",
        "forecaster_7d",
        "--target",
        str(target),
    ]
    arguments += ["--from", "2023-06-20", "--to", "2023-08-15", *FAST]
    result = run(*arguments, "--png", "c.png")
    assert result.code == 0, result.err
    for words in ("seasonal_naive / random_walk", "interval score 95 %", "coverage 80 %", "deterministic"):
        assert words in result.out
    for words in ("cannot be told", "too few for a verdict, 20 are needed", "not measured", "Harvey"):
        assert words in result.out
    assert (tmp_path / "c.png").read_bytes()[:4] == b"\x89PNG"
    values = json.loads(run(*arguments, "--seeds", "1", "--json").out)
    assert (values["a"], values["b"], values["from"]) == ("random_walk", "seasonal_naive", "2023-06-23")
    assert values["verdict"]["code"] == "cannot_be_told"
    assert values["power"]["can_tell"] is False
    assert {"rmse", "path_rmse", "wql", "interval_score_80"} <= set(values["ratios"])
    assert values["sides"][0]["coverage"]["80"]["error"] > 0
    assert values["sides"][1]["stability"]["deterministic"] is None


def test_data_check(run: Run, tmp_path: Path) -> None:
    target = write_target(tmp_path)
    good = run("data", "check", str(target))
    assert (good.code, "fit to be forecast" in good.out) == (0, True)
    target.with_suffix(".csv").write_text(target.with_suffix(".csv").read_text() + "2031-01-01,18\n")
    bad = run("data", "check", str(target), "--json")
    assert bad.code == 3
    assert "future_date" in {f["code"] for f in json.loads(bad.out)["findings"]}
    assert "blocked" in run("data", "check", str(target)).out
    assert run("data", "check", str(target), "--as-of", "2023-01-31").code == 0


def test_target_new_proposes_a_target_that_works(run: Run, tmp_path: Path) -> None:
    write_target(tmp_path)
    printed = run("target", "new", "toy.csv")
    assert "[source]" in printed.out
    assert run("target", "new", "toy.csv", "--out", "mine.toml").code == 0
    assert (tmp_path / "mine.toml").read_text() == printed.out
    assert run("data", "check", "mine.toml").code == 0
    again = run("target", "new", "toy.csv", "--out", "mine.toml")
    assert (again.code, "exists already" in again.err) == (2, True)


def test_config_explain(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENABLE_RF", "shadow")
    result = run("config", "explain", "forecaster_7d", "--set", "run.workers=2")
    assert "environment: ENABLE_RF" in result.out
    assert "command line: --set run.workers" in result.out
    everything = json.loads(run("config", "explain", "--json").out)
    assert list(everything) == ["forecaster_7d", "forecaster_15d", "forecaster_30d", "forecaster_90d"]
    row = next(r for r in everything["forecaster_90d"] if r["key"] == "members.random_forest.state")
    assert (row["value"], row["layer"]) == ("shadow", "environment: ENABLE_RF")


def test_doctor(run: Run, tmp_path: Path) -> None:
    failing = run("doctor", "--json")
    assert failing.code == 2  # the default target is not in this folder
    assert json.loads(failing.out)["worst"] == "fail"
    write_target(tmp_path / "config" / "targets", name="usdmxn")
    healthy = run("doctor")
    assert (healthy.code, "time zones" in healthy.out) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "forecaster_3d"], "did you mean forecaster_30d"),
        (["run", "forecaster_7d", "--target", "absent.toml"], "does not exist"),
        (["run", "forecaster_7d", "--as-of", "someday"], "--as-of cannot be read"),
        (["run", "forecaster_7d", "--as-of", "NaT"], "--as-of cannot be read"),
        (["run", "forecaster_7d", "--set", "rule"], "--set cannot be read"),
        (["run", "forecaster_7d", "--set", "=1"], "--set cannot be read"),
        (["run", "forecaster_7d", "--set", "decison.rule=x"], "did you mean decision"),
        (["run", "forecaster_7d", "--member", "var"], "--member cannot be read"),
        (["run", "forecaster_7d", "--member", "vaar=on"], "did you mean var"),
        (["run", "forecaster_7d", "--member", "var=on", "--member", "var=off"], "twice"),
        (["run", "forecaster_7d", "--config", "absent"], "--config does not exist"),
        (["run", "forecaster_7d", "--env-file", "absent"], "--env-file does not exist"),
        (["run", "forecaster_7d", "--root", "absent"], "--root is no folder"),
        (["backtest", "forecaster_7d", "--from", "2024-02-01", "--to", "2024-01-01"], "--to lies before"),
        (["compare", "var", "var", "--service", "forecaster_7d"], "compared with itself"),
        (["compare", "var", "autofomer", "--service", "forecaster_7d"], "did you mean"),
        (["compare", "var", "ensemble"], "Missing option"),
        (["run"], "Missing argument"),
        (["run", "forecaster_7d", "--tarjet", "x"], "No such option"),
        (["forecast"], "No such command"),
    ],
)
def test_wrong_usage_exits_with_2_and_one_clear_message(run: Run, arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert words in result.err
    assert result.out == ""
    assert "Traceback" not in result.err


@pytest.mark.parametrize("kind", HorizoncastError.__subclasses__())
def test_every_error_exits_with_its_code(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[HorizoncastError]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise kind("something", value=3)

    monkeypatch.setattr(runner.ForecastEngine, "forecast", refuse)
    result = run("run", "forecaster_7d", "--target", str(write_target(tmp_path)), "--quiet", *FAST)
    assert (result.code, result.err) == (kind.exit_code, "error: something; got 3\n")


def test_an_unexpected_error_is_1_and_shows_its_traceback_on_demand(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def break_down(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(runner.ForecastEngine, "forecast", break_down)
    arguments = ["run", "forecaster_7d", "--target", str(write_target(tmp_path)), "--quiet", *FAST]
    short = run(*arguments)
    assert short.code == 1
    assert "ZeroDivisionError: a defect" in short.err
    assert "Traceback" not in short.err
    assert "Traceback" in run("--debug", *arguments).err


def test_debug_shows_where_an_expected_error_came_from(run: Run) -> None:
    assert "Traceback" in run("--debug", "run", "forecaster_3d").err


def test_interrupt_is_130(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(runner.ForecastEngine, "forecast", interrupt)
    target = write_target(tmp_path)
    assert run("run", "forecaster_7d", "--target", str(target), *FAST).code == 130


def test_a_blocked_run_says_so(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def block(*_: object, **__: object) -> None:
        raise PublicationError("the output gate blocked the forecast")

    monkeypatch.setattr(runner.ForecastEngine, "forecast", block)
    assert run("run", "forecaster_7d", "--target", str(write_target(tmp_path)), *FAST).code == 6
    line = json.loads((tmp_path / "runs" / "metrics.jsonl").read_text())
    assert (line["kind"], line["code"]) == ("event", "PublicationError")


def test_relative_paths_on_the_command_line_start_here_and_not_at_the_root(run: Run, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    write_target(tmp_path)
    result = run("run", "forecaster_7d", "--root", "elsewhere", "--target", "toy.toml", "--out", "o", *FAST)
    assert result.code == 0, result.err
    assert (tmp_path / "o" / "toy").is_dir()
    assert (tmp_path / "elsewhere" / "cache").is_dir()


def test_version_and_help() -> None:
    runner_ = CliRunner()
    assert runner_.invoke(app, ["--version"]).output.startswith("horizoncast ")
    for command in ([], ["data"], ["target"], ["config"]):
        assert "Usage" in runner_.invoke(app, [*command, "--help"]).output


def test_what_did_not_work_after_a_run_is_told_even_quietly(run: Run, tmp_path: Path) -> None:
    """The forecast stands, so the exit code is 0; nobody else would say that no message has arrived."""
    target = write_target(tmp_path)
    more = ("--target", str(target), "--set", f"notify.prometheus={target}/none")
    result = run("run", "forecaster_7d", *FAST, "--quiet", *more)
    assert result.code == 0
    assert "forecaster_7d: published; not done yet: " in result.err


def test_text_of_an_error_is_not_read_as_markup(run: Run) -> None:
    result = run("run", "forecaster_7d", "--set", "run.workers=[bold]")
    assert "[bold]" in result.err
